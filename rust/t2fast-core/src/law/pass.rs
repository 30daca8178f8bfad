//! Approach 2 of the T2 laws: pass@k through a Beta distribution of per-question success.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::{ChinchillaLaw, Law, Sense, Slopes};
use crate::error::{Error, Result, finite, positive};
use crate::simd;
use crate::special::{SHIFT, beta_ratio_shift, digamma_difference, digamma_second_difference, ln_beta_ratio_stirling};

/// pass@k of questions whose success rates are Beta(a, b) distributed, a and b being functions of the loss
/// (Roberts et al. 2026, arXiv 2604.01411, Approach 2).
///
/// With l the loss of N and D: mean `mu = theta2 / (1 + exp(theta1 (l - theta0)))`, concentration
/// `nu = exp(theta3 + theta4 l)`, `a = mu nu`, `b = (1 - mu) nu`, and pass@k = `1 - B(a, b + k) / B(a, b)`.
///
/// pass@k rises with k for every a and b, since d/dk ln B(a, b + k) = ψ(b + k) - ψ(a + b + k) < 0. It need not fall as the
/// loss rises: the mean falls, but with `theta4 > 0` the spread between questions narrows, and for k > 1 that helps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct T2PassLaw {
    /// The loss, in nats per token or latent.
    pub chinchilla: ChinchillaLaw,
    /// theta0 to theta4.
    pub theta: [f64; 5],
}

impl T2PassLaw {
    /// Checks the coefficients that it adds.
    ///
    /// # Errors
    /// [`Error::Value`] unless all are finite, theta1 is positive and theta2 lies in (0, 1].
    pub fn new(chinchilla: ChinchillaLaw, theta: [f64; 5]) -> Result<Self> {
        finite("theta0", theta[0])?;
        positive("theta1", theta[1])?;
        if !(theta[2] > 0.0 && theta[2] <= 1.0) {
            let must = "must lie in (0, 1]: it is the success rate at zero loss";
            return Err(Error::Value { name: "theta2", value: theta[2], must });
        }
        finite("theta3", theta[3])?;
        finite("theta4", theta[4])?;
        Ok(Self { chinchilla, theta })
    }

    /// The Beta distribution (a, b) of per-question success at a loss.
    #[must_use]
    pub fn beta(&self, loss: f64) -> (f64, f64) {
        moments::<false>(&self.theta, loss).beta()
    }
}

/// Ranges of theta0, theta1, theta2, theta3 and theta4 within which fits look for them.
pub const THETA_RANGES: [(f64, f64); 5] =
    [(-200.0, 200.0), (9.118_819_655_545_162e-4, 1_096.633_158_428_458_5), (1e-5, 1.0), (-12.0, 25.0), (-50.0, 50.0)];

/// Where a Beta distribution stands: mean `mu = theta2 share`, concentration `nu`, with `share = 1 / (1 + odds)`,
/// `odds = e^eta` and `nu = e^zeta`.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// `e^eta`.
    pub odds: f64,
    /// `1 / (1 + odds)`.
    pub share: f64,
    /// The mean.
    pub mean: f64,
    /// One minus the mean, exact as the mean tends to 1.
    pub rest: f64,
    /// The concentration.
    pub concentration: f64,
}

impl Moments {
    /// The mean and the concentration at (eta, theta2, zeta); in the law `eta = theta1 (l - theta0)` and
    /// `zeta = theta3 + theta4 l`.
    #[inline(always)]
    #[must_use]
    pub fn new<const FMA: bool>(eta: f64, theta2: f64, zeta: f64) -> Self {
        // Beyond these bounds the distribution is a point mass (or two) to every digit, and squares stay finite.
        let odds = simd::exp::<FMA>(eta.clamp(-700.0, 700.0));
        let concentration = simd::exp::<FMA>(zeta.clamp(-300.0, 300.0));
        let share = 1.0 / (1.0 + odds);
        Self { odds, share, mean: theta2 * share, rest: (odds + (1.0 - theta2)) * share, concentration }
    }

    /// The distribution's parameters (a, b).
    #[inline(always)]
    #[must_use]
    pub fn beta(&self) -> (f64, f64) {
        (self.mean * self.concentration, self.rest * self.concentration)
    }
}

#[inline(always)]
fn moments<const FMA: bool>(theta: &[f64; 5], loss: f64) -> Moments {
    let [theta0, theta1, theta2, theta3, theta4] = *theta;
    Moments::new::<FMA>(theta1 * (loss - theta0), theta2, theta3 + theta4 * loss)
}

