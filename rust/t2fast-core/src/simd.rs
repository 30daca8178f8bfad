//! Branch-free `exp`, `ln` and relatives, written once for scalars and for vector registers.
//!
//! The functions are plain `f64` arithmetic without branches, tables or calls. Inlined into a loop that
//! [`multiversion`] compiles for AVX-512, AVX2 + FMA or NEON, the compiler keeps a vector of lanes in flight;
//! called on one number they are ordinary scalar code. `FMA` says whether the target has a fused multiply-add:
//! without one, `f64::mul_add` would call a slow library routine.
//!
//! A loop opts in like this:
//!
//! ```ignore
//! #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
//! fn exps(x: &[f64], out: &mut [f64]) {
//!     const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
//!     for (o, &x) in out.iter_mut().zip(x) {
//!         *o = simd::exp::<FMA>(x);
//!     }
//! }
//! ```
//!
//! Polynomial coefficients: interpolation at Chebyshev nodes, computed with 60 digits; each line gives its
//! approximation error. Measured error bounds are in the functions' docs and checked in `tests/simd.rs`.

/// Bits of the double just above the square root of one half: mantissas are reduced to [0.707, 1.414).
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// 1.5 * 2^52: adding it rounds a small double to an integer and leaves that integer in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Bits of 2^52: or-ing a small integer into them makes the double 2^52 + integer.
const INTEGER: u64 = 0x4330_0000_0000_0000;
const LN2_HI: f64 = 6.931_471_803_691_238e-1;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// `a * b + c`, fused where the target can.
#[inline(always)]
#[must_use]
pub fn mul_add<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
#[inline(always)]
#[must_use]
pub fn polynomial<const FMA: bool, const M: usize>(x: f64, c: &[f64; M]) -> f64 {
    let mut sum = c[M - 1];
    for i in (0..M - 1).rev() {
        sum = mul_add::<FMA>(sum, x, c[i]);
    }
    sum
}

/// Reduces `x` to `n ln 2 + r` and returns (2^n, e^r - 1), for `x` in [-708, 709].
#[inline(always)]
fn exp_parts<const FMA: bool>(x: f64) -> (f64, f64) {
    // (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, error 1.1e-16.
    const Q: [f64; 10] = [
        0.500_000_000_000_000_1,
        0.166_666_666_666_666_69,
        0.041_666_666_666_624_13,
        0.008_333_333_333_330_062,
        0.001_388_888_891_721_371_7,
        0.000_198_412_698_630_536_18,
        2.480_152_129_595_437_6e-5,
        2.755_726_845_999_706_4e-6,
        2.762_008_844_540_974_6e-7,
        2.510_038_549_551_032e-8,
    ];
    let shifted = mul_add::<FMA>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(-n, LN2_LO, mul_add::<FMA>(-n, LN2_HI, x));
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (scale, mul_add::<FMA>(r * r, polynomial::<FMA, 10>(r, &Q), r))
}

/// `e^x` within 1.5 ulp; 0 below -708 and infinite above 709.
#[inline(always)]
#[must_use]
pub fn exp<const FMA: bool>(x: f64) -> f64 {
    // Comparisons, not min and max, so that NaN passes through.
    let inside = if x < -708.0 { -708.0 } else { x };
    let inside = if inside > 709.0 { 709.0 } else { inside };
    let (scale, fraction) = exp_parts::<FMA>(inside);
    let y = mul_add::<FMA>(scale, fraction, scale);
    let y = if x < -708.0 { 0.0 } else { y };
    if x > 709.0 { f64::INFINITY } else { y }
}

/// `e^x - 1` within 2.5 ulp, without cancellation near 0; -1 below -708 and infinite above 709.
#[inline(always)]
#[must_use]
pub fn exp_m1<const FMA: bool>(x: f64) -> f64 {
    let inside = if x < -708.0 { -708.0 } else { x };
    let inside = if inside > 709.0 { 709.0 } else { inside };
    let (scale, fraction) = exp_parts::<FMA>(inside);
    let y = mul_add::<FMA>(scale, fraction, scale - 1.0);
    if x > 709.0 { f64::INFINITY } else { y }
}

/// Splits positive normal `x` into `m 2^e` with m in [0.707, 1.414) and returns (m, e).
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    // The bias keeps the exponent positive, so that a logical shift will do: AVX2 has no arithmetic one.
    let exponent = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52) >> 52;
    let m = f64::from_bits(x.to_bits().wrapping_sub(exponent.wrapping_sub(1023) << 52));
    (m, f64::from_bits(exponent | INTEGER) - (f64::from_bits(INTEGER) + 1023.0))
}

/// `e ln 2 + ln(1 + f)` for f in [-0.2929, 0.4143].
#[inline(always)]
fn ln_from_parts<const FMA: bool>(f: f64, e: f64) -> f64 {
    // (2 atanh(s) - 2 s) / s^3 as a polynomial in s^2, s = f / (2 + f); error 3.1e-16.
    const P: [f64; 7] = [
        0.666_666_666_666_667,
        0.399_999_999_998_994_44,
        0.285_714_286_260_032_7,
        0.222_222_111_302_598_77,
        0.181_828_894_556_749_46,
        0.153_317_106_182_107_73,
        0.146_165_854_248_886_22,
    ];
    let s = f / (2.0 + f);
    let z = s * s;
    // ln(1 + f) = 2 atanh(s) = f - s (f - z P(z)): the exact f carries the leading digits.
    let tail = mul_add::<FMA>(-z, polynomial::<FMA, 7>(z, &P), f);
    mul_add::<FMA>(e, LN2_HI, f - mul_add::<FMA>(s, tail, -e * LN2_LO))
}

/// Natural logarithm of a positive normal number, within 1.5 ulp. Other arguments give a meaningless number.
#[inline(always)]
#[must_use]
pub fn ln<const FMA: bool>(x: f64) -> f64 {
    let (m, e) = split(x);
    ln_from_parts::<FMA>(m - 1.0, e)
}

/// `ln(1 + x)` for `x > -1`, within 2.5 ulp, without cancellation near 0.
#[inline(always)]
#[must_use]
pub fn ln_1p<const FMA: bool>(x: f64) -> f64 {
    // Near zero x itself is the reduced argument. Beyond, the rounding of 1 + x costs at most half an ulp of the
    // sum, and the logarithm is at least 0.34 in size, so that no correction is needed.
    let near = x > -0.2928 && x < 0.414;
    let (m, e) = split(1.0 + x);
    let f = if near { x } else { m - 1.0 };
    let e = if near { 0.0 } else { e };
    ln_from_parts::<FMA>(f, e)
}
