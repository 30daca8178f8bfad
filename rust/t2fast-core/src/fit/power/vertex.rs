//! Minima of absolute errors, which are vertices: proven, not only approached.

use std::cmp::Ordering;

use super::polish::Prepared;
use crate::fit::Penalty;
use crate::linear::{MAX, Vector, cholesky, solve};

impl Prepared<'_> {
    /// The minimum of absolute errors near `x`, or `None` where there is none.
    ///
    /// As in linear programming, as many residuals vanish there as there are parameters, and multipliers between -under
    /// and over balance the gradient of the others: that proves the minimum.
    pub(super) fn vertex(&self, x: &Vector) -> Option<Vector> {
        let n = self.problem.dim;
        let Penalty::Absolute { under, over } = self.problem.settings.penalty else { return None };
        if !self.at_bound(x).is_empty() {
            return None;
        }
        let full = self.problem.full(x);
        let mut order: Vec<(f64, usize)> = (0..self.y.len())
            .filter(|&row| self.weights[row] > 0.0)
            .map(|row| (self.residual(&full, row).0.abs(), row))
            .collect();
        if order.len() < n {
            return None;
        }
        order.select_nth_unstable_by(n - 1, |a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let mut active: Vec<usize> = order[..n].iter().map(|(_, row)| *row).collect();
        active.sort_unstable();
        let size = order[n - 1].0;
        let (mut x, mut slopes) = (*x, vec![[0.0; MAX]; n]);
        let mut left = f64::INFINITY;
        for _ in 0..12 {
            let full = self.problem.full(&x);
            let (mut matrix, mut right) = ([[0.0; MAX]; MAX], [0.0; MAX]);
            left = 0.0;
            for (slope, &row) in slopes.iter_mut().zip(&active) {
                let (r, s) = self.residual(&full, row);
                *slope = s;
                left = f64::max(left, r.abs());
                for i in 0..n {
                    right[i] -= s[i] * r;
                    for j in 0..n {
                        matrix[i][j] += s[i] * s[j];
                    }
                }
            }
            if left < 1e-13 {
                break;
            }
            let step = solve(&cholesky(&matrix, n)?, &right, n);
            x.iter_mut().zip(step).take(n).for_each(|(x, step)| *x += step);
        }
        if left.is_nan() || left > 1e-9 * size.max(1e-4) || !self.at_bound(&x).is_empty() {
            return None;
        }
        let full = self.problem.full(&x);
        let mut rest = [0.0; MAX];
        self.problem.add_priors(&x, &mut rest, &mut [[0.0; MAX]; MAX]);
        for row in (0..self.y.len()).filter(|row| active.binary_search(row).is_err()) {
            let (r, s) = self.residual(&full, row);
            let factor = self.weights[row] * if r < 0.0 { -under } else { over };
            (0..n).for_each(|i| rest[i] += factor * s[i]);
        }
        let (mut matrix, mut right) = ([[0.0; MAX]; MAX], [0.0; MAX]);
        for a in 0..n {
            right[a] = -(0..n).map(|i| slopes[a][i] * rest[i]).sum::<f64>();
            for b in 0..n {
                matrix[a][b] = (0..n).map(|i| slopes[a][i] * slopes[b][i]).sum();
            }
        }
        let multipliers = solve(&cholesky(&matrix, n)?, &right, n);
        let balanced = active.iter().zip(multipliers).all(|(&row, multiplier)| {
            let w = self.weights[row] * (1.0 + 1e-7);
            (-w * under..=w * over).contains(&multiplier)
        });
        balanced.then_some(x)
    }
}
