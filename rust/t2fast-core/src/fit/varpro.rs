//! Variable projection: for fixed exponents a sum of powers is linear, and least squares has a closed form.
//!
//! What remains is a function of two or three exponents. A coarse grid of them costs one matrix product, and Newton's
//! method goes from its best points to minima in a handful of steps: it never walks the curved valley in which
//! exponents and coefficients trade off, since the coefficients are always the best ones.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::linear::{MAX, Matrix, Vector, cholesky, solve};
use crate::newton::{Objective, minimise};
use crate::simd;

/// Lanes of a dot product; fixed, so that sums don't depend on the machine.
pub const LANES: usize = 8;
/// Rows worked on at once, so that their columns stay in the first-level cache.
pub const BLOCK: usize = 64;

/// At most so many terms.
const TERMS: usize = 4;
/// The constant and the terms.
const SIZE: usize = 1 + TERMS;
/// The constant, the terms, their derivatives by the exponents, and the observations.
const COLUMNS: usize = 2 + 2 * TERMS;
/// Sums of squares are rounding below this share of the observations' own.
const ROUNDING_SHARE: f64 = 1e-13;
/// Least squares are only a start: its minima need few digits.
const TOLERANCE: f64 = 1e-5;
const MAX_STEPS: u32 = 60;
/// Two searches that end this close, relatively, have found one minimum.
const SAME: f64 = 1e-3;

/// One candidate: coefficients (the constant first) and an exponent per term, with its sum of squares.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Weighted sum of squared residuals.
    pub squares: f64,
    /// The constant and a coefficient per term, none negative.
    pub coefficients: [f64; SIZE],
    /// The exponents.
    pub exponents: [f64; TERMS],
}

/// What to project: `y = constant + sum_t c_t exp(-e_t x_t)`.
///
/// Columns are [`padded`].
pub struct Projection {
    /// One column per term.
    pub terms: Vec<Vec<f64>>,
    /// Observations, less any constant that is known.
    pub y: Vec<f64>,
    /// Weights of squared residuals.
    pub weights: Vec<f64>,
    /// Whether a constant is fitted.
    pub constant: bool,
    /// Whether the constant may be negative.
    pub signed: bool,
    /// Whether the first two exponents are one.
    pub tied: bool,
    /// The range of the exponents.
    pub range: (f64, f64),
}

