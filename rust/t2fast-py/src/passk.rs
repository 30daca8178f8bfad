//! `t2fast_core::passk`.

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::passk::{self, Estimator};

use crate::errors::{Error, Result};

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
        _ => return Err(t2fast_core::Error::Array(format!("estimator = {name:?}: unknown")).into()),
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
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (estimator, ks) = (estimator(name, parameter)?, positive(&k)?);
    let (n, c) = (n.as_slice()?, c.as_slice()?);
    let mut out = vec![0.0; c.len() * ks.len()];
    py.detach(|| passk::histogram::table(estimator, n, c, &ks, &mut out)).map_err(Error::from)?;
    PyArray1::from_vec(py, out).reshape([c.len(), ks.len()])
}

/// The distinct (n, c) of a set of problems, with their multiplicities.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Histogram(pub passk::Histogram);

#[pymethods]
impl Histogram {
    /// Counts problems; `n` has one entry or as many as `c`.
    #[new]
    fn new(py: Python<'_>, n: PyReadonlyArray1<'_, i64>, c: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let (n, c) = (n.as_slice()?, c.as_slice()?);
        Ok(Self(py.detach(|| passk::Histogram::from_counts(n, c)).map_err(Error::from)?))
    }

    /// From pairs with multiplicities.
    #[staticmethod]
    fn from_pairs(
        n: PyReadonlyArray1<'_, i64>,
        c: PyReadonlyArray1<'_, i64>,
        problems: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Self> {
        let histogram = passk::Histogram::from_pairs(n.as_slice()?, c.as_slice()?, problems.as_slice()?);
        Ok(Self(histogram.map_err(Error::from)?))
    }

    /// The problems of both.
    fn merged(&self, other: &Self) -> Self {
        let mut merged = self.0.clone();
        merged.merge(&other.0);
        Self(merged)
    }

    /// (n, c, problems) of the distinct pairs, in rising order.
    #[allow(clippy::type_complexity, clippy::cast_possible_wrap)]
    fn pairs<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>) {
        let column = |get: fn(&passk::histogram::Pair) -> u64| {
            PyArray1::from_iter(py, self.0.pairs().iter().map(|pair| get(pair) as i64))
        };
        (column(|pair| pair.n), column(|pair| pair.c), column(|pair| pair.problems))
    }

    /// How many problems there are.
    #[getter]
    fn problems(&self) -> u64 {
        self.0.problems()
    }

    /// The smallest n.
    #[getter]
    fn fewest_samples(&self) -> u64 {
        self.0.fewest_samples()
    }

    /// The average of an estimate over problems, for each k.
    #[pyo3(signature = (name, k, parameter = 0.0))]
    fn means<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        k: PyReadonlyArray1<'py, i64>,
        parameter: f64,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (estimator, ks) = (estimator(name, parameter)?, positive(&k)?);
        let means = py.detach(|| self.0.means(estimator, &ks)).map_err(Error::from)?;
        Ok(PyArray1::from_vec(py, means))
    }

    /// Mean pass@k for k = 1 ... `k_max`.
    fn curve<'py>(&self, py: Python<'py>, k_max: u64) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let curve = py.detach(|| passk::curve::mean_curve(&self.0, k_max)).map_err(Error::from)?;
        Ok(PyArray1::from_vec(py, curve))
    }
}
