//! The Chinchilla law: loss of N and D.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::{Law, Overtraining, Repetition, Sense, Slopes, effective};
use crate::error::{Result, non_negative, positive};
use crate::simd;

/// `L(N, D) = E + A N^-alpha + B D^-beta` (Hoffmann et al. 2022, equation 2), nats per token; with a term
/// `F (D/N)^delta` where overtraining costs (see [`Overtraining`]).
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
    /// What tokens far beyond the model's size cost.
    pub overtraining: Overtraining,
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
            overtraining: Overtraining::default(),
            repetition: Repetition::default(),
        })
    }

    /// The same law with another term of overtraining.
    #[must_use]
    pub fn with_overtraining(self, overtraining: Overtraining) -> Self {
        Self { overtraining, ..self }
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
        self.e + self.params_term(n_params) + self.tokens_term(n_tokens) + self.overtraining.term(n_params, n_tokens)
    }

    /// The loss at N parameters and D tokens of which no more than `unique_tokens` differ. Arguments are not checked.
    #[must_use]
    pub fn loss_within(&self, n_params: f64, n_tokens: f64, unique_tokens: Option<f64>) -> f64 {
        let fresh = unique_tokens.map_or(n_tokens, |unique| effective(n_tokens, unique, self.repetition.tokens));
        let params = self.params_term(self.effective_params(n_params, unique_tokens));
        self.e + params + self.tokens_term(fresh) + self.overtraining.term(n_params, n_tokens)
    }

    /// The loss over slices of one length. Arguments are not checked.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn losses(&self, n_params: &[f64], n_tokens: &[f64], out: &mut [f64]) {
        assert!(n_params.len() == out.len() && n_tokens.len() == out.len(), "slices must have one length");
        losses([self.e, self.a, self.b, self.alpha, self.beta], n_params, n_tokens, out);
        if self.overtraining.acts() {
            add_overtraining(self.overtraining, n_params, n_tokens, out);
        }
    }

    /// `A N^-alpha` for a slice of N, unique tokens limited or not. Arguments are not checked.
    pub(crate) fn params_terms(&self, n_params: &[f64], unique_tokens: Option<f64>, out: &mut [f64]) {
        for (out, &n) in out.iter_mut().zip(n_params) {
            *out = self.effective_params(n, unique_tokens);
        }
        power_terms(self.a, self.alpha, out);
    }

    /// `B D^-beta` for a slice of D, unique tokens limited or not. Arguments are not checked.
    pub(crate) fn tokens_terms(&self, n_tokens: &[f64], unique_tokens: Option<f64>, out: &mut [f64]) {
        for (out, &d) in out.iter_mut().zip(n_tokens) {
            *out = unique_tokens.map_or(d, |unique| effective(d, unique, self.repetition.tokens));
        }
        power_terms(self.b, self.beta, out);
    }

    /// `F N^-delta`: what overtraining adds, times [`ChinchillaLaw::overtraining_of_tokens`].
    pub(crate) fn overtraining_of_params(&self, n_params: f64) -> f64 {
        if self.overtraining.acts() { self.overtraining.term(n_params, 1.0) } else { 0.0 }
    }

    /// `D^delta` for a slice of D, or zeros where overtraining has no term.
    pub(crate) fn overtraining_of_tokens(&self, n_tokens: &[f64], out: &mut [f64]) {
        out.copy_from_slice(n_tokens);
        if self.overtraining.acts() {
            power_terms(1.0, -self.overtraining.delta, out);
        } else {
            out.fill(0.0);
        }
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
        Ok(self.loss_within(n_params, n_tokens, Some(unique_tokens)))
    }

    /// The D that is compute-optimal for N parameters: `alpha A N^-alpha + 2 delta F (D/N)^delta = beta B D^-beta`, where
    /// trading N for D at equal cost changes nothing.
    #[must_use]
    pub fn tokens_for_params(&self, n_params: f64) -> f64 {
        let params = self.alpha * self.params_term(n_params);
        let plain = (self.beta * self.b / params).powf(1.0 / self.beta);
        if !self.overtraining.acts() {
            return plain;
        }
        // By ln D the left side rises and the right side falls, so that there is one root, below the one without the term.
        descend(plain.ln(), |ln_d| {
            let over = 2.0 * self.overtraining.delta * self.overtraining.term(n_params, ln_d.exp());
            let tokens = self.beta * self.tokens_term(ln_d.exp());
            let rise = params + over;
            (rise.ln() - tokens.ln(), self.overtraining.delta * over / rise + self.beta)
        })
    }

    /// The N for which D tokens are compute-optimal: the same the other way round.
    #[must_use]
    pub fn params_for_tokens(&self, n_tokens: f64) -> f64 {
        let tokens = self.beta * self.tokens_term(n_tokens);
        let plain = (self.alpha * self.a / tokens).powf(1.0 / self.alpha);
        if !self.overtraining.acts() {
            return plain;
        }
        // The left side falls with ln N: one root, above the one without the term. The search runs along -ln N.
        1.0 / descend(-plain.ln(), |minus_ln_n| {
            let n_params = (-minus_ln_n).exp();
            let params = self.alpha * self.params_term(n_params);
            let over = 2.0 * self.overtraining.delta * self.overtraining.term(n_params, n_tokens);
            let rise = params + over;
            (rise.ln() - tokens.ln(), (self.alpha * params + self.overtraining.delta * over) / rise)
        })
    }

    /// The D beyond which more training raises the loss of N parameters: infinite without a term of overtraining.
    ///
    /// At fixed N the loss is convex in ln D, with one minimum: fresh tokens cease to help where
    /// `beta B D^-beta = delta F (D/N)^delta`, repeated ones sooner or later, as their worth rises more slowly.
    #[must_use]
    pub fn most_useful_tokens(&self, n_params: f64, unique_tokens: Option<f64>) -> f64 {
        if !self.overtraining.acts() {
            return f64::INFINITY;
        }
        most_useful_ln_tokens(self, n_params.ln(), unique_tokens.unwrap_or(f64::INFINITY)).exp()
    }
}

