//! pass@k and its relatives from n samples of each problem, c of them correct.
//!
//! * [`estimate`]: unbiased estimates of one problem; [`histogram`]: the counts of many problems, and averages over them;
//! * [`groups`]: averages of many models and benchmarks at once; [`curve`]: all k at once; [`vote`]: one answer chosen of k, by majority or by score;
//! * [`tallies`]: the same of many problems, by [`ballots`] one by one or by [`halves`] that many share;
//! * [`interval`]: how sure an average is; [`beta_binomial`]: how success varies between problems;
//! * [`extrapolate`]: beyond the samples drawn; [`allocation`]: where further samples help;
//! * [`records`]: counting the verdicts of logs; [`trials`]: counting none of them twice.

pub mod allocation;
pub mod ballots;
pub mod beta_binomial;
pub mod curve;
pub mod estimate;
pub mod extrapolate;
pub mod groups;
pub mod halves;
pub mod histogram;
pub mod interval;
mod prints;
pub mod records;
mod rises;
mod rows;
mod seen;
pub mod tallies;
pub mod trials;
pub mod vote;

pub use estimate::Estimator;
pub use histogram::Histogram;
