//! The Chinchilla-style design: N and D for the least loss, k chosen last.

use super::Design;
use super::lattice::{Lattice, STEP};
use super::problem::{COARSE_X, Problem};
use crate::cost::{Budget, Range};
use crate::error::Result;
use crate::law::Law;

/// The Chinchilla-style design: N and D for the least loss at their training cost, then as many samples as the rest pays.
pub(super) fn design(law: &dyn Law, budget: &Budget) -> Result<Option<Design>> {
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
    let objective = |x: &[f64], _: &[f64], out: &mut [f64]| {
        for (out, n) in out.iter_mut().zip(x.iter().map(|x| x.exp())) {
            *out = Design::new(law, budget, n, tokens(n), samples(n, tokens(n)).max(one.k.lo)).value;
        }
    };
    let mut lattice = Lattice::new(&objective, law.sense(), problem.x);
    let (start, step, _) = lattice.coarse(COARSE_X, false);
    let n = lattice.refine_x(start, step).x.exp();
    if !law.depends_on_k() {
        return Ok(Some(whole(n, tokens(n))));
    }
    // A whole k leaves something over: the larger of the two models that can afford the k below and above spends it.
    let k = samples(n, tokens(n));
    let sized = [k.floor(), k.ceil()].map(|k| {
        let (mut inside, mut outside) = (problem.x.lo, problem.x.hi);
        while outside - inside > STEP {
            let middle = 0.5 * (inside + outside);
            if samples(middle.exp(), tokens(middle.exp())) >= k { inside = middle } else { outside = middle }
        }
        whole(inside.exp(), tokens(inside.exp()))
    });
    Ok(Some(if law.sense().better(sized[1].value, sized[0].value) { sized[1] } else { sized[0] }))
}
