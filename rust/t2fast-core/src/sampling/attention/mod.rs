//! Attention of one query per row over prefixes that rows share and over tokens of their own.
//!
//! Prefixes first: a piece is read once for all rows that share it, whose queries lie side by side in the lanes of
//! registers, so that the softmax runs down the tokens and needs no sums across lanes (online: Milakov and Gimelshein
//! 2018). Each row then starts from its partial results and reads what is its own.

mod append;
mod own;
mod prefill;
mod prefix;
mod step;
mod tile;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

pub use append::{Places, append};
pub use prefill::{Texts, prefill};
pub use step::{Step, Tensors};

use super::vector::Element;
use crate::error::Result;
use own::Own;
use prefix::Shared;

/// Decodes a step, on the current pool's threads if `parallel`.
///
/// # Errors
/// [`Error::Array`] when a table leads beyond the cache or a length is not what the others say.
pub fn decode<E: Element>(step: &Step<'_>, tensors: Tensors<'_, E>, parallel: bool) -> Result<()> {
    step.check(&tensors)?;
    Arch::new().dispatch(Decode { step, tensors, parallel })
}

struct Decode<'a, 'b, E> {
    step: &'a Step<'b>,
    tensors: Tensors<'a, E>,
    parallel: bool,
}

impl<E: Element> WithSimd for Decode<'_, '_, E> {
    type Output = Result<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<()> {
        let Self { step, tensors, parallel } = self;
        let Tensors { queries, keys, values, out, sums } = tensors;
        let runs = step.items.iter().map(|item| step.run(keys.len(), item[2], item[3], item[4]));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        // Of each head of keys: largest score, sum and output of every partial, row by row.
        let size = step.group * (step.head_dim + 2);
        let mut partials = vec![0.0; step.kv_heads * step.partials * size];
        if !runs.is_empty() {
            let shared = |head: usize, partials: &mut [f32]| {
                simd.vectorize(Shared { step, runs: &runs, queries, keys, values, head, partials });
            };
            let parts = step.partials * size;
            if parallel {
                partials.par_chunks_exact_mut(parts).enumerate().for_each(|(head, part)| shared(head, part));
            } else {
                partials.chunks_exact_mut(parts).enumerate().for_each(|(head, part)| shared(head, part));
            }
        }
        let heads = step.kv_heads * step.group;
        let own = |row: usize, out: &mut [E], sums: &mut [f32]| {
            simd.vectorize(Own { step, partials: &partials, queries, keys, values, row, out, sums })
        };
        let rows = step.rows.len();
        let (out, sums) = (&mut out[..rows * heads * step.head_dim], &mut sums[..rows * heads]);
        if parallel {
            let outs = out.par_chunks_exact_mut(heads * step.head_dim).with_min_len(4);
            outs.zip(sums.par_chunks_exact_mut(heads))
                .enumerate()
                .try_for_each(|(row, (out, sums))| own(row, out, sums))
        } else {
            let mut outs = out.chunks_exact_mut(heads * step.head_dim);
            outs.by_ref()
                .zip(sums.chunks_exact_mut(heads))
                .enumerate()
                .try_for_each(|(row, (out, sums))| own(row, out, sums))
        }
    }
}
