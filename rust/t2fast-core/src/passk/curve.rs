//! Mean pass@k for all k from 1 to n at once.

use multiversion::multiversion;
use rayon::prelude::*;

use super::estimate::ln_failure;
use super::histogram::{Histogram, Pair, Sum};
use crate::error::{Error, Result};

/// Distinct counts per task: their state stays in the first-level cache.
const LANES: usize = 1024;
/// Lanes in flight, a multiple of every vector width.
const WIDTH: usize = 16;
/// Steps between two looks at which lanes still matter.
const STEPS: usize = 64;
/// Steps after which the running products are computed afresh: their rounding errors add up to about 4e-15 by then.
const ANCHOR: u64 = 1024;
/// A lane whose failure rate is below this adds nothing that its own pass@k, near 1 by then, would notice.
const NEGLIGIBLE: f64 = 1e-20;

/// Mean pass@k over the problems for k = 1 ... `k_max`; within 1e-14 relative.
///
/// From `F(k + 1) = F(k) (n - c - k) / (n - k)` follows `pass@(k+1) - pass@k = F(k) c / (n - k)`: the curve is a running sum
/// of positive terms, for all distinct c in one pass.
///
/// # Errors
/// [`Error::Array`] when a problem has fewer than `k_max` samples.
#[allow(clippy::cast_precision_loss)]
pub fn mean_curve(histogram: &Histogram, k_max: u64) -> Result<Vec<f64>> {
    let fewest = histogram.fewest_samples();
    if k_max > fewest {
        return Err(Error::Array(format!(
            "k_max = {k_max} exceeds n = {fewest} of a problem: pass@k is undefined beyond the samples drawn; use extrapolate"
        )));
    }
    let length = usize::try_from(k_max).map_err(|_| Error::Array(format!("k_max = {k_max} exceeds memory")))?;
    let blocks: Vec<&[Pair]> =
        histogram.pairs().chunk_by(|a, b| a.n == b.n).flat_map(|same| same.chunks(LANES)).collect();
    let parts: Vec<Vec<f64>> = blocks.par_iter().map(|pairs| increments(pairs, length)).collect();
    let mut curve = vec![0.0; length];
    let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let problems = histogram.problems() as f64;
    let mut sum = Sum::default();
    for (k, out) in curve.iter_mut().enumerate() {
        if k < longest {
            for part in &parts {
                sum.add(part.get(k).copied().unwrap_or(0.0));
            }
        }
        // Rounding may carry a mean of ones just above 1.
        *out = (sum.value() / problems).min(1.0);
    }
    Ok(curve)
}

/// `sum_c problems_c c F_c(k) / (n - k)` for k = 0, 1, ... until all lanes are negligible, for pairs of one n.
#[allow(clippy::cast_precision_loss)]
fn increments(pairs: &[Pair], length: usize) -> Vec<f64> {
    let n = pairs[0].n;
    // A problem without a correct sample adds nothing.
    let pairs = &pairs[usize::from(pairs[0].c == 0)..];
    let mut alive = pairs.len();
    let padded = alive.next_multiple_of(WIDTH);
    let mut wrong = vec![0.0; padded];
    let mut state = vec![0.0; padded];
    for ((pair, wrong), state) in pairs.iter().zip(&mut wrong).zip(&mut state) {
        *wrong = (pair.n - pair.c) as f64;
        *state = pair.problems as f64 * pair.c as f64;
    }
    let mut sums = Vec::new();
    let mut next_anchor = ANCHOR;
    while alive > 0 && sums.len() < length {
        let k = sums.len() as u64;
        if k >= next_anchor {
            for (pair, state) in pairs[..alive].iter().zip(&mut state) {
                *state = pair.problems as f64 * pair.c as f64 * ln_failure(n, pair.c, k).exp();
            }
            next_anchor += ANCHOR;
        }
        let start = sums.len();
        sums.resize(length.min(start + STEPS), 0.0);
        let used = alive.next_multiple_of(WIDTH);
        advance(n as f64, k as f64, &wrong[..used], &mut state[..used], &mut sums[start..]);
        // Pairs rise in c, so that those at the end are the first to vanish.
        while alive > 0 {
            let pair = pairs[alive - 1];
            if state[alive - 1] > NEGLIGIBLE * pair.problems as f64 * pair.c as f64 {
                break;
            }
            alive -= 1;
            state[alive] = 0.0;
        }
    }
    sums
}

/// Writes the increments for k, k + 1, ... and moves the lanes on.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn advance(n: f64, k: f64, wrong: &[f64], state: &mut [f64], sums: &mut [f64]) {
    let mut k = k;
    for out in sums {
        let inverse = 1.0 / (n - k);
        let mut sum = [0.0; WIDTH];
        for (state, wrong) in state.chunks_exact_mut(WIDTH).zip(wrong.chunks_exact(WIDTH)) {
            for i in 0..WIDTH {
                sum[i] += state[i];
                state[i] *= (wrong[i] - k) * inverse;
            }
        }
        let mut half = WIDTH;
        while half > 1 {
            half /= 2;
            for i in 0..half {
                sum[i] += sum[i + half];
            }
        }
        *out = sum[0] * inverse;
        k += 1.0;
    }
}
