//! The Chinchilla-style design: N and D for the least loss, k chosen last.

use super::Design;
use super::climb::{Ends, coarsely, summit};
use super::lattice::STEP;
use super::problem::Problem;
use super::samples::{halved, spoken};
use crate::cost::{Budget, Range};
use crate::error::Result;
use crate::law::{Law, Sense};

/// The Chinchilla-style design: N and D for the least loss at their training cost, then as many samples as the rest pays.
/// `real` and `law` choose among real and among whole numbers of samples.
pub(super) fn design(real: &dyn Law, law: &dyn Law, budget: &Budget) -> Result<Option<Design>> {
    let one = Budget { k: Range { lo: budget.k.lo.ceil(), hi: budget.k.lo.ceil() }, ..*budget };
    let problem = match Problem::new(law.chinchilla(), &one) {
        Ok(problem) => problem,
        Err(error) if error.is_infeasible() => return Ok(None),
        Err(error) => return Err(error),
    };
    let samples = |n: f64, d: f64| if law.depends_on_k() { budget.most_samples(n, d) } else { budget.k.lo };
    let whole = |n: f64, d: f64| {
        let n = n.clamp(budget.n_params.lo, budget.n_params.hi);
        let paid = samples(n, d);
        // Of samples that stop at an answer any real number is paid for.
        Design::new(law, budget, n, d, if law.stops() { paid } else { paid.floor() }.max(one.k.lo))
    };
    if budget.total.is_none() {
        let design = problem.design(problem.solve().point);
        return Ok(Some(whole(design.n_params, design.n_tokens)));
    }
    // One budget for everything: of the designs that are compute-optimal for their own training cost, the best.
    let base = law.chinchilla();
    let tokens = |n: f64| base.tokens_for_params(n).min(budget.most_tokens(n, one.k.lo)).max(budget.n_tokens.lo);
    let sign = if law.sense() == Sense::Most { 1.0 } else { -1.0 };
    let at = |x: f64| {
        let n = x.exp();
        let d = tokens(n);
        sign * spoken(real, base.loss_within(n, d, budget.unique_tokens), samples(n, d).max(one.k.lo))
    };
    // Beyond the largest that can be afforded with all of its tokens, nothing is compute-optimal, unless tokens repeat.
    let wanted = |n: f64| base.tokens_for_params(n).min(budget.n_tokens.hi).min(budget.tokens_allowed(n));
    let (hi, _) = halved((problem.x.lo, problem.x.hi), |x| budget.most_samples(x.exp(), wanted(x.exp())) >= one.k.lo);
    let range =
        if hi > problem.x.lo && budget.unique_tokens.is_none() { Range { lo: problem.x.lo, hi } } else { problem.x };
    let (from, step) = coarsely(at, range);
    let n = summit(at, range, from, step, Ends { tolerance: STEP, level: real.noise() }).0.exp();
    if !law.depends_on_k() {
        return Ok(Some(whole(n, tokens(n))));
    }
    // A whole k leaves something over: the larger of the two models that can afford the k below and above spends it. Where no
    // more than the fewest samples are left, larger ones would have fewer tokens.
    let mut best = whole(n, tokens(n));
    let k = samples(n, tokens(n));
    for k in [k.floor(), k.ceil()] {
        let (x, _) = halved((problem.x.lo, problem.x.hi), |x| samples(x.exp(), tokens(x.exp())) >= k);
        let sized = whole(x.exp(), tokens(x.exp()));
        if law.sense().better(sized.value, best.value) {
            best = sized;
        }
    }
    Ok(Some(best))
}
