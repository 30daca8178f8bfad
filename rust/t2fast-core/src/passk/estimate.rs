//! Unbiased estimates of one problem from its n samples, c of them correct.
//!
//! Everything rests on one number, the chance that k of the n samples hold none of the c correct ones,
//! `F = C(n - c, k) / C(n, k)`, and on its logarithm without cancellation ([`ln_failure`]).

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::error::{Error, Result};
use crate::simd;
use crate::special::{HALF_STIRLING, half_stirling};

/// Counts are whole numbers up to this, so that sums of two and halves of them are exact.
pub const MOST_SAMPLES: u64 = 1 << 50;

/// 1 / (j (2 j + 1)) from j = 1.
const ODD_ENTROPY: [f64; 18] = [
    1.0 / 3.0,
    1.0 / 10.0,
    1.0 / 21.0,
    1.0 / 36.0,
    1.0 / 55.0,
    1.0 / 78.0,
    1.0 / 105.0,
    1.0 / 136.0,
    1.0 / 171.0,
    1.0 / 210.0,
    1.0 / 253.0,
    1.0 / 300.0,
    1.0 / 351.0,
    1.0 / 406.0,
    1.0 / 465.0,
    1.0 / 528.0,
    1.0 / 595.0,
    1.0 / 666.0,
];

/// `(1 + x) ln(1 + x) - (1 - x) ln(1 - x) - 2 x`, times z, at x = h / z, where `rest` is z - h >= 1/2.
#[inline]
fn odd_entropy(z: f64, h: f64, rest: f64) -> f64 {
    let x = h / z;
    if x < 0.4 {
        let xx = x * x;
        // Nine terms carry x < 0.13 to the last digit.
        let sum = if x < 0.13 {
            simd::polynomial::<false, 9>(xx, ODD_ENTROPY.first_chunk().expect("longer than nine"))
        } else {
            simd::polynomial::<false, 18>(xx, &ODD_ENTROPY)
        };
        -h * xx * sum
    } else {
        (z + h) * x.ln_1p() - rest * (rest / z).ln() - 2.0 * h
    }
}

/// `ln F = ln [C(n - c, k) / C(n, k)]`: the logarithm of the unbiased estimate of failing k times; minus infinity where
/// any k samples hold a correct one, NaN for k > n. Within 2e-15 relative for n up to [`MOST_SAMPLES`].
///
/// With a = min(c, k), b = max(c, k), h = a/2, z0 = n + 1/2 - h and z1 = z0 - b, F is the ratio of the products of the a
/// whole numbers centred at z1 and at z0. Stirling's formula about those centres gives
///
/// `a ln(z1/z0) + z1 φ(h/z1) - z0 φ(h/z0) + R(z1 + h) - R(z1 - h) - R(z0 + h) + R(z0 - h)`
///
/// with φ from [`odd_entropy`] and R from [`half_stirling`]. The first term carries the size of the result and the second
/// its sign; the rest is smaller, so that nothing cancels.
///
/// # Panics
/// In debug builds when c > n.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn ln_failure(n: u64, c: u64, k: u64) -> f64 {
    debug_assert!(c <= n && n <= MOST_SAMPLES);
    if k > n {
        return f64::NAN;
    }
    let (a, b) = if c < k { (c, k) } else { (k, c) };
    if a == 0 {
        return 0.0;
    }
    let Some(r) = (n - a).checked_sub(b) else {
        return f64::NEG_INFINITY;
    };
    ln_failure_inside(n as f64, a as f64, b as f64, r as f64)
}

/// [`ln_failure`] for 1 <= a <= b and r = n - a - b >= 0.
#[inline]
fn ln_failure_inside(n: f64, a: f64, b: f64, r: f64) -> f64 {
    let h = 0.5 * a;
    let z0 = n + 0.5 - h;
    let z1 = z0 - b;
    let share = b / z0;
    let ln_ratio = if share < 0.5 { (-share).ln_1p() } else { (z1 / z0).ln() };
    if a < 1.5 {
        // One factor: the centred formula is this logarithm and corrections that add up to nothing.
        return ln_ratio;
    }
    let entropy = odd_entropy(z1, h, r + 0.5) - odd_entropy(z0, h, z0 - h);
    let remainders = (half_stirling(n - b) - half_stirling(r)) - (half_stirling(n) - half_stirling(n - a));
    a * ln_ratio + (entropy + remainders)
}

