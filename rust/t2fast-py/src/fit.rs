//! `t2fast_core::fit`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::fit::bootstrap::{Units, bootstrap};
use t2fast_core::fit::counts::Counts;
use t2fast_core::fit::curvature::{curvature, profile};
use t2fast_core::fit::multistart::Fit;
use t2fast_core::fit::pass::Staged;
use t2fast_core::fit::power::{PowerSum, Settings};
use t2fast_core::fit::{self, Penalty, Scale};
use t2fast_core::law::Law as _;
use t2fast_core::linear::Vector;

use crate::errors::{Error, T2Error};

type Column<'py> = PyReadonlyArray1<'py, f64>;

/// Coefficients, a row per replicate, and whether each converged.
type Replicates<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<bool>>);

/// A table and what to fit to it.
#[pyclass(frozen, module = "t2fast._core")]
pub struct FitProblem(Inner);

enum Inner {
    Power(PowerSum),
    Counts(Counts),
    Staged(Staged),
}

impl FitProblem {
    fn problem(&self) -> &dyn fit::Problem {
        match &self.0 {
            Inner::Power(problem) => problem,
            Inner::Counts(problem) => problem,
            Inner::Staged(problem) => problem,
        }
    }

    fn power(&self) -> PyResult<PowerSum> {
        match &self.0 {
            Inner::Power(problem) => Ok(problem.clone()),
            _ => Err(T2Error::new_err("the first stage must be a fit of the loss")),
        }
    }
}

fn optional<'a>(column: Option<&'a Column<'_>>) -> PyResult<Option<&'a [f64]>> {
    Ok(column.map(|c| c.as_slice()).transpose()?)
}

fn indices(column: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<usize>> {
    let convert = |i: &i64| usize::try_from(*i).map_err(|_| T2Error::new_err(format!("index {i} is negative")));
    column.as_slice()?.iter().map(convert).collect()
}

/// Numbers distinct rows in the order in which they first appear.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
pub fn number_rows<'py>(py: Python<'py>, columns: Vec<Column<'py>>) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let columns = columns.iter().map(|c| Ok(c.as_slice()?)).collect::<PyResult<Vec<_>>>()?;
    Ok(PyArray1::from_vec(py, fit::number_rows(&columns).map_err(Error::from)?))
}

/// The columns of a sum of powers: a dict of arrays.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct PowerTable<'py> {
    n_params: Column<'py>,
    n_tokens: Column<'py>,
    loss: Column<'py>,
    k: Option<Column<'py>>,
    unique_tokens: Option<Column<'py>>,
    weights: Option<Column<'py>>,
}

/// The columns of counts: a dict of arrays.
#[allow(clippy::struct_field_names)]
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct CountsTable<'py> {
    n_params: Column<'py>,
    n_tokens: Column<'py>,
    n_samples: Column<'py>,
    n_correct: Column<'py>,
}

/// The columns of curves of pass@k: a dict of arrays.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct CurvesTable<'py> {
    n_params: Column<'py>,
    n_tokens: Column<'py>,
    k: Column<'py>,
    pass_at_k: Column<'py>,
}

/// What is minimised and what is free: a dict.
#[allow(clippy::struct_excessive_bools)]
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct PowerSettings {
    log: bool,
    penalty: String,
    constants: (f64, f64),
    tie_exponents: bool,
    #[pyo3(item("E"))]
    e: Option<f64>,
    e_share: (f64, f64),
    starts: usize,
    discount_params: bool,
    overtraining: bool,
}

impl PowerSettings {
    fn checked(self) -> PyResult<Settings> {
        let penalty = match self.penalty.as_str() {
            "squared" => Penalty::Squared,
            "huber" => Penalty::Huber { delta: self.constants.0 },
            "absolute" => Penalty::Absolute { under: self.constants.0, over: self.constants.1 },
            other => return Err(T2Error::new_err(format!("penalty {other:?} is unknown"))),
        };
        Ok(Settings {
            scale: if self.log { Scale::Log } else { Scale::Raw },
            penalty,
            tied: self.tie_exponents,
            e: self.e,
            e_share: self.e_share,
            starts: self.starts,
            discount_params: self.discount_params,
            overtraining: self.overtraining,
        })
    }
}

