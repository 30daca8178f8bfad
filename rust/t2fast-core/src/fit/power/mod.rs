//! Sums of powers: the Chinchilla law, with or without repeated tokens, and Approach 1 of the T2 laws.
//!
//! Prediction = `E + sum_t C_t exp(-e_t x_t)` with x the logarithms of N, D and k, and of N/D for a term of overtraining,
//! about their means, so that scales and exponents are nearly uncorrelated. Newton's method works on ln E, ln C_t and e_t.
//!
//! [`table`] checks and arranges the rows, [`starts`] finds where to begin, [`sums`] and [`grouped`] add up the objective
//! with its derivatives, [`repeated`] does so where tokens repeat, [`polish`] walks to the minimum, and [`vertex`] proves
//! minima of absolute errors.

mod grouped;
mod polish;
mod repeated;
mod settings;
mod starts;
mod sums;
mod table;
#[cfg(test)]
mod tests;
mod vertex;

use super::multistart::{Fit, polish_all};
use super::priors::Priors;
use super::{Penalty, Problem, Scale};
use crate::error::{Error, Result};
use crate::law::{AnyLaw, ChinchillaLaw, Overtraining, Repetition, T2LossLaw};
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::Objective;
pub use settings::Settings;
pub use table::Table;

/// Residuals have heavy tails when the largest exceeds the mean this many times.
const HEAVY: f64 = 12.0;
/// Exponents are sought between these.
const EXPONENTS: (f64, f64) = (1e-3, 6.0);
/// R* are sought between these.
const R_STARS: (f64, f64) = (1e-2, 1e4);
/// The most terms: of N, D, k and N/D.
const TERMS: usize = 4;
/// Full parameters: ln E, (ln C, e) for every term, ln R* of tokens and of parameters.
const FULL: usize = 3 + 2 * TERMS;
/// Where ln R* of tokens and of parameters stand among them.
const R_TOKENS: usize = 1 + 2 * TERMS;
const R_PARAMS: usize = R_TOKENS + 1;

/// A sum of powers to be fitted.
#[derive(Debug, Clone)]
pub struct PowerSum {
    settings: Settings,
    /// Logarithms of N, D, of k if there is one, and of N/D where overtraining has a term, about `centre`.
    x: Vec<Vec<f64>>,
    centre: [f64; TERMS],
    unique: Option<Vec<f64>>,
    y: Vec<f64>,
    /// Observations on the scale of residuals.
    target: Vec<f64>,
    weights: Vec<f64>,
    /// The rows in the order in which they are worked on: with k, those of one checkpoint side by side.
    order: Vec<usize>,
    /// With k: its distinct logarithms, and which of them each row has.
    samples: Option<(Vec<f64>, Vec<usize>)>,
    /// For each full parameter the free one that it is, if any.
    free: [Option<usize>; FULL],
    dim: usize,
    /// Priors beside a term of overtraining, with their weight.
    priors: Option<(Priors, f64)>,
}

impl PowerSum {
    /// Checks a table.
    ///
    /// # Errors
    /// [`Error::Array`] when columns differ in length, values are out of range, or distinct points are fewer than
    /// parameters; [`Error::Value`] for settings out of range.
    pub fn new(table: &Table<'_>, settings: Settings) -> Result<Self> {
        settings.penalty.checked()?;
        table.check(&settings)?;
        let rows = table.loss.len();
        let (x, centre) = table.logarithms(settings.overtraining);
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
        let mut problem = Self {
            settings,
            order: table.order(),
            samples: table.k.map(|_| table::numbered(&x[2])),
            x,
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
            priors: None,
        };
        problem.check_count(&problem.weights)?;
        if settings.overtraining {
            problem.weigh_priors(table)?;
        }
        Ok(problem)
    }

