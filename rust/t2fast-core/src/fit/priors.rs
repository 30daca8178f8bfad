//! Priors beside the term of overtraining: without them a fit can trade its exponents for one another at will.
//!
//! In the units that published laws use, N/1e9, D/1e10 and D/N/1000: `F ~ Exp(1)`, `ln delta ~ N(ln 0.6, 0.4^2)`, and
//! `ln alpha` and `ln beta ~ N(ln 0.4, 1)`.

use crate::linear::{Matrix, Vector};

/// Tokens per parameter at which F is the term itself.
const UNIT: f64 = 1000.0;
/// Median and spread (of the logarithm) of delta.
const DELTA: (f64, f64) = (0.6, 0.4);
/// The same for alpha and beta.
const EXPONENT: (f64, f64) = (0.4, 1.0);

/// Where the parameters stand that have priors.
#[derive(Debug, Clone, Copy)]
pub struct Priors {
    /// ln F at tokens per parameter of `e^centre`.
    pub f: usize,
    /// delta.
    pub delta: usize,
    /// alpha and beta, or the one that both are.
    pub exponents: [usize; 2],
    /// ln(D/N) at which `f` stands.
    pub centre: f64,
}

impl Priors {
    /// Adds `weight` times the negative logarithm of the priors' density, constants left out, to gradient and second
    /// derivatives.
    pub fn add(&self, weight: f64, x: &Vector, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let (i, j) = (self.f, self.delta);
        let lever = UNIT.ln() - self.centre;
        let f = (x[i] + x[j] * lever).exp();
        let mut value = f;
        gradient[i] += weight * f;
        gradient[j] += weight * f * lever;
        hessian[i][i] += weight * f;
        hessian[i][j] += weight * f * lever;
        hessian[j][i] += weight * f * lever;
        hessian[j][j] += weight * f * lever * lever;
        let [alpha, beta] = self.exponents;
        for (place, (median, spread)) in [(j, DELTA), (alpha, EXPONENT), (beta, EXPONENT)] {
            let (log, precision) = ((x[place] / median).ln(), 1.0 / (spread * spread));
            value += 0.5 * precision * log * log;
            gradient[place] += weight * precision * log / x[place];
            hessian[place][place] += weight * precision * (1.0 - log) / (x[place] * x[place]);
        }
        weight * value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::MAX;

    #[test]
    fn derivatives_are_those_of_the_value() {
        let priors = Priors { f: 4, delta: 5, exponents: [1, 3], centre: 3.3 };
        let mut x = [0.0; MAX];
        (x[1], x[3], x[4], x[5]) = (0.7, 0.3, -1.2, 0.9);
        let at = |x: &Vector| {
            let (mut g, mut h) = ([0.0; MAX], [[0.0; MAX]; MAX]);
            (priors.add(2.0, x, &mut g, &mut h), g, h)
        };
        let (_, g, h) = at(&x);
        for i in [1, 3, 4, 5] {
            let (mut up, mut down) = (x, x);
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let (high, low) = (at(&up), at(&down));
            assert!(((high.0 - low.0) / 2e-5 - g[i]).abs() < 1e-6 * g[i].abs().max(1.0));
            for j in [1, 3, 4, 5] {
                assert!(((high.1[j] - low.1[j]) / 2e-5 - h[i][j]).abs() < 1e-5 * h[i][j].abs().max(1.0), "{i} {j}");
            }
        }
    }
}
