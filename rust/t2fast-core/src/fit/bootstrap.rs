//! Resampling with replacement: of checkpoints, of training runs, of questions, or of several of these at once.

use rayon::prelude::*;

use super::{Problem, check_lengths};
use crate::error::{Error, Result};
use crate::linear::Vector;
use crate::random::Philox;
use crate::threads::Progress;

/// What is drawn: each row's unit, numbered from 0.
#[derive(Debug, Clone)]
pub struct Units {
    unit: Vec<usize>,
    count: usize,
}

impl Units {
    /// Checks unit numbers.
    ///
    /// # Errors
    /// [`Error::Array`] when fewer than two units are there, since nothing would vary.
    pub fn new(unit: Vec<usize>) -> Result<Self> {
        let count = unit.iter().max().map_or(0, |m| m + 1);
        if count < 2 {
            return Err(Error::Array(format!("{count} unit to resample: a bootstrap needs at least two")));
        }
        Ok(Self { unit, count })
    }
}

/// One refit.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicate {
    /// The law's coefficients, or NaN where the draw left too few distinct points.
    pub coefficients: Vec<f64>,
    /// Whether the refit converged.
    pub converged: bool,
}

/// Refits replicates `first .. first + count`; replicate i draws from stream i of the seed, whoever computes it.
///
/// Units of several kinds are drawn independently and a row's weight is the product of its units' counts. Every refit
/// starts from the point estimate, and from scratch only where that does not converge.
///
/// # Errors
/// [`Error::Array`] when units and rows differ in number; [`Error::Interrupted`] when `progress` was cancelled.
pub fn bootstrap(
    problem: &dyn Problem,
    units: &[Units],
    start: &Vector,
    seed: u64,
    first: u64,
    count: u64,
    progress: &Progress,
) -> Result<Vec<Replicate>> {
    for units in units {
        check_lengths(&[("the table", problem.rows()), ("units", units.unit.len())])?;
    }
    let parameters = problem.names().len();
    (first..first + count)
        .into_par_iter()
        .map(|index| {
            progress.advance(1)?;
            let weights = weights(units, problem.rows(), seed, index);
            let fit = match problem.fit(Some(&weights), Some(start)) {
                Ok(fit) if fit.converged => Ok(fit),
                _ => problem.fit(Some(&weights), None),
            };
            match fit {
                Ok(fit) => Ok(Replicate { coefficients: problem.coefficients(&fit.x), converged: fit.converged }),
                Err(Error::Interrupted) => Err(Error::Interrupted),
                Err(_) => Ok(Replicate { coefficients: vec![f64::NAN; parameters], converged: false }),
            }
        })
        .collect()
}

/// How often each row was drawn in replicate `index`.
#[must_use]
pub fn weights(units: &[Units], rows: usize, seed: u64, index: u64) -> Vec<f64> {
    let mut rng = Philox::new(seed, index);
    let mut weights = vec![1.0; rows];
    for units in units {
        let mut drawn = vec![0.0; units.count];
        for _ in 0..units.count {
            #[allow(clippy::cast_possible_truncation)]
            let unit = rng.below(units.count as u64) as usize;
            drawn[unit] += 1.0;
        }
        for (weight, &unit) in weights.iter_mut().zip(&units.unit) {
            *weight *= drawn[unit];
        }
    }
    weights
}
