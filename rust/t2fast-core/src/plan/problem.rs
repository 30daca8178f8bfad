//! A law under a budget as a problem in two unknowns, and its solution.
//!
//! Whatever the law, pass@k rises and losses fall with k, so that k is always the largest the budget pays for beside N and
//! D. Two unknowns remain: `x = ln N`, and `v` in [0, 1], the place of D between its bounds. With separate budgets for
//! training and inference, k does not depend on D; then, if the law improves as the loss falls, D is at its upper bound and
//! one unknown is left. A law that need not improve (see [`Law::improves_as_loss_falls`]) is searched in both.
//!
//! Where overtraining has a term, the loss of a given N is convex in ln D, with its least value at the most useful tokens
//! (see [`ChinchillaLaw::most_useful_tokens`](crate::law::ChinchillaLaw::most_useful_tokens)). Beyond them tokens cost samples
//! and raise the loss, so that they are one more upper bound on D, which depends on N, and everything above holds below it;
//! what no longer holds is that the whole training budget is spent. Only a law that a rising loss may help can want
//! more: a loss higher than that of the fewest tokens allowed has no other D. Where such a loss is to be had and the law's
//! slope asks for it, the part beyond is searched too.
//!
//! [`super::place`] turns the two unknowns into N, D and k; [`super::lattice`] searches them, and [`super::samples`] k
//! alone where that will do. The loss laws are sums of exponentials of ln N, ln D and ln k, the term of overtraining
//! included, and the costs too, so that these problems are convex, what is left of them when D is chosen best for each N
//! is convex too, and the optimum found is the only one; a pass law is assumed to have no second optimum narrower than
//! the coarse lattice, 1/40 of the range of ln N.

use std::cell::Cell;

use super::lattice::{BATCH, COARSE_V, Lattice, Point, STEP};
use super::place::{BEYOND, LANES, Numbers, Sizes, locate, locate_priced, losses};
use super::{Design, MOST_FLOPS};
use crate::cost::{Budget, Range};
use crate::error::{Error, Result, Shown};
use crate::law::{Law, Sense};

/// Points of the coarse lattice along ln N.
pub(super) const COARSE_X: u32 = 41;
/// The same for a problem known to be convex.
const COARSE_CONVEX: u32 = 9;

/// So far, relatively, an optimum must lie above values that rise with the loss: beyond all that is said to be as good.
const DOUBTFUL: f64 = 0.02;

/// How far beside an optimum a higher loss is looked at, and by how much it must be better, both relatively.
const BESIDE: f64 = 1e-3;
const GAIN: f64 = 1e-9;

/// A law under a budget.
pub(super) struct Problem<'a> {
    pub(super) law: &'a dyn Law,
    pub(super) budget: Budget,
    pub(super) numbers: Numbers,
    sizes: Sizes,
    /// ln N that the budget admits.
    pub(super) x: Range,
    /// Whether D decides how many samples remain affordable.
    pub(super) shared: bool,
    /// Whether a lower loss is no worse within the budget.
    pub(super) improves: bool,
    /// Whether D beyond the most useful tokens must be searched.
    pub(super) beyond: bool,
}

impl<'a> Problem<'a> {
    /// The problem, in which D is searched unless a lower loss is surely no worse.
    pub(super) fn new(law: &'a dyn Law, budget: &Budget) -> Result<Self> {
        let problem = Self::assuming(law, budget, law.improves_as_loss_falls())?;
        let sure = problem.improves || problem.doubt() == f64::NEG_INFINITY;
        if sure { Self::assuming(law, budget, true) } else { Ok(problem) }
    }

