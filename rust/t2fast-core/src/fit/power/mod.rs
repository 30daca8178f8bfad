//! Sums of powers: the Chinchilla law, with or without repeated tokens, and Approach 1 of the T2 laws.
//!
//! Prediction = `E + sum_t C_t exp(-e_t x_t)` with x the logarithms of N, D and k about their means, so that scales and
//! exponents are nearly uncorrelated. Newton's method works on ln E, ln C_t and e_t.

use std::cmp::Ordering;
use std::collections::HashMap;

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::loss::check_observations;
use super::multistart::{Fit, Start, polish_all};
use super::varpro::{BLOCK, Candidate, LANES, Projection, add_dot, padded};
use super::{Penalty, Problem, Scale, check_lengths, check_positive, check_weights};
use crate::error::{Error, Result, non_negative};
use crate::law::{AnyLaw, ChinchillaLaw, DEFAULT_R_STAR, Repetition, T2LossLaw, effective};
use crate::linear::{MAX, Matrix, Vector, cholesky, solve};
use crate::newton::{Minimum, Objective, ROUNDING, minimise};
use crate::random::Philox;
use crate::simd;

/// Rows of a long table that starts are sought with.
const SAMPLE: usize = 256;
/// Residuals have heavy tails when the largest exceeds the mean this many times.
const HEAVY: f64 = 12.0;
/// Exponents are sought between these.
const EXPONENTS: (f64, f64) = (1e-3, 6.0);
/// R* are sought between these.
const R_STARS: (f64, f64) = (1e-2, 1e4);
/// Full parameters: ln E, (ln C, e) for three terms, ln R* of tokens and of parameters.
const FULL: usize = 9;
/// Where ln R* of tokens and of parameters stand among them.
const R_TOKENS: usize = 7;
const R_PARAMS: usize = 8;

/// The columns of a table.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Parameters of each row's model.
    pub n_params: &'a [f64],
    /// Training tokens.
    pub n_tokens: &'a [f64],
    /// Samples per question, for Approach 1.
    pub k: Option<&'a [f64]>,
    /// Unique tokens, to fit what repetition is worth.
    pub unique_tokens: Option<&'a [f64]>,
    /// The loss observed, nats per token, or the mean negative log pass@k.
    pub loss: &'a [f64],
    /// Weights; ones when absent.
    pub weights: Option<&'a [f64]>,
}

/// What is minimised, and which coefficients are not free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The scale of residuals.
    pub scale: Scale,
    /// Their penalty.
    pub penalty: Penalty,
    /// Whether alpha and beta are one.
    pub tied: bool,
    /// E, when it is known.
    pub e: Option<f64>,
    /// E as a share of the smallest loss must lie within these.
    pub e_share: (f64, f64),
    /// Starts polished of those that the grid of exponents offers.
    pub starts: usize,
    /// With unique tokens: whether parameters beyond the optimum for them are discounted too.
    pub discount_params: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scale: Scale::Log,
            penalty: Penalty::Huber { delta: 1e-3 },
            tied: false,
            e: None,
            e_share: (1e-6, 2.0),
            starts: 4,
            discount_params: false,
        }
    }
}

/// A sum of powers to be fitted.
#[derive(Debug, Clone)]
pub struct PowerSum {
    settings: Settings,
    /// Logarithms of N, D (and k) about `centre`.
    x: Vec<Vec<f64>>,
    centre: [f64; 3],
    unique: Option<Vec<f64>>,
    y: Vec<f64>,
    /// Observations on the scale of residuals.
    target: Vec<f64>,
    weights: Vec<f64>,
    /// The rows in the order in which they are worked on: with k, those of one checkpoint side by side.
    order: Vec<usize>,
    /// The distinct logarithms of k, and which of them each row has.
    samples: (Vec<f64>, Vec<usize>),
    /// For each full parameter the free one that it is, if any.
    free: [Option<usize>; FULL],
    dim: usize,
}

impl PowerSum {
    /// Checks a table.
    ///
    /// # Errors
    /// [`Error::Array`] when columns differ in length, values are out of range, or distinct points are fewer than
    /// parameters; [`Error::Value`] for settings out of range.
    pub fn new(table: &Table<'_>, settings: Settings) -> Result<Self> {
        let rows = table.loss.len();
        let mut columns = vec![("loss", rows), ("n_params", table.n_params.len()), ("n_tokens", table.n_tokens.len())];
        let optional = [("k", table.k), ("unique_tokens", table.unique_tokens), ("weights", table.weights)];
        columns.extend(optional.iter().filter_map(|(name, column)| column.map(|c| (*name, c.len()))));
        check_lengths(&columns)?;
        check_positive("n_params", table.n_params)?;
        check_positive("n_tokens", table.n_tokens)?;
        check_observations("loss", table.loss, settings.scale)?;
        settings.penalty.checked()?;
        if let Some(k) = table.k
            && let Some(row) = k.iter().position(|k| !(*k >= 1.0 && k.is_finite()))
        {
            return Err(Error::Array(format!("k[{row}] = {}: must be finite and at least 1", k[row])));
        }
        if let Some(weights) = table.weights {
            check_weights(weights)?;
        }
        let least = table.loss.iter().copied().fold(f64::INFINITY, f64::min);
        if let Some(e) = settings.e {
            non_negative("E", e)?;
        } else if least <= 0.0 {
            return Err(Error::Array(format!("loss has the value {least}: a free E needs positive losses; fix E")));
        }
        if let Some(unique) = table.unique_tokens {
            check_positive("unique_tokens", unique)?;
            if table.k.is_some() {
                return Err(Error::Array("unique_tokens: not offered together with k; fit the loss at k = 1".into()));
            }
            if table.n_tokens.iter().zip(unique).all(|(d, u)| d <= u) {
                return Err(Error::Array(
                    "unique_tokens: no row repeats any token, so R* cannot be fitted; leave unique_tokens out".into(),
                ));
            }
        }
        let mut x: Vec<Vec<f64>> = Vec::new();
        let mut centre = [0.0; 3];
        for (t, column) in [Some(table.n_params), Some(table.n_tokens), table.k].into_iter().flatten().enumerate() {
            // Rows of one checkpoint follow one another: most logarithms are that of the row before.
            let (mut last, mut log) = (1.0, 0.0);
            let logs: Vec<f64> = column
                .iter()
                .map(|&v| {
                    if v != last {
                        (last, log) = (v, v.ln());
                    }
                    log
                })
                .collect();
            #[allow(clippy::cast_precision_loss)]
            let mean = logs.iter().sum::<f64>() / rows.max(1) as f64;
            // At k = 1 stands the coefficient itself; for N and D the middle of the data.
            centre[t] = if t == 2 { 0.0 } else { mean };
            x.push(logs.iter().map(|v| v - centre[t]).collect());
        }
        let mut free = [None; FULL];
        let mut dim = 0;
        let mut take = |slot: usize| {
            free[slot] = Some(dim);
            dim += 1;
        };
        if settings.e.is_none() {
            take(0);
        }
        for t in 0..x.len() {
            take(1 + 2 * t);
            if !(t == 1 && settings.tied) {
                take(2 + 2 * t);
            }
        }
        if table.unique_tokens.is_some() {
            take(R_TOKENS);
            if settings.discount_params {
                take(R_PARAMS);
            }
        }
        if settings.tied {
            free[4] = free[2];
        }
        let (order, samples) = if x.len() == 3 {
            (side_by_side(&x[0], &x[1]), numbered(&x[2]))
        } else {
            ((0..rows).collect(), (Vec::new(), Vec::new()))
        };
        let problem = Self {
            settings,
            x,
            order,
            samples,
            centre,
            unique: table.unique_tokens.map(<[f64]>::to_vec),
            y: table.loss.to_vec(),
            target: match settings.scale {
                Scale::Log => table.loss.iter().map(|y| y.ln()).collect(),
                Scale::Raw => table.loss.to_vec(),
            },
            weights: table.weights.map_or_else(|| vec![1.0; rows], <[f64]>::to_vec),
            free,
            dim,
        };
        problem.check_count(&problem.weights)?;
        Ok(problem)
    }

