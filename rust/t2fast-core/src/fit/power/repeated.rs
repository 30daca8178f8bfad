//! Rows whose tokens repeat: what N and D are worth depends on the constants of repetition, which are fitted too.

use super::polish::Prepared;
use super::{FULL, PowerSum, R_PARAMS, R_TOKENS, TERMS};
use crate::fit::Scale;
use crate::law::effective;

impl PowerSum {
    /// Prediction of one row with its derivatives by the full parameters.
    pub(super) fn row(&self, full: &[f64; FULL], x: [f64; TERMS], unique: Option<f64>) -> (f64, [f64; FULL]) {
        let mut by = [0.0; FULL];
        by[0] = self.settings.e.unwrap_or_else(|| full[0].exp());
        let mut m = by[0];
        let mut log = x;
        // Derivatives of the logarithms of effective N and D, where tokens repeat.
        let mut log_by = [[0.0; FULL]; TERMS];
        if let Some(unique) = unique {
            self.discount(full, unique, &mut log, &mut log_by);
        }
        for t in 0..self.x.len() {
            let (scale, exponent) = (1 + 2 * t, 2 + 2 * t);
            let term = (full[scale] - full[exponent] * log[t]).exp();
            m += term;
            by[scale] += term;
            by[exponent] -= log[t] * term;
            if unique.is_some() {
                for (by, log_by) in by.iter_mut().zip(log_by[t]) {
                    *by -= full[exponent] * term * log_by;
                }
            }
        }
        if self.settings.e.is_some() {
            by[0] = 0.0;
        }
        (m, by)
    }

    /// Replaces logarithms of N and D by those of what they are worth when only `unique` tokens differ.
    fn discount(&self, full: &[f64; FULL], unique: f64, log: &mut [f64; TERMS], by: &mut [[f64; FULL]; TERMS]) {
        // ln of U (1 + R* (1 - q)), q = exp(-R / R*): derivatives by ln U and ln R*.
        let worth = |total: f64, base: f64, r_star: f64| {
            let repeats = total / base - 1.0;
            if repeats <= 0.0 {
                return (total.ln(), 0.0, 0.0);
            }
            let q = (-repeats / r_star).exp();
            let factor = 1.0 - r_star * (-repeats / r_star).exp_m1();
            let by_base = 1.0 - q * (total / base) / factor;
            let by_r = r_star * ((1.0 - q) - repeats / r_star * q) / factor;
            (effective(total, base, r_star).ln(), by_base, by_r)
        };
        let tokens = (log[1] + self.centre[1]).exp();
        let (value, _, by_r) = worth(tokens, unique, full[R_TOKENS].exp());
        log[1] = value - self.centre[1];
        by[1][R_TOKENS] = by_r;
        if self.settings.discount_params {
            // The N for which U tokens are compute-optimal: ln U_N = (ln alpha A - ln beta B + beta ln U) / alpha.
            let (alpha, beta) = (full[2], full[4]);
            let ln_a = full[1] + alpha * self.centre[0];
            let ln_b = full[3] + beta * self.centre[1];
            let ln_base = (alpha.ln() + ln_a - beta.ln() - ln_b + beta * unique.ln()) / alpha;
            let params = (log[0] + self.centre[0]).exp();
            let (value, by_base, by_r) = worth(params, ln_base.exp(), full[R_PARAMS].exp());
            log[0] = value - self.centre[0];
            by[0][R_PARAMS] = by_r;
            by[0][1] = by_base / alpha;
            by[0][3] = -by_base / alpha;
            by[0][2] = by_base * (1.0 / alpha + self.centre[0] - ln_base) / alpha;
            by[0][4] = by_base * (unique.ln() - self.centre[1] - 1.0 / beta) / alpha;
        }
    }
}

impl Prepared<'_> {
    /// As [`accumulate`], with repeated tokens. Second derivatives of the prediction are left out (Gauss-Newton).
    pub(super) fn accumulate_repeated(
        &self,
        full: &[f64; FULL],
        unique: &[f64],
        (under, over, width): (f64, f64, f64),
        gradient: &mut [f64; FULL],
        hessian: &mut [[f64; FULL]; FULL],
    ) -> f64 {
        let log = self.problem.settings.scale == Scale::Log;
        let mut value = 0.0;
        for (row, &w) in self.weights.iter().enumerate() {
            if w == 0.0 {
                continue;
            }
            let (m, by) = self.problem.row(full, [self.x[0][row], self.x[1][row], 0.0, 0.0], Some(unique[row]));
            let (r, inverse) = if log { (m.ln() - self.y[row], 1.0 / m) } else { (m - self.y[row], 1.0) };
            let c = r.clamp(-width, width);
            let factor = w * if r < 0.0 { under } else { over };
            value += factor * c * (r - 0.5 * c);
            // A row on the line has no curvature of its own; that of the parabola through it bounds the penalty.
            let curvature = factor * (width / r.abs()).min(1.0);
            for a in 0..FULL {
                gradient[a] += factor * c * inverse * by[a];
                for b in a..FULL {
                    hessian[a][b] += curvature * inverse * inverse * by[a] * by[b];
                }
            }
        }
        value
    }
}
