//! Approach 2 from counts: beta-binomial likelihood of n samples and c successes per question, with the loss known or
//! latent.
//!
//! Within a checkpoint all questions share (a, b), and the likelihood is `B(a + c, b + n - c) / B(a, b)`, a ratio of
//! rising factorials of a, b and a + b. Equal counts share their terms, and the Γ functions at a, b and a + b themselves
//! are computed once per checkpoint.

use std::collections::BTreeMap;

use super::dense::{MAX, Matrix, Vector};
use super::multistart::{Fit, polish_all};
use super::newton::{Minimum, Objective, ROUNDING, minimise};
use super::varpro::{Projection, padded};
use super::{Problem, check_lengths, check_positive, check_weights};
use crate::error::{Error, Result};
use crate::law::{AnyLaw, ChinchillaLaw, T2PassLaw};

/// Stirling's series is used from here on.
const SHIFT: f64 = 12.0;
/// Up to this many factors a rising factorial is multiplied out.
const SHORT: f64 = 8.0;
/// Bounds of the five thetas: theta0, ln theta1, theta2, theta3, theta4.
const THETA_LOWER: [f64; 5] = [-200.0, -7.0, 1e-5, -12.0, -50.0];
const THETA_UPPER: [f64; 5] = [200.0, 7.0, 1.0, 25.0, 50.0];
/// Exponents of the latent loss are sought between these.
const EXPONENTS: (f64, f64) = (1e-3, 6.0);

/// What Stirling's series adds at `x >= SHIFT`: ln Γ = (x - 1/2) ln x - x + ln(2 pi) / 2 + s, ψ = ln x - t, ψ' = u.
fn stirling(x: f64) -> [f64; 3] {
    let r = 1.0 / x;
    let z = r * r;
    // Bernoulli's numbers: B_2i / (2i (2i - 1)), B_2i / 2i and B_2i.
    let s = series(z, [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0]);
    let t = series(z, [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32_760.0]);
    let u = series(z, [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0]);
    [s * r, 0.5 * r + t * z, r + 0.5 * z + u * z * r]
}

/// `(ln Γ, ψ, ψ')` at a positive number.
fn gamma(x: f64) -> [f64; 3] {
    const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;
    let (mut product, mut first, mut second) = (1.0, 0.0, 0.0);
    let mut x = x;
    while x < SHIFT {
        let r = 1.0 / x;
        product *= x;
        first += r;
        second += r * r;
        x += 1.0;
    }
    let ln = x.ln();
    let [s, t, u] = stirling(x);
    let base = if product == 1.0 { 0.0 } else { product.ln() };
    [(x - 0.5) * ln - x + HALF_LN_TWO_PI + s - base, ln - t - first, u + second]
}

/// `c[0] + c[1] z + c[2] z^2 + ...`.
fn series(z: f64, c: [f64; 6]) -> f64 {
    c.iter().rev().fold(0.0, |sum, c| sum * z + c)
}

/// Lengths of rising factorials with their weights.
#[derive(Debug, Clone, Default)]
struct Lengths(Vec<(f64, f64)>);

impl Lengths {
    fn new(mut lengths: Vec<(f64, f64)>) -> Self {
        lengths.retain(|(h, w)| *h > 0.0 && *w > 0.0);
        lengths.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut merged: Vec<(f64, f64)> = Vec::with_capacity(lengths.len());
        for (h, w) in lengths {
            match merged.last_mut() {
                Some(last) if last.0.to_bits() == h.to_bits() => last.1 += w,
                _ => merged.push((h, w)),
            }
        }
        Self(merged)
    }