    /// How many parameters are free.
    #[must_use]
    pub fn free_parameters(&self) -> usize {
        self.dim
    }

    /// As many distinct points as parameters are the least that can determine them.
    fn check_count(&self, weights: &[f64]) -> Result<()> {
        let point = |row: usize| (self.x_of(row), self.unique.as_ref().map(|u| u[row]));
        let mut distinct = Vec::with_capacity(self.dim);
        for row in (0..self.y.len()).filter(|&row| weights[row] > 0.0) {
            if distinct.len() < self.dim && !distinct.contains(&point(row)) {
                distinct.push(point(row));
            }
        }
        if distinct.len() < self.dim {
            return Err(Error::Array(format!(
                "{} distinct points for {} parameters: add checkpoints, or fix E, or tie the exponents",
                distinct.len(),
                self.dim
            )));
        }
        Ok(())
    }

    /// The same problem with logarithms not centred, so that ln A and ln B themselves are parameters.
    fn uncentred(&self) -> Self {
        let mut out = self.clone();
        for (x, centre) in out.x.iter_mut().zip(self.centre) {
            for v in x.iter_mut() {
                *v += centre;
            }
        }
        out.centre = [0.0; 3];
        out
    }

    /// Internal parameters of [`PowerSum::uncentred`] from ours.
    fn uncentre(&self, x: &Vector) -> Vector {
        let full = self.full(x);
        let mut out = *x;
        for t in 0..self.x.len() {
            if let Some(i) = self.free[1 + 2 * t] {
                out[i] = full[1 + 2 * t] + full[2 + 2 * t] * self.centre[t];
            }
        }
        out
    }

    fn full(&self, x: &Vector) -> [f64; FULL] {
        let mut full = [0.0; FULL];
        for (full, free) in full.iter_mut().zip(self.free) {
            if let Some(i) = free {
                *full = x[i];
            }
        }
        full
    }

    fn reduced(&self, full: &[f64; FULL]) -> Vector {
        let mut x = [0.0; MAX];
        for (full, free) in full.iter().zip(self.free).rev() {
            if let Some(i) = free {
                x[i] = *full;
            }
        }
        x
    }

