//! maj@k of many problems with few samples each: all that a vote needs of one problem is looked up in Pascal's triangle.
//!
//! As in [`majority_exact`], with numbers of choices in place of chances: x of the right answer's c samples and k - x of the
//! wrong ones, `C(c, x) [z^(k - x)]` of the product over wrong answers of `sum over i < x of C(m, i) z^i + s C(m, x) z^x`. Most
//! of these products have a shorter form. With k - x < x no wrong answer can win. With k - x < 2 x only one can, and what it
//! takes away is a sum; where that leaves little, so that digits would be lost, it is not used. With x = 1 all wrong votes
//! are ties. What remains is multiplied out, answer by answer, only as far as the coefficient of z^(k - x) needs, for four
//! values of s at once.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::vote::{Ties, majority_exact};
use crate::quadrature::legendre;
use crate::simd;

/// Samples of a problem up to which the triangle is used: its numbers stay below 1e153.
const MOST: u64 = 512;
/// Values of s worked on at once.
const LANES: usize = 4;
/// What the one answer that can win may take away of all, so that three digits are lost at most.
const MOST_TAKEN: f64 = 0.99;

type Lanes = [f64; LANES];

/// A vote of k among the samples of many problems.
#[derive(Debug, Clone)]
pub struct Ballots {
    k: usize,
    ties: Ties,
    /// C(m, i) for i up to k, row by row.
    triangle: Vec<f64>,
    rows: usize,
    /// Values of s and their weights, by how many are needed.
    nodes: Vec<Vec<(Lanes, Lanes)>>,
    others: Vec<usize>,
    state: Vec<Lanes>,
}

#[allow(clippy::cast_possible_truncation)]
impl Ballots {
    /// For problems of at most `most_samples` samples; those with more than 512 are worked out one by one.
    #[must_use]
    pub fn new(most_samples: u64, k: usize, ties: Ties) -> Self {
        let (rows, width) = (most_samples.min(MOST) as usize + 1, k.min(MOST as usize) + 1);
        let mut triangle = vec![0.0; rows * width];
        for m in 0..rows {
            triangle[m * width] = 1.0;
            for i in 1..width.min(m + 1) {
                triangle[m * width + i] = triangle[(m - 1) * width + i - 1] + triangle[(m - 1) * width + i];
            }
        }
        let nodes = match ties {
            Ties::Random => (0..=width / 4 + 1).map(|count| lanes(&legendre(count))).collect(),
            Ties::Fail => vec![lanes(&[(0.0, 1.0)])],
            Ties::Win => vec![lanes(&[(1.0, 1.0)])],
        };
        Self { k, ties, triangle, rows, nodes, others: Vec::new(), state: vec![[0.0; LANES]; width] }
    }

    /// maj@k of one problem, as [`majority_exact`] gives it.
    pub fn majority(&mut self, votes: &[u64], correct: Option<usize>) -> f64 {
        let n: u64 = votes.iter().sum();
        if n >= self.rows as u64 {
            return majority_exact(votes, correct, self.k, self.ties);
        }
        let (n, k) = (n as usize, self.k);
        if k > n {
            return f64::NAN;
        }
        let Some(correct) = correct else { return 0.0 };
        let right = votes[correct] as usize;
        if right == n || k == 0 {
            return 1.0;
        }
        self.others.clear();
        self.others.extend(votes.iter().enumerate().filter(|&(j, &m)| j != correct && m > 0).map(|(_, &m)| m as usize));
        self.others.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0.0;
        let (mut large, mut taken) = (self.others.len(), n - right);
        for x in 1..=right.min(k) {
            // Answers with fewer than x samples are never cut off: together they are one.
            while large > 0 && self.others[large - 1] < x {
                large -= 1;
                taken -= self.others[large];
            }
            let rest = k - x;
            if rest <= n - right {
                sum += self.choose(right, x) * self.beaten(x, rest, n - right, large, n - right - taken);
            }
        }
        sum / self.choose(n, k)
    }

    fn choose(&self, m: usize, i: usize) -> f64 {
        self.triangle[m * self.state.len() + i]
    }

