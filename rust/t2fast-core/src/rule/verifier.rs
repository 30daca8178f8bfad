//! A test that errs: the first sample that it accepts is the answer.
//!
//! With recall r, false positives f and `alpha = p r + (1 - p) f`, of k samples one is accepted with probability
//! `E = 1 - (1 - alpha)^k`; it is right with probability p r / alpha. Where none is accepted a rejected sample is answered,
//! right with probability p (1 - r) / (1 - alpha), or nothing is. So the value of a question is `H + (G - H) E`, G being
//! that of an accepted answer and H that of none (Stroebl et al. 2024, arXiv 2411.17501).

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::logit::{Logits, STEP, Spread, added};
use super::search::Shape;
use crate::error::{Error, Result};
use crate::law::beta_pass_at_k;
use crate::simd;

/// What becomes of a question when no sample is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// A rejected sample is answered.
    Rejected,
    /// Nothing is answered.
    Abstain,
}

/// A test that errs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verifier {
    /// f: the share of wrong answers accepted, at p = 1/2 where it has a slope.
    pub false_positive: f64,
    /// r: the share of right answers accepted.
    pub recall: f64,
    /// What becomes of a question none of whose samples is accepted.
    pub fallback: Fallback,
    /// The power of the odds of a right answer with which the odds of a false positive rise.
    pub slope: f64,
}

/// Slopes other than zero lie between these: a smaller one would ask for nodes at vanishing p.
const SLOPES: (f64, f64) = (0.1, 10.0);

