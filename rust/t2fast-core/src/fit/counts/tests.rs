//! Derivatives against finite differences, and what weights mean.

use super::*;
use crate::random::Philox;

fn counts(overtraining: bool) -> Counts {
    let mut rng = Philox::new(3, 0);
    let (mut n, mut d, mut samples, mut correct) = (vec![], vec![], vec![], vec![]);
    for cell in 0..24 {
        let (params, tokens) = (1e7 * 4f64.powi(cell % 6), 1e9 * 5f64.powi(cell / 6));
        let mean = 0.8 / (1.0 + (2.0 * (params / 1e9).powf(-0.3) + (tokens / 1e10).powf(-0.4) - 2.0).exp());
        for _ in 0..40 {
            let drawn = if rng.uniform() < 0.5 { 20.0 } else { 128.0 };
            let rate = (2.0 * mean * rng.uniform()).min(1.0);
            n.push(params);
            d.push(tokens);
            samples.push(drawn);
            correct.push((rate * drawn).round());
        }
    }
    let table = Table { n_params: &n, n_tokens: &d, n_samples: &samples, n_correct: &correct };
    Counts::new(&table, overtraining).unwrap()
}

#[test]
fn derivatives_are_those_of_the_value() {
    let (latent, bent) = (counts(false), counts(true));
    let known = counts(false).with_losses(ChinchillaLaw::new(0.5, 400.0, 800.0, 0.34, 0.3).unwrap());
    for problem in [&latent, &bent, &known] {
        let prepared = problem.prepare(None);
        let mut x = prepared.starts()[0];
        (0..problem.size()).for_each(|i| x[i] *= 0.93);
        let at = |x: &Vector| {
            let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
            let value = prepared.derivatives(x, 0.0, &mut g, &mut h);
            (value, g, h)
        };
        let (_, g, h) = at(&x);
        for i in 0..problem.size() {
            let (mut up, mut down) = (x, x);
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let (high, low) = (at(&up), at(&down));
            let slope = (high.0 - low.0) / 2e-6;
            assert!(
                (slope - g[i]).abs() < 1e-5 * g.iter().fold(0.0, |a: f64, b| a.max(b.abs())),
                "{i}: {slope} {}",
                g[i]
            );
            for j in 0..problem.size() {
                let bend = (high.1[j] - low.1[j]) / 2e-6;
                assert!((bend - h[i][j]).abs() < 1e-4 * h[i][i].abs().max(h[j][j].abs()), "{i} {j}");
            }
        }
    }
}

#[test]
fn rows_add_up_and_weights_are_multiplicities() {
    let problem = counts(false);
    let fit = problem.fit(None, None).unwrap();
    let (_, scores) = problem.second_order(&fit.x).unwrap();
    for i in 0..problem.size() {
        let total: f64 = scores.iter().map(|score| score[i]).sum();
        let size: f64 = scores.iter().map(|score| score[i].abs()).sum();
        if !fit.at_bound.contains(&i) {
            assert!(total.abs() < 1e-6 * size.max(1.0), "{i}: {total} of {size}");
        }
    }
    let doubled = problem.fit(Some(&vec![2.0; problem.rows()]), None).unwrap();
    assert!((doubled.objective - 2.0 * fit.objective).abs() < 1e-8 * fit.objective);
}

#[test]
fn coefficients_and_jacobian_agree() {
    for overtraining in [false, true] {
        let problem = counts(overtraining);
        let x = problem.prepare(None).starts()[0];
        let jacobian = problem.jacobian(&x);
        assert_eq!(jacobian.len(), problem.names().len());
        for j in 0..problem.size() {
            let (mut up, mut down) = (x, x);
            up[j] += 1e-6;
            down[j] -= 1e-6;
            for ((row, high), low) in jacobian.iter().zip(problem.coefficients(&up)).zip(problem.coefficients(&down)) {
                let slope = (high - low) / 2e-6;
                assert!((slope - row[j]).abs() <= 1e-6 * slope.abs().max(1e-3));
            }
        }
    }
}

#[test]
fn the_term_is_found_where_it_is_and_not_where_it_is_not() {
    let sampled = |f: f64| {
        let mut rng = Philox::new(9, 0);
        let (mut n, mut d, mut samples, mut correct) = (vec![], vec![], vec![], vec![]);
        for cell in 0..40 {
            let (params, tokens) = (1e7 * 4f64.powi(cell % 5), 1e9 * 4f64.powi(cell / 5));
            let over = f * (tokens / params / 1e3).powf(0.6);
            let loss = 0.3 * (params / 1e9).powf(-0.5) + (tokens / 1e10).powf(-0.3) + over;
            let mean = 0.7 / (1.0 + (loss - 1.0).exp());
            for _ in 0..60 {
                // Uniform about the mean: no Beta, but of its mean.
                let rate = mean + mean.min(1.0 - mean) * (2.0 * rng.uniform() - 1.0);
                n.push(params);
                d.push(tokens);
                samples.push(100.0);
                correct.push((0..100).map(|_| f64::from(u8::from(rng.uniform() < rate))).sum());
            }
        }
        let table = Table { n_params: &n, n_tokens: &d, n_samples: &samples, n_correct: &correct };
        let problem = Counts::new(&table, true).unwrap();
        let fit = problem.fit(None, None).unwrap();
        assert!(fit.converged);
        let plain = Counts::new(&table, false).unwrap().fit(None, None).unwrap();
        let gain = plain.objective - (fit.objective - problem.penalty(&fit.x));
        let c = problem.coefficients(&fit.x);
        (c[5] * 1e3_f64.powf(c[6]), c[6], gain)
    };
    let (f, delta, gain) = sampled(0.8);
    assert!((f - 0.8).abs() < 0.25 && (delta - 0.6).abs() < 0.15 && gain > 100.0, "{f} {delta} {gain}");
    let (f, _, gain) = sampled(0.0);
    assert!(f < 0.02 && gain.abs() < 4.0, "{f} {gain}");
}

#[test]
fn near_constant_tokens_per_parameter_are_refused() {
    let n: Vec<f64> = (0..12).map(|i| 1e7 * 2f64.powi(i)).collect();
    let d: Vec<f64> = n.iter().map(|n| 20.0 * n).collect();
    let (samples, correct) = (vec![10.0; 12], vec![3.0; 12]);
    let table = Table { n_params: &n, n_tokens: &d, n_samples: &samples, n_correct: &correct };
    assert!(Counts::new(&table, true).unwrap_err().to_string().contains("D/N spans only 20"));
}
