//! `t2fast_core::cost` and `t2fast_core::plan`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use t2fast_core::cost::{self, Money, Range};
use t2fast_core::law::{AnyLaw, Law as _, Sense, predictive};
use t2fast_core::plan::exact::{self, Region};
use t2fast_core::plan::grid::{self, Axes};
use t2fast_core::plan::{self, curve as curves, frontier};
use t2fast_core::threads::Progress;

use crate::cost::{Family, Roofline};
use crate::errors::{Error, Result};
use crate::law::Law;
use crate::work;

/// The attributes of `t2fast.costs.Attention`.
#[derive(FromPyObject)]
struct Attention {
    aspect_ratio: f64,
    train_context: f64,
}

/// The attributes of `t2fast.costs.Workload`.
#[derive(FromPyObject)]
struct Workload {
    queries: f64,
    prompt_tokens: f64,
    answer_tokens: f64,
    prompt: String,
    attention: Option<Attention>,
}

/// The attributes of `t2fast.costs.Budget`.
#[derive(FromPyObject)]
pub struct Limits {
    #[pyo3(attribute("_limits"))]
    costs: [Option<f64>; 3],
    #[pyo3(attribute("_money"))]
    money: Option<(Py<Roofline>, Py<Family>, f64)>,
    workload: Workload,
    max_params: Option<f64>,
    max_tokens: Option<f64>,
    max_k: Option<f64>,
    max_tokens_per_param: Option<f64>,
    unique_tokens: Option<f64>,
}

/// A budget with checked numbers, ready for the core.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Budget(cost::Budget);

#[pymethods]
impl Budget {
    #[new]
    fn new(limits: Limits) -> Result<Self> {
        let upto = |name, most: Option<f64>| Range::new(name, 1.0, most.unwrap_or(f64::INFINITY));
        let workload = limits.workload;
        let attention = workload
            .attention
            .map(|Attention { aspect_ratio, train_context }| cost::Attention { aspect_ratio, train_context });
        let budget = cost::Budget {
            train: limits.costs[0],
            inference: limits.costs[1],
            total: limits.costs[2],
            money: limits.money.map(|(roofline, family, dollars_per_second)| Money {
                roofline: roofline.get().0,
                family: family.get().0,
                dollars_per_second,
            }),
            workload: cost::Workload {
                queries: workload.queries,
                prompt_tokens: workload.prompt_tokens,
                answer_tokens: workload.answer_tokens,
                prompt: crate::cost::prompt(&workload.prompt)?,
                attention,
            },
            n_params: upto("max_params", limits.max_params)?,
            n_tokens: upto("max_tokens", limits.max_tokens)?,
            k: upto("max_k", limits.max_k)?,
            max_tokens_per_param: limits.max_tokens_per_param,
            unique_tokens: limits.unique_tokens,
        };
        Ok(Self(budget.checked()?))
    }

    /// Cost of training in the budget's unit.
    fn train_cost(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.0.at(n_params).per_token * n_tokens
    }

    /// Cost of inference in the budget's unit; infinite where the model cannot run.
    fn inference_cost(&self, n_params: f64, k: f64) -> f64 {
        let at = self.0.at(n_params);
        if k > at.most_k * (1.0 + cost::SLACK) { f64::INFINITY } else { at.inference(k) }
    }

    fn train_flops(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.0.workload.train_flops(n_params, n_tokens)
    }

    fn inference_flops(&self, n_params: f64, k: f64) -> f64 {
        self.0.workload.inference_flops(n_params, k)
    }

    /// The largest D beside N and k: below one, possibly negative, when there is none.
    fn most_tokens(&self, n_params: f64, k: f64) -> f64 {
        self.0.most_tokens(n_params, k)
    }

    /// The largest real k beside N and D: below one when there is none.
    fn most_samples(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.0.most_samples(n_params, n_tokens)
    }

    /// The N that a training cost pays for beside D tokens.
    fn size_for_tokens(&self, train_flops: f64, n_tokens: f64) -> f64 {
        self.0.workload.size_for_tokens(train_flops, n_tokens)
    }

    /// The N that a training cost pays for at a given D / N.
    fn size_for_ratio(&self, train_flops: f64, tokens_per_param: f64) -> f64 {
        self.0.workload.size_for_ratio(train_flops, tokens_per_param)
    }
}