    /// `sum w ln (x)_h` with its first two derivatives by x.
    fn rising(&self, x: f64) -> [f64; 3] {
        let mut sum = [0.0; 3];
        let mut base = None;
        for &(h, w) in &self.0 {
            let parts = if h <= SHORT {
                let mut parts = [0.0; 3];
                let mut product = 1.0;
                let mut j = 0.0;
                while j < h {
                    let r = 1.0 / (x + j);
                    product *= x + j;
                    parts[1] += r;
                    parts[2] -= r * r;
                    j += 1.0;
                }
                parts[0] = product.ln();
                parts
            } else if x >= SHIFT {
                // Values near x ln x would leave few digits of their difference.
                let (low, high) = (*base.get_or_insert_with(|| stirling(x)), stirling(x + h));
                let step = (h / x).ln_1p();
                let value = h * (x + h).ln() + (x - 0.5) * step - h + (high[0] - low[0]);
                [value, step - (high[1] - low[1]), high[2] - low[2]]
            } else {
                let base = *base.get_or_insert_with(|| gamma(x));
                let top = gamma(x + h);
                [top[0] - base[0], top[1] - base[1], top[2] - base[2]]
            };
            for (sum, part) in sum.iter_mut().zip(parts) {
                *sum += w * part;
            }
        }
        sum
    }
}

/// Counts of one checkpoint.
#[derive(Debug, Clone, Default)]
struct Cell {
    successes: Lengths,
    failures: Lengths,
    totals: Lengths,
}

/// Negative log likelihood with its derivatives by a and b.
struct Beta {
    value: f64,
    a: f64,
    b: f64,
    aa: f64,
    ab: f64,
    bb: f64,
}

impl Cell {
    fn new(rows: &[(f64, f64, f64)]) -> Self {
        Self {
            successes: Lengths::new(rows.iter().map(|&(_, c, w)| (c, w)).collect()),
            failures: Lengths::new(rows.iter().map(|&(n, c, w)| (n - c, w)).collect()),
            totals: Lengths::new(rows.iter().map(|&(n, _, w)| (n, w)).collect()),
        }
    }

    fn beta(&self, a: f64, b: f64) -> Beta {
        let (s, f, t) = (self.successes.rising(a), self.failures.rising(b), self.totals.rising(a + b));
        Beta { value: t[0] - s[0] - f[0], a: t[1] - s[1], b: t[1] - f[1], aa: t[2] - s[2], ab: t[2], bb: t[2] - f[2] }
    }
}

/// First and second derivatives by (eta, theta2, zeta), where `mu = theta2 / (1 + e^eta)` and `nu = e^zeta`.
struct Shape {
    value: f64,
    first: [f64; 3],
    second: [[f64; 3]; 3],
}

fn shape(cell: &Cell, eta: f64, theta2: f64, zeta: f64) -> Shape {
    let odds = eta.clamp(-600.0, 600.0).exp();
    let share = 1.0 / (1.0 + odds);
    let nu = zeta.clamp(-200.0, 200.0).exp();
    let (a, b) = (theta2 * share * nu, (odds + (1.0 - theta2)) * share * nu);
    // At theta2 = 1 and a vanishing loss b underflows: a point mass at one.
    let f = cell.beta(a.max(1e-290), b.max(1e-290));
    let by_mu = nu * (f.a - f.b);
    let by_zeta = a * f.a + b * f.b;
    let mu_mu = nu * nu * (f.aa - 2.0 * f.ab + f.bb);
    let mu_zeta = by_mu + nu * (a * (f.aa - f.ab) + b * (f.ab - f.bb));
    let zeta_zeta = by_zeta + a * a * f.aa + 2.0 * a * b * f.ab + b * b * f.bb;
    let slope = -share * odds * share;
    let bend = -slope * (odds - 1.0) * share;
    let (mu_eta, mu_theta) = (theta2 * slope, share);
    let second = [
        [mu_mu * mu_eta * mu_eta + by_mu * theta2 * bend, mu_mu * mu_eta * mu_theta + by_mu * slope, mu_zeta * mu_eta],
        [mu_mu * mu_eta * mu_theta + by_mu * slope, mu_mu * mu_theta * mu_theta, mu_zeta * mu_theta],
        [mu_zeta * mu_eta, mu_zeta * mu_theta, zeta_zeta],
    ];
    Shape { value: f.value, first: [by_mu * mu_eta, by_mu * mu_theta, by_zeta], second }
}

/// The columns of a table of counts: a row per checkpoint and question.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Parameters of each row's model.
    pub n_params: &'a [f64],
    /// Training tokens.
    pub n_tokens: &'a [f64],
    /// Samples drawn.
    pub num_samples: &'a [f64],
    /// Correct ones among them.
    pub num_correct: &'a [f64],
    /// Weights; ones when absent.
    pub weights: Option<&'a [f64]>,
}

