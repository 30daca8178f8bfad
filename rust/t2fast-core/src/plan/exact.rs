//! The continuous optimum over N, D and k, and what can be said around it.
//!
//! Whatever the law, pass@k rises and losses fall with k, so that k is always the largest the budget pays for beside N and
//! D. Two unknowns remain: `x = ln N`, and `v` in [0, 1], the place of D between its bounds. With separate budgets for
//! training and inference, k does not depend on D; then, if the law improves as the loss falls, D is at its upper bound and
//! one unknown is left. A law that need not improve (see [`Law::improves_as_loss_falls`]) is searched in both.
//!
//! [`super::place`] turns the two unknowns into N, D and k; [`super::lattice`] searches them. The loss laws are sums of
//! exponentials of ln N, ln D and ln k, and the costs too, so that these problems are convex and the optimum found is the
//! only one; a pass law is assumed to have no second optimum narrower than the coarse lattice, 1/40 of the range of ln N.

use super::Design;
use super::lattice::{BATCH, Lattice, Point, STEP};
use super::place::{Numbers, locate, losses};
use crate::cost::{Budget, Range};
use crate::error::{Error, Result, Shown};
use crate::law::{Law, Sense};

/// The largest training or total budget that [`cheapest`] considers, FLOP.
pub const MOST_FLOPS: f64 = 1e40;

/// Steps in which [`cheapest`] climbs to it, a factor of 100 each.
const CLIMB: u32 = 20;

/// The step at which a search ends that only tells how the optimum responds to more budget.
const STEP_GAIN: f64 = 1e-5;

/// Points of the coarse lattice along ln N.
const COARSE_X: u32 = 41;
/// The same for a problem known to be convex.
const COARSE_CONVEX: u32 = 9;

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
}

/// A law under a budget.
struct Problem<'a> {
    law: &'a dyn Law,
    budget: Budget,
    numbers: Numbers,
    /// ln N that the budget admits.
    x: Range,
    /// Whether D decides how many samples remain affordable.
    shared: bool,
    /// Whether D must be searched too.
    both: bool,
}

impl<'a> Problem<'a> {
    fn new(law: &'a dyn Law, budget: &Budget) -> Result<Self> {
        let mut budget = *budget;
        if !law.depends_on_k() {
            // Every k is as good: the fewest samples are the cheapest.
            budget.k.hi = budget.k.lo;
        }
        let x = admissible(&budget)?;
        let shared = budget.total.is_some() && budget.k.lo < budget.k.hi;
        Ok(Self {
            law,
            numbers: Numbers::new(law.chinchilla(), &budget, law.improves_as_loss_falls()),
            x: Range { lo: x.lo.ln(), hi: x.hi.ln() },
            shared,
            both: shared || !law.improves_as_loss_falls(),
            budget,
        })
    }

    fn evaluate(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        const LANES: usize = 16;
        let (mut loss, mut k) = ([0.0; LANES], [0.0; LANES]);
        for ((x, v), out) in x.chunks(LANES).zip(v.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let (loss, k) = (&mut loss[..x.len()], &mut k[..x.len()]);
            losses(&self.numbers, x, v, loss, k);
            self.law.at_losses(loss, k, out);
        }
    }

    fn design(&self, point: Point) -> Design {
        let (n, ln_d, k) = if self.numbers.total < f64::INFINITY {
            locate::<false, true, true>(&self.numbers, point.x, point.v)
        } else {
            locate::<false, false, true>(&self.numbers, point.x, point.v)
        };
        // Rounding in the logarithms must not exceed a bound or overdraw the budget.
        let n = n.clamp(self.budget.n_params.lo, self.budget.n_params.hi);
        let d = ln_d.exp().min(self.budget.most_tokens(n, k)).max(self.budget.n_tokens.lo);
        Design::new(self.law, &self.budget, n, d, k)
    }

    /// Whether at this point a lower loss at the same k is no worse: then D belongs at its upper bound.
    fn wants_tokens(&self, point: Point) -> bool {
        let design = self.design(point);
        let slope = self.law.slopes(design.loss, design.k).loss;
        match self.law.sense() {
            Sense::Least => slope >= 0.0,
            Sense::Most => slope <= 0.0,
        }
    }

