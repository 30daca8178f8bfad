//! Choosing one of k answers: by majority, or by a verifier's score.

use super::estimate::{ln_failure, pass_at_k};
use super::histogram::Sum;
use crate::error::{Error, Result};
use crate::random::Philox;

/// What a tie for the most votes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ties {
    /// One of the tied answers is taken at random: the share 1 / (number tied).
    Random,
    /// A tie is a failure.
    Fail,
    /// A tie that includes the correct answer is a success.
    Win,
}

impl Ties {
    fn share(self, others: usize) -> f64 {
        match self {
            _ if others == 0 => 1.0,
            #[allow(clippy::cast_precision_loss)]
            Self::Random => 1.0 / (others + 1) as f64,
            Self::Fail => 0.0,
            Self::Win => 1.0,
        }
    }
}

/// maj@k: the chance that the correct answer gets the most votes among k of a problem's n samples, drawn without
/// replacement. `votes` counts the samples of each distinct answer; `correct` is the place of the correct one, or `None`
/// where nobody gave it. Exact up to rounding, within 1e-12 relative; NaN for k > n.
///
/// With p = k/n, drawing without replacement is drawing Binomial(m_j, p) votes for each answer j and keeping the draws with k
/// votes in all. Hence for each number x of votes for the correct answer the chance that no other gets more, t others
/// get as many, and all add up to k is a coefficient of a product of truncated binomial distributions. All terms are
/// positive. The work grows as answers x k^3.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn majority_exact(votes: &[u64], correct: Option<usize>, k: usize, ties: Ties) -> f64 {
    let n: u64 = votes.iter().sum();
    if k as u64 > n {
        return f64::NAN;
    }
    let Some(correct) = correct else { return 0.0 };
    if votes[correct] == n {
        return 1.0;
    }
    let p = k as f64 / n as f64;
    let own = binomial(votes[correct], p, k);
    let others: Vec<Vec<f64>> =
        votes.iter().enumerate().filter(|&(j, &m)| j != correct && m > 0).map(|(_, &m)| binomial(m, p, k)).collect();
    let all = binomial(n, p, k)[k];
    let mut sum = Sum::default();
    for x in 1..own.len() {
        let rest = k - x;
        let most_ties = rest / x;
        // state[t][d]: t others tied at x so far, d votes for others so far.
        let width = rest + 1;
        let mut state = vec![0.0; (most_ties + 1) * width];
        state[0] = 1.0;
        let mut reach = 0;
        for other in &others {
            let next_reach = (reach + x.min(other.len() - 1)).min(rest);
            let mut next = vec![0.0; state.len()];
            for t in 0..=most_ties {
                for d in 0..=reach {
                    let here = state[t * width + d];
                    if here == 0.0 {
                        continue;
                    }
                    for (i, q) in other.iter().enumerate().take(x.min(rest + 1 - d)) {
                        next[t * width + d + i] += here * q;
                    }
                    if t < most_ties && d + x <= rest && other.len() > x {
                        next[(t + 1) * width + d + x] += here * other[x];
                    }
                }
            }
            state = next;
            reach = next_reach;
        }
        for t in 0..=most_ties {
            sum.add(own[x] * state[t * width + rest] * ties.share(t));
        }
    }
    sum.value() / all
}

/// The probabilities of 0, 1, ... min(m, k) successes in m trials, scaled to sum to 1 with those beyond k.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn binomial(m: u64, p: f64, k: usize) -> Vec<f64> {
    let last = usize::try_from(m).unwrap_or(usize::MAX).min(k);
    let mf = m as f64;
    if p >= 1.0 {
        let mut all = vec![0.0; last + 1];
        all[last] = 1.0;
        return all;
    }
    let odds = p / (1.0 - p);
    let up = |i: usize| (mf - i as f64) / (i as f64 + 1.0) * odds;
    let mode = ((mf + 1.0) * p).floor() as usize;
    let start = mode.min(last);
    let mut values = vec![0.0; last + 1];
    values[start] = 1.0;
    for i in start..last {
        values[i + 1] = values[i] * up(i);
    }
    for i in (0..start).rev() {
        values[i] = values[i + 1] / up(i);
    }
    let mut sum = Sum::default();
    for &value in &values {
        sum.add(value);
    }
    // Beyond k, until nothing is left.
    let mut beyond = values[last];
    let mut i = last;
    while (i as u64) < m && beyond > 1e-25 {
        beyond *= up(i);
        sum.add(beyond);
        i += 1;
    }
    let total = sum.value();
    for value in &mut values {
        *value /= total;
    }
    values
}

