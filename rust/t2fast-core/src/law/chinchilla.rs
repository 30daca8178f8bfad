//! The Chinchilla law: loss of N and D.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::{Law, Repetition, Sense, Slopes, effective};
use crate::error::{Result, non_negative, positive};
use crate::simd;

/// `L(N, D) = E + A N^-alpha + B D^-beta` (Hoffmann et al. 2022, equation 2), nats per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChinchillaLaw {
    /// Irreducible loss.
    pub e: f64,
    /// Scale of the part that parameters reduce.
    pub a: f64,
    /// Scale of the part that tokens reduce.
    pub b: f64,
    /// Exponent of N.
    pub alpha: f64,
    /// Exponent of D.
    pub beta: f64,
    /// What repeated tokens are worth, where unique tokens are limited.
    pub repetition: Repetition,
}

impl ChinchillaLaw {
    /// Checks the coefficients.
    ///
    /// # Errors
    /// [`crate::Error::Value`] unless E is zero or positive and A, B, alpha and beta are positive, all finite.
    pub fn new(e: f64, a: f64, b: f64, alpha: f64, beta: f64) -> Result<Self> {
        Ok(Self {
            e: non_negative("E", e)?,
            a: positive("A", a)?,
            b: positive("B", b)?,
            alpha: positive("alpha", alpha)?,
            beta: positive("beta", beta)?,
            repetition: Repetition::default(),
        })
    }

    /// The same law with other constants of repetition.
    #[must_use]
    pub fn with_repetition(self, repetition: Repetition) -> Self {
        Self { repetition, ..self }
    }

    /// `A N^-alpha`. The argument is not checked.
    #[inline(always)]
    #[must_use]
    pub fn params_term(&self, n_params: f64) -> f64 {
        self.a * (-self.alpha * n_params.ln()).exp()
    }

    /// `B D^-beta`. The argument is not checked.
    #[inline(always)]
    #[must_use]
    pub fn tokens_term(&self, n_tokens: f64) -> f64 {
        self.b * (-self.beta * n_tokens.ln()).exp()
    }

    /// The loss at N parameters and D fresh tokens. Arguments are not checked.
    #[inline(always)]
    #[must_use]
    pub fn loss(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.e + self.params_term(n_params) + self.tokens_term(n_tokens)
    }

    /// The loss over slices of one length. Arguments are not checked.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn losses(&self, n_params: &[f64], n_tokens: &[f64], out: &mut [f64]) {
        assert!(n_params.len() == out.len() && n_tokens.len() == out.len(), "slices must have one length");
        losses([self.e, self.a, self.b, self.alpha, self.beta], n_params, n_tokens, out);
    }

    /// `B D^-beta` for a slice of D, unique tokens limited or not. Arguments are not checked.
    pub(crate) fn tokens_terms(&self, n_tokens: &[f64], unique_tokens: Option<f64>, out: &mut [f64]) {
        for (out, &d) in out.iter_mut().zip(n_tokens) {
            *out = unique_tokens.map_or(d, |unique| effective(d, unique, self.repetition.tokens));
        }
        power_terms(self.b, self.beta, out);
    }

    /// N as far as it counts when only `unique_tokens` differ. Without R* for parameters that is N itself.
    #[must_use]
    pub fn effective_params(&self, n_params: f64, unique_tokens: Option<f64>) -> f64 {
        match (unique_tokens, self.repetition.params) {
            (Some(unique), Some(r_star)) => effective(n_params, self.params_for_tokens(unique), r_star),
            _ => n_params,
        }
    }

    /// The loss at N parameters and D tokens of which only `unique_tokens` differ (Muennighoff et al. 2023, equation 4).
    ///
    /// # Errors
    /// [`crate::Error::Value`] unless all three are positive and finite.
    pub fn loss_repeated(&self, n_params: f64, n_tokens: f64, unique_tokens: f64) -> Result<f64> {
        positive("n_params", n_params)?;
        positive("n_tokens", n_tokens)?;
        positive("unique_tokens", unique_tokens)?;
        let d = effective(n_tokens, unique_tokens, self.repetition.tokens);
        Ok(self.loss(self.effective_params(n_params, Some(unique_tokens)), d))
    }

    /// The D that is compute-optimal for N parameters: `alpha A N^-alpha = beta B D^-beta`.
    #[must_use]
    pub fn tokens_for_params(&self, n_params: f64) -> f64 {
        (self.beta * self.b / (self.alpha * self.params_term(n_params))).powf(1.0 / self.beta)
    }

    /// The N for which D tokens are compute-optimal: the same the other way round.
    #[must_use]
    pub fn params_for_tokens(&self, n_tokens: f64) -> f64 {
        (self.alpha * self.a / (self.beta * self.tokens_term(n_tokens))).powf(1.0 / self.alpha)
    }
}

/// `scale x^-exponent` in place.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn power_terms(scale: f64, exponent: f64, x: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    for x in x {
        *x = scale * simd::exp::<FMA>(-exponent * simd::ln::<FMA>(*x));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn losses([e, a, b, alpha, beta]: [f64; 5], n_params: &[f64], n_tokens: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    for ((out, &n), &d) in out.iter_mut().zip(n_params).zip(n_tokens) {
        let params = a * simd::exp::<FMA>(-alpha * simd::ln::<FMA>(n));
        let tokens = b * simd::exp::<FMA>(-beta * simd::ln::<FMA>(d));
        *out = e + params + tokens;
    }
}

impl Law for ChinchillaLaw {
    fn chinchilla(&self) -> &ChinchillaLaw {
        self
    }

    fn sense(&self) -> Sense {
        Sense::Least
    }

    fn improves_as_loss_falls(&self) -> bool {
        true
    }

    fn depends_on_k(&self) -> bool {
        false
    }

    fn at_loss(&self, loss: f64, _k: f64) -> f64 {
        loss
    }

    fn at_losses(&self, loss: &[f64], _k: &[f64], out: &mut [f64]) {
        out.copy_from_slice(loss);
    }

    fn slopes(&self, loss: f64, _k: f64) -> Slopes {
        Slopes { value: loss, loss: 1.0, k: 0.0 }
    }
}
