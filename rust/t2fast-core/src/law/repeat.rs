//! Repeated data: what D tokens are worth when only U of them are unique.

use crate::error::{Result, positive};

/// R* for tokens fitted by Muennighoff et al. 2023 (arXiv 2305.16264).
pub const DEFAULT_R_STAR: f64 = 15.387_756;

/// How fast repetition loses its worth: the constants R* of Muennighoff et al. 2023.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repetition {
    /// R* for tokens: repeating about this often, the next epoch is worth 1/e of a fresh one.
    pub tokens: f64,
    /// R* for parameters beyond those that the unique tokens warrant; `None` leaves parameters undiscounted.
    pub params: Option<f64>,
}

impl Default for Repetition {
    fn default() -> Self {
        Self { tokens: DEFAULT_R_STAR, params: None }
    }
}

impl Repetition {
    /// Checks the constants.
    ///
    /// # Errors
    /// [`crate::Error::Value`] unless both are positive and finite.
    pub fn new(tokens: f64, params: Option<f64>) -> Result<Self> {
        positive("r_star_tokens", tokens)?;
        if let Some(params) = params {
            positive("r_star_params", params)?;
        }
        Ok(Self { tokens, params })
    }
}

/// The effective amount `U (1 + R* (1 - exp(-R / R*)))`, R = total / unique - 1, or `total` while nothing repeats.
///
/// Muennighoff et al. 2023, equation 5. Never more than `total`, and never more than `unique (1 + r_star)`.
/// Its slope in the logarithm of `total` falls from 1 to 0, so that a decreasing power of it stays convex there.
#[inline(always)]
#[must_use]
pub fn effective(total: f64, unique: f64, r_star: f64) -> f64 {
    let repeats = total / unique - 1.0;
    if repeats <= 0.0 { total } else { unique * (1.0 - r_star * (-repeats / r_star).exp_m1()) }
}
