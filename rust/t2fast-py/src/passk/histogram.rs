//! `t2fast_core::passk::histogram`, and what is worked out from a histogram alone.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::passk::beta_binomial::{BetaBinomial, Fit, Likelihood, Outcome};
use t2fast_core::passk::extrapolate::{Found, Method, Predictor};
use t2fast_core::passk::{self, interval};

use super::{estimator, positive, unknown};
use crate::errors::{Error, Result};
use crate::work::{self, run};

/// n, c and problems of the distinct pairs.
type Columns<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

/// A beta-binomial distribution fitted by maximum likelihood.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct BetaFit {
    a: f64,
    b: f64,
    zero: f64,
    log_likelihood: f64,
    steps: usize,
    outcome: &'static str,
}

/// Predictions of pass@k, one row of them for each resample, and what the method found.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct Prediction {
    values: Py<PyArray1<f64>>,
    resampled: Py<PyArray2<f64>>,
    outcome: &'static str,
    parameters: Vec<f64>,
}

/// What a back-test measured for one method at one size of subsample.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct Trial {
    method: &'static str,
    seen: u64,
    error: f64,
    bias: f64,
}

/// The distinct (n, c) of a set of problems, with their multiplicities.
#[pyclass(frozen, eq, module = "t2fast._core")]
#[derive(PartialEq, Eq)]
pub struct Histogram(pub passk::Histogram);

#[pymethods]
impl Histogram {
    /// Counts problems; `n` has one entry or as many as `c`.
    #[new]
    fn new(py: Python<'_>, n: PyReadonlyArray1<'_, i64>, c: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let (n, c) = (n.as_slice()?, c.as_slice()?);
        Ok(Self(work::detached(py, || passk::Histogram::from_counts(n, c))?))
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
    #[allow(clippy::cast_possible_wrap)]
    fn pairs<'py>(&self, py: Python<'py>) -> Columns<'py> {
        let column = |get: fn(&passk::histogram::Pair) -> u64| {
            PyArray1::from_iter(py, self.0.pairs().iter().map(|pair| get(pair) as i64))
        };
        (column(|pair| pair.n), column(|pair| pair.c), column(|pair| pair.problems))
    }

    /// What pickling and copying make it again from.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Columns<'py>)> {
        Ok((slf.getattr("from_pairs")?, slf.get().pairs(slf.py())))
    }

    fn __repr__(&self) -> String {
        let (problems, pairs) = (self.0.problems(), self.0.pairs().len());
        format!("<Histogram: {problems} problems, {pairs} distinct (n, c)>")
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
        let means = work::detached(py, || self.0.means(estimator, &ks))?;
        Ok(PyArray1::from_vec(py, means))
    }

    /// Mean pass@k for k = 1 ... `k_max`.
    fn curve<'py>(&self, py: Python<'py>, k_max: u64) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let curve = work::detached(py, || passk::curve::mean_curve(&self.0, k_max))?;
        Ok(PyArray1::from_vec(py, curve))
    }

    /// The variance of mean pass@k under new samples of the same problems.
    fn samples_variance(&self, k: u64) -> Result<f64> {
        Ok(interval::samples_variance(&self.0, k)?)
    }

    /// The variance of the mean of an estimate under new problems.
    #[pyo3(signature = (name, k, parameter = 0.0))]
    fn problems_variance(&self, name: &str, k: u64, parameter: f64) -> Result<f64> {
        Ok(interval::problems_variance(&self.0, estimator(name, parameter)?, k)?)
    }

    /// The beta-binomial of greatest likelihood.
    fn beta_binomial(&self, py: Python<'_>, zero_inflated: bool) -> Result<BetaFit> {
        let likelihood = Likelihood::new(&self.0)?;
        let Fit { model, log_likelihood, steps, outcome } = py.detach(|| likelihood.fit(zero_inflated, None));
        let BetaBinomial { a, b, zero } = model;
        Ok(BetaFit { a, b, zero, log_likelihood, steps, outcome: outcome_name(outcome) })
    }

    /// Predictions beyond n; `batch` says that sampling stopped at the first success.
    #[pyo3(signature = (method, k, n_resamples, seed, batch = None, threads = None, report = None))]
    #[allow(clippy::too_many_arguments)]
    fn extrapolate<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        k: PyReadonlyArray1<'py, f64>,
        n_resamples: usize,
        seed: u64,
        batch: Option<u64>,
        threads: Option<NonZeroUsize>,
        report: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Prediction> {
        let (method, ks) = (method_of(method)?, k.as_slice()?);
        let mut predictor = Predictor::new(&self.0, method, batch).map_err(Error::from)?;
        let (point, found) = predictor.point(ks);
        let rows = if n_resamples == 0 {
            Vec::new()
        } else {
            run(py, threads, report, |progress| predictor.bootstrap(ks, n_resamples, seed, progress))?
        };
        let rows = PyArray1::from_vec(py, rows).reshape([n_resamples, ks.len()])?;
        let (outcome, parameters) = match found {
            Found::PowerLaw { ln_scale, exponent } => ("power_law", vec![ln_scale, exponent]),
            Found::Distribution(fit) => (outcome_name(fit.outcome), vec![fit.model.a, fit.model.b, fit.model.zero]),
            Found::Constant(value) => ("constant", vec![value]),
            Found::Rates => ("rates", Vec::new()),
        };
        let values = PyArray1::from_vec(py, point).unbind();
        Ok(Prediction { values, resampled: rows.unbind(), outcome, parameters })
    }

    /// How well each method predicts on subsamples of these counts.
    #[pyo3(signature = (methods, most, n_resamples, seed, threads = None, report = None))]
    #[allow(clippy::too_many_arguments)]
    fn backtest(
        &self,
        py: Python<'_>,
        methods: Vec<String>,
        most: f64,
        n_resamples: u64,
        seed: u64,
        threads: Option<NonZeroUsize>,
        report: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Trial>> {
        let methods = methods.iter().map(|name| method_of(name)).collect::<Result<Vec<_>>>()?;
        let trials = run(py, threads, report, |progress| {
            passk::extrapolate::backtest(&self.0, &methods, most, n_resamples, seed, progress)
        })?;
        let named = |passk::extrapolate::Trial { method, seen, error, bias }| Trial {
            method: method_name(method),
            seen,
            error,
            bias,
        };
        Ok(trials.into_iter().map(named).collect())
    }

    /// The counts that m samples of each problem would have given.
    fn subsample(&self, m: u64, seed: u64, replicate: u64) -> Result<Self> {
        Ok(Self(passk::extrapolate::subsample(&self.0, m, seed, replicate)?))
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Converged => "converged",
        Outcome::Constant => "constant",
        Outcome::NoSpread => "no_spread",
        Outcome::AllOrNothing => "all_or_nothing",
        Outcome::Stalled => "stalled",
    }
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::PowerLaw => "power_law",
        Method::BetaBinomial => "beta_binomial",
        Method::ZeroInflated => "zero_inflated",
        Method::PlugIn => "plug_in",
    }
}

fn method_of(name: &str) -> Result<Method> {
    Method::ALL.into_iter().find(|&method| method_name(method) == name).ok_or_else(|| unknown("method", name))
}
