//! Costs in seconds and dollars: closed forms, and plans in money against brute force.

use t2fast_core::cost::roofline::{Card, Constants, Question, Roofline, Serving};
use t2fast_core::cost::shape::{Family, Shape};
use t2fast_core::cost::{Budget, Money, Prompt, Range, Workload};
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, Sense, T2LossLaw, T2PassLaw};
use t2fast_core::plan::exact::{optimum, plan};
use t2fast_core::random::Philox;

const SERVING: Serving = Serving {
    weight_bytes: 2.0,
    kv_bytes: 2.0,
    cards: 1.0,
    most_sequences: 4096.0,
    batch: None,
    most_seconds: None,
    train_context: 2048.0,
};

const MEASURED: Constants = Constants {
    compute: 0.7,
    memory: 0.8,
    activations: 30.0,
    layer: 1.2e-5,
    expert_layer: 3e-5,
    step: 1e-3,
    link: 0.4,
    hop: 1e-5,
    request: 0.02,
    regroup: 0.0,
    train_compute: 0.6,
    train_activations: 440.0,
};

const PYTHIA: Family = Family { depth: 0.29856, slope: 0.56425, block: 12.0, vocab: 50304.0, tied: false, group: 1.0 };
const KAPLAN: Family = Family { depth: 1.0 / 128.0, slope: 1.0, block: 12.0, vocab: 0.0, tied: false, group: 1.0 };

fn h100() -> Card {
    Card { flops: 9.89e14, train_flops: 9.89e14, bandwidth: 3.35e12, memory: 8e10, link: 4.5e11 }
}

fn ideal() -> Roofline {
    let card = Card { flops: 1e15, train_flops: 1e15, bandwidth: 1e40, memory: 1e40, link: 1e40 };
    let serving = Serving { most_sequences: 1e12, train_context: 0.0, ..SERVING };
    Roofline { card, constants: Constants::IDEAL, serving }
}

fn laws() -> [AnyLaw; 2] {
    let base = ChinchillaLaw::new(1.8, 480.0, 2100.0, 0.35, 0.37).unwrap();
    let latent = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    [
        AnyLaw::T2Loss(T2LossLaw::new(base, 1.0, 0.3).unwrap()),
        AnyLaw::T2Pass(T2PassLaw::new(latent, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap()),
    ]
}

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a / b - 1.0).abs() <= tolerance, "{a} {b}");
}

#[test]
fn an_ideal_card_bills_2nk_and_6nd() {
    let card = ideal();
    let shape = KAPLAN.shape(1e9);
    close(card.train_seconds(&shape), 6e9 / 1e15, 1e-12);
    for (k, answer) in [(1.0, 1.0), (7.0, 150.0), (1000.0, 2000.0)] {
        let question = Question { prompt_tokens: 0.0, answer_tokens: answer, k, prompt: Prompt::Shared };
        close(card.bill(&shape, &question).unwrap().parts.sum(), 2e9 * k * answer / 1e15, 1e-9);
    }
}

#[test]
fn a_lone_sequence_reads_the_weights_once_a_token() {
    let serving = Serving { batch: Some(1.0), ..SERVING };
    let constants = Constants { memory: 0.5, compute: 1.0, ..Constants::IDEAL };
    let card = Roofline { card: h100(), constants, serving };
    let shape = Shape { vocab: 0.0, ..KAPLAN.shape(7e9) };
    let bill = card
        .bill(&shape, &Question { prompt_tokens: 0.0, answer_tokens: 1.0, k: 1.0, prompt: Prompt::Cached })
        .unwrap();
    // 14 GB at half of 3.35 TB/s, and half a token of keys and values.
    let bytes = 1.4e10 + 0.5 * 2.0 * shape.layers * shape.kv_width * 2.0;
    close(bill.step, bytes / (0.5 * 3.35e12), 1e-12);
}

