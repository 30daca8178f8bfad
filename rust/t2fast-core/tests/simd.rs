//! Measured errors of the vector functions, in units in the last place.
//!
//! References: where the exact result of a double is needed, a pair of doubles carries about 106 bits.

use t2fast_core::simd;

/// A number as an unevaluated sum of two doubles.
#[derive(Clone, Copy)]
struct Pair(f64, f64);

fn sum(a: f64, b: f64) -> Pair {
    let s = a + b;
    let t = s - a;
    Pair(s, (a - (s - t)) + (b - t))
}

fn add(a: Pair, b: Pair) -> Pair {
    let Pair(s, e) = sum(a.0, b.0);
    sum(s, e + a.1 + b.1)
}

fn mul(a: Pair, b: Pair) -> Pair {
    let p = a.0 * b.0;
    let e = a.0.mul_add(b.0, -p);
    sum(p, e + a.0 * b.1 + a.1 * b.0)
}

fn div(a: Pair, b: Pair) -> Pair {
    let q = a.0 / b.0;
    let r = add(a, mul(Pair(-q, 0.0), b));
    sum(q, r.0 / b.0)
}

const LN2: Pair = Pair(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);

/// e^x - 1 by its series at x / 2^9, squared back: e^2y - 1 = (e^y - 1)(e^y - 1 + 2). |x| <= 1.
fn exp_m1_small(x: Pair) -> Pair {
    let y = Pair(x.0 / 512.0, x.1 / 512.0);
    let mut term = y;
    let mut total = y;
    for i in 2..12 {
        term = div(mul(term, y), Pair(f64::from(i), 0.0));
        total = add(total, term);
    }
    for _ in 0..9 {
        total = mul(total, add(total, Pair(2.0, 0.0)));
    }
    total
}

/// (e^r - 1, n) with x = n ln 2 + r.
fn reduced(x: f64) -> (Pair, i32) {
    let n = (x / std::f64::consts::LN_2).round();
    let r = add(Pair(x, 0.0), mul(Pair(-n, 0.0), LN2));
    #[allow(clippy::cast_possible_truncation)]
    (exp_m1_small(r), n as i32)
}

/// Scales by 2^n in two steps, so that neither overflows.
fn scaled(a: Pair, n: i32) -> Pair {
    let (first, second) = (2f64.powi(n / 2), 2f64.powi(n - n / 2));
    Pair(a.0 * first * second, a.1 * first * second)
}

fn exp(x: f64) -> Pair {
    let (fraction, n) = reduced(x);
    scaled(add(fraction, Pair(1.0, 0.0)), n)
}

fn exp_m1(x: f64) -> Pair {
    if x.abs() < 0.3 { exp_m1_small(Pair(x, 0.0)) } else { add(exp(x), Pair(-1.0, 0.0)) }
}

/// ln x by one Newton step from the library's value, good to twice its digits: y + (x - e^y) / e^y.
fn ln(x: Pair) -> Pair {
    let y = x.0.ln();
    let e = exp(y);
    let q = div(add(x, Pair(-e.0, -e.1)), e);
    // ln(1 + q) = q - q^2/2, q being an error of rounding.
    add(Pair(y, 0.0), add(q, mul(Pair(-0.5, 0.0), mul(q, q))))
}

/// ln(1 + x): for small x by Newton's step on e^y - 1.
fn ln_1p(x: f64) -> Pair {
    let y = x.ln_1p();
    let e = exp_m1(y);
    let q = div(add(Pair(x, 0.0), Pair(-e.0, -e.1)), add(e, Pair(1.0, 0.0)));
    add(Pair(y, 0.0), add(q, mul(Pair(-0.5, 0.0), mul(q, q))))
}

/// The error of `got`, in units of the last place of the exact value.
fn ulps(got: f64, exact: Pair) -> f64 {
    let size = exact.0.abs();
    let unit = f64::from_bits(size.to_bits() + 1) - size;
    ((got - exact.0) - exact.1).abs() / unit
}

