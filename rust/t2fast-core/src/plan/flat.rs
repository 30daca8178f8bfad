//! How flat an optimum is: the sizes around it that come within 1% of its value.

use std::cell::Cell;

use super::climb::{Ends, summit};
use super::lattice::Point;
use super::problem::Problem;
use crate::cost::Range;
use crate::law::Sense;

/// The part of the optimum's value that may be missing.
const MISSING: f64 = 0.01;
/// How exactly the ends are found, in ln N: it is a statement about flatness.
const ENDS: f64 = 1e-3;
/// The first step to a side.
const FIRST: f64 = 0.25;
/// The first step in the place of D, the least, and how exactly it is found.
const STEP_V: f64 = 0.03;
const LEAST_V: f64 = 1e-3;
const ROUGHLY: Ends = Ends { tolerance: 1e-4, level: 1e-6 };
/// Sizes looked at for one end, at most.
const MOST: usize = 60;

impl Problem<'_> {
    /// The interval of N around `optimum` whose value is within 1% of it, D and k chosen best for each N.
    pub(super) fn flat(&self, optimum: Point, evaluations: &mut usize) -> Range {
        Range {
            lo: self.edge(optimum, self.x.lo, evaluations).exp(),
            hi: self.edge(optimum, self.x.hi, evaluations).exp(),
        }
    }

    /// The end of the interval towards a bound.
    ///
    /// The root of what is missing grows about in proportion to the distance, so that a straight line through the last two places
    /// met tells where 1% is.
    fn edge(&self, optimum: Point, bound: f64, evaluations: &mut usize) -> f64 {
        let missing = |value: f64| {
            let less = match self.law.sense() {
                Sense::Least => value - optimum.value,
                Sense::Most => optimum.value - value,
            };
            (less.max(0.0) / (MISSING * optimum.value.abs())).sqrt()
        };
        let way = bound - optimum.x;
        if way == 0.0 {
            return bound;
        }
        // Distance, root of what is missing, and place of D.
        let (mut inside, mut outside) = ((0.0, 0.0, optimum.v), None);
        let (mut next, mut drift, mut rise, mut step) = (FIRST.min(way.abs()), 0.0, 0.0, STEP_V);
        for _ in 0..MOST {
            let (near, before, v) = inside;
            let x = if next < way.abs() { optimum.x + next.copysign(way) } else { bound };
            let guess = v + drift * (next - near);
            let mut found = self.best_beside(x, (guess, step), evaluations);
            if !self.improves && outside.is_none() && missing(found.value) > 1.0 {
                // Where the best loss is not the least, its place may have moved far.
                found = self.best_at(x, evaluations);
            }
            step = (2.0 * (found.v - guess).abs()).clamp(LEAST_V, STEP_V);
            let root = missing(found.value);
            if root > 1.0 {
                outside = Some((next, root));
            } else if x == bound {
                return bound;
            } else {
                drift = (found.v - v) / (next - near);
                rise = (root - before) / (next - near);
                inside = (next, root, found.v);
            }
            let (near, root, _) = inside;
            let Some((far, beyond)) = outside else {
                let line = if rise > 0.0 { near + (1.0 - root) / rise } else { f64::INFINITY };
                next = (1.01 * line).clamp(1.05 * near, 8.0 * near).min(way.abs());
                continue;
            };
            if far - near <= ENDS {
                break;
            }
            // A little beyond the line's crossing, so that the other side closes in too.
            let share = if beyond.is_finite() { (1.0 - root) / (beyond - root) } else { 0.5 };
            let aside = if share < 0.5 { 0.4 * ENDS } else { -0.4 * ENDS };
            next = (near + share * (far - near) + aside).clamp(near + 0.2 * ENDS, far - 0.2 * ENDS);
        }
        optimum.x + inside.0.copysign(way)
    }

    /// The best point at a given ln N, D and k chosen best, where the place of D is known about.
    /// `near` is a guess, and a step.
    fn best_beside(&self, x: f64, near: (f64, f64), evaluations: &mut usize) -> Point {
        if self.beyond || !self.shared {
            return self.best_at(x, evaluations);
        }
        let asked = Cell::new(0);
        let sign = if self.law.sense() == Sense::Most { 1.0 } else { -1.0 };
        let at = |v: f64| {
            asked.set(asked.get() + 1);
            sign * self.valued(x, v).value
        };
        let (v, value) = summit(at, Range { lo: 0.0, hi: 1.0 }, near.0, near.1, ROUGHLY);
        *evaluations += asked.get();
        Point { x, v, value: sign * value }
    }
}
