//! Texts that are read for the first time: each token sees those before it.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::vector::Element;
use super::tile::{LOWEST, Run, Sight, Tile, lanes_for};
use crate::error::{Error, Result};

/// Tokens whose queries share keys and values that were laid out once.
const TOKENS: usize = 128;

/// How texts are read.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Heads of queries for each of them.
    pub group: usize,
    /// Of a head.
    pub head_dim: usize,
    /// Spans of new tokens, neighbours in one text each: begin and end among the queries.
    pub spans: &'a [[i64; 2]],
    /// By span: where in the cache its text lies, from the start to the span's last token.
    pub places: &'a [&'a [i64]],
    /// Factor of the scores.
    pub scale: f32,
    /// Visible positions; 0: all.
    pub window: usize,
    /// Scores become `cap tanh(score / cap)`; 0: they stay.
    pub cap: f32,
    /// By query head, one score more.
    pub sinks: Option<&'a [f32]>,
}

/// Attention of new tokens, whose keys and values are in the cache already: `queries` and `out` are
/// `[tokens, query heads, head_dim]`, keys and values `[places, kv_heads, head_dim]`.
///
/// # Errors
/// [`Error::Array`] when a place lies beyond the cache or a length is not what the others say.
pub fn prefill<E: Element>(
    texts: &Texts<'_>,
    queries: &[E],
    (keys, values): (&[E], &[E]),
    out: &mut [E],
    parallel: bool,
) -> Result<()> {
    let wrong = || Error::Array("the spans of a prefill do not fit its arrays".into());
    let size = texts.kv_heads * texts.group * texts.head_dim;
    let held = keys.len() / (texts.kv_heads * texts.head_dim).max(1);
    if size == 0
        || queries.len() != out.len()
        || keys.len() != values.len()
        || texts.places.len() != texts.spans.len()
        || texts.sinks.is_some_and(|sinks| sinks.len() != texts.kv_heads * texts.group)
    {
        return Err(wrong());
    }
    // Pieces of spans, each with what it reads, in the order of the queries.
    let mut pieces: Vec<(Range<usize>, Vec<usize>, usize)> = Vec::new();
    for (&[begin, end], places) in texts.spans.iter().zip(texts.places) {
        let (begin, end) = (usize::try_from(begin).map_err(|_| wrong())?, usize::try_from(end).map_err(|_| wrong())?);
        if pieces.last().map_or(0, |last| last.0.end) != begin || end <= begin || places.len() < end - begin {
            return Err(wrong());
        }
        let before = places.len() - (end - begin);
        for from in (begin..end).step_by(TOKENS) {
            let to = end.min(from + TOKENS);
            let at = before + from - begin;
            let first = if texts.window > 0 { (at + 1).saturating_sub(texts.window) } else { 0 };
            let reads = places[first..before + to - begin].iter();
            let reads = reads.map(|&place| usize::try_from(place).ok().filter(|&place| place < held));
            let Some(reads) = reads.collect::<Option<Vec<_>>>() else {
                return Err(Error::Array(format!("places: one lies beyond the cache, which holds {held} tokens")));
            };
            pieces.push((from..to, reads, at - first));
        }
    }
    if pieces.last().map_or(0, |last| last.0.end) * size != out.len() {
        return Err(wrong());
    }
    let mut rest = out;
    let mut work = Vec::with_capacity(pieces.len());
    for (tokens, reads, at) in &pieces {
        let (part, more) = rest.split_at_mut(tokens.len() * size);
        rest = more;
        work.push(Piece {
            texts,
            queries: &queries[tokens.start * size..tokens.end * size],
            keys,
            values,
            reads,
            at: *at,
            out: part,
        });
    }
    let arch = Arch::new();
    if parallel {
        work.into_par_iter().for_each(|piece| arch.dispatch(piece));
    } else {
        for piece in work {
            arch.dispatch(piece);
        }
    }
    Ok(())
}

/// Some neighbouring tokens of a text.
struct Piece<'a, 'b, E> {
    texts: &'a Texts<'b>,
    queries: &'a [E],
    keys: &'a [E],
    values: &'a [E],
    /// Where what they read lies; and the number among these of the first of them.
    reads: &'a [usize],
    at: usize,
    out: &'a mut [E],
}

impl<E: Element> WithSimd for Piece<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::cast_possible_wrap)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { texts, queries, keys, values, reads, at, out } = self;
        let &Texts { kv_heads, group, head_dim: dim, scale, window, cap, sinks, .. } = texts;
        let n = out.len() / (kv_heads * dim);
        let (mut run, mut tile, mut stands) = (Run::default(), Tile::default(), Vec::new());
        for head in 0..kv_heads {
            run.lay(reads, keys, values, (head, kv_heads, dim));
            let mut done = 0;
            while done < n {
                let width = lanes_for::<S>(n - done);
                // Lanes: the heads of a group side by side, token after token.
                let begin = |i: usize| (((done + i) / group * kv_heads + head) * group + (done + i) % group) * dim;
                tile.take((n - done, width, dim), scale, |i| &queries[begin(i)..begin(i) + dim]);
                stands.clear();
                stands.extend((0..width).map(|i| (at + (done + i).min(n - 1) / group) as i64));
                tile.read(simd, &run, &Sight { cap, window, first: 0, stands: &stands });
                for i in 0..(n - done).min(width) {
                    let sink = sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head * group + (done + i) % group]);
                    let top = tile.most[i].max(sink).max(LOWEST);
                    let fade = (tile.most[i] - top).exp();
                    let share = fade / (tile.sum[i] * fade + (sink - top).exp());
                    for (to, x) in out[begin(i)..begin(i) + dim].iter_mut().zip(tile.lane(i)) {
                        *to = E::narrow(x * share);
                    }
                }
                done += width;
            }
        }
    }
}
