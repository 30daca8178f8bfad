//! The laws against closed forms, brute force and finite differences.

use proptest::prelude::*;
use t2fast_core::law::{
    AnyLaw, ChinchillaLaw, Law, Overtraining, Repetition, T2LossLaw, T2PassLaw, beta_pass_at_k, effective,
};

fn power(low: f64, high: f64) -> impl Strategy<Value = f64> {
    (low..high).prop_map(|power| 10_f64.powf(power))
}

prop_compose! {
    fn base()(
        e in 0.0..3.0, a in power(1.0, 4.5), b in power(1.0, 5.0), alpha in 0.2..0.7, beta in 0.2..0.7,
        over in prop::option::of((power(-4.0, 0.0), 0.1..1.2)),
    ) -> ChinchillaLaw {
        let (f, delta) = over.unwrap_or((0.0, 1.0));
        ChinchillaLaw::new(e, a, b, alpha, beta).unwrap().with_overtraining(Overtraining::new(f, delta).unwrap())
    }
}

prop_compose! {
    fn pass()(
        base in base(), shift in -2.0..3.0, theta1 in 0.5..4.0, theta2 in 0.2..1.0, theta3 in -2.0..5.0,
        theta4 in -1.5..1.5,
    ) -> T2PassLaw {
        T2PassLaw::new(base, [base.e + shift, theta1, theta2, theta3, theta4]).unwrap()
    }
}

fn any() -> impl Strategy<Value = AnyLaw> {
    prop_oneof![
        base().prop_map(AnyLaw::Chinchilla),
        (base(), power(-2.0, 1.0), 0.05..1.2)
            .prop_map(|(base, g, gamma)| AnyLaw::T2Loss(T2LossLaw::new(base, g, gamma).unwrap())),
        pass().prop_map(AnyLaw::T2Pass),
    ]
}