/// N, D and k with what they bring and cost.
#[pyclass(frozen, get_all, module = "t2fast._core")]
#[derive(Clone)]
pub struct Design {
    n_params: f64,
    n_tokens: f64,
    k: f64,
    samples: f64,
    value: f64,
    pass_at_k: f64,
    loss: f64,
    train_flops: f64,
    inference_flops: f64,
    dollars: Option<(f64, f64)>,
}

impl From<&plan::Design> for Design {
    fn from(d: &plan::Design) -> Self {
        let plan::Design {
            n_params,
            n_tokens,
            k,
            samples,
            value,
            pass_at_k,
            loss,
            train_flops,
            inference_flops,
            dollars,
        } = *d;
        Self { n_params, n_tokens, k, samples, value, pass_at_k, loss, train_flops, inference_flops, dollars }
    }
}

/// The best design within a budget and what is around it.
#[pyclass(frozen, get_all, module = "t2fast._core")]
#[derive(Clone)]
pub struct Plan {
    best: Design,
    continuous: Design,
    chinchilla: Option<Design>,
    inside_data: Option<Design>,
    flat_n_params: (f64, f64),
    gain_train: Option<f64>,
    gain_inference: Option<f64>,
    gain_total: Option<f64>,
    evaluations: usize,
    converged: bool,
}

impl From<&exact::Plan> for Plan {
    fn from(p: &exact::Plan) -> Self {
        Self {
            best: (&p.best).into(),
            continuous: (&p.continuous).into(),
            chinchilla: p.chinchilla.as_ref().map(Into::into),
            inside_data: p.inside_data.as_ref().map(Into::into),
            flat_n_params: (p.flat.lo, p.flat.hi),
            gain_train: p.gain_train,
            gain_inference: p.gain_inference,
            gain_total: p.gain_total,
            evaluations: p.evaluations,
            converged: p.converged,
        }
    }
}

/// A point of a grid: its place on the axes, and the design there.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct Place {
    index: [usize; 3],
    design: Design,
}

/// A plan, or why there is none.
// Each is handed to Python at once.
#[allow(clippy::large_enum_variant)]
#[derive(IntoPyObject)]
pub enum Outcome {
    Plan(Plan),
    Infeasible(String),
}

/// Values of N times values of D up to which a search takes a few milliseconds at most.
const BRIEF: usize = 1 << 18;

/// The attributes of `t2fast.laws.DataRange`.
#[derive(FromPyObject)]
pub struct DataRange {
    n_params: (f64, f64),
    n_tokens: (f64, f64),
    k: (f64, f64),
    tokens_per_param: Option<(f64, f64)>,
}

fn region(data: Option<DataRange>) -> Result<Option<Region>> {
    let Some(DataRange { n_params: n, n_tokens: d, k, tokens_per_param }) = data else {
        return Ok(None);
    };
    Ok(Some(Region {
        n_params: Range::new("data_range n_params", n.0, n.1)?,
        n_tokens: Range::new("data_range n_tokens", d.0, d.1)?,
        k: Range::new("data_range k", k.0, k.1)?,
        max_tokens_per_param: tokens_per_param.map_or(f64::INFINITY, |ends| ends.1),
    }))
}

/// The design at a point, not checked against the budget.
#[pyfunction]
pub fn evaluate(law: &Law, budget: &Budget, n_params: f64, n_tokens: f64, k: f64) -> Result<Design> {
    law.0.value(n_params, n_tokens, k)?;
    Ok((&plan::Design::new(&law.0, &budget.0, n_params, n_tokens, k)).into())
}

/// What each law predicts at each point, repeated tokens discounted; shape (laws, points).
#[pyfunction]
#[pyo3(signature = (laws, n_params, n_tokens, k, unique_tokens = None))]
pub fn predict<'py>(
    py: Python<'py>,
    laws: Vec<PyRef<'py, Law>>,
    n_params: PyReadonlyArray1<'py, f64>,
    n_tokens: PyReadonlyArray1<'py, f64>,
    k: PyReadonlyArray1<'py, f64>,
    unique_tokens: Option<f64>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let laws: Vec<AnyLaw> = laws.iter().map(|law| law.0.clone()).collect();
    let (n, d, k) = (n_params.as_slice()?, n_tokens.as_slice()?, k.as_slice()?);
    let values = work::detached(py, || predictive::values(&laws, n, d, k, unique_tokens))?;
    let rows = laws.len();
    PyArray1::from_vec(py, values).reshape([rows, n.len()])
}