    fn prepare(&self, extra: Option<&[f64]>) -> Prepared<'_> {
        let mut rows = Vec::with_capacity(self.y.len() + LANES);
        let mut weights = Vec::with_capacity(self.y.len() + LANES);
        for &row in &self.order {
            let weight = self.weights[row] * extra.map_or(1.0, |w| w[row]);
            if weight > 0.0 {
                rows.push(row);
                weights.push(weight);
            }
        }
        let kept = rows.len();
        // Whole registers: the rows that fill up the last one weigh nothing.
        let length = kept.next_multiple_of(LANES);
        weights.resize(length, 0.0);
        let gather = |column: &[f64], fill: f64| {
            let mut out = Vec::with_capacity(length);
            out.extend(rows.iter().map(|&row| column[row]));
            out.resize(length, fill);
            out
        };
        let raw = gather(&self.y, 1.0);
        let mut lower = [f64::NEG_INFINITY; FULL];
        let mut upper = [f64::INFINITY; FULL];
        let least = raw[..kept].iter().copied().fold(f64::INFINITY, f64::min);
        let most = raw[..kept].iter().copied().fold(0.0, f64::max);
        (lower[0], upper[0]) = ((self.settings.e_share.0 * least).ln(), (self.settings.e_share.1 * least).ln());
        for t in 0..self.x.len() {
            // At an exponent's bound the scale where logarithms are not centred may be astronomic.
            let reach = EXPONENTS.1 * self.centre[t].abs().max(if self.centre == [0.0; 3] { 30.0 } else { 0.0 });
            let span = if self.centre == [0.0; 3] { reach } else { 0.0 };
            (lower[1 + 2 * t], upper[1 + 2 * t]) = ((1e-9 * most).ln() - span, (1e3 * most).ln() + span);
            (lower[2 + 2 * t], upper[2 + 2 * t]) = EXPONENTS;
        }
        for slot in [R_TOKENS, R_PARAMS] {
            (lower[slot], upper[slot]) = (R_STARS.0.ln(), R_STARS.1.ln());
        }
        let x: Vec<Vec<f64>> = self.x.iter().map(|x| gather(x, 0.0)).collect();
        Prepared {
            grouped: (x.len() == 3).then(|| {
                let mut place: Vec<usize> = rows.iter().map(|&row| self.samples.1[row]).collect();
                place.resize(length, 0);
                Grouped::new(&x, self.samples.0.clone(), place)
            }),
            x,
            unique: self.unique.as_ref().map(|u| gather(u, f64::MAX)),
            raw,
            y: gather(&self.target, 0.0),
            weights,
            lower: self.reduced(&lower),
            upper: self.reduced(&upper),
            problem: self,
        }
    }

    /// Every term of every row, without repeated tokens.
    fn terms(&self, full: &[f64; FULL]) -> Vec<Vec<f64>> {
        self.x.iter().enumerate().map(|(t, x)| powers(full[1 + 2 * t], full[2 + 2 * t], x)).collect()
    }

    /// As [`PowerSum::row`], from terms at hand.
    fn summed(&self, e: f64, row: usize, terms: &[Vec<f64>]) -> (f64, [f64; FULL]) {
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

    /// Prediction of one row with its derivatives by the full parameters.
    fn row(&self, full: &[f64; FULL], x: [f64; 3], unique: Option<f64>) -> (f64, [f64; FULL]) {
        let mut by = [0.0; FULL];
        by[0] = self.settings.e.unwrap_or_else(|| full[0].exp());
        let mut m = by[0];
        let mut log = x;
        // Derivatives of the logarithms of effective N and D, where tokens repeat.
        let mut log_by = [[0.0; FULL]; 3];
        if let Some(unique) = unique {
            self.discount(full, unique, &mut log, &mut log_by);
        }
        for t in 0..self.x.len() {
            let (scale, exponent) = (1 + 2 * t, 2 + 2 * t);
            let term = (full[scale] - full[exponent] * log[t]).exp();
            m += term;
            by[scale] += term;
            by[exponent] -= log[t] * term;
            if unique.is_some() {
                for (by, log_by) in by.iter_mut().zip(log_by[t]) {
                    *by -= full[exponent] * term * log_by;
                }
            }
        }
        if self.settings.e.is_some() {
            by[0] = 0.0;
        }
        (m, by)
    }

    /// Replaces logarithms of N and D by those of what they are worth when only `unique` tokens differ.
    fn discount(&self, full: &[f64; FULL], unique: f64, log: &mut [f64; 3], by: &mut [[f64; FULL]; 3]) {
        // ln of U (1 + R* (1 - q)), q = exp(-R / R*): derivatives by ln U and ln R*.
        let worth = |total: f64, base: f64, r_star: f64| {
            let repeats = total / base - 1.0;
            if repeats <= 0.0 {
                return (total.ln(), 0.0, 0.0);
            }
            let q = (-repeats / r_star).exp();
            let factor = 1.0 - r_star * (-repeats / r_star).exp_m1();
            let by_base = 1.0 - q * (total / base) / factor;
            let by_r = r_star * ((1.0 - q) - repeats / r_star * q) / factor;
            (effective(total, base, r_star).ln(), by_base, by_r)
        };
        let tokens = (log[1] + self.centre[1]).exp();
        let (value, _, by_r) = worth(tokens, unique, full[R_TOKENS].exp());
        log[1] = value - self.centre[1];
        by[1][R_TOKENS] = by_r;
        if self.settings.discount_params {
            // The N for which U tokens are compute-optimal: ln U_N = (ln alpha A - ln beta B + beta ln U) / alpha.
            let (alpha, beta) = (full[2], full[4]);
            let ln_a = full[1] + alpha * self.centre[0];
            let ln_b = full[3] + beta * self.centre[1];
            let ln_base = (alpha.ln() + ln_a - beta.ln() - ln_b + beta * unique.ln()) / alpha;
            let params = (log[0] + self.centre[0]).exp();
            let (value, by_base, by_r) = worth(params, ln_base.exp(), full[R_PARAMS].exp());
            log[0] = value - self.centre[0];
            by[0][R_PARAMS] = by_r;
            by[0][1] = by_base / alpha;
            by[0][3] = -by_base / alpha;
            by[0][2] = by_base * (1.0 / alpha + self.centre[0] - ln_base) / alpha;
            by[0][4] = by_base * (unique.ln() - self.centre[1] - 1.0 / beta) / alpha;
        }
    }

    fn x_of(&self, row: usize) -> [f64; 3] {
        let mut x = [0.0; 3];
        for (x, column) in x.iter_mut().zip(&self.x) {
            *x = column[row];
        }
        x
    }

    /// The law's predictions for the rows of the table.
    #[must_use]
    pub fn predictions(&self, x: &Vector) -> Vec<f64> {
        let full = self.full(x);
        (0..self.y.len()).map(|row| self.row(&full, self.x_of(row), self.unique.as_ref().map(|u| u[row])).0).collect()
    }

    /// Which of E, A, B, alpha, beta, G, gamma, R* and R*_params stand where among the full parameters.
    fn slots(&self) -> Vec<(&'static str, usize)> {
        let mut slots = vec![("E", 0), ("A", 1), ("B", 3), ("alpha", 2), ("beta", 4)];
        if self.x.len() == 3 {
            slots.extend([("G", 5), ("gamma", 6)]);
        }
        if self.unique.is_some() {
            slots.push(("r_star_tokens", R_TOKENS));
            if self.settings.discount_params {
                slots.push(("r_star_params", R_PARAMS));
            }
        }
        slots
    }
}

/// Pairs of up to seven columns.
const PAIRS: usize = 28;

/// `exp(scale - exponent x)`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn powers(scale: f64, exponent: f64, x: &[f64]) -> Vec<f64> {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    x.iter().map(|x| simd::exp::<FMA>(simd::mul_add::<FMA>(-exponent, *x, scale))).collect()
}