    /// The problem and its solution; `doubt`: the largest value that may rise with the loss, where it is known.
    ///
    /// D is first left at its upper bound, and searched only where the best of that is not far above all doubt.
    pub(super) fn solved(law: &'a dyn Law, budget: &Budget, doubt: Option<f64>) -> Result<(Self, Solution, f64)> {
        let problem = Self::assuming(law, budget, true)?;
        if law.improves_as_loss_falls() {
            let solution = problem.solve();
            return Ok((problem, solution, f64::NEG_INFINITY));
        }
        let anew = Self::assuming(law, budget, false)?;
        let doubt = doubt.unwrap_or_else(|| anew.doubt());
        if doubt < f64::INFINITY {
            let solution = problem.solve();
            let value = solution.point.value;
            if doubt < value - DOUBTFUL * value.abs() && !problem.gains_beside(solution.point) {
                return Ok((problem, solution, doubt));
            }
        }
        let solution = anew.solve();
        Ok((anew, solution, doubt))
    }

    /// The largest value that may rise with the loss.
    pub(super) fn doubt(&self) -> f64 {
        self.law.doubt_within(self.budget.k.lo, &|| self.reach())
    }

    /// The problem, a lower loss being no worse or not.
    pub(super) fn assuming(law: &'a dyn Law, budget: &Budget, improves: bool) -> Result<Self> {
        let mut budget = *budget;
        if !law.depends_on_k() {
            // Every k is as good: the fewest samples are the cheapest.
            budget.k.hi = budget.k.lo;
        }
        let x = admissible(&budget)?;
        let shared = budget.total.is_some() && budget.k.lo < budget.k.hi;
        Ok(Self {
            law,
            beyond: wanted_beyond(law, &budget, x),
            numbers: Numbers::new(law.chinchilla(), &budget, improves, x.hi.ln()),
            sizes: Sizes::new(),
            x: Range { lo: x.lo.ln(), hi: x.hi.ln() },
            shared,
            improves,
            budget,
        })
    }

    /// The losses of a coarse lattice, rising, each with the most samples to be had at it or below.
    fn reach(&self) -> Option<Vec<(f64, f64)>> {
        let mut met = Vec::with_capacity((COARSE_X * COARSE_V) as usize);
        for i in 0..COARSE_V {
            let v = [f64::from(i) / f64::from(COARSE_V - 1); LANES];
            for first in (0..COARSE_X).step_by(LANES) {
                let (mut x, mut loss, mut k) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                for (x, j) in x.iter_mut().zip(first..) {
                    let share = f64::from(j.min(COARSE_X - 1)) / f64::from(COARSE_X - 1);
                    *x = self.x.lo + share * (self.x.hi - self.x.lo);
                }
                losses(&self.numbers, &self.sizes, &x, &v, &mut loss, &mut k);
                met.extend(loss.into_iter().zip(k));
            }
        }
        met.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut most: f64 = 0.0;
        for (_, k) in &mut met {
            most = most.max(*k);
            *k = most;
        }
        met.last().is_some_and(|last| last.0.is_finite()).then_some(met)
    }

    pub(super) fn evaluate(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let (mut loss, mut k) = ([0.0; LANES], [0.0; LANES]);
        for ((x, v), out) in x.chunks(LANES).zip(v.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let (loss, k) = (&mut loss[..x.len()], &mut k[..x.len()]);
            losses(&self.numbers, &self.sizes, x, v, loss, k);
            self.law.at_losses(loss, k, out);
        }
    }

    pub(super) fn design(&self, point: Point) -> Design {
        let (n, ln_d, k) = if let Some(budget) = &self.numbers.priced {
            locate_priced(&self.numbers, &self.sizes, budget, point.x, point.v)
        } else {
            let useful = self.numbers.useful.ln_tokens(point.x);
            match (self.numbers.total < f64::INFINITY, self.law.chinchilla().overtraining.acts()) {
                (false, false) => locate::<false, false, true, false>(&self.numbers, point.x, point.v, useful),
                (false, true) => locate::<false, false, true, true>(&self.numbers, point.x, point.v, useful),
                (true, false) => locate::<false, true, true, false>(&self.numbers, point.x, point.v, useful),
                (true, true) => locate::<false, true, true, true>(&self.numbers, point.x, point.v, useful),
            }
        };
        // Rounding in the logarithms must not exceed a bound or overdraw the budget.
        let n = n.clamp(self.budget.n_params.lo, self.budget.n_params.hi);
        let d = ln_d.exp().min(self.budget.most_tokens(n, k)).max(self.budget.n_tokens.lo);
        Design::new(self.law, &self.budget, n, d, k)
    }

