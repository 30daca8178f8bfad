//! Train-to-Test scaling laws: choose model size N, training tokens D and samples per question k together.
//!
//! A map of the house, from the ground up:
//!
//! * [`error`]: one error type, and the checks of numerical ranges that every other module uses;
//! * [`simd`]: branch-free `exp` and `ln` for loops over vectors; [`special`]: ln Γ, ψ and their differences;
//! * `quadrature`: Gauss and Legendre's rule;
//! * [`linear`] and [`newton`]: small dense matrices, and the minimisation that all fits share;
//! * [`law`]: what a model of N parameters trained on D tokens and sampled k times achieves;
//! * [`rule`]: how one answer is chosen from k samples, and what that makes of them;
//! * [`cost`]: what that takes in floating-point operations or in seconds on a card, and which designs a budget admits;
//! * [`plan`]: the best design within a budget, by brute force, by continuous optimisation, and along sweeps;
//! * [`fit`]: from checkpoints to a law, with its uncertainty;
//! * [`passk`]: pass@k and its relatives from counted samples, with intervals and extrapolation;
//! * [`sampling`]: attention and draws of a decode step, for models that run on the CPU;
//! * [`random`]: counter-based random numbers for resampling;
//! * [`threads`]: how many threads long work uses, and how it reports progress and is stopped.
//!
//! Symbols follow the literature: N parameters, D training tokens, k samples per question; losses in nats per token;
//! `flops` is a number of floating-point operations. Nothing here knows Python.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod cost;
pub mod error;
pub mod fit;
pub mod law;
pub mod linear;
pub mod newton;
pub mod passk;
pub mod plan;
mod quadrature;
pub mod random;
pub mod rule;
pub mod sampling;
pub mod simd;
pub mod special;
pub mod threads;

pub use error::{Error, Result};
