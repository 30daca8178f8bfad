//! Overtraining: what tokens far beyond a model's size do to it.

use crate::error::{Result, non_negative, positive};

/// The term `F (D/N)^delta` of the loss: small models get worse again late in training (known as saturation, Godey et al.
/// 2024, arXiv 2404.07647).
///
/// It counts the tokens and parameters that the training has, not what they are worth where tokens repeat: every step wears
/// the model, whatever it is shown. So it stays a monomial, convex in ln N and ln D, beside repeated tokens too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overtraining {
    /// F, zero where there is no such term.
    pub f: f64,
    /// The exponent of tokens per parameter.
    pub delta: f64,
}

impl Default for Overtraining {
    fn default() -> Self {
        Self { f: 0.0, delta: 1.0 }
    }
}

impl Overtraining {
    /// Checks the coefficients.
    ///
    /// # Errors
    /// [`crate::Error::Value`] unless F is zero or positive and delta is positive, both finite.
    pub fn new(f: f64, delta: f64) -> Result<Self> {
        Ok(Self { f: non_negative("F", f)?, delta: positive("delta", delta)? })
    }

    /// Whether there is such a term.
    #[inline(always)]
    #[must_use]
    pub fn acts(&self) -> bool {
        self.f > 0.0
    }

    /// `F (D/N)^delta`. The arguments are not checked.
    #[inline(always)]
    #[must_use]
    pub fn term(&self, n_params: f64, n_tokens: f64) -> f64 {
        if self.acts() { self.f * (self.delta * (n_tokens.ln() - n_params.ln())).exp() } else { 0.0 }
    }
}
