//! Approach 2 from counts: beta-binomial likelihood of n samples and c successes per question, with the loss known or
//! latent.
//!
//! [`likelihood`] is that of one checkpoint as a function of (eta, theta2, zeta); here these become functions of the law's
//! coefficients. [`starts`] says where the [`search`] begins.

mod likelihood;
mod search;
mod starts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::multistart::{Fit, polish_all};
use super::priors::Priors;
use super::{Problem, check_lengths, check_positive, check_spread};
use crate::error::{Error, Result};
use crate::law::{AnyLaw, ChinchillaLaw, Overtraining, T2PassLaw, THETA_RANGES};
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::Objective;
use likelihood::{Cell, shape};

/// Exponents of the latent loss are sought between these.
const EXPONENTS: (f64, f64) = (1e-3, 6.0);
/// The most terms of a latent loss: of N, of D, and of D/N.
const TERMS: usize = 3;

/// The columns of a table of counts: a row per checkpoint and question.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Parameters of each row's model.
    pub n_params: &'a [f64],
    /// Training tokens.
    pub n_tokens: &'a [f64],
    /// Samples drawn.
    pub n_samples: &'a [f64],
    /// Correct ones among them.
    pub n_correct: &'a [f64],
}

/// Counts to be fitted, with a latent loss unless [`Counts::with_losses`] gives it.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Samples and successes.
    rows: Vec<(f64, f64)>,
    checkpoint: Vec<usize>,
    /// Logarithms of N, of D and, with a term of overtraining, of N/D of each checkpoint, about `centre`; a term of the
    /// latent loss falls with each.
    x: Vec<Vec<f64>>,
    centre: [f64; TERMS],
    /// The losses, and the law that they come from.
    known: Option<(Vec<f64>, ChinchillaLaw)>,
}