#[test]
fn the_bill_of_a_size_is_what_the_planner_counts() {
    let mut random = Philox::new(5, 0);
    let mut draw = |low: f64, high: f64| low * (high / low).powf(random.uniform());
    let mut counted = 0;
    for i in 0..600 {
        let serving = Serving {
            cards: if i % 3 == 0 { 2.0 } else { 1.0 },
            most_sequences: if i % 2 == 0 { 64.0 } else { 4096.0 },
            most_seconds: (i % 5 == 0).then(|| draw(0.5, 100.0)),
            ..SERVING
        };
        let roofline = Roofline { card: h100(), constants: MEASURED, serving };
        let money = Money { roofline, family: PYTHIA, dollars_per_second: 2.5 / 3600.0 };
        let prompt = [Prompt::Recomputed, Prompt::Cached, Prompt::Shared][i % 3];
        let (prompt_tokens, answer_tokens) = (draw(1.0, 8000.0), draw(1.0, 4000.0));
        let use_of = Workload { queries: 10.0, prompt_tokens, answer_tokens, prompt, attention: None };
        let (n, k) = (draw(1e6, 3e10), draw(1.0, 1e5));
        let at = money.at(&use_of, n);
        match roofline.bill(&PYTHIA.shape(n), &Question { prompt_tokens, answer_tokens, k, prompt }) {
            Ok(bill) => {
                close(at.inference(k), 10.0 * bill.parts.sum() * 2.5 / 3600.0, 1e-9);
                // What a limit pays for is the inverse of what it costs.
                close(at.most_samples(at.inference(k)), k.min(at.most_k), 1e-9);
                counted += 1;
            }
            Err(_) => assert!(k > at.most_k, "{n} {k}"),
        }
    }
    assert!(counted > 300, "{counted}");
}

#[test]
fn costs_are_convex_in_k_and_rise_with_n() {
    let money = Money {
        roofline: Roofline { card: h100(), constants: MEASURED, serving: SERVING },
        family: PYTHIA,
        dollars_per_second: 1.0,
    };
    let use_of = Workload { prompt_tokens: 1000.0, answer_tokens: 150.0, ..Workload::default() };
    let mut before = 0.0;
    for i in 0..200 {
        let n = 1e6 * 1e4_f64.powf(f64::from(i) / 199.0);
        let at = money.at(&use_of, n);
        assert!(at.inference(100.0) > before, "{n}");
        before = at.inference(100.0);
        let costs: Vec<f64> = (1..60).map(|k| at.inference(f64::from(k * k))).collect();
        for (j, three) in costs.windows(3).enumerate() {
            let place = |j: usize| f64::from(u32::try_from((j + 1) * (j + 1)).unwrap());
            let (a, b, c) = (place(j), place(j + 1), place(j + 2));
            let chord = three[0] + (three[2] - three[0]) * (b - a) / (c - a);
            assert!(three[1] <= chord * (1.0 + 1e-12), "{n} {b}");
        }
    }
}

#[test]
fn a_plan_on_an_ideal_card_is_2nks() {
    // 1000 seconds a dollar at 1e15 FLOP per second.
    let money = Money { roofline: ideal(), family: KAPLAN, dollars_per_second: 1e-3 };
    let use_of = Workload { queries: 100.0, answer_tokens: 50.0, ..Workload::default() };
    for law in &laws() {
        for total in [false, true] {
            let flops = if total {
                Budget { total: Some(1e20), ..Budget::default() }
            } else {
                Budget { train: Some(1e20), inference: Some(1e18), ..Budget::default() }
            };
            let flops = Budget { workload: use_of, ..flops };
            let priced = Budget {
                money: Some(money),
                train: flops.train.map(|x| x / 1e18),
                inference: flops.inference.map(|x| x / 1e18),
                total: flops.total.map(|x| x / 1e18),
                ..flops
            };
            let (a, b) = (optimum(law, &flops).unwrap(), optimum(law, &priced).unwrap());
            close(b.design.value, a.design.value, 1e-9);
            assert!(b.converged);
        }
    }
}

