//! The search for an optimum: a coarse lattice over the whole range, then ever finer ones around the best point, moving
//! without refining while the best point lies on a lattice's edge.
//!
//! It needs no derivatives, so that bounds and kinks are nothing special, and every lattice is one vectorised sweep.

use crate::cost::Range;
use crate::law::Sense;

/// Refinement ends when neighbours on the lattice of ln N are nearer than this: at a smooth optimum the objective is then
/// exact to rounding, at a kink to this times its slope.
pub(super) const STEP: f64 = 1e-9;

/// Points of the coarse lattice along v.
pub(super) const COARSE_V: u32 = 9;

/// Misses after which a search stops to trust parabolas: they fit no kink.
const TRUST: usize = 3;

/// Rounds of refinement after which a search gives up and says so; smooth problems take eight.
const MOST_ROUNDS: usize = 100;

/// A lattice point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) v: f64,
    pub(super) value: f64,
}

/// Something to optimise over x and v: fills in the value at each of at most [`BATCH`] points.
pub(super) type Objective<'a> = dyn Fn(&[f64], &[f64], &mut [f64]) + 'a;

/// Points evaluated at once, at most.
pub(super) const BATCH: usize = 96;

/// Places of the points of a lattice in x, in steps from its centre: two vectors of four lanes.
const EIGHT: [f64; 8] = [-1.0, -5.0 / 7.0, -3.0 / 7.0, -1.0 / 7.0, 1.0 / 7.0, 3.0 / 7.0, 5.0 / 7.0, 1.0];

/// Places of the points of a lattice in x and v along each, in steps from its centre.
const NINE: [f64; 9] = [0.0, -1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0];

/// A search for the best point of an objective, x in a range and v in [0, 1].
pub(super) struct Lattice<'a> {
    pub(super) objective: &'a Objective<'a>,
    pub(super) sense: Sense,
    pub(super) x: Range,
    /// Refinement ends below this step in x.
    pub(super) tolerance: f64,
    /// Refinement of x ends, too, where all points of a round differ by no more than this, relatively.
    pub(super) level: f64,
    pub(super) evaluations: usize,
    pub(super) converged: bool,
}

impl<'a> Lattice<'a> {
    pub(super) fn new(objective: &'a Objective<'a>, sense: Sense, x: Range) -> Self {
        Self { objective, sense, x, tolerance: STEP, level: 0.0, evaluations: 0, converged: true }
    }

    fn evaluate(&mut self, x: &[f64], v: &[f64], values: &mut [f64]) {
        (self.objective)(x, v, values);
        self.evaluations += x.len();
    }

    /// The better of `best` and the best of the points; of equals the earlier.
    pub(super) fn better(&mut self, mut best: Point, x: &[f64], v: &[f64]) -> Point {
        let mut values = [0.0; BATCH];
        self.evaluate(x, v, &mut values[..x.len()]);
        for ((&x, &v), &value) in x.iter().zip(v).zip(&values) {
            if self.sense.better(value, best.value) {
                best = Point { x, v, value };
            }
        }
        best
    }

    /// The best of a coarse lattice of `nx` places over the whole range, and the steps between its points.
    pub(super) fn coarse(&mut self, nx: u32, both: bool) -> (Point, f64, f64) {
        let step_v = 1.0 / f64::from(COARSE_V - 1);
        let (mut best, step_x) = self.coarse_along(1.0, nx);
        for j in 1..if both { COARSE_V } else { 1 } {
            let (row, _) = self.coarse_along(1.0 - f64::from(j) * step_v, nx);
            if self.sense.better(row.value, best.value) {
                best = row;
            }
        }
        (best, step_x, step_v)
    }

    /// The best of `nx` places over the whole range of x at one v, and the step between them.
    pub(super) fn coarse_along(&mut self, v: f64, nx: u32) -> (Point, f64) {
        let step = (self.x.hi - self.x.lo) / f64::from(nx - 1);
        let mut x = [self.x.hi; BATCH];
        for (x, i) in x.iter_mut().zip(0..nx - 1) {
            *x = self.x.lo + f64::from(i) * step;
        }
        let start = Point { x: self.x.hi, v, value: self.sense.worst() };
        (self.better(start, &x[..nx as usize], &[v; BATCH][..nx as usize]), step)
    }

