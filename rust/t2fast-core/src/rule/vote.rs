//! A plurality vote: the commonest of k answers, ties at random.
//!
//! Of k answers c are right; the others fall into the classes of wrong answers by their shares. The vote is won with
//! probability W(c, k - c), which does not depend on p: with s of the wrong answers at c votes and none above, `1/(1 + s)`
//! is the integral of y^s over [0, 1], so that
//! `W(c, n) = n! [z^n] integral over y of the product over classes of (sum_{i<c} (t z)^i/i! + y (t z)^c/c!)`.
//! Up to [`EXACT`] samples that is computed as it stands. Beyond, votes are Poisson, which makes classes independent, and
//! `v(k) = w(k) - k w''(k) / 2` takes the Poisson number of votes away again; the error is of order 1 / k^2.

use super::logit::Logits;
use super::sheet::Sheet;
use crate::special::gamma;

/// Samples up to which the vote is counted exactly.
pub(super) const EXACT: usize = 128;
/// Rows for each factor of two beyond, and factors of two.
const PER_OCTAVE: u32 = 4;
const OCTAVES: u32 = 4;
/// Distance of the finest nodes in logit p.
const STEP: f64 = 0.05;
/// In logit p a vote of k turns over about 2 / sqrt(k); the step that resolves it.
const SHARPNESS: f64 = 1.7;

/// Nodes and weights of Gauss and Legendre on [0, 1].
fn gauss(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut here) = (1.0, x);
                for j in 2..=count {
                    let j = j as f64;
                    (before, here) = (here, ((2.0 * j - 1.0) * x * here - (j - 1.0) * before) / j);
                }
                slope = n * (x * here - before) / (x * x - 1.0);
                let step = here / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// W(c, n) for c + n <= EXACT, as `table[c][n]`.
fn wins(shares: &[f64]) -> Vec<Vec<f64>> {
    let mut table = vec![vec![0.0; EXACT + 1]];
    for c in 1..=EXACT {
        let most = EXACT - c;
        // With n others at most n / c of them can tie: a polynomial in y of that degree.
        let nodes = gauss((most / c + 2).div_ceil(2).min(shares.len().div_ceil(2) + 1));
        let mut sums = vec![0.0; most + 1];
        for (y, weight) in nodes {
            let mut product = vec![0.0; most + 1];
            product[0] = 1.0;
            let mut degree = 0;
            for &share in shares {
                let mut factor = vec![1.0];
                let mut term = 1.0;
                for i in 1..=c.min(most) {
                    term *= share / i as f64;
                    factor.push(if i == c { y * term } else { term });
                }
                // Classes too rare to matter end early.
                while factor.len() > 1 && factor[factor.len() - 1] < 1e-300 {
                    factor.pop();
                }
                let reach = (degree + factor.len() - 1).min(most);
                for n in (0..=reach).rev() {
                    let low = n.saturating_sub(degree);
                    let mut sum = 0.0;
                    for (i, f) in factor.iter().enumerate().take(n + 1).skip(low) {
                        sum += f * product[n - i];
                    }
                    product[n] = sum;
                }
                degree = reach;
            }
            for (sum, p) in sums.iter_mut().zip(&product) {
                *sum += weight * p;
            }
        }
        let mut factorial = 1.0;
        for (n, sum) in sums.iter_mut().enumerate() {
            if n > 0 {
                factorial *= n as f64;
            }
            *sum = (*sum * factorial).min(1.0);
        }
        table.push(sums);
    }
    table
}