/// pass@k = `1 - C(n - c, k) / C(n, k)`: the unbiased estimate of getting at least one of k right (Chen et al. 2021,
/// arXiv 2107.03374, equation 1); NaN for k > n. Within 2e-15 relative.
///
/// # Panics
/// In debug builds when c > n.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn pass_at_k(n: u64, c: u64, k: u64) -> f64 {
    debug_assert!(c <= n && n <= MOST_SAMPLES);
    if k > n {
        return f64::NAN;
    }
    let (a, b) = if c < k { (c, k) } else { (k, c) };
    if a <= 1 {
        return a as f64 * b as f64 / n as f64;
    }
    let Some(r) = (n - a).checked_sub(b) else {
        return 1.0;
    };
    let (n, a, b) = (n as f64, a as f64, b as f64);
    // F <= exp(-a b / n): beyond this, 1 - F rounds to 1.
    if a * b > 40.0 * n { 1.0 } else { -ln_failure_inside(n, a, b, r as f64).exp_m1() }
}

/// [`pass_at_k`] of many problems with one n: c from `c`, results into `out`. The same bound holds.
///
/// # Panics
/// When the lengths differ.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn passes_at_k(n: u64, c: &[f64], k: u64, out: &mut [f64]) {
    assert_eq!(c.len(), out.len(), "slices must have one length");
    let (nf, kf) = (n as f64, k as f64);
    let (fewest, most) = c.iter().fold((nf, 0.0_f64), |(fewest, most), &c| (fewest.min(c), most.max(c)));
    if fewest * kf > 40.0 * nf && k <= n {
        // As in `pass_at_k`.
        out.fill(1.0);
        return;
    }
    if k <= 1 || k > n {
        for (out, &c) in out.iter_mut().zip(c) {
            *out = pass_at_k(n, c as u64, k);
        }
        return;
    }
    // The largest x = h / z1 of the lanes decides how many terms they need.
    if most.min(kf) < 0.25 * (nf - most - kf) {
        passes_inside::<9>(nf, kf, c, out);
    } else {
        passes_inside::<18>(nf, kf, c, out);
    }
    for (out, &c) in out.iter_mut().zip(c) {
        if !ordinary(nf, kf, c) {
            *out = pass_at_k(n, c as u64, k);
        }
    }
}

/// Whether the series serve: at least twelve samples beside the k and the c, more than one of either, and the distance
/// from the centre below 0.4 of it.
#[inline(always)]
fn ordinary(n: f64, k: f64, c: f64) -> bool {
    let (a, b) = if c < k { (c, k) } else { (k, c) };
    let z1 = n + 0.5 - 0.5 * a - b;
    a >= 2.0 && n - a - b >= crate::special::SHIFT && 0.5 * a < 0.4 * z1
}

/// [`ln_failure_inside`] over lanes that are [`ordinary`]; the others get a meaningless number.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn passes_inside<const TERMS: usize>(n: f64, k: f64, c: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let series: &[f64; TERMS] = ODD_ENTROPY.first_chunk().expect("at most eighteen");
    for (out, &c) in out.iter_mut().zip(c) {
        let a = if c < k { c } else { k };
        let b = if c < k { k } else { c };
        let h = 0.5 * a;
        let z0 = n + 0.5 - h;
        let z1 = z0 - b;
        let share = b / z0;
        let ln_ratio = if share < 0.5 { simd::ln_1p::<FMA>(-share) } else { simd::ln::<FMA>(z1 / z0) };
        let (x0, x1) = (h / z0, h / z1);
        let (xx0, xx1) = (x0 * x0, x1 * x1);
        let entropy =
            h * (xx0 * simd::polynomial::<FMA, TERMS>(xx0, series) - xx1 * simd::polynomial::<FMA, TERMS>(xx1, series));
        // One division for two reciprocals.
        let difference = |v: f64, w: f64| {
            let reciprocal = 1.0 / (v * w);
            let (v, w) = (w * reciprocal, v * reciprocal);
            let v = v * simd::polynomial::<FMA, 7>(v * v, &HALF_STIRLING);
            v - w * simd::polynomial::<FMA, 7>(w * w, &HALF_STIRLING)
        };
        let remainders = difference(n - b + 0.5, n - a - b + 0.5) - difference(n + 0.5, n - a + 0.5);
        *out = -simd::exp_m1::<FMA>(a * ln_ratio + (entropy + remainders));
    }
}