impl Verifier {
    /// The test that does not err: pass@k.
    pub const PERFECT: Self = Self { false_positive: 0.0, recall: 1.0, fallback: Fallback::Abstain, slope: 0.0 };

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`] for rates outside [0, 1], a recall of 0, and slopes that are neither 0 nor between 0.1 and 10.
    pub fn checked(self) -> Result<Self> {
        let wrong = |name, value, must| Err(Error::Value { name, value, must });
        if !(0.0..=1.0).contains(&self.false_positive) {
            return wrong("false_positive", self.false_positive, "must be between 0 and 1");
        }
        if !(self.recall > 0.0 && self.recall <= 1.0) {
            return wrong("recall", self.recall, "must be above 0 and at most 1");
        }
        if self.slope != 0.0 && !(SLOPES.0..=SLOPES.1).contains(&self.slope) {
            return wrong("slope", self.slope, "must be 0, or between 0.1 and 10");
        }
        Ok(self)
    }

    /// Whether f rises with p.
    pub(super) fn rises(&self) -> bool {
        self.slope > 0.0 && self.false_positive > 0.0 && self.false_positive < 1.0
    }

    /// Whether an accepted answer is right no more often than any sample, so that k changes nothing.
    pub(super) fn indifferent(&self) -> bool {
        let alike = !self.rises() && self.false_positive >= self.recall && self.false_positive <= self.recall;
        alike && (self.fallback == Fallback::Rejected || self.recall >= 1.0)
    }

    /// (f, 1 - f) at the odds of p given as (p, 1 - p).
    pub(super) fn false_positives(&self, p: f64, q: f64) -> (f64, f64) {
        let f = self.false_positive;
        if !self.rises() {
            return (f, 1.0 - f);
        }
        let odds = f / (1.0 - f) * ((p.ln() - q.ln()) * self.slope).clamp(-700.0, 700.0).exp();
        (odds / (1.0 + odds), 1.0 / (1.0 + odds))
    }

    /// The power of p with which what is integrated vanishes.
    fn rate(&self) -> f64 {
        if self.rises() { self.slope.min(1.0) } else { 1.0 }
    }

    /// Whether a wrong answer costs nothing under this rule, since none is ever given.
    fn never_wrong(&self) -> bool {
        self.false_positive == 0.0 && self.fallback == Fallback::Abstain
    }

    /// How the value moves with k, a wrong answer costing `c`.
    ///
    /// Its derivative is the integral of `D(p) lambda e^(-k lambda)`, `lambda = -ln(1 - alpha)` and D = G - H. The kernel
    /// is totally positive, so that the derivative changes sign in k no more often than D does in lambda (Karlin 1968).
    /// With a rejected sample for an answer, `D = (1 + c) p (1 - p)(r - f) / (alpha (1 - alpha))`: positive throughout
    /// where f < r; where f grows beyond r with p, alpha does too, and the value falls with k first, if ever. With
    /// silence, `D = (p r - c (1 - p) f) / alpha` is negative for small p only, unless f rises faster than the odds of p,
    /// and alpha is smaller there: the value has one peak.
    pub(super) fn shape(&self, c: f64) -> Shape {
        let Self { false_positive: f, recall: r, .. } = *self;
        match self.fallback {
            Fallback::Rejected if self.rises() => Shape::Ends,
            Fallback::Rejected if f <= r => Shape::Rising,
            Fallback::Rejected => Shape::Falling,
            Fallback::Abstain if c == 0.0 || f == 0.0 => Shape::Rising,
            Fallback::Abstain if self.rises() => {
                // At p with f = r; there an accepted answer must be worth something.
                let (lo, hi) = (f / (1.0 - f), r / (1.0 - r));
                let odds = (hi / lo).powf(1.0 / self.slope);
                if self.slope <= 1.0 && (odds.is_infinite() || odds > c) { Shape::Peak } else { Shape::Unknown }
            }
            Fallback::Abstain if f < r => Shape::Peak,
            Fallback::Abstain => Shape::Unknown,
        }
    }
}

/// Something that is `H + (G - H) E` at each node.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    /// H and G - H at the nodes.
    none: Vec<f64>,
    gain: Vec<f64>,
    /// The same at p = 0 and at p = 1; a `gain` that is infinite at p = 0 stands for k itself.
    ends: [(f64, f64); 2],
}

/// A verifier at nodes of p.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    verifier: Verifier,
    wrong_cost: f64,
    logits: Logits,
    /// alpha.
    accepted: Vec<f64>,
    /// ln(1 - alpha).
    ln_rest: Vec<f64>,
    value: Curve,
    /// The number of samples drawn until one is accepted.
    drawn: Curve,
}

/// What is integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The value of an answer.
    Value,
    /// The samples drawn until one is accepted, k at most.
    Drawn,
}

/// The largest number of samples told apart from infinitely many, as a logarithm: what 10^40 operations pay for.
const LN_MOST_K: f64 = 93.0;

impl Nodes {
    pub(super) fn new(verifier: &Verifier, wrong_cost: f64) -> Self {
        let step = STEP / if verifier.rises() { verifier.slope.max(1.0) } else { 1.0 };
        Self::at(verifier, wrong_cost, Logits::everywhere(step, verifier.rate(), LN_MOST_K))
    }

    fn at(verifier: &Verifier, c: f64, logits: Logits) -> Self {
        let count = logits.p.len();
        let empty = |ends| Curve { none: Vec::with_capacity(count), gain: Vec::with_capacity(count), ends };
        let Verifier { recall: r, fallback, .. } = *verifier;
        let f0 = if verifier.rises() { 0.0 } else { verifier.false_positive };
        let at_zero = if f0 > 0.0 { -c } else { 0.0 };
        let mut value = empty(match fallback {
            Fallback::Rejected => [(-c, 0.0), (1.0, 0.0)],
            Fallback::Abstain => [(0.0, at_zero), (0.0, 1.0)],
        });
        let mut drawn = empty([(0.0, 1.0 / f0), (0.0, 1.0 / r)]);
        let (mut all_accepted, mut ln_rest) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (&p, &q) in logits.p.iter().zip(&logits.q) {
            let (f, not_f) = verifier.false_positives(p, q);
            let (accepted, rejected) = (p * r + q * f, p * (1.0 - r) + q * not_f);
            let given = (p * r - c * q * f) / accepted;
            let none = if fallback == Fallback::Rejected && rejected > 0.0 {
                (p * (1.0 - r) - c * q * not_f) / rejected
            } else {
                0.0
            };
            value.none.push(none);
            value.gain.push(given - none);
            drawn.none.push(0.0);
            drawn.gain.push(1.0 / accepted);
            let ln = if accepted < 0.5 { (-accepted).ln_1p() } else { rejected.ln() };
            all_accepted.push(accepted);
            // Infinity would make NaN of zero.
            ln_rest.push(ln.max(-700.0));
        }
        Self { verifier: *verifier, wrong_cost: c, logits, accepted: all_accepted, ln_rest, value, drawn }
    }

    fn curve(&self, what: What) -> &Curve {
        match what {
            What::Value => &self.value,
            What::Drawn => &self.drawn,
        }
    }

    /// The curve at an end of p.
    fn end(&self, curve: &Curve, place: usize, k: f64) -> Sum {
        let (none, gain) = curve.ends[place];
        if gain.is_infinite() {
            return Sum { value: k, slope: 1.0, curvature: 0.0 };
        }
        let f0 = if self.verifier.rises() { 0.0 } else { self.verifier.false_positive };
        let ln = (-[f0, self.verifier.recall][place]).ln_1p().max(-700.0);
        let accepted = -(k * ln).exp_m1();
        let slope = -gain * ln * (1.0 - accepted);
        Sum { value: none + gain * accepted, slope, curvature: slope * ln }
    }

    /// The mean over questions. `weights` is room to work in.
    pub(crate) fn mean(&self, what: What, a: f64, b: f64, k: f64, weights: &mut Vec<f64>) -> f64 {
        self.prepared(a, b, k, weights, |view, weights| view.sum(what, k, weights).value)
    }

    /// Weighs the nodes for Beta(a, b) and up to `k` samples, and hands them to what uses them.
    pub(crate) fn prepared<T>(
        &self,
        a: f64,
        b: f64,
        k: f64,
        weights: &mut Vec<f64>,
        then: impl FnOnce(&View<'_>, &[f64]) -> T,
    ) -> T {
        // Beyond these bounds nothing changes to any digit, and products stay finite.
        let (a, b) = (a.clamp(1e-250, 1e250), b.clamp(1e-250, 1e250));
        let mean = (a / (a + b), b / (a + b));
        let own;
        let (nodes, whole) = match self.logits.spread(a, b) {
            Spread::Wide => (self, false),
            Spread::Narrow(logits) => {
                own = Self::at(&self.verifier, self.wrong_cost, logits);
                (&own, false)
            }
            Spread::Point => {
                let at = Logits::single(mean.0, mean.1);
                own = Self::at(&self.verifier, self.wrong_cost, at);
                (&own, true)
            }
        };
        if whole {
            weights.clear();
            weights.push(1.0);
            return then(&View { nodes, range: (0, 1), scale: 1.0, mean }, weights);
        }
        let Some(range) = nodes.logits.window(a, b, k, self.verifier.rate()) else {
            // All questions are so hard that what they bring is linear in p.
            let p = nodes.logits.p[0];
            weights.clear();
            weights.push(1.0);
            return then(&View { nodes, range: (0, 1), scale: mean.0 / p, mean }, weights);
        };
        let scale = nodes.logits.weigh(a, b, range, weights);
        then(&View { nodes, range, scale, mean }, weights)
    }

    /// Whether this is pass@k.
    pub(crate) fn perfect(&self) -> bool {
        let Verifier { false_positive: f, recall: r, .. } = self.verifier;
        f == 0.0 && r == 1.0 && (self.wrong_cost == 0.0 || self.verifier.never_wrong())
    }

    /// The mean value over questions.
    pub(crate) fn value(&self, a: f64, b: f64, k: f64, weights: &mut Vec<f64>) -> f64 {
        if self.perfect() { beta_pass_at_k(a, b, k) } else { self.mean(What::Value, a, b, k, weights) }
    }

    /// The mean value of questions whose success rates have the logits `ability - difficulty`.
    pub(crate) fn of_logits(&self, what: What, ability: f64, difficulties: &[f64], k: f64) -> f64 {
        let Verifier { false_positive: f, recall, fallback, slope } = self.verifier;
        let (ln_odds, slope) = if self.verifier.rises() { ((f / (1.0 - f)).ln(), slope) } else { (0.0, 0.0) };
        let fixed = if self.verifier.rises() { f64::NAN } else { f };
        let rejected = if fallback == Fallback::Rejected { 1.0 } else { 0.0 };
        let parameters = if what == What::Value {
            [fixed, recall, ln_odds, slope, self.wrong_cost, rejected]
        } else {
            [fixed, recall, ln_odds, slope, f64::NAN, 0.0]
        };
        logit_sum(parameters, ability, difficulties, k) / difficulties.len() as f64
    }

    /// The value of a question whose samples are right with probability p.
    pub(crate) fn at_rate(&self, what: What, p: f64, q: f64, k: f64) -> f64 {
        if p <= 0.0 || q <= 0.0 {
            return self.end(self.curve(what), usize::from(q <= 0.0), k).value;
        }
        let nodes = Self::at(&self.verifier, self.wrong_cost, Logits::single(p, q));
        let curve = nodes.curve(what);
        curve.none[0] - curve.gain[0] * (k * nodes.ln_rest[0]).exp_m1()
    }
}

/// Weighed nodes.
pub(crate) struct View<'a> {
    nodes: &'a Nodes,
    range: (usize, usize),
    scale: f64,
    mean: (f64, f64),
}

impl View<'_> {
    /// The mean over questions at k.
    pub(crate) fn sum(&self, what: What, k: f64, weights: &[f64]) -> Sum {
        let (nodes, curve) = (self.nodes, self.nodes.curve(what));
        let [zero, one] = [0, 1].map(|place| nodes.end(curve, place, k));
        let range = self.range.0..self.range.1;
        let columns = [
            &curve.none[range.clone()],
            &curve.gain[range.clone()],
            &nodes.ln_rest[range.clone()],
            &nodes.logits.p[range.clone()],
            &nodes.logits.q[range],
        ];
        self.whole([zero, one], sums(k, [zero, one], columns, weights))
    }

    /// The mean, from the ends of p and what is left beside a straight line between them.
    fn whole(&self, [zero, one]: [Sum; 2], rest: Sum) -> Sum {
        let of = |rest: f64, zero: f64, one: f64| zero * self.mean.1 + one * self.mean.0 + self.scale * rest;
        Sum {
            value: of(rest.value, zero.value, one.value),
            slope: of(rest.slope, zero.slope, one.slope),
            curvature: of(rest.curvature, zero.curvature, one.curvature),
        }
    }
}

impl View<'_> {
    /// The mean value over questions at k = 1, 2, 4, ...
    pub(crate) fn doubled(&self, weights: &[f64], out: &mut [Sum]) {
        let (nodes, curve, range) = (self.nodes, &self.nodes.value, self.range.0..self.range.1);
        let mut accepted = nodes.accepted[range.clone()].to_vec();
        let columns = [
            &curve.none[range.clone()],
            &curve.gain[range.clone()],
            &nodes.ln_rest[range.clone()],
            &nodes.logits.p[range.clone()],
            &nodes.logits.q[range],
        ];
        let mut k = 1.0;
        for out in out.chunks_mut(AT_ONCE) {
            let mut ends = [[Sum::ZERO; 2]; AT_ONCE];
            for ends in ends.iter_mut().take(out.len()) {
                *ends = [0, 1].map(|place| nodes.end(curve, place, k));
                k *= 2.0;
            }
            let rest = doubling_sums(&ends, columns, weights, &mut accepted);
            for ((out, ends), rest) in out.iter_mut().zip(ends).zip(rest) {
                *out = self.whole(ends, rest);
            }
        }
    }
}

/// Doublings of k that share a pass over the nodes.
const AT_ONCE: usize = 4;

/// A number, and its first and second derivative by k.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) value: f64,
    pub(crate) slope: f64,
    pub(crate) curvature: f64,
}

impl Sum {
    const ZERO: Self = Self { value: 0.0, slope: 0.0, curvature: 0.0 };
}

/// Sums over the nodes of what is left beside a straight line in p.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn sums(k: f64, ends: [Sum; 2], columns: [&[f64]; 5], weights: &[f64]) -> Sum {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    const LANES: usize = 8;
    let [zero, one] = ends;
    let [none, gain, ln_rest, p, q] = columns;
    let columns = [none, gain, ln_rest, p, q, weights];
    let blocks = columns.map(|column| column.as_chunks::<LANES>());
    // What does not fill the lanes goes over zeros.
    let mut last = [[0.0; LANES]; 6];
    for (last, (_, rest)) in last.iter_mut().zip(blocks) {
        last[..rest.len()].copy_from_slice(rest);
    }
    let (mut values, mut slopes, mut curvatures) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let count = blocks[5].0.len();
    // Loops and no closures: those would not be compiled for the target.
    for block in 0..=count {
        let mut at = [&last[0], &last[1], &last[2], &last[3], &last[4], &last[5]];
        if block < count {
            for (at, (whole, _)) in at.iter_mut().zip(&blocks) {
                *at = &whole[block];
            }
        }
        let [none, gain, ln_rest, p, q, w] = at;
        for i in 0..LANES {
            let accepted = -simd::exp_m1::<FMA>(k * ln_rest[i]);
            let slope = -gain[i] * ln_rest[i] * (1.0 - accepted);
            values[i] += w[i] * (none[i] + gain[i] * accepted - zero.value * q[i] - one.value * p[i]);
            slopes[i] += w[i] * (slope - zero.slope * q[i] - one.slope * p[i]);
            curvatures[i] += w[i] * (slope * ln_rest[i] - zero.curvature * q[i] - one.curvature * p[i]);
        }
    }
    Sum { value: added(values), slope: added(slopes), curvature: added(curvatures) }
}

/// The same for several k, each twice the last, where the chances that any of the first k samples is accepted are known. They
/// are left at those for the next k. Curvatures are not worked out.
// The last round has no block.
#[allow(clippy::needless_range_loop)]
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn doubling_sums(
    ends: &[[Sum; 2]; AT_ONCE],
    columns: [&[f64]; 5],
    weights: &[f64],
    accepted: &mut [f64],
) -> [Sum; AT_ONCE] {
    const LANES: usize = 8;
    let [none, gain, ln_rest, p, q] = columns;
    let columns = [none, gain, ln_rest, p, q, weights];
    let blocks = columns.map(|column| column.as_chunks::<LANES>());
    // What does not fill the lanes goes over zeros.
    let mut last = [[0.0; LANES]; 6];
    for (last, (_, rest)) in last.iter_mut().zip(blocks) {
        last[..rest.len()].copy_from_slice(rest);
    }
    let (whole, rest) = accepted.as_chunks_mut::<LANES>();
    let mut last_accepted = [0.0; LANES];
    last_accepted[..rest.len()].copy_from_slice(rest);
    let (mut values, mut slopes) = ([[0.0; LANES]; AT_ONCE], [[0.0; LANES]; AT_ONCE]);
    let count = whole.len();
    for block in 0..=count {
        let mut at = [&last[0], &last[1], &last[2], &last[3], &last[4], &last[5]];
        let mut any = last_accepted;
        if block < count {
            for (at, (whole, _)) in at.iter_mut().zip(&blocks) {
                *at = &whole[block];
            }
            any = whole[block];
        }
        let [none, gain, ln_rest, p, q, w] = at;
        for (([zero, one], values), slopes) in ends.iter().zip(&mut values).zip(&mut slopes) {
            for i in 0..LANES {
                let slope = -gain[i] * ln_rest[i] * (1.0 - any[i]);
                values[i] += w[i] * (none[i] + gain[i] * any[i] - zero.value * q[i] - one.value * p[i]);
                slopes[i] += w[i] * (slope - zero.slope * q[i] - one.slope * p[i]);
                any[i] *= 2.0 - any[i];
            }
        }
        if block < count {
            whole[block] = any;
        } else {
            rest.copy_from_slice(&any[..rest.len()]);
        }
    }
    let mut sums = [Sum::ZERO; AT_ONCE];
    for ((sum, values), slopes) in sums.iter_mut().zip(values).zip(slopes) {
        *sum = Sum { value: added(values), slope: added(slopes), curvature: f64::NAN };
    }
    sums
}

/// The sum over questions of the value, or of the samples drawn where the cost is NaN. A NaN for f: it rises with p.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn logit_sum(parameters: [f64; 6], ability: f64, difficulties: &[f64], k: f64) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    const LANES: usize = 8;
    let [fixed, r, ln_odds, slope, c, by_rejected] = parameters;
    let mut sums = [0.0; LANES];
    for block in difficulties.chunks(LANES) {
        let mut u = [0.0; LANES];
        for (u, difficulty) in u.iter_mut().zip(block) {
            *u = ability - difficulty;
        }
        let mut values = [0.0; LANES];
        for (value, &u) in values.iter_mut().zip(&u) {
            // Both tails keep their digits.
            let small = simd::exp::<FMA>(-u.abs());
            let (minor, major) = (small / (1.0 + small), 1.0 / (1.0 + small));
            let (p, q) = if u < 0.0 { (minor, major) } else { (major, minor) };
            let odds = simd::exp::<FMA>(ln_odds + slope * u);
            let (f, not_f) =
                if fixed.is_nan() { (odds / (1.0 + odds), 1.0 / (1.0 + odds)) } else { (fixed, 1.0 - fixed) };
            let (accepted, rejected) = (p * r + q * f, p * (1.0 - r) + q * not_f);
            let near_zero = simd::ln_1p::<FMA>(-if accepted < 0.5 { accepted } else { 0.5 });
            let near_one = simd::ln::<FMA>(if rejected > 1e-300 { rejected } else { 1e-300 });
            let any = -simd::exp_m1::<FMA>(k * if accepted < 0.5 { near_zero } else { near_one });
            let accepted = if accepted > 1e-300 { accepted } else { 1e-300 };
            let rejected = if rejected > 1e-300 { rejected } else { 1e-300 };
            let given = (p * r - c * q * f) / accepted;
            let none = by_rejected * (p * (1.0 - r) - c * q * not_f) / rejected;
            *value = if c.is_nan() { any / accepted } else { none + (given - none) * any };
        }
        for (sum, value) in sums.iter_mut().zip(&values).take(block.len()) {
            *sum += value;
        }
    }
    added(sums)
}
