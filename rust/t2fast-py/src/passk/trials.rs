//! `t2fast_core::passk::trials` and `records`.

use std::sync::Mutex;

use pyo3::prelude::*;
use t2fast_core::passk::records::{self, Layout, Tally, Uncounted};
use t2fast_core::passk::trials::{self, Trials};

use crate::work;

/// The trials counted so far, so that none counts twice.
#[pyclass(frozen, module = "t2fast._core")]
#[derive(Default)]
pub struct TrialLog(Mutex<Trials>);

#[pymethods]
impl TrialLog {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Whether a trial is new (0), a copy (1) or in conflict with one of the same name (2); one number for each.
    fn add(&self, names: Vec<String>, verdicts: Vec<bool>, texts: Option<Vec<String>>) -> Vec<u8> {
        let mut log = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut seen = Vec::with_capacity(names.len());
        for (i, (name, &verdict)) in names.iter().zip(&verdicts).enumerate() {
            let text = texts.as_ref().and_then(|texts| texts.get(i)).map(String::as_bytes);
            seen.push(log.add(trials::identity(name.as_bytes()), trials::content(verdict, text)) as u8);
        }
        seen
    }

    /// Whether a trial has been noted.
    fn __contains__(&self, name: &str) -> bool {
        let log = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.contains(trials::identity(name.as_bytes()))
    }

    /// (problem, trials, correct trials, copies left out) of a block of JSON lines with these keys; the number of the line
    /// where a trial contradicts one of the same name; or None when a line is anything else.
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (block, keys, problem, verdict, identity, text, prefix))]
    fn tally_json_lines(
        &self,
        py: Python<'_>,
        block: &[u8],
        keys: Vec<String>,
        problem: usize,
        verdict: usize,
        identity: Vec<usize>,
        text: Option<usize>,
        prefix: &str,
    ) -> PyResult<(Option<Vec<Tally>>, Option<usize>)> {
        work::detached(py, || {
            let layout = Layout { keys: &keys, problem, verdict, identity: &identity, text, prefix };
            let mut log = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Ok(match records::tally(block, layout, &mut log) {
                Ok(counted) => (Some(counted), None),
                Err(Uncounted::Conflict(line)) => (None, Some(line)),
                Err(Uncounted::Unusual) => (None, None),
            })
        })
    }
}
