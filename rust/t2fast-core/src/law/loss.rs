//! Approach 1 of the T2 laws: the mean negative log pass@k as a sum of four terms.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::{ChinchillaLaw, Law, Sense, Slopes};
use crate::error::{Result, positive};
use crate::simd;

/// `L(N, D, k) = E + A N^-alpha + B D^-beta + G k^-gamma` (Roberts et al. 2026, arXiv 2604.01411, Approach 1).
///
/// L stands for the mean over questions of -log pass@k, nats. Its exponential is not the mean of pass@k.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct T2LossLaw {
    /// E, A, B, alpha, beta.
    pub chinchilla: ChinchillaLaw,
    /// Scale of the part that samples reduce.
    pub g: f64,
    /// Exponent of k.
    pub gamma: f64,
}

impl T2LossLaw {
    /// Checks the coefficients that it adds.
    ///
    /// # Errors
    /// [`crate::Error::Value`] unless G and gamma are positive and finite.
    pub fn new(chinchilla: ChinchillaLaw, g: f64, gamma: f64) -> Result<Self> {
        Ok(Self { chinchilla, g: positive("G", g)?, gamma: positive("gamma", gamma)? })
    }

    fn samples_term(&self, k: f64) -> f64 {
        self.g * (-self.gamma * k.ln()).exp()
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn at_losses(g: f64, gamma: f64, loss: &[f64], k: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for ((out, &loss), &k) in out.iter_mut().zip(loss).zip(k) {
        *out = loss + g * simd::exp::<FMA>(-gamma * simd::ln::<FMA>(k));
    }
}

impl Law for T2LossLaw {
    fn chinchilla(&self) -> &ChinchillaLaw {
        &self.chinchilla
    }

    fn sense(&self) -> Sense {
        Sense::Least
    }

    fn improves_as_loss_falls(&self) -> bool {
        true
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        loss + self.samples_term(k)
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        assert!(loss.len() == out.len() && k.len() == out.len(), "slices must have one length");
        at_losses(self.g, self.gamma, loss, k, out);
    }

    fn slopes(&self, loss: f64, k: f64) -> Slopes {
        let samples = self.samples_term(k);
        Slopes { value: loss + samples, loss: 1.0, k: -self.gamma * samples / k }
    }
}
