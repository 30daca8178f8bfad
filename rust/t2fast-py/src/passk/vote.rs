//! `t2fast_core::passk::vote`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;
use t2fast_core::passk::tallies::{self, Settings, Tallies};
use t2fast_core::passk::vote::{self, Ties};

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

/// maj@k and its Monte-Carlo standard error (0 where exact), of shape (problems, ks). `wrong` holds each problem's counts
/// of wrong answers between `starts`, `right` the counts of the right one. Where the exact way takes more than `exact`
/// multiplications, `draws` samples are drawn.
#[pyfunction]
#[pyo3(signature = (right, wrong, starts, k, ties, exact, draws, seed, threads = None, report = None))]
#[allow(clippy::too_many_arguments)]
pub fn majority<'py>(
    py: Python<'py>,
    right: PyReadonlyArray1<'py, i64>,
    wrong: PyReadonlyArray1<'py, i64>,
    starts: PyReadonlyArray1<'py, i64>,
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
    let tallies = Tallies { right: right.as_slice()?, wrong: wrong.as_slice()?, starts: starts.as_slice()? };
    let settings = Settings { ks: &ks, ties, exact, draws, seed };
    let (values, errors) = run(py, threads, report, |progress| tallies::majority(tallies, settings, progress))?;
    let table = |flat: Vec<f64>| PyArray1::from_vec(py, flat).reshape([tallies.right.len(), ks.len()]);
    Ok((table(values)?, table(errors)?))
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
