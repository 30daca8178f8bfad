//! `t2fast_core::cost` and `t2fast_core::plan`.

use std::num::NonZeroUsize;

use numpy::{PyArray1, PyReadonlyArray1, PyReadwriteArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use t2fast_core::cost::{self, Attention, Range, Workload};
use t2fast_core::law::Law as _;
use t2fast_core::plan::exact::{self, Region};
use t2fast_core::plan::grid::{self, Axes};
use t2fast_core::plan::{self, frontier};
use t2fast_core::threads::Progress;

use crate::errors::{Error, Result};
use crate::law::Law;
use crate::work;

/// A budget with checked numbers, ready for the core.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Budget(cost::Budget);

#[pymethods]
impl Budget {
    #[new]
    #[pyo3(signature = (flops, workload, attention, most, unique_tokens))]
    fn new(
        flops: [Option<f64>; 3],
        workload: (f64, f64, f64, String),
        attention: Option<(f64, f64)>,
        most: [Option<f64>; 3],
        unique_tokens: Option<f64>,
    ) -> Result<Self> {
        let upto = |name, most: Option<f64>| Range::new(name, 1.0, most.unwrap_or(f64::INFINITY));
        let budget = cost::Budget {
            train: flops[0],
            inference: flops[1],
            total: flops[2],
            workload: Workload {
                queries: workload.0,
                prompt_tokens: workload.1,
                answer_tokens: workload.2,
                prompt: crate::cost::prompt(&workload.3)?,
                attention: attention.map(|(aspect_ratio, train_context)| Attention { aspect_ratio, train_context }),
            },
            n_params: upto("max_params", most[0])?,
            n_tokens: upto("max_tokens", most[1])?,
            k: upto("max_k", most[2])?,
            unique_tokens,
        };
        Ok(Self(budget.checked()?))
    }

    fn train_flops(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.0.workload.train_flops(n_params, n_tokens)
    }

    fn inference_flops(&self, n_params: f64, k: f64) -> f64 {
        self.0.workload.inference_flops(n_params, k)
    }
}

/// (N, D, k, value, loss, training FLOP, inference FLOP).
type Design = (f64, f64, f64, f64, f64, f64, f64);

/// Best, continuous, Chinchilla-style, inside the data; flat interval; gains; evaluations; converged.
type Plan = (Design, Design, Option<Design>, Option<Design>, (f64, f64), [Option<f64>; 3], usize, bool);

/// Values of N times values of D up to which a search takes a few milliseconds at most.
const BRIEF: usize = 1 << 18;

/// Lower and upper ends for N, D and k.
type Ends = [(f64, f64); 3];

fn design(d: &plan::Design) -> Design {
    (d.n_params, d.n_tokens, d.k, d.value, d.loss, d.train_flops, d.inference_flops)
}

fn flatten(p: &exact::Plan) -> Plan {
    (
        design(&p.best),
        design(&p.continuous),
        p.chinchilla.as_ref().map(design),
        p.inside_data.as_ref().map(design),
        (p.flat.lo, p.flat.hi),
        [p.gain_train, p.gain_inference, p.gain_total],
        p.evaluations,
        p.converged,
    )
}

fn region(data: Option<Ends>) -> Result<Option<Region>> {
    let Some([n, d, k]) = data else {
        return Ok(None);
    };
    Ok(Some(Region {
        n_params: Range::new("data_range n_params", n.0, n.1)?,
        n_tokens: Range::new("data_range n_tokens", d.0, d.1)?,
        k: Range::new("data_range k", k.0, k.1)?,
    }))
}

/// The design at a point, not checked against the budget.
#[pyfunction]
pub fn evaluate(law: &Law, budget: &Budget, n_params: f64, n_tokens: f64, k: f64) -> Result<Design> {
    law.0.value(n_params, n_tokens, k)?;
    Ok(design(&plan::Design::new(&law.0, &budget.0, n_params, n_tokens, k)))
}

/// The best design within a budget and what is around it.
#[pyfunction]
#[pyo3(signature = (law, budget, data = None))]
pub fn plan_budget(law: &Law, budget: &Budget, data: Option<Ends>) -> Result<Plan> {
    Ok(flatten(&exact::plan(&law.0, &budget.0, region(data)?.as_ref())?))
}

/// (train, total) FLOP of the cheapest budget that reaches a target; one of the two is None.
#[pyfunction]
pub fn cheapest(py: Python<'_>, law: &Law, budget: &Budget, target: f64) -> Result<(Option<f64>, Option<f64>)> {
    let found = py.detach(|| exact::cheapest(&law.0, &budget.0, target))?;
    Ok((found.train, found.total))
}

/// The plan for each budget; a message instead where the budget admits none.
#[pyfunction]
#[pyo3(signature = (law, budgets, data = None, threads = None, report = None))]
pub fn sweep(
    py: Python<'_>,
    law: &Law,
    budgets: Vec<PyRef<'_, Budget>>,
    data: Option<Ends>,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<(Option<Plan>, Option<String>)>> {
    let region = region(data)?;
    let budgets: Vec<cost::Budget> = budgets.iter().map(|budget| budget.0).collect();
    let plans =
        work::run(py, threads, report, |progress| frontier::sweep(&law.0, &budgets, region.as_ref(), progress))?;
    plans
        .iter()
        .map(|outcome| match outcome {
            Ok(plan) => Ok((Some(flatten(plan)), None)),
            Err(error) if error.is_infeasible() => Ok((None, Some(error.to_string()))),
            Err(error) => Err(Error::from(error.clone()).into()),
        })
        .collect()
}

/// The designs of an isoFLOP curve; None where nothing is affordable.
#[pyfunction]
pub fn isoflop(law: &Law, budget: &Budget, n_params: PyReadonlyArray1<'_, f64>) -> PyResult<Vec<Option<Design>>> {
    let designs = frontier::isoflop(&law.0, &budget.0, n_params.as_slice()?).map_err(Error::from)?;
    Ok(designs.iter().map(|found| found.as_ref().map(design)).collect())
}

/// Which of the designs (value, training FLOP, inference FLOP) no other dominates.
#[pyfunction]
pub fn pareto<'py>(py: Python<'py>, law: &Law, designs: Vec<(f64, f64, f64)>) -> Bound<'py, PyArray1<bool>> {
    let designs: Vec<plan::Design> = designs
        .into_iter()
        .map(|(value, train_flops, inference_flops)| plan::Design {
            n_params: f64::NAN,
            n_tokens: f64::NAN,
            k: f64::NAN,
            value,
            loss: f64::NAN,
            train_flops,
            inference_flops,
        })
        .collect();
    PyArray1::from_vec(py, frontier::pareto(law.0.sense(), &designs))
}

/// The best points of a grid, as (indices, design), best first.
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
) -> PyResult<Vec<([usize; 3], Design)>> {
    let axes = Axes { n_params: n_params.as_slice()?, n_tokens: n_tokens.as_slice()?, k: k.as_slice()? };
    let search = |progress: &Progress| grid::search(&law.0, axes, &budget.0, top, progress);
    let brief = axes.n_params.len() * axes.n_tokens.len() <= BRIEF && report.is_none();
    let found = if brief { work::run_brief(py, threads, search)? } else { work::run(py, threads, report, search)? };
    Ok(found.iter().map(|place| (place.index, design(&place.design))).collect())
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