/// The chance that the right answer wins when it has Poisson(p k) votes and each wrong one Poisson((1 - p) t k).
fn poisson(p: f64, q: f64, k: f64, shares: &[f64]) -> f64 {
    const THREE: [(f64, f64); 3] =
        [(0.112_701_665_379_258_3, 5.0 / 18.0), (0.5, 4.0 / 9.0), (0.887_298_334_620_741_7, 5.0 / 18.0)];
    let spread = |mean: f64| 8.5 * mean.sqrt() + 12.0;
    let right = p * k;
    let (low, high) = ((right - spread(right)).floor().max(1.0), (right + spread(right)).ceil());
    let mass = |mean: f64, c: f64| (c * mean.ln() - mean - gamma(c + 1.0)[0]).exp();
    let mut rivals: Vec<(f64, f64, f64)> = shares
        .iter()
        .map(|t| t * q * k)
        .filter(|&mean| mean + spread(mean) > low)
        .map(|mean| {
            let start = (mean - spread(mean)).floor().max(0.0);
            let (mut below, mut c) = (0.0, start);
            let mut at = if start < low { mass(mean, start) } else { 0.0 };
            while c < low {
                below += at;
                c += 1.0;
                at *= mean / c;
            }
            (mean, below, if start < low { at } else { mass(mean, low) })
        })
        .collect();
    let (mut sum, mut at, mut c) = (0.0, mass(right, low), low);
    while c <= high {
        let mut chance = [1.0; 3];
        for (_, below, at) in &rivals {
            for (chance, (y, _)) in chance.iter_mut().zip(THREE) {
                *chance *= below + y * at;
            }
        }
        sum += at * chance.iter().zip(THREE).map(|(chance, (_, weight))| chance * weight).sum::<f64>();
        c += 1.0;
        at *= right / c;
        for (mean, below, here) in &mut rivals {
            *below = (*below + *here).min(1.0);
            *here *= *mean / c;
        }
    }
    sum.min(1.0)
}

/// The same without the scatter of the number of votes.
fn beyond(p: f64, q: f64, k: f64, shares: &[f64]) -> f64 {
    let top = shares.iter().copied().fold(0.0, f64::max) * q;
    let margin = (p - top) * k.sqrt() / (p + top - (p - top).powi(2)).max(1e-300).sqrt();
    if margin > 8.0 {
        return 1.0;
    }
    if margin < -8.0 {
        return 0.0;
    }
    let step = 0.03 * k;
    let [below, here, above] = [k - step, k, k + step].map(|k| poisson(p, q, k, shares));
    (here - 0.5 * k * (above - 2.0 * here + below) / (step * step)).clamp(0.0, 1.0)
}

/// The table of a vote against tails that hold at rising rates p; one tail without rates.
pub(super) fn sheet(tails: &[Vec<f64>], rates: &[f64]) -> Sheet {
    let logits = Logits::everywhere(STEP, 1.0);
    let mut ks: Vec<f64> = (1..=EXACT).map(|k| k as f64).collect();
    let first = EXACT as f64;
    ks.extend((1..=PER_OCTAVE * OCTAVES).map(|i| first * 2f64.powf(f64::from(i) / f64::from(PER_OCTAVE))));
    let count = logits.p.len();
    let mut rows = vec![vec![0.0; count]; ks.len()];
    for (place, tail) in tails.iter().enumerate() {
        // How much of each question this tail is.
        let share = |p: f64| {
            if rates.is_empty() {
                return 1.0;
            }
            let here = rates[place];
            if p <= here {
                match place.checked_sub(1).map(|i| rates[i]) {
                    None => 1.0,
                    Some(before) => ((p - before) / (here - before)).max(0.0),
                }
            } else {
                rates.get(place + 1).map_or(1.0, |after| ((after - p) / (after - here)).max(0.0))
            }
        };
        let shares: Vec<f64> = logits.p.iter().map(|&p| share(p)).collect();
        let table = wins(tail);
        // Binomial(k, p), one trial at a time: chances[c] over all nodes.
        let mut chances = vec![vec![0.0; count]; EXACT + 1];
        chances[0].fill(1.0);
        for k in 1..=EXACT {
            for c in (0..=k).rev() {
                let (lower, upper) = chances.split_at_mut(c);
                let before = lower.last();
                for (i, chance) in upper[0].iter_mut().enumerate() {
                    let from = before.map_or(0.0, |before| before[i]);
                    *chance = *chance * logits.q[i] + from * logits.p[i];
                }
            }
            let row = &mut rows[k - 1];
            for c in 1..=k {
                let won = table[c][k - c];
                for ((value, chance), share) in row.iter_mut().zip(&chances[c]).zip(&shares) {
                    *value += share * won * chance;
                }
            }
        }
        for (row, &k) in rows.iter_mut().zip(&ks).skip(EXACT) {
            for (i, value) in row.iter_mut().enumerate().filter(|(i, _)| shares[*i] > 0.0) {
                *value += shares[i] * beyond(logits.p[i], logits.q[i], k, tail);
            }
        }
    }
    for row in &mut rows {
        for (value, p) in row.iter_mut().zip(&logits.p) {
            *value -= p;
        }
    }
    Sheet::new(logits, rows, ks, [EXACT, 4], SHARPNESS, true, 0.2)
}
