//! `t2fast_core::passk`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::passk::beta_binomial::BetaBinomial;
use t2fast_core::passk::{self, Estimator, allocation, interval};

use crate::errors::{Error, Result};
use crate::work::{self, run};

mod histogram;
mod trials;
mod vote;

pub use histogram::{BetaFit, Histogram, Prediction, Trial};
pub use trials::TrialLog;
pub use vote::{best_of_k, majority};

/// A matrix on its way to Python.
type Table<'py> = Bound<'py, PyArray2<f64>>;

fn unknown(what: &str, name: &str) -> Error {
    t2fast_core::Error::Array(format!("{what} = {name:?}: unknown")).into()
}

/// The estimator of a name; `parameter` is tau of G-pass@k or the batch of stopped sampling.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn estimator(name: &str, parameter: f64) -> Result<Estimator> {
    Ok(match name {
        "pass_at_k" => Estimator::PassAtK,
        "pass_hat_k" => Estimator::PassHatK,
        "g_pass_at_k" => Estimator::GPassAtK { tau: parameter },
        "ln_failure" => Estimator::LnFailure,
        "variance" => Estimator::Variance,
        "stopped" => Estimator::Stopped { batch: parameter as u64 },
        _ => return Err(unknown("estimator", name)),
    })
}

/// The counts k of samples, which Python has checked to be positive.
fn positive(k: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<u64>> {
    let k = k.as_slice()?;
    match k.iter().find(|&&k| k < 1) {
        Some(k) => Err(Error::from(t2fast_core::Error::Array(format!("k = {k}: must be at least 1"))).into()),
        None => Ok(k.iter().map(|k| k.unsigned_abs()).collect()),
    }
}

/// One number per problem and k, of shape (problems, ks).
#[pyfunction]
#[pyo3(signature = (name, n, c, k, parameter = 0.0))]
pub fn estimate<'py>(
    py: Python<'py>,
    name: &str,
    n: PyReadonlyArray1<'py, i64>,
    c: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
    parameter: f64,
) -> PyResult<Table<'py>> {
    let (estimator, ks) = (estimator(name, parameter)?, positive(&k)?);
    let (n, c) = (n.as_slice()?, c.as_slice()?);
    let mut out = vec![0.0; c.len() * ks.len()];
    work::detached(py, || passk::histogram::table(estimator, n, c, &ks, &mut out))?;
    PyArray1::from_vec(py, out).reshape([c.len(), ks.len()])
}

/// (means, variances) of pass@k of groups of problems, each of shape (groups, ks); group i ends before `ends[i]`.
#[pyfunction]
pub fn group_means<'py>(
    py: Python<'py>,
    n: PyReadonlyArray1<'py, i64>,
    c: PyReadonlyArray1<'py, i64>,
    ends: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
    same_problems: bool,
) -> PyResult<(Table<'py>, Table<'py>)> {
    let (n, c, ks) = (n.as_slice()?, c.as_slice()?, positive(&k)?);
    let ends: Vec<usize> = ends.as_slice()?.iter().map(|&end| usize::try_from(end).unwrap_or(0)).collect();
    let groups = work::detached(py, || passk::groups::means(n, c, &ends, &ks, same_problems))?;
    let table = |get: fn(&passk::groups::Group) -> &Vec<f64>| {
        PyArray1::from_iter(py, groups.iter().flat_map(get).copied()).reshape([groups.len(), ks.len()])
    };
    Ok((table(|group| &group.means)?, table(|group| &group.variances)?))
}

/// Bootstrap means of the columns of a table with one row per distinct problem.
#[pyfunction]
#[pyo3(signature = (values, problems, n_resamples, seed, threads = None, report = None))]
pub fn bootstrap<'py>(
    py: Python<'py>,
    values: numpy::PyReadonlyArray2<'py, f64>,
    problems: PyReadonlyArray1<'py, i64>,
    n_resamples: usize,
    seed: u64,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'py, PyAny>>,
) -> PyResult<Table<'py>> {
    let columns = values.as_array().ncols();
    let values = values.as_slice()?;
    let problems: Vec<u64> = problems.as_slice()?.iter().map(|p| p.unsigned_abs()).collect();
    let rows = run(py, threads, report, |progress| {
        interval::bootstrap(values, columns, &problems, n_resamples, seed, progress)
    })?;
    PyArray1::from_vec(py, rows).reshape([n_resamples, columns])
}

/// The counts as unsigned numbers, checked, and their s^2 at k under a Beta distribution (a, b, zero).
fn sensitivities(n: &[i64], c: &[i64], k: u64, model: (f64, f64, f64)) -> Result<(Vec<u64>, Vec<f64>)> {
    passk::histogram::check_lengths(n, c)?;
    let model = BetaBinomial { a: model.0, b: model.1, zero: model.2 };
    let mut counts = Vec::with_capacity(c.len());
    let mut squares = Vec::with_capacity(c.len());
    for (i, &c) in c.iter().enumerate() {
        let (n, c) = passk::histogram::checked_pair(if n.len() == 1 { n[0] } else { n[i] }, c, i)?;
        counts.push(n);
        squares.push(allocation::sensitivity(&model, n, c, k));
    }
    Ok((counts, squares))
}

/// The expected s^2 of each problem: what [`allocate`] divides by.
#[pyfunction(name = "sensitivities")]
pub fn squares<'py>(
    py: Python<'py>,
    n: PyReadonlyArray1<'py, i64>,
    c: PyReadonlyArray1<'py, i64>,
    k: u64,
    model: (f64, f64, f64),
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    Ok(PyArray1::from_vec(py, sensitivities(n.as_slice()?, c.as_slice()?, k, model)?.1))
}

/// pass@k of a Beta distribution (a, b, zero) of success rates at each k.
#[pyfunction]
pub fn beta_pass_at_k<'py>(
    py: Python<'py>,
    a: f64,
    b: f64,
    zero: f64,
    k: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let model = BetaBinomial { a, b, zero };
    Ok(PyArray1::from_iter(py, k.as_slice()?.iter().map(|&k| model.pass_at_k(k))))
}

/// (further samples per problem, standard error before, standard error after).
#[pyfunction]
#[allow(clippy::cast_possible_wrap)]
pub fn allocate<'py>(
    py: Python<'py>,
    n: PyReadonlyArray1<'py, i64>,
    c: PyReadonlyArray1<'py, i64>,
    k: u64,
    model: (f64, f64, f64),
    budget: u64,
    least: u64,
) -> PyResult<(Bound<'py, PyArray1<i64>>, f64, f64)> {
    let (counts, squares) = sensitivities(n.as_slice()?, c.as_slice()?, k, model)?;
    let further = work::detached(py, || allocation::allocate(&counts, &squares, budget, least))?;
    let after: Vec<u64> = counts.iter().zip(&further).map(|(n, m)| n + m).collect();
    let (before, after) = (allocation::standard_error(&counts, &squares), allocation::standard_error(&after, &squares));
    Ok((PyArray1::from_iter(py, further.iter().map(|&m| m as i64)), before, after))
}

/// (fewest further samples that bring the standard error to `target`, standard error now).
#[pyfunction]
pub fn samples_needed(
    n: PyReadonlyArray1<'_, i64>,
    c: PyReadonlyArray1<'_, i64>,
    k: u64,
    model: (f64, f64, f64),
    target: f64,
) -> PyResult<(u64, f64)> {
    let (counts, squares) = sensitivities(n.as_slice()?, c.as_slice()?, k, model)?;
    let needed = allocation::samples_needed(&counts, &squares, target).map_err(Error::from)?;
    Ok((needed, allocation::standard_error(&counts, &squares)))
}
