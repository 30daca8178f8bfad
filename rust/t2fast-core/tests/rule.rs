//! Rules proved by themselves: closed forms, simulation, and brute force over grids and lattices.

#![allow(clippy::cast_precision_loss)]

use std::sync::Arc;

use t2fast_core::cost::Budget;
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, RuledLaw, T2PassLaw, beta_pass_at_k};
use t2fast_core::plan::exact::plan;
use t2fast_core::plan::grid::{Axes, search};
use t2fast_core::rule::{Fallback, Priced, Room, Rule, Shape, Verifier};
use t2fast_core::threads::Progress;

fn verifier(false_positive: f64, recall: f64, fallback: Fallback, slope: f64) -> Rule {
    Rule::Verifier(Verifier { false_positive, recall, fallback, slope })
}

fn zipf(count: u32) -> Vec<f64> {
    let sum: f64 = (1..=count).map(|j| 1.0 / f64::from(j)).sum();
    (1..=count).map(|j| 1.0 / f64::from(j) / sum).collect()
}

fn rules() -> Vec<(Rule, f64)> {
    use Fallback::{Abstain, Rejected};
    vec![
        (verifier(0.05, 0.9, Rejected, 0.0), 0.0),
        (verifier(0.01, 0.8, Abstain, 0.0), 0.0),
        (verifier(0.05, 0.9, Abstain, 0.0), 1.0),
        (verifier(0.1, 0.9, Rejected, 0.8), 0.5),
        (verifier(0.1, 0.9, Abstain, 0.8), 2.0),
        (Rule::BestOf { d_prime: 1.2 }, 0.0),
        (Rule::Majority { tails: vec![zipf(10)], rates: vec![] }, 0.0),
        (Rule::Majority { tails: vec![vec![0.5, 0.5], vec![0.8, 0.2]], rates: vec![0.1, 0.7] }, 0.5),
    ]
}