/// A million arguments spread over a range by a Weyl sequence, which leaves no gaps.
fn arguments(low: f64, high: f64) -> impl Iterator<Item = f64> {
    (1..1_000_000_u32).map(move |i| low + (high - low) * (f64::from(i) * 0.618_033_988_749_894_9).fract())
}

fn worst(arguments: impl Iterator<Item = f64>, got: fn(f64) -> f64, exact: fn(f64) -> Pair) -> (f64, f64) {
    arguments.map(|x| (ulps(got(x), exact(x)), x)).fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
}

fn check(name: &str, (error, x): (f64, f64), bound: f64) {
    println!("{name}: {error:.3} ulp at {x:e}");
    assert!(error <= bound, "{name}: {error} ulp at {x:e}, more than {bound}");
}

#[test]
fn references_are_right() {
    // 60-digit values by mpmath, as the nearest double and the rest.
    let known = [
        (exp(1.0), std::f64::consts::E, 1.445_646_891_729_250_2e-16),
        (ln(Pair(2.0, 0.0)), LN2.0, LN2.1),
        (ln(Pair(10.0, 0.0)), std::f64::consts::LN_10, -2.170_756_223_382_249_4e-16),
    ];
    for (got, high, low) in known {
        assert!(((got.0 - high) + (got.1 - low)).abs() < 1e-29, "{} {:e}", got.0, got.1);
    }
}

#[test]
fn exp_is_within_its_bound() {
    for (low, high) in [(-700.0, 700.0), (-1.0, 1.0), (-40.0, 40.0)] {
        check("exp, fused", worst(arguments(low, high), simd::exp::<true>, exp), 1.5);
        check("exp", worst(arguments(low, high), simd::exp::<false>, exp), 1.5);
    }
}

#[test]
fn exp_m1_is_within_its_bound() {
    for (low, high) in [(-37.0, 700.0), (-1.0, 1.0), (-1e-3, 1e-3), (-1e-12, 1e-12)] {
        check("exp_m1, fused", worst(arguments(low, high), simd::exp_m1::<true>, exp_m1), 2.5);
        check("exp_m1", worst(arguments(low, high), simd::exp_m1::<false>, exp_m1), 2.5);
    }
}

#[test]
fn ln_is_within_its_bound() {
    let exact = |x: f64| ln(Pair(x, 0.0));
    for (low, high) in [(0.5, 2.0), (0.9, 1.1), (1e-3, 10.0), (1e5, 1e13)] {
        check("ln, fused", worst(arguments(low, high), simd::ln::<true>, exact), 1.5);
        check("ln", worst(arguments(low, high), simd::ln::<false>, exact), 1.5);
    }
    let spread = || arguments(-690.0, 690.0).map(f64::exp);
    check("ln, fused", worst(spread(), simd::ln::<true>, exact), 1.5);
    check("ln", worst(spread(), simd::ln::<false>, exact), 1.5);
}

#[test]
fn ln_1p_is_within_its_bound() {
    for (low, high) in [(-0.999, 10.0), (-0.5, 0.5), (0.4, 0.42), (-1e-9, 1e-9), (1.0, 1e6)] {
        check("ln_1p, fused", worst(arguments(low, high), simd::ln_1p::<true>, ln_1p), 2.5);
        check("ln_1p", worst(arguments(low, high), simd::ln_1p::<false>, ln_1p), 2.5);
    }
}

#[test]
fn ends_of_the_range_and_no_numbers() {
    for exp in [simd::exp::<false>, simd::exp::<true>] {
        assert_eq!((exp(-709.0), exp(0.0), exp(-0.0), exp(710.0)), (0.0, 1.0, 1.0, f64::INFINITY));
        assert!(exp(f64::NAN).is_nan());
    }
    for exp_m1 in [simd::exp_m1::<false>, simd::exp_m1::<true>] {
        assert_eq!((exp_m1(-1e300), exp_m1(0.0), exp_m1(710.0)), (-1.0, 0.0, f64::INFINITY));
        assert!(exp_m1(f64::NAN).is_nan());
    }
    assert_eq!((simd::ln::<true>(1.0), simd::ln_1p::<true>(0.0)), (0.0, 0.0));
}
