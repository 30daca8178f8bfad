//! A damped Newton method within bounds, for a handful of parameters and exact second derivatives.

use crate::linear::{MAX, Matrix, Vector, cholesky, solve};

/// A smooth function to be minimised within a box.
pub trait Objective {
    /// How many parameters it has.
    fn dim(&self) -> usize;
    /// The box, lower and upper.
    fn bounds(&self) -> (&Vector, &Vector);
    /// The value, with its gradient and a symmetric matrix of (approximate) second derivatives.
    ///
    /// `level` is the width to which kinks are smoothed; see [`crate::fit::Penalty`].
    fn derivatives(&self, x: &Vector, level: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64;
}

/// Where a minimisation ended.
#[derive(Debug, Clone, Copy)]
pub struct Minimum {
    /// The parameters.
    pub x: Vector,
    /// The value there.
    pub value: f64,
    /// The largest absolute derivative among parameters that are free to move.
    pub gradient: f64,
    /// Newton steps tried.
    pub iterations: u32,
    /// True when no further decrease was to be had, as opposed to running out of iterations.
    pub converged: bool,
}

/// With this much damping steps are lost in rounding.
const HOPELESS: f64 = 1e20;

/// Values that differ by less than this, relatively, differ by rounding.
const NOISE: f64 = 1e-13;

/// The tolerance that asks for all the digits there are.
pub const ROUNDING: f64 = 1e-15;

/// Minimises from `start` by Newton steps with Levenberg's damping, active bounds held, until a step promises a decrease
/// of less than `tolerance`, relatively.
pub fn minimise(
    objective: &impl Objective,
    start: &Vector,
    level: f64,
    tolerance: f64,
    max_iterations: u32,
) -> Minimum {
    let n = objective.dim();
    let (lower, upper) = objective.bounds();
    let mut x = *start;
    for i in 0..n {
        x[i] = x[i].clamp(lower[i], upper[i]);
    }
    let mut gradient = [0.0; MAX];
    let mut hessian = [[0.0; MAX]; MAX];
    let mut value = objective.derivatives(&x, level, &mut gradient, &mut hessian);
    let mut damping = 1e-4;
    let mut growth = 2.0;
    let mut stalls = 0;
    let mut iterations = 0;
    let mut converged = false;
    while iterations < max_iterations && !converged {
        let free = free(&x, &gradient, lower, upper, n);
        let Some(step) = damped_step(&gradient, &hessian, &free, damping, n) else {
            damping = damping.max(1e-5) * 8.0;
            if damping > HOPELESS {
                break;
            }
            continue;
        };
        iterations += 1;
        let mut trial = x;
        for i in 0..n {
            trial[i] = (x[i] + step[i]).clamp(lower[i], upper[i]);
        }
        let predicted = decrease(&x, &trial, &gradient, &hessian, n);
        let mut trial_gradient = [0.0; MAX];
        let mut trial_hessian = [[0.0; MAX]; MAX];
        let trial_value = objective.derivatives(&trial, level, &mut trial_gradient, &mut trial_hessian);
        let gained = value - trial_value;
        // Near the end differences of values are rounding; gradients still tell better from worse.
        let noise = NOISE * value.abs();
        if predicted.abs() <= noise && gained.abs() <= noise {
            let (now, then) = (size(&gradient, &hessian, &free), size(&trial_gradient, &hessian, &free));
            if then < now {
                (x, value, gradient, hessian) = (trial, trial_value, trial_gradient, trial_hessian);
                damping *= 0.1;
                stalls += u32::from(then > 0.25 * now && damping < 1e-3);
            } else {
                damping *= 4.0;
                stalls += 1;
            }
            converged = stalls >= 3;
            continue;
        }
        let small = predicted.abs() <= tolerance * value.abs();
        if gained >= 1e-4 * predicted && predicted >= 0.0 {
            (x, value, gradient, hessian) = (trial, trial_value, trial_gradient, trial_hessian);
            // Nielsen's rule: gentle where the model is middling, so that curved valleys don't make steps fail every
            // other time.
            let quality = 2.0 * (gained / predicted).min(1.0) - 1.0;
            converged = small && damping < 1e-3;
            damping *= (1.0 - quality.powi(3)).clamp(0.1, 2.0);
            if damping < 1e-9 {
                damping = 0.0;
            }
            growth = 2.0;
        } else {
            damping = damping.max(1e-6) * growth;
            growth *= 2.0;
            if damping > HOPELESS {
                break;
            }
        }
    }
    let free = free(&x, &gradient, lower, upper, n);
    let norm = (0..n).filter(|&i| free[i]).map(|i| gradient[i].abs()).fold(0.0, f64::max);
    Minimum { x, value, gradient: norm, iterations, converged }
}

/// Which parameters may move: all but those at a bound that the gradient pushes against.
fn free(x: &Vector, gradient: &Vector, lower: &Vector, upper: &Vector, n: usize) -> [bool; MAX] {
    let mut free = [false; MAX];
    for i in 0..n {
        free[i] = !(x[i] <= lower[i] && gradient[i] >= 0.0 || x[i] >= upper[i] && gradient[i] <= 0.0);
    }
    free
}

/// Solves `(H + damping |diag H|) s = -g` over the free parameters; `None` where that matrix is indefinite.
fn damped_step(g: &Vector, h: &Matrix, free: &[bool; MAX], damping: f64, n: usize) -> Option<Vector> {
    let largest = (0..n).map(|i| h[i][i].abs()).fold(0.0, f64::max);
    let mut matrix = [[0.0; MAX]; MAX];
    let mut right = [0.0; MAX];
    for i in 0..n {
        if !free[i] {
            matrix[i][i] = 1.0;
            continue;
        }
        right[i] = -g[i];
        for j in 0..n {
            if free[j] {
                matrix[i][j] = h[i][j];
            }
        }
        matrix[i][i] += damping * h[i][i].abs().max(1e-10 * largest);
    }
    let step = solve(&cholesky(&matrix, n)?, &right, n);
    step.iter().all(|s| s.is_finite()).then_some(step)
}

/// The gradient's size in units of curvature, over the free parameters.
fn size(g: &Vector, h: &Matrix, free: &[bool; MAX]) -> f64 {
    (0..MAX).filter(|&i| free[i]).map(|i| g[i] * g[i] / h[i][i].abs().max(1e-300)).sum()
}

/// The decrease that the quadratic model promises.
fn decrease(x: &Vector, trial: &Vector, g: &Vector, h: &Matrix, n: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..n {
        let curvature: f64 = (0..n).map(|j| h[i][j] * (trial[j] - x[j])).sum();
        sum -= (trial[i] - x[i]) * (g[i] + 0.5 * curvature);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rosenbrock(Vector, Vector);

    impl Objective for Rosenbrock {
        fn dim(&self) -> usize {
            2
        }
        fn bounds(&self) -> (&Vector, &Vector) {
            (&self.0, &self.1)
        }
        fn derivatives(&self, x: &Vector, _: f64, g: &mut Vector, h: &mut Matrix) -> f64 {
            let (u, v) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * u - 400.0 * x[0] * v;
            g[1] = 200.0 * v;
            h[0][0] = 2.0 - 400.0 * (v - 2.0 * x[0] * x[0]);
            (h[0][1], h[1][0], h[1][1]) = (-400.0 * x[0], -400.0 * x[0], 200.0);
            u * u + 100.0 * v * v
        }
    }

    #[test]
    fn rosenbrock_free_and_bounded() {
        let mut start = [0.0; MAX];
        (start[0], start[1]) = (-1.2, 1.0);
        let found = minimise(&Rosenbrock([-5.0; MAX], [5.0; MAX]), &start, 0.0, ROUNDING, 200);
        assert!(found.converged && (found.x[0] - 1.0).abs() < 1e-10, "{found:?}");
        // With x <= 0.5 the best is on the bound, where y = x^2.
        let mut upper = [5.0; MAX];
        upper[0] = 0.5;
        let found = minimise(&Rosenbrock([-5.0; MAX], upper), &start, 0.0, ROUNDING, 200);
        assert!(found.x[0] == 0.5 && (found.x[1] - 0.25).abs() < 1e-10 && found.gradient < 1e-9, "{found:?}");
    }
}
