//! A plurality vote: the commonest of k answers, ties at random.
//!
//! Of k answers c are right; the others fall into the classes of wrong answers by their shares. The vote is won with
//! probability W(c, k - c), which does not depend on p: with s of the wrong answers at c votes and none above, `1/(1 + s)`
//! is the integral of y^s over [0, 1], so that
//! `W(c, n) = n! [z^n] integral over y of the product over classes of (sum_{i<c} (t z)^i/i! + y (t z)^c/c!)`.
//! Up to [`EXACT`] samples that is computed as it stands. Beyond, votes are Poisson, which makes classes independent, and
//! `v(k) = w(k) - k w''(k) / 2` takes the Poisson number of votes away again; the error is of order 1 / k^2.

use super::logit::Logits;
use super::sheet::{LN_MOST_K, Sheet};
use crate::quadrature::legendre;
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

/// W(c, n) for c + n <= EXACT, as `table[c][n]`.
fn wins(shares: &[f64]) -> Vec<Vec<f64>> {
    let mut table = vec![vec![0.0; EXACT + 1]];
    for c in 1..=EXACT {
        let most = EXACT - c;
        // With n others at most n / c of them can tie: a polynomial in y of that degree.
        let nodes = legendre((most / c + 2).div_ceil(2).min(shares.len().div_ceil(2) + 1));
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

/// How much of a question with success rate p the tail in a place is.
pub(super) fn share(rates: &[f64], place: usize, p: f64) -> f64 {
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
}

/// W(c, n): the chance that c right votes win against n wrong ones, ties at random; any numbers, within 1e-12.
///
/// With X_i the votes of the i-th wrong answer, Poisson(t_i n) each and independent, W is the chance that none exceeds c, ties
/// weighed, and that they sum to n, divided by the chance that a Poisson(n) number is n. The sum's chance is a trapezoid
/// sum of its characteristic function over one turn; as its distribution is over within nine standard deviations, so many
/// points are exact, and the function falls so fast that a few dozen of them matter.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn won(shares: &[f64], right: u64, wrong: u64) -> f64 {
    let (c, n) = (right as f64, wrong as f64);
    if right == 0 || wrong == 0 || right > wrong {
        return if right == 0 && wrong > 0 { 0.0 } else { 1.0 };
    }
    let spread = |mean: f64| 9.0 * mean.sqrt() + 12.0;
    // Answers that may reach c votes, equal ones together: (chances of fewer votes from a first on, chance of c, how many).
    let mut rivals: Vec<Rival> = Vec::new();
    let (mut free, mut before) = (0.0, f64::NAN);
    for &share in shares {
        let mean = share * n;
        if mean - spread(mean) > c {
            return 0.0;
        }
        if mean + spread(mean) < c {
            free += mean;
        } else if let Some(last) = rivals.last_mut().filter(|_| share.to_bits() == before.to_bits()) {
            last.count += 1;
        } else {
            rivals.push(Rival::new(mean, c, (mean - spread(mean)).floor().max(0.0)));
            before = share;
        }
    }
    let most_tied = rivals.iter().map(|rival| rival.count).sum::<u32>().min((wrong / right) as u32);
    let ties = legendre(most_tied as usize / 2 + 1);
    let turn = (9.0 * n.sqrt()).ceil() + 16.0;
    let (mut sum, mut small) = (0.0, 0);
    let mut place = 0.0;
    while 2.0 * place <= turn {
        let angle = std::f64::consts::TAU * place / turn;
        let (sin, cos) = angle.sin_cos();
        // e^(free (e^(i angle) - 1) - i n angle).
        let (scale, phase) = ((free * (cos - 1.0)).exp(), free * sin - n * angle);
        let seen: Vec<(C, C)> = rivals.iter().map(|rival| rival.at(c, angle)).collect();
        let (mut here, mut bound) = (0.0, 0.0);
        for (y, weight) in &ties {
            let mut product = C(scale * phase.cos(), scale * phase.sin());
            for ((below, level), rival) in seen.iter().zip(&rivals) {
                product = product.times(C(below.0 + y * level.0, below.1 + y * level.1).power(rival.count));
            }
            here += weight * product.0;
            bound += weight * product.0.hypot(product.1);
        }
        // Angles and their negatives give the same real part.
        sum += if place == 0.0 || 2.0 * place == turn { here } else { 2.0 * here };
        small = if bound < 1e-19 { small + 1 } else { 0 };
        if small == 3 {
            break;
        }
        place += 1.0;
    }
    let all = (n * n.ln() - n - gamma(n + 1.0)[0]).exp();
    (sum / turn / all).clamp(0.0, 1.0)
}

/// Equal wrong answers that may reach the votes of the right one.
struct Rival {
    /// The first number of votes that matters, and the chances from there up to one vote less than the right answer has.
    first: f64,
    below: Vec<f64>,
    /// The chance of as many.
    level: f64,
    count: u32,
}

impl Rival {
    fn new(mean: f64, c: f64, first: f64) -> Self {
        let (mut below, mut votes) = (Vec::new(), first);
        let mut at = if mean > 0.0 { (votes * mean.ln() - mean - gamma(votes + 1.0)[0]).exp() } else { 1.0 };
        while votes < c {
            below.push(at);
            votes += 1.0;
            at *= mean / votes;
        }
        Self { first, below, level: at, count: 1 }
    }

    /// The characteristic function cut off at c, and what c itself adds to it.
    fn at(&self, c: f64, angle: f64) -> (C, C) {
        let turn = C(angle.cos(), angle.sin());
        let (mut below, mut phase) = (C(0.0, 0.0), C((self.first * angle).cos(), (self.first * angle).sin()));
        for chance in &self.below {
            below = C(below.0 + chance * phase.0, below.1 + chance * phase.1);
            phase = phase.times(turn);
        }
        (below, C(self.level * (c * angle).cos(), self.level * (c * angle).sin()))
    }
}

/// A complex number.
#[derive(Clone, Copy)]
struct C(f64, f64);

impl C {
    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }

    fn power(self, times: u32) -> Self {
        let (mut result, mut square, mut left) = (Self(1.0, 0.0), self, times);
        while left > 0 {
            if left % 2 == 1 {
                result = result.times(square);
            }
            square = square.times(square);
            left /= 2;
        }
        result
    }
}