/// A column filled up with zeros to whole vector registers.
pub fn padded(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut column: Vec<f64> = values.collect();
    column.resize(column.len().next_multiple_of(LANES), 0.0);
    column
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn power(exponent: f64, x: &[f64], weights: &[f64], out: &mut [f64], weighted: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for (((x, w), out), weighted) in x.iter().zip(weights).zip(out).zip(weighted) {
        *out = simd::exp::<FMA>(-exponent * x);
        *weighted = w * *out;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let mut lanes = [0.0; LANES];
    add_dot::<FMA>(a, b, &mut lanes);
    lanes.iter().sum()
}

/// Adds the products of two columns to sums by lane.
#[inline(always)]
pub fn add_dot<const FMA: bool>(a: &[f64], b: &[f64], sums: &mut [f64; LANES]) {
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for i in 0..LANES {
            sums[i] = simd::mul_add::<FMA>(a[i], b[i], sums[i]);
        }
    }
}

/// Weighted inner products that least squares and its derivatives by the exponents are made of.
struct Products {
    /// Of the constant, the terms, their derivatives `-x_t c_t` by the exponents, and the observations; the upper half.
    inner: [[f64; COLUMNS]; COLUMNS],
    /// Of the second derivatives `x_t^2 c_t` with the same.
    bend: [[f64; COLUMNS]; TERMS],
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn products(terms: &[Vec<f64>], y: &[f64], weights: &[f64], exponents: [f64; TERMS]) -> Products {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let (t, n) = (terms.len(), y.len());
    let observed = 1 + 2 * t;
    let mut inner = [[[0.0; LANES]; COLUMNS]; COLUMNS];
    let mut bend = [[[0.0; LANES]; COLUMNS]; TERMS];
    let mut columns = [[1.0; BLOCK]; COLUMNS];
    let mut product = [0.0; BLOCK];
    let mut at = 0;
    while at < n {
        let len = BLOCK.min(n - at);
        let w = &weights[at..at + len];
        for (i, x) in terms.iter().enumerate() {
            let x = &x[at..at + len];
            let (terms, slopes) = columns.split_at_mut(1 + t + i);
            let (term, slope) = (&mut terms[1 + i], &mut slopes[0]);
            for j in 0..len {
                term[j] = simd::exp::<FMA>(-exponents[i] * x[j]);
                slope[j] = -x[j] * term[j];
            }
        }
        columns[observed][..len].copy_from_slice(&y[at..at + len]);
        for a in 0..=observed {
            for j in 0..len {
                product[j] = w[j] * columns[a][j];
            }
            for b in a..=observed {
                add_dot::<FMA>(&product[..len], &columns[b][..len], &mut inner[a][b]);
            }
        }
        for (i, x) in terms.iter().enumerate() {
            for j in 0..len {
                product[j] = -w[j] * x[at + j] * columns[1 + t + i][j];
            }
            for b in (0..=t).chain([observed]) {
                add_dot::<FMA>(&product[..len], &columns[b][..len], &mut bend[i][b]);
            }
        }
        at += len;
    }
    let sum = |lanes: [f64; LANES]| lanes.iter().sum();
    Products { inner: inner.map(|row| row.map(sum)), bend: bend.map(|row| row.map(sum)) }
}

/// The values tried for each of the free exponents.
fn grid(free: usize) -> Vec<f64> {
    let (points, low, high) = ([16, 8, 5, 4][free - 1], 0.04_f64, 2.2_f64);
    let step = (high / low).ln() / f64::from(points - 1);
    (0..points).map(|i| low * (f64::from(i) * step).exp()).collect()
}

impl Projection {
    /// Minima of the sum of squares to which points of the grid lead, the lowest first, and how many of those points lead
    /// to each.
    pub fn minima(&self, candidates: &[Candidate]) -> Vec<(Candidate, usize)> {
        let reduced = Exponents { of: self, lower: [self.range.0; MAX], upper: [self.range.1; MAX] };
        let mut found: Vec<([f64; TERMS], usize)> = Vec::new();
        for candidate in candidates {
            let mut start = [0.0; MAX];
            let tied = usize::from(self.tied);
            start[..TERMS - tied].copy_from_slice(&candidate.exponents[tied..]);
            let exponents = self.exponents(&minimise(&reduced, &start, 0.0, TOLERANCE, MAX_STEPS).x);
            let close = |a: f64, b: f64| (a - b).abs() <= SAME * a.max(b);
            match found.iter_mut().find(|(other, _)| (0..TERMS).all(|t| close(other[t], exponents[t]))) {
                Some((_, times)) => *times += 1,
                None => found.push((exponents, 1)),
            }
        }
        let mut minima: Vec<(Candidate, usize)> = found
            .into_iter()
            .map(|(exponents, times)| {
                let found = products(&self.terms, &self.y, &self.weights, exponents);
                let (coefficients, squares) = self.solved(&found);
                (Candidate { squares, coefficients, exponents }, times)
            })
            .collect();
        minima.sort_by(|a, b| a.0.squares.total_cmp(&b.0.squares));
        minima
    }

    /// The exponent of every term, given the free ones.
    fn exponents(&self, free: &Vector) -> [f64; TERMS] {
        let terms = self.terms.len();
        let tied = usize::from(self.tied);
        std::array::from_fn(|t| if t >= terms { 0.0 } else { free[if t == 0 { 0 } else { t - tied }] })
    }

    /// The best coefficients and their sum of squares.
    fn solved(&self, products: &Products) -> ([f64; SIZE], f64) {
        let terms = self.terms.len();
        let observed = 1 + 2 * terms;
        let mut matrix = [[0.0; SIZE]; SIZE];
        let mut right = [0.0; SIZE];
        for i in 0..=terms {
            right[i] = products.inner[i][observed];
            for j in i..=terms {
                (matrix[i][j], matrix[j][i]) = (products.inner[i][j], products.inner[i][j]);
            }
        }
        let coefficients = self.non_negative(&matrix, &right, terms + 1);
        let explained: f64 = (0..=terms).map(|i| coefficients[i] * right[i]).sum();
        (coefficients, (products.inner[observed][observed] - explained).max(0.0))
    }

    /// The best `count` candidates of the grid: its local minima by increasing sum of squares, then the best others that
    /// are not next to one already taken.
    pub fn candidates(&self, count: usize) -> Vec<Candidate> {
        let terms = self.terms.len();
        let exponents = grid(terms - usize::from(self.tied));
        let g = exponents.len();
        let n = self.y.len();
        // Columns of every term at every exponent, and all the inner products that normal equations need.
        let mut columns = vec![0.0; terms * g * n];
        let mut weighted = vec![0.0; terms * g * n];
        let column = |c: usize| c * n..(c + 1) * n;
        for (t, x) in self.terms.iter().enumerate() {
            for (i, &e) in exponents.iter().enumerate() {
                let at = column(t * g + i);
                power(e, x, &self.weights, &mut columns[at.clone()], &mut weighted[at]);
            }
        }
        let ones = vec![1.0; n];
        let total: f64 = self.weights.iter().sum();
        let (wy, wyy): (f64, f64) =
            (dot(&self.weights, &self.y), self.y.iter().zip(&self.weights).map(|(y, w)| w * y * y).sum());
        let sums: Vec<f64> = (0..terms * g).map(|c| dot(&weighted[column(c)], &ones)).collect();
        let with_y: Vec<f64> = (0..terms * g).map(|c| dot(&weighted[column(c)], &self.y)).collect();
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
                let mut chosen = [0; TERMS];
                let mut rest = point;
                for (t, chosen) in chosen.iter_mut().enumerate().take(terms) {
                    *chosen = t * g + rest % g;
                    rest /= g;
                }
                if self.tied && chosen[0] % g != chosen[1] % g {
                    return Candidate { squares: f64::INFINITY, coefficients: [0.0; SIZE], exponents: [0.0; TERMS] };
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
                let exponents = std::array::from_fn(|t| if t < terms { exponents[chosen[t] % g] } else { 0.0 });
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

/// The least sum of squares as a function of the free exponents.
struct Exponents<'a> {
    of: &'a Projection,
    lower: Vector,
    upper: Vector,
}

impl Objective for Exponents<'_> {
    fn dim(&self) -> usize {
        self.of.terms.len() - usize::from(self.of.tied)
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    /// Since coefficients are at their best, the gradient is that by the exponents alone, and the second derivatives are
    /// the Schur complement of those by coefficients.
    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let terms = self.of.terms.len();
        let observed = 1 + 2 * terms;
        let found = products(&self.of.terms, &self.of.y, &self.of.weights, self.of.exponents(x));
        let (c, squares) = self.of.solved(&found);
        // Of residuals, prediction minus observation, with a column.
        let slope = |t: usize| {
            (0..=terms).map(|i| c[i] * found.inner[i][1 + terms + t]).sum::<f64>()
                - found.inner[1 + terms + t][observed]
        };
        let bend = |t: usize| (0..=terms).map(|i| c[i] * found.bend[t][i]).sum::<f64>() - found.bend[t][observed];
        let mut matrix = [[0.0; SIZE]; SIZE];
        for i in 0..=terms {
            for j in i..=terms {
                (matrix[i][j], matrix[j][i]) = (found.inner[i][j], found.inner[i][j]);
            }
        }
        // Coefficients held at zero don't follow.
        for i in (0..=terms).filter(|&i| c[i] == 0.0) {
            for j in 0..=terms {
                (matrix[i][j], matrix[j][i]) = (0.0, 0.0);
            }
            matrix[i][i] = 1.0;
        }
        for i in 0..=terms {
            matrix[i][i] *= 1.0 + 1e-13;
        }
        let factor = cholesky(&matrix, terms + 1);
        let mixed = |t: usize| {
            let mut column = [0.0; SIZE];
            for i in (0..=terms).filter(|&i| c[i] != 0.0) {
                column[i] = c[1 + t] * found.inner[i][1 + terms + t] + if i == 1 + t { slope(t) } else { 0.0 };
            }
            column
        };
        let place = |t: usize| if t == 0 { 0 } else { t - usize::from(self.of.tied) };
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        for t in 0..terms {
            gradient[place(t)] += 2.0 * c[1 + t] * slope(t);
            let followed = factor.as_ref().map(|factor| solve(factor, &mixed(t), terms + 1));
            for s in 0..terms {
                let (low, high) = (s.min(t), s.max(t));
                let mut value = c[1 + s] * c[1 + t] * found.inner[1 + terms + low][1 + terms + high];
                if s == t {
                    value += c[1 + t] * bend(t);
                }
                if let Some(followed) = &followed {
                    let other = mixed(s);
                    value -= (0..=terms).map(|i| other[i] * followed[i]).sum::<f64>();
                }
                hessian[place(s)][place(t)] += 2.0 * value;
            }
        }
        // Differences of sums that are rounding are no decrease.
        squares + ROUNDING_SHARE * found.inner[observed][observed]
    }
}

fn select(solved: &[Candidate], g: usize, terms: usize, count: usize) -> Vec<Candidate> {
    let place = |point: usize| [point % g, (point / g) % g, (point / (g * g)) % g, point / (g * g * g)];
    let distance = |a: usize, b: usize| {
        let (a, b) = (place(a), place(b));
        (0..TERMS).map(|t| a[t].abs_diff(b[t])).max().unwrap_or(0)
    };
    let mut order: Vec<usize> = (0..solved.len()).filter(|&i| solved[i].squares.is_finite()).collect();
    order.sort_by(|&a, &b| solved[a].squares.total_cmp(&solved[b].squares));
    let strides = [1, g, g * g, g * g * g];
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
