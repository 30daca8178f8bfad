//! pass@k and its relatives from n samples of each problem, c of them correct.
//!
//! * [`estimate`]: unbiased estimates of one problem; [`histogram`]: the counts of many problems, and averages over them;
//! * [`curve`]: all k at once.

pub mod curve;
pub mod estimate;
pub mod histogram;

pub use estimate::Estimator;
pub use histogram::Histogram;
