//! A law and a budget as JSON, as far as the core takes them: whatever the numbers, it answers with a value or an error, a
//! plan stays within its budget and is worth what the law says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use t2fast_core::cost::{Budget, Range, SLACK};
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, Overtraining, Repetition, Sense, T2LossLaw, T2PassLaw};
use t2fast_core::plan::{exact, frontier};

fn law(json: &Value) -> Option<AnyLaw> {
    let at = |name: &str| json.get(name)?.as_f64();
    let base = ChinchillaLaw::new(at("E")?, at("A")?, at("B")?, at("alpha")?, at("beta")?).ok()?;
    let base = base
        .with_overtraining(Overtraining::new(at("F").unwrap_or(0.0), at("delta").unwrap_or(0.5)).ok()?)
        .with_repetition(Repetition::new(at("r_star_tokens").unwrap_or(15.4), at("r_star_params")).ok()?);
    Some(match json.get("kind")?.as_str()? {
        "chinchilla" => AnyLaw::Chinchilla(base),
        "t2-loss" => AnyLaw::T2Loss(T2LossLaw::new(base, at("G")?, at("gamma")?).ok()?),
        "t2-pass" => {
            let theta = [at("theta0")?, at("theta1")?, at("theta2")?, at("theta3")?, at("theta4")?];
            AnyLaw::T2Pass(T2PassLaw::new(base, theta).ok()?)
        }
        _ => return None,
    })
}

fn budget(json: &Value) -> Option<Budget> {
    let at = |name: &str| json.get(name)?.as_f64();
    let upto = |name, key: &str| Range::new(name, 1.0, at(key).unwrap_or(f64::INFINITY)).ok();
    Budget {
        train: at("train_flops"),
        inference: at("inference_flops"),
        total: at("total_flops"),
        n_params: upto("max_params", "max_params")?,
        n_tokens: upto("max_tokens", "max_tokens")?,
        k: upto("max_k", "max_k")?,
        max_tokens_per_param: at("max_tokens_per_param"),
        unique_tokens: at("unique_tokens"),
        ..Budget::default()
    }
    .checked()
    .ok()
}

fn sane(law: &AnyLaw, value: f64) -> bool {
    !value.is_nan() && (law.sense() == Sense::Least || (0.0..=1.0).contains(&value))
}

fuzz_target!(|data: &[u8]| {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let Some(law) = law(&json) else { return };
    let at = |name: &str| json.get(name).and_then(Value::as_f64);
    let (n, d, k) = (at("n_params").unwrap_or(1e9), at("n_tokens").unwrap_or(2e10), at("k").unwrap_or(4.0));
    if let Ok(value) = law.value(n, d, k) {
        assert!(sane(&law, value), "the law is worth {value} at {n:e}, {d:e}, {k}");
        let mut all = [0.0; 3];
        law.values(&[n; 3], &[d; 3], &[k; 3], &mut all).expect("one point was right");
        for other in all {
            // The vector code has its own exp and ln.
            assert!(
                other == value || (other - value).abs() <= 1e-9 * value.abs().max(1e-300),
                "{other:e} beside {value:e}"
            );
        }
    }
    let _ = law.gradient(n, d, k);
    let Some(budget) = budget(&json) else { return };
    if let Ok(plan) = exact::plan(&law, &budget, None) {
        for design in [plan.best, plan.continuous] {
            assert!(sane(&law, design.value), "{design:?}");
            assert!(budget.affords(design.train_flops, design.inference_flops), "{design:?}");
            for (range, value) in
                [(budget.n_params, design.n_params), (budget.n_tokens, design.n_tokens), (budget.k, design.k)]
            {
                assert!(value >= range.lo * (1.0 - SLACK) && value <= range.hi * (1.0 + SLACK), "{design:?}");
            }
        }
        assert!(plan.best.k.fract() == 0.0, "{:?}", plan.best);
    }
    let _ = frontier::isoflop(&law, &budget, &[n]);
});