/// maj@k by drawing `draws` times k samples without replacement: the mean and its standard error.
///
/// # Errors
/// [`Error::Array`] when there are no draws to make.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn majority_sampled(
    votes: &[u64],
    correct: Option<usize>,
    k: usize,
    ties: Ties,
    draws: u32,
    random: &mut Philox,
) -> Result<(f64, f64)> {
    if draws < 2 {
        return Err(Error::Array(format!("draws = {draws}: must be at least 2")));
    }
    let n: u64 = votes.iter().sum();
    if k as u64 > n {
        return Ok((f64::NAN, f64::NAN));
    }
    let Some(correct) = correct else { return Ok((0.0, 0.0)) };
    let mut deck: Vec<u32> = Vec::new();
    for (answer, &m) in votes.iter().enumerate() {
        deck.extend((0..m).map(|_| answer as u32));
    }
    let mut tally = vec![0_usize; votes.len()];
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..draws {
        tally.fill(0);
        // The first k places of a shuffle; where the deck starts from does not matter.
        for i in 0..k {
            let j = i + random.below((deck.len() - i) as u64) as usize;
            deck.swap(i, j);
            tally[deck[i] as usize] += 1;
        }
        let own = tally[correct];
        let ahead = tally.iter().any(|&other| other > own);
        let tied = tally.iter().filter(|&&other| other == own).count() - 1;
        let score = if ahead || own == 0 { 0.0 } else { ties.share(tied) };
        sum += score;
        squares += score * score;
    }
    let draws = f64::from(draws);
    let mean = sum / draws;
    Ok((mean, ((squares / draws - mean * mean).max(0.0) / (draws - 1.0)).sqrt()))
}

/// The expected value of the sample with the highest score among k of n drawn without replacement, for each k; samples
/// that share the highest score count with their mean value. NaN for k > n.
///
/// With `values` of 0 and 1 that is best-of-k, with `values` the scores themselves it is max@k. A group of G samples with
/// one score, H samples scoring higher, is on top with chance `[C(n - H, k) - C(n - H - G, k)] / C(n, k)`: no higher one is drawn, and
/// one of the group is.
///
/// # Errors
/// [`Error::Array`] when the lengths differ, there are no samples, or a score or value is NaN.
#[allow(clippy::cast_precision_loss)]
pub fn best_of_k(scores: &[f64], values: &[f64], ks: &[u64]) -> Result<Vec<f64>> {
    if scores.is_empty() || scores.len() != values.len() {
        let (s, v) = (scores.len(), values.len());
        return Err(Error::Array(format!(
            "scores and values have lengths {s} and {v}: they must be equal and positive"
        )));
    }
    for (name, numbers) in [("scores", scores), ("values", values)] {
        if let Some(i) = numbers.iter().position(|x| x.is_nan()) {
            return Err(Error::Array(format!(
                "{name}[{i}] = NaN: every sample needs a number; leave out missing samples"
            )));
        }
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]));
    let n = scores.len() as u64;
    // (samples above, samples in the group, their mean value)
    let mut groups = Vec::new();
    let mut above = 0;
    // Negative and positive zero are one score.
    #[allow(clippy::float_cmp)]
    for group in order.chunk_by(|&i, &j| scores[i] == scores[j]) {
        let mut sum = Sum::default();
        for &i in group {
            sum.add(values[i]);
        }
        let size = group.len() as u64;
        groups.push((above, size, sum.value() / size as f64));
        above += size;
    }
    let one = |&k: &u64| {
        if k > n {
            return f64::NAN;
        }
        let mut sum = Sum::default();
        for &(above, size, mean) in &groups {
            let unseen = ln_failure(n, above, k).exp();
            if unseen < 1e-30 {
                break;
            }
            sum.add(unseen * pass_at_k(n - above, size, k) * mean);
        }
        sum.value()
    };
    Ok(ks.iter().map(one).collect())
}
