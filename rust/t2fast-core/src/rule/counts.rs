//! What a rule makes of questions of which counts are known: c of n samples were right.
//!
//! Of k samples drawn from the n without replacement, j are right with hypergeometric probability, and what the rule makes of
//! k samples in random order of which j are right, W(j, k), does not depend on p. The mean of W over j is therefore
//! unbiased for the rule's value at p, as the estimator of pass@k is, which it becomes for a test that does not err.
//!
//! Where the rule itself depends on p (false positives that rise with it, tails of wrong answers at several rates), p is
//! taken to be (c + 1/2) / (n + 1); for such a rule the mean is not unbiased.

use rayon::prelude::*;

use super::best::{END, STEP, upper_tail};
use super::verifier::{Fallback, Verifier};
use super::vote;
use super::{Priced, Rule};
use crate::error::{Error, Result};
use crate::quadrature::legendre;

/// What is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The value of the answer.
    Value,
    /// The samples drawn until one is accepted, k at most.
    Drawn,
}

impl Priced {
    /// For each question, c of whose n samples were right, the mean over all choices of k of them; k = 0 is silence.
    ///
    /// # Errors
    /// [`Error::Array`] for columns of different lengths, and unless c <= n and k <= n.
    pub fn of_counts(&self, what: Counted, n: &[u64], c: &[u64], k: &[u64]) -> Result<Vec<f64>> {
        if n.len() != c.len() || n.len() != k.len() {
            let (n, c, k) = (n.len(), c.len(), k.len());
            return Err(Error::Array(format!("n, c and k have lengths {n}, {c} and {k}: they must be equal")));
        }
        for (i, ((&n, &c), &k)) in n.iter().zip(c).zip(k).enumerate() {
            if c > n || k > n {
                return Err(Error::Array(format!("question {i}: c = {c} and k = {k} must be at most n = {n}")));
            }
        }
        if what == Counted::Drawn && !self.can_stop() {
            #[allow(clippy::cast_precision_loss)]
            return Ok(k.iter().map(|&k| k as f64).collect());
        }
        // Questions with as many samples share what those are worth.
        let mut order: Vec<usize> = (0..n.len()).collect();
        order.sort_unstable_by_key(|&i| k[i]);
        let groups: Vec<&[usize]> = order.chunk_by(|&i, &j| k[i] == k[j]).collect();
        let found: Vec<Vec<f64>> = groups
            .par_iter()
            .map(|group| {
                let mut worth = Worth::new(self, what, k[group[0]]);
                group.iter().map(|&i| worth.mean(n[i], c[i])).collect()
            })
            .collect();
        let mut out = vec![0.0; n.len()];
        for (group, values) in groups.iter().zip(found) {
            for (&i, value) in group.iter().zip(values) {
                out[i] = value;
            }
        }
        Ok(out)
    }
}

/// W(j, k) at one k, each found when first asked for.
struct Worth<'a> {
    rule: &'a Priced,
    what: Counted,
    k: u64,
    /// By tail, where there are several, and j; NaN where not yet known.
    known: Vec<Vec<f64>>,
    nodes: Vec<(f64, f64)>,
}

/// Nodes of integrals over [0, 1] of what falls at most as e^-45.
const NODES: usize = 32;
const FALL: f64 = 45.0;
/// Hypergeometric chances below this share of the largest are left out.
const NOTHING: f64 = 1e-19;