/// From `a = CERTAIN b` on, at most b / (a + b) = 1e-14 of the first samples fail.
const CERTAIN: f64 = 1e14;

/// pass@k for Beta(a, b) success rates at `b >= SHIFT`.
#[inline(always)]
fn pass_stirling<const FMA: bool>(a: f64, b: f64, k: f64) -> f64 {
    // Beyond CERTAIN the terms of the ratio's logarithm, of size a k / b, would cancel to no digit at all.
    let a = if a > CERTAIN * b { CERTAIN * b } else { a };
    -simd::exp_m1::<FMA>(ln_beta_ratio_stirling::<FMA>(a, b, k))
}

/// pass@k = `1 - B(a, b + k) / B(a, b)` of questions whose success rates are Beta(a, b) distributed, for real
/// `k >= 1`; within 1e-13 relative for a and b from 1e-100 to 1e130.
#[must_use]
pub fn beta_pass_at_k(a: f64, b: f64, k: f64) -> f64 {
    if b < SHIFT {
        let lost = beta_ratio_shift(a, b, k);
        lost + (1.0 - lost) * pass_stirling::<false>(a, b + SHIFT, k)
    } else {
        pass_stirling::<false>(a, b, k)
    }
}

/// pass@k of Beta(a, b) success rates with its derivatives by a, b and k.
#[must_use]
pub fn beta_pass_slopes(a: f64, b: f64, k: f64) -> [f64; 4] {
    let value = beta_pass_at_k(a, b, k);
    let failure = 1.0 - value;
    // d ln F = (ψ(s) - ψ(t)) da + (ψ(y) + ψ(s) - ψ(b) - ψ(t)) db + (ψ(y) - ψ(t)) dk,  y = b+k, s = a+b, t = a+b+k.
    let by_a = -digamma_difference(a + b, k);
    let by_k = -digamma_difference(b + k, a);
    let by_b = digamma_second_difference(b, a, k);
    [value, -failure * by_a, -failure * by_b, -failure * by_k]
}

/// Lanes worked on between two looks at whether any b is small.
const BLOCK: usize = 64;

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn at_losses(theta: &[f64; 5], loss: &[f64], k: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let mut a = [0.0; BLOCK];
    let mut b = [0.0; BLOCK];
    for ((loss, k), out) in loss.chunks(BLOCK).zip(k.chunks(BLOCK)).zip(out.chunks_mut(BLOCK)) {
        let mut shifted = false;
        for ((&loss, a), b) in loss.iter().zip(&mut a).zip(&mut b) {
            (*a, *b) = moments::<FMA>(theta, loss).beta();
            shifted |= *b < SHIFT;
        }
        for (((out, &k), &a), &b) in out.iter_mut().zip(k).zip(&a).zip(&b) {
            let b = if b < SHIFT { b + SHIFT } else { b };
            *out = pass_stirling::<FMA>(a, b, k);
        }
        if shifted {
            for (((out, &k), &a), &b) in out.iter_mut().zip(k).zip(&a).zip(&b) {
                let lost = if b < SHIFT { beta_ratio_shift(a, b, k) } else { 0.0 };
                *out = lost + (1.0 - lost) * *out;
            }
        }
    }
}

impl Law for T2PassLaw {
    fn chinchilla(&self) -> &ChinchillaLaw {
        &self.chinchilla
    }

    fn sense(&self) -> Sense {
        Sense::Most
    }

    /// For a fixed concentration, Beta(mu nu, (1 - mu) nu) rises with mu in the usual stochastic order, and so does
    /// pass@k. For a fixed mean, a smaller concentration spreads it in the convex order, and (1 - p)^k is convex in p, so
    /// pass@k falls. With `theta4 <= 0` a falling loss raises both mean and concentration.
    fn improves_as_loss_falls(&self) -> bool {
        self.theta[4] <= 0.0
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        let (a, b) = self.beta(loss);
        beta_pass_at_k(a, b, k)
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        assert!(loss.len() == out.len() && k.len() == out.len(), "slices must have one length");
        at_losses(&self.theta, loss, k, out);
    }

    fn slopes(&self, loss: f64, k: f64) -> Slopes {
        let at = moments::<false>(&self.theta, loss);
        let (a, b) = at.beta();
        let [value, by_a, by_b, k] = beta_pass_slopes(a, b, k);
        let mean_slope = -self.theta[1] * at.mean * (1.0 - at.share);
        let a_slope = at.concentration * mean_slope + self.theta[4] * a;
        let b_slope = -at.concentration * mean_slope + self.theta[4] * b;
        Slopes { value, loss: by_a * a_slope + by_b * b_slope, k }
    }
}