    /// Whether at this point a lower loss at the same k is no worse: then D belongs at its upper bound.
    fn wants_tokens(&self, point: Point) -> bool {
        let design = self.design(point);
        wants_less(self.law, design.loss, design.k)
    }

    /// Whether a loss a little higher than that of a point is better: a table may have missed it.
    fn gains_beside(&self, point: Point) -> bool {
        let (loss, paid) = self.brings(point.x, point.v);
        let beside = self.law.at_loss(loss * (1.0 + BESIDE), paid);
        beside > point.value + GAIN * point.value.abs()
    }

    pub(super) fn solve(&self) -> Solution {
        if self.along_k_alone() {
            self.along_k(None, STEP)
        } else if self.law.sense() == Sense::Most && !self.beyond && self.budget.k.lo >= self.budget.k.hi {
            self.at_one_k()
        } else {
            self.search()
        }
    }

    /// Whether D must be searched too.
    fn both(&self) -> bool {
        self.shared || !self.improves
    }

    /// The loss and the samples paid for at a point.
    pub(super) fn brings(&self, x: f64, v: f64) -> (f64, f64) {
        let (mut loss, mut samples) = ([0.0], [0.0]);
        losses(&self.numbers, &self.sizes, &[x], &[v], &mut loss, &mut samples);
        (loss[0], samples[0])
    }

    pub(super) fn search(&self) -> Solution {
        self.search_to(STEP)
    }

