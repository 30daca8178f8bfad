//! Optima of laws of success by the loss and the samples alone, of which such a law is a function.
//!
//! At every number of samples, all losses from the least that the rest of the budget pays for upwards are to be had. More
//! samples at the same loss are no worse. So where one budget pays for all, an optimum has the least loss of its samples,
//! or the most samples allowed: N and D are no unknowns of the search, and a rule, which is slow to ask, is asked once for
//! each k.
//!
//! Where a lower loss is no worse, none of the samples paid for are left undrawn at an optimum either: what they cost would
//! lower the loss. Then a law that chooses how many to draw need not be asked for its choice, which has a kink where it
//! begins to leave some.

use std::cell::Cell;

use super::climb::{Ends, coarsely, summit};
use super::lattice::{Point, STEP};
use super::problem::{COARSE_X, Problem, Solution};
use crate::cost::{Budget, Range};
use crate::law::{Law, Sense};

/// How exactly ln N is found where the least loss is asked for and not where it is: it errs by the square.
const LEAST: f64 = 1e-7;

/// What that leaves open of a value, relatively.
const LEVEL: f64 = 1e-13;

/// Places of ln k of which the loss is known, for each at which the law is asked for certain.
const FINER: u32 = 4;

/// How exactly a place between bounds is found that leaves a given number of samples, or brings a given loss.
const PLACE: f64 = 1e-15;

