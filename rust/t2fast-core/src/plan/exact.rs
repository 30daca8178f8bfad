//! The best design within a budget, exactly, and what can be said around it.

use super::lattice::{Lattice, Point};
use super::problem::{Problem, Solution};
use super::{Design, chinchilla};
use crate::cost::{Budget, Range};
use crate::error::{Error, Result};
use crate::law::{Law, Sense};

/// The step at which a search ends that only tells how the optimum responds to more budget.
const STEP_GAIN: f64 = 1e-5;

/// An optimum and what it took to find it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// The best design, k real.
    pub design: Design,
    /// Points at which the law was evaluated.
    pub evaluations: usize,
    /// Whether the lattice shrank below its tolerance.
    pub converged: bool,
}

/// The answer of [`plan`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The best design with an integer k.
    pub best: Design,
    /// The best design with a real k.
    pub continuous: Design,
    /// The Chinchilla-style design, k chosen last; `None` when the budget admits none.
    pub chinchilla: Option<Design>,
    /// The best design within the data's range; `None` when no range was given or the budget admits none.
    pub inside_data: Option<Design>,
    /// The interval of N around the continuous optimum within 1% of its value, D and k chosen best for each N.
    pub flat: Range,
    /// How much the continuous optimum's value improves with 1% more training budget.
    pub gain_train: Option<f64>,
    /// The same for the inference budget.
    pub gain_inference: Option<f64>,
    /// The same for the budget of both together.
    pub gain_total: Option<f64>,
    /// Points at which the law was evaluated.
    pub evaluations: usize,
    /// Whether every search shrank below its tolerance.
    pub converged: bool,
}

/// Ranges of N, D and k, for example those of the data behind a law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// N.
    pub n_params: Range,
    /// D.
    pub n_tokens: Range,
    /// k.
    pub k: Range,
    /// The largest D / N.
    pub max_tokens_per_param: f64,
}

impl Region {
    /// Whether a design lies within.
    fn holds(&self, design: &Design) -> bool {
        let within = |range: Range, value: f64| range.lo <= value && value <= range.hi;
        within(self.n_params, design.n_params)
            && within(self.n_tokens, design.n_tokens)
            && within(self.k, design.k)
            && design.n_tokens <= self.max_tokens_per_param * design.n_params
    }
}

/// The best design with a real k.
///
/// # Errors
/// [`Error::Value`] for a budget with numbers out of range, [`Error::Array`] when something is unbounded,
/// [`Error::Infeasible`] when the budget admits no design.
pub fn optimum(law: &dyn Law, budget: &Budget) -> Result<Optimum> {
    within(law, budget, None)
}

/// The same where it may be known up to what value a higher loss may be better.
fn within(law: &dyn Law, budget: &Budget, doubt: Option<f64>) -> Result<Optimum> {
    let planned = law.planned(budget.k.hi, false);
    solved(planned.as_deref().unwrap_or(law), budget, doubt)
}

fn solved(law: &dyn Law, budget: &Budget, doubt: Option<f64>) -> Result<Optimum> {
    let (problem, Solution { point, evaluations, converged }, _) = Problem::solved(law, &budget.checked()?, doubt)?;
    Ok(Optimum { design: problem.design(point), evaluations, converged })
}

/// The best design with an integer k.
pub(super) fn whole_optimum(law: &dyn Law, budget: &Budget, doubt: Option<f64>) -> Result<Optimum> {
    let real = within(law, budget, doubt)?;
    let whole = integer_k(law, budget, &real.design)?;
    Ok(Optimum {
        design: whole.design,
        evaluations: real.evaluations + whole.evaluations,
        converged: real.converged && whole.converged,
    })
}