/// The whole k that a law chooses of those paid for, at each point.
#[pyfunction]
#[pyo3(signature = (law, n_params, n_tokens, k, most_k, unique_tokens = None))]
pub fn chosen<'py>(
    py: Python<'py>,
    law: &Law,
    n_params: PyReadonlyArray1<'py, f64>,
    n_tokens: PyReadonlyArray1<'py, f64>,
    k: PyReadonlyArray1<'py, f64>,
    most_k: f64,
    unique_tokens: Option<f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (n, d, k) = (n_params.as_slice()?, n_tokens.as_slice()?, k.as_slice()?);
    let planned = law.0.planned(most_k, true);
    let planned = planned.as_deref().unwrap_or(&law.0);
    let base = law.0.chinchilla();
    let chosen = n
        .iter()
        .zip(d)
        .zip(k)
        .map(|((&n, &d), &k)| planned.choose(base.loss_within(n, d, unique_tokens), k).k)
        .collect();
    Ok(PyArray1::from_vec(py, chosen))
}

/// The best design within a budget and what is around it.
#[pyfunction]
#[pyo3(signature = (law, budget, data = None))]
pub fn plan_budget(law: &Law, budget: &Budget, data: Option<DataRange>) -> Result<Plan> {
    Ok((&exact::plan(&law.0, &budget.0, region(data)?.as_ref())?).into())
}

/// The FLOP of the cheapest budget that reaches a target: of training where the budget names inference, of both otherwise.
#[pyfunction]
pub fn cheapest(py: Python<'_>, law: &Law, budget: &Budget, target: f64) -> Result<f64> {
    let found = py.detach(|| plan::cheapest::cheapest(&law.0, &budget.0, target))?;
    // One of the two is what was looked for.
    Ok(found.train.or(found.total).unwrap_or(f64::NAN))
}

/// The plan for each budget; a message instead where the budget admits none.
#[pyfunction]
#[pyo3(signature = (law, budgets, data = None, threads = None, report = None))]
pub fn sweep(
    py: Python<'_>,
    law: &Law,
    budgets: Vec<PyRef<'_, Budget>>,
    data: Option<DataRange>,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Outcome>> {
    let region = region(data)?;
    let budgets: Vec<cost::Budget> = budgets.iter().map(|budget| budget.0).collect();
    let plans =
        work::run(py, threads, report, |progress| frontier::sweep(&law.0, &budgets, region.as_ref(), progress))?;
    plans
        .iter()
        .map(|outcome| match outcome {
            Ok(plan) => Ok(Outcome::Plan(plan.into())),
            Err(error) if error.is_infeasible() => Ok(Outcome::Infeasible(error.to_string())),
            Err(error) => Err(Error::from(error.clone()).into()),
        })
        .collect()
}

/// The designs of an isoFLOP curve; None where nothing is affordable.
#[pyfunction]
pub fn isoflop(law: &Law, budget: &Budget, n_params: PyReadonlyArray1<'_, f64>) -> PyResult<Vec<Option<Design>>> {
    let designs = frontier::isoflop(&law.0, &budget.0, n_params.as_slice()?).map_err(Error::from)?;
    Ok(designs.iter().map(|found| found.as_ref().map(Into::into)).collect())
}

/// The best design at each N, D and k chosen best; None where nothing is affordable.
#[pyfunction]
pub fn curve(law: &Law, budget: &Budget, n_params: PyReadonlyArray1<'_, f64>) -> PyResult<Vec<Option<Design>>> {
    let designs = curves::curve(&law.0, &budget.0, n_params.as_slice()?).map_err(Error::from)?;
    Ok(designs.iter().map(|found| found.as_ref().map(Into::into)).collect())
}

/// Which designs no other dominates in value (the `most` or the least is best), training and inference cost.
#[pyfunction]
pub fn pareto<'py>(
    py: Python<'py>,
    most: bool,
    values: PyReadonlyArray1<'py, f64>,
    train_cost: PyReadonlyArray1<'py, f64>,
    inference_cost: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let (values, train, inference) = (values.as_slice()?, train_cost.as_slice()?, inference_cost.as_slice()?);
    let sense = if most { Sense::Most } else { Sense::Least };
    let nan = f64::NAN;
    let designs: Vec<plan::Design> = values
        .iter()
        .zip(train)
        .zip(inference)
        .map(|((&value, &train_cost), &inference_cost)| plan::Design {
            n_params: nan,
            n_tokens: nan,
            k: nan,
            samples: nan,
            value,
            pass_at_k: nan,
            loss: nan,
            train_flops: train_cost,
            inference_flops: inference_cost,
            dollars: None,
        })
        .collect();
    Ok(PyArray1::from_vec(py, frontier::pareto(sense, &designs)))
}

