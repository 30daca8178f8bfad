//! Many laws at many points: what resampled laws say.

use rayon::prelude::*;

use super::{AnyLaw, Law};
use crate::error::{Error, Result, positive};

/// The value of each law at each point, repeated tokens discounted; points run fastest.
///
/// # Errors
/// [`Error::Array`] when the lengths differ, [`Error::Value`] unless N, D and the unique tokens are positive and finite and
/// k is finite and at least 1.
pub fn values(
    laws: &[AnyLaw],
    n_params: &[f64],
    n_tokens: &[f64],
    k: &[f64],
    unique_tokens: Option<f64>,
) -> Result<Vec<f64>> {
    if n_params.len() != n_tokens.len() || n_params.len() != k.len() {
        return Err(Error::Array("n_params, n_tokens and k must have one length".into()));
    }
    if let Some(unique) = unique_tokens {
        positive("unique_tokens", unique)?;
    }
    let points = n_params.len();
    let mut out = vec![0.0; laws.len() * points];
    if points == 0 {
        return Ok(out);
    }
    out.par_chunks_mut(points).zip(laws).try_for_each(|(out, law)| {
        if unique_tokens.is_none() {
            return law.values(n_params, n_tokens, k, out);
        }
        // The checks are those of the laws themselves.
        law.values(n_params, n_tokens, k, out)?;
        for (((out, &n), &d), &k) in out.iter_mut().zip(n_params).zip(n_tokens).zip(k) {
            *out = law.at_loss(law.chinchilla().loss_within(n, d, unique_tokens), k);
        }
        Ok(())
    })?;
    Ok(out)
}