/// Counts to be fitted, with a latent loss unless [`Counts::with_losses`] gives it.
#[derive(Debug, Clone)]
pub struct Counts {
    rows: Vec<(f64, f64, f64)>,
    checkpoint: Vec<usize>,
    /// Logarithms of N and D of each checkpoint, about `centre`.
    x: [Vec<f64>; 2],
    centre: [f64; 2],
    /// The losses, and the law that they come from.
    known: Option<(Vec<f64>, ChinchillaLaw)>,
}

impl Counts {
    /// Checks a table.
    ///
    /// # Errors
    /// [`Error::Array`] when columns differ in length, values are out of range, nothing or everything is solved, or
    /// checkpoints are too few.
    pub fn new(table: &Table<'_>) -> Result<Self> {
        let n = table.num_samples.len();
        let mut columns = vec![
            ("n_samples", n),
            ("n_correct", table.num_correct.len()),
            ("n_params", table.n_params.len()),
            ("n_tokens", table.n_tokens.len()),
        ];
        columns.extend(table.weights.map(|w| ("weights", w.len())));
        check_lengths(&columns)?;
        check_positive("n_params", table.n_params)?;
        check_positive("n_tokens", table.n_tokens)?;
        if let Some(weights) = table.weights {
            check_weights(weights)?;
        }
        for (row, (&n, &c)) in table.num_samples.iter().zip(table.num_correct).enumerate() {
            if !((1.0..=9e15).contains(&n) && n.fract() == 0.0) {
                return Err(Error::Array(format!("n_samples[{row}] = {n}: must be a whole number of at least 1")));
            }
            if !(c >= 0.0 && c <= n && c.fract() == 0.0) {
                return Err(Error::Array(format!(
                    "n_correct[{row}] = {c}: must be a whole number between 0 and n_samples = {n}"
                )));
            }
        }
        let solved: f64 = table.num_correct.iter().sum();
        let drawn: f64 = table.num_samples.iter().sum();
        if solved == 0.0 || solved >= drawn {
            let what = if solved == 0.0 { "no sample is" } else { "every sample is" };
            return Err(Error::Array(format!("n_correct: {what} correct, so there is nothing to fit")));
        }
        let mut found: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        let mut logs = [Vec::new(), Vec::new()];
        let mut checkpoint = Vec::with_capacity(n);
        for (&params, &tokens) in table.n_params.iter().zip(table.n_tokens) {
            let next = found.len();
            let index = *found.entry((params.to_bits(), tokens.to_bits())).or_insert(next);
            if index == next {
                logs[0].push(params.ln());
                logs[1].push(tokens.ln());
            }
            checkpoint.push(index);
        }
        #[allow(clippy::cast_precision_loss)]
        let centre = [0, 1].map(|t| logs[t].iter().sum::<f64>() / logs[t].len() as f64);
        for t in 0..2 {
            logs[t].iter_mut().for_each(|v| *v -= centre[t]);
        }
        let rows = (0..n).map(|i| (table.num_samples[i], table.num_correct[i], table.weights.map_or(1.0, |w| w[i])));
        let counts = Self { rows: rows.collect(), checkpoint, x: logs, centre, known: None };
        counts.check_checkpoints(None, 5)?;
        Ok(counts)
    }

    /// The same counts with the loss of every checkpoint given by a law.
    #[must_use]
    pub fn with_losses(self, law: ChinchillaLaw) -> Self {
        let losses = (0..self.x[0].len())
            .map(|i| law.loss((self.x[0][i] + self.centre[0]).exp(), (self.x[1][i] + self.centre[1]).exp()))
            .collect();
        Self { known: Some((losses, law)), ..self }
    }

    /// The same counts with measured losses, a value per row; checkpoints take the mean of theirs.
    ///
    /// # Errors
    /// [`Error::Array`] when the length is wrong or a loss is not positive and finite.
    pub fn with_measured_losses(self, loss: &[f64], law: ChinchillaLaw) -> Result<Self> {
        check_lengths(&[("n_samples", self.rows.len()), ("loss", loss.len())])?;
        check_positive("loss", loss)?;
        let mut sums = vec![(0.0, 0.0); self.x[0].len()];
        for (&loss, &checkpoint) in loss.iter().zip(&self.checkpoint) {
            sums[checkpoint].0 += loss;
            sums[checkpoint].1 += 1.0;
        }
        Ok(Self { known: Some((sums.into_iter().map(|(sum, n)| sum / n).collect(), law)), ..self })
    }

