//! Many starts, one answer.

use rayon::prelude::*;

use crate::linear::Vector;
use crate::newton::Minimum;

/// Starts whose objectives differ by less than this, relatively, have found the same minimum.
pub const AGREEMENT: f64 = 1e-7;

/// Where a polish begins.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The internal parameters.
    pub x: Vector,
    /// How many starts met here on their way and go on as one.
    pub met: usize,
}

impl From<Vector> for Start {
    fn from(x: Vector) -> Self {
        Self { x, met: 1 }
    }
}

/// The best of several minimisations, and how far it can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The internal parameters; see [`super::Problem::coefficients`].
    pub x: Vector,
    /// The objective, exact.
    pub objective: f64,
    /// The largest absolute derivative by a parameter that is free to move.
    pub gradient: f64,
    /// Newton steps over all starts.
    pub iterations: u32,
    /// Starts, those included that met on the way.
    pub starts: usize,
    /// Starts that ended at this objective.
    pub agreeing: usize,
    /// Whether the best start converged.
    pub converged: bool,
    /// Internal parameters that ended at a bound.
    pub at_bound: Vec<usize>,
}

/// Polishes every start in parallel and keeps the lowest, the first among equals.
///
/// Minima are compared by their values, so `polish` must report the exact objective.
pub fn polish_all<S: Copy + Into<Start>>(
    starts: &[S],
    polish: impl Fn(&Vector) -> Minimum + Send + Sync,
) -> Option<Fit> {
    let starts: Vec<Start> = starts.iter().map(|start| (*start).into()).collect();
    let found: Vec<Minimum> = if let [only] = starts.as_slice() {
        vec![polish(&only.x)]
    } else {
        starts.par_iter().map(|start| polish(&start.x)).collect()
    };
    let best = found.iter().filter(|m| m.value.is_finite()).min_by(|a, b| a.value.total_cmp(&b.value))?;
    let limit = best.value + AGREEMENT * best.value.abs();
    let agree = |m: &Minimum| m.value <= limit;
    Some(Fit {
        x: best.x,
        objective: best.value,
        gradient: best.gradient,
        iterations: found.iter().map(|m| m.iterations).sum(),
        starts: starts.iter().map(|start| start.met).sum(),
        agreeing: starts.iter().zip(&found).filter(|(_, m)| agree(m)).map(|(start, _)| start.met).sum(),
        converged: best.converged,
        at_bound: Vec::new(),
    })
}
