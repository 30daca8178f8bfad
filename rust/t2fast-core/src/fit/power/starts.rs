//! Where the search begins: minima of least squares, by variable projection.

use super::polish::Prepared;
use super::{EXPONENTS, FULL, R_PARAMS, R_TOKENS};
use crate::fit::Scale;
use crate::fit::multistart::Start;
use crate::fit::varpro::{Candidate, Projection, padded};
use crate::law::{DEFAULT_R_STAR, effective};
use crate::random::Philox;

/// Rows of a long table that starts are sought with.
const SAMPLE: usize = 256;

impl Prepared<'_> {
    /// The rows that starts are sought with: all of them, or of a long table a fixed random part, since the polish uses all.
    fn sample(&self) -> Vec<usize> {
        let rows: Vec<usize> = (0..self.y.len()).filter(|&row| self.weights[row] > 0.0).collect();
        if rows.len() <= 2 * SAMPLE {
            return rows;
        }
        let mut rng = Philox::new(0, 0);
        #[allow(clippy::cast_possible_truncation)]
        (0..SAMPLE).map(|_| rows[rng.below(rows.len() as u64) as usize]).collect()
    }

    /// The best points of the exponent grid, and the minima of weighted least squares to which they lead.
    pub(super) fn starts(&self, count: usize) -> (Vec<Start>, Vec<Start>) {
        let settings = &self.problem.settings;
        let known = settings.e.unwrap_or(0.0);
        let rows = self.sample();
        let pick = |of: &dyn Fn(usize) -> f64| padded(rows.iter().map(|&row| of(row)));
        // Squares of logarithmic residuals are, to first order, squares of relative ones.
        let weights = match settings.scale {
            Scale::Log => pick(&|row| self.weights[row] / (self.raw[row] * self.raw[row])),
            Scale::Raw => pick(&|row| self.weights[row]),
        };
        let mut terms: Vec<Vec<f64>> = self.x.iter().map(|x| pick(&|row| x[row])).collect();
        if let Some(unique) = &self.unique {
            let centre = self.problem.centre[1];
            for (x, &row) in terms[1].iter_mut().zip(&rows) {
                *x = effective((*x + centre).exp(), unique[row], DEFAULT_R_STAR).ln() - centre;
            }
        }
        let total: f64 = weights.iter().sum();
        let mean = rows.iter().zip(&weights).map(|(&row, w)| w * self.raw[row]).sum::<f64>() / total;
        let projection = Projection {
            terms,
            y: pick(&|row| self.raw[row] - known),
            weights,
            constant: settings.e.is_none(),
            signed: false,
            tied: settings.tied,
            range: EXPONENTS,
        };
        let start = |(minimum, met): &(Candidate, usize)| {
            let mut full = [0.0; FULL];
            let scale = |c: f64| c.max(1e-4 * mean).ln();
            full[0] = scale(minimum.coefficients[0]);
            for t in 0..self.x.len() {
                full[1 + 2 * t] = scale(minimum.coefficients[1 + t]);
                full[2 + 2 * t] = minimum.exponents[t];
            }
            full[R_TOKENS] = DEFAULT_R_STAR.ln();
            full[R_PARAMS] = DEFAULT_R_STAR.ln();
            Start { x: self.problem.reduced(&full), met: *met }
        };
        let candidates = projection.candidates(count);
        let minima = projection.minima(&candidates);
        (candidates.iter().map(|one| start(&(*one, 1))).collect(), minima.iter().map(start).collect())
    }
}