    pub(super) fn search_to(&self, tolerance: f64) -> Solution {
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| self.evaluate(x, v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), self.x);
        lattice.tolerance = tolerance;
        lattice.level = self.law.noise();
        let convex = !self.both() && self.law.sense() == Sense::Least && self.budget.money.is_none();
        let (start, step_x, step_v) = lattice.coarse(if convex { COARSE_CONVEX } else { COARSE_X }, self.both());
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
        let mut solution = Solution { point, evaluations: lattice.evaluations, converged: lattice.converged };
        if self.beyond {
            self.solve_beyond(&mut solution);
        }
        solution
    }

    /// Searches D beyond the most useful tokens, and keeps what is better.
    fn solve_beyond(&self, solution: &mut Solution) {
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| {
            let mut moved = [0.0; BATCH];
            moved.iter_mut().zip(v).for_each(|(moved, v)| *moved = v + BEYOND);
            self.evaluate(x, &moved[..v.len()], out);
        };
        let mut lattice = Lattice::new(&objective, self.law.sense(), self.x);
        let (start, step_x, step_v) = lattice.coarse(COARSE_X, true);
        let mut found = lattice.refine_both(start, step_x, if self.shared { 1.0 } else { step_v });
        for v in [0.0, self.numbers.kink, 1.0] {
            let (start, step) = lattice.coarse_along(v, COARSE_X);
            let along = lattice.refine_x(start, step);
            if lattice.sense.better(along.value, found.value) {
                found = along;
            }
        }
        solution.evaluations += lattice.evaluations;
        if lattice.sense.better(found.value, solution.point.value) {
            solution.point = Point { v: found.v + BEYOND, ..found };
            solution.converged = lattice.converged;
        }
    }

    /// Refines from a point; along the upper bound of D alone where that is where D belongs.
    pub(super) fn refine(&self, lattice: &mut Lattice<'_>, start: Point, step_x: f64, step_v: f64) -> Point {
        let on_bound = !self.shared && start.v >= 1.0;
        if !self.both() || on_bound {
            let point = lattice.refine_x(start, step_x);
            if !self.both() || self.wants_tokens(point) {
                return point;
            }
        }
        if self.x.lo == self.x.hi {
            // A single N leaves D alone to choose.
            return self.best_at(self.x.lo, &mut lattice.evaluations);
        }
        if self.shared && self.numbers.priced.is_some() {
            // Every batch has kinks of its own, aslant in x and v, along which a lattice in both creeps.
            return self.along_ridge(lattice, start, step_x);
        }
        let rounds_converged = lattice.converged;
        // Where bounds leave no choice of v, at the largest N for example, v says nothing: look at all of it first.
        let point = lattice.refine_both(start, step_x, if self.shared { 1.0 } else { step_v });
        if lattice.converged {
            return point;
        }
        // Bounds that cross make a ridge along which a lattice in both directions only creeps.
        lattice.converged = rounds_converged;
        let found = self.along_ridge(lattice, point, step_x);
        if lattice.sense.better(point.value, found.value) { point } else { found }
    }

    /// Refines x, v chosen anew for each.
    fn along_ridge(&self, lattice: &mut Lattice<'_>, start: Point, step_x: f64) -> Point {
        let evaluations = Cell::new(0);
        let last = Cell::new(self.best_at(start.x, &mut lattice.evaluations));
        let objective = |x: &[f64], _: &[f64], out: &mut [f64]| {
            let mut count = evaluations.get();
            // v moves with x, and no faster for long.
            let reach = (x[x.len() - 1] - x[0]).abs().clamp(1e-6, 0.1);
            let mut best = last.get();
            for (out, &x) in out.iter_mut().zip(x) {
                let found = self.best_near(x, last.get().v, reach, 0.1 * STEP, &mut count);
                *out = found.value;
                if lattice.sense.better(found.value, best.value) {
                    best = found;
                }
            }
            last.set(best);
            evaluations.set(count);
        };
        let mut ridge = Lattice::new(&objective, lattice.sense, lattice.x);
        ridge.tolerance = lattice.tolerance;
        ridge.refine_x(last.get(), step_x);
        lattice.evaluations += evaluations.get();
        lattice.converged &= ridge.converged;
        last.get()
    }

    /// The best point at a given ln N, D and k chosen best, v near that of a neighbour.
    fn best_near(&self, x: f64, v: f64, step: f64, tolerance: f64, evaluations: &mut usize) -> Point {
        if self.beyond || !self.shared {
            return self.best_at(x, evaluations);
        }
        let objective = |v: &[f64], _: &[f64], out: &mut [f64]| self.evaluate(&[x; BATCH][..v.len()], v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), Range { lo: 0.0, hi: 1.0 });
        lattice.tolerance = tolerance;
        lattice.level = 4.0 * f64::EPSILON;
        let found = lattice.refine_x(Point { x: v, v: 0.0, value: self.law.sense().worst() }, step);
        *evaluations += lattice.evaluations;
        Point { x, v: found.x, value: found.value }
    }

    /// The best point at a given ln N, D and k chosen best.
    pub(super) fn best_at(&self, x: f64, evaluations: &mut usize) -> Point {
        let mut value = [0.0];
        self.evaluate(&[x], &[1.0], &mut value);
        *evaluations += 1;
        let mut point = Point { x, v: 1.0, value: value[0] };
        if self.both() && (self.shared || self.beyond || !self.wants_tokens(point)) {
            // v takes the part of the lattice's x.
            let objective = |v: &[f64], _: &[f64], out: &mut [f64]| self.evaluate(&[x; BATCH][..v.len()], v, out);
            for lo in [0.0, BEYOND].into_iter().take(if self.beyond { 2 } else { 1 }) {
                let mut lattice = Lattice::new(&objective, self.law.sense(), Range { lo, hi: lo + 1.0 });
                // v spans many units of ln D.
                lattice.tolerance = 0.01 * STEP;
                let (start, step, _) = lattice.coarse(COARSE_X, false);
                let found = lattice.refine_x(start, step);
                *evaluations += lattice.evaluations;
                if lo == 0.0 || lattice.sense.better(found.value, point.value) {
                    point = Point { x, v: found.x, value: found.value };
                }
            }
        }
        point
    }
}