/// The best affordable k of a grid at each N and D: values and k, D running fastest, NaN where none is affordable.
#[pyclass(frozen, get_all, module = "t2fast._core")]
pub struct Plane {
    values: Py<PyArray1<f64>>,
    k: Py<PyArray1<f64>>,
}

/// The law at the best affordable k of a grid, for each N and D.
#[pyfunction]
pub fn plane(
    py: Python<'_>,
    law: &Law,
    budget: &Budget,
    n_params: PyReadonlyArray1<'_, f64>,
    n_tokens: PyReadonlyArray1<'_, f64>,
    k: PyReadonlyArray1<'_, f64>,
) -> PyResult<Plane> {
    let axes = Axes { n_params: n_params.as_slice()?, n_tokens: n_tokens.as_slice()?, k: k.as_slice()? };
    let found = work::detached(py, || curves::plane(&law.0, axes, &budget.0))?;
    Ok(Plane { values: PyArray1::from_vec(py, found.values).unbind(), k: PyArray1::from_vec(py, found.k).unbind() })
}

/// The best points of a grid, best first.
#[pyfunction]
#[pyo3(signature = (law, budget, n_params, n_tokens, k, top, threads = None, report = None))]
#[allow(clippy::too_many_arguments)]
pub fn grid_search(
    py: Python<'_>,
    law: &Law,
    budget: &Budget,
    n_params: PyReadonlyArray1<'_, f64>,
    n_tokens: PyReadonlyArray1<'_, f64>,
    k: PyReadonlyArray1<'_, f64>,
    top: usize,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Place>> {
    let axes = Axes { n_params: n_params.as_slice()?, n_tokens: n_tokens.as_slice()?, k: k.as_slice()? };
    let search = |progress: &Progress| grid::search(&law.0, axes, &budget.0, top, progress);
    if report.is_none() && grid::instant(&law.0, axes, &budget.0) {
        let found = search(&Progress::default()).map_err(Error::from)?;
        return Ok(found.iter().map(|place| Place { index: place.index, design: (&place.design).into() }).collect());
    }
    let brief = axes.n_params.len() * axes.n_tokens.len() <= BRIEF && report.is_none();
    let found = if brief { work::run_brief(py, threads, search)? } else { work::run(py, threads, report, search)? };
    Ok(found.iter().map(|place| Place { index: place.index, design: (&place.design).into() }).collect())
}

/// The law at every point of a grid, written to `out` of shape (N, D, k).
#[pyfunction]
#[pyo3(signature = (law, n_params, n_tokens, k, out, unique_tokens = None, threads = None, report = None))]
#[allow(clippy::too_many_arguments)]
pub fn surface(
    py: Python<'_>,
    law: &Law,
    n_params: PyReadonlyArray1<'_, f64>,
    n_tokens: PyReadonlyArray1<'_, f64>,
    k: PyReadonlyArray1<'_, f64>,
    mut out: PyReadwriteArray3<'_, f64>,
    unique_tokens: Option<f64>,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let axes = Axes { n_params: n_params.as_slice()?, n_tokens: n_tokens.as_slice()?, k: k.as_slice()? };
    let expected = [axes.n_params.len(), axes.n_tokens.len(), axes.k.len()];
    if out.shape() != expected {
        let message = format!("out has shape {:?}, the grid has {expected:?}", out.shape());
        return Err(Error::from(t2fast_core::Error::Array(message)).into());
    }
    let out = out.as_slice_mut()?;
    work::run(py, threads, report, |progress| grid::surface(&law.0, axes, unique_tokens, out, progress))
}
