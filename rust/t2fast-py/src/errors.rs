//! The core's error as Python exceptions.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};

create_exception!(t2fast, T2Error, PyValueError, "An argument that t2fast cannot accept; the base of all its errors.");
create_exception!(t2fast, InfeasibleError, T2Error, "Well-formed arguments that no design satisfies.");

/// The core's error on its way to Python: `?` on a core result is enough.
pub struct Error(t2fast_core::Error);

/// Result of a binding.
pub type Result<T> = std::result::Result<T, Error>;

impl From<t2fast_core::Error> for Error {
    fn from(error: t2fast_core::Error) -> Self {
        Self(error)
    }
}

impl From<Error> for PyErr {
    fn from(Error(error): Error) -> Self {
        if error.is_interrupted() {
            PyKeyboardInterrupt::new_err(())
        } else if error.is_infeasible() {
            InfeasibleError::new_err(error.to_string())
        } else {
            T2Error::new_err(error.to_string())
        }
    }
}