/// pass@k of Beta(a, b) success rates for a whole k: one minus a product of k factors.
fn by_product(a: f64, b: f64, k: u32) -> f64 {
    -(0..k).map(|i| (-a / (a + b + f64::from(i))).ln_1p()).sum::<f64>().exp_m1()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_value_is_its_formula(law in any(), n in power(6.0, 11.0), d in power(8.0, 13.0), k in 1_u32..2000) {
        let base = law.chinchilla();
        let over = base.overtraining.f * (d / n).powf(base.overtraining.delta);
        let loss = base.e + base.a * n.powf(-base.alpha) + base.b * d.powf(-base.beta) + over;
        let expected = match law {
            AnyLaw::Chinchilla(_) => loss,
            AnyLaw::T2Loss(law) => loss + law.g * f64::from(k).powf(-law.gamma),
            AnyLaw::T2Pass(law) => {
                let [theta0, theta1, theta2, theta3, theta4] = law.theta;
                let odds = (theta1 * (loss - theta0)).exp();
                let nu = (theta3 + theta4 * loss).exp();
                prop_assume!(odds < 1e30 && nu < 1e12 && nu > 1e-12);
                by_product(theta2 / (1.0 + odds) * nu, (odds + 1.0 - theta2) / (1.0 + odds) * nu, k)
            }
            // Rules have tests of their own, in rule.rs.
            AnyLaw::Ruled(_) => unreachable!("the strategy makes none"),
        };
        let got = law.value(n, d, f64::from(k)).unwrap();
        prop_assert!((got - expected).abs() <= 1e-10 * expected.abs().max(1.0), "{got} {expected}");
    }

    #[test]
    fn vectors_say_what_single_points_say(law in any(), n in power(6.0, 11.0), d in power(8.0, 13.0), k in power(0.0, 5.0)) {
        let steps: Vec<f64> = (0..37).map(|i| 1.0 + 0.03 * f64::from(i)).collect();
        let (n, d): (Vec<f64>, Vec<f64>) = steps.iter().map(|s| (n * s, d / s)).unzip();
        let k: Vec<f64> = steps.iter().map(|s| k * s).collect();
        let mut out = vec![0.0; n.len()];
        law.values(&n, &d, &k, &mut out).unwrap();
        for i in 0..n.len() {
            let one = law.value(n[i], d[i], k[i]).unwrap();
            prop_assert!((out[i] - one).abs() <= 1e-12 * one.abs().max(1.0));
        }
    }

    #[test]
    fn gradients_are_finite_differences(law in any(), n in power(6.0, 11.0), d in power(8.0, 13.0), k in power(0.1, 4.0)) {
        let gradient = law.gradient(n, d, k).unwrap();
        let step = 1e-4;
        let slope = |at: &dyn Fn(f64) -> (f64, f64, f64)| {
            let value = |h: f64| { let (n, d, k) = at(h.exp()); law.value(n, d, k).unwrap() };
            // Five points, by the logarithm.
            (8.0 * (value(step) - value(-step)) - (value(2.0 * step) - value(-2.0 * step))) / (12.0 * step)
        };
        let close = |got: f64, want: f64| (got - want).abs() <= 1e-6 * want.abs() + 1e-9 * gradient.value.abs().max(1.0);
        prop_assert!(close(gradient.n_params * n, slope(&|h| (n * h, d, k))));
        prop_assert!(close(gradient.n_tokens * d, slope(&|h| (n, d * h, k))));
        prop_assert!(close(gradient.k * k, slope(&|h| (n, d, k * h))));
    }

    #[test]
    fn more_samples_never_hurt(law in any(), n in power(6.0, 11.0), d in power(8.0, 13.0), k in power(0.0, 5.0), more in 1.0..50.0_f64) {
        let (less, more) = (law.value(n, d, k).unwrap(), law.value(n, d, k * more).unwrap());
        prop_assert!(!law.sense().better(less, more) || (less - more).abs() <= 1e-13 * less.abs().max(1.0));
    }

    #[test]
    fn a_lower_loss_helps_where_the_law_says_so(law in pass(), loss in 0.0..6.0, k in power(0.0, 4.0)) {
        let law = T2PassLaw { theta: { let mut t = law.theta; t[4] = -t[4].abs(); t }, ..law };
        prop_assert!(law.improves_as_loss_falls());
        prop_assert!(law.at_loss(loss, k) >= law.at_loss(loss + 0.1, k) - 1e-13);
        prop_assert!(law.slopes(loss, k).loss <= 1e-13);
    }

    #[test]
    fn the_most_useful_tokens_are_a_scans_least_loss(
        law in base(), n in power(6.0, 11.0), unique in prop::option::of(power(8.0, 13.0)),
    ) {
        let most = law.most_useful_tokens(n, unique);
        if !law.overtraining.acts() {
            prop_assert!(most.is_infinite());
            return Ok(());
        }
        let at = law.loss_within(n, most, unique);
        for i in -400..=400 {
            let other = law.loss_within(n, most * (0.02 * f64::from(i)).exp(), unique);
            prop_assert!(at <= other * (1.0 + 1e-14), "{most} {i} {at} {other}");
        }
    }

    #[test]
    fn compute_optimal_pairs_are_the_least_loss_at_their_cost(law in base(), n in power(6.0, 11.0)) {
        let d = law.tokens_for_params(n);
        prop_assume!(d > 1e2 && d < 1e22);
        prop_assert!((law.params_for_tokens(d) / n - 1.0).abs() < 1e-9);
        let at = law.loss(n, d);
        for i in -200..=200 {
            let h = (0.02 * f64::from(i)).exp();
            prop_assert!(at <= law.loss(n * h, d / h) * (1.0 + 1e-13));
        }
    }

    #[test]
    fn repeated_tokens_are_worth_less_and_less(total in power(6.0, 14.0), unique in power(6.0, 12.0), r_star in 0.5..50.0) {
        let worth = effective(total, unique, r_star);
        prop_assert!(worth <= total * (1.0 + 1e-15) && worth <= (unique.min(total) + unique * r_star) * (1.0 + 1e-15));
        prop_assert!(effective(2.0 * total, unique, r_star) >= worth);
        if total <= unique {
            prop_assert_eq!(worth, total);
        }
    }

    #[test]
    fn a_beta_with_one_shape_at_one_has_a_closed_form(b in power(-2.0, 6.0), k in power(0.0, 6.0)) {
        // Beta(1, b): pass@k = k / (b + k).
        let expected = k / (b + k);
        prop_assert!((beta_pass_at_k(1.0, b, k) - expected).abs() <= 1e-13 * expected);
    }
}

#[test]
fn coefficients_out_of_range_are_named() {
    let named = |result: t2fast_core::Result<()>, name: &str| {
        assert!(result.unwrap_err().to_string().starts_with(name), "{name}");
    };
    let base = ChinchillaLaw::new(1.0, 1.0, 1.0, 0.3, 0.3).unwrap();
    named(ChinchillaLaw::new(-1.0, 1.0, 1.0, 0.3, 0.3).map(drop), "E");
    named(ChinchillaLaw::new(1.0, 0.0, 1.0, 0.3, 0.3).map(drop), "A");
    named(ChinchillaLaw::new(1.0, 1.0, 1.0, 0.3, f64::NAN).map(drop), "beta");
    named(Overtraining::new(-1.0, 1.0).map(drop), "F");
    named(Overtraining::new(0.0, 0.0).map(drop), "delta");
    named(Repetition::new(0.0, None).map(drop), "r_star_tokens");
    named(T2LossLaw::new(base, 0.0, 1.0).map(drop), "G");
    named(T2PassLaw::new(base, [0.0, 1.0, 1.5, 0.0, 0.0]).map(drop), "theta2");
}