impl Counts {
    /// Checks a table; `overtraining` asks for a latent loss with such a term, and for its priors.
    ///
    /// # Errors
    /// [`Error::Array`] when columns differ in length, values are out of range, nothing or everything is solved,
    /// checkpoints are too few, or their D/N too much alike for a term of overtraining.
    pub fn new(table: &Table<'_>, overtraining: bool) -> Result<Self> {
        let n = table.n_samples.len();
        let columns = [
            ("n_samples", n),
            ("n_correct", table.n_correct.len()),
            ("n_params", table.n_params.len()),
            ("n_tokens", table.n_tokens.len()),
        ];
        check_lengths(&columns)?;
        check_positive("n_params", table.n_params)?;
        check_positive("n_tokens", table.n_tokens)?;
        for (row, (&n, &c)) in table.n_samples.iter().zip(table.n_correct).enumerate() {
            if !((1.0..=9e15).contains(&n) && n.fract() == 0.0) {
                return Err(Error::Array(format!("n_samples[{row}] = {n}: must be a whole number of at least 1")));
            }
            if !(c >= 0.0 && c <= n && c.fract() == 0.0) {
                return Err(Error::Array(format!(
                    "n_correct[{row}] = {c}: must be a whole number between 0 and n_samples = {n}"
                )));
            }
        }
        let solved: f64 = table.n_correct.iter().sum();
        let drawn: f64 = table.n_samples.iter().sum();
        if solved == 0.0 || solved >= drawn {
            let what = if solved == 0.0 { "no sample is" } else { "every sample is" };
            return Err(Error::Array(format!("n_correct: {what} correct, so there is nothing to fit")));
        }
        let mut found: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        let mut logs = vec![Vec::new(), Vec::new()];
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
        if overtraining {
            check_spread(table.n_params, table.n_tokens)?;
            logs.push(logs[0].iter().zip(&logs[1]).map(|(n, d)| n - d).collect());
        }
        let mut centre = [0.0; TERMS];
        for (logs, centre) in logs.iter_mut().zip(&mut centre) {
            #[allow(clippy::cast_precision_loss)]
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            *centre = mean;
            for log in logs {
                *log -= mean;
            }
        }
        let rows = table.n_samples.iter().copied().zip(table.n_correct.iter().copied());
        let counts = Self { rows: rows.collect(), checkpoint, x: logs, centre, known: None };
        counts.check_checkpoints(None)?;
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

    fn check_checkpoints(&self, extra: Option<&[f64]>) -> Result<()> {
        let needed = if self.latent() { 1 + 2 * self.x.len() } else { 3 };
        let mut seen = vec![false; self.x[0].len()];
        for (row, &checkpoint) in self.checkpoint.iter().enumerate() {
            seen[checkpoint] |= extra.is_none_or(|w| w[row] > 0.0);
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

    /// How many terms of a latent loss are fitted; none when it is known.
    fn terms(&self) -> usize {
        if self.latent() { self.x.len() } else { 0 }
    }

    fn size(&self) -> usize {
        if self.latent() { 2 * self.terms() + 4 } else { 5 }
    }

    /// Places of theta0, ln theta1, theta2, theta3, theta4 among the parameters; theta1 is 1 for a latent loss.
    fn thetas(&self) -> [Option<usize>; 5] {
        let first = 2 * self.terms();
        if self.latent() {
            [Some(first), None, Some(first + 1), Some(first + 2), Some(first + 3)]
        } else {
            [0, 1, 2, 3, 4].map(Some)
        }
    }

    fn theta(&self, x: &Vector) -> [f64; 5] {
        let at = self.thetas();
        let value = |i: usize| at[i].map_or(0.0, |j| x[j]);
        [value(0), value(1).exp(), value(2), value(3), value(4)]
    }

    fn priors(&self) -> Option<Priors> {
        (self.terms() == TERMS).then(|| Priors { f: 4, delta: 5, exponents: [1, 3], centre: -self.centre[2] })
    }

    /// The parameter behind a coefficient, and whether that is a scale's logarithm; `None` for one that is fixed.
    fn place(&self, index: usize) -> Option<(usize, bool)> {
        match self.names()[index] {
            "A" => Some((0, true)),
            "alpha" => Some((1, false)),
            "B" => Some((2, true)),
            "beta" => Some((3, false)),
            "F" => Some((4, true)),
            "delta" => Some((5, false)),
            _ => self.thetas()[index.checked_sub(self.names().len() - 5)?].map(|place| (place, false)),
        }
    }

    /// Loss of a checkpoint and, when latent, its terms.
    fn loss(&self, x: &Vector, checkpoint: usize) -> (f64, [f64; TERMS]) {
        let mut terms = [0.0; TERMS];
        if let Some((losses, _)) = &self.known {
            return (losses[checkpoint], terms);
        }
        for (t, column) in self.x.iter().enumerate() {
            terms[t] = (x[2 * t] - x[2 * t + 1] * column[checkpoint]).exp();
        }
        (terms.iter().sum(), terms)
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
        let mut loss_by = [0.0; 2 * TERMS];
        for t in 0..self.terms() {
            loss_by[2 * t] = terms[t];
            loss_by[2 * t + 1] = -self.x[t][checkpoint] * terms[t];
        }
        for j in 0..2 * self.terms() {
            by[0][j] = theta[1] * loss_by[j];
            by[2][j] = theta[4] * loss_by[j];
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
            for t in 0..self.terms() {
                let (scale, exponent) = (2 * t, 2 * t + 1);
                hessian[scale][scale] += by_loss * loss_by[scale];
                hessian[scale][exponent] += by_loss * loss_by[exponent];
                hessian[exponent][scale] += by_loss * loss_by[exponent];
                hessian[exponent][exponent] -= by_loss * loss_by[exponent] * self.x[t][checkpoint];
            }
            if let Some(last) = at[4] {
                for j in 0..2 * self.terms() {
                    hessian[j][last] += found.first[2] * loss_by[j];
                    hessian[last][j] += found.first[2] * loss_by[j];
                }
            }
        }
        found.value
    }
}

impl Problem for Counts {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = if self.latent() { vec!["E", "A", "B", "alpha", "beta"] } else { Vec::new() };
        if self.terms() == TERMS {
            names.extend(["F", "delta"]);
        }
        names.extend(["theta0", "theta1", "theta2", "theta3", "theta4"]);
        names
    }

    fn coefficients(&self, x: &Vector) -> Vec<f64> {
        let mut out = Vec::new();
        if self.latent() {
            let scale = |t: usize| (x[2 * t] + x[2 * t + 1] * self.centre[t]).exp();
            out.extend([0.0, scale(0), scale(1), x[1], x[3]]);
            if self.terms() == TERMS {
                out.extend([scale(2), x[5]]);
            }
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
            // A scale depends on itself first and on its exponent second.
            let scale = |t: usize, value: f64| {
                let mut row = unit(Some(2 * t), value);
                row[2 * t + 1] = value * self.centre[t];
                row
            };
            out.extend([[0.0; MAX], scale(0, values[1]), scale(1, values[2]), unit(Some(1), 1.0), unit(Some(3), 1.0)]);
            if self.terms() == TERMS {
                out.extend([scale(2, values[5]), unit(Some(5), 1.0)]);
            }
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
            let base = ChinchillaLaw::new(c[0], c[1], c[2], c[3], c[4])?;
            if self.terms() == TERMS { base.with_overtraining(Overtraining::new(c[5], c[6])?) } else { base }
        };
        Ok(AnyLaw::T2Pass(T2PassLaw::new(base, self.theta(x))?))
    }

    fn fit(&self, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit> {
        self.check_checkpoints(weights)?;
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
        let scores = self.rows.iter().zip(&self.checkpoint).map(|(&(n, c), &checkpoint)| {
            let mut score = [0.0; MAX];
            self.add(&Cell::new(&[(n, c, 1.0)]), checkpoint, x, &mut score, None);
            score
        });
        Some((hessian, scores.collect()))
    }

    fn constrained(&self, index: usize, value: f64, start: &Vector) -> Option<Fit> {
        let (held, scale) = self.place(index)?;
        let logarithmic = scale || self.names()[index] == "theta1";
        let internal = if logarithmic { value.ln() } else { value };
        let mut problem = self.clone();
        let mut from = *start;
        if scale {
            // With logarithms not centred, ln A, ln B and ln F themselves are parameters; the exponent that goes with the
            // one held leaves the term in the middle of the data as it was.
            for (t, column) in problem.x.iter_mut().enumerate() {
                for log in column {
                    *log += self.centre[t];
                }
                from[2 * t] += from[2 * t + 1] * self.centre[t];
            }
            problem.centre = [0.0; TERMS];
            from[held + 1] = (internal - start[held]) / self.centre[held / 2];
        }
        let mut prepared = problem.prepare(None);
        (prepared.lower[held], prepared.upper[held]) = (internal, internal);
        from[held] = internal;
        let mut fit = polish_all(&[from], |start| prepared.polish(start))?;
        if scale {
            for t in 0..self.terms() {
                fit.x[2 * t] -= fit.x[2 * t + 1] * self.centre[t];
            }
        }
        Some(fit)
    }

    fn penalty(&self, x: &Vector) -> f64 {
        self.priors().map_or(0.0, |priors| priors.add(1.0, x, &mut [0.0; MAX], &mut [[0.0; MAX]; MAX]))
    }

    fn range(&self, index: usize) -> (f64, f64) {
        match index.checked_sub(self.names().len() - 5) {
            Some(i) => THETA_RANGES[i],
            None if matches!(self.names()[index], "alpha" | "beta" | "delta") => EXPONENTS,
            None => (f64::MIN_POSITIVE, f64::MAX),
        }
    }
}
