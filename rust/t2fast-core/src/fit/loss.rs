//! What a fit minimises: a penalty of residuals on a raw or a logarithmic scale.

use crate::error::{Error, Result, positive};

/// On which scale residuals, prediction minus observation, are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Difference of logarithms.
    Log,
    /// Plain difference.
    Raw,
}

/// How much narrower each level is than the one before.
const RATIO: f64 = 0.4;

/// What a residual r costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Penalty {
    /// `r^2`.
    Squared,
    /// `r^2 / 2` within `delta`, `delta (|r| - delta / 2)` beyond.
    Huber {
        /// Where the parabola turns into a line.
        delta: f64,
    },
    /// `under |r|` where the prediction is too low, `over |r|` where it is too high.
    Absolute {
        /// Weight of predictions below the observation.
        under: f64,
        /// Weight of predictions above the observation.
        over: f64,
    },
}

impl Penalty {
    /// Checks the constants.
    ///
    /// # Errors
    /// [`Error::Value`] unless they are positive and finite.
    pub fn checked(self) -> Result<Self> {
        match self {
            Self::Squared => {}
            Self::Huber { delta } => drop(positive("delta", delta)?),
            Self::Absolute { under, over } => {
                positive("under", under)?;
                positive("over", over)?;
            }
        }
        Ok(self)
    }

    /// `(under, over, width)` such that the penalty is `factor(sign r) c (r - c / 2)` with c = r clamped to +-width.
    ///
    /// All penalties are this one function: a parabola has an infinite width, and the absolute value is the limit of a
    /// vanishing width, which is why it is smoothed over `level`.
    pub(crate) fn shape(self, level: f64) -> (f64, f64, f64) {
        match self {
            Self::Squared => (2.0, 2.0, f64::INFINITY),
            Self::Huber { delta } => {
                let width = level.max(delta);
                (delta / width, delta / width, width)
            }
            Self::Absolute { under, over } => (under / level, over / level, level),
        }
    }

    /// The exact penalty of one residual.
    #[must_use]
    pub fn of(self, r: f64) -> f64 {
        match self {
            Self::Squared => r * r,
            Self::Huber { delta } => {
                let c = r.clamp(-delta, delta);
                c * (r - 0.5 * c)
            }
            Self::Absolute { under, over } => r.abs() * if r < 0.0 { under } else { over },
        }
    }

    /// The widths to smooth to, one after the other, for residuals of about `size`.
    ///
    /// A kinked penalty has little or no curvature where Newton's method looks for it. Starting as wide as the
    /// residuals and narrowing keeps every step well defined and follows one path of minima down to the true one.
    pub(crate) fn levels(self, size: f64) -> Vec<f64> {
        let last = match self {
            Self::Squared => return vec![f64::INFINITY],
            Self::Huber { delta } => delta,
            // Only the residuals that the optimum makes zero, one per parameter, feel the width: this costs the objective
            // less than a part in 1e7 of what the other residuals contribute.
            Self::Absolute { .. } => 1e-6 * size,
        };
        let mut levels = Vec::new();
        let mut level = size;
        while level > last * 1.5 {
            levels.push(level);
            level *= RATIO;
        }
        levels.push(last);
        levels
    }
}

/// Checks observations against a scale.
pub(crate) fn check_observations(name: &str, y: &[f64], scale: Scale) -> Result<()> {
    for (row, &y) in y.iter().enumerate() {
        if !y.is_finite() || (scale == Scale::Log && y <= 0.0) {
            let must = if scale == Scale::Log { "positive and finite" } else { "finite" };
            return Err(Error::Array(format!("{name}[{row}] = {y}: must be {must}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_reproduces_the_penalty_at_its_own_width() {
        let level = 1e-9;
        for penalty in [Penalty::Squared, Penalty::Huber { delta: 1e-3 }, Penalty::Absolute { under: 1.0, over: 3.0 }] {
            for r in [-0.7, -1e-4, 0.0, 5e-4, 2e-3, 1.3] {
                let (under, over, width) = penalty.shape(level);
                let c = r_clamped(r, width);
                let got = c * (r - 0.5 * c) * if r < 0.0 { under } else { over };
                assert!((got - penalty.of(r)).abs() <= 3.0 * level, "{penalty:?} at {r}: {got}");
            }
        }
    }

    fn r_clamped(r: f64, width: f64) -> f64 {
        r.clamp(-width, width)
    }

    #[test]
    fn levels_narrow_to_the_penalty() {
        assert_eq!(Penalty::Squared.levels(1.0), [f64::INFINITY]);
        let levels = Penalty::Huber { delta: 1e-3 }.levels(0.1);
        assert!(levels.windows(2).all(|w| w[1] < w[0]) && levels.last() == Some(&1e-3));
        assert_eq!(Penalty::Huber { delta: 1e-3 }.levels(1e-5), [1e-3]);
        assert!(Penalty::Huber { delta: -1.0 }.checked().is_err());
    }
}