/// The best design with an integer k, given the best with a real one.
///
/// For the convex laws, the best value as a function of k is convex too, so that one of the two neighbours is best.
///
/// Where sampling stops at an answer, k does not say what is paid for: N and D are then left as they are for the next
/// lower k, moved to where that k or the next is just paid for, or chosen anew for a k of one.
fn integer_k(law: &dyn Law, budget: &Budget, design: &Design) -> Result<Optimum> {
    let real = design.k;
    if let Some(whole) = law.planned(budget.k.hi, true).filter(|whole| real == 0.0 || whole.stops()) {
        // Of the samples paid for, not of those drawn.
        let paid = budget.most_samples(design.n_params, design.n_tokens).min(budget.k.hi).max(budget.k.lo);
        let there = Design::new(&*whole, budget, design.n_params, design.n_tokens, paid);
        let mut best = Optimum { design: there, evaluations: 1, converged: true };
        if whole.stops() {
            for found in just_paid(law, &*whole, budget, design)? {
                best.evaluations += 1;
                if law.sense().better(found.value, best.design.value) {
                    best.design = found;
                }
            }
        }
        let single = Budget { k: Range { lo: budget.k.lo, hi: budget.k.lo }, ..*budget };
        if whole.stops()
            && budget.k.lo == 1.0
            && let Ok(one) = solved(law, &single, None)
        {
            best.evaluations += one.evaluations;
            if law.sense().better(one.design.value, best.design.value) {
                best.design = one.design;
            }
        }
        return Ok(best);
    }
    let (lo, hi) = (budget.k.lo.ceil(), budget.k.hi.floor());
    if lo > hi {
        let Range { lo, hi } = budget.k;
        return Err(Error::Infeasible(format!("k between {lo} and {hi} holds no whole number; widen the bounds")));
    }
    let mut best: Option<Optimum> = None;
    let mut outcome = Err(Error::Infeasible("no whole k is affordable; raise the budget".into()));
    let mut wholes = vec![real.floor(), real.ceil()];
    if law.prefers_odd_k() {
        // Between odd numbers the real optimum takes the next one for what fewer samples cost: the whole one may be
        // further up, or below an even neighbour.
        wholes.extend((-2..=2).flat_map(|step| [real.floor() + f64::from(step), real.ceil() + f64::from(step)]));
        wholes.retain(|&k| k % 2.0 == 1.0 || k == real.floor() || k == real.ceil());
    }
    for k in &mut wholes {
        *k = k.clamp(lo, hi);
    }
    wholes.sort_by(f64::total_cmp);
    wholes.dedup();
    // The last is for a budget that pays for `real` but for rounding, and so for neither neighbour.
    let last = (real * (1.0 - 1e-12)).floor().clamp(lo, hi);
    // Neighbours are alike: one look at a table serves them all.
    let range = Range { lo: wholes[0], hi: wholes[wholes.len() - 1] };
    let doubt = match Problem::assuming(law, &Budget { k: range, ..*budget }, false) {
        Ok(problem) => problem.doubt(),
        Err(error) if error.is_infeasible() => f64::INFINITY,
        Err(error) => return Err(error),
    };
    for k in wholes.into_iter().map(Some).chain([None]) {
        let k = match k {
            Some(k) => k,
            None if best.is_none() => last,
            None => break,
        };
        match solved(law, &Budget { k: Range { lo: k, hi: k }, ..*budget }, Some(doubt)) {
            Ok(found) => {
                if best.is_none_or(|best| law.sense().better(found.design.value, best.design.value)) {
                    best = Some(found);
                }
            }
            // The next whole number up is often just beyond the budget.
            Err(error) if error.is_infeasible() => outcome = Err(error),
            Err(error) => return Err(error),
        }
    }
    best.map_or(outcome, Ok)
}

/// Steps to either side, in ln N or the logarithm of the samples paid for, within which a whole k is looked for.
const ASIDE: [f64; 6] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];

/// The designs beside one with a real k, where sampling stops, at which the whole k below and above are just paid for: along N,
/// or along the samples that one budget for all pays for, D having the rest.
fn just_paid(law: &dyn Law, whole: &dyn Law, budget: &Budget, design: &Design) -> Result<Vec<Design>> {
    let Some(real) = law.planned(budget.k.hi, false) else { return Ok(vec![]) };
    let base = law.chinchilla();
    let shared = budget.total.is_some();
    let place = |at: f64| -> Result<(f64, f64, f64)> {
        if shared {
            let given = Budget { k: Range { lo: at.exp(), hi: at.exp() }, ..*budget };
            let least = solved(base, &given, None)?.design;
            return Ok((least.n_params, least.n_tokens, at.exp()));
        }
        let n = at.exp();
        let useful = base.most_useful_tokens(n, budget.unique_tokens);
        let d = budget.most_tokens(n, budget.k.lo).min(useful).max(budget.n_tokens.lo);
        Ok((n, d, budget.most_samples(n, d).min(budget.k.hi)))
    };
    let k_at = |at: f64| {
        let (n, d, paid) = place(at).ok()?;
        let allowed = paid >= budget.k.lo && budget.n_params.lo <= n && n <= budget.n_params.hi;
        allowed.then(|| real.most_drawn(base.loss_within(n, d, budget.unique_tokens), paid))
    };
    let start = if shared { design.samples.ln() } else { design.n_params.ln() };
    let mut found = Vec::new();
    let mut wholes = vec![design.k.floor(), design.k.ceil()];
    wholes.dedup();
    for k in wholes {
        let pays = |at: f64| k_at(at).is_some_and(|here| here >= k);
        let nearest = |pay: bool| {
            let aside = ASIDE.into_iter().flat_map(|by| [start + by, start - by]);
            std::iter::once(start).chain(aside).find(|&at| pays(at) == pay)
        };
        // Of these, the first buys k samples and the second does not.
        let (Some(mut paying), Some(mut short)) = (nearest(true), nearest(false)) else { continue };
        while (paying - short).abs() > 1e-10 {
            let middle = 0.5 * (paying + short);
            if pays(middle) { paying = middle } else { short = middle }
        }
        let (n, d, paid) = place(paying)?;
        found.push(Design::new(whole, budget, n, d, paid));
    }
    Ok(found)
}