    fn check_checkpoints(&self, extra: Option<&[f64]>, needed: usize) -> Result<()> {
        let mut seen = vec![false; self.x[0].len()];
        for (row, &checkpoint) in self.checkpoint.iter().enumerate() {
            seen[checkpoint] |= self.rows[row].2 * extra.map_or(1.0, |w| w[row]) > 0.0;
        }
        let count = seen.iter().filter(|s| **s).count();
        if count < needed {
            return Err(Error::Array(format!("{count} checkpoints: at least {needed} are needed to tell N from D")));
        }
        Ok(())
    }

    fn latent(&self) -> bool {
        self.known.is_none()
    }

    fn size(&self) -> usize {
        if self.latent() { 8 } else { 5 }
    }

    /// Places of theta0, ln theta1, theta2, theta3, theta4 among the parameters; theta1 is 1 for a latent loss.
    fn thetas(&self) -> [Option<usize>; 5] {
        if self.latent() { [Some(4), None, Some(5), Some(6), Some(7)] } else { [0, 1, 2, 3, 4].map(Some) }
    }

    fn theta(&self, x: &Vector) -> [f64; 5] {
        let at = self.thetas();
        let value = |i: usize| at[i].map_or(0.0, |j| x[j]);
        [value(0), value(1).exp(), value(2), value(3), value(4)]
    }

    /// Loss of a checkpoint and, when latent, its two terms.
    fn loss(&self, x: &Vector, checkpoint: usize) -> (f64, [f64; 2]) {
        if let Some((losses, _)) = &self.known {
            (losses[checkpoint], [0.0; 2])
        } else {
            let term = |t: usize| (x[2 * t] - x[2 * t + 1] * self.x[t][checkpoint]).exp();
            let terms = [term(0), term(1)];
            (terms[0] + terms[1], terms)
        }
    }

    /// Adds one checkpoint's (or one row's) part to value, gradient and, if asked for, second derivatives.
    fn add(
        &self,
        cell: &Cell,
        checkpoint: usize,
        x: &Vector,
        gradient: &mut Vector,
        hessian: Option<&mut Matrix>,
    ) -> f64 {
        let theta = self.theta(x);
        let (loss, terms) = self.loss(x, checkpoint);
        let eta = theta[1] * (loss - theta[0]);
        let found = shape(cell, eta, theta[2], theta[3] + theta[4] * loss);
        // Derivatives of (eta, theta2, zeta) by the parameters.
        let at = self.thetas();
        let mut by = [[0.0; MAX]; 3];
        for (i, place) in at.iter().enumerate() {
            let Some(j) = *place else { continue };
            match i {
                0 => by[0][j] = -theta[1],
                1 => by[0][j] = eta,
                2 => by[1][j] = 1.0,
                3 => by[2][j] = 1.0,
                _ => by[2][j] = loss,
            }
        }
        let mut loss_by = [0.0; 4];
        if self.latent() {
            for t in 0..2 {
                loss_by[2 * t] = terms[t];
                loss_by[2 * t + 1] = -self.x[t][checkpoint] * terms[t];
            }
            for j in 0..4 {
                by[0][j] = theta[1] * loss_by[j];
                by[2][j] = theta[4] * loss_by[j];
            }
        }
        let n = self.size();
        for j in 0..n {
            gradient[j] += (0..3).map(|q| found.first[q] * by[q][j]).sum::<f64>();
        }
        let Some(hessian) = hessian else { return found.value };
        for i in 0..n {
            let half = [0, 1, 2].map(|q| (0..3).map(|p| found.second[q][p] * by[p][i]).sum::<f64>());
            for j in 0..n {
                hessian[i][j] += (0..3).map(|q| half[q] * by[q][j]).sum::<f64>();
            }
        }
        if let (Some(i), Some(j)) = (at[0], at[1]) {
            // eta is a product of theta1 and theta0, and theta1 an exponential.
            hessian[i][j] -= found.first[0] * theta[1];
            hessian[j][i] -= found.first[0] * theta[1];
            hessian[j][j] += found.first[0] * eta;
        }
        if self.latent() {
            let by_loss = found.first[0] * theta[1] + found.first[2] * theta[4];
            for t in 0..2 {
                let (scale, exponent) = (2 * t, 2 * t + 1);
                hessian[scale][scale] += by_loss * loss_by[scale];
                hessian[scale][exponent] += by_loss * loss_by[exponent];
                hessian[exponent][scale] += by_loss * loss_by[exponent];
                hessian[exponent][exponent] -= by_loss * loss_by[exponent] * self.x[t][checkpoint];
            }
            if let Some(last) = at[4] {
                for j in 0..4 {
                    hessian[j][last] += found.first[2] * loss_by[j];
                    hessian[last][j] += found.first[2] * loss_by[j];
                }
            }
        }
        found.value
    }

