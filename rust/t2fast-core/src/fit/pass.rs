//! Approach 2 as published, in its two stages: a Chinchilla law of the loss first, then pass@k as a function of it.
//!
//! The second stage is least squares on pass@k or, where counts exist, their likelihood. A bootstrap refits both stages.

use rayon::prelude::*;

use super::counts::Counts;
use super::multistart::{Fit, polish_all};
use super::power::PowerSum;
use super::{Problem, check_lengths, check_positive, theta_bounds};
use crate::error::{Error, Result};
use crate::law::{AnyLaw, ChinchillaLaw, Law as _, Moments, T2PassLaw, THETA_RANGES, beta_pass_slopes};
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::{Objective, ROUNDING, minimise};

/// Starts polished of those that the grid offers.
const STARTS: usize = 8;
/// pass@k by checkpoint and k: the second stage's table.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Parameters of each row's model.
    pub n_params: &'a [f64],
    /// Training tokens.
    pub n_tokens: &'a [f64],
    /// Samples per question.
    pub k: &'a [f64],
    /// pass@k observed.
    pub pass_at_k: &'a [f64],
}

/// Least squares on pass@k, given a law of the loss.
#[derive(Debug, Clone)]
struct Curves {
    n_params: Vec<f64>,
    n_tokens: Vec<f64>,
    k: Vec<f64>,
    y: Vec<f64>,
}

/// The second stage.
#[derive(Debug, Clone)]
enum Second {
    Curves(Curves),
    Counts(Box<Counts>),
}

/// Both stages of Approach 2.
#[derive(Debug, Clone)]
pub struct Staged {
    first: PowerSum,
    /// For each row of the second stage its row in the first.
    checkpoint: Vec<usize>,
    second: Second,
}

impl Staged {
    /// Joins a fit of the loss and a table of pass@k; `checkpoint` says which row of the first each row belongs to.
    ///
    /// # Errors
    /// [`Error::Array`] when columns differ in length or values are out of range.
    pub fn curves(first: PowerSum, checkpoint: Vec<usize>, table: &Table<'_>) -> Result<Self> {
        let rows = table.pass_at_k.len();
        let columns = [
            ("pass_at_k", rows),
            ("n_params", table.n_params.len()),
            ("n_tokens", table.n_tokens.len()),
            ("k", table.k.len()),
        ];
        check_lengths(&columns)?;
        check_positive("n_params", table.n_params)?;
        check_positive("n_tokens", table.n_tokens)?;
        for (row, (&k, &y)) in table.k.iter().zip(table.pass_at_k).enumerate() {
            if !(k >= 1.0 && k.is_finite()) {
                return Err(Error::Array(format!("k[{row}] = {k}: must be finite and at least 1")));
            }
            if !(0.0..=1.0).contains(&y) {
                return Err(Error::Array(format!(
                    "pass_at_k[{row}] = {y}: must lie in [0, 1]; divide percents by 100"
                )));
            }
        }
        if rows < 5 {
            return Err(Error::Array(format!(
                "{rows} rows of pass@k for 5 parameters: add checkpoints or values of k"
            )));
        }
        if table.pass_at_k.iter().all(|y| *y == table.pass_at_k[0]) {
            return Err(Error::Array("pass_at_k is constant, so there is nothing to fit".into()));
        }
        let second = Second::Curves(Curves {
            n_params: table.n_params.to_vec(),
            n_tokens: table.n_tokens.to_vec(),
            k: table.k.to_vec(),
            y: table.pass_at_k.to_vec(),
        });
        Self::joined(first, checkpoint, second, rows)
    }

    /// Joins a fit of the loss and a table of counts.
    ///
    /// # Errors
    /// [`Error::Array`] when `checkpoint` has the wrong length or points nowhere.
    pub fn counts(first: PowerSum, checkpoint: Vec<usize>, counts: Counts) -> Result<Self> {
        let rows = counts.rows();
        Self::joined(first, checkpoint, Second::Counts(Box::new(counts)), rows)
    }

    fn joined(first: PowerSum, checkpoint: Vec<usize>, second: Second, rows: usize) -> Result<Self> {
        check_lengths(&[("the table", rows), ("checkpoint", checkpoint.len())])?;
        if first.free_parameters() + 5 > MAX {
            return Err(Error::Array(
                "overtraining: not offered in two stages; fit the counts with a latent loss".into(),
            ));
        }
        if let Some(wrong) = checkpoint.iter().find(|i| **i >= first.rows()) {
            return Err(Error::Array(format!("checkpoint {wrong} is not among the {} that have a loss", first.rows())));
        }
        Ok(Self { first, checkpoint, second })
    }