/// The best value over a dense lattice of N and D, k as large as the budget allows, refined around the best.
fn brute_force(law: &AnyLaw, budget: &Budget) -> f64 {
    let better = |a: f64, b: f64| law.sense().better(a, b);
    let mut best = (law.sense().worst(), 0.0, 0.5);
    let (mut width_x, mut width_v) = (1e12_f64.ln(), 1.0);
    let (mut x, mut v) = (0.5 * width_x, 0.5);
    for round in 0..18 {
        let steps = if round == 0 { 300 } else { 16 };
        for i in 0..=steps {
            let ln_n = x + width_x * (f64::from(i) / f64::from(steps) - 0.5);
            let n = ln_n.exp();
            let most = budget.most_tokens(n, budget.k.lo);
            if most.is_nan() || most < 1.0 || ln_n < 0.0 {
                continue;
            }
            for j in 0..=steps {
                let share = (v + width_v * (f64::from(j) / f64::from(steps) - 0.5)).clamp(0.0, 1.0);
                let d = (share * most.ln()).exp();
                let k = budget.most_samples(n, d * (1.0 - 1e-15));
                if k >= 1.0 {
                    let value = law.value(n, d, k).unwrap();
                    if better(value, best.0) {
                        best = (value, ln_n, share);
                    }
                }
            }
        }
        (x, v) = (best.1, best.2);
        (width_x, width_v) = if round == 0 { (0.3, 0.05) } else { (0.5 * width_x, 0.5 * width_v) };
    }
    best.0
}

#[test]
fn no_dense_lattice_beats_a_plan_in_dollars() {
    let mut random = Philox::new(11, 0);
    let mut draw = |low: f64, high: f64| low * (high / low).powf(random.uniform());
    for i in 0..24 {
        let serving = Serving { most_seconds: (i % 4 == 0).then_some(30.0), ..SERVING };
        let roofline = Roofline { card: h100(), constants: MEASURED, serving };
        let prompt = [Prompt::Recomputed, Prompt::Cached, Prompt::Shared][i % 3];
        let (prompt_tokens, answer_tokens) = (draw(1.0, 4000.0), draw(10.0, 2000.0));
        let queries = draw(1.0, 1e6);
        let workload = Workload { queries, prompt_tokens, answer_tokens, prompt, attention: None };
        let (train, question) = (draw(10.0, 1e6), draw(1e-5, 1e-2));
        let money = Some(Money { roofline, family: PYTHIA, dollars_per_second: 2.5 / 3600.0 });
        let bounds = Budget { money, workload, k: Range { lo: 1.0, hi: 1e6 }, ..Budget::default() };
        let budget = if i % 2 == 0 {
            Budget { total: Some(train + queries * question), ..bounds }
        } else {
            Budget { train: Some(train), inference: Some(queries * question), ..bounds }
        };
        let law = &laws()[i / 2 % 2];
        let Ok(found) = optimum(law, &budget) else { continue };
        let best = brute_force(law, &budget);
        let value = found.design.value;
        let behind = if law.sense() == Sense::Least { value - best } else { best - value };
        assert!(behind <= 1e-6 * best.abs(), "{i}: {value} {best}");
        let (spent_train, spent) = found.design.dollars.unwrap();
        assert!(budget.affords(spent_train, spent), "{i}");
        // With what stands beside it in a plan.
        let whole = plan(law, &budget, None).unwrap();
        assert!(whole.converged && whole.flat.lo <= whole.flat.hi, "{i}");
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    let card = Roofline { card: Card { memory: 0.0, ..h100() }, constants: MEASURED, serving: SERVING };
    assert!(card.checked().unwrap_err().to_string().contains("memory_bytes = 0"));
    let card = Roofline {
        card: h100(),
        constants: Constants { regroup: -1.0, ..MEASURED },
        serving: Serving { most_seconds: Some(0.0), ..SERVING },
    };
    assert!(card.checked().unwrap_err().to_string().contains("regroup = -1"));
    let card = Roofline { card: h100(), constants: MEASURED, serving: SERVING };
    let question = Question { prompt_tokens: 10.0, answer_tokens: 10.0, k: 1.0, prompt: Prompt::Shared };
    let error = card.bill(&KAPLAN.shape(1e12), &question).unwrap_err();
    assert!(error.is_infeasible() && error.to_string().contains("the weights need 2000.0 GB"), "{error}");
}
