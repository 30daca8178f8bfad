//! Special functions against golden values with 50 digits and more, by mpmath from the definitions.

// The tables are as mpmath printed them.
#![allow(clippy::unreadable_literal)]

use t2fast_core::law::beta_pass_at_k;
use t2fast_core::special::{digamma_difference, digamma_second_difference, gamma, ln_beta_ratio_stirling};

/// a, b, k, ln [B(a, b + k) / B(a, b)].
#[rustfmt::skip]
const LN_BETA_RATIO: [(f64, f64, f64, f64); 12] = [
    (1e-100, 12.0, 1.0, -8.333333333333334e-102),
    (1e-09, 13.5, 1000000.0, -1.1250327906566463e-08),
    (0.3, 12.0, 7.0, -0.1411109702749887),
    (0.3, 1000.0, 1.0, -0.00029995500899797546),
    (2.5, 40.0, 1000000.0, -25.27056805806342),
    (15.0, 100000.0, 1000.0, -0.14924456775778472),
    (1000.0, 1000.0, 10.0, -6.909078093544874),
    (1000000.0, 12.0, 3.0, -33.757657336773526),
    (1000000.0, 1000000.0, 1000000.0, -523248.28760561184),
    (0.001, 1e+130, 1000000.0, -1e-127),
    (1e+100, 1e+130, 1000000.0, -1e-24),
    (50000.0, 100000000.0, 1.5, -0.000749812560602509),
];

/// x, h, ψ(x + h) - ψ(x).
#[rustfmt::skip]
const DIGAMMA: [(f64, f64, f64); 11] = [
    (1e-10, 1.0, 10000000000.0),
    (0.001, 1e-09, 0.0010000006425341947),
    (0.5, 0.25, 0.8776491462349513),
    (1.0, 1000000.0, 14.392726722865724),
    (3.7, 1e-12, 3.100378576699906e-13),
    (11.9, 0.2, 0.017380811291799806),
    (12.0, 5.0, 0.36085164835164835),
    (1000.0, 1e-06, 1.000500166166133e-09),
    (1000000.0, 1000000.0, 0.6931474305600078),
    (1000000000000.0, 1.0, 1e-12),
    (1e+30, 1000000.0, 1e-24),
];

/// a, b, k, 1 - B(a, b + k) / B(a, b).
#[rustfmt::skip]
const PASS: [(f64, f64, f64, f64); 10] = [
    (1e-100, 1e-100, 1.0, 0.5),
    (1e-20, 5.0, 1000000.0, 1.230939738952239e-19),
    (0.3, 1e-05, 7.0, 0.9999830594175139),
    (3.5e+19, 148.0, 1.0, 1.0),
    (1e+30, 0.5, 2.0, 1.0),
    (100000.0, 0.001, 1000000.0, 1.0),
    (2.5, 11.99, 100.0, 0.9957216015774802),
    (2.5, 12.01, 100.0, 0.9957066495160942),
    (1e+130, 1e+130, 1.0, 0.5),
    (1e-05, 1000000000000.0, 1000000.0, 9.999994999958334e-12),
];

fn assert_near(what: &str, got: f64, exact: f64, relative: f64) {
    let error = ((got - exact) / exact).abs();
    println!("{what}: {error:e}");
    assert!(error <= relative, "{what} = {got:e}, not {exact:e}: off by {error:e}");
}

#[test]
fn ln_beta_ratio_matches_golden_values() {
    for (a, b, k, exact) in LN_BETA_RATIO {
        for got in [ln_beta_ratio_stirling::<true>(a, b, k), ln_beta_ratio_stirling::<false>(a, b, k)] {
            // Where the ratio itself is tiny, digits of its logarithm are spent: there only the ratio counts.
            let error = (got - exact).abs();
            let allowed = (1e-14 * exact.abs()).max(1e-14 * (-exact).exp());
            assert!(error <= allowed, "a {a:e} b {b:e} k {k:e}: {got:e}, not {exact:e}: off by {error:e}");
        }
    }
}

#[test]
fn digamma_difference_matches_golden_values() {
    for (x, h, exact) in DIGAMMA {
        assert_near(&format!("x {x:e} h {h:e}"), digamma_difference(x, h), exact, 1e-15);
    }
}

#[test]
fn pass_at_k_matches_golden_values() {
    for (a, b, k, exact) in PASS {
        assert_near(&format!("a {a:e} b {b:e} k {k:e}"), beta_pass_at_k(a, b, k), exact, 1e-13);
    }
}

#[test]
fn gamma_satisfies_its_recurrence_and_known_values() {
    let [ln, first, second] = gamma(1.0);
    assert!(ln.abs() < 1e-14);
    assert!((first + 0.577_215_664_901_532_9).abs() < 1e-14);
    assert!((second - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
    for x in [1e-8, 0.3, 2.5, 11.9, 12.1, 400.0, 1e7] {
        let (low, high) = (gamma(x), gamma(x + 1.0));
        let size = high[0].abs().max(1.0);
        assert!((high[0] - low[0] - x.ln()).abs() < 1e-13 * size.max(x.ln().abs()));
        assert!((high[1] - low[1] - 1.0 / x).abs() < 1e-14 * (1.0 / x).max(high[1].abs()));
        assert!((low[2] - high[2] - 1.0 / (x * x)).abs() < 1e-14 * low[2]);
        assert!((gamma(x + 3.7)[1] - low[1] - digamma_difference(x, 3.7)).abs() < 1e-13 * low[1].abs().max(1.0));
    }
}

#[test]
fn second_differences_of_digamma_match_golden_values() {
    // x, a, k, [psi(x + k) - psi(x)] - [psi(x + a + k) - psi(x + a)], by mpmath with 60 digits.
    const GOLDEN: [(f64, f64, f64, f64); 8] = [
        (400000000000000.0, 600.0, 483.0, 1.8112499999951006e-24),
        (0.5, 0.25, 3.0, 0.7982683982683982),
        (0.001, 0.01, 1.0, 909.0909090909091),
        (12.0, 1.0, 1.0, 0.00641025641025641),
        (11.5, 200.0, 1000000.0, 2.953419962021409),
        (1000000.0, 0.3, 1000.0, 2.9970050938576107e-10),
        (1e-08, 5.0, 64.0, 100000002.00754093),
        (3000.0, 1e-06, 2.0, 2.2214818509469407e-13),
    ];
    for (x, a, k, expected) in GOLDEN {
        let got = digamma_second_difference(x, a, k);
        assert!((got - expected).abs() <= 1e-14 * expected, "{x} {a} {k}: {got} {expected}");
        assert!((digamma_second_difference(x, k, a) - got).abs() <= 1e-14 * got);
    }
}
