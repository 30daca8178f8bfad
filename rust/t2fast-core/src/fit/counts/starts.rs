//! Where the fit of counts begins: each checkpoint's own mean and concentration first, then the law through them.

use super::EXPONENTS;
use super::likelihood::{Cell, shape};
use super::search::Prepared;
use crate::fit::line;
use crate::fit::varpro::{Projection, padded};
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::{Objective, ROUNDING, minimise};

/// Mean and concentration of one checkpoint alone, as logit and logarithm.
struct Alone<'a>(&'a Cell, Vector, Vector);

impl Objective for Alone<'_> {
    fn dim(&self) -> usize {
        2
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.1, &self.2)
    }

    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let found = shape(self.0, -x[0], 1.0, x[1]);
        (gradient[0], gradient[1]) = (-found.first[0], found.first[2]);
        (hessian[0][0], hessian[1][1]) = (found.second[0][0], found.second[2][2]);
        (hessian[0][1], hessian[1][0]) = (-found.second[0][2], -found.second[0][2]);
        found.value
    }
}

impl Prepared<'_> {
    /// Starts: each checkpoint's own mean and concentration first, then the law through them.
    ///
    /// For a given theta2 the means say what eta was, and eta is linear in the loss when that is known, and a sum of
    /// powers (plus a constant of either sign) when it is latent.
    pub(super) fn starts(&self) -> Vec<Vector> {
        let mut lower = [0.0; MAX];
        let mut upper = [0.0; MAX];
        (lower[0], upper[0], lower[1], upper[1]) = (-30.0, 15.0, -6.0, 20.0);
        let mut alone = Vec::new();
        for (checkpoint, cell) in &self.cells {
            let (successes, total) = cell.sums();
            if successes == 0.0 || successes >= total {
                continue;
            }
            let mean = successes / total;
            let mut start = [0.0; MAX];
            (start[0], start[1]) = ((mean / (1.0 - mean)).ln(), 2.0);
            let found = minimise(&Alone(cell, lower, upper), &start, 0.0, ROUNDING, 60);
            if found.x[0] > -29.0 && found.x[0] < 14.0 && found.x[1] < 19.0 && found.x[1] > -5.9 {
                alone.push((*checkpoint, 1.0 / (1.0 + (-found.x[0]).exp()), found.x[1]));
            }
        }
        let most = alone.iter().map(|(_, mu, _)| *mu).fold(0.0, f64::max);
        let mut starts = Vec::new();
        if alone.len() < 4 {
            return starts;
        }
        for share in [0.03, 0.2, 0.5, 1.0] {
            let theta2 = (most + share * (1.0 - most)).min(1.0);
            let etas: Vec<f64> = alone.iter().map(|(_, mu, _)| (theta2 / mu - 1.0).max(1e-3).ln()).collect();
            if self.counts.latent() {
                self.latent_starts(&alone, &etas, theta2, &mut starts);
            } else {
                let losses: Vec<f64> = alone.iter().map(|(i, _, _)| self.counts.loss(&[0.0; MAX], *i).0).collect();
                let (intercept, slope) = line(&losses, &etas);
                let slope = slope.max(1e-2);
                let concentration: Vec<f64> = alone.iter().map(|(_, _, nu)| *nu).collect();
                let (theta3, theta4) = line(&losses, &concentration);
                let mut x = [0.0; MAX];
                (x[0], x[1], x[2], x[3], x[4]) = (-intercept / slope, slope.ln(), theta2, theta3, theta4);
                starts.push(x);
            }
        }
        starts
    }

    fn latent_starts(&self, alone: &[(usize, f64, f64)], etas: &[f64], theta2: f64, starts: &mut Vec<Vector>) {
        let terms = self.counts.terms();
        let projection = Projection {
            terms: (0..terms).map(|t| padded(alone.iter().map(|(i, _, _)| self.counts.x[t][*i]))).collect(),
            y: padded(etas.iter().copied()),
            weights: padded(alone.iter().map(|_| 1.0)),
            constant: true,
            signed: true,
            tied: false,
            range: EXPONENTS,
        };
        for candidate in projection.candidates(2) {
            let scales: Vec<f64> = (0..terms).map(|t| candidate.coefficients[t + 1].max(1e-3)).collect();
            let losses: Vec<f64> = (0..alone.len())
                .map(|i| (0..terms).map(|t| scales[t] * (-candidate.exponents[t] * projection.terms[t][i]).exp()).sum())
                .collect();
            let concentration: Vec<f64> = alone.iter().map(|(_, _, nu)| *nu).collect();
            let (theta3, theta4) = line(&losses, &concentration);
            let mut x = [0.0; MAX];
            for t in 0..terms {
                (x[2 * t], x[2 * t + 1]) = (scales[t].ln(), candidate.exponents[t]);
            }
            let thetas = [-candidate.coefficients[0], theta2, theta3, theta4];
            x[2 * terms..2 * terms + 4].copy_from_slice(&thetas);
            starts.push(x);
        }
    }
}