/// The best design within a budget, with what a reader needs to judge it.
///
/// `data` is the region of the data behind the law; the best design inside it is found too.
///
/// # Errors
/// As [`optimum`].
pub fn plan(law: &dyn Law, budget: &Budget, data: Option<&Region>) -> Result<Plan> {
    let budget = budget.checked()?;
    let given = law;
    let planned = law.planned(budget.k.hi, false);
    let law = planned.as_deref().unwrap_or(given);
    let (problem, Solution { point, mut evaluations, mut converged }, doubt) = Problem::solved(law, &budget, None)?;
    let continuous = problem.design(point);
    let best = integer_k(given, &problem.budget, &continuous)?;
    evaluations += best.evaluations;
    converged &= best.converged;

    let inside_data = match data.map(|data| (data, inside(&budget, data))) {
        None | Some((_, None)) => None,
        Some((data, _)) if data.holds(&best.design) => Some(best.design),
        Some((_, Some(budget))) => match whole_optimum(given, &budget, Some(doubt)) {
            Ok(found) => {
                evaluations += found.evaluations;
                converged &= found.converged;
                Some(found.design)
            }
            Err(error) if error.is_infeasible() => None,
            Err(error) => return Err(error),
        },
    };

    let mut gain = |of: fn(&mut Budget) -> Option<&mut f64>| -> Result<Option<f64>> {
        let mut more = problem.budget;
        let Some(flops) = of(&mut more) else {
            return Ok(None);
        };
        *flops *= 1.01;
        // The optimum moves little: a small lattice around the old one finds the new one.
        let richer = Problem::assuming(law, &more, problem.improves)?;
        if point.v > 1.0 {
            // Beyond the most useful tokens: rare enough to be sought anew.
            let found = richer.solve();
            evaluations += found.evaluations;
            return Ok(Some((found.point.value - point.value).abs()));
        }
        if problem.along_k_alone() && problem.has_least_loss(point) {
            let found = richer.along_k(Some((problem.brings(point.x, point.v).1.ln(), 0.02)), STEP_GAIN);
            evaluations += found.evaluations;
            return Ok(Some(found.point.value - point.value));
        }
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| richer.evaluate(x, v, out);
        let mut lattice = Lattice::new(&objective, law.sense(), richer.x);
        lattice.tolerance = STEP_GAIN;
        let nowhere = Point { value: law.sense().worst(), ..point };
        let start = lattice.better(nowhere, &[point.x], &[point.v]);
        let found = richer.refine(&mut lattice, start, 0.02, 0.02);
        evaluations += lattice.evaluations;
        Ok(Some(match law.sense() {
            Sense::Least => point.value - found.value,
            Sense::Most => found.value - point.value,
        }))
    };
    let gain_train = gain(|budget| budget.train.as_mut())?;
    let gain_inference = gain(|budget| budget.inference.as_mut())?;
    let gain_total = gain(|budget| budget.total.as_mut())?;
    let flat = problem.flat(point, &mut evaluations);
    Ok(Plan {
        best: best.design,
        continuous,
        chinchilla: {
            let whole = given.planned(budget.k.hi, true);
            chinchilla::design(law, whole.as_deref().unwrap_or(given), &budget)?
        },
        inside_data,
        flat,
        gain_train,
        gain_inference,
        gain_total,
        evaluations,
        converged,
    })
}

/// The budget confined to a region, if they have anything in common.
fn inside(budget: &Budget, data: &Region) -> Option<Budget> {
    Some(Budget {
        n_params: budget.n_params.intersect(data.n_params)?,
        n_tokens: budget.n_tokens.intersect(data.n_tokens)?,
        k: budget.k.intersect(data.k)?,
        max_tokens_per_param: Some(
            budget.max_tokens_per_param.map_or(data.max_tokens_per_param, |most| most.min(data.max_tokens_per_param)),
        )
        .filter(|most| most.is_finite()),
        ..*budget
    })
}
