//! Python bindings of `t2fast-core`: one thin file per core module.
//!
//! Arrays come in without a copy and the interpreter is released around work. What is checked here is shapes only; the
//! numbers are checked by the core, and meanings by the Python package.

// PyO3's macros produce items that carry no documentation of their own.
#![allow(missing_docs)]
// Python hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

mod cost;
mod errors;
mod fit;
mod law;
mod passk;
mod plan;
mod rule;
mod sampling;
mod work;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::cost::{Bill, Family, Roofline, Shape};
    #[pymodule_export]
    use crate::errors::{InfeasibleError, T2Error};
    #[pymodule_export]
    use crate::fit::{FitCurvature, FitOutcome, FitProblem, number_rows};
    #[pymodule_export]
    use crate::law::{Law, item_response};
    #[pymodule_export]
    use crate::passk::{
        BetaFit, Histogram, Prediction, Trial, TrialLog, allocate, best_of_k, beta_pass_at_k, bootstrap, estimate,
        group_means, majority, samples_needed, squares,
    };
    #[pymodule_export]
    use crate::plan::{
        Budget, Design, Place, Plan, Plane, cheapest, chosen, curve, evaluate, grid_search, isoflop, pareto,
        plan_budget, plane, predict, surface, sweep,
    };
    #[pymodule_export]
    use crate::rule::Rule;
    #[pymodule_export]
    use crate::sampling::{Block, BlockWork, append_tokens, decode_step, draw_tokens, read_texts, vector_lanes};
}
