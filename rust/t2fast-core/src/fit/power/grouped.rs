//! The same sums where a checkpoint has a row for every k: its terms of N and D are computed once for all of them.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::FULL;
use super::polish::Prepared;
use super::sums::penalised;
use crate::fit::Scale;
use crate::fit::varpro::{LANES, add_dot};
use crate::simd;

/// Full parameters of the terms that are the same for every k: E, those of N, of D and of N/D; and of k, the scale first.
const SLOTS: [usize; 7] = [0, 1, 2, 3, 4, 7, 8];
const G: usize = 5;

/// Rows of one checkpoint side by side: its terms of N and D are computed once for all its k, and those of k once for
/// all checkpoints.
pub(super) struct Grouped {
    /// Centred logarithms of N and D, and of N/D where that has a term, by checkpoint.
    x: Vec<Vec<f64>>,
    /// Where each checkpoint's rows begin, and where the last one's end.
    begin: Vec<usize>,
    /// The distinct logarithms of k, and which of them each row has.
    k: Vec<f64>,
    place: Vec<usize>,
}

impl Grouped {
    /// Groups rows of one checkpoint, which are side by side already.
    pub(super) fn new(x: &[Vec<f64>], k: Vec<f64>, place: Vec<usize>) -> Self {
        let rows = x[0].len();
        // The third column is k.
        let columns: Vec<&Vec<f64>> = x.iter().enumerate().filter(|(t, _)| *t != 2).map(|(_, x)| x).collect();
        let mut grouped = Self { x: vec![Vec::new(); columns.len()], begin: Vec::new(), k, place };
        for row in 0..rows {
            if row == 0 || x[0][row] != x[0][row - 1] || x[1][row] != x[1][row - 1] {
                grouped.begin.push(row);
                grouped.x.iter_mut().zip(&columns).for_each(|(out, column)| out.push(column[row]));
            }
        }
        grouped.begin.push(rows);
        grouped
    }
}

/// [`accumulate`] for rows grouped by checkpoint.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn accumulate_grouped(
    rows: &Prepared<'_>,
    grouped: &Grouped,
    full: &[f64; FULL],
    e: f64,
    shape: (f64, f64, f64),
    gradient: &mut [f64; FULL],
    hessian: &mut [[f64; FULL]; FULL],
) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let log = rows.problem.settings.scale == Scale::Log;
    let (n, checkpoints) = (rows.y.len(), grouped.x[0].len());
    // Terms of N and D by checkpoint, of k by distinct k, then spread over the rows.
    let slots = &SLOTS[..=2 * grouped.x.len()];
    let mut columns = vec![[0.0; SLOTS.len()]; checkpoints];
    for (i, column) in columns.iter_mut().enumerate() {
        column[0] = e;
        for (t, x) in grouped.x.iter().enumerate() {
            let scale = SLOTS[1 + 2 * t];
            let term = simd::exp::<FMA>(simd::mul_add::<FMA>(-full[scale + 1], x[i], full[scale]));
            (column[1 + 2 * t], column[2 + 2 * t]) = (term, -x[i] * term);
        }
    }
    let of_k = |k: &f64| simd::exp::<FMA>(simd::mul_add::<FMA>(-full[G + 1], *k, full[G]));
    let samples: Vec<f64> = grouped.k.iter().map(of_k).collect();
    let mut scratch = vec![0.0; 6 * n];
    let (g, rest) = scratch.split_at_mut(n);
    let (slope, rest) = rest.split_at_mut(n);
    let (m, rest) = rest.split_at_mut(n);
    let (first, rest) = rest.split_at_mut(n);
    let (second, product) = rest.split_at_mut(n);
    let (y, weights) = (&rows.y[..n], &rows.weights[..n]);
    for (row, &place) in grouped.place.iter().enumerate() {
        g[row] = samples[place];
        slope[row] = -grouped.k[place] * samples[place];
    }
    for (i, column) in columns.iter().enumerate() {
        // In the order of `accumulate`, so that both round alike: E, N, D, k, and N/D last.
        let base = column[0] + column[1] + column[3];
        for row in grouped.begin[i]..grouped.begin[i + 1] {
            m[row] = base + g[row] + column[5];
        }
    }
    let bent = if log { 1.0 } else { 0.0 };
    // `product` holds residuals, and `m` what derivatives are divided by, until they are used up.
    if log {
        for row in 0..n {
            product[row] = simd::ln::<FMA>(m[row]) - y[row];
            m[row] = 1.0 / m[row];
        }
    } else {
        for row in 0..n {
            product[row] = m[row] - y[row];
            m[row] = 1.0;
        }
    }
    for row in 0..n {
        (product[row], first[row], second[row]) = penalised(product[row], weights[row], m[row], bent, shape);
    }
    let mut lanes = [[0.0; LANES]; 7];
    for chunk in product.chunks_exact(LANES) {
        for (sum, v) in lanes[0].iter_mut().zip(chunk) {
            *sum += v;
        }
    }
    add_dot::<FMA>(first, g, &mut lanes[1]);
    add_dot::<FMA>(first, slope, &mut lanes[2]);
    for row in 0..n {
        product[row] = second[row] * g[row];
    }
    add_dot::<FMA>(product, g, &mut lanes[3]);
    add_dot::<FMA>(product, slope, &mut lanes[4]);
    for row in 0..n {
        m[row] = second[row] * slope[row];
    }
    add_dot::<FMA>(m, slope, &mut lanes[5]);
    let [value, by_scale, by_exponent, scale_scale, scale_exponent, exponent_exponent, _] =
        lanes.map(|lanes| lanes.iter().sum::<f64>());
    // d2 by the exponent of k: sum of first x^2 g, x being -slope / g.
    let mut bend = 0.0;
    for (row, &place) in grouped.place.iter().enumerate() {
        bend -= first[row] * slope[row] * grouped.k[place];
    }
    let rows = [&*first, &*second, &*product, &*m];
    if grouped.x.len() == 2 {
        spread::<5>(grouped, &columns, rows, gradient, hessian);
    } else {
        spread::<7>(grouped, &columns, rows, gradient, hessian);
    }
    (gradient[5], gradient[6]) = (by_scale, by_exponent);
    hessian[5][5] = scale_scale + by_scale;
    hessian[5][6] = scale_exponent + by_exponent;
    hessian[6][6] = exponent_exponent + bend;
    hessian[0][0] += gradient[0];
    for scale in slots.iter().copied().skip(1).step_by(2) {
        hessian[scale][scale] += gradient[scale];
        hessian[scale][scale + 1] += gradient[scale + 1];
    }
    value
}