    fn solve(&self) -> Solution {
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| self.evaluate(x, v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), self.x);
        let convex = !self.both && self.law.sense() == Sense::Least;
        let (start, step_x, step_v) = lattice.coarse(if convex { COARSE_CONVEX } else { COARSE_X }, self.both);
        let mut point = self.refine(&mut lattice, start, step_x, step_v);
        if self.shared {
            // Where a bound ends the range of D, v can change fast with N, and a lattice in both creeps or stalls; along
            // the bound itself N is all there is to search.
            for v in [0.0, self.numbers.kink, 1.0] {
                let (start, step) = lattice.coarse_along(v, COARSE_X);
                let found = lattice.refine_x(start, step);
                if lattice.sense.better(found.value, point.value) {
                    point = found;
                }
            }
        }
        Solution { point, evaluations: lattice.evaluations, converged: lattice.converged }
    }

    /// Refines from a point; along the upper bound of D alone where that is where D belongs.
    fn refine(&self, lattice: &mut Lattice<'_>, start: Point, step_x: f64, step_v: f64) -> Point {
        let on_bound = !self.shared && start.v >= 1.0;
        if !self.both || on_bound {
            let point = lattice.refine_x(start, step_x);
            if !self.both || self.wants_tokens(point) {
                return point;
            }
        }
        if self.x.lo == self.x.hi {
            // A single N leaves D alone to choose.
            return self.best_at(self.x.lo, &mut lattice.evaluations);
        }
        let rounds_converged = lattice.converged;
        // Where bounds leave no choice of v, at the largest N for example, v says nothing: look at all of it first.
        let point = lattice.refine_both(start, step_x, if self.shared { 1.0 } else { step_v });
        if lattice.converged {
            return point;
        }
        // Bounds that cross make a ridge along which a lattice in both directions only creeps: choose v anew for each x.
        let evaluations = std::cell::Cell::new(0);
        let count = |x: f64| {
            let mut more = evaluations.get();
            let best = self.best_at(x, &mut more);
            evaluations.set(more);
            best
        };
        let objective = |x: &[f64], _: &[f64], out: &mut [f64]| {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = count(x).value;
            }
        };
        let mut ridge = Lattice::new(&objective, lattice.sense, lattice.x);
        ridge.tolerance = lattice.tolerance;
        let found = count(ridge.refine_x(point, step_x).x);
        lattice.evaluations += evaluations.get();
        lattice.converged = rounds_converged && ridge.converged;
        if lattice.sense.better(point.value, found.value) { point } else { found }
    }

    /// The best point at a given ln N, D and k chosen best.
    fn best_at(&self, x: f64, evaluations: &mut usize) -> Point {
        let mut value = [0.0];
        self.evaluate(&[x], &[1.0], &mut value);
        *evaluations += 1;
        let point = Point { x, v: 1.0, value: value[0] };
        if !self.both || (!self.shared && self.wants_tokens(point)) {
            return point;
        }
        // v takes the part of the lattice's x.
        let objective = |v: &[f64], _: &[f64], out: &mut [f64]| self.evaluate(&[x; BATCH][..v.len()], v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), Range { lo: 0.0, hi: 1.0 });
        // v spans many units of ln D.
        lattice.tolerance = 0.01 * STEP;
        let (start, step, _) = lattice.coarse(COARSE_X, false);
        let found = lattice.refine_x(start, step);
        *evaluations += lattice.evaluations;
        Point { x, v: found.x, value: found.value }
    }

    /// The interval of N around `optimum` whose value is within 1% of it, D and k chosen best for each N.
    fn flat(&self, optimum: Point, evaluations: &mut usize) -> Range {
        let sense = self.law.sense();
        let limit = match sense {
            Sense::Least => optimum.value * 1.01,
            Sense::Most => optimum.value * 0.99,
        };
        let mut edge = |bound: f64| {
            if !sense.better(limit, self.best_at(bound, evaluations).value) {
                return bound;
            }
            let (mut inside, mut outside) = (optimum.x, bound);
            // To one part in a thousand of N: it is a statement about flatness.
            while (outside - inside).abs() > 1e-3 {
                let middle = 0.5 * (inside + outside);
                if sense.better(limit, self.best_at(middle, evaluations).value) {
                    outside = middle;
                } else {
                    inside = middle;
                }
            }
            inside
        };
        Range { lo: edge(self.x.lo).exp(), hi: edge(self.x.hi).exp() }
    }
}