    fn prepare(&self, extra: Option<&[f64]>) -> Prepared<'_> {
        let mut rows: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new(); self.x[0].len()];
        for (i, &(n, c, w)) in self.rows.iter().enumerate() {
            let w = w * extra.map_or(1.0, |e| e[i]);
            if w > 0.0 {
                rows[self.checkpoint[i]].push((n, c, w));
            }
        }
        let cells = rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        let mut lower = [0.0; MAX];
        let mut upper = [0.0; MAX];
        for (i, place) in self.thetas().into_iter().enumerate() {
            if let Some(j) = place {
                (lower[j], upper[j]) = (THETA_LOWER[i], THETA_UPPER[i]);
            }
        }
        if self.latent() {
            let span = if self.centre == [0.0; 2] { 200.0 } else { 0.0 };
            for t in 0..2 {
                (lower[2 * t], upper[2 * t]) = (-25.0 - span, 8.0 + span);
                (lower[2 * t + 1], upper[2 * t + 1]) = EXPONENTS;
            }
        }
        Prepared { counts: self, cells: cells.map(|(i, rows)| (i, Cell::new(rows))).collect(), lower, upper }
    }
}

struct Prepared<'a> {
    counts: &'a Counts,
    cells: Vec<(usize, Cell)>,
    lower: Vector,
    upper: Vector,
}

/// Mean and concentration of one checkpoint alone, as logit and logarithm.
struct Alone<'a>(&'a Cell, Vector, Vector);

impl Objective for Alone<'_> {
    fn dim(&self) -> usize {
        2
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.1, &self.2)
    }

    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let found = shape(self.0, -x[0], 1.0, x[1]);
        (gradient[0], gradient[1]) = (-found.first[0], found.first[2]);
        (hessian[0][0], hessian[1][1]) = (found.second[0][0], found.second[2][2]);
        (hessian[0][1], hessian[1][0]) = (-found.second[0][2], -found.second[0][2]);
        found.value
    }
}