/// Row numbers such that rows of equal (a, b) follow one another.
fn side_by_side(a: &[f64], b: &[f64]) -> Vec<usize> {
    // Tables mostly have them so already: only the runs are sorted.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for row in 0..a.len() {
        match runs.last_mut() {
            Some((begin, end)) if a[*begin] == a[row] && b[*begin] == b[row] => *end = row + 1,
            _ => runs.push((row, row + 1)),
        }
    }
    runs.sort_by(|(i, _), (j, _)| a[*i].total_cmp(&a[*j]).then(b[*i].total_cmp(&b[*j])));
    runs.into_iter().flat_map(|(begin, end)| begin..end).collect()
}

/// The distinct values, and which of them each value is.
fn numbered(values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut distinct: Vec<f64> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    let mut next = 0;
    let places = values
        .iter()
        .map(|&v| {
            // Every checkpoint mostly has the same k in the same order.
            if distinct.get(next) != Some(&v) {
                next = *known.entry(v.to_bits()).or_insert_with(|| {
                    distinct.push(v);
                    distinct.len() - 1
                });
            }
            let place = next;
            next = (next + 1) % distinct.len();
            place
        })
        .collect();
    (distinct, places)
}

/// Rows of one checkpoint side by side: its terms of N and D are computed once for all its k, and those of k once for
/// all checkpoints.
struct Grouped {
    /// Centred logarithms of N and D by checkpoint.
    x: [Vec<f64>; 2],
    /// Where each checkpoint's rows begin, and where the last one's end.
    begin: Vec<usize>,
    /// The distinct logarithms of k, and which of them each row has.
    k: Vec<f64>,
    place: Vec<usize>,
}

impl Grouped {
    /// Groups rows of one checkpoint, which are side by side already.
    fn new(x: &[Vec<f64>], k: Vec<f64>, place: Vec<usize>) -> Self {
        let rows = x[0].len();
        let mut grouped = Self { x: [Vec::new(), Vec::new()], begin: Vec::new(), k, place };
        for row in 0..rows {
            if row == 0 || x[0][row] != x[0][row - 1] || x[1][row] != x[1][row - 1] {
                grouped.begin.push(row);
                (0..2).for_each(|t| grouped.x[t].push(x[t][row]));
            }
        }
        grouped.begin.push(rows);
        grouped
    }
}

struct Prepared<'a> {
    x: Vec<Vec<f64>>,
    grouped: Option<Grouped>,
    unique: Option<Vec<f64>>,
    raw: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
    lower: Vector,
    upper: Vector,
    problem: &'a PowerSum,
}

/// Sums over rows: value, gradient and second derivatives by the first seven full parameters.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn accumulate(
    rows: &Prepared<'_>,
    full: &[f64; FULL],
    e: f64,
    shape: (f64, f64, f64),
    gradient: &mut [f64; FULL],
    hessian: &mut [[f64; FULL]; FULL],
) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    let terms = rows.x.len();
    let p = 1 + 2 * terms;
    let log = rows.problem.settings.scale == Scale::Log;
    let (under, over, width) = shape;
    let mut sums = [[0.0; LANES]; PAIRS];
    let mut firsts = [[0.0; LANES]; 7];
    let mut bends = [[0.0; LANES]; 3];
    let mut values = [0.0; LANES];
    let mut columns = [[0.0; BLOCK]; 7];
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
            let r = residual[i];
            let c = if r < -width { -width } else { r };
            let c = if c > width { width } else { c };
            let factor = w[i] * if r < 0.0 { under } else { over };
            let slope = factor * c;
            let curvature = if r.abs() <= width { factor } else { 0.0 };
            product[i] = slope * (r - 0.5 * c);
            first[i] = slope * inverse[i];
            // For logarithms d2 ln m = d2 m / m - (dm / m)^2.
            second[i] = (curvature - bent * slope) * inverse[i] * inverse[i];
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
fn residual_sizes(rows: &Prepared<'_>, full: &[f64; FULL], e: f64) -> (f64, f64) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
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

/// [`accumulate`] for rows grouped by checkpoint.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn accumulate_grouped(
    rows: &Prepared<'_>,
    grouped: &Grouped,
    full: &[f64; FULL],
    e: f64,
    shape: (f64, f64, f64),
    gradient: &mut [f64; FULL],
    hessian: &mut [[f64; FULL]; FULL],
) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    let log = rows.problem.settings.scale == Scale::Log;
    let (under, over, width) = shape;
    let (n, checkpoints) = (rows.y.len(), grouped.x[0].len());
    // Terms of N and D by checkpoint, of k by distinct k, then spread over the rows.
    let mut columns = vec![[0.0; 5]; checkpoints];
    for (i, column) in columns.iter_mut().enumerate() {
        let a = simd::exp::<FMA>(full[1] - full[2] * grouped.x[0][i]);
        let b = simd::exp::<FMA>(full[3] - full[4] * grouped.x[1][i]);
        *column = [e, a, -grouped.x[0][i] * a, b, -grouped.x[1][i] * b];
    }
    let samples: Vec<f64> = grouped.k.iter().map(|k| simd::exp::<FMA>(full[5] - full[6] * k)).collect();
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
        let base = column[0] + column[1] + column[3];
        for row in grouped.begin[i]..grouped.begin[i + 1] {
            m[row] = base + g[row];
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
        let r = product[row];
        let c = if r < -width { -width } else { r };
        let c = if c > width { width } else { c };
        let factor = weights[row] * if r < 0.0 { under } else { over };
        let push = factor * c;
        let curvature = if r.abs() <= width { factor } else { 0.0 };
        product[row] = push * (r - 0.5 * c);
        first[row] = push * m[row];
        second[row] = (curvature - bent * push) * m[row] * m[row];
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
    for (i, column) in columns.iter().enumerate() {
        let mut sums = [0.0; 4];
        for row in grouped.begin[i]..grouped.begin[i + 1] {
            sums[0] += first[row];
            sums[1] += second[row];
            sums[2] += product[row];
            sums[3] += m[row];
        }
        for a in 0..5 {
            gradient[a] += sums[0] * column[a];
            for b in a..5 {
                hessian[a][b] += sums[1] * column[a] * column[b];
            }
            hessian[a][5] += sums[2] * column[a];
            hessian[a][6] += sums[3] * column[a];
        }
        hessian[2][2] -= sums[0] * column[2] * grouped.x[0][i];
        hessian[4][4] -= sums[0] * column[4] * grouped.x[1][i];
    }
    (gradient[5], gradient[6]) = (by_scale, by_exponent);
    hessian[5][5] = scale_scale + by_scale;
    hessian[5][6] = scale_exponent + by_exponent;
    hessian[6][6] = exponent_exponent + bend;
    hessian[0][0] += gradient[0];
    for scale in [1, 3] {
        hessian[scale][scale] += gradient[scale];
        hessian[scale][scale + 1] += gradient[scale + 1];
    }
    value
}

