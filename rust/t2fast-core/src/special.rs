//! `ln Γ` with its first two derivatives, and differences of `ln Γ` and of `ψ`, free of the cancellation that subtracting two library values would bring.
//!
//! Subtracting `ln Γ` values near 1e6 leaves ten digits at best, and the laws need fifteen. Everything here works on
//! the difference itself: Stirling's series for arguments of at least [`SHIFT`], and the recurrence of Γ below.

use crate::simd::{ln_1p, mul_add, polynomial};

/// Stirling's series is used from this argument on; its truncation error there is below 2e-17.
pub const SHIFT: f64 = 12.0;

/// Coefficients of Stirling's remainder, `S(x) = sum_i STIRLING[i] x^-(2i+1)`: B_2i+2 / ((2i+2)(2i+1)).
const STIRLING: [f64; 7] =
    [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];

/// The first of [`STIRLING`], times a factor for each.
const fn scaled(derivatives: u32) -> [f64; 6] {
    let mut out = [0.0; 6];
    let mut i = 0;
    while i < 6 {
        // d/dx x^-(2i+1) = -(2i+1) x^-(2i+2), and once more.
        #[allow(clippy::cast_precision_loss)]
        let power = (2 * i + 1) as f64;
        let factor = match derivatives {
            0 => 1.0,
            1 => power,
            _ => power * (power + 1.0),
        };
        out[i] = STIRLING[i] * factor;
        i += 1;
    }
    out
}

/// What Stirling's series adds at `x = 1 / r >= SHIFT` to the leading terms of
/// `ln Γ = (x - 1/2) ln x - x + ln(2π)/2`, `ψ = ln x` and `ψ' = 1/x`; within 1e-16.
#[inline(always)]
#[must_use]
pub fn stirling<const FMA: bool>(r: f64) -> [f64; 3] {
    const LN_GAMMA: [f64; 6] = scaled(0);
    const DIGAMMA: [f64; 6] = scaled(1);
    const TRIGAMMA: [f64; 6] = scaled(2);
    let rr = r * r;
    [
        r * polynomial::<FMA, 6>(rr, &LN_GAMMA),
        -r * mul_add::<FMA>(r, polynomial::<FMA, 6>(rr, &DIGAMMA), 0.5),
        rr * mul_add::<FMA>(r, polynomial::<FMA, 6>(rr, &TRIGAMMA), 0.5),
    ]
}

/// `(ln Γ, ψ, ψ')` at a positive number, within 1e-14 relative to the largest term of each.
#[must_use]
pub fn gamma(x: f64) -> [f64; 3] {
    const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;
    let (mut product, mut first, mut second) = (1.0, 0.0, 0.0);
    let mut x = x;
    while x < SHIFT {
        let r = 1.0 / x;
        product *= x;
        first += r;
        second += r * r;
        x += 1.0;
    }
    let (r, ln) = (1.0 / x, x.ln());
    let [s, t, u] = stirling::<false>(r);
    let base = if product == 1.0 { 0.0 } else { product.ln() };
    [(x - 0.5) * ln - x + HALF_LN_TWO_PI + s - base, ln + t - first, r + u + second]
}

/// `S(1/v) - S(1/u)` for Stirling's remainder S, where `difference` is `v - u`; relative accuracy is kept as it
/// tends to zero.
#[inline(always)]
fn stirling_difference<const FMA: bool>(u: f64, v: f64, difference: f64) -> f64 {
    // S(1/u) = u T(u^2). Horner's rule for T at v^2 and, beside it, for the divided difference T[u^2, v^2].
    let (uu, vv) = (u * u, v * v);
    let mut value = STIRLING[6];
    let mut slope = 0.0;
    for i in (0..6).rev() {
        slope = mul_add::<FMA>(slope, uu, value);
        value = mul_add::<FMA>(value, vv, STIRLING[i]);
    }
    difference * mul_add::<FMA>(u * (u + v), slope, value)
}

/// `ln [B(a, b + k) / B(a, b)]` for `b >= SHIFT`, `0 <= a <= 1e14 b`, `k >= 1`: within 1e-14 relative, or where the ratio is
/// tiny, with an error that changes the ratio by no more than 1e-14.
///
/// With y = b + k, s = a + b, t = a + b + k and q = a k / (b t), so that y s = b t (1 + q), Stirling's formula gives
/// (s - 1/2) ln(1 + q) - k ln(1 + a/y) - a ln(1 + k/b) + S(y) + S(s) - S(b) - S(t),
/// in which no term is larger than the result by more than a small factor while the result matters.
#[inline(always)]
#[must_use]
pub fn ln_beta_ratio_stirling<const FMA: bool>(a: f64, b: f64, k: f64) -> f64 {
    let (y, s) = (b + k, a + b);
    let t = s + k;
    // Two divisions for four reciprocals.
    let r_yt = 1.0 / (y * t);
    let r_bs = 1.0 / (b * s);
    let (ry, rt, rb, rs) = (t * r_yt, y * r_yt, s * r_bs, b * r_bs);
    let q = (a * rb) * (k * rt);
    let leading =
        mul_add::<FMA>(s - 0.5, ln_1p::<FMA>(q), -mul_add::<FMA>(k, ln_1p::<FMA>(a * ry), a * ln_1p::<FMA>(k * rb)));
    let remainder = stirling_difference::<FMA>(rb, rs, -a * r_bs) - stirling_difference::<FMA>(ry, rt, -a * r_yt);
    leading + remainder
}