/// pass^k = `C(c, k) / C(n, k)`: the unbiased estimate of getting all of k right (Yao et al. 2024, arXiv 2406.12045);
/// NaN for k > n. Within 2e-15 (1 + |ln pass^k|) relative.
///
/// # Panics
/// In debug builds when c > n.
#[must_use]
pub fn pass_hat_k(n: u64, c: u64, k: u64) -> f64 {
    // All right is none wrong.
    ln_failure(n, n - c, k).exp()
}

/// The number of correct samples that G-pass@k asks for: `ceil(tau k)`, at least one.
///
/// # Errors
/// [`Error::Value`] unless tau lies in [0, 1].
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn threshold(tau: f64, k: u64) -> Result<u64> {
    if !(0.0..=1.0).contains(&tau) {
        return Err(Error::Value {
            name: "tau",
            value: tau,
            must: "must lie in [0, 1]: it is a share of the k samples",
        });
    }
    // 0.07 * 100 is 7.000000000000001 in floating point and means 7.
    let exact = tau * k as f64;
    Ok(((exact * (1.0 - 1e-12)).ceil() as u64).clamp(1, k.max(1)))
}

/// G-pass@k: the unbiased estimate of getting at least `least` of k right, the upper tail of a hypergeometric
/// distribution (Liu et al. 2024, arXiv 2412.13147, equation 5); NaN for k > n. Within 1e-14 relative above 1e-290.
///
/// # Panics
/// In debug builds when c > n.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn g_pass_at_k(n: u64, c: u64, k: u64, least: u64) -> f64 {
    debug_assert!(c <= n && n <= MOST_SAMPLES);
    if k > n {
        return f64::NAN;
    }
    if least <= 1 {
        return if least == 0 { 1.0 } else { pass_at_k(n, c, k) };
    }
    let (lowest, highest) = (k.saturating_sub(n - c), c.min(k));
    if least > highest {
        return 0.0;
    }
    if least <= lowest {
        return 1.0;
    }
    if least == k {
        return pass_hat_k(n, c, k);
    }
    // Probabilities relative to that of the mode, walked outwards on both sides until they no longer count: their sum
    // above the threshold over the sum of all. Every term is positive.
    let mode = (u128::from(k + 1) * u128::from(c + 1) / u128::from(n + 2)) as u64;
    let mode = mode.clamp(lowest, highest);
    let (nf, cf, kf) = (n as f64, c as f64, k as f64);
    let rise = |j: f64| (cf - j) * (kf - j) / ((j + 1.0) * (nf - cf - kf + j + 1.0));
    let (mut below, mut above) = (0.0, 0.0);
    let mut add = |j: u64, p: f64| {
        let side: &mut f64 = if j >= least { &mut above } else { &mut below };
        *side += p;
        // Negligible beside its own side, and on its way down.
        p < 1e-18 * *side
    };
    let (mut j, mut p) = (mode, 1.0);
    loop {
        let done = add(j, p);
        if j == highest || (done && j > least) || p == 0.0 {
            break;
        }
        p *= rise(j as f64);
        j += 1;
    }
    let (mut j, mut p) = (mode, 1.0);
    while j > lowest && p > 0.0 {
        j -= 1;
        p /= rise(j as f64);
        if add(j, p) && j < least {
            break;
        }
    }
    above / (above + below)
}

