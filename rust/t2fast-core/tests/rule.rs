//! Rules proved by themselves: closed forms, simulation, and brute force over grids and lattices.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::sync::Arc;

use t2fast_core::cost::{Budget, Range};
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, RuledLaw, T2PassLaw, beta_pass_at_k};
use t2fast_core::plan::exact::plan;
use t2fast_core::plan::grid::{Axes, search};
use t2fast_core::rule::{Counted, Fallback, Priced, Room, Rule, Shape, Verifier};
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
        (verifier(0.1, 0.9, Abstain, 2.0), 2.0),
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

/// A test that errs on next to no question is pass@k, however many samples there are and however hard the questions.
#[test]
fn numbers_of_samples_beyond_all_reason_are_told_apart() {
    let mut room = Room::new();
    let near = Priced::new(verifier(1e-14, 1.0, Fallback::Rejected, 2.0), 0.0).unwrap();
    for (a, b, k) in [
        (0.3, 1e12, 1e15),
        (0.01, 1e15, 5.9e19),
        (0.2, 0.5, 1e19),
        (3.0, 1e18, 1e17),
        (3e-5, 2e3, 1e30),
        (0.7, 2e16, 3e15),
        (200.0, 1e20, 1e18),
    ] {
        let (found, exact) = (near.value(a, b, k, &mut room), beta_pass_at_k(a, b, k));
        assert!((found - exact).abs() < 1e-9 * exact.max(1e-3), "{a} {b} {k}: {found} {exact}");
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

/// Means over distributions that lie near one, against sums over their own logits.
#[test]
fn distributions_of_easy_questions_are_summed_where_they_lie() {
    let mut room = Room::new();
    for (rule, cost) in rules() {
        let priced = Priced::new(rule.clone(), cost).unwrap();
        for (a, b) in [(12.0, 3.0), (100.0, 10.0), (300.0, 100.0), (1e3, 10.0), (9930.0, 71.0), (1e5, 10.0), (1e6, 2.0)]
        {
            let (middle, deviation) = (f64::ln(a / b), (1.0f64 / a + 1.0 / b).sqrt());
            for k in [1.0, 3.0, 50.0] {
                let (mut sum, mut total) = (0.0, 0.0);
                for i in -1500..=1500 {
                    let u = middle + deviation * f64::from(i) / 100.0;
                    let (p, ln_p, ln_q) = (1.0 / (1.0 + (-u).exp()), -(-u).exp().ln_1p(), -u.exp().ln_1p());
                    let weight = (a * (ln_p + (b / a).ln_1p()) + b * (ln_q + (a / b).ln_1p())).exp();
                    sum += weight * priced.at_rate(p, k);
                    total += weight;
                }
                let found = priced.value(a, b, k, &mut room);
                assert!((found - sum / total).abs() < 1e-5, "{rule:?} a {a} b {b} k {k}: {found}, {}", sum / total);
            }
        }
    }
}

/// Compares every rule at (p, k) with a million simulated questions.
fn simulate(points: &[(f64, u32)], rules: &[(Rule, f64)]) {
    let mut draws = Draws(88_172_645_463_325_252);
    let (rounds, mut worst) = (1_000_000, 0.0_f64);
    for (rule, cost) in rules {
        let priced = Priced::new(rule.clone(), *cost).unwrap();
        for &(p, k) in points {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..rounds {
                let worth = answer(rule, *cost, p, k, &mut draws);
                sum += worth;
                squares += worth * worth;
            }
            let n = f64::from(rounds);
            let mean = sum / n;
            // What happens less than once in a million may not happen at all.
            let error = ((squares / n - mean * mean).max(0.0) / n).sqrt().max(1.0 / n);
            let found = priced.at_rate(p, f64::from(k));
            worst = worst.max((found - mean).abs() / error);
            assert!((found - mean).abs() < 4.0 * error, "{rule:?} {p} {k}: {found} against {mean} +- {error}");
        }
    }
    println!("worst of {} comparisons: {worst:.2} standard errors", points.len() * rules.len());
}

#[test]
fn simulated_questions_are_answered_as_predicted() {
    simulate(&[(0.3, 9), (0.001, 1), (0.02, 30), (0.999, 4), (0.0, 3), (1.0, 2)], &rules());
}

/// `cargo test --release -p t2fast-core --test rule -- --ignored --nocapture`, some minutes.
#[test]
#[ignore = "takes minutes"]
fn simulated_questions_are_answered_as_predicted_at_many_points() {
    let mut points = Vec::new();
    for p in [0.0, 0.0005, 0.03, 0.3, 0.7, 0.99, 1.0] {
        points.extend([1, 2, 3, 8, 25, 100].map(|k| (p, k)));
    }
    points.extend([(0.01, 200), (0.6, 200), (0.35, 1000)]);
    let mut all = rules();
    all.extend([
        (verifier(0.3, 0.6, Fallback::Rejected, 0.0), 0.0),
        (verifier(0.0, 1.0, Fallback::Abstain, 0.0), 0.0),
        (Rule::BestOf { d_prime: 0.0 }, 0.0),
        (Rule::BestOf { d_prime: 4.0 }, 2.0),
        (Rule::Majority { tails: vec![vec![1.0]], rates: vec![] }, 0.0),
        (Rule::Majority { tails: vec![vec![1.0 / 30.0; 30]], rates: vec![] }, 0.0),
    ]);
    simulate(&points, &all);
}

#[test]
fn what_counts_say_is_unbiased() {
    // The mean over c ~ Binomial(n, p) is the rule's value at p, for rules that do not depend on p.
    let n = 150_u64;
    let fixed: Vec<(Rule, f64)> = rules()
        .into_iter()
        .filter(|(rule, _)| match rule {
            Rule::Verifier(verifier) => verifier.slope == 0.0,
            Rule::Majority { rates, .. } => rates.is_empty(),
            Rule::BestOf { .. } => true,
        })
        .collect();
    let counts: Vec<u64> = (0..=n).collect();
    for (rule, cost) in &fixed {
        let priced = Priced::new(rule.clone(), *cost).unwrap();
        for k in [1, 2, 9, 100, 128, 150_u64] {
            let each =
                priced.of_counts(Counted::Value, &vec![n; counts.len()], &counts, &vec![k; counts.len()]).unwrap();
            let drawn =
                priced.of_counts(Counted::Drawn, &vec![n; counts.len()], &counts, &vec![k; counts.len()]).unwrap();
            for p in [1e-4_f64, 0.02, 0.3, 0.9] {
                let mut chance = (1.0 - p).powi(150);
                let (mut sum, mut samples) = (0.0, 0.0);
                for c in 0..=n {
                    sum += chance * each[c as usize];
                    samples += chance * drawn[c as usize];
                    chance *= (n - c) as f64 / (c + 1) as f64 * p / (1.0 - p);
                }
                let (exact, exact_drawn) = (priced.at_rate(p, k as f64), priced.drawn_at_rate(p, k as f64));
                let tolerance = if matches!(rule, Rule::Verifier(_)) { 1e-9 } else { 3e-6 };
                assert!((sum - exact).abs() < tolerance, "{rule:?} {p} {k}: {sum} {exact}");
                assert!((samples / exact_drawn - 1.0).abs() < 1e-9, "{rule:?} {p} {k}: {samples} {exact_drawn}");
            }
        }
    }
}

#[test]
fn counts_under_a_test_that_does_not_err_are_pass_at_k() {
    let perfect = Priced::new(verifier(0.0, 1.0, Fallback::Rejected, 0.0), 0.0).unwrap();
    for (n, c, k) in [(128, 0, 3), (128, 5, 100), (10_112, 43, 900), (3_720_320, 7, 40_000), (7, 7, 7)] {
        let found = perfect.of_counts(Counted::Value, &[n], &[c], &[k]).unwrap()[0];
        let exact = t2fast_core::passk::estimate::pass_at_k(n, c, k);
        assert!((found - exact).abs() < 1e-12, "{n} {c} {k}: {found} {exact}");
    }
    assert!(perfect.of_counts(Counted::Value, &[3], &[4], &[1]).is_err());
    assert!(perfect.of_counts(Counted::Value, &[3], &[1], &[4]).is_err());
    assert!(perfect.of_counts(Counted::Value, &[3, 3], &[1], &[1]).is_err());
    assert_eq!(perfect.of_counts(Counted::Value, &[3], &[1], &[0]).unwrap(), [0.0]);
}

#[test]
fn where_k_changes_nothing_one_sample_is_best() {
    let budget = Budget { train: Some(1e20), inference: Some(1.4e11), ..Budget::default() };
    for (rule, cost) in [
        (Rule::BestOf { d_prime: 0.0 }, 0.0),
        (verifier(1.0, 1.0, Fallback::Rejected, 0.0), 0.0),
        (verifier(1.0, 1.0, Fallback::Abstain, 0.0), 1e-6),
        (verifier(0.4, 0.4, Fallback::Rejected, 0.0), 1e-6),
    ] {
        for stops in [false, true] {
            if stops && matches!(rule, Rule::BestOf { .. }) {
                continue;
            }
            let law = AnyLaw::Ruled(RuledLaw { stops, ..ruled(rule.clone(), cost) });
            let best = plan(&law, &budget, None).unwrap().best;
            assert_eq!((best.k, best.samples), (1.0, 1.0), "{rule:?}");
            // The value of one sample, in every digit.
            assert_eq!(law.at_loss(best.loss, 1.0), law.at_loss(best.loss, 700.0));
            let ks = [1.0, 2.0, 300.0];
            let axes = Axes { n_params: &[best.n_params], n_tokens: &[best.n_tokens * 0.999], k: &ks };
            if !stops {
                assert_eq!(search(&law, axes, &budget, 1, &Progress::default()).unwrap()[0].design.k, 1.0, "{rule:?}");
            }
        }
    }
    // Accepting all and accepting more right than wrong are two things.
    let law = AnyLaw::Ruled(ruled(verifier(0.4, 0.4, Fallback::Abstain, 0.0), 0.0));
    assert!(plan(&law, &budget, None).unwrap().best.k > 1.0);
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
fn a_summit_is_found_however_many_samples_are_paid_for() {
    // Beyond a few hundred samples one is accepted of all questions, and the value is level to the last digit.
    let mut room = Room::new();
    for (f, cost) in [(0.05, 1.0), (0.05, 0.2), (0.3, 3.0), (0.001, 0.5)] {
        let priced = Priced::new(verifier(f, 0.9, Fallback::Abstain, 0.0), cost).unwrap();
        for (a, b) in [(60.0, 20.0), (8.0, 1.0), (2.0, 3.0), (500.0, 20.0)] {
            let top = (1..=2000).map(|k| priced.value(a, b, f64::from(k), &mut room)).fold(0.0, f64::max);
            for most in [2e3, 2e4, 1e6] {
                let (k, value) = priced.best(a, b, most, true, &mut room);
                assert!(value >= top - 1e-10, "{f} {cost} {a} {b} {most}: {value} at {k}, {top}");
            }
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
fn the_k_that_draws_as_many_is_found_whatever_is_left_to_be_drawn() {
    let mut room = Room::new();
    for f in [0.0, 1e-3, 0.01, 0.3] {
        let rule = Priced::new(verifier(f, 0.9, Fallback::Abstain, 0.0), 0.0).unwrap();
        for (a, b) in [(0.3, 1.0), (0.3, 100.0), (2.0, 1.0), (1e-3, 5.0), (300.0, 40.0)] {
            let all = rule.drawn(a, b, 1e9, &mut room);
            for share in [0.01, 0.3, 0.9, 0.999, 0.999_999] {
                let drawn = (share * all).max(1.0 + 1e-3 * (all - 1.0));
                let k = rule.k_for_drawn(a, b, drawn, f64::INFINITY, &mut room);
                let there = rule.drawn(a, b, k, &mut room);
                assert!((there / drawn - 1.0).abs() < 1e-9, "{f} {a} {b} {share}: {there} for {drawn}, k {k}");
            }
            // More than can be used: nearly all of them.
            let k = rule.k_for_drawn(a, b, 2.0 * all, f64::INFINITY, &mut room);
            assert!((rule.drawn(a, b, k, &mut room) / all - 1.0).abs() < 2e-6);
            assert_eq!(rule.k_for_drawn(a, b, 2.0 * all, 1e4, &mut room), 1e4);
        }
    }
}

/// Where sampling stops, a grid cannot say what k costs: sizes are tried one by one, each with the k that it just pays for.
#[test]
fn whole_k_are_best_where_they_are_just_paid_for() {
    let mut draws = Draws(88_172_645_463_325_252);
    let mut all = rules();
    all.push((verifier(0.0, 1.0, Fallback::Abstain, 0.0), 0.0));
    for (rule, cost) in all.into_iter().filter(|(rule, _)| matches!(rule, Rule::Verifier(_))) {
        let law = RuledLaw { stops: true, ..ruled(rule.clone(), cost) };
        let base = law.law;
        for _ in 0..4 {
            let (train, inference) = (10f64.powf(20.0 + 2.0 * draws.next()), 10f64.powf(10.0 + 1.5 * draws.next()));
            let k = Range { lo: 1.0, hi: 2e4 };
            let budget = Budget { train: Some(train), inference: Some(inference), k, ..Budget::default() };
            let best = plan(&AnyLaw::Ruled(law.clone()), &budget, None).unwrap().best;
            assert!(best.inference_flops <= inference * (1.0 + 1e-9) && best.k.fract() == 0.0, "{best:?}");
            let mut room = Room::new();
            let mut top: f64 = 0.0;
            for i in 0..4000 {
                let n = best.n_params * (f64::from(i - 2000) / 2000.0).exp();
                let (a, b) = base.beta(base.chinchilla.loss(n, train / (6.0 * n)));
                let paid = inference / (2.0 * n);
                if paid >= 1.0 {
                    let most = law.rule.k_for_drawn(a, b, paid, 2e4, &mut room);
                    top = top.max(law.rule.best(a, b, most, true, &mut room).1);
                }
            }
            assert!(top <= best.value + 1e-6, "{rule:?} {budget:?}: {top} {best:?}");
        }
    }
}

/// The same of one budget for all, where k is bounded: with as many samples as a bound allows just paid for, rounding in what
/// is left for them must not take one away.
#[test]
fn as_many_samples_as_allowed_are_drawn_where_they_are_paid_for() {
    for (f, slope) in [(0.001_48, 1.3), (0.01, 0.0), (0.02, 0.6)] {
        let law = RuledLaw { stops: true, ..ruled(verifier(f, 0.9, Fallback::Abstain, slope), 0.0) };
        for exponent in 0..40 {
            let k = Range { lo: 1.0, hi: 2048.0 };
            let total = 10f64.powf(14.0 + 0.2 * f64::from(exponent));
            let budget = Budget { total: Some(total), k, ..Budget::default() };
            let found = plan(&AnyLaw::Ruled(law.clone()), &budget, None).unwrap();
            let (best, real) = (found.best, found.continuous);
            assert!(best.total_flops() <= total * (1.0 + 1e-9) && best.k.fract() == 0.0, "{best:?}");
            assert!(best.value <= real.value * (1.0 + 1e-7), "{best:?} {real:?}");
            // Whole numbers cost little where there are many, and nothing where the real one is whole.
            let least = if real.k > 2047.999 { 1e-6 } else { 3.0 / real.k.powi(2) };
            assert!(best.value >= real.value * (1.0 - least), "{f} {slope} {total:e}: {best:?} {real:?}");
        }
    }
}

/// The worst that a grid beats the plan by, over some budgets; a finer grid around the best of the first follows each.
fn beaten_by_grids(
    rule: &Rule,
    cost: f64,
    points: [u32; 3],
    budgets: u32,
    draws: &mut Draws,
    total: bool,
) -> (f64, f64) {
    let axis = |lo: f64, hi: f64, count: u32| -> Vec<f64> {
        (0..count).map(|i| lo * (hi / lo).powf(f64::from(i) / f64::from(count - 1))).collect()
    };
    let whole = |lo: f64, hi: f64, count: u32| {
        let mut ks: Vec<f64> = axis(lo.max(1.0), hi, count).iter().map(|k| k.round()).collect();
        ks.dedup();
        ks
    };
    // By that law no model answers 2% at the first try: where wrong answers cost something it would be silent.
    let able = T2PassLaw::new(tiny().chinchilla, [1.5, 2.0, 0.9, 1.0, -0.2]).unwrap();
    let law = if cost > 0.0 { able } else { tiny() };
    let law = AnyLaw::Ruled(RuledLaw { law, ..ruled(rule.clone(), cost) });
    let mut worst = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for _ in 0..budgets {
        let (train, inference) = (10f64.powf(19.0 + 6.0 * draws.next()), 10f64.powf(9.5 + 4.5 * draws.next()));
        let k = Range { lo: 1.0, hi: 2e4 };
        let budget = if total {
            Budget { total: Some(10f64.powf(17.0 + 6.0 * draws.next())), k, ..Budget::default() }
        } else {
            Budget { train: Some(train), inference: Some(inference), k, ..Budget::default() }
        };
        let best = plan(&law, &budget, None).unwrap().best;
        let find = |ns: Vec<f64>, ds: Vec<f64>, ks: Vec<f64>| {
            let axes = Axes { n_params: &ns, n_tokens: &ds, k: &ks };
            let found = search(&law, axes, &budget, 1, &Progress::default()).unwrap()[0].design;
            // The grid is right about its own points.
            assert!((law.at_loss(found.loss, found.k) - found.value).abs() < 1e-12);
            found
        };
        let coarse = find(axis(1e6, 1e12, points[0]), axis(1e8, 1e15, points[1]), whole(1.0, 2e4, points[2]));
        worst.0 = worst.0.max(coarse.value - best.value);
        if coarse.value <= 0.0 {
            continue;
        }
        // Two steps of the first grid to either side.
        let step = |range: f64, count: u32| range.powf(2.0 / f64::from(count - 1));
        let (n, d, k) = (step(1e6, points[0]), step(1e7, points[1]), step(2e4, points[2]));
        let fine = find(
            axis(coarse.n_params / n, coarse.n_params * n, points[0]),
            axis(coarse.n_tokens / d, coarse.n_tokens * d, points[1]),
            whole(coarse.k / k, coarse.k * k, points[2]),
        );
        worst.1 = worst.1.max(fine.value - best.value);
        assert!(coarse.value.max(fine.value) <= best.value + 1e-6, "{rule:?} {budget:?}: {best:?} {coarse:?} {fine:?}");
        // And the plan is no fantasy: the finer grid nearly reaches it.
        assert!(fine.value >= best.value * 0.97 - 2e-3, "{rule:?}: {best:?} {fine:?}");
    }
    worst
}

#[test]
fn no_grid_beats_a_plan_under_a_rule() {
    let mut draws = Draws(2_463_534_242_123_456_789);
    for (rule, cost) in rules() {
        beaten_by_grids(&rule, cost, [60, 60, 60], 3, &mut draws, false);
        beaten_by_grids(&rule, cost, [60, 60, 60], 3, &mut draws, true);
    }
}

#[test]
fn votes_are_planned_with_odd_numbers_on_both_sides() {
    // The best real k is 5, for the cost of 4.2 samples; of whole ones 7 is best.
    let rule = Rule::Majority { tails: vec![vec![0.5, 0.5], vec![0.8, 0.2]], rates: vec![0.1, 0.7] };
    let able = T2PassLaw::new(tiny().chinchilla, [1.5, 2.0, 0.9, 1.0, -0.2]).unwrap();
    let law = AnyLaw::Ruled(RuledLaw { law: able, ..ruled(rule, 0.5) });
    let budget = Budget {
        train: Some(4.051_303_908_781_15e21),
        inference: Some(11_004_968_150.274_845),
        k: Range { lo: 1.0, hi: 2e4 },
        ..Budget::default()
    };
    let best = plan(&law, &budget, None).unwrap().best;
    assert_eq!(best.k, 7.0);
    assert!(best.value > 0.78048, "{best:?}");
    // No plan takes more samples than its budget pays for, with a real k neither.
    let mut draws = Draws(88_172_645_463_325_252);
    for (rule, cost) in rules().into_iter().filter(|(rule, _)| matches!(rule, Rule::Majority { .. })) {
        let law = AnyLaw::Ruled(RuledLaw { law: able, ..ruled(rule, cost) });
        for _ in 0..12 {
            let inference = 10f64.powf(9.0 + 3.0 * draws.next());
            let budget = Budget { train: Some(4e21), inference: Some(inference), ..Budget::default() };
            let found = plan(&law, &budget, None).unwrap();
            for design in [found.best, found.continuous] {
                assert!(design.inference_flops <= inference * (1.0 + 1e-9), "{design:?}");
            }
        }
    }
}

/// `cargo test --release -p t2fast-core --test rule -- --ignored --nocapture`, some minutes.
#[test]
#[ignore = "takes minutes"]
fn no_grid_of_32_million_points_beats_a_plan_under_a_rule() {
    // Each rule has budgets of its own, whichever others run.
    for (place, (rule, cost)) in rules().into_iter().enumerate().rev() {
        let mut draws = Draws(2_463_534_242_123_456_789 + (place as u64) * 0x9e37_79b9);
        let (coarse, fine) = beaten_by_grids(&rule, cost, [400, 400, 200], 50, &mut draws, false);
        println!("{rule:?}, price {cost}: grid less plan at most {coarse:.1e}, around its best {fine:.1e}");
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
