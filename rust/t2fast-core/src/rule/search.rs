//! The best number of samples up to a given one.

use super::verifier::Sum;

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

/// The k in [1, `most`] with the largest value.
///
/// `at` gives the value at a k, `doubled` those at 1, 2, 4, ...
pub(crate) fn best(
    shape: Shape,
    most: f64,
    mut at: impl FnMut(f64) -> Sum,
    doubled: impl Fn(&mut [Sum]),
) -> (f64, f64) {
    let end = at(most);
    if most <= 1.0 {
        return (most, end.value);
    }
    match shape {
        Shape::Rising => (most, end.value),
        Shape::Falling => (1.0, at(1.0).value),
        Shape::Ends => {
            let first = at(1.0).value;
            if first > end.value { (1.0, first) } else { (most, end.value) }
        }
        Shape::Peak if end.slope * most > FLAT * end.value.abs() => (most, end.value),
        Shape::Peak => {
            let first = at(1.0);
            if first.slope <= 0.0 { (1.0, first.value) } else { summit((1.0, first), (most, end), 0.5, &mut at) }
        }
        Shape::Unknown => {
            // Slopes tell of what lies between the powers of two, and no question's value turns faster: it is a sum of powers
            // of numbers below one.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let mut values = vec![end; most.log2().ceil() as usize];
            doubled(&mut values);
            let ks = std::iter::successors(Some(1.0), |k| Some(2.0 * k));
            let mut rungs: Vec<(f64, Sum)> = ks.zip(values).collect();
            rungs.push((most, end));
            let best = rungs.iter().fold(rungs[0], |best, rung| if rung.1.value > best.1.value { *rung } else { best });
            let mut found = (best.0, best.1.value);
            // The highest that a cubic through values and slopes rises to between two rungs.
            let promising = rungs.windows(2).filter(|pair| pair[0].1.slope > 0.0 && pair[1].1.slope < 0.0);
            let promised = promising.map(|pair| (crest(pair[0], pair[1]), pair));
            if let Some(((t, _), pair)) = promised.max_by(|one, other| one.0.1.total_cmp(&other.0.1)) {
                let top = summit(pair[0], pair[1], t, &mut at);
                if top.1 > found.1 {
                    found = top;
                }
            }
            found
        }
    }
}

/// The largest value, in ln k, of the cubic with the values and slopes of two rungs, the first rising and the second falling;
/// before it its place between them, from 0 to 1.
fn crest(low: (f64, Sum), high: (f64, Sum)) -> (f64, f64) {
    let width = (high.0 / low.0).ln();
    let (rise, fall) = (low.1.slope * low.0 * width, high.1.slope * high.0 * width);
    let step = high.1.value - low.1.value;
    // low + rise t + bend t^2 + twist t^3 on [0, 1].
    let (bend, twist) = (3.0 * step - 2.0 * rise - fall, rise + fall - 2.0 * step);
    // The zero of the derivative inside, in the form that keeps its digits.
    let t = rise / (-bend + (bend * bend - 3.0 * twist * rise).max(0.0).sqrt());
    let t = if t > 0.0 && t < 1.0 { t } else { 0.5 };
    (t, low.1.value + t * (rise + t * (bend + t * twist)))
}

/// The zero of the derivative between a k where it is positive and one where it is negative, in ln k: by Newton's method from
/// the part `start` of the way on, and by halving where that leaves the interval or gains little; then the best of what was met.
fn summit(low: (f64, Sum), high: (f64, Sum), start: f64, at: &mut impl FnMut(f64) -> Sum) -> (f64, f64) {
    let mut met = if high.1.value > low.1.value { (high.0, high.1.value) } else { (low.0, low.1.value) };
    let flat = FLAT * low.1.value.abs().max(high.1.value.abs());
    let (mut x, mut y) = (low.0.ln(), high.0.ln());
    if low.1.slope <= 0.0 || high.1.slope * high.0 - flat >= 0.0 {
        return met;
    }
    let mut z = x + start * (y - x);
    for _ in 0..80 {
        let k = z.exp();
        let Sum { value, slope, curvature } = at(k);
        if value > met.1 {
            met = (k, value);
        }
        // Derivatives by ln k.
        let (first, second) = (slope * k - flat, (slope + curvature * k) * k);
        if first > 0.0 {
            x = z;
        } else {
            y = z;
        }
        let newton = z - first / second;
        // Where the curve bends upwards the summit is elsewhere.
        let next = if second < 0.0 && newton > x && newton < y { newton } else { 0.5 * (x + y) };
        if (next - z).abs() < TOLERANCE || first == 0.0 {
            // The step not made would have added its half times the slope: less than can be told.
            break;
        }
        z = next;
    }
    met
}

/// The better whole k beside a real one.
pub(crate) fn whole(found: (f64, f64), most: f64, at: &mut impl FnMut(f64) -> Sum) -> (f64, f64) {
    if found.0.fract() == 0.0 {
        return found;
    }
    let (low, high) = (found.0.floor(), found.0.ceil());
    let below = (low, at(low).value);
    if high > most {
        return below;
    }
    let above = (high, at(high).value);
    if above.1 > below.1 { above } else { below }
}
