//! `t2fast_core::passk::vote`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;
use t2fast_core::passk::vote::{self, Ties};
use t2fast_core::random::Philox;

use super::{Table, positive, unknown};
use crate::errors::Error;
use crate::work::{self, run};

/// The parts of a flat array between offsets.
fn ragged<'a, T>(flat: &'a [T], offsets: &[i64]) -> PyResult<Vec<&'a [T]>> {
    let part = |pair: &[i64]| {
        let range = usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?;
        flat.get(range)
    };
    let parts: Option<Vec<&[T]>> = offsets.windows(2).map(part).collect();
    parts.ok_or_else(|| Error::from(t2fast_core::Error::Array("offsets lie outside the array".to_owned())).into())
}

/// maj@k and its Monte-Carlo standard error (0 where exact), of shape (problems, ks). `votes` holds each problem's counts
/// of distinct answers between `offsets`, `correct` the place of the right one or -1. Where answers x k^3 exceeds `exact`,
/// `draws` samples are drawn.
#[pyfunction]
#[pyo3(signature = (votes, offsets, correct, k, ties, exact, draws, seed, threads = None, report = None))]
#[allow(clippy::too_many_arguments, clippy::cast_precision_loss)]
pub fn majority<'py>(
    py: Python<'py>,
    votes: PyReadonlyArray1<'py, i64>,
    offsets: PyReadonlyArray1<'py, i64>,
    correct: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
    ties: &str,
    exact: f64,
    draws: u32,
    seed: u64,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Table<'py>, Table<'py>)> {
    let ties = match ties {
        "random" => Ties::Random,
        "fail" => Ties::Fail,
        "win" => Ties::Win,
        _ => return Err(unknown("ties", ties).into()),
    };
    let ks = positive(&k)?;
    let votes: Vec<u64> = votes.as_slice()?.iter().map(|v| v.unsigned_abs()).collect();
    let problems = ragged(&votes, offsets.as_slice()?)?;
    let correct = correct.as_slice()?;
    let one = |(problem, &votes): (usize, &&[u64])| -> t2fast_core::Result<Vec<(f64, f64)>> {
        let right = usize::try_from(correct[problem]).ok();
        ks.iter()
            .map(|&k| {
                let size = usize::try_from(k).unwrap_or(usize::MAX);
                if votes.len() as f64 * (k as f64).powi(3) <= exact || k > votes.iter().sum() {
                    Ok((vote::majority_exact(votes, right, size, ties), 0.0))
                } else {
                    // One stream per problem and k.
                    let mut random = Philox::new(seed, (problem as u64) << 32 | k & 0xffff_ffff);
                    vote::majority_sampled(votes, right, size, ties, draws, &mut random)
                }
            })
            .collect()
    };
    let rows = run(py, threads, report, |progress| {
        problems
            .par_iter()
            .enumerate()
            .map(|problem| {
                let row = one(problem)?;
                progress.advance(1)?;
                Ok(row)
            })
            .collect::<t2fast_core::Result<Vec<_>>>()
    })?;
    let table = |get: fn(&(f64, f64)) -> f64| {
        PyArray1::from_iter(py, rows.iter().flatten().map(get)).reshape([problems.len(), ks.len()])
    };
    Ok((table(|cell| cell.0)?, table(|cell| cell.1)?))
}

/// The expected value of the highest-scored of k, of shape (problems, ks).
#[pyfunction]
pub fn best_of_k<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray1<'py, f64>,
    values: PyReadonlyArray1<'py, f64>,
    offsets: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
) -> PyResult<Table<'py>> {
    let (ks, offsets) = (positive(&k)?, offsets.as_slice()?);
    let problems: Vec<_> =
        ragged(scores.as_slice()?, offsets)?.into_iter().zip(ragged(values.as_slice()?, offsets)?).collect();
    let rows = work::detached(py, || {
        problems
            .par_iter()
            .with_min_len(16)
            .map(|(scores, values)| vote::best_of_k(scores, values, &ks))
            .collect::<t2fast_core::Result<Vec<_>>>()
    })?;
    let flat: Vec<f64> = rows.into_iter().flatten().collect();
    PyArray1::from_vec(py, flat).reshape([problems.len(), ks.len()])
}
