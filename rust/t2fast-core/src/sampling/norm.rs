//! Norms by the root mean square, of rows and of single heads.

use pulp::{Simd, WithSimd};

use super::product::{Lanes, each};
use super::vector::{registers, registers_mut};

/// Weights of a norm, and what is added to mean squares.
pub type Norm = (Vec<f32>, f32);

/// `out = weight x / sqrt(mean(x^2) + eps)` of each row (Zhang and Sennrich 2019).
pub(super) fn normalise<S: Simd>(simd: S, norm: &Norm, x: &Lanes, out: &mut Lanes, parallel: bool) {
    out.like(x, x.features);
    let (part, width) = (x.part(), x.width);
    each(parallel, out.all_mut(), part, |i, out| {
        simd.vectorize(Normalise { norm, x: &x.all()[i * part..(i + 1) * part], width, out });
    });
}

struct Normalise<'a> {
    norm: &'a Norm,
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::cast_precision_loss)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { norm: (weight, eps), x, width, out } = self;
        let (x, out, n) = (registers::<S>(x), registers_mut::<S>(out), width / S::F32_LANES);
        for lanes in 0..n {
            // Several sums: shorter ones round less.
            let mut sums = [simd.splat_f32s(0.0); 8];
            for eight in x[lanes..].chunks(8 * n) {
                for (sum, &x) in sums.iter_mut().zip(eight.iter().step_by(n)) {
                    *sum = simd.mul_add_e_f32s(x, x, *sum);
                }
            }
            let [a, b, c, d, e, f, g, h] = sums;
            let add = |a, b| simd.add_f32s(a, b);
            let sum = add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h)));
            let mean = simd.div_f32s(sum, simd.splat_f32s(weight.len() as f32));
            let root = simd.sqrt_f32s(add(mean, simd.splat_f32s(*eps)));
            let scale = simd.div_f32s(simd.splat_f32s(1.0), root);
            let rows = x[lanes..].iter().step_by(n).zip(out[lanes..].iter_mut().step_by(n));
            for (&weight, (&x, out)) in weight.iter().zip(rows) {
                *out = simd.mul_f32s(simd.splat_f32s(weight), simd.mul_f32s(x, scale));
            }
        }
    }
}

/// One over the root of the mean square of some numbers plus `eps`.
#[inline(always)]
#[allow(clippy::cast_precision_loss)]
pub(super) fn inverse_root<S: Simd>(simd: S, x: &[f32], eps: f32) -> f32 {
    let (body, tail) = S::as_simd_f32s(x);
    let (fours, rest) = body.as_chunks::<4>();
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for (sum, &x) in sums.iter_mut().zip(four) {
            *sum = simd.mul_add_e_f32s(x, x, *sum);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum = simd.mul_add_e_f32s(x, x, *sum);
    }
    let [a, b, c, d] = sums;
    let sum = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
    let sum = sum + tail.iter().map(|x| x * x).sum::<f32>();
    1.0 / (sum / x.len() as f32 + eps).sqrt()
}
