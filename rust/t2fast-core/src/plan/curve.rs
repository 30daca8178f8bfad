//! What figures draw: the best D and k at each size, and the best k at each point of a plane of N and D.

use rayon::prelude::*;

use super::Design;
use super::grid::Axes;
use super::problem::Problem;
use crate::cost::{Budget, SLACK};
use crate::error::{Result, positive};
use crate::law::Law;

/// The best design at each of the given sizes, D and k chosen best (k real); `None` where the budget admits none.
///
/// # Errors
/// As [`super::exact::optimum`]; [`crate::Error::Value`] for a size that is not positive and finite.
pub fn curve(law: &dyn Law, budget: &Budget, n_params: &[f64]) -> Result<Vec<Option<Design>>> {
    let planned = law.planned(budget.k.hi, false);
    let law = planned.as_deref().unwrap_or(law);
    let problem = Problem::new(law, &budget.checked()?)?;
    n_params
        .iter()
        .map(|&n| {
            positive("n_params", n)?;
            let x = n.ln();
            if x < problem.x.lo || x > problem.x.hi {
                return Ok(None);
            }
            // The size asked for, in every digit, and not the exponential of its logarithm.
            let found = problem.design(problem.best_at(x, &mut 0));
            let n_tokens = found.n_tokens.min(budget.most_tokens(n, found.samples));
            Ok(Some(Design::new(law, &problem.budget, n, n_tokens, found.samples)))
        })
        .collect()
}

/// The law at the best affordable k of an axis for each N and D, and that k; NaN where none is affordable.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// The law's values, D running fastest.
    pub values: Vec<f64>,
    /// The k chosen, in the same order.
    pub k: Vec<f64>,
}

/// The plane of N and D of a grid under a budget.
///
/// # Errors
/// As [`Axes::check`] and [`Budget::checked`].
pub fn plane(law: &dyn Law, axes: Axes<'_>, budget: &Budget) -> Result<Plane> {
    axes.check()?;
    let budget = budget.checked()?;
    let allowed = |n: f64, d: f64| {
        budget.n_params.lo <= n
            && n <= budget.n_params.hi
            && budget.n_tokens.lo <= d
            && d <= budget.n_tokens.hi
            && d <= budget.tokens_allowed(n) * (1.0 + SLACK)
    };
    let first = axes.k.partition_point(|&k| k < budget.k.lo);
    let best = |n: f64, d: f64| {
        if !allowed(n, d) {
            return (f64::NAN, f64::NAN);
        }
        let at = budget.at(n);
        let train = at.per_token * d;
        let end =
            axes.k.partition_point(|&k| k <= budget.k.hi.min(at.most_k) && budget.affords(train, at.inference(k)));
        // More samples are never worse; to a law without k all are the same, and the fewest the cheapest.
        match if law.depends_on_k() { end.checked_sub(1) } else { Some(first) } {
            Some(place) if first <= place && place < end && !law.rises_with_k() => {
                let loss = law.chinchilla().loss_within(n, d, budget.unique_tokens);
                let ks = &axes.k[first..end];
                let mut values = vec![0.0; ks.len()];
                law.at_losses(&vec![loss; ks.len()], ks, &mut values);
                let top = (0..ks.len()).fold(0, |top, i| if values[i] > values[top] { i } else { top });
                (values[top], ks[top])
            }
            Some(place) if first <= place && place < end => {
                let k = axes.k[place];
                (Design::new(law, &budget, n, d, k).value, k)
            }
            _ => (f64::NAN, f64::NAN),
        }
    };
    let (values, k) =
        axes.n_params.par_iter().flat_map(|&n| axes.n_tokens.par_iter().map(move |&d| best(n, d))).unzip();
    Ok(Plane { values, k })
}