    /// Free parameters of the first stage; those of the second follow.
    fn split(&self) -> usize {
        self.first.free_parameters()
    }

    fn second_part(&self, x: &Vector) -> Vector {
        let mut out = [0.0; MAX];
        out[..5].copy_from_slice(&x[self.split()..self.split() + 5]);
        out
    }

    /// Weights of checkpoints: the mean over their rows.
    fn checkpoint_weights(&self, weights: &[f64]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.first.rows()];
        for (&checkpoint, w) in self.checkpoint.iter().zip(weights) {
            sums[checkpoint].0 += w;
            sums[checkpoint].1 += 1.0;
        }
        sums.into_iter().map(|(sum, n)| if n > 0.0 { sum / n } else { 1.0 }).collect()
    }

    fn base(&self, x: &Vector) -> Result<ChinchillaLaw> {
        Ok(*self.first.law(x)?.chinchilla())
    }
}

impl Problem for Staged {
    fn rows(&self) -> usize {
        self.checkpoint.len()
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = self.first.names();
        names.extend(["theta0", "theta1", "theta2", "theta3", "theta4"]);
        names
    }

    fn coefficients(&self, x: &Vector) -> Vec<f64> {
        let theta = self.second_part(x);
        let mut out = self.first.coefficients(x);
        out.extend([theta[0], theta[1].exp(), theta[2], theta[3], theta[4]]);
        out
    }

    fn jacobian(&self, x: &Vector) -> Vec<Vector> {
        let mut out = self.first.jacobian(x);
        for i in 0..5 {
            let mut row = [0.0; MAX];
            row[self.split() + i] = if i == 1 { x[self.split() + 1].exp() } else { 1.0 };
            out.push(row);
        }
        out
    }

    fn law(&self, x: &Vector) -> Result<AnyLaw> {
        let theta = self.second_part(x);
        let theta = [theta[0], theta[1].exp(), theta[2], theta[3], theta[4]];
        Ok(AnyLaw::T2Pass(T2PassLaw::new(self.base(x)?, theta)?))
    }