    /// Refines x around `best`, v as it is, until the step is below the tolerance.
    ///
    /// Each round looks at eight points around a centre; the parabola through the best and its neighbours gives the next
    /// centre, around which a far smaller lattice is enough. A best point on the lattice's edge says that it was not: the
    /// lattice then grows again, and after a few such misses parabolas are not tried any more. So kinks cost rounds, and
    /// never the optimum.
    pub(super) fn refine_x(&mut self, mut best: Point, mut step: f64) -> Point {
        let mut rounds = 0;
        let mut misses = 0;
        let mut centre = best.x;
        while step > self.tolerance {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                self.converged = false;
                break;
            }
            let x = EIGHT.map(|offset| (centre + offset * step).clamp(self.x.lo, self.x.hi));
            let mut values = [0.0; EIGHT.len()];
            self.evaluate(&x, &[best.v; EIGHT.len()], &mut values);
            // Among equals, but for rounding, a point inside: a plateau needs no moving.
            let mut top = 3;
            for i in 1..EIGHT.len() - 1 {
                if self.sense.better(values[i], values[top]) {
                    top = i;
                }
            }
            for i in [0, EIGHT.len() - 1] {
                let ahead = (values[i] - values[top]).abs() > 4.0 * f64::EPSILON * values[top].abs();
                if ahead && self.sense.better(values[i], values[top]) {
                    top = i;
                }
            }
            if self.sense.better(values[top], best.value) {
                best = Point { x: x[top], v: best.v, value: values[top] };
            }
            if self.level > 0.0 {
                let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
                    (f64::min(low, value), f64::max(high, value))
                });
                if high - low <= self.level * high.abs() {
                    break;
                }
            }
            centre = x[top];
            let at_bound = centre <= self.x.lo || centre >= self.x.hi;
            if (top == 0 || top == EIGHT.len() - 1) && !at_bound {
                misses += 1;
                step *= 4.0;
                continue;
            }
            let spacing = step * (EIGHT[1] - EIGHT[0]);
            if at_bound {
                // From very near, the bound is the best point or the lattice grows away from it.
                step = spacing / 100.0;
            } else {
                step = spacing;
                // The vertex, by divided differences. Without one nearby (a kink, a plateau) the lattice just shrinks.
                let left = (values[top] - values[top - 1]) / (x[top] - x[top - 1]);
                let right = (values[top + 1] - values[top]) / (x[top + 1] - x[top]);
                let curvature = (right - left) / (x[top + 1] - x[top - 1]);
                let vertex = 0.5 * (x[top - 1] + x[top]) - 0.5 * left / curvature;
                if misses < TRUST && (vertex - centre).abs() < spacing {
                    centre = vertex;
                    step = spacing / 6.0;
                }
            }
        }
        best
    }

    /// Refines x and v around `best` until the step in x is below the tolerance.
    pub(super) fn refine_both(&mut self, mut best: Point, mut step_x: f64, mut step_v: f64) -> Point {
        let mut rounds = 0;
        while step_x > self.tolerance || step_v > 0.3 * self.tolerance {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                self.converged = false;
                break;
            }
            let (mut x, mut v, mut count) = ([0.0; BATCH], [0.0; BATCH], 0);
            for offset_v in NINE {
                for offset_x in NINE {
                    x[count] = (best.x + offset_x * step_x).clamp(self.x.lo, self.x.hi);
                    v[count] = (best.v + offset_v * step_v).clamp(0.0, 1.0);
                    count += 1;
                }
            }
            let next = self.better(best, &x[..count], &v[..count]);
            // A best point on the lattice's edge moves it instead.
            let on_edge = |next: f64, from: f64, step: f64, lo: f64, hi: f64| {
                (next - from).abs() > 0.9 * step && next > lo && next < hi
            };
            let moved =
                on_edge(next.x, best.x, step_x, self.x.lo, self.x.hi) || on_edge(next.v, best.v, step_v, 0.0, 1.0);
            best = next;
            if !moved {
                step_x *= 0.25;
                step_v *= 0.25;
            }
        }
        best
    }
}
