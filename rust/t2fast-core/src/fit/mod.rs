//! From checkpoints to a law, with its uncertainty.
//!
//! Every fit is a [`Problem`]: rows of a table, and a smooth objective of a handful of parameters. Problems that are
//! linear but for their exponents find their starts by variable projection ([`varpro`]): the linear coefficients have
//! closed forms, and a search over the exponents alone takes a few steps. All problems then polish their starts in parallel
//! with Newton's method ([`crate::newton`]) and exact derivatives, and say how many starts agree ([`multistart`]). Resampling
//! ([`bootstrap`]) refits from the point estimate; [`curvature`] holds sandwich covariances and profile intervals.
//!
//! Nothing depends on the number of threads: a start or a replicate is one thread's work, and results are gathered by index.

// Indices name parameters, as subscripts do in the formulas.
#![allow(clippy::needless_range_loop)]

pub mod bootstrap;
pub mod counts;
pub mod curvature;

mod loss;
pub mod multistart;

pub mod pass;
pub mod power;
mod priors;
mod varpro;

pub use loss::{Penalty, Scale};

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::law::{AnyLaw, THETA_RANGES};
use crate::linear::{Matrix, Vector};
use multistart::Fit;

/// A table of checkpoints and the law to fit to it.
///
/// Internally parameters are logarithms of scales, exponents, and so on; outside they are the coefficients of the law.
pub trait Problem: Sync {
    /// How many rows the table has.
    fn rows(&self) -> usize;

    /// Names of the fitted parameters' coefficients, in the order of [`Problem::coefficients`].
    fn names(&self) -> Vec<&'static str>;

    /// The law's coefficients at internal parameters, fixed and tied ones included.
    fn coefficients(&self, x: &Vector) -> Vec<f64>;

    /// Derivatives of the coefficients: row i holds those of coefficient i by the internal parameters.
    fn jacobian(&self, x: &Vector) -> Vec<Vector>;

    /// The law at internal parameters.
    ///
    /// # Errors
    /// When the coefficients are out of the law's range.
    fn law(&self, x: &Vector) -> Result<AnyLaw>;

    /// Fits with a weight per row on top of the problem's own: from scratch, or from `start` alone.
    ///
    /// # Errors
    /// [`Error::Array`] when the rows with weight are too few.
    fn fit(&self, weights: Option<&[f64]>, start: Option<&Vector>) -> Result<Fit>;

    /// Second derivatives of the objective at `x`, and the gradient of each row's part of it; `None` for fits in stages,
    /// which minimise no single objective.
    fn second_order(&self, x: &Vector) -> Option<(Matrix, Vec<Vector>)>;

    /// The least objective with coefficient `index` held at `value`, from `start`; `None` where that is not offered.
    fn constrained(&self, index: usize, value: f64, start: &Vector) -> Option<Fit>;

    /// What priors on the parameters add to the objective.
    fn penalty(&self, _x: &Vector) -> f64 {
        0.0
    }

    /// The range that coefficient `index` is allowed to take.
    fn range(&self, index: usize) -> (f64, f64);
}

/// Numbers distinct rows of a table in the order in which they first appear.
///
/// # Errors
/// [`Error::Array`] when columns differ in length, or are none or more than four.
pub fn number_rows(columns: &[&[f64]]) -> Result<Vec<i64>> {
    const KEY: usize = 4;
    let (Some(first), true) = (columns.first(), columns.len() <= KEY) else {
        return Err(Error::Array(format!("{} columns: rows are numbered by one to {KEY}", columns.len())));
    };
    check_lengths(&columns.iter().map(|column| ("a column", column.len())).collect::<Vec<_>>())?;
    // -0 and 0 are one value with two patterns of bits.
    let key = |row: usize| {
        let mut key = [0; KEY];
        key.iter_mut().zip(columns).for_each(|(key, column)| *key = (column[row] + 0.0).to_bits());
        key
    };
    let mut known: HashMap<[u64; KEY], i64> = HashMap::with_capacity(first.len().min(1024));
    let mut numbers: Vec<i64> = Vec::with_capacity(first.len());
    for row in 0..first.len() {
        // Rows of one checkpoint mostly follow one another.
        let number = match row.checked_sub(1) {
            Some(before) if columns.iter().all(|column| column[row] == column[before]) => numbers[before],
            _ => {
                let next = known.len();
                #[allow(clippy::cast_possible_wrap)]
                *known.entry(key(row)).or_insert(next as i64)
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}

/// Bounds of theta0, ln theta1, theta2, theta3 and theta4: fits work on the logarithm of theta1.
fn theta_bounds() -> ([f64; 5], [f64; 5]) {
    let mut ranges = THETA_RANGES;
    ranges[1] = (ranges[1].0.ln(), ranges[1].1.ln());
    (ranges.map(|range| range.0), ranges.map(|range| range.1))
}

/// Intercept and slope of a least-squares line.
fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    #[allow(clippy::cast_precision_loss)]
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let sxx: f64 = x.iter().map(|x| (x - mx) * (x - mx)).sum();
    let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    (my - slope * mx, slope)
}

/// Refuses a table whose columns differ in length.
fn check_lengths(columns: &[(&str, usize)]) -> Result<()> {
    let rows = columns[0].1;
    for (name, length) in columns {
        if *length != rows {
            return Err(Error::Array(format!(
                "{name} has {length} rows and {} has {rows}: every column needs one value per row",
                columns[0].0
            )));
        }
    }
    Ok(())
}

/// Refuses weights that are negative, not finite, or all zero.
fn check_weights(weights: &[f64]) -> Result<()> {
    for (row, &w) in weights.iter().enumerate() {
        if !(w >= 0.0 && w.is_finite()) {
            return Err(Error::Array(format!("weights[{row}] = {w}: must be zero or positive, and finite")));
        }
    }
    Ok(())
}

/// Refuses checkpoints whose tokens per parameter are too much alike to show what overtraining does.
fn check_spread(n_params: &[f64], n_tokens: &[f64]) -> Result<()> {
    /// The least factor between the smallest and the largest D/N.
    const LEAST: f64 = 10.0;
    let ratios = n_params.iter().zip(n_tokens).map(|(n, d)| d / n);
    let (low, high) = ratios.fold((f64::INFINITY, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    if high < LEAST * low {
        return Err(Error::Array(format!(
            "overtraining: D/N spans only {low:.3} to {high:.3} tokens per parameter, at least a factor of {LEAST} is \
             needed; fit without it, or add checkpoints trained longer"
        )));
    }
    Ok(())
}

/// Refuses values that are not positive and finite.
fn check_positive(name: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !(*v > 0.0 && v.is_finite())) {
        Some(row) => Err(Error::Array(format!("{name}[{row}] = {}: must be positive and finite", values[row]))),
        None => Ok(()),
    }
}