/// Whether for some size a loss higher than that of the fewest tokens is to be had, by more, and wanted.
fn wanted_beyond(law: &dyn Law, budget: &Budget, x: Range) -> bool {
    let base = law.chinchilla();
    base.overtraining.acts()
        && !law.improves_as_loss_falls()
        && (0..COARSE_X).any(|i| {
            let n = x.lo * (x.hi / x.lo).powf(f64::from(i) / f64::from(COARSE_X - 1));
            let (fewest, most) = (budget.n_tokens.lo, budget.most_tokens(n, budget.k.lo));
            let loss = |tokens: f64| base.loss_within(n, tokens, budget.unique_tokens);
            most > fewest
                && loss(most) > loss(fewest)
                && !wants_less(law, loss(fewest), budget.most_samples(n, fewest).max(budget.k.lo))
        })
}

/// Whether a lower loss at the same k is no worse.
fn wants_less(law: &dyn Law, loss: f64, k: f64) -> bool {
    let slope = law.slopes(loss, k).loss;
    match law.sense() {
        Sense::Least => slope >= 0.0,
        Sense::Most => slope <= 0.0,
    }
}

/// The outcome of a search.
pub(super) struct Solution {
    pub(super) point: Point,
    pub(super) evaluations: usize,
    pub(super) converged: bool,
}

/// The range of N within which a design with the fewest tokens and samples is affordable.
fn admissible(budget: &Budget) -> Result<Range> {
    let [train_name, inference_name, total_name] = budget.names();
    let unbounded = |what: &str, remedy: String| Err(Error::Array(format!("{what} is unbounded: give {remedy}")));
    let Range { lo: d, .. } = budget.n_tokens;
    let Range { lo: k, .. } = budget.k;
    let tokens = budget.n_tokens.hi.is_infinite() && budget.max_tokens_per_param.is_none();
    if budget.train.is_none() && budget.total.is_none() && tokens {
        return unbounded("the number of training tokens", format!("{train_name}, {total_name} or max_tokens"));
    }
    if budget.inference.is_none() && budget.total.is_none() && budget.k.hi.is_infinite() {
        return unbounded("k", format!("{inference_name}, {total_name} or max_k"));
    }
    let limited = [budget.train, budget.inference, budget.total].iter().any(Option::is_some);
    if !limited && budget.n_params.hi.is_infinite() {
        return unbounded(
            "the number of parameters",
            format!("{train_name}, {inference_name}, {total_name} or max_params"),
        );
    }
    let feasible = |n: f64| budget.admits(n, d, k);
    // Beside the fewest tokens, a bound on D / N asks for a size.
    let lo = budget.max_tokens_per_param.map_or(budget.n_params.lo, |ratio| budget.n_params.lo.max(d / ratio));
    if lo > budget.n_params.hi {
        return Err(Error::Infeasible(format!(
            "max_tokens_per_param = {} allows no model of at most {} parameters a single token; raise one of the two",
            Shown(budget.max_tokens_per_param.unwrap_or(f64::INFINITY)),
            Shown(budget.n_params.hi)
        )));
    }
    if !feasible(lo) {
        let at = budget.at(lo);
        let (train, inference) = (at.per_token * d, at.inference(k));
        let smallest = format!("the smallest design allowed, N = {}, D = {}, k = {}", Shown(lo), Shown(d), Shown(k));
        if k > at.most_k {
            return Err(Error::Infeasible(format!(
                "no model can run: even {smallest}, exceeds memory or latency; allow more seconds (max_seconds), shorten \
                 prompts and answers, or take another card"
            )));
        }
        for (name, given, needed) in [
            (train_name, budget.train, train),
            (inference_name, budget.inference, inference),
            (total_name, budget.total, train + inference),
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
    let exact = if budget.money.is_some() {
        &[][..]
    } else {
        &[(budget.train, train), (budget.inference, inference), (budget.total, train.plus(inference))][..]
    };
    for &(flops, rate) in exact {
        if let Some(flops) = flops {
            top = top.min(flops / rate.params);
        }
    }
    if budget.workload.attention.is_none() && budget.money.is_none() {
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
            // Where memory ends the range there is nothing beyond it, not even for rounding in the logarithm.
            let hi = if budget.money.is_some() { (inside * (1.0 - 1e-13)).max(lo) } else { inside };
            return Ok(Range { lo, hi });
        }
        if feasible(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
}