#[pymethods]
impl FitProblem {
    /// A sum of powers: Chinchilla's law, or with `k` Approach 1, or with `unique_tokens` the law of repeated tokens.
    #[staticmethod]
    fn power_sum(table: PowerTable<'_>, settings: PowerSettings) -> PyResult<Self> {
        let table = fit::power::Table {
            n_params: table.n_params.as_slice()?,
            n_tokens: table.n_tokens.as_slice()?,
            k: optional(table.k.as_ref())?,
            unique_tokens: optional(table.unique_tokens.as_ref())?,
            loss: table.loss.as_slice()?,
            weights: optional(table.weights.as_ref())?,
        };
        Ok(Self(Inner::Power(PowerSum::new(&table, settings.checked()?).map_err(Error::from)?)))
    }

    /// Counts with a latent loss, with a term of overtraining or without.
    #[staticmethod]
    #[pyo3(signature = (table, *, overtraining = false))]
    fn latent(table: CountsTable<'_>, overtraining: bool) -> PyResult<Self> {
        let table = fit::counts::Table {
            n_params: table.n_params.as_slice()?,
            n_tokens: table.n_tokens.as_slice()?,
            n_samples: table.n_samples.as_slice()?,
            n_correct: table.n_correct.as_slice()?,
        };
        Ok(Self(Inner::Counts(Counts::new(&table, overtraining).map_err(Error::from)?)))
    }

    /// The same counts with the losses of a Chinchilla law, known beforehand.
    fn with_losses(&self, law: &crate::law::Law) -> PyResult<Self> {
        match &self.0 {
            Inner::Counts(counts) => Ok(Self(Inner::Counts(counts.clone().with_losses(*law.0.chinchilla())))),
            _ => Err(T2Error::new_err("only counts take losses")),
        }
    }