/// The unbiased estimate of the variance of [`pass_at_k`] under new samples of the same problem:
/// `F^2 - C(n - c, 2k) / C(n, 2k)`; NaN for 2k > n, where none exists. It can be negative for one problem.
/// Within 1e-9 relative.
///
/// The second term is an unbiased estimate of the square of the failure rate: two disjoint sets of k samples both fail.
///
/// # Panics
/// In debug builds when c > n.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn variance(n: u64, c: u64, k: u64) -> f64 {
    if k > n / 2 {
        return f64::NAN;
    }
    let once = ln_failure(n, c, k);
    if once == f64::NEG_INFINITY {
        return 0.0;
    }
    // F^2 - F2 = F^2 (1 - F2 / F^2), and the ratio is a product of c factors, or of k, each one minus something small.
    let (nf, cf, kf) = (n as f64, c as f64, k as f64);
    let ln_ratio = if c.min(k) <= 256 {
        let factor = |i: u64| {
            let i = i as f64;
            if c <= k { (kf / (nf - kf - i)).powi(2) } else { (kf / (nf - kf - i)) * (cf / (nf - cf - i)) }
        };
        (0..c.min(k)).map(|i| (-factor(i).min(1.0)).ln_1p()).sum()
    } else {
        ln_failure(n, c, 2 * k) - 2.0 * once
    };
    -(2.0 * once).exp() * ln_ratio.exp_m1()
}

/// The unbiased estimate of pass@k where sampling went on in batches of `batch` until one held a correct sample, or
/// until samples ran out.
///
/// Then c/n is too high, because the last batch was chosen for its success, and so is the usual estimate. Batches before
/// the last hold no correct sample: k samples that end before the last batch fail, those that reach beyond it succeed,
/// and those that end inside it are a draw without replacement from its `batch` samples. NaN where an unsolved problem
/// has fewer than k samples.
///
/// # Errors
/// [`Error::Array`] when n is not a whole number of batches, or c exceeds one batch.
pub fn pass_at_k_stopped(n: u64, c: u64, k: u64, batch: u64) -> Result<f64> {
    if batch == 0 || n == 0 || !n.is_multiple_of(batch) {
        return Err(Error::Array(format!(
            "n = {n} is no whole number of batches of {batch}: stopped sampling draws whole batches"
        )));
    }
    if c > batch {
        return Err(Error::Array(format!(
            "c = {c} exceeds the batch of {batch}: sampling that stops at the first success has correct samples in its last batch only"
        )));
    }
    let before = n - batch;
    Ok(if c == 0 {
        if k > n { f64::NAN } else { 0.0 }
    } else if k <= before {
        0.0
    } else if k >= n {
        1.0
    } else {
        pass_at_k(batch, c, k - before)
    })
}

/// Which number of a problem to estimate, for callers that learn it at run time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimator {
    /// [`pass_at_k`].
    PassAtK,
    /// [`pass_hat_k`].
    PassHatK,
    /// [`g_pass_at_k`] with at least `ceil(tau k)` correct.
    GPassAtK {
        /// The share of the k samples that must be correct.
        tau: f64,
    },
    /// [`ln_failure`].
    LnFailure,
    /// [`variance`] of [`pass_at_k`].
    Variance,
    /// [`pass_at_k_stopped`].
    Stopped {
        /// Samples per batch.
        batch: u64,
    },
}

impl Estimator {
    /// The estimate for one problem.
    ///
    /// # Errors
    /// As [`threshold`] and [`pass_at_k_stopped`].
    #[inline]
    pub fn value(self, n: u64, c: u64, k: u64) -> Result<f64> {
        Ok(match self {
            Self::PassAtK => pass_at_k(n, c, k),
            Self::PassHatK => pass_hat_k(n, c, k),
            Self::GPassAtK { tau } => g_pass_at_k(n, c, k, threshold(tau, k)?),
            Self::LnFailure => ln_failure(n, c, k),
            Self::Variance => variance(n, c, k),
            Self::Stopped { batch } => pass_at_k_stopped(n, c, k, batch)?,
        })
    }
}