impl Prepared<'_> {
    /// Starts: each checkpoint's own mean and concentration first, then the law through them.
    ///
    /// For a given theta2 the means say what eta was, and eta is linear in the loss when that is known, and a sum of
    /// powers (plus a constant of either sign) when it is latent.
    fn starts(&self) -> Vec<Vector> {
        let mut lower = [0.0; MAX];
        let mut upper = [0.0; MAX];
        (lower[0], upper[0], lower[1], upper[1]) = (-30.0, 15.0, -6.0, 20.0);
        let mut alone = Vec::new();
        for (checkpoint, cell) in &self.cells {
            let successes: f64 = cell.successes.0.iter().map(|(c, w)| c * w).sum();
            let total: f64 = cell.totals.0.iter().map(|(n, w)| n * w).sum();
            if successes == 0.0 || successes >= total {
                continue;
            }
            let mean = successes / total;
            let mut start = [0.0; MAX];
            (start[0], start[1]) = ((mean / (1.0 - mean)).ln(), 2.0);
            let found = minimise(&Alone(cell, lower, upper), &start, 0.0, ROUNDING, 60);
            if found.x[0] > -29.0 && found.x[0] < 14.0 && found.x[1] < 19.0 && found.x[1] > -5.9 {
                alone.push((*checkpoint, 1.0 / (1.0 + (-found.x[0]).exp()), found.x[1]));
            }
        }
        let most = alone.iter().map(|(_, mu, _)| *mu).fold(0.0, f64::max);
        let mut starts = Vec::new();
        if alone.len() < 4 {
            return starts;
        }
        for share in [0.03, 0.2, 0.5, 1.0] {
            let theta2 = (most + share * (1.0 - most)).min(1.0);
            let etas: Vec<f64> = alone.iter().map(|(_, mu, _)| (theta2 / mu - 1.0).max(1e-3).ln()).collect();
            if self.counts.latent() {
                self.latent_starts(&alone, &etas, theta2, &mut starts);
            } else {
                let losses: Vec<f64> = alone.iter().map(|(i, _, _)| self.counts.loss(&[0.0; MAX], *i).0).collect();
                let (intercept, slope) = line(&losses, &etas);
                let slope = slope.max(1e-2);
                let concentration: Vec<f64> = alone.iter().map(|(_, _, nu)| *nu).collect();
                let (theta3, theta4) = line(&losses, &concentration);
                let mut x = [0.0; MAX];
                (x[0], x[1], x[2], x[3], x[4]) = (-intercept / slope, slope.ln(), theta2, theta3, theta4);
                starts.push(x);
            }
        }
        starts
    }

    fn latent_starts(&self, alone: &[(usize, f64, f64)], etas: &[f64], theta2: f64, starts: &mut Vec<Vector>) {
        let projection = Projection {
            terms: (0..2).map(|t| padded(alone.iter().map(|(i, _, _)| self.counts.x[t][*i]))).collect(),
            y: padded(etas.iter().copied()),
            weights: padded(alone.iter().map(|_| 1.0)),
            constant: true,
            signed: true,
            tied: false,
            range: EXPONENTS,
        };
        for candidate in projection.candidates(2) {
            let scales = [1, 2].map(|t| candidate.coefficients[t].max(1e-3));
            let losses: Vec<f64> = (0..alone.len())
                .map(|i| (0..2).map(|t| scales[t] * (-candidate.exponents[t] * projection.terms[t][i]).exp()).sum())
                .collect();
            let concentration: Vec<f64> = alone.iter().map(|(_, _, nu)| *nu).collect();
            let (theta3, theta4) = line(&losses, &concentration);
            let mut x = [0.0; MAX];
            (x[0], x[1], x[2], x[3]) = (scales[0].ln(), candidate.exponents[0], scales[1].ln(), candidate.exponents[1]);
            (x[4], x[5], x[6], x[7]) = (-candidate.coefficients[0], theta2, theta3, theta4);
            starts.push(x);
        }
    }

    fn polish(&self, start: &Vector) -> Minimum {
        minimise(self, start, 0.0, ROUNDING, 500)
    }
}

/// Intercept and slope of a least-squares line.
pub(super) fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    #[allow(clippy::cast_precision_loss)]
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let sxx: f64 = x.iter().map(|x| (x - mx) * (x - mx)).sum();
    let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    (my - slope * mx, slope)
}

impl Objective for Prepared<'_> {
    fn dim(&self) -> usize {
        self.counts.size()
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        self.cells.iter().map(|(i, cell)| self.counts.add(cell, *i, x, gradient, Some(hessian))).sum()
    }
}