    /// Approach 2 in two stages: `first` fits the loss, then pass@k at its losses by least squares.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn staged_curves(first: &Self, checkpoint: PyReadonlyArray1<'_, i64>, table: CurvesTable<'_>) -> PyResult<Self> {
        let table = fit::pass::Table {
            n_params: table.n_params.as_slice()?,
            n_tokens: table.n_tokens.as_slice()?,
            k: table.k.as_slice()?,
            pass_at_k: table.pass_at_k.as_slice()?,
        };
        let staged = Staged::curves(first.power()?, indices(&checkpoint)?, &table).map_err(Error::from)?;
        Ok(Self(Inner::Staged(staged)))
    }

    /// Approach 2 in two stages: `first` fits the loss, then the counts at its losses by likelihood.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn staged_counts(first: &Self, checkpoint: PyReadonlyArray1<'_, i64>, counts: &Self) -> PyResult<Self> {
        let Inner::Counts(counts) = &counts.0 else {
            return Err(T2Error::new_err("the second stage must be counts"));
        };
        let staged = Staged::counts(first.power()?, indices(&checkpoint)?, counts.clone()).map_err(Error::from)?;
        Ok(Self(Inner::Staged(staged)))
    }

    /// Names of the fitted coefficients.
    fn names(&self) -> Vec<&'static str> {
        self.problem().names()
    }

    /// Fits from scratch.
    fn fit(&self, py: Python<'_>, threads: Option<NonZeroUsize>) -> PyResult<FitOutcome> {
        let found = py.detach(|| t2fast_core::threads::on_threads(threads, || self.problem().fit(None, None)));
        let fit = found.and_then(|found| found).map_err(Error::from)?;
        let problem = self.problem();
        Ok(FitOutcome { coefficients: problem.coefficients(&fit.x), penalty: problem.penalty(&fit.x), fit })
    }

    /// Refits replicates `first .. first + count`: coefficients, a row per replicate, and whether each converged.
    #[allow(clippy::too_many_arguments)]
    fn bootstrap<'py>(
        &self,
        py: Python<'py>,
        outcome: &FitOutcome,
        units: Vec<PyReadonlyArray1<'py, i64>>,
        seed: u64,
        first: u64,
        count: u64,
        threads: Option<NonZeroUsize>,
        report: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Replicates<'py>> {
        let units = units
            .iter()
            .map(|unit| Ok(Units::new(indices(unit)?).map_err(Error::from)?))
            .collect::<PyResult<Vec<_>>>()?;
        let problem = self.problem();
        let replicates = crate::work::run(py, threads, report, |progress| {
            bootstrap(problem, &units, &outcome.fit.x, seed, first, count, progress)
        })?;
        let converged = replicates.iter().map(|r| r.converged).collect();
        let rows: Vec<Vec<f64>> = replicates.into_iter().map(|r| r.coefficients).collect();
        Ok((PyArray2::from_vec2(py, &rows)?, PyArray1::from_vec(py, converged)))
    }

    /// What the curvature at the optimum says; `None` for fits in stages.
    #[allow(clippy::needless_pass_by_value)]
    fn curvature(&self, outcome: &FitOutcome, cluster: PyReadonlyArray1<'_, i64>) -> PyResult<Option<FitCurvature>> {
        let found = curvature(self.problem(), &outcome.fit, &indices(&cluster)?).map_err(Error::from)?;
        Ok(found.map(|c| FitCurvature { covariance: c.covariance, condition: c.condition }))
    }

    /// Profile interval of one coefficient where the deviance stays below `limit`; `None` where not offered.
    #[allow(clippy::needless_pass_by_value)]
    fn profile(
        &self,
        py: Python<'_>,
        outcome: &FitOutcome,
        cluster: PyReadonlyArray1<'_, i64>,
        index: usize,
        limit: f64,
    ) -> PyResult<Option<(f64, f64)>> {
        let cluster = indices(&cluster)?;
        let problem = self.problem();
        crate::work::detached(py, || profile(problem, &outcome.fit, &cluster, index, limit))
    }
}

/// What the curvature at a fit's optimum says.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct FitCurvature {
    /// Robust covariance of the coefficients: zero for those held fixed, NaN where the curvature is singular.
    covariance: Vec<Vec<f64>>,
    /// Condition number of the curvature, scaled to a unit diagonal.
    condition: f64,
}

/// What a fit found.
#[pyclass(frozen, module = "t2fast._core")]
pub struct FitOutcome {
    fit: Fit,
    /// The law's coefficients.
    #[pyo3(get)]
    coefficients: Vec<f64>,
    /// What priors add to the objective.
    #[pyo3(get)]
    penalty: f64,
}

#[pymethods]
impl FitOutcome {
    /// The objective at the optimum.
    #[getter]
    fn objective(&self) -> f64 {
        self.fit.objective
    }

    /// The largest derivative by a parameter that is free to move.
    #[getter]
    fn gradient(&self) -> f64 {
        self.fit.gradient
    }

    /// Newton steps over all starts.
    #[getter]
    fn iterations(&self) -> u32 {
        self.fit.iterations
    }

    /// Starts polished, and how many ended at the optimum.
    #[getter]
    fn starts(&self) -> (usize, usize) {
        (self.fit.starts, self.fit.agreeing)
    }

    /// Whether the best start converged.
    #[getter]
    fn converged(&self) -> bool {
        self.fit.converged
    }

    /// Names of the coefficients that ended at a bound.
    fn at_bound(&self, problem: &FitProblem) -> Vec<&'static str> {
        let problem = problem.problem();
        let names = problem.names();
        let jacobian = problem.jacobian(&self.fit.x);
        // A and B depend on their scale first and on their exponent second: only the former is their own.
        let bounded = |row: &Vector| row.iter().position(|d| *d != 0.0).is_some_and(|i| self.fit.at_bound.contains(&i));
        names.into_iter().zip(&jacobian).filter(|(_, row)| bounded(row)).map(|(name, _)| name).collect()
    }
}
