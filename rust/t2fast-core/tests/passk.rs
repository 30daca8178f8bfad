//! pass@k against exact rational arithmetic, and properties that hold for all counts.
#![allow(missing_docs, clippy::cast_precision_loss)]

use std::num::NonZeroUsize;

use proptest::prelude::*;
use t2fast_core::passk::beta_binomial::Likelihood;
use t2fast_core::passk::curve::mean_curve;
use t2fast_core::passk::estimate::{g_pass_at_k, ln_failure, pass_at_k, pass_hat_k, passes_at_k, variance};
use t2fast_core::passk::extrapolate::{Method, Predictor};
use t2fast_core::passk::{Histogram, allocation};
use t2fast_core::threads::{Progress, on_threads};

/// The number of ways to choose k of n, exact for n up to 60.
fn choose(n: u64, k: u64) -> u128 {
    if k > n { 0 } else { (0..u128::from(k)).fold(1, |ways, i| ways * (u128::from(n) - i) / (i + 1)) }
}

fn close(got: f64, expected: f64, tolerance: f64) -> bool {
    (got - expected).abs() <= tolerance * expected.abs()
}

#[test]
fn every_count_up_to_sixty_agrees_with_exact_fractions() {
    for n in 1..=60_u64 {
        for c in 0..=n {
            for k in 1..=n {
                let all = choose(n, k);
                // The difference is taken in whole numbers; only the quotient is rounded.
                let expected = (all - choose(n - c, k)) as f64 / all as f64;
                assert!(close(pass_at_k(n, c, k), expected, 1e-15), "n = {n}, c = {c}, k = {k}");
                let mut lane = [0.0];
                passes_at_k(n, &[c as f64], k, &mut lane);
                assert!(close(lane[0], expected, 2e-15), "lanes: n = {n}, c = {c}, k = {k}");
                assert!(close(pass_hat_k(n, c, k), choose(c, k) as f64 / all as f64, 1e-13));
                let least = k.div_ceil(2);
                let ways: u128 = (least..=k).map(|j| choose(c, j) * choose(n - c, k - j)).sum();
                assert!(close(g_pass_at_k(n, c, k, least), ways as f64 / all as f64, 1e-14));
                if 2 * k <= n {
                    let once = choose(n - c, k) as f64 / all as f64;
                    let twice = choose(n - c, 2 * k) as f64 / choose(n, 2 * k) as f64;
                    assert!((variance(n, c, k) - (once * once - twice)).abs() < 1e-15);
                }
            }
        }
    }
}

#[test]
fn one_of_a_million_keeps_its_digits() {
    assert!(close(pass_at_k(1_000_000, 1, 1), 1e-6, 1e-15));
    assert!(pass_at_k(10, 0, 11).is_nan());
    assert!(ln_failure(10, 5, 11).is_nan());
}

proptest! {
    #[test]
    fn correct_samples_and_attempts_change_places(n in 1_u64..1_000_000, x in 0.0..1.0_f64, y in 0.0..1.0_f64) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let part = |share: f64| ((n as f64 * share) as u64).clamp(1, n);
        let (c, k) = (part(x), part(y));
        prop_assert_eq!(ln_failure(n, c, k).to_bits(), ln_failure(n, k, c).to_bits());
        prop_assert!((0.0..=1.0).contains(&pass_at_k(n, c, k)));
    }

    #[test]
    fn histograms_merge_in_any_order(counts in prop::collection::vec((1_i64..40, 0_i64..40), 1..60), cut in 0_usize..60) {
        let (n, c): (Vec<i64>, Vec<i64>) = counts.into_iter().map(|(n, c)| (n, c.min(n))).unzip();
        let whole = Histogram::from_counts(&n, &c).unwrap();
        let cut = cut.min(n.len());
        let mut parts = Histogram::default();
        for (n, c) in [(&n[cut..], &c[cut..]), (&n[..cut], &c[..cut])] {
            if !c.is_empty() {
                parts.merge(&Histogram::from_counts(n, c).unwrap());
            }
        }
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn allocations_spend_the_budget(n in prop::collection::vec(1_u64..50, 1..20), budget in 1_000_u64..5_000) {
        let squares: Vec<f64> = n.iter().map(|&n| 1.0 / (n as f64).powi(2)).collect();
        let further = allocation::allocate(&n, &squares, budget, 50).unwrap();
        prop_assert_eq!(further.iter().sum::<u64>(), budget);
        prop_assert!(n.iter().zip(&further).all(|(n, m)| n + m >= 50));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let c: Vec<i64> = (0..30_000).map(|i| (i * i) % 4001).collect();
    let run = |threads: usize| {
        on_threads(NonZeroUsize::new(threads), || {
            let histogram = Histogram::from_counts(&[4000], &c).unwrap();
            let predictor = Predictor::new(&histogram, Method::ZeroInflated, None).unwrap();
            let rows = predictor.bootstrap(&[1e5], 20, 7, &Progress::default()).unwrap();
            (histogram.mean_pass_at_k(37), mean_curve(&histogram, 4000).unwrap(), rows)
        })
        .unwrap()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_fit_does_not_depend_on_its_start() {
    let c: Vec<i64> = (0..400).map(|i| (i * i * 7) % 101).collect();
    let likelihood = Likelihood::new(&Histogram::from_counts(&[100], &c).unwrap()).unwrap();
    let fit = likelihood.fit(false, None);
    for factor in [0.1, 0.9, 8.0] {
        let mut model = fit.model;
        model.a *= factor;
        model.b /= factor;
        let again = likelihood.fit(false, Some(model));
        assert!(close(again.model.a, fit.model.a, 1e-6) && close(again.model.b, fit.model.b, 1e-6));
        assert!((again.log_likelihood - fit.log_likelihood).abs() < 1e-12);
    }
}