/// The outcome of a search.
struct Solution {
    point: Point,
    evaluations: usize,
    converged: bool,
}

/// The range of N within which a design with the fewest tokens and samples is affordable.
fn admissible(budget: &Budget) -> Result<Range> {
    let unbounded = |what: &str, remedy: &str| Err(Error::Array(format!("{what} is unbounded: give {remedy}")));
    let Range { lo: d, .. } = budget.n_tokens;
    let Range { lo: k, .. } = budget.k;
    if budget.train.is_none() && budget.total.is_none() && budget.n_tokens.hi.is_infinite() {
        return unbounded("the number of training tokens", "train_flops, total_flops or max_tokens");
    }
    if budget.inference.is_none() && budget.total.is_none() && budget.k.hi.is_infinite() {
        return unbounded("k", "inference_flops, total_flops or max_k");
    }
    let limited = [budget.train, budget.inference, budget.total].iter().any(Option::is_some);
    if !limited && budget.n_params.hi.is_infinite() {
        return unbounded("the number of parameters", "train_flops, inference_flops, total_flops or max_params");
    }
    let feasible = |n: f64| budget.most_tokens(n, k) >= d && budget.most_samples(n, d) >= k;
    let lo = budget.n_params.lo;
    if !feasible(lo) {
        let train = budget.workload.train_flops(lo, d);
        let inference = budget.workload.inference_flops(lo, k);
        let smallest = format!("the smallest design allowed, N = {}, D = {}, k = {}", Shown(lo), Shown(d), Shown(k));
        for (name, given, needed) in [
            ("train_flops", budget.train, train),
            ("inference_flops", budget.inference, inference),
            ("total_flops", budget.total, train + inference),
        ] {
            if let Some(given) = given.filter(|&given| given < needed) {
                return Err(Error::Infeasible(format!(
                    "{name} = {} is too small: {smallest}, needs {}; raise it or lower the bounds",
                    Shown(given),
                    Shown(needed)
                )));
            }
        }
        return Err(Error::Infeasible(format!("no design within the bounds: {smallest}, exceeds them")));
    }
    // Costs are at least linear in N. Where they are just that, the largest N has a closed form.
    let (fixed, per_sample) = budget.workload.inference_rates();
    let train = budget.workload.train_rate().times(d);
    let inference = fixed.plus(per_sample.times(k));
    let mut top = budget.n_params.hi.min(MOST_FLOPS);
    for (flops, rate) in [(budget.train, train), (budget.inference, inference), (budget.total, train.plus(inference))] {
        if let Some(flops) = flops {
            top = top.min(flops / rate.params);
        }
    }
    if budget.workload.attention.is_none() {
        return Ok(Range { lo, hi: top.max(lo) });
    }
    // Every cost rises with N, so the feasible sizes form an interval; its end is found to the last digits.
    let (mut inside, mut outside) = (lo, top.max(lo));
    if feasible(outside) {
        return Ok(Range { lo, hi: outside });
    }
    loop {
        let middle = (inside * outside).sqrt();
        if middle <= inside || middle >= outside {
            return Ok(Range { lo, hi: inside });
        }
        if feasible(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
}

/// The best design with a real k.
///
/// # Errors
/// [`Error::Value`] for a budget with numbers out of range, [`Error::Array`] when something is unbounded,
/// [`Error::Infeasible`] when the budget admits no design.
pub fn optimum(law: &dyn Law, budget: &Budget) -> Result<Optimum> {
    let problem = Problem::new(law, &budget.checked()?)?;
    let Solution { point, evaluations, converged } = problem.solve();
    Ok(Optimum { design: problem.design(point), evaluations, converged })
}

/// The best design with an integer k, given the best with a real one.
///
/// For the convex laws, the best value as a function of k is convex too, so that one of the two neighbours is best.
fn integer_k(law: &dyn Law, budget: &Budget, real: f64) -> Result<Optimum> {
    let (lo, hi) = (budget.k.lo.ceil(), budget.k.hi.floor());
    if lo > hi {
        let Range { lo, hi } = budget.k;
        return Err(Error::Infeasible(format!("k between {lo} and {hi} holds no whole number; widen the bounds")));
    }
    let mut best: Option<Optimum> = None;
    let mut outcome = Err(Error::Infeasible("no whole k is affordable; raise the budget".into()));
    // The last is for a budget that pays for `real` but for rounding, and so for neither neighbour.
    for (i, k) in [real.floor(), real.ceil(), (real * (1.0 - 1e-12)).floor()].into_iter().enumerate() {
        let k = k.clamp(lo, hi);
        if best.is_some_and(|best| i == 2 || best.design.k == k) {
            continue;
        }
        match optimum(law, &Budget { k: Range { lo: k, hi: k }, ..*budget }) {
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

/// The Chinchilla-style design: N and D for the least loss at their training cost, then as many samples as the rest pays.
fn chinchilla(law: &dyn Law, budget: &Budget) -> Result<Option<Design>> {
    let one = Budget { k: Range { lo: budget.k.lo.ceil(), hi: budget.k.lo.ceil() }, ..*budget };
    let problem = match Problem::new(law.chinchilla(), &one) {
        Ok(problem) => problem,
        Err(error) if error.is_infeasible() => return Ok(None),
        Err(error) => return Err(error),
    };
    let samples = |n: f64, d: f64| if law.depends_on_k() { budget.most_samples(n, d) } else { budget.k.lo };
    let whole = |n: f64, d: f64| {
        let n = n.clamp(budget.n_params.lo, budget.n_params.hi);
        Design::new(law, budget, n, d, samples(n, d).floor().max(one.k.lo))
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

/// The best design within a budget, with what a reader needs to judge it.
///
/// `data` is the region of the data behind the law; the best design inside it is found too.
///
/// # Errors
/// As [`optimum`].
pub fn plan(law: &dyn Law, budget: &Budget, data: Option<&Region>) -> Result<Plan> {
    let budget = budget.checked()?;
    let problem = Problem::new(law, &budget)?;
    let Solution { point, mut evaluations, mut converged } = problem.solve();
    let continuous = problem.design(point);
    let best = integer_k(law, &problem.budget, continuous.k)?;
    evaluations += best.evaluations;
    converged &= best.converged;

    let inside_data = match data.and_then(|data| inside(&budget, data)) {
        None => None,
        Some(budget) => match optimum(law, &budget).and_then(|real| integer_k(law, &budget, real.design.k)) {
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
        let richer = Problem::new(law, &more)?;
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
        chinchilla: chinchilla(law, &budget)?,
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
        ..*budget
    })
}

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
        return Err(Error::Array(
            "train_flops and total_flops are what a target asks for: give inference_flops, or a workload alone".into(),
        ));
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
        match optimum(law, &budget).and_then(|real| integer_k(law, &budget, real.design.k)) {
            Ok(found) => Ok(Some(found.design.value)),
            Err(error) if error.is_infeasible() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let reached = |value: Option<f64>| value.is_some_and(|value| !law.sense().better(target, value));
    // Upwards in steps: over the vast range that the largest budget opens, a search might miss what a smaller one finds.
    let mut ceiling = None;
    let (mut below, mut above) = (0.0, 0.0);
    for step in 1..=CLIMB {
        below = above;
        above = MOST_FLOPS.ln() * f64::from(step) / f64::from(CLIMB);
        let value = reach(above.exp())?;
        if value.is_some_and(|value| ceiling.is_none_or(|ceiling| law.sense().better(value, ceiling))) {
            ceiling = value;
        }
        if reached(value) {
            break;
        }
    }
    if !reached(ceiling) {
        let what = if law.sense() == Sense::Most { "most" } else { "least" };
        return Err(match ceiling {
            Some(ceiling) => Error::Unreachable(format!(
                "target = {target} is out of reach: the {what} this law predicts within the bounds is {ceiling:.6}, \
                 even for {MOST_FLOPS:e} FLOP; choose a target this side of it, or raise the other budget"
            )),
            None => Error::Infeasible("no design within the bounds at any cost; widen them".into()),
        });
    }
    while above - below > 1e-11 * above {
        let middle = 0.5 * (below + above);
        if reached(reach(middle.exp())?) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Ok(with(above.exp()))
}