    /// Choices of `rest` out of `wrong` samples in which no answer beats x votes, ties weighed. The first `large` answers have x
    /// samples or more, all others together `small`.
    fn beaten(&mut self, x: usize, rest: usize, wrong: usize, large: usize, small: usize) -> f64 {
        if rest < x || large == 0 {
            return self.choose(wrong, rest);
        }
        if small + large * x < rest {
            return 0.0;
        }
        if x == 1 {
            return self.apart(large, rest) * self.ties.share(rest);
        }
        let tie = self.ties.share(1);
        if large == 1 {
            let (width, m) = (self.state.len(), self.others[0]);
            let (own, other) = (&self.triangle[m * width..], &self.triangle[small * width..=small * width + rest]);
            let sum: f64 = (0..x).map(|i| own[i] * other[rest - i]).sum();
            return sum + tie * own[x] * other[rest - x];
        }
        if rest < 2 * x {
            let (all, mut lost) = (self.choose(wrong, rest), 0.0);
            for &m in &self.others[..large] {
                lost += (1.0 - tie) * self.choose(m, x) * self.choose(wrong - m, rest - x);
                for i in x + 1..=m.min(rest) {
                    lost += self.choose(m, i) * self.choose(wrong - m, rest - i);
                }
            }
            if lost < MOST_TAKEN * all {
                return all - lost;
            }
        }
        let count = match self.ties {
            Ties::Random => large.min(rest / x) / 2 + 1,
            Ties::Fail | Ties::Win => 0,
        };
        let width = self.state.len();
        let first = &self.triangle[small * width..(small + 1) * width];
        let work = Work { triangle: &self.triangle, width, x, rest, answers: &self.others[..large] };
        let mut sum = 0.0;
        for (s, weights) in &self.nodes[count] {
            for (state, &ways) in self.state.iter_mut().zip(first) {
                *state = [ways; LANES];
            }
            let ways = product(&work, small.min(rest), s, &mut self.state);
            sum += ways.iter().zip(weights).map(|(ways, weight)| ways * weight).sum::<f64>();
        }
        sum
    }

    /// Choices of `rest` samples of as many different answers.
    #[allow(clippy::cast_precision_loss)]
    fn apart(&mut self, large: usize, rest: usize) -> f64 {
        let state = &mut self.state[..=rest];
        state.fill([0.0; LANES]);
        state[0][0] = 1.0;
        for (done, &m) in self.others[..large].iter().enumerate() {
            let least = (rest + done + 1).saturating_sub(large).max(1);
            for i in (least..=rest.min(done + 1)).rev() {
                state[i][0] += m as f64 * state[i - 1][0];
            }
        }
        state[rest][0]
    }
}

/// Values of s with their weights, in blocks; weights of none fill the last.
fn lanes(nodes: &[(f64, f64)]) -> Vec<(Lanes, Lanes)> {
    let block = |part: &[(f64, f64)]| {
        let (mut s, mut weights) = ([0.0; LANES], [0.0; LANES]);
        for (i, &(value, weight)) in part.iter().enumerate() {
            (s[i], weights[i]) = (value, weight);
        }
        (s, weights)
    };
    nodes.chunks(LANES).map(block).collect()
}

/// What is multiplied.
struct Work<'a> {
    triangle: &'a [f64],
    width: usize,
    x: usize,
    rest: usize,
    answers: &'a [usize],
}

/// The coefficient of z^rest of a polynomial of degree `reach` in `state` times that of each answer, for each s.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn product(work: &Work<'_>, reach: usize, s: &Lanes, state: &mut [Lanes]) -> Lanes {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let (x, rest, mut reach) = (work.x, work.rest, reach);
    // What the answers still to come can add: lower powers are of no use.
    let mut to_come = work.answers.len() * x;
    for &m in work.answers {
        to_come -= x;
        let row = &work.triangle[m * work.width..(m + 1) * work.width];
        let next = (reach + x).min(rest);
        for i in (rest.saturating_sub(to_come)..=next).rev() {
            let mut sum = [0.0; LANES];
            // From z^(i - j) with j < x votes.
            for j in i.saturating_sub(reach)..x.min(i + 1) {
                for lane in 0..LANES {
                    sum[lane] = simd::mul_add::<FMA>(row[j], state[i - j][lane], sum[lane]);
                }
            }
            if i >= x && i - x <= reach {
                for lane in 0..LANES {
                    sum[lane] = simd::mul_add::<FMA>(s[lane] * row[x], state[i - x][lane], sum[lane]);
                }
            }
            state[i] = sum;
        }
        reach = next;
    }
    state[rest]
}

#[cfg(test)]
mod tests {
    use super::Ballots;
    use crate::passk::vote::{Ties, majority_exact};
    use crate::random::Philox;

    #[test]
    fn ballots_and_single_problems_agree() {
        let mut random = Philox::new(5, 0);
        let mut worst = 0.0_f64;
        for ties in [Ties::Random, Ties::Fail, Ties::Win] {
            for k in [1, 2, 3, 5, 8, 16, 40, 130] {
                let mut ballots = Ballots::new(300, k, ties);
                for _ in 0..150 {
                    let answers = 1 + random.below(20);
                    let most = [3, 12, 60, 200][usize::try_from(random.below(4)).unwrap()];
                    let mut votes: Vec<u64> = (0..answers).map(|_| random.below(most)).collect();
                    votes[0] += u64::from(votes.iter().sum::<u64>() == 0);
                    let correct = usize::try_from(random.below(answers)).unwrap();
                    let right = (random.below(9) > 0).then_some(correct);
                    let (one, other) = (ballots.majority(&votes, right), majority_exact(&votes, right, k, ties));
                    if other.is_nan() {
                        assert!(one.is_nan());
                        continue;
                    }
                    worst = worst.max((one - other).abs() / other.max(1e-300));
                    assert!((one - other).abs() <= 1e-12 * other, "{votes:?} {right:?} {k} {ties:?}: {one} {other}");
                }
            }
        }
        assert!(worst < 1e-12);
    }
}