impl Prepared<'_> {
    /// As [`accumulate`], with repeated tokens. Second derivatives of the prediction are left out (Gauss-Newton).
    fn accumulate_repeated(
        &self,
        full: &[f64; FULL],
        unique: &[f64],
        (under, over, width): (f64, f64, f64),
        gradient: &mut [f64; FULL],
        hessian: &mut [[f64; FULL]; FULL],
    ) -> f64 {
        let log = self.problem.settings.scale == Scale::Log;
        let mut value = 0.0;
        for (row, &w) in self.weights.iter().enumerate() {
            if w == 0.0 {
                continue;
            }
            let (m, by) = self.problem.row(full, [self.x[0][row], self.x[1][row], 0.0], Some(unique[row]));
            let (r, inverse) = if log { (m.ln() - self.y[row], 1.0 / m) } else { (m - self.y[row], 1.0) };
            let c = r.clamp(-width, width);
            let factor = w * if r < 0.0 { under } else { over };
            value += factor * c * (r - 0.5 * c);
            // A row on the line has no curvature of its own; that of the parabola through it bounds the penalty.
            let curvature = factor * (width / r.abs()).min(1.0);
            for a in 0..FULL {
                gradient[a] += factor * c * inverse * by[a];
                for b in a..FULL {
                    hessian[a][b] += curvature * inverse * inverse * by[a] * by[b];
                }
            }
        }
        value
    }

    /// The rows that starts are sought with: all of them, or of a long table a fixed random part, since the polish uses all.
    fn sample(&self) -> Vec<usize> {
        let rows: Vec<usize> = (0..self.y.len()).filter(|&row| self.weights[row] > 0.0).collect();
        if rows.len() <= 2 * SAMPLE {
            return rows;
        }
        let mut rng = Philox::new(0, 0);
        #[allow(clippy::cast_possible_truncation)]
        (0..SAMPLE).map(|_| rows[rng.below(rows.len() as u64) as usize]).collect()
    }

    /// The best points of the exponent grid, and the minima of weighted least squares to which they lead.
    fn starts(&self, count: usize) -> (Vec<Start>, Vec<Start>) {
        let settings = &self.problem.settings;
        let known = settings.e.unwrap_or(0.0);
        let rows = self.sample();
        let pick = |of: &dyn Fn(usize) -> f64| padded(rows.iter().map(|&row| of(row)));
        // Squares of logarithmic residuals are, to first order, squares of relative ones.
        let weights = match settings.scale {
            Scale::Log => pick(&|row| self.weights[row] / (self.raw[row] * self.raw[row])),
            Scale::Raw => pick(&|row| self.weights[row]),
        };
        let mut terms: Vec<Vec<f64>> = self.x.iter().map(|x| pick(&|row| x[row])).collect();
        if let Some(unique) = &self.unique {
            let centre = self.problem.centre[1];
            for (x, &row) in terms[1].iter_mut().zip(&rows) {
                *x = effective((*x + centre).exp(), unique[row], DEFAULT_R_STAR).ln() - centre;
            }
        }
        let total: f64 = weights.iter().sum();
        let mean = rows.iter().zip(&weights).map(|(&row, w)| w * self.raw[row]).sum::<f64>() / total;
        let projection = Projection {
            terms,
            y: pick(&|row| self.raw[row] - known),
            weights,
            constant: settings.e.is_none(),
            signed: false,
            tied: settings.tied,
            range: EXPONENTS,
        };
        let start = |(minimum, met): &(Candidate, usize)| {
            let mut full = [0.0; FULL];
            let scale = |c: f64| c.max(1e-4 * mean).ln();
            full[0] = scale(minimum.coefficients[0]);
            for t in 0..self.x.len() {
                full[1 + 2 * t] = scale(minimum.coefficients[1 + t]);
                full[2 + 2 * t] = minimum.exponents[t];
            }
            full[R_TOKENS] = DEFAULT_R_STAR.ln();
            full[R_PARAMS] = DEFAULT_R_STAR.ln();
            Start { x: self.problem.reduced(&full), met: *met }
        };
        let candidates = projection.candidates(count);
        let minima = projection.minima(&candidates);
        (candidates.iter().map(|one| start(&(*one, 1))).collect(), minima.iter().map(start).collect())
    }

    /// Newton's method at narrowing widths; the value returned is the exact objective.
    fn polish(&self, start: &Vector) -> Minimum {
        let penalty = self.problem.settings.penalty;
        let mut found = Minimum { x: *start, value: f64::NAN, gradient: f64::NAN, iterations: 0, converged: false };
        let levels =
            if matches!(penalty, Penalty::Squared) { vec![f64::INFINITY] } else { penalty.levels(self.sizes(start).0) };
        let absolute = matches!(penalty, Penalty::Absolute { .. });
        let mut iterations = 0;
        for (i, &level) in levels.iter().enumerate() {
            // On the way down a few digits will do, except where kinks get narrower and narrower.
            let last = i + 1 == levels.len();
            let tolerance = if last || absolute { ROUNDING } else { 1e-4 };
            let most = if last { 300 } else { 30 };
            found = minimise(self, &found.x, level, tolerance, most);
            iterations += found.iterations;
            // Narrow enough for the residuals that vanish at the optimum to stand out.
            if absolute
                && level < 0.02 * levels[0]
                && let Some(x) = self.vertex(&found.x)
            {
                (found.x, found.gradient, found.converged) = (x, 0.0, true);
                break;
            }
        }
        found.iterations = iterations;
        if absolute {
            found.value = self.exact(&found.x);
        }
        found
    }

    /// Residual of a row with its derivatives by the free parameters.
    fn residual(&self, full: &[f64; FULL], row: usize) -> (f64, Vector) {
        let mut at = [0.0; 3];
        for (at, column) in at.iter_mut().zip(&self.x) {
            *at = column[row];
        }
        let (m, by) = self.problem.row(full, at, self.unique.as_ref().map(|u| u[row]));
        let log = self.problem.settings.scale == Scale::Log;
        let (r, inverse) = if log { (m.ln() - self.y[row], 1.0 / m) } else { (m - self.y[row], 1.0) };
        let mut slope = [0.0; MAX];
        for (by, free) in by.iter().zip(self.problem.free) {
            if let Some(i) = free {
                slope[i] += inverse * by;
            }
        }
        (r, slope)
    }

    /// The minimum of absolute errors near `x`, or `None` where there is none.
    ///
    /// As in linear programming, as many residuals vanish there as there are parameters, and multipliers between -under
    /// and over balance the gradient of the others: that proves the minimum.
    fn vertex(&self, x: &Vector) -> Option<Vector> {
        let n = self.problem.dim;
        let Penalty::Absolute { under, over } = self.problem.settings.penalty else { return None };
        if !self.at_bound(x).is_empty() {
            return None;
        }
        let full = self.problem.full(x);
        let mut order: Vec<(f64, usize)> = (0..self.y.len())
            .filter(|&row| self.weights[row] > 0.0)
            .map(|row| (self.residual(&full, row).0.abs(), row))
            .collect();
        if order.len() < n {
            return None;
        }
        order.select_nth_unstable_by(n - 1, |a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let mut active: Vec<usize> = order[..n].iter().map(|(_, row)| *row).collect();
        active.sort_unstable();
        let size = order[n - 1].0;
        let (mut x, mut slopes) = (*x, vec![[0.0; MAX]; n]);
        let mut left = f64::INFINITY;
        for _ in 0..12 {
            let full = self.problem.full(&x);
            let (mut matrix, mut right) = ([[0.0; MAX]; MAX], [0.0; MAX]);
            left = 0.0;
            for (slope, &row) in slopes.iter_mut().zip(&active) {
                let (r, s) = self.residual(&full, row);
                *slope = s;
                left = f64::max(left, r.abs());
                for i in 0..n {
                    right[i] -= s[i] * r;
                    for j in 0..n {
                        matrix[i][j] += s[i] * s[j];
                    }
                }
            }
            if left < 1e-13 {
                break;
            }
            let step = solve(&cholesky(&matrix, n)?, &right, n);
            x.iter_mut().zip(step).take(n).for_each(|(x, step)| *x += step);
        }
        if left.is_nan() || left > 1e-9 * size.max(1e-4) || !self.at_bound(&x).is_empty() {
            return None;
        }
        let full = self.problem.full(&x);
        let mut rest = [0.0; MAX];
        for row in (0..self.y.len()).filter(|row| active.binary_search(row).is_err()) {
            let (r, s) = self.residual(&full, row);
            let factor = self.weights[row] * if r < 0.0 { -under } else { over };
            (0..n).for_each(|i| rest[i] += factor * s[i]);
        }
        let (mut matrix, mut right) = ([[0.0; MAX]; MAX], [0.0; MAX]);
        for a in 0..n {
            right[a] = -(0..n).map(|i| slopes[a][i] * rest[i]).sum::<f64>();
            for b in 0..n {
                matrix[a][b] = (0..n).map(|i| slopes[a][i] * slopes[b][i]).sum();
            }
        }
        let multipliers = solve(&cholesky(&matrix, n)?, &right, n);
        let balanced = active.iter().zip(multipliers).all(|(&row, multiplier)| {
            let w = self.weights[row] * (1.0 + 1e-7);
            (-w * under..=w * over).contains(&multiplier)
        });
        balanced.then_some(x)
    }

    /// The mean size of residuals, and the largest.
    fn sizes(&self, x: &Vector) -> (f64, f64) {
        let full = self.problem.full(x);
        let (sum, largest) = if self.unique.is_some() {
            let kept = self.residuals(x).zip(&self.weights).filter(|(_, w)| **w > 0.0);
            kept.fold((0.0, 0.0_f64), |(sum, largest), (r, w)| (sum + w * r.abs(), largest.max(r.abs())))
        } else {
            residual_sizes(self, &full, self.problem.settings.e.unwrap_or_else(|| full[0].exp()))
        };
        ((sum / self.weights.iter().sum::<f64>()).max(1e-12), largest)
    }

    fn residuals<'b>(&'b self, x: &Vector) -> impl Iterator<Item = f64> + 'b {
        let full = self.problem.full(x);
        (0..self.y.len()).map(move |row| self.residual(&full, row).0)
    }

    fn exact(&self, x: &Vector) -> f64 {
        let penalty = self.problem.settings.penalty;
        self.residuals(x).zip(&self.weights).map(|(r, w)| w * penalty.of(r)).sum()
    }

    fn at_bound(&self, x: &Vector) -> Vec<usize> {
        (0..self.problem.dim).filter(|&i| x[i] <= self.lower[i] || x[i] >= self.upper[i]).collect()
    }
}

