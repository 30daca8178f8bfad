//! Success rates that are Beta distributed over problems, fitted to counts by maximum likelihood.

use super::histogram::{Histogram, Pair};
use super::rises::Rises;
use crate::error::{Error, Result};
use crate::law::beta_pass_at_k;
use crate::linear;

/// |ln a| and |ln b| stay below this: at the bound the distribution is a set of points to every digit.
const BOUND: f64 = 34.0;
/// Newton steps before giving up; a dozen is usual.
const MOST_STEPS: usize = 200;

/// Problems whose success rates are Beta(a, b) distributed, but for a share `zero` that never succeeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaBinomial {
    /// First parameter of the Beta distribution; 0 where no problem ever succeeds.
    pub a: f64,
    /// Second parameter; 0 where every problem always succeeds.
    pub b: f64,
    /// The share of problems that never succeed, apart from the Beta distribution.
    pub zero: f64,
}

impl BetaBinomial {
    /// pass@k of a new problem of the kind, for real k >= 0: `(1 - zero) (1 - B(a, b + k) / B(a, b))`.
    #[must_use]
    pub fn pass_at_k(&self, k: f64) -> f64 {
        let inside = if self.a == 0.0 {
            0.0
        } else if self.b == 0.0 {
            1.0
        } else {
            beta_pass_at_k(self.a, self.b, k)
        };
        (1.0 - self.zero) * inside
    }
}

/// How the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At a maximum inside the parameters' range.
    Converged,
    /// No sample is correct, or all are: the maximum lies at success rates of 0 or 1.
    Constant,
    /// The counts vary no more between problems than one success rate for all would make them: a, b without bound.
    NoSpread,
    /// Problems succeed always or never: a and b tend to zero.
    AllOrNothing,
    /// The steps ran out.
    Stalled,
}

/// A fitted distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The distribution.
    pub model: BetaBinomial,
    /// The log-likelihood per problem in nats, without the binomial coefficients, which don't depend on the model.
    pub log_likelihood: f64,
    /// Newton steps taken.
    pub steps: usize,
    /// How the search ended.
    pub outcome: Outcome,
}

/// The likelihood of counts as a function of the model, with weights that may change between fits.
#[derive(Debug, Clone)]
pub struct Likelihood {
    pairs: Vec<Pair>,
    weights: Vec<f64>,
    total: f64,
    correct: Rises,
    wrong: Rises,
    drawn: Rises,
    /// Pairs without a correct sample, and the sums that their own likelihood takes.
    zeros: Vec<(usize, Rises)>,
}

type Matrix = [[f64; 3]; 3];

/// The log-likelihood per problem with gradient and Hessian in (ln a, ln b, logit zero).
struct Slope {
    value: f64,
    gradient: [f64; 3],
    hessian: Matrix,
}

impl Likelihood {
    /// The likelihood of a histogram, each problem weighing 1.
    ///
    /// # Errors
    /// [`Error::Array`] when there is no problem.
    #[allow(clippy::cast_precision_loss)]
    pub fn new(histogram: &Histogram) -> Result<Self> {
        let pairs = histogram.pairs().to_vec();
        if pairs.is_empty() {
            return Err(Error::Array("no problems: a likelihood needs at least one".to_owned()));
        }
        let zero = |(i, pair): (usize, &Pair)| (pair.c == 0).then(|| (i, Rises::new(std::iter::once(pair.n))));
        let mut zeros: Vec<(usize, Rises)> = pairs.iter().enumerate().filter_map(zero).collect();
        for (_, rises) in &mut zeros {
            rises.weigh(&[1.0]);
        }
        let mut likelihood = Self {
            correct: Rises::new(pairs.iter().map(|pair| pair.c)),
            wrong: Rises::new(pairs.iter().map(|pair| pair.n - pair.c)),
            drawn: Rises::new(pairs.iter().map(|pair| pair.n)),
            zeros,
            weights: Vec::new(),
            total: 0.0,
            pairs,
        };
        let problems: Vec<f64> = likelihood.pairs.iter().map(|pair| pair.problems as f64).collect();
        likelihood.weigh(&problems);
        Ok(likelihood)
    }

    /// Weighs the distinct pairs anew, in the histogram's order: for a bootstrap, how often each was drawn.
    ///
    /// # Panics
    /// When there is not one weight per pair.
    pub fn weigh(&mut self, weights: &[f64]) {
        assert_eq!(weights.len(), self.pairs.len(), "one weight per pair");
        self.weights = weights.to_vec();
        self.total = weights.iter().sum();
        for rises in [&mut self.correct, &mut self.wrong, &mut self.drawn] {
            rises.weigh(weights);
        }
    }

