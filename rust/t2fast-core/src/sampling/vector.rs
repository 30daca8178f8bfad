//! Single precision in vector registers: exponentials, and the number types that caches hold.

use pulp::Simd;

/// A number as it lies in memory: computed with as `f32`.
pub trait Element: Copy + Default + Send + Sync {
    /// Its value.
    fn wide(self) -> f32;
    /// The nearest of its kind.
    fn narrow(value: f32) -> Self;
    /// Writes the values of some.
    #[inline(always)]
    fn widen(numbers: &[Self], to: &mut [f32]) {
        for (to, x) in to.iter_mut().zip(numbers) {
            *to = x.wide();
        }
    }
    /// The numbers themselves, where they are of single precision.
    fn singles(numbers: &[Self]) -> Option<&[f32]>;
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn singles(numbers: &[Self]) -> Option<&[f32]> {
        Some(numbers)
    }
}

/// bfloat16, as its bits.
impl Element for u16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        // To the nearest, to even on ties; what is no number stays none.
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        if value.is_nan() { 0x7fc0 } else { (rounded >> 16) as u16 }
    }
    #[inline(always)]
    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }
}

/// 1.5 * 2^23: adding it rounds a small number to an integer, which its lowest bits then hold.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with trailing zeros.
const LN2_HI: f32 = 0.693_145_75;
const LN2_LO: f32 = 1.428_606_8e-6;
/// Below, `e^x` is no normal number and taken for 0.
const LEAST: f32 = -87.0;

/// `e^x` for `x <= 0` within 2 ulp; 0 below -87.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // e^r on |r| <= ln(2)/2 by its series to r^7: what is left out is below 2^-24 of it.
    const SERIES: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
    let splat = |value: f32| simd.splat_f32s(value);
    let seen = simd.less_than_or_equal_f32s(splat(LEAST), x);
    let x = simd.select_f32s(seen, x, splat(LEAST));
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    let r = simd.mul_add_e_f32s(n, splat(-LN2_HI), x);
    let r = simd.mul_add_e_f32s(n, splat(-LN2_LO), r);
    let mut sum = splat(SERIES[0]);
    for c in &SERIES[1..] {
        sum = simd.mul_add_e_f32s(sum, r, splat(*c));
    }
    // e^r = 1 + (r + r^2 sum)
    let fraction = simd.mul_add_e_f32s(simd.mul_f32s(r, r), sum, r);
    let bits = simd.add_u32s(pulp::cast(shifted), simd.splat_u32s(127));
    let power: S::f32s = pulp::cast(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23)));
    let y = simd.mul_add_e_f32s(power, fraction, power);
    simd.select_f32s(seen, y, splat(0.0))
}

/// Vector registers over a slice whose length they divide.
#[inline(always)]
#[must_use]
pub fn registers<S: Simd>(slice: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(slice).0
}

/// The same, to write.
#[inline(always)]
pub fn registers_mut<S: Simd>(slice: &mut [f32]) -> &mut [S::f32s] {
    S::as_mut_simd_f32s(slice).0
}

/// A slice as whole registers and what is left over at its end, filled up with `fill`.
#[inline(always)]
pub fn whole<S: Simd>(simd: S, slice: &[f32], fill: f32) -> (&[S::f32s], Option<S::f32s>) {
    let (body, tail) = S::as_simd_f32s(slice);
    if tail.is_empty() {
        return (body, None);
    }
    let mut last = [fill; 64];
    last[..tail.len()].copy_from_slice(tail);
    let _ = simd;
    (body, Some(registers::<S>(&last[..S::F32_LANES])[0]))
}

/// Lanes of `f32` that a register of this processor holds.
#[must_use]
pub fn lanes() -> usize {
    struct Count;
    impl pulp::WithSimd for Count {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    pulp::Arch::new().dispatch(Count)
}
