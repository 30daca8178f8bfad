//! Integrals over success rates p that are Beta(a, b) distributed, as trapezoid sums over the logit u of p.
//!
//! With `dp = p (1 - p) du` an integral of `g(p)` is one of `p^a (1 - p)^b g / B(a, b)` over u. For a function that vanishes
//! at both ends like a power of p and of 1 - p, and that is analytic in a strip of half-width w about the real line, the
//! error of a step h is exp(-2 pi w / h) (Trefethen and Weideman 2014, "The exponentially convergent trapezoidal rule").
//! Values of rules depend on k p, hence on exp(-k e^u), whose strip has w = pi / 2; with the powers of p the error is
//! `|Gamma(a + 1 + 2 pi i / h)| / Gamma(a + 1)`: a step of 0.3 leaves 5e-10 at a = 4, less below.
//!
//! `1 / B(a, b)` is not computed: the same sum of `p (1 - p)` is known to be `a b / ((a + b)(a + b + 1))`.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::simd;

/// The widest step between nodes.
pub(crate) const STEP: f64 = 0.3;

/// The step, in standard deviations of u, that keeps a narrow distribution exact: exp(-2 (pi / 0.6)^2) is 1e-24.
const PER_DEVIATION: f64 = 0.6;

/// Weights below e^-NOTHING of the largest are left out.
pub(crate) const NOTHING: f64 = 28.0;

/// Standard deviation of u below which all questions are as good as equal.
const POINT: f64 = 1e-7;

/// Success rates by their logits, with what a Beta distribution's weights are made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logits {
    /// Distance between two, and the first of them.
    pub(crate) step: f64,
    pub(crate) start: f64,
    /// p and 1 - p.
    pub(crate) p: Vec<f64>,
    pub(crate) q: Vec<f64>,
    /// Their logarithms, less those at `origin` for nodes around one.
    ln_p: Vec<f64>,
    ln_q: Vec<f64>,
    local: bool,
}

/// How the success rates of a Beta distribution are to be summed over.
pub(crate) enum Spread {
    /// All of them are its mean.
    Point,
    /// Over nodes of its own.
    Narrow(Logits),
    /// Over given nodes.
    Wide,
}

impl Logits {
    /// Nodes that cover what may matter for any distribution and as many samples. `rate`: the power of p with which the
    /// integrand vanishes.
    pub(crate) fn everywhere(step: f64, rate: f64, ln_most_k: f64) -> Self {
        let lo = -(NOTHING + ln_most_k) / rate;
        let mut logits: Vec<f64> = Vec::new();
        let mut u = lo;
        while u < NOTHING {
            logits.push(u);
            u += step;
        }
        let (mut p, mut q, mut ln_p, mut ln_q) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &u in &logits {
            p.push(1.0 / (1.0 + (-u).exp()));
            q.push(1.0 / (1.0 + u.exp()));
            ln_p.push(if u < 0.0 { u - u.exp().ln_1p() } else { -(-u).exp().ln_1p() });
            ln_q.push(if u < 0.0 { -u.exp().ln_1p() } else { -u - (-u).exp().ln_1p() });
        }
        Self { step, start: lo, p, q, ln_p, ln_q, local: false }
    }

    /// A single success rate.
    pub(crate) fn single(p: f64, q: f64) -> Self {
        let one = |x: f64| vec![x];
        Self { step: STEP, start: 0.0, p: one(p), q: one(q), ln_p: one(0.0), ln_q: one(0.0), local: true }
    }

    /// Nodes around the mode of Beta(a + 1, b + 1), both large.
    fn around(a: f64, b: f64, deviation: f64) -> Self {
        let (p0, q0) = (a / (a + b), b / (a + b));
        let step = PER_DEVIATION * deviation;
        let (left, right) = (9.0 * deviation + 36.0 / a, 9.0 * deviation + 36.0 / b);
        let start = -(left / step).ceil() * step;
        let mut nodes = Self {
            step,
            start: (a / b).ln() + start,
            p: Vec::new(),
            q: Vec::new(),
            ln_p: Vec::new(),
            ln_q: Vec::new(),
            local: true,
        };
        let mut d = start;
        while d < right {
            // Relative to the mode, so that large a and b don't amplify rounding.
            let (ln_p, ln_q) = (-(q0 * (-d).exp_m1()).ln_1p(), -(p0 * d.exp_m1()).ln_1p());
            nodes.ln_p.push(ln_p);
            nodes.ln_q.push(ln_q);
            nodes.p.push(p0 * ln_p.exp());
            nodes.q.push(q0 * ln_q.exp());
            d += step;
        }
        nodes
    }