/// The table of a vote against tails that hold at rising rates p; one tail without rates.
pub(super) fn sheet(tails: &[Vec<f64>], rates: &[f64]) -> Sheet {
    let logits = Logits::everywhere(STEP, 1.0, LN_MOST_K);
    let mut ks: Vec<f64> = (1..=EXACT).map(|k| k as f64).collect();
    let first = EXACT as f64;
    ks.extend((1..=PER_OCTAVE * OCTAVES).map(|i| first * 2f64.powf(f64::from(i) / f64::from(PER_OCTAVE))));
    let count = logits.p.len();
    let mut rows = vec![vec![0.0; count]; ks.len()];
    for (place, tail) in tails.iter().enumerate() {
        let shares: Vec<f64> = logits.p.iter().map(|&p| share(rates, place, p)).collect();
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

#[cfg(test)]
mod tests {
    use super::{EXACT, wins, won};

    #[test]
    fn votes_counted_one_way_and_another_agree() {
        let zipf: Vec<f64> = (1..=30).map(|j| 1.0 / f64::from(j)).collect();
        let sum: f64 = zipf.iter().sum();
        let zipf: Vec<f64> = zipf.iter().map(|share| share / sum).collect();
        for shares in [vec![1.0], vec![0.5, 0.5], vec![1.0 / 30.0; 30], vec![0.7, 0.2, 0.1], zipf] {
            let table = wins(&shares);
            for (c, row) in table.iter().enumerate().skip(1) {
                for n in (0..=EXACT - c).filter(|n| n % 7 == 0 || *n < 10) {
                    let (one, other) = (won(&shares, c as u64, n as u64), row[n]);
                    assert!((one - other).abs() < 1e-12, "{} answers, {c} against {n}: {one} {other}", shares.len());
                }
            }
        }
    }
}