    fn fit(&self, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit> {
        let checkpoint_weights = weights.map(|w| self.checkpoint_weights(w));
        let first = self.first.fit(checkpoint_weights.as_deref(), start)?;
        let law = self.base(&first.x)?;
        let start = start.map(|x| self.second_part(x));
        let mut fit = match &self.second {
            Second::Counts(counts) => counts.as_ref().clone().with_losses(law).fit(weights, start.as_ref())?,
            Second::Curves(curves) => curves.fit(&law, weights, start.as_ref())?,
        };
        let split = self.split();
        let mut x = first.x;
        x[split..split + 5].copy_from_slice(&fit.x[..5]);
        fit.x = x;
        fit.at_bound = first.at_bound.into_iter().chain(fit.at_bound.into_iter().map(|i| i + split)).collect();
        fit.iterations += first.iterations;
        fit.converged &= first.converged;
        Ok(fit)
    }

    fn second_order(&self, _: &Vector) -> Option<(Matrix, Vec<Vector>)> {
        None
    }

    fn constrained(&self, _: usize, _: f64, _: &Vector) -> Option<Fit> {
        None
    }

    fn range(&self, index: usize) -> (f64, f64) {
        let first = self.first.names().len();
        match index.checked_sub(first) {
            Some(i) => THETA_RANGES[i],
            None => self.first.range(index),
        }
    }
}

impl Curves {
    fn fit(&self, law: &ChinchillaLaw, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit> {
        let mut loss = vec![0.0; self.y.len()];
        law.losses(&self.n_params, &self.n_tokens, &mut loss);
        let weights = weights.map_or_else(|| vec![1.0; self.y.len()], <[f64]>::to_vec);
        let mut lower = [0.0; MAX];
        let mut upper = [0.0; MAX];
        let (theta_lower, theta_upper) = theta_bounds();
        lower[..5].copy_from_slice(&theta_lower);
        upper[..5].copy_from_slice(&theta_upper);
        let prepared = Prepared { curves: self, loss, weights, lower, upper };
        let starts = start.map_or_else(|| prepared.starts(), |start| vec![*start]);
        let fit = polish_all(&starts, |start| minimise(&prepared, start, 0.0, ROUNDING, 400));
        let mut fit = fit.ok_or_else(|| Error::Array("no start led to a finite objective: check the table".into()))?;
        fit.at_bound = (0..5).filter(|&i| fit.x[i] <= theta_lower[i] || fit.x[i] >= theta_upper[i]).collect();
        Ok(fit)
    }
}

struct Prepared<'a> {
    curves: &'a Curves,
    loss: Vec<f64>,
    weights: Vec<f64>,
    lower: Vector,
    upper: Vector,
}

impl Prepared<'_> {
    /// Starts around a plain sigmoid: for several success rates at zero loss the rows with the fewest samples say where
    /// the sigmoid lies, and the concentration is tried over its range.
    fn starts(&self) -> Vec<Vector> {
        let curves = self.curves;
        let least = curves.k.iter().copied().fold(f64::INFINITY, f64::min);
        let few: Vec<usize> =
            (0..curves.k.len()).filter(|&row| curves.k[row] <= 4.0 * least && self.weights[row] > 0.0).collect();
        // As if every question had the same success rate.
        let rates: Vec<f64> = few
            .iter()
            .map(|&row| (1.0 - (1.0 - curves.y[row]).powf(1.0 / curves.k[row])).clamp(1e-6, 1.0 - 1e-6))
            .collect();
        let most = rates.iter().copied().fold(0.0, f64::max);
        let losses: Vec<f64> = few.iter().map(|&row| self.loss[row]).collect();
        #[allow(clippy::cast_precision_loss)]
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let mut starts = Vec::new();
        for share in [0.05, 0.3, 1.0] {
            let theta2 = (most + share * (1.0 - most)).min(1.0);
            let etas: Vec<f64> = rates.iter().map(|mu| (theta2 / mu - 1.0).max(1e-3).ln()).collect();
            let (intercept, slope) = super::line(&losses, &etas);
            let slope = slope.max(1e-2);
            for concentration in [-1.0, 1.0, 3.0, 6.0] {
                for theta4 in [-0.5, 0.5] {
                    let mut x = [0.0; MAX];
                    (x[0], x[1], x[2]) = (-intercept / slope, slope.ln(), theta2);
                    (x[3], x[4]) = (concentration - theta4 * mean, theta4);
                    starts.push(x);
                }
            }
        }
        let values: Vec<f64> = starts
            .par_iter()
            .map(|start| self.derivatives(start, 0.0, &mut [0.0; MAX], &mut [[0.0; MAX]; MAX]))
            .collect();
        let mut order: Vec<usize> = (0..starts.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        order.into_iter().take(STARTS).map(|i| starts[i]).collect()
    }
}

impl Objective for Prepared<'_> {
    fn dim(&self) -> usize {
        5
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    /// Gauss-Newton: second derivatives of pass@k are left out.
    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        let (theta0, theta1, theta2, theta3, theta4) = (x[0], x[1].exp(), x[2], x[3], x[4]);
        let mut sum = 0.0;
        for (row, &w) in self.weights.iter().enumerate() {
            if w == 0.0 {
                continue;
            }
            let loss = self.loss[row];
            let eta = theta1 * (loss - theta0);
            let at = Moments::new::<false>(eta, theta2, theta3 + theta4 * loss);
            let (a, b) = at.beta();
            // At theta2 = 1 and a vanishing loss b underflows: a point mass at one.
            let (a, b) = (a, b.max(1e-290));
            let [value, value_a, value_b, _] = beta_pass_slopes(a, b, self.curves.k[row]);
            let by_mu = at.concentration * (value_a - value_b);
            let by_zeta = a * value_a + b * value_b;
            let by_eta = -by_mu * at.mean * at.odds * at.share;
            let slope = [-theta1 * by_eta, eta * by_eta, by_mu * at.share, by_zeta, loss * by_zeta];
            let residual = value - self.curves.y[row];
            sum += w * residual * residual;
            for i in 0..5 {
                gradient[i] += 2.0 * w * residual * slope[i];
                for j in 0..5 {
                    hessian[i][j] += 2.0 * w * slope[i] * slope[j];
                }
            }
        }
        sum
    }
}
