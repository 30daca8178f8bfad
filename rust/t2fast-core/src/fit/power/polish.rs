//! One search: the rows of a fit with their weights, and the walk from a start to a minimum.

use super::grouped::{Grouped, accumulate_grouped};
use super::sums::{accumulate, residual_sizes};
use super::{EXPONENTS, FULL, PowerSum, R_PARAMS, R_STARS, R_TOKENS, TERMS};
use crate::fit::varpro::LANES;
use crate::fit::{Penalty, Problem, Scale};
use crate::linear::{MAX, Matrix, Vector};
use crate::newton::{Minimum, Objective, ROUNDING, minimise};

/// The rows that weigh something, arranged for vector code.
pub(super) struct Prepared<'a> {
    pub(super) x: Vec<Vec<f64>>,
    pub(super) grouped: Option<Grouped>,
    pub(super) unique: Option<Vec<f64>>,
    pub(super) raw: Vec<f64>,
    pub(super) y: Vec<f64>,
    pub(super) weights: Vec<f64>,
    pub(super) lower: Vector,
    pub(super) upper: Vector,
    pub(super) problem: &'a PowerSum,
}

impl PowerSum {
    pub(super) fn prepare(&self, extra: Option<&[f64]>) -> Prepared<'_> {
        let mut rows = Vec::with_capacity(self.y.len() + LANES);
        let mut weights = Vec::with_capacity(self.y.len() + LANES);
        for &row in &self.order {
            let weight = self.weights[row] * extra.map_or(1.0, |w| w[row]);
            if weight > 0.0 {
                rows.push(row);
                weights.push(weight);
            }
        }
        let kept = rows.len();
        // Whole registers: the rows that fill up the last one weigh nothing.
        let length = kept.next_multiple_of(LANES);
        weights.resize(length, 0.0);
        let gather = |column: &[f64], fill: f64| {
            let mut out = Vec::with_capacity(length);
            out.extend(rows.iter().map(|&row| column[row]));
            out.resize(length, fill);
            out
        };
        let raw = gather(&self.y, 1.0);
        let mut lower = [f64::NEG_INFINITY; FULL];
        let mut upper = [f64::INFINITY; FULL];
        let least = raw[..kept].iter().copied().fold(f64::INFINITY, f64::min);
        let most = raw[..kept].iter().copied().fold(0.0, f64::max);
        (lower[0], upper[0]) = ((self.settings.e_share.0 * least).ln(), (self.settings.e_share.1 * least).ln());
        let bare = self.centre == [0.0; TERMS];
        for t in 0..self.x.len() {
            // At an exponent's bound the scale where logarithms are not centred may be astronomic.
            let span = if bare { EXPONENTS.1 * 30.0 } else { 0.0 };
            (lower[1 + 2 * t], upper[1 + 2 * t]) = ((1e-9 * most).ln() - span, (1e3 * most).ln() + span);
            (lower[2 + 2 * t], upper[2 + 2 * t]) = EXPONENTS;
        }
        for slot in [R_TOKENS, R_PARAMS] {
            (lower[slot], upper[slot]) = (R_STARS.0.ln(), R_STARS.1.ln());
        }
        let x: Vec<Vec<f64>> = self.x.iter().map(|x| gather(x, 0.0)).collect();
        Prepared {
            grouped: self.samples.as_ref().map(|(distinct, places)| {
                let mut place: Vec<usize> = rows.iter().map(|&row| places[row]).collect();
                place.resize(length, 0);
                Grouped::new(&x, distinct.clone(), place)
            }),
            x,
            unique: self.unique.as_ref().map(|u| gather(u, f64::MAX)),
            raw,
            y: gather(&self.target, 0.0),
            weights,
            lower: self.reduced(&lower),
            upper: self.reduced(&upper),
            problem: self,
        }
    }
}

