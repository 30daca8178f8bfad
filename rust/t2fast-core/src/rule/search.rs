//! The best number of samples up to a given one.

/// How the value of a rule moves as samples are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Never down.
    Rising,
    /// Never up.
    Falling,
    /// Up, then down.
    Peak,
    /// Down, then up: one of the two ends is best.
    Ends,
    /// Nothing is known: the best is searched for.
    Unknown,
}

/// How exactly the best k is found, relatively; the value there is stationary, so that its error is the square of this.
const TOLERANCE: f64 = 1e-5;

/// What a value changes by, relatively, where k doubles or so and where that is as good as nothing: far beyond the summit all
/// questions are decided, and slopes are zero or rounding.
const FLAT: f64 = 1e-13;

/// Neighbours on the ladder of k on which a search of an unknown shape begins.
const RUNG: f64 = std::f64::consts::SQRT_2;

/// The k in [1, `most`] with the largest value, `at` giving value and derivative by k.
pub(crate) fn best(shape: Shape, most: f64, mut at: impl FnMut(f64) -> (f64, f64)) -> (f64, f64) {
    let end = at(most);
    if most <= 1.0 {
        return (most, end.0);
    }
    match shape {
        Shape::Rising => (most, end.0),
        Shape::Falling => (1.0, at(1.0).0),
        Shape::Ends => {
            let first = at(1.0).0;
            if first > end.0 { (1.0, first) } else { (most, end.0) }
        }
        Shape::Peak if end.1 * most > FLAT * end.0.abs() => (most, end.0),
        Shape::Peak => {
            let first = at(1.0);
            if first.1 <= 0.0 { (1.0, first.0) } else { summit((1.0, first), (most, end), &mut at) }
        }
        Shape::Unknown => {
            let mut rungs = vec![(1.0, at(1.0))];
            let mut k = RUNG;
            while k < most {
                rungs.push((k, at(k)));
                k *= RUNG;
            }
            rungs.push((most, end));
            let top = (0..rungs.len()).fold(0, |top, i| if rungs[i].1.0 > rungs[top].1.0 { i } else { top });
            let here = rungs[top];
            // The slope says on which side the summit is.
            if here.1.1 > 0.0 && top + 1 < rungs.len() {
                summit(here, rungs[top + 1], &mut at)
            } else if here.1.1 < 0.0 && top > 0 {
                summit(rungs[top - 1], here, &mut at)
            } else {
                (here.0, here.1.0)
            }
        }
    }
}

/// The zero of the derivative between a k where it is positive and one where it is negative, by regula falsi in ln k with
/// the Illinois modification; then the better of what was met.
fn summit(low: (f64, (f64, f64)), high: (f64, (f64, f64)), at: &mut impl FnMut(f64) -> (f64, f64)) -> (f64, f64) {
    let mut met = if high.1.0 > low.1.0 { (high.0, high.1.0) } else { (low.0, low.1.0) };
    // Derivatives by ln k.
    let (mut x, mut dx) = (low.0.ln(), low.1.1 * low.0);
    let flat = FLAT * low.1.0.abs().max(high.1.0.abs());
    let (mut y, mut dy) = (high.0.ln(), high.1.1 * high.0 - flat);
    if dx <= 0.0 || dy >= 0.0 {
        return met;
    }
    let (mut side, mut slow, mut last) = (0, 0, f64::NAN);
    for _ in 0..60 {
        // Where the two slopes differ by orders of magnitude, halving is faster.
        let halves = slow == 2;
        let share = if halves { 0.5 } else { (dx / (dx - dy)).clamp(0.02, 0.98) };
        let width = y - x;
        let z = x + share * (y - x);
        let k = z.exp();
        let (value, slope) = at(k);
        if value > met.1 {
            met = (k, value);
        }
        let dz = slope * k - flat;
        if dz > 0.0 {
            (x, dx) = (z, dz);
            if side == 1 {
                dy *= 0.5;
            }
            side = 1;
        } else {
            (y, dy) = (z, dz);
            if side == -1 {
                dx *= 0.5;
            }
            side = -1;
        }
        // A step of regula falsi ends about as far from the zero as the square of its length.
        if y - x < TOLERANCE || dz == 0.0 || (!halves && (z - last).abs() < TOLERANCE) {
            break;
        }
        slow = if !halves && y - x > 0.5 * width { slow + 1 } else { 0 };
        last = z;
    }
    met
}

/// The better whole k beside a real one.
pub(crate) fn whole(found: (f64, f64), most: f64, at: &mut impl FnMut(f64) -> (f64, f64)) -> (f64, f64) {
    if found.0.fract() == 0.0 {
        return found;
    }
    let (low, high) = (found.0.floor(), found.0.ceil());
    let below = (low, at(low).0);
    if high > most {
        return below;
    }
    let above = (high, at(high).0);
    if above.1 > below.1 { above } else { below }
}