/// Adds what the rows of each checkpoint say of the first P of [`SLOTS`]. Of a row come its first derivative, its second, and
/// the second times the derivatives of the term of k by its scale and its exponent.
#[inline(always)]
fn spread<const P: usize>(
    grouped: &Grouped,
    columns: &[[f64; SLOTS.len()]],
    [first, second, with_scale, with_exponent]: [&[f64]; 4],
    gradient: &mut [f64; FULL],
    hessian: &mut [[f64; FULL]; FULL],
) {
    let (mut by, mut pairs, mut mixed) = ([0.0; P], [[0.0; P]; P], [[0.0; 2]; P]);
    for (i, column) in columns.iter().enumerate() {
        let mut sums = [0.0; 4];
        for row in grouped.begin[i]..grouped.begin[i + 1] {
            sums[0] += first[row];
            sums[1] += second[row];
            sums[2] += with_scale[row];
            sums[3] += with_exponent[row];
        }
        for a in 0..P {
            by[a] += sums[0] * column[a];
            for b in a..P {
                pairs[a][b] += sums[1] * column[a] * column[b];
            }
            mixed[a][0] += sums[2] * column[a];
            mixed[a][1] += sums[3] * column[a];
        }
        for (t, x) in grouped.x.iter().enumerate() {
            // The second derivative of the term itself by its exponent.
            pairs[2 + 2 * t][2 + 2 * t] -= sums[0] * column[2 + 2 * t] * x[i];
        }
    }
    for a in 0..P {
        gradient[SLOTS[a]] += by[a];
        for b in a..P {
            hessian[SLOTS[a]][SLOTS[b]] += pairs[a][b];
        }
        // Only the upper half is kept, and terms of N/D come after those of k.
        for (offset, sum) in mixed[a].into_iter().enumerate() {
            let (low, high) = (SLOTS[a].min(G + offset), SLOTS[a].max(G + offset));
            hessian[low][high] += sum;
        }
    }
}