    /// Gives the priors beside a term of overtraining their weight: a nat's worth of the objective, which is what the fit
    /// leaves per row, twice that for squares. What it leaves depends on the weight in turn, but little.
    fn weigh_priors(&mut self, table: &Table<'_>) -> Result<()> {
        const ROUNDS: usize = 3;
        let last = self.x.len() - 1;
        let place = |slot: usize| self.free[slot].unwrap_or(0);
        let priors = Priors {
            f: place(1 + 2 * last),
            delta: place(2 + 2 * last),
            exponents: [place(2), place(4)],
            centre: -self.centre[last],
        };
        let nats = if self.settings.penalty == Penalty::Squared { 2.0 } else { 1.0 };
        let rows = self.weights.iter().sum::<f64>();
        let mut left = Self::new(table, Settings { overtraining: false, ..self.settings })?.fit(None, None)?.objective;
        let mut start = None;
        for _ in 0..ROUNDS {
            self.priors = Some((priors, nats * left / rows));
            let fit = self.fit(None, start.as_ref())?;
            left = fit.objective - self.penalty(&fit.x);
            start = Some(fit.x);
        }
        self.priors = Some((priors, nats * left / rows));
        Ok(())
    }

    /// How many parameters are free.
    #[must_use]
    pub fn free_parameters(&self) -> usize {
        self.dim
    }

    fn add_priors(&self, x: &Vector, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        self.priors.as_ref().map_or(0.0, |(priors, weight)| priors.add(*weight, x, gradient, hessian))
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
        out.centre = [0.0; TERMS];
        if let Some((priors, _)) = &mut out.priors {
            priors.centre = 0.0;
        }
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

    fn x_of(&self, row: usize) -> [f64; TERMS] {
        let mut x = [0.0; TERMS];
        for (x, column) in x.iter_mut().zip(&self.x) {
            *x = column[row];
        }
        x
    }

    /// Which of E, A, B, alpha, beta, F, delta, G, gamma, R* and R*_params stand where among the full parameters.
    fn slots(&self) -> Vec<(&'static str, usize)> {
        let mut slots = vec![("E", 0), ("A", 1), ("B", 3), ("alpha", 2), ("beta", 4)];
        if self.samples.is_some() {
            slots.extend([("G", 5), ("gamma", 6)]);
        }
        if self.settings.overtraining {
            let scale = 2 * self.x.len() - 1;
            slots.extend([("F", scale), ("delta", scale + 1)]);
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

/// Whether a slot holds a scale, and not an exponent, E or R*.
fn is_scale(slot: usize) -> bool {
    slot < R_TOKENS && slot % 2 == 1
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
                _ if is_scale(slot) => (full[slot] + full[slot + 1] * self.centre[slot / 2]).exp(),
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
                    _ if is_scale(slot) => {
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
        let names = self.names();
        let values = self.coefficients(x);
        let at = |name: &str| names.iter().position(|other| *other == name).map(|i| values[i]);
        let base = ChinchillaLaw::new(values[0], values[1], values[2], values[3], values[4])?;
        let base = match (at("F"), at("delta")) {
            (Some(f), Some(delta)) => base.with_overtraining(Overtraining::new(f, delta)?),
            _ => base,
        };
        let base = match at("r_star_tokens") {
            Some(tokens) => base.with_repetition(Repetition::new(tokens, at("r_star_params"))?),
            None => base,
        };
        Ok(match (at("G"), at("gamma")) {
            (Some(g), Some(gamma)) => AnyLaw::T2Loss(T2LossLaw::new(base, g, gamma)?),
            _ => AnyLaw::Chinchilla(base),
        })
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
        let scale = is_scale(slot);
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

    fn penalty(&self, x: &Vector) -> f64 {
        self.add_priors(x, &mut [0.0; MAX], &mut [[0.0; MAX]; MAX])
    }

    fn range(&self, index: usize) -> (f64, f64) {
        let least = self.y.iter().copied().fold(f64::INFINITY, f64::min);
        match self.slots()[index].1 {
            0 => (self.settings.e_share.0 * least, self.settings.e_share.1 * least),
            slot if is_scale(slot) => (f64::MIN_POSITIVE, f64::MAX),
            R_TOKENS | R_PARAMS => R_STARS,
            _ => EXPONENTS,
        }
    }
}