// Counts are far below 2^53.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl<'a> Worth<'a> {
    fn new(rule: &'a Priced, what: Counted, k: u64) -> Self {
        let tails = if let Rule::Majority { tails, .. } = &rule.rule { tails.len() } else { 1 };
        let known = vec![vec![f64::NAN; k as usize + 1]; tails];
        let nodes = if matches!(rule.rule, Rule::Verifier(_)) { legendre(NODES) } else { Vec::new() };
        Self { rule, what, k, known, nodes }
    }

    /// The mean over the right ones among k of n samples, c of which are right.
    fn mean(&mut self, n: u64, c: u64) -> f64 {
        let k = self.k;
        if k == 0 {
            return 0.0;
        }
        let (least, most) = (k.saturating_sub(n - c), k.min(c));
        let (nf, cf, kf) = (n as f64, c as f64, k as f64);
        let up = |j: u64| (c - j) as f64 * (k - j) as f64 / ((j + 1) as f64 * ((n - c) as f64 - (k - j) as f64 + 1.0));
        let mode = ((((kf + 1.0) * (cf + 1.0)) / (nf + 2.0)).floor() as u64).clamp(least, most);
        let p = (cf + 0.5) / (nf + 1.0);
        let (mut sum, mut total) = (0.0, 0.0);
        let mut add = |worth: &mut Self, j: u64, chance: f64| {
            total += chance;
            sum += chance * worth.at(p, j);
        };
        add(self, mode, 1.0);
        let mut chance = 1.0;
        for j in mode..most {
            chance *= up(j);
            if chance < NOTHING {
                break;
            }
            add(self, j + 1, chance);
        }
        chance = 1.0;
        for j in (least..mode).rev() {
            chance /= up(j);
            if chance < NOTHING {
                break;
            }
            add(self, j, chance);
        }
        sum / total
    }

    /// W(j, k) for a question of success rate p.
    fn at(&mut self, p: f64, j: u64) -> f64 {
        let rule = self.rule;
        match &rule.rule {
            Rule::Verifier(verifier) if verifier.rises() => {
                self.verified(verifier, verifier.false_positives(p, 1.0 - p).0, j)
            }
            Rule::Verifier(verifier) => self.kept(0, j, |worth| worth.verified(verifier, verifier.false_positive, j)),
            Rule::BestOf { d_prime } => rule.priced(self.kept(0, j, |worth| best(*d_prime, j, worth.k - j))),
            Rule::Majority { tails, rates } => rule.priced(
                tails
                    .iter()
                    .enumerate()
                    .map(|(place, tail)| {
                        let share = vote::share(rates, place, p);
                        if share == 0.0 {
                            0.0
                        } else {
                            share * self.kept(place, j, |worth| vote::won(tail, j, worth.k - j))
                        }
                    })
                    .sum(),
            ),
        }
    }

    fn kept(&mut self, place: usize, j: u64, find: impl FnOnce(&Self) -> f64) -> f64 {
        let known = self.known[place][j as usize];
        if !known.is_nan() {
            return known;
        }
        let value = find(self);
        self.known[place][j as usize] = value;
        value
    }

    /// With f the share of wrong answers accepted. Of A right and B wrong ones accepted the first is right with probability
    /// `A / (A + B)`, the integral of `A s^(A + B - 1)` over [0, 1], and comes at `(k + 1) / (A + B + 1)` on average.
    fn verified(&self, verifier: &Verifier, f: f64, j: u64) -> f64 {
        let (right, wrong, k) = (j as f64, (self.k - j) as f64, self.k as f64);
        let r = verifier.recall;
        let none = (1.0 - r).powf(right) * (1.0 - f).powf(wrong);
        let integral = |right: f64, wrong: f64| {
            let end = (FALL / (right * r + wrong * f)).min(1.0);
            let at = |&(x, w): &(f64, f64)| {
                let u = end * x;
                w * (right * (-r * u).ln_1p() + wrong * (-f * u).ln_1p()).exp()
            };
            end * self.nodes.iter().map(at).sum::<f64>()
        };
        if self.what == Counted::Drawn {
            return (k + 1.0) * integral(right, wrong) - none;
        }
        let accepted = if j == 0 { 0.0 } else { right * r * integral(right - 1.0, wrong) };
        let fallback = match verifier.fallback {
            Fallback::Rejected => (right - self.rule.wrong_cost * wrong) / k,
            Fallback::Abstain => 0.0,
        };
        accepted - self.rule.wrong_cost * (1.0 - none - accepted) + none * fallback
    }
}

/// The chance that the best score of so many right answers exceeds that of so many wrong ones.
#[allow(clippy::cast_precision_loss)]
fn best(d_prime: f64, right: u64, wrong: u64) -> f64 {
    if right == 0 || wrong == 0 {
        return if right == 0 { 0.0 } else { 1.0 };
    }
    let ln_below = |x: f64| if x < 0.0 { upper_tail(-x).ln() } else { (-upper_tail(x)).ln_1p() };
    let (j, others) = (right as f64, wrong as f64);
    let (mut sum, mut x) = (0.0, -END);
    while x < END + d_prime {
        let at = x - d_prime;
        let ln = -0.5 * at * at + (j - 1.0) * ln_below(at) + others * ln_below(x);
        sum += ln.exp();
        x += STEP;
    }
    (sum * STEP * j / (2.0 * std::f64::consts::PI).sqrt()).min(1.0)
}