    /// Fits a and b, and with `zero_inflated` the share of problems that never succeed. `start` is a guess at (a, b).
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn fit(&self, zero_inflated: bool, start: Option<BetaBinomial>) -> Fit {
        let (mut correct, mut drawn, mut split) = (0.0, 0.0, 0.0);
        for (pair, &w) in self.pairs.iter().zip(&self.weights) {
            correct += w * pair.c as f64;
            drawn += w * pair.n as f64;
            if pair.c > 0 && pair.c < pair.n {
                split += w;
            }
        }
        let limit = |a, b, zero, log_likelihood, outcome| Fit {
            model: BetaBinomial { a, b, zero },
            log_likelihood,
            steps: 0,
            outcome,
        };
        if correct == 0.0 {
            return limit(0.0, 1.0, 0.0, 0.0, Outcome::Constant);
        }
        if correct == drawn {
            return limit(1.0, 0.0, 0.0, 0.0, Outcome::Constant);
        }
        if split == 0.0 {
            let solved: f64 =
                self.pairs.iter().zip(&self.weights).filter(|(pair, _)| pair.c > 0).map(|(_, &w)| w).sum();
            let share = solved / self.total;
            let value = share * share.ln() + (1.0 - share) * (-share).ln_1p();
            return limit(1.0, 0.0, 1.0 - share, value, Outcome::AllOrNothing);
        }
        let guess = start.filter(|guess| guess.a > 0.0 && guess.b > 0.0);
        let (a, b) = guess.map_or_else(|| self.moments(correct / drawn), |guess| (guess.a, guess.b));
        let plain = self.ascend([a.ln(), b.ln(), 0.0], false);
        if !zero_inflated || self.zeros.is_empty() {
            return plain;
        }
        // Without any inflation, would some help? d/dzero = sum over zeros of 1/F - 1, less the others.
        let at = [plain.model.a, plain.model.b];
        let mut slope = 0.0;
        let mut rest = self.total;
        for (i, rises) in &self.zeros {
            slope += self.weights[*i] * (-zero_terms(rises, at).0).exp_m1();
            rest -= self.weights[*i];
        }
        if slope - rest <= 0.0 || !slope.is_finite() && plain.outcome != Outcome::Converged {
            return plain;
        }
        let guess = start.map_or(0.0, |guess| guess.zero);
        let zero = if guess > 0.0 && guess < 1.0 { guess } else { 0.5 * (self.total - rest) / self.total };
        let inflated = self.ascend([plain.model.a.ln(), plain.model.b.ln(), (zero / (1.0 - zero)).ln()], true);
        let inflated = Fit { steps: plain.steps + inflated.steps, ..inflated };
        if inflated.log_likelihood > plain.log_likelihood { inflated } else { plain }
    }

    /// A start from mean and variance of c/n.
    #[allow(clippy::cast_precision_loss)]
    fn moments(&self, mean: f64) -> (f64, f64) {
        let (mut squares, mut inverse) = (0.0, 0.0);
        for (pair, &w) in self.pairs.iter().zip(&self.weights) {
            let n = pair.n as f64;
            squares += w * (pair.c as f64 / n - mean).powi(2);
            inverse += w / n;
        }
        let inverse = inverse / self.total;
        // Var(c/n) = mean (1 - mean) [1/n + (1 - 1/n) / (1 + a + b)].
        let spread = squares / self.total / (mean * (1.0 - mean));
        let rho = ((spread - inverse) / (1.0 - inverse).max(1e-3)).clamp(1e-4, 0.95);
        let nu = 1.0 / rho - 1.0;
        (mean * nu, (1.0 - mean) * nu)
    }

    fn slope(&self, theta: [f64; 3], inflated: bool) -> Slope {
        let (a, b) = (theta[0].exp(), theta[1].exp());
        let (ca, wb, ds) = (self.correct.at(a), self.wrong.at(b), self.drawn.at(a + b));
        let mut value = ca[0] + wb[0] - ds[0];
        let mut by = [ca[1] - ds[1], wb[1] - ds[1]];
        let mut second = [ca[2] - ds[2], -ds[2], wb[2] - ds[2]];
        let mut gradient = [0.0; 3];
        let mut hessian = [[0.0; 3]; 3];
        if inflated {
            let zero = 1.0 / (1.0 + (-theta[2]).exp());
            let s = zero * (1.0 - zero);
            let mut rest = self.total;
            for (i, rises) in &self.zeros {
                let w = self.weights[*i];
                if w == 0.0 {
                    continue;
                }
                rest -= w;
                // The failure of all samples is f = exp(l), and its likelihood m = zero + (1 - zero) f.
                let (l, g, h) = zero_terms(rises, [a, b]);
                let f = l.exp();
                let m = zero + (1.0 - zero) * f;
                let t = (1.0 - zero) * f / m;
                value += w * (m.ln() - l);
                for j in 0..2 {
                    by[j] += w * (t - 1.0) * g[j];
                }
                second[0] += w * ((t - 1.0) * h[0] + t * (1.0 - t) * g[0] * g[0]);
                second[1] += w * ((t - 1.0) * h[1] + t * (1.0 - t) * g[0] * g[1]);
                second[2] += w * ((t - 1.0) * h[2] + t * (1.0 - t) * g[1] * g[1]);
                let u = s * -l.exp_m1() / m;
                gradient[2] += w * u;
                hessian[2][2] += w * (u * (1.0 - 2.0 * zero) - u * u);
                for (j, x) in [a, b].into_iter().enumerate() {
                    hessian[2][j] -= w * x * g[j] * (s * f / m + u * t);
                }
            }
            value += rest * (1.0 - zero).ln();
            gradient[2] -= rest * zero;
            hessian[2][2] -= rest * s;
        }
        gradient[0] = a * by[0];
        gradient[1] = b * by[1];
        hessian[0][0] = a * (by[0] + a * second[0]);
        hessian[1][0] = a * b * second[1];
        hessian[1][1] = b * (by[1] + b * second[2]);
        let scale = 1.0 / self.total;
        for number in gradient.iter_mut().chain(hessian.iter_mut().flatten()) {
            *number *= scale;
        }
        Slope { value: value * scale, gradient, hessian }
    }

