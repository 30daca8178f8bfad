//! The one error type of the crate.

use std::fmt;

/// What went wrong, in words for the person who passed the argument.
///
/// Every message names the argument, the value met, what is allowed and, where there is one, the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A single number lies outside its allowed range.
    #[error("{name} = {}: {must}", Shown(*.value))]
    Value {
        /// The argument's public name.
        name: &'static str,
        /// The value met.
        value: f64,
        /// What is allowed, and the remedy.
        must: &'static str,
    },
    /// An array has the wrong length, order or content; the message says which and where.
    #[error("{0}")]
    Array(String),
    /// No design satisfies the budget and the bounds; the message says which of them excludes everything.
    #[error("{0}")]
    Infeasible(String),
    /// The target lies beyond what the law can reach; the message states the ceiling.
    #[error("{0}")]
    Unreachable(String),
    /// The caller asked for the work to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// True when the inputs are well-formed but no design satisfies them.
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        matches!(self, Self::Infeasible(_) | Self::Unreachable(_))
    }

    /// True when the work was stopped on request.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted)
    }
}

/// A number in a message: `7`, `0.34`, `1.4e11`.
pub(crate) struct Shown(pub f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || !size.is_finite() || (1e-3..1e6).contains(&size) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// The crate's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// Passes a positive, finite number through and refuses everything else, NaN included.
///
/// # Errors
/// [`Error::Value`] when `value` is zero, negative, infinite or NaN.
pub fn positive(name: &'static str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Value { name, value, must: "must be positive and finite" })
    }
}

/// Passes a non-negative, finite number through and refuses everything else, NaN included.
///
/// # Errors
/// [`Error::Value`] when `value` is negative, infinite or NaN.
pub fn non_negative(name: &'static str, value: f64) -> Result<f64> {
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Value { name, value, must: "must be zero or positive, and finite" })
    }
}

/// Passes a finite number through and refuses infinities and NaN.
///
/// # Errors
/// [`Error::Value`] when `value` is infinite or NaN.
pub fn finite(name: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::Value { name, value, must: "must be finite" }) }
}
