//! The best of k samples by a noisy score.
//!
//! Right answers score N(d', 1), wrong ones N(0, 1). The best score x of k belongs to a right answer with density
//! `k F(x)^(k - 1) p phi(x - d')`, `F = p Phi(x - d') + (1 - p) Phi(x)`: averaged over Binomial(k, p) that is the chance that
//! the largest of j right scores beats the largest of k - j wrong ones.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::logit::Logits;
use super::sheet::{LN_MOST_K, Sheet};
use crate::simd;

/// Distance between nodes of the score, in standard deviations.
pub(super) const STEP: f64 = 0.09;
/// Where the scores' distribution ends: at 1e-19.
pub(super) const END: f64 = 9.0;
/// Distance between rows in ln k, and their number: k to e^16, nine million.
const ROW: f64 = 0.25;
const ROWS: u32 = 65;

/// 1 - Phi(x).
pub(super) fn upper_tail(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - upper_tail(-x);
    }
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x < 3.0 {
        // Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), Marsaglia 2004.
        let (mut term, mut sum, mut i) = (x, x, 1.0);
        while term > 1e-18 * sum {
            i += 2.0;
            term *= x * x / i;
            sum += term;
        }
        return 0.5 - density * sum;
    }
    // Laplace's continued fraction, from the far end.
    let mut fraction = x;
    for i in (1..=80).rev() {
        fraction = x + f64::from(i) / fraction;
    }
    density / fraction
}

/// The table of the rule.
pub(super) fn sheet(d_prime: f64) -> Sheet {
    let logits = Logits::everywhere(0.15, 1.0, LN_MOST_K);
    let ks: Vec<f64> = (0..ROWS).map(|i| (f64::from(i) * ROW).exp()).collect();
    let (mut right, mut wrong, mut density) = (Vec::new(), Vec::new(), Vec::new());
    let mut x = -END;
    while x < END + d_prime {
        right.push(upper_tail(x - d_prime));
        wrong.push(upper_tail(x));
        let at = x - d_prime;
        density.push((-0.5 * at * at).exp() / (2.0 * std::f64::consts::PI).sqrt());
        x += STEP;
    }
    let mut rows = vec![vec![0.0; logits.p.len()]; ks.len()];
    let mut ln = vec![0.0; right.len()];
    for (i, (&p, &q)) in logits.p.iter().zip(&logits.q).enumerate() {
        ln_below([p, q], &right, &wrong, &mut ln);
        for (row, &k) in rows.iter_mut().zip(&ks).skip(1) {
            row[i] = p * (k * STEP * power_sum(k - 1.0, &ln, &density) - 1.0);
        }
    }
    Sheet::new(logits, rows, ks, [0, 8], f64::INFINITY, false, 0.3)
}

/// ln F at each score.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn ln_below(pq: [f64; 2], right: &[f64], wrong: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for ((out, right), wrong) in out.iter_mut().zip(right).zip(wrong) {
        let above = pq[0] * right + pq[1] * wrong;
        let above = if above < 1.0 - 1e-15 { above } else { 1.0 - 1e-15 };
        *out = simd::ln_1p::<FMA>(-above);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn power_sum(power: f64, ln: &[f64], density: &[f64]) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let (blocks, rest) = ln.as_chunks::<8>();
    let (others, more) = density.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (ln, density) in blocks.iter().zip(others) {
        for i in 0..8 {
            lanes[i] += density[i] * simd::exp::<FMA>(power * ln[i]);
        }
    }
    for (i, (ln, density)) in rest.iter().zip(more).enumerate() {
        lanes[i] += density * simd::exp::<FMA>(power * ln);
    }
    super::logit::added(lanes)
}