impl Problem<'_> {
    /// Whether one budget pays for all, so that k alone is to be searched.
    ///
    /// In dollars, and where losses are many, the least loss of a k takes long to find: longer than a search for all, where
    /// the law is a formula.
    pub(super) fn along_k_alone(&self) -> bool {
        let quick = self.improves && self.numbers.priced.is_none();
        self.shared && self.law.sense() == Sense::Most && !self.beyond && (quick || !self.law.is_formula())
    }

    /// Whether all that a point does not spend on samples lowers its loss.
    pub(super) fn has_least_loss(&self, point: Point) -> bool {
        point.v >= self.numbers.kink
    }

    /// The best number of samples, each with the least loss that the rest of the budget pays for; around `start`, where it
    /// is given with a distance in ln k.
    pub(super) fn along_k(&self, start: Option<(f64, f64)>, tolerance: f64) -> Solution {
        let evaluations = Cell::new(0);
        let least = |k: f64, tolerance: f64| {
            let budget = Budget { k: Range { lo: k, hi: k }, ..self.budget };
            let least = Self::assuming(self.law.chinchilla(), &budget, true).ok()?;
            Some(least.search_to(tolerance).point)
        };
        let value = |loss: f64, y: f64| {
            evaluations.set(evaluations.get() + 1);
            if self.improves { self.law.at_all_samples(loss, y.exp()) } else { spoken(self.law, loss, y.exp()) }
        };
        let at = |y: f64| least(y.exp(), LEAST).map_or(f64::NEG_INFINITY, |point| value(point.value, y));
        let most = self.budget.most_samples(self.x.lo.exp(), self.budget.n_tokens.lo).min(self.budget.k.hi);
        let range = Range { lo: self.budget.k.lo.ln(), hi: most.max(self.budget.k.lo).ln() };
        let (from, step) = start.unwrap_or_else(|| {
            if self.improves { coarsely(at, range) } else { self.evenly(|y| least(y.exp(), LEAST), value, range) }
        });
        let (ln_k, _) = summit(at, range, from, step, Ends { tolerance, level: self.law.noise().max(LEVEL) });
        let k = ln_k.exp();
        let Some(Point { x, .. }) = least(k, tolerance) else { return self.search() };
        // The place of D that leaves so many samples.
        let (_, v) = halved((self.numbers.kink, 1.0), |v| self.brings(x, v).1 > k);
        let mut solution = Solution { point: self.valued(x, v), evaluations: evaluations.get(), converged: true };
        if !self.improves && start.is_none() && most >= self.budget.k.hi {
            self.with_most_samples(&mut solution);
        }
        solution
    }

    /// The highest of places of ln k between which neither ln k nor the loss changes by much, and a distance from it within
    /// which there is a higher one.
    ///
    /// A law that a lower loss may hurt can be best at any, and most of the losses may lie between two neighbours in ln k.
    fn evenly(
        &self,
        least: impl Fn(f64) -> Option<Point>,
        value: impl Fn(f64, f64) -> f64,
        range: Range,
    ) -> (f64, f64) {
        let count = FINER * (COARSE_X - 1);
        let step = (range.hi - range.lo) / f64::from(count);
        let e = self.law.chinchilla().e;
        let above = |loss: f64| (loss - e).max(f64::MIN_POSITIVE).ln();
        let met: Vec<(u32, f64, f64)> = (0..=count)
            .map(|i| (i, if i == count { range.hi } else { range.lo + f64::from(i) * step }))
            .filter_map(|(i, y)| Some((i, y, least(y)?.value)))
            .collect();
        let (Some(first), Some(last)) = (met.first(), met.last()) else { return (range.hi, step) };
        let apart = (above(last.2) - above(first.2)).abs() / f64::from(COARSE_X - 1);
        let (mut best, mut before) = ((range.hi, f64::NEG_INFINITY), f64::NEG_INFINITY);
        for &(i, y, loss) in &met {
            if i % FINER == 0 || (above(loss) - before).abs() >= apart {
                before = above(loss);
                let value = value(loss, y);
                if value > best.1 {
                    best = (y, value);
                }
            }
        }
        (best.0, step)
    }

    /// Looks at all losses of the most samples allowed, and keeps what is better.
    fn with_most_samples(&self, solution: &mut Solution) {
        let hi = self.budget.k.hi;
        let Ok(given) = Self::assuming(self.law, &Budget { k: Range { lo: hi, hi }, ..self.budget }, false) else {
            return;
        };
        let Solution { point, evaluations, converged } = given.solve();
        solution.evaluations += evaluations;
        if point.value > solution.point.value {
            let tokens = given.design(point).n_tokens;
            let at = |v: f64| self.design(Point { v, ..point }).n_tokens < tokens;
            let (_, v) = halved((0.0, self.numbers.kink), at);
            solution.point = self.valued(point.x, v);
            solution.converged = converged;
        }
    }

    /// The best design where k is given: with the least loss, or where a higher one may be better with the best of all that
    /// are to be had.
    pub(super) fn at_one_k(&self) -> Solution {
        let Ok(problem) = Self::assuming(self.law.chinchilla(), &self.budget, true) else { return self.search() };
        let least = problem.search();
        if self.improves {
            return Solution { point: self.valued(least.point.x, least.point.v), ..least };
        }
        // From there D falls to its lower bound, then N: the loss rises along the whole way.
        let place = |t: f64| (least.point.x - (t - 1.0).max(0.0) * (least.point.x - self.x.lo), (1.0 - t).max(0.0));
        let loss = |t: f64| {
            let (x, v) = place(t);
            self.brings(x, v).0
        };
        let (k, e) = (self.budget.k.lo, self.law.chinchilla().e);
        let evaluations = Cell::new(0);
        let at = |y: f64| {
            evaluations.set(evaluations.get() + 1);
            spoken(self.law, e + y.exp(), k)
        };
        let above = |t: f64| (loss(t) - e).max(f64::MIN_POSITIVE).ln();
        let range = Range { lo: above(0.0), hi: above(2.0) };
        let (from, step) = coarsely(at, range);
        let (y, _) = summit(at, range, from, step, Ends { tolerance: STEP, level: self.law.noise() });
        let (t, _) = halved((0.0, 2.0), |t| above(t) < y);
        let (x, v) = place(t);
        Solution {
            point: self.valued(x, v),
            evaluations: least.evaluations + evaluations.get(),
            converged: least.converged,
        }
    }

    /// A point with its value.
    pub(super) fn valued(&self, x: f64, v: f64) -> Point {
        let mut value = [0.0];
        self.evaluate(&[x], &[v], &mut value);
        Point { x, v, value: value[0] }
    }
}

/// A law's value; where silence is best what answers would bring, so that a search finds its way to where they bring more.
pub(super) fn spoken(law: &dyn Law, loss: f64, k: f64) -> f64 {
    let value = law.at_loss(loss, k);
    if value == 0.0 { law.at_all_samples(loss, k) } else { value }
}

/// Where, between two ends, something ceases to hold: the last place that was found to, and the first that was not.
pub(super) fn halved((mut low, mut high): (f64, f64), holds: impl Fn(f64) -> bool) -> (f64, f64) {
    while high - low > PLACE {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) { low = middle } else { high = middle }
    }
    (low, high)
}
