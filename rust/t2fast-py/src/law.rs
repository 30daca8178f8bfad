//! `t2fast_core::law`.

use std::collections::BTreeMap;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::law::{self, AnyLaw, ChinchillaLaw, Law as _, Overtraining, Repetition, T2LossLaw, T2PassLaw};

use crate::errors::{Error, Result, T2Error};
use crate::work;

/// A law with checked coefficients, ready for the core.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Law(pub AnyLaw);

#[pymethods]
impl Law {
    /// A law by its kind ("chinchilla", "t2-loss" or "t2-pass") and its coefficients by their names in the literature, F,
    /// delta and the constants of repetition among them.
    #[new]
    fn new(kind: &str, coefficients: BTreeMap<String, f64>) -> PyResult<Self> {
        let at = |name: &str| {
            coefficients.get(name).copied().ok_or_else(|| T2Error::new_err(format!("coefficient {name} is missing")))
        };
        let base = ChinchillaLaw::new(at("E")?, at("A")?, at("B")?, at("alpha")?, at("beta")?)
            .and_then(|law| {
                let f = coefficients.get("F").copied().unwrap_or(0.0);
                let delta = coefficients.get("delta").copied().unwrap_or(Overtraining::default().delta);
                Ok(law.with_overtraining(Overtraining::new(f, delta)?))
            })
            .and_then(|law| {
                let default = Repetition::default();
                let tokens = coefficients.get("r_star_tokens").copied().unwrap_or(default.tokens);
                Ok(law.with_repetition(Repetition::new(tokens, coefficients.get("r_star_params").copied())?))
            })
            .map_err(Error::from)?;
        Ok(Self(match kind {
            "chinchilla" => AnyLaw::Chinchilla(base),
            "t2-loss" => AnyLaw::T2Loss(T2LossLaw::new(base, at("G")?, at("gamma")?).map_err(Error::from)?),
            "t2-pass" => {
                let theta = [at("theta0")?, at("theta1")?, at("theta2")?, at("theta3")?, at("theta4")?];
                AnyLaw::T2Pass(T2PassLaw::new(base, theta).map_err(Error::from)?)
            }
            other => return Err(T2Error::new_err(format!("kind = {other:?}: must be chinchilla, t2-loss or t2-pass"))),
        }))
    }

    /// What makes the law again: it pickles and copies.
    fn __getnewargs__(&self) -> PyResult<(&'static str, BTreeMap<&'static str, f64>)> {
        let base = self.0.chinchilla();
        let mut coefficients = BTreeMap::from([
            ("E", base.e),
            ("A", base.a),
            ("B", base.b),
            ("alpha", base.alpha),
            ("beta", base.beta),
            ("F", base.overtraining.f),
            ("delta", base.overtraining.delta),
            ("r_star_tokens", base.repetition.tokens),
        ]);
        coefficients.extend(base.repetition.params.map(|r_star| ("r_star_params", r_star)));
        let kind = match &self.0 {
            AnyLaw::Chinchilla(_) => "chinchilla",
            AnyLaw::T2Loss(law) => {
                coefficients.extend([("G", law.g), ("gamma", law.gamma)]);
                "t2-loss"
            }
            AnyLaw::T2Pass(law) => {
                coefficients.extend(["theta0", "theta1", "theta2", "theta3", "theta4"].into_iter().zip(law.theta));
                "t2-pass"
            }
            AnyLaw::Ruled(_) => return Err(T2Error::new_err("a law under a rule is made again from the two")),
        };
        Ok((kind, coefficients))
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
        work::detached(py, || self.0.values(n, d, k, &mut out))?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The Chinchilla loss of N and D, unique tokens limited or not.
    #[pyo3(signature = (n_params, n_tokens, unique_tokens = None))]
    fn loss(&self, n_params: f64, n_tokens: f64, unique_tokens: Option<f64>) -> Result<f64> {
        let unique = unique_tokens.unwrap_or(f64::MAX);
        Ok(self.0.chinchilla().loss_repeated(n_params, n_tokens, unique)?)
    }

    /// The D beyond which more training raises the loss of N parameters.
    #[pyo3(signature = (n_params, unique_tokens = None))]
    fn most_useful_tokens(&self, n_params: f64, unique_tokens: Option<f64>) -> Result<f64> {
        let n = t2fast_core::error::positive("n_params", n_params)?;
        let unique = unique_tokens.map(|unique| t2fast_core::error::positive("unique_tokens", unique)).transpose()?;
        Ok(self.0.chinchilla().most_useful_tokens(n, unique))
    }

    /// (value, d/dN, d/dD, d/dk).
    fn gradient(&self, n_params: f64, n_tokens: f64, k: f64) -> Result<(f64, f64, f64, f64)> {
        let g = self.0.gradient(n_params, n_tokens, k)?;
        Ok((g.value, g.n_params, g.n_tokens, g.k))
    }
}

/// pass@k of questions with difficulties, at rows of abilities in log-odds: one ability for each k.
#[pyfunction]
pub fn item_response<'py>(
    py: Python<'py>,
    ability: PyReadonlyArray1<'py, f64>,
    difficulties: PyReadonlyArray1<'py, f64>,
    k: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (h, b, k) = (ability.as_slice()?, difficulties.as_slice()?, k.as_slice()?);
    let mut out = vec![0.0; h.len()];
    work::detached(py, || law::item_response(h, b, k, &mut out))?;
    Ok(PyArray1::from_vec(py, out))
}