/// [`ChinchillaLaw::most_useful_tokens`] in logarithms, for a law with a term of overtraining.
pub(crate) fn most_useful_ln_tokens(law: &ChinchillaLaw, ln_n: f64, unique: f64) -> f64 {
    let Overtraining { f, delta } = law.overtraining;
    let pull = (law.beta * law.b / (delta * f)).ln() + delta * ln_n;
    let fresh = pull / (law.beta + delta);
    let start = unique.ln();
    if fresh <= start {
        return fresh;
    }
    // ln of what a repeated token still gives over what it costs, by how often tokens are seen: falling where it crosses
    // zero, since the loss is convex in ln D, and a line in the end.
    let r_star = law.repetition.tokens;
    let at_unique = pull - (law.beta + delta) * start;
    let (mut low, mut high, mut seen) = (1.0, f64::INFINITY, 1.0_f64);
    for _ in 0..100 {
        let left = ((1.0 - seen) / r_star).exp();
        let worth = 1.0 + r_star * (1.0 - left);
        let value = at_unique + (1.0 - delta) * seen.ln() + (1.0 - seen) / r_star - (1.0 + law.beta) * worth.ln();
        let slope = (1.0 - delta) / seen - 1.0 / r_star - (1.0 + law.beta) * left / worth;
        if value > 0.0 {
            low = seen;
        } else {
            high = seen;
        }
        let newton = seen - value / slope;
        let next = if newton > low && newton < high {
            newton
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * low
        };
        if (next - seen).abs() <= 1e-14 * seen {
            break;
        }
        seen = next;
    }
    start + seen.ln()
}

/// The exponential of the root of a rising convex function (value and slope), from a start at or beyond it, by Newton's
/// method: from that side every step stays there.
fn descend(start: f64, function: impl Fn(f64) -> (f64, f64)) -> f64 {
    let mut x = start;
    for _ in 0..200 {
        let (value, slope) = function(x);
        let step = value / slope;
        if step.is_nan() || step <= 1e-16 * x.abs() {
            break;
        }
        x -= step;
    }
    x.exp()
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn add_overtraining(term: Overtraining, n_params: &[f64], n_tokens: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for ((out, &n), &d) in out.iter_mut().zip(n_params).zip(n_tokens) {
        *out += term.f * simd::exp::<FMA>(term.delta * (simd::ln::<FMA>(d) - simd::ln::<FMA>(n)));
    }
}

/// `scale x^-exponent` in place.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn power_terms(scale: f64, exponent: f64, x: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for x in x {
        *x = scale * simd::exp::<FMA>(-exponent * simd::ln::<FMA>(*x));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn losses([e, a, b, alpha, beta]: [f64; 5], n_params: &[f64], n_tokens: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
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
