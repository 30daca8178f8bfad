//! The gate between a block's last two products.

use pulp::{Simd, WithSimd};

use super::product::{Lanes, each};
use super::vector::{exp, registers, registers_mut};

/// `out = silu(gate) up`, where `both` holds them in turn and silu(x) is `x / (1 + e^-x)`.
pub(super) fn gate<S: Simd>(simd: S, both: &Lanes, features: usize, out: &mut Lanes, parallel: bool) {
    out.like(both, features);
    let (part, size) = (out.part(), both.part());
    each(parallel, out.all_mut(), part, |i, out| {
        simd.vectorize(Gate { both: &both.all()[i * size..(i + 1) * size], width: both.width, out });
    });
}

struct Gate<'a> {
    both: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { both, width, out } = self;
        for (both, out) in both.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gates, ups) = both.split_at(width);
            let parts = registers::<S>(gates).iter().zip(registers::<S>(ups));
            for (out, (&gate, &up)) in registers_mut::<S>(out).iter_mut().zip(parts) {
                *out = simd.mul_f32s(silu(simd, gate), up);
            }
        }
    }
}

#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    // The exponential of what is not positive, so that nothing overflows: 1 / (1 + e^-|x|) of x or, where it is
    // negative, of -x, which is one minus that of x.
    let small = exp(simd, simd.neg_f32s(simd.abs_f32s(x)));
    let share = simd.div_f32s(one, simd.add_f32s(one, small));
    let positive = simd.less_than_or_equal_f32s(simd.splat_f32s(0.0), x);
    let share = simd.select_f32s(positive, share, simd.mul_f32s(small, share));
    // What is no number stays none: exp takes it for very small.
    simd.mul_f32s(x, share)
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::super::block::tests::{close, numbers};
    use super::*;

    struct Gates<'a>(&'a [f32], &'a mut [f32]);

    impl WithSimd for Gates<'_> {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            simd.vectorize(Gate { both: self.0, width: 64, out: self.1 });
        }
    }

    #[test]
    fn gates_of_any_size() {
        let mut both: Vec<f32> = numbers(64, 4).iter().zip(1_u8..).map(|(x, i)| x * f32::from(i)).collect();
        both[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, -1e30, 0.0]);
        both.extend([1.0; 64]);
        let mut out = [0.0; 64];
        Arch::new().dispatch(Gates(&both, &mut out));
        assert!(out[0].is_nan() && out[1] == f32::INFINITY && out[2] == 0.0 && out[3] == 0.0);
        let exact: Vec<_> = both[4..64].iter().map(|&x| f64::from(x) / (1.0 + (-f64::from(x)).exp())).collect();
        close(&out[4..], &exact, 1e-6);
    }
}
