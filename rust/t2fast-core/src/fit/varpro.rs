//! Variable projection on a grid: for fixed exponents a sum of powers is linear, and least squares has a closed form.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::dense::{cholesky, solve};
use crate::simd;

/// Lanes of a dot product; fixed, so that sums don't depend on the machine.
const LANES: usize = 8;

/// The constant and at most three terms.
const SIZE: usize = 4;

/// One candidate: coefficients (the constant first) and an exponent per term, with its sum of squares.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Weighted sum of squared residuals.
    pub squares: f64,
    /// The constant and a coefficient per term, none negative.
    pub coefficients: [f64; SIZE],
    /// The exponents.
    pub exponents: [f64; 3],
}

/// What to project: `y = constant + sum_t c_t exp(-e_t x_t)`.
pub struct Projection<'a> {
    /// One column per term.
    pub terms: Vec<&'a [f64]>,
    /// Observations, less any constant that is known.
    pub y: &'a [f64],
    /// Weights of squared residuals.
    pub weights: &'a [f64],
    /// Whether a constant is fitted.
    pub constant: bool,
    /// Whether the constant may be negative.
    pub signed: bool,
    /// Whether the first two exponents are one.
    pub tied: bool,
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn power(exponent: f64, x: &[f64], weights: &[f64], out: &mut [f64], weighted: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    for (((x, w), out), weighted) in x.iter().zip(weights).zip(out).zip(weighted) {
        *out = simd::exp::<FMA>(-exponent * x);
        *weighted = w * *out;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] = simd::mul_add::<FMA>(a[i], b[i], lanes[i]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// The exponents tried for each of `terms` terms.
fn grid(terms: usize) -> Vec<f64> {
    let (points, low, high) = if terms == 3 { (7, 0.04_f64, 2.2_f64) } else { (12, 0.04, 2.2) };
    let step = (high / low).ln() / f64::from(points - 1);
    (0..points).map(|i| low * (f64::from(i) * step).exp()).collect()
}

impl Projection<'_> {
    /// The best `count` candidates of the grid: its local minima by increasing sum of squares, then the best others that
    /// are not next to one already taken.
    pub fn candidates(&self, count: usize) -> Vec<Candidate> {
        let terms = self.terms.len();
        let exponents = grid(terms);
        let g = exponents.len();
        let n = self.y.len();
        // Columns of every term at every exponent, and all the inner products that normal equations need.
        let mut columns = vec![0.0; terms * g * n];
        let mut weighted = vec![0.0; terms * g * n];
        let column = |c: usize| c * n..(c + 1) * n;
        for (t, x) in self.terms.iter().enumerate() {
            for (i, &e) in exponents.iter().enumerate() {
                let at = column(t * g + i);
                power(e, x, self.weights, &mut columns[at.clone()], &mut weighted[at]);
            }
        }
        let ones = vec![1.0; n];
        let total: f64 = self.weights.iter().sum();
        let (wy, wyy): (f64, f64) =
            (dot(self.weights, self.y), self.y.iter().zip(self.weights).map(|(y, w)| w * y * y).sum());
        let sums: Vec<f64> = (0..terms * g).map(|c| dot(&weighted[column(c)], &ones)).collect();
        let with_y: Vec<f64> = (0..terms * g).map(|c| dot(&weighted[column(c)], self.y)).collect();
        let mut cross = vec![0.0; terms * g * terms * g];
        for c in 0..terms * g {
            for d in c..terms * g {
                // Two exponents of one term never meet.
                if c == d || d / g != c / g {
                    cross[c * terms * g + d] = dot(&weighted[column(c)], &columns[column(d)]);
                }
            }
        }
        let points: usize = (0..terms).map(|_| g).product();
        let solved: Vec<Candidate> = (0..points)
            .map(|point| {
                let mut chosen = [0; 3];
                let mut rest = point;
                for (t, chosen) in chosen.iter_mut().enumerate().take(terms) {
                    *chosen = t * g + rest % g;
                    rest /= g;
                }
                if self.tied && chosen[0] % g != chosen[1] % g {
                    return Candidate { squares: f64::INFINITY, coefficients: [0.0; SIZE], exponents: [0.0; 3] };
                }
                let mut matrix = [[0.0; SIZE]; SIZE];
                let mut right = [0.0; SIZE];
                (matrix[0][0], right[0]) = (total, wy);
                for t in 0..terms {
                    matrix[0][t + 1] = sums[chosen[t]];
                    matrix[t + 1][0] = sums[chosen[t]];
                    right[t + 1] = with_y[chosen[t]];
                    for s in t..terms {
                        let value = cross[chosen[t] * terms * g + chosen[s]];
                        (matrix[t + 1][s + 1], matrix[s + 1][t + 1]) = (value, value);
                    }
                }
                let coefficients = self.non_negative(&matrix, &right, terms + 1);
                let explained: f64 = (0..=terms).map(|i| coefficients[i] * right[i]).sum();
                let exponents = [0, 1, 2].map(|t| if t < terms { exponents[chosen[t] % g] } else { 0.0 });
                Candidate { squares: (wyy - explained).max(0.0), coefficients, exponents }
            })
            .collect();
        select(&solved, g, terms, count)
    }

    /// Least squares with coefficients kept from going negative: those that would are dropped and the rest solved again.
    fn non_negative(&self, matrix: &[[f64; SIZE]; SIZE], right: &[f64; SIZE], n: usize) -> [f64; SIZE] {
        let mut active = [true; SIZE];
        active[0] = self.constant;
        loop {
            let mut reduced = [[0.0; SIZE]; SIZE];
            let mut b = [0.0; SIZE];
            for i in 0..n {
                if !active[i] {
                    reduced[i][i] = 1.0;
                    continue;
                }
                b[i] = right[i];
                for j in 0..n {
                    if active[j] {
                        reduced[i][j] = matrix[i][j];
                    }
                }
                // Nearly equal columns (little spread in N, D or k) must not break the start.
                reduced[i][i] *= 1.0 + 1e-13;
            }
            let Some(factor) = cholesky(&reduced, n) else { return [0.0; SIZE] };
            let x = solve(&factor, &b, n);
            let mut clean = true;
            for i in 0..n {
                if active[i] && x[i] < 0.0 && !(i == 0 && self.signed) {
                    active[i] = false;
                    clean = false;
                }
            }
            if clean {
                return x;
            }
        }
    }
}

fn select(solved: &[Candidate], g: usize, terms: usize, count: usize) -> Vec<Candidate> {
    let place = |point: usize| [point % g, (point / g) % g, point / (g * g)];
    let distance = |a: usize, b: usize| {
        let (a, b) = (place(a), place(b));
        (0..3).map(|t| a[t].abs_diff(b[t])).max().unwrap_or(0)
    };
    let mut order: Vec<usize> = (0..solved.len()).filter(|&i| solved[i].squares.is_finite()).collect();
    order.sort_by(|&a, &b| solved[a].squares.total_cmp(&solved[b].squares));
    let strides = [1, g, g * g];
    let local = |point: usize| {
        let at = place(point);
        (0..terms).all(|t| {
            let better = |other: usize| solved[other].squares < solved[point].squares;
            !(at[t] > 0 && better(point - strides[t]) || at[t] + 1 < g && better(point + strides[t]))
        })
    };
    let mut taken: Vec<usize> = order.iter().copied().filter(|&point| local(point)).take(count).collect();
    for &point in &order {
        if taken.len() >= count {
            break;
        }
        if taken.iter().all(|&other| distance(point, other) > 1) {
            taken.push(point);
        }
    }
    taken.into_iter().map(|point| solved[point]).collect()
}
