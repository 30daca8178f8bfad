//! Derivatives against finite differences, and what grouping leaves unchanged.

use proptest::prelude::*;

use super::*;
use crate::random::Philox;

type Columns = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

/// N, D, k and a noisy loss on a grid with gaps, so that checkpoints have different k.
fn columns(rows: usize) -> Columns {
    let mut rng = Philox::new(1, 2);
    let mut out = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let n = 1e7 * 3f64.powi(i32::try_from(row % 5).unwrap());
        let d = 1e9 * 4f64.powi(i32::try_from(row / 5 % 4).unwrap());
        let k = (1.0 + 100.0 * rng.uniform() * rng.uniform()).round();
        out.0.push(n);
        out.1.push(d);
        out.2.push(k);
        out.3.push(
            (1.0 + 400.0 * n.powf(-0.33) + 900.0 * d.powf(-0.31) + 0.7 * k.powf(-0.4)) * (0.98 + 0.04 * rng.uniform()),
        );
    }
    out
}

fn problem(columns: &Columns, k: bool, unique: Option<&[f64]>, settings: Settings) -> PowerSum {
    let (n_params, n_tokens, samples, loss) = columns;
    let k = k.then_some(samples.as_slice());
    PowerSum::new(&Table { n_params, n_tokens, k, unique_tokens: unique, loss, weights: None }, settings).unwrap()
}

/// Gradient and second derivatives against central differences.
fn check(problem: &PowerSum, x: &Vector, level: f64, exact_hessian: bool) {
    let prepared = problem.prepare(None);
    let at = |x: &Vector| {
        let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
        let value = prepared.derivatives(x, level, &mut g, &mut h);
        (value, g, h)
    };
    let (_, g, h) = at(x);
    let step = 1e-5;
    for i in 0..problem.dim {
        let (mut up, mut down) = (*x, *x);
        up[i] += step;
        down[i] -= step;
        let (high, low) = (at(&up), at(&down));
        let slope = (high.0 - low.0) / (2.0 * step);
        let scale = g.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
        assert!((slope - g[i]).abs() < 1e-5 * scale, "gradient {i}: {slope} {}", g[i]);
        if exact_hessian {
            let size = h[i][i].abs().max(1e-2);
            for j in 0..problem.dim {
                let bend = (high.1[j] - low.1[j]) / (2.0 * step);
                assert!((bend - h[i][j]).abs() < 1e-4 * size.max(h[j][j].abs()), "{i} {j}: {bend} {}", h[i][j]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn derivatives_are_those_of_the_value(
        seed in 0_u64..1000, k: bool, log: bool, tied: bool, fixed: bool, absolute: bool, overtraining: bool,
    ) {
        let columns = columns(64);
        let scale = if log { Scale::Log } else { Scale::Raw };
        // A width beyond all residuals: central differences must not straddle the kink of the second derivative.
        let penalty = if absolute { Penalty::Absolute { under: 2.0, over: 2.0 } } else { Penalty::Squared };
        let e = fixed.then_some(0.8);
        let problem = problem(&columns, k, None, Settings { scale, penalty, tied, e, overtraining, ..Settings::default() });
        let mut rng = Philox::new(seed, 0);
        let mut x = problem.prepare(None).starts(1).1[0].x;
        for x in &mut x {
            *x += 0.2 * (rng.uniform() - 0.5);
        }
            for (_, slot) in problem.slots() {
                // Exponents stay within their bounds.
                if let (Some(i), true) = (problem.free[slot], slot > 0 && slot < R_TOKENS && !is_scale(slot)) {
                    x[i] = x[i].max(0.05);
                }
            }

        check(&problem, &x, 1e3, true);
    }
}

#[test]
fn derivatives_with_repeated_tokens() {
    let columns = columns(64);
    let unique: Vec<f64> = columns.1.iter().enumerate().map(|(i, d)| d / [1.0, 3.0, 9.0, 0.5][i % 4]).collect();
    for discount_params in [false, true] {
        let settings = Settings { penalty: Penalty::Squared, discount_params, ..Settings::default() };
        let problem = problem(&columns, false, Some(&unique), settings);
        let mut x = problem.prepare(None).starts(1).1[0].x;
        x[problem.dim - 1] -= 1.0;
        check(&problem, &x, f64::INFINITY, false);
    }
}

#[test]
fn grouping_by_checkpoint_changes_nothing() {
    let columns = columns(200);
    for overtraining in [false, true] {
        let problem = problem(&columns, true, None, Settings { overtraining, ..Settings::default() });
        let mut prepared = problem.prepare(None);
        let x = prepared.starts(1).1[0].x;
        let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
        let grouped = prepared.derivatives(&x, 0.01, &mut g, &mut h);
        prepared.grouped = None;
        let (mut g_rows, mut h_rows) = ([0.0; MAX], [[0.0; MAX]; MAX]);
        let rows = prepared.derivatives(&x, 0.01, &mut g_rows, &mut h_rows);
        assert!((grouped - rows).abs() < 1e-12 * rows);
        let size = h_rows[0][0].abs();
        for i in 0..problem.dim {
            assert!((g[i] - g_rows[i]).abs() < 1e-10 * size);
            for j in 0..problem.dim {
                assert!((h[i][j] - h_rows[i][j]).abs() < 1e-9 * size.max(h_rows[i][i].abs()), "{i} {j}");
            }
        }
    }
}

#[test]
fn coefficients_and_jacobian_agree() {
    let columns = columns(64);
    for (k, tied, overtraining) in
        [(false, false, false), (false, true, true), (true, false, false), (true, false, true)]
    {
        let problem = problem(&columns, k, None, Settings { tied, overtraining, ..Settings::default() });
        let x = problem.prepare(None).starts(1).1[0].x;
        let jacobian = problem.jacobian(&x);
        for j in 0..problem.dim {
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
fn the_term_is_found_where_it_is() {
    let mut columns = columns(200);
    let with_k = columns.2.clone();
    let mut rng = Philox::new(4, 4);
    for k in [false, true] {
        for row in 0..200 {
            let (n, d) = (columns.0[row], columns.1[row]);
            let samples = if k { 0.7 * with_k[row].powf(-0.4) } else { 0.0 };
            let plain = 1.0 + 400.0 * n.powf(-0.33) + 900.0 * d.powf(-0.31) + samples;
            columns.3[row] = (plain + 0.2 * (d / n / 1e3).powf(0.5)) * (1.0 + 1e-4 * (rng.uniform() - 0.5));
        }
        for penalty in [Penalty::Squared, Penalty::Huber { delta: 1e-3 }, Penalty::Absolute { under: 1.0, over: 1.0 }] {
            let found = problem(&columns, k, None, Settings { penalty, overtraining: true, ..Settings::default() });
            let fit = found.fit(None, None).unwrap();
            let law = *crate::law::Law::chinchilla(&found.law(&fit.x).unwrap());
            let f = law.overtraining.f * 1e3_f64.powf(law.overtraining.delta);
            assert!(fit.converged);
            assert!((f - 0.2).abs() < 0.02 && (law.overtraining.delta - 0.5).abs() < 0.05, "{k} {penalty:?} {law:?}");
        }
    }
}
