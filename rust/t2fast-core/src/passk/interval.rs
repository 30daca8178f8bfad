//! How sure an average is: the variance from sampling, the spread between problems, and the bootstrap.
//!
//! Two questions must not be confused. Had the *same problems* been sampled afresh, how far would the average move
//! ([`samples_variance`])? Had *other problems of the same kind* been asked ([`problems_variance`], [`bootstrap`])? The
//! second includes the first.

use rayon::prelude::*;

use super::estimate::{self, Estimator};
use super::histogram::{Histogram, Sum};
use crate::error::{Error, Result};
use crate::random::Philox;
use crate::threads::Progress;

/// The unbiased estimate of the variance of mean pass@k under new samples of the same problems; NaN where a problem has
/// fewer than 2k samples.
///
/// # Errors
/// Never for counts that a histogram holds.
#[allow(clippy::cast_precision_loss)]
pub fn samples_variance(histogram: &Histogram, k: u64) -> Result<f64> {
    Ok(histogram.mean(|n, c| Ok(estimate::variance(n, c, k)))? / histogram.problems() as f64)
}

/// The unbiased estimate of the variance of the mean of an estimate under other problems of the same kind: the spread
/// between problems over their number. NaN for a single problem, and where the estimate is undefined for one of them.
///
/// # Errors
/// As [`Estimator::value`].
#[allow(clippy::cast_precision_loss)]
pub fn problems_variance(histogram: &Histogram, estimator: Estimator, k: u64) -> Result<f64> {
    let mean = histogram.means(estimator, &[k])?[0];
    let problems = histogram.problems() as f64;
    let spread = histogram.mean(|n, c| Ok((estimator.value(n, c, k)? - mean).powi(2)))?;
    Ok(if problems > 1.0 { spread / (problems - 1.0) } else { f64::NAN })
}

/// How often each of a set of rows is drawn when as many problems are drawn with replacement as there are.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// The row of each problem.
    rows: Vec<u32>,
    distinct: usize,
    seed: u64,
}

impl Resampler {
    /// Rows with the number of problems that each stands for.
    ///
    /// # Errors
    /// [`Error::Array`] when there are no problems, or 2^32 rows and more.
    pub fn new(problems: impl Iterator<Item = u64>, seed: u64) -> Result<Self> {
        let mut rows = Vec::new();
        let mut distinct = 0;
        for (row, count) in problems.enumerate() {
            let row = u32::try_from(row).map_err(|_| Error::Array("more than 2^32 distinct problems".to_owned()))?;
            rows.extend((0..count).map(|_| row));
            distinct += 1;
        }
        if rows.is_empty() {
            return Err(Error::Array("no problems to resample".to_owned()));
        }
        Ok(Self { rows, distinct, seed })
    }

    /// The weights of replicate number `replicate`: a function of it, the seed and the problems alone.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn weights(&self, replicate: u64) -> Vec<f64> {
        let mut random = Philox::new(self.seed, replicate);
        let mut weights = vec![0.0; self.distinct];
        let problems = self.rows.len() as u64;
        for _ in 0..problems {
            weights[self.rows[random.below(problems) as usize] as usize] += 1.0;
        }
        weights
    }
}

/// Bootstrap over problems: for each replicate the mean over the drawn problems of each column, row by row.
///
/// `values` holds one row of `columns` numbers per distinct problem, and `problems` how many share that row. Columns of
/// one row are drawn together, so that two models side by side are compared on the same problems. One unit of progress
/// is one replicate.
///
/// # Errors
/// [`Error::Array`] as [`Resampler::new`] and when the lengths don't fit, [`Error::Interrupted`] when asked to stop.
#[allow(clippy::cast_precision_loss)]
pub fn bootstrap(
    values: &[f64],
    columns: usize,
    problems: &[u64],
    replicates: usize,
    seed: u64,
    progress: &Progress,
) -> Result<Vec<f64>> {
    if columns == 0 || values.len() != columns * problems.len() {
        let (v, p) = (values.len(), problems.len());
        return Err(Error::Array(format!(
            "values has {v} numbers: must be {columns} columns for each of {p} problems"
        )));
    }
    let resampler = Resampler::new(problems.iter().copied(), seed)?;
    let total = resampler.rows.len() as f64;
    let mut out = vec![0.0; replicates * columns];
    out.par_chunks_mut(columns).enumerate().try_for_each(|(replicate, out)| {
        let weights = resampler.weights(replicate as u64);
        let mut sums = vec![Sum::default(); columns];
        for (row, weight) in values.chunks_exact(columns).zip(weights) {
            if weight > 0.0 {
                for (sum, value) in sums.iter_mut().zip(row) {
                    sum.add(weight * value);
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum.value() / total;
        }
        progress.advance(1)
    })?;
    Ok(out)
}
