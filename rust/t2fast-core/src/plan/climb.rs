//! The summit of a function of one variable that is asked for one value at a time, each of them dear: a law under a rule.
//!
//! Where values come in vectors, [`super::lattice`] is faster.

use super::problem::COARSE_X;
use crate::cost::Range;

/// Values asked for, at most.
const MOST: usize = 100;

/// The place of the larger part's next point that leaves as much whichever half is kept.
const GOLDEN: f64 = 0.381_966_011_250_105;

/// Distance at which a bound's neighbour is looked at, in parts of the next one's.
const BESIDE: f64 = 1e-3;

/// A parabola that errs by more than this part of what its vertex brings tells little.
const MISS: f64 = 0.3;

/// Misses after which a search stops to trust parabolas: they fit no kink.
const TRUST: usize = 5;

/// Differences of values that mean nothing, relatively.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Where a search ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// A distance in x.
    pub(super) tolerance: f64,
    /// A difference of values, relatively; rounding at least.
    pub(super) level: f64,
}

/// The highest of equally distant places of a range, and the distance between them.
pub(super) fn coarsely(at: impl Fn(f64) -> f64, range: Range) -> (f64, f64) {
    let step = (range.hi - range.lo) / f64::from(COARSE_X - 1);
    let mut best = (range.hi, at(range.hi));
    for x in (0..COARSE_X - 1).map(|i| range.lo + f64::from(i) * step) {
        let value = at(x);
        if value > best.1 {
            best = (x, value);
        }
    }
    (best.0, step)
}

