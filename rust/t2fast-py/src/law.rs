//! `t2fast_core::law`.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::law::{AnyLaw, ChinchillaLaw, Law as _, Repetition, T2LossLaw, T2PassLaw};

use crate::errors::Result;

/// A law with checked coefficients, ready for the core.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Law(pub AnyLaw);

#[pymethods]
impl Law {
    /// E + A N^-alpha + B D^-beta; `repetition` holds R* for tokens and, if known, for parameters.
    #[staticmethod]
    fn chinchilla(coefficients: [f64; 5], repetition: (f64, Option<f64>)) -> Result<Self> {
        Ok(Self(AnyLaw::Chinchilla(chinchilla(coefficients, repetition)?)))
    }

    /// The same with G k^-gamma added.
    #[staticmethod]
    fn t2_loss(coefficients: [f64; 5], repetition: (f64, Option<f64>), g: f64, gamma: f64) -> Result<Self> {
        Ok(Self(AnyLaw::T2Loss(T2LossLaw::new(chinchilla(coefficients, repetition)?, g, gamma)?)))
    }

    /// pass@k with Beta-distributed success that depends on the loss through theta0 to theta4.
    #[staticmethod]
    fn t2_pass(coefficients: [f64; 5], repetition: (f64, Option<f64>), theta: [f64; 5]) -> Result<Self> {
        Ok(Self(AnyLaw::T2Pass(T2PassLaw::new(chinchilla(coefficients, repetition)?, theta)?)))
    }

    /// The law's value at each (N, D, k).
    fn values<'py>(
        &self,
        py: Python<'py>,
        n_params: PyReadonlyArray1<'py, f64>,
        n_tokens: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (n, d, k) = (n_params.as_slice()?, n_tokens.as_slice()?, k.as_slice()?);
        let mut out = vec![0.0; n.len()];
        py.detach(|| self.0.values(n, d, k, &mut out)).map_err(crate::errors::Error::from)?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The Chinchilla loss of N and D, unique tokens limited or not.
    #[pyo3(signature = (n_params, n_tokens, unique_tokens = None))]
    fn loss(&self, n_params: f64, n_tokens: f64, unique_tokens: Option<f64>) -> Result<f64> {
        let unique = unique_tokens.unwrap_or(f64::MAX);
        Ok(self.0.chinchilla().loss_repeated(n_params, n_tokens, unique)?)
    }

    /// (value, d/dN, d/dD, d/dk).
    fn gradient(&self, n_params: f64, n_tokens: f64, k: f64) -> Result<(f64, f64, f64, f64)> {
        let g = self.0.gradient(n_params, n_tokens, k)?;
        Ok((g.value, g.n_params, g.n_tokens, g.k))
    }
}

fn chinchilla([e, a, b, alpha, beta]: [f64; 5], repetition: (f64, Option<f64>)) -> Result<ChinchillaLaw> {
    Ok(ChinchillaLaw::new(e, a, b, alpha, beta)?.with_repetition(Repetition::new(repetition.0, repetition.1)?))
}
