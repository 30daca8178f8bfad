//! The table behind a sum of powers: its columns, their checks, and the order in which rows are worked on.

use std::collections::HashMap;

use super::{Settings, TERMS};
use crate::error::{Error, Result, non_negative};
use crate::fit::loss::check_observations;
use crate::fit::{check_lengths, check_positive, check_spread, check_weights};

/// The columns of a table.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Parameters of each row's model.
    pub n_params: &'a [f64],
    /// Training tokens.
    pub n_tokens: &'a [f64],
    /// Samples per question, for Approach 1.
    pub k: Option<&'a [f64]>,
    /// Unique tokens, to fit what repetition is worth.
    pub unique_tokens: Option<&'a [f64]>,
    /// The loss observed, nats per token, or the mean negative log pass@k.
    pub loss: &'a [f64],
    /// Weights; ones when absent.
    pub weights: Option<&'a [f64]>,
}

impl Table<'_> {
    /// Refuses what cannot be fitted.
    pub(super) fn check(&self, settings: &Settings) -> Result<()> {
        let mut columns =
            vec![("loss", self.loss.len()), ("n_params", self.n_params.len()), ("n_tokens", self.n_tokens.len())];
        let optional = [("k", self.k), ("unique_tokens", self.unique_tokens), ("weights", self.weights)];
        columns.extend(optional.iter().filter_map(|(name, column)| column.map(|c| (*name, c.len()))));
        check_lengths(&columns)?;
        check_positive("n_params", self.n_params)?;
        check_positive("n_tokens", self.n_tokens)?;
        check_observations("loss", self.loss, settings.scale)?;
        if let Some(k) = self.k
            && let Some(row) = k.iter().position(|k| !(*k >= 1.0 && k.is_finite()))
        {
            return Err(Error::Array(format!("k[{row}] = {}: must be finite and at least 1", k[row])));
        }
        if let Some(weights) = self.weights {
            check_weights(weights)?;
        }
        let least = self.loss.iter().copied().fold(f64::INFINITY, f64::min);
        if let Some(e) = settings.e {
            non_negative("E", e)?;
        } else if least <= 0.0 {
            return Err(Error::Array(format!("loss has the value {least}: a free E needs positive losses; fix E")));
        }
        if let Some(unique) = self.unique_tokens {
            check_positive("unique_tokens", unique)?;
            if self.k.is_some() {
                return Err(Error::Array("unique_tokens: not offered together with k; fit the loss at k = 1".into()));
            }
            if settings.overtraining {
                return Err(Error::Array(
                    "unique_tokens: not offered together with overtraining; fit one of them".into(),
                ));
            }
            if self.n_tokens.iter().zip(unique).all(|(d, u)| d <= u) {
                return Err(Error::Array(
                    "unique_tokens: no row repeats any token, so R* cannot be fitted; leave unique_tokens out".into(),
                ));
            }
        }
        if settings.overtraining {
            check_spread(self.n_params, self.n_tokens)?;
        }
        Ok(())
    }

    /// Logarithms of N, D, of k if there is one, and of N/D where asked for, about their centres.
    pub(super) fn logarithms(&self, ratio: bool) -> (Vec<Vec<f64>>, [f64; TERMS]) {
        let mut x = vec![logarithms(self.n_params), logarithms(self.n_tokens)];
        let ratios = ratio.then(|| x[0].iter().zip(&x[1]).map(|(n, d)| n - d).collect());
        x.extend(self.k.map(logarithms));
        x.extend(ratios);
        let mut centre = [0.0; TERMS];
        for (t, (logs, centre)) in x.iter_mut().zip(&mut centre).enumerate() {
            // At k = 1 stands the coefficient itself; for the others the middle of the data.
            if t == 2 && self.k.is_some() {
                continue;
            }
            #[allow(clippy::cast_precision_loss)]
            let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
            *centre = mean;
            for log in logs {
                *log -= mean;
            }
        }
        (x, centre)
    }

    /// The rows in the order in which they are worked on: with k, those of one checkpoint side by side.
    pub(super) fn order(&self) -> Vec<usize> {
        match self.k {
            Some(_) => side_by_side(self.n_params, self.n_tokens),
            None => (0..self.loss.len()).collect(),
        }
    }
}

/// Natural logarithms. Rows of one checkpoint follow one another: most are that of the row before.
fn logarithms(column: &[f64]) -> Vec<f64> {
    let (mut last, mut log) = (1.0, 0.0);
    let one = |&v: &f64| {
        if v != last {
            (last, log) = (v, v.ln());
        }
        log
    };
    column.iter().map(one).collect()
}

/// Row numbers such that rows of equal (a, b) follow one another.
fn side_by_side(a: &[f64], b: &[f64]) -> Vec<usize> {
    // Tables mostly have them so already: only the runs are sorted.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for row in 0..a.len() {
        match runs.last_mut() {
            Some((begin, end)) if a[*begin] == a[row] && b[*begin] == b[row] => *end = row + 1,
            _ => runs.push((row, row + 1)),
        }
    }
    runs.sort_by(|(i, _), (j, _)| a[*i].total_cmp(&a[*j]).then(b[*i].total_cmp(&b[*j])));
    runs.into_iter().flat_map(|(begin, end)| begin..end).collect()
}

/// The distinct values, and which of them each value is.
pub(super) fn numbered(values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut distinct: Vec<f64> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    let mut next = 0;
    let places = values
        .iter()
        .map(|&v| {
            // Every checkpoint mostly has the same k in the same order.
            if distinct.get(next) != Some(&v) {
                next = *known.entry(v.to_bits()).or_insert_with(|| {
                    distinct.push(v);
                    distinct.len() - 1
                });
            }
            let place = next;
            next = (next + 1) % distinct.len();
            place
        })
        .collect();
    (distinct, places)
}
