//! Uncertainty from the objective's curvature: sandwich covariances, conditioning, profile intervals.

use super::multistart::Fit;
use super::{Problem, check_lengths};
use crate::error::Result;
use crate::linear::{MAX, Matrix, Vector, condition, inverse};

/// What the curvature at the optimum says.
#[derive(Debug, Clone, PartialEq)]
pub struct Curvature {
    /// Robust covariance of the coefficients, in the order of [`Problem::names`]; zero for those held fixed, and NaN
    /// throughout where the curvature is singular.
    pub covariance: Vec<Vec<f64>>,
    /// Variances by the inverse curvature alone, which lack the scale of the residuals.
    pub naive: Vec<f64>,
    /// Condition number of the curvature, scaled to a unit diagonal.
    pub condition: f64,
}

/// The sandwich `H^-1 (sum_g s_g s_g') H^-1`, s_g being the summed gradients of cluster g's rows (White 1980; Liang and
/// Zeger 1986), times G / (G - 1). Parameters at a bound count as fixed.
///
/// # Errors
/// [`crate::Error::Array`] when clusters and rows differ in number.
pub fn curvature(problem: &dyn Problem, fit: &Fit, cluster: &[usize]) -> Result<Option<Curvature>> {
    check_lengths(&[("the table", problem.rows()), ("cluster", cluster.len())])?;
    let Some((hessian, scores)) = problem.second_order(&fit.x) else { return Ok(None) };
    let jacobian = problem.jacobian(&fit.x);
    let used: Vec<usize> =
        (0..MAX).filter(|i| !fit.at_bound.contains(i) && jacobian.iter().any(|row| row[*i] != 0.0)).collect();
    let n = used.len();
    let mut h = [[0.0; MAX]; MAX];
    for (a, &i) in used.iter().enumerate() {
        for (b, &j) in used.iter().enumerate() {
            h[a][b] = hessian[i][j];
        }
    }
    let clusters = cluster.iter().max().map_or(0, |m| m + 1);
    let mut sums = vec![[0.0; MAX]; clusters];
    for (score, &g) in scores.iter().zip(cluster) {
        for (a, &i) in used.iter().enumerate() {
            sums[g][a] += score[i];
        }
    }
    let mut meat = [[0.0; MAX]; MAX];
    #[allow(clippy::cast_precision_loss)]
    let correction = clusters as f64 / (clusters as f64 - 1.0);
    for sum in &sums {
        for a in 0..n {
            for b in 0..n {
                meat[a][b] += correction * sum[a] * sum[b];
            }
        }
    }
    let names = jacobian.len();
    let condition = condition(&h, n);
    let Some(bread) = inverse(&h, n) else {
        let nan = vec![vec![f64::NAN; names]; names];
        return Ok(Some(Curvature { covariance: nan, naive: vec![f64::NAN; names], condition: f64::INFINITY }));
    };
    let internal = multiply(&multiply(&bread, &meat, n), &bread, n);
    let reduced: Vec<Vector> = jacobian
        .iter()
        .map(|row| {
            let mut out = [0.0; MAX];
            for (a, &i) in used.iter().enumerate() {
                out[a] = row[i];
            }
            out
        })
        .collect();
    let covariance = reduced.iter().map(|u| reduced.iter().map(|v| quadratic(u, &internal, v, n)).collect()).collect();
    let naive = reduced.iter().map(|u| quadratic(u, &bread, u, n)).collect();
    Ok(Some(Curvature { covariance, naive, condition }))
}

fn multiply(a: &Matrix, b: &Matrix, n: usize) -> Matrix {
    let mut out = [[0.0; MAX]; MAX];
    for i in 0..n {
        for j in 0..n {
            out[i][j] = (0..n).map(|m| a[i][m] * b[m][j]).sum();
        }
    }
    out
}

fn quadratic(u: &Vector, m: &Matrix, v: &Vector, n: usize) -> f64 {
    (0..n).map(|i| u[i] * (0..n).map(|j| m[i][j] * v[j]).sum::<f64>()).sum()
}

/// The interval of coefficient `index` within which refitting everything else keeps the deviance below `limit`.
///
/// The deviance is twice the rise of the objective, divided by the ratio of robust to naive variance, so that near the
/// optimum it agrees with the sandwich whatever the penalty (an adjusted pseudo-likelihood). An end that the range of the
/// coefficient cuts off is that bound; infinite where refitting failed. `None` for fits in stages.
///
/// # Errors
/// As [`curvature`].
pub fn profile(
    problem: &dyn Problem,
    fit: &Fit,
    cluster: &[usize],
    index: usize,
    limit: f64,
) -> Result<Option<(f64, f64)>> {
    let Some(curvature) = curvature(problem, fit, cluster)? else { return Ok(None) };
    let best = problem.coefficients(&fit.x)[index];
    let (variance, naive) = (curvature.covariance[index][index], curvature.naive[index]);
    if !(variance > 0.0 && naive > 0.0) {
        return Ok(None);
    }
    let error = variance.sqrt();
    let scale = variance / naive;
    let end = |sign: f64, bound: f64| {
        let mut start = fit.x;
        let mut deviance = |value: f64| {
            problem.constrained(index, value, &start).map_or(f64::NAN, |found| {
                start = found.x;
                2.0 * (found.objective - fit.objective) / scale - limit
            })
        };
        // Widen until the deviance exceeds the limit; a positive coefficient shrinks by factors, not below zero.
        let (mut inside, mut inside_value) = (best, -limit);
        let mut step = error * limit.sqrt();
        for _ in 0..40 {
            let ahead = inside + sign * step;
            let outside = if ahead <= 0.0 && bound >= 0.0 { 0.5 * inside } else { ahead };
            let outside = if sign > 0.0 { outside.min(bound) } else { outside.max(bound) };
            let value = deviance(outside);
            if value.is_nan() {
                return sign * f64::INFINITY;
            }
            if value > 0.0 {
                return bisect(&mut deviance, (inside, inside_value), (outside, value), error);
            }
            if outside == bound {
                return bound;
            }
            (inside, inside_value) = (outside, value);
            step *= 1.5;
        }
        sign * f64::INFINITY
    };
    let (low, high) = problem.range(index);
    Ok(Some((end(-1.0, low), end(1.0, high))))
}

/// A root by the Illinois variant of the false position, to a thousandth of a standard error.
fn bisect(f: &mut impl FnMut(f64) -> f64, (mut a, mut fa): (f64, f64), (mut b, mut fb): (f64, f64), error: f64) -> f64 {
    for _ in 0..60 {
        let middle = if fb == fa { 0.5 * (a + b) } else { b - fb * (b - a) / (fb - fa) };
        let value = f(middle);
        if value.is_nan() {
            return middle;
        }
        if value * fb < 0.0 {
            (a, fa) = (b, fb);
        } else {
            fa *= 0.5;
        }
        (b, fb) = (middle, value);
        if (b - a).abs() < 1e-3 * error || fb == 0.0 {
            break;
        }
    }
    b
}
