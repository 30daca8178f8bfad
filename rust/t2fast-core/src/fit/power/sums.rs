//! Sums over rows, a block at a time: the objective with its derivatives.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::polish::Prepared;
use super::{FULL, PowerSum, TERMS};
use crate::fit::Scale;
use crate::fit::varpro::{BLOCK, LANES, add_dot};
use crate::simd;

/// The constant, and every term with its derivative by its exponent.
const COLUMNS: usize = 1 + 2 * TERMS;
/// Pairs of them.
const PAIRS: usize = COLUMNS * (COLUMNS + 1) / 2;

/// `exp(scale - exponent x)`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn powers(scale: f64, exponent: f64, x: &[f64]) -> Vec<f64> {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    x.iter().map(|x| simd::exp::<FMA>(simd::mul_add::<FMA>(-exponent, *x, scale))).collect()
}

/// The penalty of a residual and its first two derivatives by the prediction m; where the residual is one of ln m,
/// `inverse` is 1 / m and `bent` 1, else 1 and 0.
#[inline(always)]
pub(super) fn penalised(
    r: f64,
    weight: f64,
    inverse: f64,
    bent: f64,
    (under, over, width): (f64, f64, f64),
) -> (f64, f64, f64) {
    let c = if r < -width { -width } else { r };
    let c = if c > width { width } else { c };
    let factor = weight * if r < 0.0 { under } else { over };
    let slope = factor * c;
    let curvature = if r.abs() <= width { factor } else { 0.0 };
    // For logarithms d2 ln m = d2 m / m - (dm / m)^2.
    (slope * (r - 0.5 * c), slope * inverse, (curvature - bent * slope) * inverse * inverse)
}

/// Sums over rows: value, gradient and second derivatives by the full parameters without R*.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn accumulate(
    rows: &Prepared<'_>,
    full: &[f64; FULL],
    e: f64,
    shape: (f64, f64, f64),
    gradient: &mut [f64; FULL],
    hessian: &mut [[f64; FULL]; FULL],
) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let terms = rows.x.len();
    let p = 1 + 2 * terms;
    let log = rows.problem.settings.scale == Scale::Log;
    let mut sums = [[0.0; LANES]; PAIRS];
    let mut firsts = [[0.0; LANES]; COLUMNS];
    let mut bends = [[0.0; LANES]; TERMS];
    let mut values = [0.0; LANES];
    let mut columns = [[0.0; BLOCK]; COLUMNS];
    let (mut first, mut second, mut product) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    let (mut inverse, mut residual) = ([1.0; BLOCK], [0.0; BLOCK]);
    let bent = if log { 1.0 } else { 0.0 };
    let n = rows.y.len();
    let mut at = 0;
    while at < n {
        let len = BLOCK.min(n - at);
        columns[0] = [e; BLOCK];
        let mut m = [e; BLOCK];
        for t in 0..terms {
            let (scale, exponent) = (full[1 + 2 * t], full[2 + 2 * t]);
            let x = &rows.x[t][at..at + len];
            let (value, slope) = columns.split_at_mut(2 + 2 * t);
            let (value, slope) = (&mut value[1 + 2 * t], &mut slope[0]);
            for i in 0..len {
                let term = simd::exp::<FMA>(simd::mul_add::<FMA>(-exponent, x[i], scale));
                value[i] = term;
                slope[i] = -x[i] * term;
                m[i] += term;
            }
        }
        let (y, w) = (&rows.y[at..at + len], &rows.weights[at..at + len]);
        // Two loops and no branch inside either, so that both become vector code.
        if log {
            for i in 0..len {
                inverse[i] = 1.0 / m[i];
                residual[i] = simd::ln::<FMA>(m[i]) - y[i];
            }
        } else {
            for i in 0..len {
                residual[i] = m[i] - y[i];
            }
        }
        for i in 0..len {
            (product[i], first[i], second[i]) = penalised(residual[i], w[i], inverse[i], bent, shape);
        }
        for chunk in product[..len].chunks_exact(LANES) {
            for (sum, v) in values.iter_mut().zip(chunk) {
                *sum += v;
            }
        }
        let mut pair = 0;
        for a in 0..p {
            add_dot::<FMA>(&first[..len], &columns[a][..len], &mut firsts[a]);
            for i in 0..len {
                product[i] = second[i] * columns[a][i];
            }
            for column in &columns[a..p] {
                add_dot::<FMA>(&product[..len], &column[..len], &mut sums[pair]);
                pair += 1;
            }
        }
        for t in 0..terms {
            let x = &rows.x[t][at..at + len];
            for i in 0..len {
                product[i] = -first[i] * x[i];
            }
            add_dot::<FMA>(&product[..len], &columns[2 + 2 * t][..len], &mut bends[t]);
        }
        at += len;
    }
    let mut pair = 0;
    for a in 0..p {
        gradient[a] = firsts[a].iter().sum();
        for b in a..p {
            hessian[a][b] = sums[pair].iter().sum();
            pair += 1;
        }
    }
    // Second derivatives of the prediction: of E and of each term by its own scale and exponent.
    hessian[0][0] += gradient[0];
    for t in 0..terms {
        let (scale, exponent) = (1 + 2 * t, 2 + 2 * t);
        hessian[scale][scale] += gradient[scale];
        hessian[scale][exponent] += gradient[exponent];
        hessian[exponent][exponent] += bends[t].iter().sum::<f64>();
    }
    values.iter().sum()
}

/// Weighted sum of the sizes of residuals, and the largest size.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn residual_sizes(rows: &Prepared<'_>, full: &[f64; FULL], e: f64) -> (f64, f64) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let log = rows.problem.settings.scale == Scale::Log;
    let mut sums = [0.0; LANES];
    let mut largest = [0.0; LANES];
    let mut i = 0;
    while i < rows.y.len() {
        let mut m = [e; LANES];
        for (t, x) in rows.x.iter().enumerate() {
            for (m, x) in m.iter_mut().zip(&x[i..i + LANES]) {
                *m += simd::exp::<FMA>(simd::mul_add::<FMA>(-full[2 + 2 * t], *x, full[1 + 2 * t]));
            }
        }
        for lane in 0..LANES {
            let size = (if log { simd::ln::<FMA>(m[lane]) } else { m[lane] } - rows.y[i + lane]).abs();
            let w = rows.weights[i + lane];
            sums[lane] = simd::mul_add::<FMA>(w, size, sums[lane]);
            let counted = if w > 0.0 { size } else { 0.0 };
            largest[lane] = if counted > largest[lane] { counted } else { largest[lane] };
        }
        i += LANES;
    }
    (sums.iter().sum(), largest.iter().copied().fold(0.0, f64::max))
}

impl PowerSum {
    /// Every term of every row, without repeated tokens.
    pub(super) fn terms(&self, full: &[f64; FULL]) -> Vec<Vec<f64>> {
        self.x.iter().enumerate().map(|(t, x)| powers(full[1 + 2 * t], full[2 + 2 * t], x)).collect()
    }

    /// As [`PowerSum::row`], from terms at hand.
    pub(super) fn summed(&self, e: f64, row: usize, terms: &[Vec<f64>]) -> (f64, [f64; FULL]) {
        let mut by = [0.0; FULL];
        by[0] = if self.settings.e.is_some() { 0.0 } else { e };
        let mut m = e;
        for (t, (term, x)) in terms.iter().zip(&self.x).enumerate() {
            m += term[row];
            by[1 + 2 * t] = term[row];
            by[2 + 2 * t] = -x[row] * term[row];
        }
        (m, by)
    }
}