/// The highest place of a function in a range, with its value, uphill from `start` in steps from `step` on.
///
/// Once the summit is between two lower places, parabolas say where to look and what is to be found there; where what they
/// say comes true the search ends. Where they err, or leave more than half of the range, golden sections replace them.
pub(super) fn summit(at: impl Fn(f64) -> f64, range: Range, start: f64, step: f64, ends: Ends) -> (f64, f64) {
    let ask = |x: f64| {
        let x = x.clamp(range.lo, range.hi);
        (x, at(x))
    };
    let mut best = ask(start);
    let (mut low, mut high) = (ask(best.0 - step), ask(best.0 + step));
    for _ in 0..MOST {
        if high.1 > best.1 && high.0 < range.hi {
            let ahead = ask(high.0 + 2.0 * (high.0 - best.0));
            (low, best, high) = (best, high, ahead);
        } else if low.1 > best.1 && low.0 > range.lo {
            let ahead = ask(low.0 - 2.0 * (best.0 - low.0));
            (low, best, high) = (ahead, low, best);
        } else {
            break;
        }
    }
    // A bound is the summit where nothing beside it is higher.
    let top = [low, high].into_iter().fold(best, |top, end| if end.1 > top.1 { end } else { top });
    if top.0 == range.lo || top.0 == range.hi {
        let mut beside = if top.0 == best.0 { if top.0 == high.0 { low } else { high } } else { best };
        loop {
            let gap = beside.0 - top.0;
            if gap.abs() <= ends.tolerance {
                return top;
            }
            let near = ask(top.0 + BESIDE * gap);
            if near.1 > top.1 {
                (low, best, high) = if gap < 0.0 { (beside, near, top) } else { (top, near, beside) };
                break;
            }
            beside = near;
        }
    }
    let (mut fits, mut misses, mut creeping) = (0, 0, false);
    for _ in 0..MOST {
        let level = ends.level.max(ROUNDING) * best.1.abs();
        let lowest = low.1.min(high.1);
        let (left, right) = (best.0 - low.0, high.0 - best.0);
        if best.1 - lowest <= level || left.max(right) <= ends.tolerance {
            break;
        }
        let (rise, fall) = ((best.1 - low.1) / left, (high.1 - best.1) / right);
        let bend = (fall - rise) / (left + right);
        let vertex = 0.5 * (low.0 + best.0) - 0.5 * rise / bend;
        let trusted = !creeping && misses < TRUST && vertex > low.0 && vertex < high.0;
        // To the larger part.
        let aside = |by: f64| best.0 + if right > left { by * right } else { -by * left };
        let found = if trusted && (vertex - best.0).abs() < ends.tolerance {
            ask(aside(ends.tolerance / left.max(right)))
        } else if trusted {
            let found = ask(vertex);
            let told = best.1 + (vertex - best.0) * (rise + (vertex - low.0) * bend);
            let error = (found.1 - told).abs();
            // One parabola can come true by chance: around a symmetric kink it does.
            fits += 1;
            if error <= level && fits > 1 {
                return if found.1 > best.1 { found } else { best };
            }
            if error > MISS * (found.1 - best.1).abs() {
                misses += 1;
            }
            found
        } else {
            ask(aside(GOLDEN))
        };
        (low, best, high) = match (found.1 > best.1, found.0 > best.0) {
            (true, true) => (best, found, high),
            (true, false) => (low, found, best),
            (false, true) => (low, best, found),
            (false, false) => (found, best, high),
        };
        creeping = trusted && high.0 - low.0 > 0.5 * (left + right);
    }
    best
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const WIDE: Range = Range { lo: -10.0, hi: 10.0 };
    const ENDS: Ends = Ends { tolerance: 1e-9, level: 1e-13 };

    /// The summit of a function from many starts, and the most values that one asked for.
    fn climbed(f: impl Fn(f64) -> f64, range: Range) -> (Vec<(f64, f64)>, usize) {
        let mut most = 0;
        let found = [-9.7, -3.1, 0.0, 0.6, 2.0, 10.0].map(|start| {
            let asked = Cell::new(0);
            let found = summit(
                |x| {
                    asked.set(asked.get() + 1);
                    f(x)
                },
                range,
                start,
                0.3,
                ENDS,
            );
            most = most.max(asked.get());
            found
        });
        (found.to_vec(), most)
    }

    #[test]
    fn smooth_summits_take_few_values() {
        let (found, asked) = climbed(|x| 1.0 / (1.0 + (x - 0.7) * (x - 0.7)), WIDE);
        assert!(found.iter().all(|at| (at.0 - 0.7).abs() < 1e-6 && 1.0 - at.1 < 1e-13), "{found:?}");
        assert!(asked <= 40, "{asked}");
    }

    #[test]
    fn kinks_and_steps_are_found_to_the_tolerance() {
        let kink = |x: f64| if x < 1.25 { x } else { 1.25 - 1e-3 * (x - 1.25) };
        let (found, asked) = climbed(kink, WIDE);
        assert!(found.iter().all(|at| (at.0 - 1.25).abs() < 2e-9), "{found:?}");
        assert!(asked <= 70, "{asked}");
        let step = |x: f64| if x < 1.25 { 1e-3 * x - 1.0 } else { 1.25 - x };
        let (found, _) = climbed(step, WIDE);
        assert!(found.iter().all(|at| at.0 >= 1.25 && at.0 < 1.25 + 2e-9), "{found:?}");
    }

    /// Parabolas through a coarse lattice's place and two as low on its sides say that it is the summit.
    #[test]
    fn a_summit_beside_a_symmetric_start_is_found() {
        let f = |x: f64| if (0.0..1.3).contains(&x) { x } else { 0.0 };
        let (x, value) = summit(f, WIDE, 0.7, 1.0, ENDS);
        assert!(x < 1.3 && 1.3 - value < 1e-8, "{x} {value}");
    }

    #[test]
    fn bounds_are_found_and_left_where_the_summit_is_just_inside() {
        for (near, range) in
            [(10.0, WIDE), (9.999_99, WIDE), (-9.98, WIDE), (-10.0, WIDE), (4.0, Range { lo: 4.0, hi: 4.0 })]
        {
            let (found, _) = climbed(|x| 3.0 - (x - near) * (x - near), range);
            assert!(found.iter().all(|at| (at.0 - near).abs() < 1e-5), "{near}: {found:?}");
        }
        let (found, _) = climbed(|x| x, WIDE);
        assert!(found.iter().all(|at| at.0 == 10.0));
    }

    #[test]
    fn nothing_to_be_had_on_one_side_is_no_summit() {
        let (found, _) = climbed(|x| if x > 2.5 { f64::NEG_INFINITY } else { -(x - 2.0) * (x - 2.0) }, WIDE);
        assert!(found[..5].iter().all(|at| (at.0 - 2.0).abs() < 1e-6), "{found:?}");
    }
}