    /// Newton's method with steps that always rise.
    fn ascend(&self, start: [f64; 3], inflated: bool) -> Fit {
        let size = if inflated { 3 } else { 2 };
        let mut theta = start.map(|x| x.clamp(-BOUND, BOUND));
        let mut here = self.slope(theta, inflated);
        let mut outcome = Outcome::Stalled;
        let mut steps = 0;
        while steps < MOST_STEPS {
            steps += 1;
            let (step, rise) = uphill(&here, size);
            let largest = step.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
            let mut share = (4.0 / largest).min(1.0);
            let last = rise < 1e-16;
            let mut moved = false;
            for _ in 0..40 {
                let mut next = theta;
                for i in 0..size {
                    next[i] = (theta[i] + share * step[i]).clamp(-BOUND, BOUND);
                }
                let there = self.slope(next, inflated);
                // Rounding of the value must not turn away the last, tiny steps.
                if there.value >= here.value - 1e-13 * (1.0 + here.value.abs()) {
                    moved = next != theta;
                    theta = next;
                    here = there;
                    break;
                }
                share *= 0.5;
            }
            if last || !moved {
                outcome = Outcome::Converged;
                break;
            }
        }
        let (a, b) = (theta[0].exp(), theta[1].exp());
        let most = self.pairs.last().map_or(1.0, |pair| {
            #[allow(clippy::cast_precision_loss)]
            let n = pair.n as f64;
            n
        });
        if a + b > 1e7 * most {
            outcome = Outcome::NoSpread;
        } else if a + b < 1e-9 {
            outcome = Outcome::AllOrNothing;
        }
        let zero = if inflated { 1.0 / (1.0 + (-theta[2]).exp()) } else { 0.0 };
        Fit { model: BetaBinomial { a, b, zero }, log_likelihood: here.value, steps, outcome }
    }
}

/// `ln [B(a, b + n) / B(a, b)]` with gradient and Hessian (aa, ab, bb), from the sums of length n.
fn zero_terms(rises: &Rises, [a, b]: [f64; 2]) -> (f64, [f64; 2], [f64; 3]) {
    let (wrong, drawn) = (rises.at(b), rises.at(a + b));
    let minus = -drawn[2];
    (wrong[0] - drawn[0], [-drawn[1], wrong[1] - drawn[1]], [minus, minus, wrong[2] - drawn[2]])
}

/// Newton's step and twice the rise that it promises; where the surface is not concave, a step between Newton's and the
/// gradient's direction.
fn uphill(slope: &Slope, size: usize) -> ([f64; 3], f64) {
    let scale = (0..size).map(|i| slope.hessian[i][i].abs()).fold(1e-300, f64::max);
    let mut damping = 0.0;
    loop {
        if let Some(step) = solve(&slope.hessian, &slope.gradient, damping, size) {
            let rise = step.iter().zip(&slope.gradient).take(size).map(|(s, g)| s * g).sum();
            return (step, rise);
        }
        damping = if damping == 0.0 { 1e-6 * scale } else { 10.0 * damping };
        if !damping.is_finite() {
            return ([0.0; 3], 0.0);
        }
    }
}

/// Solves (damping - H) x = g; `None` unless the matrix is positive definite.
fn solve(hessian: &Matrix, gradient: &[f64; 3], damping: f64, size: usize) -> Option<[f64; 3]> {
    let mut matrix = hessian.map(|row| row.map(|h| -h));
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += damping;
    }
    Some(linear::solve(&linear::cholesky(&matrix, size)?, gradient, size))
}
