//! One search: the counts by checkpoint with their weights, and the walk from a start to the most likely law.

use super::likelihood::Cell;
use super::{Counts, EXPONENTS, TERMS};
use crate::fit::theta_bounds;
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::{Minimum, Objective, ROUNDING, minimise};

/// What a search works on.
pub(super) struct Prepared<'a> {
    pub(super) counts: &'a Counts,
    pub(super) cells: Vec<(usize, Cell)>,
    pub(super) lower: Vector,
    pub(super) upper: Vector,
}

impl Prepared<'_> {
    pub(super) fn polish(&self, start: &Vector) -> Minimum {
        minimise(self, start, 0.0, ROUNDING, 500)
    }
}

impl Objective for Prepared<'_> {
    fn dim(&self) -> usize {
        self.counts.size()
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    fn derivatives(&self, x: &Vector, _: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        let prior = self.counts.priors().map_or(0.0, |priors| priors.add(1.0, x, gradient, hessian));
        self.cells
            .iter()
            .map(|(i, cell)| self.counts.add(cell, *i, x, gradient, Some(&mut *hessian)))
            .fold(prior, |sum, part| sum + part)
    }
}

impl Counts {
    pub(super) fn prepare(&self, extra: Option<&[f64]>) -> Prepared<'_> {
        let mut rows: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new(); self.x[0].len()];
        for (i, &(n, c)) in self.rows.iter().enumerate() {
            let w = extra.map_or(1.0, |e| e[i]);
            if w > 0.0 {
                rows[self.checkpoint[i]].push((n, c, w));
            }
        }
        let cells = rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        let mut lower = [0.0; MAX];
        let mut upper = [0.0; MAX];
        let bounds = theta_bounds();
        for (i, place) in self.thetas().into_iter().enumerate() {
            if let Some(j) = place {
                (lower[j], upper[j]) = (bounds.0[i], bounds.1[i]);
            }
        }
        let span = if self.centre == [0.0; TERMS] { 200.0 } else { 0.0 };
        for t in 0..self.terms() {
            (lower[2 * t], upper[2 * t]) = (-25.0 - span, 8.0 + span);
            (lower[2 * t + 1], upper[2 * t + 1]) = EXPONENTS;
        }
        Prepared { counts: self, cells: cells.map(|(i, rows)| (i, Cell::new(rows))).collect(), lower, upper }
    }
}