impl Prepared<'_> {
    /// Newton's method at narrowing widths; the value returned is the exact objective.
    pub(super) fn polish(&self, start: &Vector) -> Minimum {
        let penalty = self.problem.settings.penalty;
        let mut found = Minimum { x: *start, value: f64::NAN, gradient: f64::NAN, iterations: 0, converged: false };
        let levels =
            if matches!(penalty, Penalty::Squared) { vec![f64::INFINITY] } else { penalty.levels(self.sizes(start).0) };
        let absolute = matches!(penalty, Penalty::Absolute { .. });
        let mut iterations = 0;
        for (i, &level) in levels.iter().enumerate() {
            // On the way down a few digits will do, except where kinks get narrower and narrower.
            let last = i + 1 == levels.len();
            let tolerance = if last || absolute { ROUNDING } else { 1e-4 };
            let most = if last { 300 } else { 30 };
            found = minimise(self, &found.x, level, tolerance, most);
            iterations += found.iterations;
            // Narrow enough for the residuals that vanish at the optimum to stand out.
            if absolute
                && level < 0.02 * levels[0]
                && let Some(x) = self.vertex(&found.x)
            {
                (found.x, found.gradient, found.converged) = (x, 0.0, true);
                break;
            }
        }
        found.iterations = iterations;
        if absolute {
            found.value = self.exact(&found.x);
        }
        found
    }

    /// Residual of a row with its derivatives by the free parameters.
    pub(super) fn residual(&self, full: &[f64; FULL], row: usize) -> (f64, Vector) {
        let mut at = [0.0; TERMS];
        for (at, column) in at.iter_mut().zip(&self.x) {
            *at = column[row];
        }
        let (m, by) = self.problem.row(full, at, self.unique.as_ref().map(|u| u[row]));
        let log = self.problem.settings.scale == Scale::Log;
        let (r, inverse) = if log { (m.ln() - self.y[row], 1.0 / m) } else { (m - self.y[row], 1.0) };
        let mut slope = [0.0; MAX];
        for (by, free) in by.iter().zip(self.problem.free) {
            if let Some(i) = free {
                slope[i] += inverse * by;
            }
        }
        (r, slope)
    }

    /// The mean size of residuals, and the largest.
    pub(super) fn sizes(&self, x: &Vector) -> (f64, f64) {
        let full = self.problem.full(x);
        let (sum, largest) = if self.unique.is_some() {
            let kept = self.residuals(x).zip(&self.weights).filter(|(_, w)| **w > 0.0);
            kept.fold((0.0, 0.0_f64), |(sum, largest), (r, w)| (sum + w * r.abs(), largest.max(r.abs())))
        } else {
            residual_sizes(self, &full, self.problem.settings.e.unwrap_or_else(|| full[0].exp()))
        };
        ((sum / self.weights.iter().sum::<f64>()).max(1e-12), largest)
    }

    fn residuals<'b>(&'b self, x: &Vector) -> impl Iterator<Item = f64> + 'b {
        let full = self.problem.full(x);
        (0..self.y.len()).map(move |row| self.residual(&full, row).0)
    }

    fn exact(&self, x: &Vector) -> f64 {
        let penalty = self.problem.settings.penalty;
        let rows: f64 = self.residuals(x).zip(&self.weights).map(|(r, w)| w * penalty.of(r)).sum();
        rows + self.problem.penalty(x)
    }

    pub(super) fn at_bound(&self, x: &Vector) -> Vec<usize> {
        (0..self.problem.dim).filter(|&i| x[i] <= self.lower[i] || x[i] >= self.upper[i]).collect()
    }
}

impl Objective for Prepared<'_> {
    fn dim(&self) -> usize {
        self.problem.dim
    }

    fn bounds(&self) -> (&Vector, &Vector) {
        (&self.lower, &self.upper)
    }

    fn derivatives(&self, x: &Vector, level: f64, gradient: &mut Vector, hessian: &mut Matrix) -> f64 {
        let full = self.problem.full(x);
        let shape = self.problem.settings.penalty.shape(level);
        let mut g = [0.0; FULL];
        let mut h = [[0.0; FULL]; FULL];
        let value = if let Some(unique) = &self.unique {
            self.accumulate_repeated(&full, unique, shape, &mut g, &mut h)
        } else {
            let e = self.problem.settings.e.unwrap_or_else(|| full[0].exp());
            match &self.grouped {
                Some(grouped) => accumulate_grouped(self, grouped, &full, e, shape, &mut g, &mut h),
                None => accumulate(self, &full, e, shape, &mut g, &mut h),
            }
        };
        *gradient = [0.0; MAX];
        *hessian = [[0.0; MAX]; MAX];
        for a in 0..FULL {
            let Some(i) = self.problem.free[a] else { continue };
            gradient[i] += g[a];
            for b in 0..FULL {
                if let Some(j) = self.problem.free[b] {
                    hessian[i][j] += if a <= b { h[a][b] } else { h[b][a] };
                }
            }
        }
        value + self.problem.add_priors(x, gradient, hessian)
    }
}
