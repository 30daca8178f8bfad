//! Choosing one of k answers: by majority, or by a verifier's score.

use super::estimate::{ln_failure, pass_at_k};
use super::histogram::Sum;
use crate::error::{Error, Result};
use crate::quadrature::legendre;
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
    pub(super) fn share(self, others: usize) -> f64 {
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
/// get as many, and all add up to k is a coefficient of a product of binomial distributions cut off at x. Answers with fewer
/// than x samples are never cut off: together they are one binomial distribution. A tie among t + 1 counts 1 / (t + 1), the
/// integral of s^t: with each tie weighted by s, Gauss and Legendre's rule gives it exactly. All terms are positive.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn majority_exact(votes: &[u64], correct: Option<usize>, k: usize, ties: Ties) -> f64 {
    let n: u64 = votes.iter().sum();
    if k as u64 > n {
        return f64::NAN;
    }
    let Some(correct) = correct else { return 0.0 };
    if votes[correct] == n || k == 0 {
        return 1.0;
    }
    let p = k as f64 / n as f64;
    let own = binomial(votes[correct], p, k);
    let mut others: Vec<u64> =
        votes.iter().enumerate().filter(|&(j, &m)| j != correct && m > 0).map(|(_, &m)| m).collect();
    others.sort_unstable_by(|a, b| b.cmp(a));
    // The distributions of the distinct counts, and which of them each answer has.
    let mut distinct: Vec<Vec<f64>> = Vec::new();
    let mut kind = Vec::with_capacity(others.len());
    for (i, &m) in others.iter().enumerate() {
        if i == 0 || others[i - 1] != m {
            distinct.push(binomial(m, p, k));
        }
        kind.push(distinct.len() - 1);
    }
    let mut sum = Sum::default();
    let (mut state, mut next) = (vec![0.0; k + 1], vec![0.0; k + 1]);
    for (x, &mine) in own.iter().enumerate().skip(1) {
        if mine == 0.0 {
            continue;
        }
        let rest = k - x;
        let large = others.partition_point(|&m| m >= x as u64);
        let small = binomial(others[large..].iter().sum(), p, rest);
        let nodes = match ties {
            Ties::Random => legendre(large.min(rest / x) / 2 + 1),
            Ties::Fail => vec![(0.0, 1.0)],
            Ties::Win => vec![(1.0, 1.0)],
        };
        for (s, weight) in nodes {
            state[..=rest].fill(0.0);
            state[..small.len()].copy_from_slice(&small);
            let mut reach = small.len() - 1;
            for &which in &kind[..large] {
                let q = &distinct[which];
                let last = x.min(q.len() - 1);
                let next_reach = (reach + last).min(rest);
                next[..=next_reach].fill(0.0);
                for (i, &chance) in q[..=last].iter().enumerate() {
                    if i > next_reach {
                        break;
                    }
                    let chance = if i == x { s * chance } else { chance };
                    let count = (next_reach - i).min(reach) + 1;
                    for (to, from) in next[i..i + count].iter_mut().zip(&state[..count]) {
                        *to += chance * from;
                    }
                }
                std::mem::swap(&mut state, &mut next);
                reach = next_reach;
            }
            if reach == rest {
                sum.add(mine * weight * state[rest]);
            }
        }
    }
    sum.value() / binomial(n, p, k)[k]
}

/// Multiplications that [`majority_exact`] makes, about.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn majority_work(votes: &[u64], correct: Option<usize>, k: usize) -> f64 {
    let Some(correct) = correct else { return 0.0 };
    let mut others: Vec<u64> = votes.iter().enumerate().filter(|&(j, _)| j != correct).map(|(_, &m)| m).collect();
    others.sort_unstable_by(|a, b| b.cmp(a));
    let most = usize::try_from(votes[correct]).unwrap_or(usize::MAX).min(k);
    let mut work = k as f64;
    for x in 1..=most {
        let large = others.partition_point(|&m| m >= x as u64);
        let nodes = large.min((k - x) / x) / 2 + 1;
        work += ((k - x + 1) * (x + 1)) as f64 * (large * nodes) as f64 + (k - x + 1) as f64;
    }
    work
}

/// No fewer than [`majority_work`] says, at a glance.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn most_majority_work(answers: usize, k: usize) -> f64 {
    // Each of up to k votes for the right answer, at most (k / 2 + 1)^2 products, answers, and nodes.
    let (k, answers) = (k as f64, answers as f64);
    k * ((0.5 * k + 1.0).powi(2) * answers * (0.5 * answers.min(k) + 1.0) + k) + k
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
