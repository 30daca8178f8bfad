//! Rises of ln Γ over whole numbers, summed over counts: what the beta-binomial likelihood is made of.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::simd;
use crate::special::stirling;

/// Terms of the sums below that are written out, so that Stirling's series serves the rest.
const HEAD: usize = 12;
/// The sums `sum_i w_i [ln Γ(x + m_i) - ln Γ(x)]` and their first two derivatives in x, for fixed m and changing w.
#[derive(Debug, Clone)]
pub struct Rises {
    /// For each pair: its m, up to [`HEAD`].
    head_ends: Vec<usize>,
    /// Where the pairs with larger m lie among all, and how much larger it is.
    tail_pairs: Vec<usize>,
    tail: Vec<f64>,
    /// Weights of the pairs with m > i, for i < HEAD.
    head_weights: [f64; HEAD],
    tail_weights: Vec<f64>,
}

impl Rises {
    #[allow(clippy::cast_precision_loss)]
    /// Prepares sums of these lengths, of weight 0.
    pub fn new(lengths: impl Iterator<Item = u64>) -> Self {
        let (mut head_ends, mut tail_pairs, mut tail) = (Vec::new(), Vec::new(), Vec::new());
        for (i, m) in lengths.enumerate() {
            // The minimum is small.
            head_ends.push(usize::try_from(m).unwrap_or(usize::MAX).min(HEAD));
            if m > HEAD as u64 {
                tail_pairs.push(i);
                tail.push((m - HEAD as u64) as f64);
            }
        }
        let tail_weights = vec![0.0; tail.len()];
        Self { head_ends, tail_pairs, tail, head_weights: [0.0; HEAD], tail_weights }
    }

    /// Sets the weights, one for each length.
    pub fn weigh(&mut self, weights: &[f64]) {
        // ends[m]: the weight of pairs whose sum ends after m terms.
        let mut ends = [0.0; HEAD + 1];
        for (&end, &w) in self.head_ends.iter().zip(weights) {
            ends[end] += w;
        }
        let mut more = 0.0;
        for i in (0..HEAD).rev() {
            more += ends[i + 1];
            self.head_weights[i] = more;
        }
        for (&pair, w) in self.tail_pairs.iter().zip(&mut self.tail_weights) {
            *w = weights[pair];
        }
    }

    #[allow(clippy::cast_precision_loss)]
    /// The sum and its first two derivatives at x.
    pub fn at(&self, x: f64) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for (i, &w) in self.head_weights.iter().enumerate() {
            if w == 0.0 {
                break;
            }
            let y = x + i as f64;
            sums[0] += w * y.ln();
            sums[1] += w / y;
            sums[2] -= w / (y * y);
        }
        if !self.tail.is_empty() {
            let more = tail_sums(x + HEAD as f64, &self.tail, &self.tail_weights);
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum += more;
            }
        }
        sums
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn tail_sums(x: f64, rises: &[f64], weights: &[f64]) -> [f64; 3] {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    const WIDTH: usize = 8;
    let (r_x, ln_x) = (1.0 / x, simd::ln::<FMA>(x));
    let start = stirling::<FMA>(r_x);
    let one = |h: f64, w: f64| {
        let y = x + h;
        let r = 1.0 / y;
        let ratio = simd::ln_1p::<FMA>(h * r_x);
        let end = stirling::<FMA>(r);
        [
            w * (simd::mul_add::<FMA>(y - 0.5, ratio, h * (ln_x - 1.0)) + (end[0] - start[0])),
            w * (ratio + (end[1] - start[1])),
            w * ((end[2] - start[2]) - h * r_x * r),
        ]
    };
    let mut sums = [[0.0; WIDTH]; 3];
    let (rises, rises_left) = rises.as_chunks::<WIDTH>();
    let (weights, weights_left) = weights.as_chunks::<WIDTH>();
    for (h, w) in rises.iter().zip(weights) {
        for i in 0..WIDTH {
            let terms = one(h[i], w[i]);
            sums[0][i] += terms[0];
            sums[1][i] += terms[1];
            sums[2][i] += terms[2];
        }
    }
    let mut total = [0.0; 3];
    for (total, sums) in total.iter_mut().zip(&sums) {
        *total = sums.iter().sum();
    }
    for (&h, &w) in rises_left.iter().zip(weights_left) {
        let terms = one(h, w);
        for (total, term) in total.iter_mut().zip(terms) {
            *total += term;
        }
    }
    total
}
