//! Optima along sweeps of budgets, isoFLOP profiles, and what no other design dominates.

use rayon::prelude::*;

use super::Design;
use super::exact::{Plan, Region, plan};
use crate::cost::Budget;
use crate::error::{Error, Result, positive};
use crate::law::{Law, Sense};
use crate::threads::Progress;

/// The plan for each budget, in their order. A budget that admits no design yields that as its own error.
///
/// # Errors
/// [`Error::Interrupted`] when `progress` is cancelled. Progress counts budgets.
pub fn sweep(
    law: &dyn Law,
    budgets: &[Budget],
    data: Option<&Region>,
    progress: &Progress,
) -> Result<Vec<Result<Plan>>> {
    budgets
        .par_iter()
        .map(|budget| {
            progress.advance(1)?;
            Ok(plan(law, budget, data))
        })
        .collect()
}

/// The designs that spend a training budget at each of the given sizes, with as many samples as the budget pays (k real):
/// an isoFLOP curve. Sizes at which no design is affordable yield `None`.
///
/// # Errors
/// [`Error::Array`] unless the budget names training FLOP and no total; [`Error::Value`] for numbers out of range.
pub fn isoflop(law: &dyn Law, budget: &Budget, n_params: &[f64]) -> Result<Vec<Option<Design>>> {
    let budget = budget.checked()?;
    let planned = law.planned(budget.k.hi, false);
    let law = planned.as_deref().unwrap_or(law);
    if budget.train.is_none() || budget.total.is_some() {
        return Err(Error::Array("an isoFLOP profile needs train_flops (or train_dollars), and no total".into()));
    }
    if law.depends_on_k() && budget.inference.is_none() && budget.k.hi.is_infinite() {
        return Err(Error::Array("k is unbounded: give inference_flops or max_k".into()));
    }
    n_params
        .iter()
        .map(|&n| {
            positive("n_params", n)?;
            let d = budget.most_tokens(n, budget.k.lo);
            let most = budget.most_samples(n, d);
            let k = if law.depends_on_k() { most } else { budget.k.lo };
            let allowed = budget.n_params.lo <= n && n <= budget.n_params.hi;
            let affordable = d >= budget.n_tokens.lo && most >= budget.k.lo;
            Ok((allowed && affordable).then(|| Design::new(law, &budget, n, d, k)))
        })
        .collect()
}

/// For each design, whether no other is at least as good in value, training and inference cost, and better in one.
/// Of designs equal in all three, the first counts.
#[must_use]
pub fn pareto(sense: Sense, designs: &[Design]) -> Vec<bool> {
    // Best value first: a design can then be dominated by an earlier one only, and only one on the front so far.
    let mut order: Vec<usize> = (0..designs.len()).collect();
    order.sort_by(|&i, &j| {
        let (a, b) = (&designs[i], &designs[j]);
        let value = match sense {
            Sense::Least => a.value.total_cmp(&b.value),
            Sense::Most => b.value.total_cmp(&a.value),
        };
        value.then(a.costs().0.total_cmp(&b.costs().0)).then(a.costs().1.total_cmp(&b.costs().1)).then(i.cmp(&j))
    });
    let mut kept = vec![false; designs.len()];
    // (training, inference) costs of the front so far: training rising, inference falling.
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    for i in order {
        let (train, inference) = designs[i].costs();
        let place = stairs.partition_point(|step| step.0 <= train);
        if place > 0 && stairs[place - 1].1 <= inference {
            continue;
        }
        kept[i] = true;
        let end = place + stairs[place..].iter().take_while(|step| step.1 >= inference).count();
        stairs.splice(place..end, [(train, inference)]);
    }
    kept
}
