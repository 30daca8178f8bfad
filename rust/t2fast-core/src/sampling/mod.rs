//! Models on the CPU: attention over shared prefixes, decoder blocks, and the draw.
//!
//! The operators of `t2fast_kernels` written once more, for the vector registers of processors: the same arguments, the
//! same results up to the rounding of sums, and the same tokens. The readable definition is the one in PyTorch there.

pub mod attention;
pub mod block;
pub mod draw;
mod gate;
pub mod norm;
pub mod product;
pub mod vector;
