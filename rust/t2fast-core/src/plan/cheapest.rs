//! The cheapest budget that reaches a target.

use super::MOST_FLOPS;
use super::exact::whole_optimum;
use crate::cost::Budget;
use crate::error::{Error, Result};
use crate::law::{Law, Sense};

/// Steps in which [`cheapest`] climbs to it, a factor of 100 each.
const CLIMB: u32 = 20;

/// A target this close to the most that any budget reaches is taken for it, relatively.
const ROUNDING: f64 = 1e-12;

/// The cheapest budget whose best design reaches a target: the training budget when the budget names one for inference,
/// and the total otherwise. Returns the completed budget.
///
/// # Errors
/// As [`optimum`]; [`Error::Value`] for a target out of range; [`Error::Array`] when train or total FLOP are given already;
/// [`Error::Unreachable`] when no budget up to [`MOST_FLOPS`] reaches the target, with the best value that one does.
pub fn cheapest(law: &dyn Law, budget: &Budget, target: f64) -> Result<Budget> {
    let budget = budget.checked()?;
    if law.sense() == Sense::Most && !(target > 0.0 && target < 1.0) {
        let must = "must lie between 0 and 1, both excluded: it is a success rate";
        return Err(Error::Value { name: "target", value: target, must });
    }
    crate::error::positive("target", target)?;
    if budget.train.is_some() || budget.total.is_some() {
        let [train, inference, total] = budget.names();
        return Err(Error::Array(format!(
            "{train} and {total} are what a target asks for: give {inference}, or a workload alone"
        )));
    }
    let with = |flops: f64| {
        if budget.inference.is_some() {
            Budget { train: Some(flops), ..budget }
        } else {
            Budget { total: Some(flops), ..budget }
        }
    };
    let reach = |flops: f64| -> Result<Option<f64>> {
        let budget = with(flops);
        match whole_optimum(law, &budget, None) {
            Ok(found) => Ok(Some(found.design.value)),
            Err(error) if error.is_infeasible() => Ok(None),
            Err(error) => Err(error),
        }
    };
    // Dollars may be fractions of one; a FLOP is nothing.
    let start = if budget.money.is_some() { -46.0 } else { 0.0 };
    let reached = |value: Option<f64>, target: f64| value.is_some_and(|value| !law.sense().better(target, value));
    // Upwards in steps: over the vast range that the largest budget opens, a search might miss what a smaller one finds.
    let climb = |target: f64| -> Result<(Option<f64>, f64, f64)> {
        let mut ceiling = None;
        let (mut below, mut above) = (start, start);
        for step in 1..=CLIMB {
            below = above;
            above = start + (MOST_FLOPS.ln() - start) * f64::from(step) / f64::from(CLIMB);
            let value = reach(above.exp())?;
            if value.is_some_and(|value| ceiling.is_none_or(|ceiling| law.sense().better(value, ceiling))) {
                ceiling = value;
            }
            if reached(value, target) {
                break;
            }
        }
        Ok((ceiling, below, above))
    };
    let mut target = target;
    let (mut ceiling, mut below, mut above) = climb(target)?;
    if let Some(most) = ceiling.filter(|most| (most - target).abs() <= ROUNDING * target && !reached(ceiling, target)) {
        // The ceiling itself, as a plan gives it, must not be missed by rounding.
        target = most;
        (ceiling, below, above) = climb(target)?;
    }
    if !reached(ceiling, target) {
        let unit = if budget.money.is_some() { "dollars" } else { "FLOP" };
        let what = if law.sense() == Sense::Most { "most" } else { "least" };
        return Err(match ceiling {
            Some(ceiling) => Error::Unreachable(format!(
                "target = {target} is out of reach: the {what} this law predicts within the bounds is {ceiling:.6}, \
                 even for {MOST_FLOPS:e} {unit}; choose a target this side of it, or raise the other budget"
            )),
            None => Error::Infeasible("no design within the bounds at any cost; widen them".into()),
        });
    }
    while above - below > 1e-11 * above.abs().max(1.0) {
        let middle = 0.5 * (below + above);
        if reached(reach(middle.exp())?, target) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Ok(with(above.exp()))
}
