//! `t2fast_core::passk`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;
use t2fast_core::passk::beta_binomial::{BetaBinomial, Fit, Likelihood, Outcome};
use t2fast_core::passk::extrapolate::{Found, Method, Predictor};
use t2fast_core::passk::vote::{self, Ties};
use t2fast_core::passk::{self, Estimator, allocation, interval};
use t2fast_core::random::Philox;

use crate::errors::{Error, Result};
use crate::work::{self, run};

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

/// The distinct (n, c) of a set of problems, with their multiplicities.
#[pyclass(frozen, module = "t2fast._core")]
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

    /// (a, b, zero, log-likelihood per problem, steps, outcome) of the beta-binomial of greatest likelihood.
    fn beta_binomial(
        &self,
        py: Python<'_>,
        zero_inflated: bool,
    ) -> PyResult<(f64, f64, f64, f64, usize, &'static str)> {
        let likelihood = Likelihood::new(&self.0).map_err(Error::from)?;
        let Fit { model, log_likelihood, steps, outcome } = py.detach(|| likelihood.fit(zero_inflated, None));
        Ok((model.a, model.b, model.zero, log_likelihood, steps, outcome_name(outcome)))
    }

    /// (predictions, replicates x predictions, what the method found) beyond n; `batch` says that sampling stopped at the
    /// first success.
    #[pyo3(signature = (method, k, replicates, seed, batch = None, threads = None, report = None))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn extrapolate<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        k: PyReadonlyArray1<'py, f64>,
        replicates: usize,
        seed: u64,
        batch: Option<u64>,
        threads: Option<NonZeroUsize>,
        report: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Table<'py>, (&'static str, Vec<f64>))> {
        let (method, ks) = (method_of(method)?, k.as_slice()?);
        let mut predictor = Predictor::new(&self.0, method, batch).map_err(Error::from)?;
        let (point, found) = predictor.point(ks);
        let rows = if replicates == 0 {
            Vec::new()
        } else {
            run(py, threads, report, |progress| predictor.bootstrap(ks, replicates, seed, progress))?
        };
        let rows = PyArray1::from_vec(py, rows).reshape([replicates, ks.len()])?;
        let found = match found {
            Found::PowerLaw { ln_scale, exponent } => ("power_law", vec![ln_scale, exponent]),
            Found::Distribution(fit) => (outcome_name(fit.outcome), vec![fit.model.a, fit.model.b, fit.model.zero]),
            Found::Constant(value) => ("constant", vec![value]),
            Found::Rates => ("rates", Vec::new()),
        };
        Ok((PyArray1::from_vec(py, point), rows, found))
    }

    /// (method, samples seen, mean absolute error, bias) of each method on subsamples of these counts.
    #[pyo3(signature = (methods, most, replicates, seed, threads = None, report = None))]
    #[allow(clippy::too_many_arguments)]
    fn backtest(
        &self,
        py: Python<'_>,
        methods: Vec<String>,
        most: f64,
        replicates: u64,
        seed: u64,
        threads: Option<NonZeroUsize>,
        report: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<(&'static str, u64, f64, f64)>> {
        let methods = methods.iter().map(|name| method_of(name)).collect::<Result<Vec<_>>>()?;
        let trials = run(py, threads, report, |progress| {
            passk::extrapolate::backtest(&self.0, &methods, most, replicates, seed, progress)
        })?;
        Ok(trials.into_iter().map(|trial| (method_name(trial.method), trial.seen, trial.error, trial.bias)).collect())
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

/// Bootstrap means of the columns of a table with one row per distinct problem.
#[pyfunction]
#[pyo3(signature = (values, problems, replicates, seed, threads = None, report = None))]
pub fn bootstrap<'py>(
    py: Python<'py>,
    values: numpy::PyReadonlyArray2<'py, f64>,
    problems: PyReadonlyArray1<'py, i64>,
    replicates: usize,
    seed: u64,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'py, PyAny>>,
) -> PyResult<Table<'py>> {
    let columns = values.as_array().ncols();
    let values = values.as_slice()?;
    let problems: Vec<u64> = problems.as_slice()?.iter().map(|p| p.unsigned_abs()).collect();
    let rows = run(py, threads, report, |progress| {
        interval::bootstrap(values, columns, &problems, replicates, seed, progress)
    })?;
    PyArray1::from_vec(py, rows).reshape([replicates, columns])
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

/// (problems, trials, correct trials) of a block of JSON lines with these keys; None when a line is anything else.
#[pyfunction]
pub fn tally_json_lines(
    py: Python<'_>,
    block: &[u8],
    keys: Vec<String>,
    problem: usize,
    verdict: usize,
) -> PyResult<Option<Vec<passk::records::Tally>>> {
    work::detached(py, || Ok(passk::records::tally(block, &keys, problem, verdict)))
}