/// `1 - Γ(b+SHIFT+k)...`: the factor by which lowering b + SHIFT to b multiplies `B(a, b + k) / B(a, b)`, as one minus
/// that factor.
///
/// From Γ(x + 1) = x Γ(x): prod_j (b + j)(t + j) / ((y + j)(s + j)), each factor being 1 - a k / ((y + j)(s + j)).
#[inline(always)]
#[must_use]
pub fn beta_ratio_shift(a: f64, b: f64, k: f64) -> f64 {
    let (y, s) = (b + k, a + b);
    let mut lost = 0.0;
    let mut j = 0.0;
    while j < SHIFT {
        let e = (a / (s + j)) * (k / (y + j));
        // 1 - (1 - lost)(1 - e), without cancellation.
        lost += e * (1.0 - lost);
        j += 1.0;
    }
    lost
}

/// `ψ(x + h) - ψ(x)` for `x > 0`, `h >= 0`, within 1e-15 relative.
#[must_use]
pub fn digamma_difference(x: f64, h: f64) -> f64 {
    let mut x = x;
    let mut sum = 0.0;
    while x < SHIFT {
        sum += h / (x * (x + h));
        x += 1.0;
    }
    let (u, v) = (1.0 / x, 1.0 / (x + h));
    sum + (h * u).ln_1p() + 0.5 * h * u * v - digamma_tail_difference(u, v, -h * u * v)
}

/// `W(1/v) - W(1/u)` for the series in `ψ(x) = ln x - 1/(2x) - W(x)`, where `difference` is `v - u`.
fn digamma_tail_difference(u: f64, v: f64, difference: f64) -> f64 {
    // The terms of W are (2i+1) STIRLING[i] x^-(2i+2), the derivative of Stirling's remainder.
    let (uu, vv) = (u * u, v * v);
    let mut value = 0.0;
    let mut slope = 0.0;
    for i in (0..7).rev() {
        slope = slope * uu + value;
        #[allow(clippy::cast_precision_loss)]
        let c = (2 * i + 1) as f64 * STIRLING[i];
        value = value * vv + c;
    }
    // W = u^2 T(u^2); W(1/v) - W(1/u) = (v^2 - u^2) (T(v^2) + u^2 T[u^2, v^2]).
    difference * (u + v) * (value + uu * slope)
}

/// `[ψ(x + k) - ψ(x)] - [ψ(x + a + k) - ψ(x + a)]` for positive x, a and k, the same for a and k exchanged; positive, and
/// within 1e-14 relative or, where that is more, 1e-16 of `a k / x^3`.
///
/// With y = x + k, s = x + a, t = x + a + k: from y s = x t (1 + a k / (x t)) the logarithms leave one without
/// cancellation, and so do reciprocals.
#[must_use]
pub fn digamma_second_difference(x: f64, a: f64, k: f64) -> f64 {
    let mut x = x;
    let mut sum = 0.0;
    let reciprocals = |x: f64| (a / (x * (x + a))) * (k / ((x + k) * (x + a + k))) * (a + k + 2.0 * x);
    while x < SHIFT {
        sum += reciprocals(x);
        x += 1.0;
    }
    let (y, s, t) = (x + k, x + a, x + a + k);
    let h = if a < k { a } else { k };
    let tail = |from: f64| digamma_tail_difference(1.0 / from, 1.0 / (from + h), -h / from / (from + h));
    let far = if a < k { y } else { s };
    sum + ((a / x) * (k / t)).ln_1p() + 0.5 * reciprocals(x) - (tail(x) - tail(far))
}

/// `ln r! - (w ln w - w + ln(2π)/2)` at w = r + 1/2 for r below [`SHIFT`], where the series is not accurate enough.
const HALF_STIRLING_START: [f64; 12] = [
    -0.072_364_942_924_700_08,
    -0.027_136_195_366_919_316,
    -0.016_518_182_330_115_094,
    -0.011_849_453_710_405_727,
    -0.009_232_988_349_960_452,
    -0.007_561_297_733_965_538,
    -0.006_401_471_054_916_02,
    -0.005_549_826_206_244_116,
    -0.004_898_020_177_724_066,
    -0.004_383_139_884_907_061,
    -0.003_966_160_345_673_161,
    -0.003_621_594_076_637_288_6,
];

/// Coefficients of [`half_stirling`]: `B_2i+2(1/2) / ((2i+2)(2i+1))`.
pub(crate) const HALF_STIRLING: [f64; 7] = [
    -1.0 / 24.0,
    7.0 / 2880.0,
    -31.0 / 40_320.0,
    127.0 / 215_040.0,
    -511.0 / 608_256.0,
    1_414_477.0 / 738_017_280.0,
    -8191.0 / 1_277_952.0,
];

/// The remainder `R(r + 1/2)` of Stirling's formula about half-integers, for an integer r >= 0:
/// `ln r! = w ln w - w + ln(2π)/2 + R(w)`, w = r + 1/2; within 2e-17.
///
/// About half-integers the formula is odd in the distance from the centre, so that ln Γ(z + h + 1/2) - ln Γ(z - h + 1/2) has
/// no term of even order in h.
#[inline]
#[must_use]
pub fn half_stirling(r: f64) -> f64 {
    if r < SHIFT {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return HALF_STIRLING_START[r as usize];
    }
    let u = 1.0 / (r + 0.5);
    u * crate::simd::polynomial::<false, 7>(u * u, &HALF_STIRLING)
}