impl Objective for Prepared<'_> {
    fn dim(&self) -> usize {
        self.problem.dim
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    fn derivatives(&self, x: &Vector, level: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let full = self.problem.full(x);
        let shape = self.problem.settings.penalty.shape(level);
        let mut g = [0.0; FULL];
        let mut h = [[0.0; FULL]; FULL];
        let value = if let Some(unique) = &self.unique {
            self.accumulate_repeated(&full, unique, shape, &mut g, &mut h)
        } else {
            let e = self.problem.settings.e.unwrap_or_else(|| full[0].exp());
            match &self.grouped {
                Some(grouped) => accumulate_grouped(self, grouped, &full, e, shape, &mut g, &mut h),
                None => accumulate(self, &full, e, shape, &mut g, &mut h),
            }
        };
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        for a in 0..FULL {
            let Some(i) = self.problem.free[a] else { continue };
            gradient[i] += g[a];
            for b in 0..FULL {
                if let Some(j) = self.problem.free[b] {
                    hessian[i][j] += if a <= b { h[a][b] } else { h[b][a] };
                }
            }
        }
        value
    }
}

impl Problem for PowerSum {
    fn rows(&self) -> usize {
        self.y.len()
    }

    fn names(&self) -> Vec<&'static str> {
        self.slots().into_iter().map(|(name, _)| name).collect()
    }

    fn coefficients(&self, x: &Vector) -> Vec<f64> {
        let full = self.full(x);
        self.slots()
            .into_iter()
            .map(|(_, slot)| match slot {
                0 => self.settings.e.unwrap_or_else(|| full[0].exp()),
                1 | 3 | 5 => (full[slot] + full[slot + 1] * self.centre[slot / 2]).exp(),
                R_TOKENS | R_PARAMS => full[slot].exp(),
                _ => full[slot],
            })
            .collect()
    }

    fn jacobian(&self, x: &Vector) -> Vec<Vector> {
        let values = self.coefficients(x);
        self.slots()
            .into_iter()
            .zip(values)
            .map(|((_, slot), value)| {
                let mut row = [0.0; MAX];
                let mut add = |slot: usize, derivative: f64| {
                    if let Some(i) = self.free[slot] {
                        row[i] += derivative;
                    }
                };
                match slot {
                    0 | R_TOKENS | R_PARAMS => add(slot, value),
                    1 | 3 | 5 => {
                        add(slot, value);
                        add(slot + 1, value * self.centre[slot / 2]);
                    }
                    _ => add(slot, 1.0),
                }
                row
            })
            .collect()
    }

    fn law(&self, x: &Vector) -> Result<AnyLaw> {
        let c = self.coefficients(x);
        let base = ChinchillaLaw::new(c[0], c[1], c[2], c[3], c[4])?;
        if self.x.len() == 3 {
            return Ok(AnyLaw::T2Loss(T2LossLaw::new(base, c[5], c[6])?));
        }
        let base =
            if self.unique.is_some() { base.with_repetition(Repetition::new(c[5], c.get(6).copied())?) } else { base };
        Ok(AnyLaw::Chinchilla(base))
    }

    fn fit(&self, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit> {
        if let Some(weights) = weights {
            let own: Vec<f64> = weights.iter().zip(&self.weights).map(|(a, b)| a * b).collect();
            self.check_count(&own)?;
        }
        let prepared = self.prepare(weights);
        let polish = |start: &Vector| prepared.polish(start);
        let fit = if let Some(start) = start {
            polish_all(&[*start], polish)
        } else {
            let (candidates, minima) = prepared.starts(self.settings.starts.max(1));
            // Where a few residuals dominate, least squares say little of where else minima may be.
            polish_all(&minima, polish).and_then(|fit| {
                let absolute = matches!(self.settings.penalty, Penalty::Absolute { .. });
                let (mean, largest) = prepared.sizes(&fit.x);
                if !absolute && largest < HEAVY * mean {
                    return Some(fit);
                }
                polish_all(&[candidates, minima].concat(), polish)
            })
        };
        let mut fit = fit.ok_or_else(|| Error::Array("no start led to a finite objective: check the table".into()))?;
        fit.at_bound = prepared.at_bound(&fit.x);
        Ok(fit)
    }

    fn second_order(&self, x: &Vector) -> Option<(Matrix, Vec<Vector>)> {
        let prepared = self.prepare(None);
        let mut gradient = [0.0; MAX];
        let mut hessian = [[0.0; MAX]; MAX];
        // Where the penalty has a kink, curvature is that of the residuals' bulk: smoothed over their typical size.
        let level = match self.settings.penalty {
            Penalty::Squared => f64::INFINITY,
            Penalty::Huber { delta } => delta,
            Penalty::Absolute { .. } => prepared.sizes(x).0,
        };
        prepared.derivatives(x, level, &mut gradient, &mut hessian);
        let (under, over, width) = self.settings.penalty.shape(level);
        let full = self.full(x);
        let log = self.settings.scale == Scale::Log;
        let terms = if self.unique.is_none() { self.terms(&full) } else { Vec::new() };
        let e = self.settings.e.unwrap_or_else(|| full[0].exp());
        let scores = (0..self.y.len())
            .map(|row| {
                let (m, by) = match &self.unique {
                    Some(unique) => self.row(&full, self.x_of(row), Some(unique[row])),
                    None => self.summed(e, row, &terms),
                };
                let (r, inverse) = if log { (m.ln() - self.target[row], 1.0 / m) } else { (m - self.y[row], 1.0) };
                let slope = self.weights[row] * r.clamp(-width, width) * if r < 0.0 { under } else { over };
                let mut score = [0.0; MAX];
                for (by, free) in by.iter().zip(self.free) {
                    if let Some(i) = free {
                        score[i] += slope * inverse * by;
                    }
                }
                score
            })
            .collect();
        Some((hessian, scores))
    }

    fn constrained(&self, index: usize, value: f64, start: &Vector) -> Option<Fit> {
        let (_, slot) = self.slots()[index];
        let held = self.free[slot]?;
        let scale = matches!(slot, 1 | 3 | 5);
        // A scale is a parameter of its own only where logarithms are not centred.
        let problem = if scale { &self.uncentred() } else { self };
        let mut prepared = problem.prepare(None);
        let internal = if scale || matches!(slot, 0 | R_TOKENS | R_PARAMS) { value.ln() } else { value };
        (prepared.lower[held], prepared.upper[held]) = (internal, internal);
        let mut from = *start;
        if scale {
            from = self.uncentre(start);
            // The exponent that goes with it leaves the term in the middle of the data as it was.
            if let (Some(exponent), true) = (self.free[slot + 1], self.centre[slot / 2] != 0.0) {
                from[exponent] = (internal - start[held]) / self.centre[slot / 2];
            }
        }
        from[held] = internal;
        let mut fit = polish_all(&[from], |start| prepared.polish(start))?;
        if scale {
            // Back to our own parameters, so that the next value can start from here.
            let full = problem.full(&fit.x);
            for t in 0..self.x.len() {
                if let Some(i) = self.free[1 + 2 * t] {
                    fit.x[i] = full[1 + 2 * t] - full[2 + 2 * t] * self.centre[t];
                }
            }
        }
        Some(fit)
    }

    fn range(&self, index: usize) -> (f64, f64) {
        let least = self.y.iter().copied().fold(f64::INFINITY, f64::min);
        match self.slots()[index].1 {
            0 => (self.settings.e_share.0 * least, self.settings.e_share.1 * least),
            1 | 3 | 5 => (f64::MIN_POSITIVE, f64::MAX),
            R_TOKENS | R_PARAMS => R_STARS,
            _ => EXPONENTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Columns = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

    /// N, D, k and a noisy loss on a grid with gaps, so that checkpoints have different k.
    fn columns(rows: usize) -> Columns {
        let mut rng = Philox::new(1, 2);
        let mut out = (vec![], vec![], vec![], vec![]);
        for row in 0..rows {
            let n = 1e7 * 3f64.powi(i32::try_from(row % 5).unwrap());
            let d = 1e9 * 4f64.powi(i32::try_from(row / 5 % 4).unwrap());
            let k = (1.0 + 100.0 * rng.uniform() * rng.uniform()).round();
            out.0.push(n);
            out.1.push(d);
            out.2.push(k);
            out.3.push(
                (1.0 + 400.0 * n.powf(-0.33) + 900.0 * d.powf(-0.31) + 0.7 * k.powf(-0.4))
                    * (0.98 + 0.04 * rng.uniform()),
            );
        }
        out
    }

    fn problem(columns: &Columns, k: bool, unique: Option<&[f64]>, settings: Settings) -> PowerSum {
        let (n_params, n_tokens, samples, loss) = columns;
        let k = k.then_some(samples.as_slice());
        PowerSum::new(&Table { n_params, n_tokens, k, unique_tokens: unique, loss, weights: None }, settings).unwrap()
    }

    /// Gradient and second derivatives against central differences.
    fn check(problem: &PowerSum, x: &Vector, level: f64, exact_hessian: bool) {
        let prepared = problem.prepare(None);
        let at = |x: &Vector| {
            let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
            let value = prepared.derivatives(x, level, &mut g, &mut h);
            (value, g, h)
        };
        let (_, g, h) = at(x);
        let step = 1e-5;
        for i in 0..problem.dim {
            let (mut up, mut down) = (*x, *x);
            up[i] += step;
            down[i] -= step;
            let (high, low) = (at(&up), at(&down));
            let slope = (high.0 - low.0) / (2.0 * step);
            let scale = g.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
            assert!((slope - g[i]).abs() < 1e-5 * scale, "gradient {i}: {slope} {}", g[i]);
            if exact_hessian {
                let size = h[i][i].abs().max(1e-2);
                for j in 0..problem.dim {
                    let bend = (high.1[j] - low.1[j]) / (2.0 * step);
                    assert!((bend - h[i][j]).abs() < 1e-4 * size.max(h[j][j].abs()), "{i} {j}: {bend} {}", h[i][j]);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn derivatives_are_those_of_the_value(
            seed in 0_u64..1000, k: bool, log: bool, tied: bool, fixed: bool, absolute: bool,
        ) {
            let columns = columns(64);
            let scale = if log { Scale::Log } else { Scale::Raw };
            // A width beyond all residuals: central differences must not straddle the kink of the second derivative.
            let penalty = if absolute { Penalty::Absolute { under: 2.0, over: 2.0 } } else { Penalty::Squared };
            let e = fixed.then_some(0.8);
            let problem = problem(&columns, k, None, Settings { scale, penalty, tied, e, ..Settings::default() });
            let mut rng = Philox::new(seed, 0);
            let mut x = problem.prepare(None).starts(1).1[0].x;
            for x in &mut x {
                *x += 0.2 * (rng.uniform() - 0.5);
            }
            check(&problem, &x, 1e3, true);
        }
    }

    #[test]
    fn derivatives_with_repeated_tokens() {
        let columns = columns(64);
        let unique: Vec<f64> = columns.1.iter().enumerate().map(|(i, d)| d / [1.0, 3.0, 9.0, 0.5][i % 4]).collect();
        for discount_params in [false, true] {
            let settings = Settings { penalty: Penalty::Squared, discount_params, ..Settings::default() };
            let problem = problem(&columns, false, Some(&unique), settings);
            let mut x = problem.prepare(None).starts(1).1[0].x;
            x[problem.dim - 1] -= 1.0;
            check(&problem, &x, f64::INFINITY, false);
        }
    }

    #[test]
    fn grouping_by_checkpoint_changes_nothing() {
        let columns = columns(200);
        let problem = problem(&columns, true, None, Settings::default());
        let mut prepared = problem.prepare(None);
        let x = prepared.starts(1).1[0].x;
        let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
        let grouped = prepared.derivatives(&x, 0.01, &mut g, &mut h);
        prepared.grouped = None;
        let (mut g_rows, mut h_rows) = ([0.0; MAX], [[0.0; MAX]; MAX]);
        let rows = prepared.derivatives(&x, 0.01, &mut g_rows, &mut h_rows);
        assert!((grouped - rows).abs() < 1e-12 * rows);
        let size = h_rows[0][0].abs();
        for i in 0..problem.dim {
            assert!((g[i] - g_rows[i]).abs() < 1e-10 * size);
            for j in 0..problem.dim {
                assert!((h[i][j] - h_rows[i][j]).abs() < 1e-9 * size.max(h_rows[i][i].abs()), "{i} {j}");
            }
        }
    }

    #[test]
    fn coefficients_and_jacobian_agree() {
        let columns = columns(64);
        for (k, tied) in [(false, false), (false, true), (true, false)] {
            let problem = problem(&columns, k, None, Settings { tied, ..Settings::default() });
            let x = problem.prepare(None).starts(1).1[0].x;
            let jacobian = problem.jacobian(&x);
            for j in 0..problem.dim {
                let (mut up, mut down) = (x, x);
                up[j] += 1e-6;
                down[j] -= 1e-6;
                for ((row, high), low) in
                    jacobian.iter().zip(problem.coefficients(&up)).zip(problem.coefficients(&down))
                {
                    let slope = (high - low) / 2e-6;
                    assert!((slope - row[j]).abs() <= 1e-6 * slope.abs().max(1e-3));
                }
            }
        }
    }
}