impl Problem for Counts {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = if self.latent() { vec!["E", "A", "B", "alpha", "beta"] } else { Vec::new() };
        names.extend(["theta0", "theta1", "theta2", "theta3", "theta4"]);
        names
    }

    fn coefficients(&self, x: &Vector) -> Vec<f64> {
        let mut out = Vec::new();
        if self.latent() {
            let scale = |t: usize| (x[2 * t] + x[2 * t + 1] * self.centre[t]).exp();
            out.extend([0.0, scale(0), scale(1), x[1], x[3]]);
        }
        out.extend(self.theta(x));
        out
    }

    fn jacobian(&self, x: &Vector) -> Vec<Vector> {
        let values = self.coefficients(x);
        let mut out = Vec::new();
        let unit = |place: Option<usize>, value: f64| {
            let mut row = [0.0; MAX];
            if let Some(j) = place {
                row[j] = value;
            }
            row
        };
        if self.latent() {
            out.push([0.0; MAX]);
            for t in 0..2 {
                let mut row = unit(Some(2 * t), values[1 + t]);
                row[2 * t + 1] = values[1 + t] * self.centre[t];
                out.push(row);
            }
            out.push(unit(Some(1), 1.0));
            out.push(unit(Some(3), 1.0));
        }
        let theta1 = self.theta(x)[1];
        for (i, place) in self.thetas().into_iter().enumerate() {
            out.push(unit(place, if i == 1 { theta1 } else { 1.0 }));
        }
        out
    }

    fn law(&self, x: &Vector) -> Result<AnyLaw> {
        let base = if let Some((_, law)) = &self.known {
            *law
        } else {
            let c = self.coefficients(x);
            ChinchillaLaw::new(c[0], c[1], c[2], c[3], c[4])?
        };
        Ok(AnyLaw::T2Pass(T2PassLaw::new(base, self.theta(x))?))
    }

    fn fit(&self, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit> {
        self.check_checkpoints(weights, if self.latent() { 5 } else { 3 })?;
        let prepared = self.prepare(weights);
        let starts = start.map_or_else(|| prepared.starts(), |start| vec![*start]);
        let fit = polish_all(&starts, |start| prepared.polish(start));
        let mut fit = fit.ok_or_else(|| {
            Error::Array("n_correct: fewer than four checkpoints have both right and wrong samples".into())
        })?;
        let bounded = |i: usize| fit.x[i] <= prepared.lower[i] || fit.x[i] >= prepared.upper[i];
        fit.at_bound = (0..self.size()).filter(|&i| bounded(i)).collect();
        Ok(fit)
    }

    fn second_order(&self, x: &Vector) -> Option<(Matrix, Vec<Vector>)> {
        let prepared = self.prepare(None);
        let mut gradient = [0.0; MAX];
        let mut hessian = [[0.0; MAX]; MAX];
        prepared.derivatives(x, 0.0, &mut gradient, &mut hessian);
        let scores = self.rows.iter().zip(&self.checkpoint).map(|(row, &checkpoint)| {
            let mut score = [0.0; MAX];
            self.add(&Cell::new(std::slice::from_ref(row)), checkpoint, x, &mut score, None);
            score
        });
        Some((hessian, scores.collect()))
    }

    fn constrained(&self, index: usize, value: f64, start: &Vector) -> Option<Fit> {
        let offset = if self.latent() { 5 } else { 0 };
        let (held, internal) = match index.checked_sub(offset) {
            Some(i) => (self.thetas()[i]?, if i == 1 { value.ln() } else { value }),
            None => match index {
                1 => (0, value.ln()),
                2 => (2, value.ln()),
                3 => (1, value),
                4 => (3, value),
                _ => return None,
            },
        };
        let scale = index < offset && index < 3;
        let mut problem = self.clone();
        let mut from = *start;
        if scale {
            // With logarithms not centred, ln A and ln B themselves are parameters; the exponent that goes with the one
            // held leaves the term in the middle of the data as it was.
            for t in 0..2 {
                problem.x[t].iter_mut().for_each(|v| *v += self.centre[t]);
                from[2 * t] += from[2 * t + 1] * self.centre[t];
            }
            problem.centre = [0.0; 2];
            from[held + 1] = (internal - start[held]) / self.centre[held / 2];
        }
        let mut prepared = problem.prepare(None);
        (prepared.lower[held], prepared.upper[held]) = (internal, internal);
        from[held] = internal;
        let mut fit = polish_all(&[from], |start| prepared.polish(start))?;
        if scale {
            for t in 0..2 {
                fit.x[2 * t] -= fit.x[2 * t + 1] * self.centre[t];
            }
        }
        Some(fit)
    }

    fn range(&self, index: usize) -> (f64, f64) {
        let offset = if self.latent() { 5 } else { 0 };
        match index.checked_sub(offset) {
            Some(1) => (THETA_LOWER[1].exp(), THETA_UPPER[1].exp()),
            Some(i) => (THETA_LOWER[i], THETA_UPPER[i]),
            None if index < 3 => (f64::MIN_POSITIVE, f64::MAX),
            None => EXPONENTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;
    use crate::special::digamma_difference;

    #[test]
    fn gamma_satisfies_its_recurrence_and_known_values() {
        let [ln, first, second] = gamma(1.0);
        assert!(ln.abs() < 1e-14);
        assert!((first + 0.577_215_664_901_532_9).abs() < 1e-14);
        assert!((second - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
        for x in [1e-8, 0.3, 2.5, 11.9, 12.1, 400.0, 1e7] {
            let (low, high) = (gamma(x), gamma(x + 1.0));
            let size = high[0].abs().max(1.0);
            assert!((high[0] - low[0] - x.ln()).abs() < 1e-13 * size.max(x.ln().abs()));
            assert!((high[1] - low[1] - 1.0 / x).abs() < 1e-14 * (1.0 / x).max(high[1].abs()));
            assert!((low[2] - high[2] - 1.0 / (x * x)).abs() < 1e-14 * low[2]);
            assert!((gamma(x + 3.7)[1] - low[1] - digamma_difference(x, 3.7)).abs() < 1e-13 * low[1].abs().max(1.0));
        }
    }

    fn counts() -> Counts {
        let mut rng = Philox::new(3, 0);
        let (mut n, mut d, mut samples, mut correct) = (vec![], vec![], vec![], vec![]);
        for cell in 0..24 {
            let (params, tokens) = (1e7 * 4f64.powi(cell % 6), 1e9 * 5f64.powi(cell / 6));
            let mean = 0.8 / (1.0 + (2.0 * (params / 1e9).powf(-0.3) + (tokens / 1e10).powf(-0.4) - 2.0).exp());
            for _ in 0..40 {
                let drawn = if rng.uniform() < 0.5 { 20.0 } else { 128.0 };
                let rate = (2.0 * mean * rng.uniform()).min(1.0);
                n.push(params);
                d.push(tokens);
                samples.push(drawn);
                correct.push((rate * drawn).round());
            }
        }
        let table = Table { n_params: &n, n_tokens: &d, num_samples: &samples, num_correct: &correct, weights: None };
        Counts::new(&table).unwrap()
    }

    #[test]
    fn derivatives_are_those_of_the_value() {
        let latent = counts();
        let known = counts().with_losses(ChinchillaLaw::new(0.5, 400.0, 800.0, 0.34, 0.3).unwrap());
        for problem in [&latent, &known] {
            let prepared = problem.prepare(None);
            let mut x = prepared.starts()[0];
            (0..problem.size()).for_each(|i| x[i] *= 0.93);
            let at = |x: &Vector| {
                let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
                let value = prepared.derivatives(x, 0.0, &mut g, &mut h);
                (value, g, h)
            };
            let (_, g, h) = at(&x);
            for i in 0..problem.size() {
                let (mut up, mut down) = (x, x);
                up[i] += 1e-6;
                down[i] -= 1e-6;
                let (high, low) = (at(&up), at(&down));
                let slope = (high.0 - low.0) / 2e-6;
                assert!(
                    (slope - g[i]).abs() < 1e-5 * g.iter().fold(0.0, |a: f64, b| a.max(b.abs())),
                    "{i}: {slope} {}",
                    g[i]
                );
                for j in 0..problem.size() {
                    let bend = (high.1[j] - low.1[j]) / 2e-6;
                    assert!((bend - h[i][j]).abs() < 1e-4 * h[i][i].abs().max(h[j][j].abs()), "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn rows_add_up_and_weights_are_multiplicities() {
        let problem = counts();
        let fit = problem.fit(None, None).unwrap();
        let (_, scores) = problem.second_order(&fit.x).unwrap();
        for i in 0..problem.size() {
            let total: f64 = scores.iter().map(|score| score[i]).sum();
            let size: f64 = scores.iter().map(|score| score[i].abs()).sum();
            if !fit.at_bound.contains(&i) {
                assert!(total.abs() < 1e-6 * size.max(1.0), "{i}: {total} of {size}");
            }
        }
        let doubled = problem.fit(Some(&vec![2.0; problem.rows()]), None).unwrap();
        assert!((doubled.objective - 2.0 * fit.objective).abs() < 1e-8 * fit.objective);
    }
}
