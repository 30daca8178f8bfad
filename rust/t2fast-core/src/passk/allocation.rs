//! Which problems to sample further, and how much is enough.
//!
//! To first order the estimate of pass@k from N samples of a problem with success rate p has variance s^2 / N with
//! `s^2 = k^2 p (1 - p)^(2k - 1)`, and that is where samples help: neither where p is so low that none will show, nor where
//! pass@k is 1 already. p is not known; s^2 is averaged over what the counts and the spread of all problems leave possible,
//! Beta(a + c, b + n - c).

use super::beta_binomial::BetaBinomial;
use super::histogram::Sum;
use crate::error::{Error, Result, positive};
use crate::law::beta_pass_at_k;

/// The expected s^2 of a problem at k, given its counts and the distribution over problems.
///
/// `E[p (1 - p)^(2k - 1)] = a'/(a' + b') (1 - pass@(2k - 1) of Beta(a' + 1, b'))`.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn sensitivity(model: &BetaBinomial, n: u64, c: u64, k: u64) -> f64 {
    let (a, b) = (model.a + c as f64, model.b + (n - c) as f64);
    if a == 0.0 || b == 0.0 {
        return 0.0;
    }
    let k = k as f64;
    let spread = k * k * a / (a + b) * (1.0 - beta_pass_at_k(a + 1.0, b, 2.0 * k - 1.0));
    if c > 0 || model.zero == 0.0 {
        return spread;
    }
    // Without a success the problem may be one of those that never succeed.
    let failed = (1.0 - model.zero) * (1.0 - beta_pass_at_k(model.a, model.b, n as f64));
    spread * failed / (failed + model.zero)
}

/// The standard error of mean pass@k, to first order, after `n` samples of problems with these s^2.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn standard_error(n: &[u64], squares: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for (&n, &s) in n.iter().zip(squares) {
        if s > 0.0 {
            sum.add(s / n as f64);
        }
    }
    sum.value().sqrt() / n.len() as f64
}

/// Further samples per problem, `budget` in all, that shrink [`standard_error`] most.
///
/// Problems below `least` samples are brought there first. Each further sample then goes where it takes away most:
/// the j-th sample takes s^2 / ((j - 1) j). That is the exact optimum, because gains fall from sample to sample.
///
/// # Errors
/// [`Error::Array`] when the budget does not reach to bring all problems to `least`.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn allocate(n: &[u64], squares: &[f64], budget: u64, least: u64) -> Result<Vec<u64>> {
    let mut further: Vec<u64> = n.iter().map(|&n| least.saturating_sub(n)).collect();
    let needed: u64 = further.iter().sum();
    if needed > budget {
        return Err(Error::Array(format!(
            "budget = {budget}: {needed} further samples are needed before every problem has the {least} that pass@{least} takes"
        )));
    }
    let mut left = budget - needed;
    let start: Vec<u64> = n.iter().zip(&further).map(|(n, m)| n + m).collect();
    // How many further samples gain at least `gain` each: with x samples there, the next takes s^2 / (x (x + 1)).
    let count = |start: u64, s: f64, gain: f64| {
        let x = 0.5 * ((1.0 + 4.0 * s / gain).sqrt() - 1.0);
        // The sample after x counts itself.
        (x.min(9e18).floor() as u64 + 1).saturating_sub(start.max(1))
    };
    let gains = || start.iter().zip(squares).map(|(&x, &s)| s / (x.max(1) as f64 * (x.max(1) + 1) as f64));
    let best = gains().fold(0.0, f64::max);
    if best > 0.0 && left > 0 {
        let taken = |gain: f64| -> u128 {
            start.iter().zip(squares).map(|(&x, &s)| if s > 0.0 { u128::from(count(x, s, gain)) } else { 0 }).sum()
        };
        // The lowest gain worth taking, by bisection of its logarithm.
        let (mut high, mut low) = (2.0 * best, best);
        while taken(low) <= u128::from(left) && low > 1e-300 {
            high = low;
            low *= 0.25;
        }
        for _ in 0..200 {
            let middle = (low * high).sqrt();
            if middle <= low || middle >= high {
                break;
            }
            if taken(middle) <= u128::from(left) {
                high = middle;
            } else {
                low = middle;
            }
        }
        for ((further, &x), &s) in further.iter_mut().zip(&start).zip(squares) {
            if s > 0.0 {
                let more = count(x, s, high);
                *further += more;
                left -= more;
            }
        }
        // Ties at the threshold: one each, the largest gain first.
        let mut order: Vec<(f64, usize)> = n
            .iter()
            .zip(&further)
            .zip(squares)
            .enumerate()
            .map(|(i, ((n, m), s))| {
                let x = (n + m).max(1) as f64;
                (s / (x * (x + 1.0)), i)
            })
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        order.retain(|&(gain, _)| gain > 0.0);
        if left > order.len() as u64 {
            // So many samples that gains no longer differ in floating point: in all in proportion to s, as at the optimum.
            let have: u64 = order.iter().map(|&(_, i)| n[i] + further[i]).sum();
            let total: f64 = order.iter().map(|&(_, i)| squares[i].sqrt()).sum();
            let all = (have + left) as f64;
            for &(_, i) in &order {
                let wanted = (all * (squares[i].sqrt() / total)) as u64;
                let more = wanted.saturating_sub(n[i] + further[i]).min(left);
                further[i] += more;
                left -= more;
            }
        }
        for (_, i) in order.iter().cycle() {
            if left == 0 {
                break;
            }
            further[*i] += 1;
            left -= 1;
        }
    } else {
        // Nothing to gain anywhere that is known: spread evenly.
        let problems = further.len() as u64;
        for (i, further) in further.iter_mut().enumerate() {
            *further += left / problems + u64::from((i as u64) < left % problems);
        }
    }
    Ok(further)
}

/// The fewest further samples, placed best, that bring [`standard_error`] down to `target`; 0 where it is there already.
///
/// # Errors
/// [`Error::Value`] unless the target is positive and finite.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn samples_needed(n: &[u64], squares: &[f64], target: f64) -> Result<u64> {
    positive("half_width", target)?;
    if standard_error(n, squares) <= target {
        return Ok(0);
    }
    // At the optimum every sampled problem has N = s / t for one t.
    let after = |t: f64| -> Vec<u64> {
        n.iter().zip(squares).map(|(&n, s)| n.max((s.sqrt() / t).min(1e15).ceil() as u64)).collect()
    };
    let (mut low, mut high) = (1e-150, squares.iter().fold(0.0, |most: f64, s| most.max(s.sqrt())));
    for _ in 0..2000 {
        let middle = (low * high).sqrt();
        if middle <= low || middle >= high || high <= low * (1.0 + 1e-12) {
            break;
        }
        if standard_error(&after(middle), squares) <= target {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(after(low).iter().zip(n).map(|(after, n)| after - n).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_beyond_what_gains_can_tell_apart_are_spent_in_proportion_to_s() {
        let (n, squares) = ([10, 10, 10], [4.0, 1.0, 0.0]);
        let further = allocate(&n, &squares, 3 << 50, 0).unwrap();
        assert_eq!(further.iter().sum::<u64>(), 3 << 50);
        assert_eq!(further[2], 0);
        assert!(further[0].abs_diff(2 * further[1]) < further[0] / 1_000_000, "{further:?}");
    }
}
