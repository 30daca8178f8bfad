//! `t2fast_core::rule`.

use std::collections::BTreeMap;
use std::sync::Arc;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use t2fast_core::law::{AnyLaw, RuledLaw};
use t2fast_core::rule::{self as rules, Counted, Fallback, Priced, Room, Verifier};

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

    /// Whether samples beyond the first change anything.
    #[getter]
    fn depends_on_k(&self) -> bool {
        self.0.depends_on_k()
    }

    /// Of questions with Beta(a, b) distributed success rates, for each a, b and k: the mean value of k samples, or the mean
    /// number drawn until one is accepted.
    #[pyo3(signature = (a, b, k, drawn = false))]
    fn of_beta<'py>(
        &self,
        py: Python<'py>,
        a: Numbers<'py>,
        b: Numbers<'py>,
        k: Numbers<'py>,
        drawn: bool,
    ) -> Found<'py> {
        let [a, b, k] = columns([("a", &a), ("b", &b), ("k", &k)])?;
        let rule = &self.0;
        each(
            py,
            k.len(),
            |i, room| {
                if drawn { rule.drawn(a[i], b[i], k[i], room) } else { rule.value(a[i], b[i], k[i], room) }
            },
        )
    }

    /// The same of questions whose success rates have the logits ability - difficulty, for each ability and k.
    #[pyo3(signature = (ability, difficulties, k, drawn = false))]
    fn of_logits<'py>(
        &self,
        py: Python<'py>,
        ability: Numbers<'py>,
        difficulties: Numbers<'py>,
        k: Numbers<'py>,
        drawn: bool,
    ) -> Found<'py> {
        let ([h, k], [b]) = (columns([("ability", &ability), ("k", &k)])?, columns([("difficulties", &difficulties)])?);
        if b.is_empty() {
            return Err(T2Error::new_err("difficulties is empty: there must be a question"));
        }
        let rule = &self.0;
        each(
            py,
            k.len(),
            |i, _| {
                if drawn { rule.drawn_of_logits(h[i], b, k[i]) } else { rule.of_logits(h[i], b, k[i]) }
            },
        )
    }

    /// The same of single questions whose samples are right with probability p, for each p and k.
    #[pyo3(signature = (p, k, drawn = false))]
    fn of_rates<'py>(&self, py: Python<'py>, p: Numbers<'py>, k: Numbers<'py>, drawn: bool) -> Found<'py> {
        let [p, k] = columns([("p", &p), ("k", &k)])?;
        let rule = &self.0;
        each(py, k.len(), |i, _| if drawn { rule.drawn_at_rate(p[i], k[i]) } else { rule.at_rate(p[i], k[i]) })
    }

    /// The same of single questions c of whose n samples were right, averaged over all choices of k of them.
    #[pyo3(signature = (n, c, k, drawn = false))]
    fn of_counts<'py>(
        &self,
        py: Python<'py>,
        n: Counts<'py>,
        c: Counts<'py>,
        k: Counts<'py>,
        drawn: bool,
    ) -> Found<'py> {
        let whole = |name: &str, column: &Counts<'py>| -> PyResult<Vec<u64>> {
            let negative = |_| T2Error::new_err(format!("{name}: must not be negative"));
            column.as_slice()?.iter().map(|&value| u64::try_from(value).map_err(negative)).collect()
        };
        let (n, c, k) = (whole("n", &n)?, whole("c", &c)?, whole("k", &k)?);
        let what = if drawn { Counted::Drawn } else { Counted::Value };
        Ok(PyArray1::from_vec(py, work::detached(py, || self.0.of_counts(what, &n, &c, &k))?))
    }
}

type Numbers<'py> = PyReadonlyArray1<'py, f64>;
type Counts<'py> = PyReadonlyArray1<'py, i64>;
type Found<'py> = PyResult<Bound<'py, PyArray1<f64>>>;

/// Columns of one length.
fn columns<'a, const COUNT: usize>(named: [(&str, &'a Numbers<'_>); COUNT]) -> PyResult<[&'a [f64]; COUNT]> {
    let mut out = [&[][..]; COUNT];
    for (slot, (_, column)) in out.iter_mut().zip(named) {
        *slot = column.as_slice()?;
    }
    for ((name, _), column) in named.iter().zip(out) {
        if column.len() != out[0].len() {
            let (first, length) = (named[0].0, out[0].len());
            let message = format!("{first} has length {length} and {name} {}: they must be equal", column.len());
            return Err(T2Error::new_err(message));
        }
    }
    Ok(out)
}

/// A number for each of so many points, found without the interpreter.
fn each(py: Python<'_>, count: usize, one: impl Fn(usize, &mut Room) -> f64 + Sync) -> Found<'_> {
    let out = work::detached(py, || {
        let mut room = Room::new();
        Ok((0..count).map(|i| one(i, &mut room)).collect())
    })?;
    Ok(PyArray1::from_vec(py, out))
}
