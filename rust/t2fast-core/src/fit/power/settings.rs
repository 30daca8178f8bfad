//! What is minimised by a fit of a sum of powers.

use crate::fit::{Penalty, Scale};

/// What is minimised, and which coefficients are not free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The scale of residuals.
    pub scale: Scale,
    /// Their penalty.
    pub penalty: Penalty,
    /// Whether alpha and beta are one.
    pub tied: bool,
    /// E, when it is known.
    pub e: Option<f64>,
    /// E as a share of the smallest loss must lie within these.
    pub e_share: (f64, f64),
    /// Starts polished of those that the grid of exponents offers.
    pub starts: usize,
    /// With unique tokens: whether parameters beyond the optimum for them are discounted too.
    pub discount_params: bool,
    /// Whether a term of overtraining is fitted, with its priors.
    pub overtraining: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scale: Scale::Log,
            penalty: Penalty::Huber { delta: 1e-3 },
            tied: false,
            e: None,
            e_share: (1e-6, 2.0),
            starts: 4,
            discount_params: false,
            overtraining: false,
        }
    }
}
