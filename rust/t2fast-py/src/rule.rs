//! `t2fast_core::rule`.

use std::collections::BTreeMap;
use std::sync::Arc;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::law::{AnyLaw, RuledLaw};
use t2fast_core::rule::{self as rules, Fallback, Priced, Room, Verifier};

use crate::errors::{Error, Result, T2Error};
use crate::law::Law;
use crate::work;

/// A rule with what a wrong answer costs, ready for the core.
#[pyclass(frozen, module = "t2fast._core")]
pub struct Rule(Arc<Priced>);

fn at(parameters: &BTreeMap<String, f64>, name: &str) -> PyResult<f64> {
    parameters.get(name).copied().ok_or_else(|| T2Error::new_err(format!("parameter {name} is missing")))
}

#[pymethods]
impl Rule {
    /// A rule by its kind ("any-correct", "verifier", "majority" or "best-of"), its numbers by name, what is done without
    /// an answer, and the tails of wrong answers with the rates at which they hold.
    #[new]
    #[pyo3(signature = (kind, parameters, wrong_cost, abstain, shares = Vec::new(), rates = Vec::new()))]
    fn new(
        py: Python<'_>,
        kind: &str,
        parameters: BTreeMap<String, f64>,
        wrong_cost: f64,
        abstain: bool,
        shares: Vec<Vec<f64>>,
        rates: Vec<f64>,
    ) -> PyResult<Self> {
        let rule = match kind {
            "any-correct" => rules::Rule::Verifier(Verifier::PERFECT),
            "verifier" => rules::Rule::Verifier(
                Verifier {
                    false_positive: at(&parameters, "false_positive")?,
                    recall: at(&parameters, "recall")?,
                    fallback: if abstain { Fallback::Abstain } else { Fallback::Rejected },
                    slope: at(&parameters, "slope")?,
                }
                .checked()
                .map_err(Error::from)?,
            ),
            "majority" => rules::Rule::Majority { tails: shares, rates },
            "best-of" => rules::Rule::BestOf { d_prime: at(&parameters, "d_prime")? },
            other => return Err(T2Error::new_err(format!("kind = {other:?}: no such rule"))),
        };
        Ok(Self(Arc::new(py.detach(|| Priced::new(rule, wrong_cost)).map_err(Error::from)?)))
    }

    /// A law of pass@k under the rule; with `stops` the samples drawn on average are paid for.
    fn over(&self, law: &Law, stops: bool) -> Result<Law> {
        let AnyLaw::T2Pass(law) = law.0 else {
            return Err(t2fast_core::Error::Array("a rule needs a law of success rates".into()).into());
        };
        Ok(Law(AnyLaw::Ruled(RuledLaw { law, rule: self.0.clone(), stops })))
    }

    /// Whether more samples never hurt.
    #[getter]
    fn rises(&self) -> bool {
        self.0.shape() == rules::Shape::Rising
    }

    /// The mean value over Beta(a, b) distributed success rates at k samples.
    fn of_beta<'py>(
        &self,
        py: Python<'py>,
        a: PyReadonlyArray1<'py, f64>,
        b: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (a, b, k) = (a.as_slice()?, b.as_slice()?, k.as_slice()?);
        let out = work::detached(py, || {
            let mut room = Room::new();
            Ok(a.iter().zip(b).zip(k).map(|((&a, &b), &k)| self.0.value(a, b, k, &mut room)).collect())
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The mean number of samples drawn until one is accepted, k at most.
    fn drawn_of_beta<'py>(
        &self,
        py: Python<'py>,
        a: PyReadonlyArray1<'py, f64>,
        b: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (a, b, k) = (a.as_slice()?, b.as_slice()?, k.as_slice()?);
        let mut room = Room::new();
        let out = a.iter().zip(b).zip(k).map(|((&a, &b), &k)| self.0.drawn(a, b, k, &mut room)).collect();
        Ok(PyArray1::from_vec(py, out))
    }

    /// The mean value of questions whose success rates have the logits ability - difficulty, for each ability and k.
    fn of_logits<'py>(
        &self,
        py: Python<'py>,
        ability: PyReadonlyArray1<'py, f64>,
        difficulties: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (h, b, k) = (ability.as_slice()?, difficulties.as_slice()?, k.as_slice()?);
        let out = work::detached(py, || Ok(h.iter().zip(k).map(|(&h, &k)| self.0.of_logits(h, b, k)).collect()))?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The samples drawn for such questions until one is accepted, k at most.
    fn drawn_of_logits<'py>(
        &self,
        py: Python<'py>,
        ability: PyReadonlyArray1<'py, f64>,
        difficulties: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (h, b, k) = (ability.as_slice()?, difficulties.as_slice()?, k.as_slice()?);
        let out = work::detached(py, || Ok(h.iter().zip(k).map(|(&h, &k)| self.0.drawn_of_logits(h, b, k)).collect()))?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The value of questions whose samples are right with probability p.
    fn of_rates<'py>(
        &self,
        py: Python<'py>,
        p: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (p, k) = (p.as_slice()?, k.as_slice()?);
        let out = work::detached(py, || Ok(p.iter().zip(k).map(|(&p, &k)| self.0.at_rate(p, k)).collect()))?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The samples drawn for such questions until one is accepted, k at most.
    fn drawn_of_rates<'py>(
        &self,
        py: Python<'py>,
        p: PyReadonlyArray1<'py, f64>,
        k: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (p, k) = (p.as_slice()?, k.as_slice()?);
        Ok(PyArray1::from_vec(py, p.iter().zip(k).map(|(&p, &k)| self.0.drawn_at_rate(p, k)).collect()))
    }
}