fn tiny() -> T2PassLaw {
    let base = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    T2PassLaw::new(base, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap()
}

fn ruled(rule: Rule, wrong_cost: f64) -> RuledLaw {
    RuledLaw { law: tiny(), rule: Arc::new(Priced::new(rule, wrong_cost).unwrap()), stops: false }
}

/// Numbers in (0, 1), the same in every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

#[test]
fn a_test_that_does_not_err_is_pass_at_k() {
    let mut room = Room::new();
    for fallback in [Fallback::Rejected, Fallback::Abstain] {
        let rule = Priced::new(verifier(0.0, 1.0, fallback, 0.0), 0.0).unwrap();
        for (a, b, k) in [(0.3, 120.0, 872.0), (0.2, 0.5, 131.0), (30.0, 2.0, 4.0), (1e-9, 1e9, 50.0)] {
            assert_eq!(rule.value(a, b, k, &mut room), beta_pass_at_k(a, b, k));
        }
    }
    // Nearly so, by the integral: the two meet.
    let near = Priced::new(verifier(1e-14, 1.0, Fallback::Rejected, 0.0), 0.0).unwrap();
    for (a, b, k) in [(0.3, 120.0, 872.0), (0.2, 0.5, 131.0), (30.0, 2.0, 4.0), (300.0, 5e4, 100.0), (2.0, 3.0, 1.0)] {
        let (found, exact) = (near.value(a, b, k, &mut room), beta_pass_at_k(a, b, k));
        assert!((found - exact).abs() < 1e-9, "{a} {b} {k}: {found} {exact}");
    }
}

#[test]
fn one_sample_is_right_as_often_as_samples_are() {
    let mut room = Room::new();
    for (rule, cost) in rules() {
        let priced = Priced::new(rule.clone(), cost).unwrap();
        if matches!(rule, Rule::Verifier(Verifier { fallback: Fallback::Abstain, .. })) {
            continue;
        }
        for (a, b) in [(0.3, 120.0), (0.2, 0.5), (40.0, 60.0), (1e9, 1e9)] {
            let mean = a / (a + b);
            let found = priced.value(a, b, 1.0, &mut room);
            assert!((found - (mean - cost * (1.0 - mean))).abs() < 1e-8, "{rule:?} {a} {b} {found}");
        }
    }
}

#[test]
fn narrow_and_wide_distributions_agree_with_sums_over_rates() {
    // Beta(a, b) as a dense midpoint sum over p, of the rule's own values at p.
    let mut room = Room::new();
    for (rule, cost) in rules() {
        let vote = matches!(rule, Rule::Majority { .. });
        let priced = Priced::new(rule.clone(), cost).unwrap();
        for (a, b) in [(1.5_f64, 4.0_f64), (3.9, 4.1), (12.0, 30.0), (400.0, 900.0)] {
            for k in [2.0, 7.0, 60.0] {
                let points = 20_000;
                let (mut sum, mut mass) = (0.0, 0.0);
                for i in 0..points {
                    let p: f64 = (f64::from(i) + 0.5) / f64::from(points);
                    let w = ((a - 1.0) * (p.ln() - (a / (a + b)).ln())
                        + (b - 1.0) * ((1.0 - p).ln() - (b / (a + b)).ln()))
                    .exp();
                    if w > 1e-14 {
                        mass += w;
                        sum += w * priced.at_rate(p, k);
                    }
                }
                let (found, exact) = (priced.value(a, b, k, &mut room), sum / mass);
                let tolerance = if vote { 3e-6 } else { 1e-6 };
                assert!((found - exact).abs() < tolerance, "{rule:?} {a} {b} {k}: {found} {exact}");
            }
        }
    }
}

#[test]
fn simulated_questions_are_answered_as_predicted() {
    let mut draws = Draws(88_172_645_463_325_252);
    let (p, k, rounds) = (0.3_f64, 9_u32, 1_000_000);
    for (rule, cost) in rules() {
        let priced = Priced::new(rule.clone(), cost).unwrap();
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..rounds {
            let worth = answer(&rule, cost, p, k, &mut draws);
            sum += worth;
            squares += worth * worth;
        }
        let n = f64::from(rounds);
        let mean = sum / n;
        let error = ((squares / n - mean * mean) / n).sqrt();
        let found = priced.at_rate(p, f64::from(k));
        assert!((found - mean).abs() < 4.0 * error, "{rule:?}: {found} against {mean} +- {error}");
    }
}

/// One question of success rate p, answered from k samples.
fn answer(rule: &Rule, cost: f64, p: f64, k: u32, draws: &mut Draws) -> f64 {
    let worth = |right: bool| if right { 1.0 } else { -cost };
    match rule {
        Rule::Verifier(v) => {
            let f = if v.slope == 0.0 {
                v.false_positive
            } else {
                let odds = v.false_positive / (1.0 - v.false_positive) * (p / (1.0 - p)).powf(v.slope);
                odds / (1.0 + odds)
            };
            let mut last = 0.0;
            for _ in 0..k {
                let right = draws.next() < p;
                if draws.next() < if right { v.recall } else { f } {
                    return worth(right);
                }
                last = worth(right);
            }
            if v.fallback == Fallback::Abstain { 0.0 } else { last }
        }
        Rule::BestOf { d_prime } => {
            let (mut best, mut won) = (f64::NEG_INFINITY, false);
            for _ in 0..k {
                let right = draws.next() < p;
                // Box and Muller.
                let normal = (-2.0 * draws.next().ln()).sqrt() * (std::f64::consts::TAU * draws.next()).cos();
                let score = if right { normal + d_prime } else { normal };
                if score > best {
                    (best, won) = (score, right);
                }
            }
            worth(won)
        }
        Rule::Majority { tails, rates } => {
            let tail = if rates.is_empty() {
                &tails[0]
            } else {
                let share = (p - rates[0]) / (rates[1] - rates[0]);
                &tails[usize::from(draws.next() < share)]
            };
            let mut votes = vec![0; tail.len() + 1];
            for _ in 0..k {
                if draws.next() < p {
                    votes[0] += 1;
                    continue;
                }
                let (mut at, mut place) = (draws.next(), 0);
                while place + 1 < tail.len() && at >= tail[place] {
                    at -= tail[place];
                    place += 1;
                }
                votes[place + 1] += 1;
            }
            let most = *votes.iter().max().unwrap();
            let tied = votes.iter().filter(|&&count| count == most).count();
            worth(votes[0] == most && draws.next() * (tied as f64) < 1.0)
        }
    }
}

#[test]
fn values_move_with_k_as_their_shape_says() {
    let mut room = Room::new();
    for (rule, cost) in rules() {
        let priced = Priced::new(rule.clone(), cost).unwrap();
        for (a, b) in [(0.3, 120.0), (0.2, 0.5), (2.0, 3.0), (8.0, 1.0)] {
            let values: Vec<f64> = (1..=600).map(|k| priced.value(a, b, f64::from(k), &mut room)).collect();
            let turns = values.windows(3).filter(|w| (w[1] - w[0] > 1e-11) && (w[2] - w[1] < -1e-11)).count();
            let valleys = values.windows(3).filter(|w| (w[1] - w[0] < -1e-11) && (w[2] - w[1] > 1e-11)).count();
            match priced.shape() {
                Shape::Rising => assert!(values.windows(2).all(|w| w[1] > w[0] - 1e-10), "{rule:?} {a} {b}"),
                Shape::Falling => assert!(values.windows(2).all(|w| w[1] < w[0] + 1e-10), "{rule:?} {a} {b}"),
                Shape::Peak => assert!(turns <= 1 && valleys == 0, "{rule:?} {a} {b}: {turns} {valleys}"),
                Shape::Ends => assert!(turns == 0 && valleys <= 1, "{rule:?} {a} {b}: {turns} {valleys}"),
                Shape::Unknown => {}
            }
            // The best of all whole k.
            let top = values.iter().copied().fold(if cost > 0.0 { 0.0 } else { f64::NEG_INFINITY }, f64::max);
            let (k, value) = priced.best(a, b, 600.0, true, &mut room);
            assert!((value - top).abs() < 1e-6, "{rule:?} {a} {b}: {value} at {k}, {top}");
        }
    }
}

#[test]
fn samples_drawn_until_one_is_accepted_add_up() {
    let mut room = Room::new();
    let rule = Priced::new(verifier(0.05, 0.9, Fallback::Rejected, 0.0), 0.0).unwrap();
    for (a, b) in [(0.3, 120.0), (0.2, 0.5), (20.0, 30.0)] {
        for k in [1.0, 4.0, 50.0, 1000.0] {
            // The integral over p of (1 - (1 - alpha)^k) / alpha = sum of (1 - alpha)^i.
            let drawn = rule.drawn(a, b, k, &mut room);
            assert!(drawn <= k * (1.0 + 1e-9) && drawn >= 1.0 - 1e-9);
            let again = rule.k_for_drawn(a, b, drawn, 1e6, &mut room);
            // Where hardly a question is left, k itself says little.
            let there = rule.drawn(a, b, again, &mut room);
            assert!((there / drawn - 1.0).abs() < 1e-9, "{a} {b} {k} {drawn} {again} {there}");
        }
    }
}

#[test]
fn no_grid_beats_a_plan_under_a_rule() {
    let mut draws = Draws(2_463_534_242_123_456_789);
    let axis = |lo: f64, hi: f64, count: u32| -> Vec<f64> {
        (0..count).map(|i| lo * (hi / lo).powf(f64::from(i) / f64::from(count - 1))).collect()
    };
    let mut ks: Vec<f64> = axis(1.0, 5e3, 100).iter().map(|k| k.round()).collect();
    ks.dedup();
    let (ns, ds) = (axis(1e6, 1e11, 100), axis(1e8, 1e13, 100));
    for (rule, cost) in rules() {
        let law = AnyLaw::Ruled(ruled(rule.clone(), cost));
        for _ in 0..4 {
            let budget = Budget {
                train: Some(10f64.powf(19.0 + 3.0 * draws.next())),
                inference: Some(10f64.powf(9.5 + 2.5 * draws.next())),
                ..Budget::default()
            };
            let best = plan(&law, &budget, None).unwrap().best;
            let axes = Axes { n_params: &ns, n_tokens: &ds, k: &ks };
            let found = search(&law, axes, &budget, 1, &Progress::default()).unwrap()[0];
            assert!(best.value >= found.design.value - 1e-6, "{rule:?} {budget:?}: {best:?} {found:?}");
            // And the grid is right about its own points.
            let direct = law.at_loss(found.design.loss, found.design.k);
            assert!((direct - found.design.value).abs() < 1e-12);
        }
    }
}

#[test]
fn bad_numbers_are_refused() {
    assert!(Priced::new(verifier(1.5, 1.0, Fallback::Rejected, 0.0), 0.0).is_err());
    assert!(Priced::new(verifier(0.1, 0.0, Fallback::Rejected, 0.0), 0.0).is_err());
    assert!(Priced::new(verifier(0.1, 1.0, Fallback::Rejected, 0.01), 0.0).is_err());
    assert!(Priced::new(Rule::BestOf { d_prime: -1.0 }, 0.0).is_err());
    assert!(Priced::new(verifier(0.1, 1.0, Fallback::Rejected, 0.0), -1.0).is_err());
}