    /// Every other of them.
    pub(crate) fn every_other(&self) -> Self {
        let half = |column: &[f64]| column.iter().copied().step_by(2).collect();
        Self {
            step: 2.0 * self.step,
            start: self.start,
            p: half(&self.p),
            q: half(&self.q),
            ln_p: half(&self.ln_p),
            ln_q: half(&self.ln_q),
            local: self.local,
        }
    }

    /// How to sum over Beta(a, b): over these nodes, if they are near enough to each other.
    pub(crate) fn spread(&self, a: f64, b: f64) -> Spread {
        let deviation = (1.0 / a + 1.0 / b).sqrt();
        if deviation < POINT {
            Spread::Point
        } else if self.resolve(deviation) {
            Spread::Wide
        } else {
            Spread::Narrow(Self::around(a, b, deviation))
        }
    }

    /// Whether these nodes are near enough to each other for logits with a standard deviation.
    pub(crate) fn resolve(&self, deviation: f64) -> bool {
        PER_DEVIATION * deviation >= self.step * (1.0 - 1e-9)
    }

    /// The nodes (first, end) that matter for Beta(a, b) and k samples, the integrand vanishing as p^rate; `None` where all of
    /// the distribution lies below them.
    pub(crate) fn window(&self, a: f64, b: f64, k: f64, rate: f64) -> Option<(usize, usize)> {
        if self.local {
            return Some((0, self.p.len()));
        }
        // p^a (1 - p)^b is at most (1 - p)^b = exp(-b ln(1 + e^u)), and this much at its largest.
        let largest = a * (b / a).ln_1p() + b * (a / b).ln_1p();
        let enough = (45.0 + largest) / b;
        let hi = if enough < NOTHING { enough.exp_m1().ln() } else { NOTHING };
        let lo = (-(NOTHING + k.ln()) / rate).min(hi - NOTHING / rate);
        let place = |u: f64| ((u - self.start) / self.step).clamp(0.0, self.p.len() as f64);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let (first, end) = (place(lo).floor() as usize, place(hi).ceil() as usize);
        // Fewer nodes than this would not resolve the distribution's end.
        (hi > self.start + 20.0 / rate).then_some((first.min(end), end))
    }

    /// Weights of the nodes `first..end` for Beta(a, b), times an unknown factor; and the factor that makes
    /// their sums integrals.
    pub(crate) fn weigh(&self, a: f64, b: f64, (first, end): (usize, usize), out: &mut Vec<f64>) -> f64 {
        let shift = if self.local {
            0.0
        } else {
            let (p, q) = ((a + 1.0) / (a + b + 2.0), (b + 1.0) / (a + b + 2.0));
            (a + 1.0) * p.ln() + (b + 1.0) * q.ln()
        };
        out.clear();
        let range = first..end;
        out.resize(range.len(), 0.0);
        let sum = weights(
            [a, b, shift],
            [&self.ln_p[range.clone()], &self.ln_q[range.clone()], &self.p[range.clone()], &self.q[range]],
            out,
        );
        let total = a + b;
        // a b / ((a + b)(a + b + 1)), which must not overflow.
        (a / total) * (b / (total + 1.0)) / sum
    }
}

/// Sums of eight lanes, added in a fixed order.
#[inline(always)]
pub(crate) fn added(lanes: [f64; 8]) -> f64 {
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn weights(abs: [f64; 3], nodes: [&[f64]; 4], out: &mut [f64]) -> f64 {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let [a, b, shift] = abs;
    let [ln_p, ln_q, p, q] = nodes;
    for ((out, ln_p), ln_q) in out.iter_mut().zip(ln_p).zip(ln_q) {
        *out = simd::exp::<FMA>(a * ln_p + b * ln_q - shift);
    }
    let mut lanes = [0.0; 8];
    let blocks = out.len() / 8;
    for ((w, p), q) in out.chunks_exact(8).zip(p.chunks_exact(8)).zip(q.chunks_exact(8)) {
        for lane in 0..8 {
            lanes[lane] += w[lane] * (p[lane] * q[lane]);
        }
    }
    for i in 8 * blocks..out.len() {
        lanes[i % 8] += out[i] * (p[i] * q[i]);
    }
    added(lanes)
}
