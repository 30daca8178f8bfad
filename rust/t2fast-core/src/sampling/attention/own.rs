//! A row's partial results, and the tokens that it reads alone.

use pulp::{Simd, WithSimd};

use super::super::vector::{Element, exp, registers, registers_mut};
use super::step::{Step, index};
use super::tile::LOWEST;
use crate::error::Result;

/// One row: its partial results, then what it reads alone.
pub(super) struct Own<'a, 'b, E> {
    pub(super) step: &'a Step<'b>,
    pub(super) partials: &'a [f32],
    pub(super) queries: &'a [E],
    pub(super) keys: &'a [E],
    pub(super) values: &'a [E],
    pub(super) row: usize,
    pub(super) out: &'a mut [E],
    pub(super) sums: &'a mut [f32],
}

/// A run of tokens that a row reads alone: where they are, and the position of the first.
type Alone = (Vec<usize>, i64);

impl<E: Element> WithSimd for Own<'_, '_, E> {
    type Output = Result<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<()> {
        let Self { step, partials, queries, keys, values, row, out, sums } = self;
        let [table, begin, position, _] = step.rows[row];
        if table < 0 {
            out.fill(E::default());
            sums.fill(f32::NEG_INFINITY);
            return Ok(());
        }
        let (group, dim) = (step.group, step.head_dim);
        let levels = &step.row_levels[row * step.levels..(row + 1) * step.levels];
        let mut alone: Vec<Alone> = Vec::new();
        if step.items.is_empty() {
            for level in levels.iter().filter(|level| level[3] >= 0) {
                let [table, begin, end, position] = step.segments[index(level[3])];
                alone.push((step.run(keys.len(), table, begin, end)?, i64::from(position)));
            }
        }
        alone.push((step.run(keys.len(), table, begin, step.ends[row])?, i64::from(position)));
        let at = step.at(row);
        let heads = step.kv_heads * group;
        // Dimensions in whole registers.
        let deep = dim.next_multiple_of(S::F32_LANES);
        let from = &queries[row * heads * dim..(row + 1) * heads * dim];
        let mut reader = Reader {
            kv_heads: step.kv_heads,
            group,
            dim,
            deep,
            queries: vec![0.0; heads * deep],
            most: vec![0.0; heads],
            sum: vec![0.0; heads],
            total: vec![0.0; heads * deep],
            scores: Vec::new(),
            padded: Vec::new(),
        };
        for (to, from) in reader.queries.chunks_exact_mut(deep).zip(from.chunks_exact(dim)) {
            for (to, x) in to.iter_mut().zip(from) {
                *to = x.wide() * step.scale;
            }
        }
        let before = reader.most.iter_mut().zip(&mut reader.sum).zip(reader.total.chunks_exact_mut(deep));
        for (q, ((most, sum), total)) in before.enumerate() {
            let (head, g) = (q / group, q % group);
            let sink = step.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[q]);
            (*most, *sum) = (sink.max(LOWEST), if sink == f32::NEG_INFINITY { 0.0 } else { 1.0 });
            for level in levels {
                for i in 0..index(level[2]) {
                    let slot = (head * step.partials + index(level[0]) + i * index(level[1])) * group + g;
                    let part = &partials[slot * (dim + 2)..(slot + 1) * (dim + 2)];
                    let top = f32::max(*most, part[0]);
                    let (a, b) = ((*most - top).exp(), (part[0] - top).exp());
                    (*most, *sum) = (top, *sum * a + part[1] * b);
                    for (to, x) in total.iter_mut().zip(&part[2..]) {
                        *to = *to * a + x * b;
                    }
                }
            }
        }
        for (places, first) in &alone {
            let hidden = if step.window > 0 {
                usize::try_from(at - first + 1).unwrap_or(0).saturating_sub(step.window).min(places.len())
            } else {
                0
            };
            reader.read(simd, &places[hidden..], keys, values, step.cap);
        }
        for (q, out) in out.chunks_exact_mut(dim).enumerate() {
            let sum = reader.sum[q];
            let share = if sum == 0.0 { 1.0 } else { 1.0 / sum };
            for (to, x) in out.iter_mut().zip(&reader.total[q * deep..]) {
                *to = E::narrow(x * share);
            }
            sums[q] = reader.most[q] + sum.ln();
        }
        Ok(())
    }
}

/// Tokens that are read, all heads of each, before the next: as they lie in the cache.
const TOKENS: usize = 8;

/// All heads of a row's query, what they have seen so far, and memory for the work.
struct Reader {
    kv_heads: usize,
    group: usize,
    dim: usize,
    deep: usize,
    /// `[heads, deep]`.
    queries: Vec<f32>,
    /// `[heads]`: the largest score, and the sum of the exponentials below it.
    most: Vec<f32>,
    sum: Vec<f32>,
    /// `[heads, deep]`: the sum of weighted values.
    total: Vec<f32>,
    /// `[heads][tokens]`: scores, then weights.
    scores: Vec<f32>,
    padded: Vec<f32>,
}

impl Reader {
    /// Reads tokens of a cache.
    #[inline(always)]
    fn read<S: Simd, E: Element>(&mut self, simd: S, places: &[usize], keys: &[E], values: &[E], cap: f32) {
        let &mut Self { kv_heads, group, dim, deep, .. } = self;
        if places.is_empty() {
            return;
        }
        let span = places.len().next_multiple_of(S::F32_LANES);
        self.scores.clear();
        self.scores.resize(kv_heads * group * span, f32::NEG_INFINITY);
        for (part, places) in places.chunks(TOKENS).enumerate() {
            let tokens = laid(places, keys, (kv_heads, dim, deep), &mut self.padded);
            for q in 0..kv_heads * group {
                let query = registers::<S>(&self.queries[q * deep..(q + 1) * deep]);
                let scores = &mut self.scores[q * span + part * TOKENS..][..places.len()];
                for (score, token) in scores.iter_mut().zip(tokens) {
                    *score = dot(simd, query, registers::<S>(&token[q / group * deep..][..deep]));
                }
            }
        }
        for q in 0..kv_heads * group {
            let scores = &mut self.scores[q * span..(q + 1) * span];
            if cap > 0.0 {
                for score in &mut scores[..places.len()] {
                    *score = cap * (*score / cap).tanh();
                }
            }
            let scores = registers_mut::<S>(scores);
            let top = scores.iter().fold(simd.splat_f32s(self.most[q]), |top, &x| simd.max_f32s(top, x));
            let top = simd.reduce_max_f32s(top);
            let fade = (self.most[q] - top).exp();
            self.most[q] = top;
            self.sum[q] = self.sum[q] * fade + powers(simd, scores, top);
            for x in &mut self.total[q * deep..(q + 1) * deep] {
                *x *= fade;
            }
        }
        for (part, places) in places.chunks(TOKENS).enumerate() {
            let tokens = laid(places, values, (kv_heads, dim, deep), &mut self.padded);
            for q in 0..kv_heads * group {
                let weights = &self.scores[q * span + part * TOKENS..][..places.len()];
                let total = registers_mut::<S>(&mut self.total[q * deep..(q + 1) * deep]);
                add(simd, weights, &tokens, q / group * deep, total);
            }
        }
    }
}

/// Tokens of a cache, `[heads, deep]` each: in place where they are that already.
#[inline(always)]
fn laid<'a, E: Element>(
    places: &[usize],
    cache: &'a [E],
    (kv_heads, dim, deep): (usize, usize, usize),
    padded: &'a mut Vec<f32>,
) -> [&'a [f32]; TOKENS] {
    let mut tokens: [&[f32]; TOKENS] = [&[]; TOKENS];
    let (size, wide) = (kv_heads * dim, kv_heads * deep);
    match E::singles(cache) {
        Some(cache) if dim == deep => {
            for (token, &place) in tokens.iter_mut().zip(places) {
                *token = &cache[place * size..(place + 1) * size];
            }
        }
        _ => {
            padded.resize(TOKENS * wide, 0.0);
            for (to, &place) in padded.chunks_exact_mut(wide).zip(places) {
                let from = &cache[place * size..(place + 1) * size];
                for (to, from) in to.chunks_exact_mut(deep).zip(from.chunks_exact(dim)) {
                    E::widen(from, to);
                }
            }
            for (token, padded) in tokens.iter_mut().zip(padded.chunks_exact(wide)) {
                *token = padded;
            }
        }
    }
    tokens
}

#[inline(always)]
fn dot<S: Simd>(simd: S, query: &[S::f32s], key: &[S::f32s]) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    for (&q, &k) in query.iter().zip(key) {
        sum = simd.mul_add_e_f32s(q, k, sum);
    }
    simd.reduce_sum_f32s(sum)
}

/// Adds weighted values of tokens to a head's total; `at` says where in a token the head is.
#[inline(always)]
fn add<S: Simd>(simd: S, weights: &[f32], tokens: &[&[f32]; TOKENS], at: usize, total: &mut [S::f32s]) {
    // So many registers at a time stay registers over all tokens.
    let (fours, rest) = total.as_chunks_mut::<4>();
    let done = fours.len() * 4 * S::F32_LANES;
    for (i, four) in fours.iter_mut().enumerate() {
        weigh(simd, weights, tokens, at + i * 4 * S::F32_LANES, four);
    }
    for (i, one) in rest.iter_mut().enumerate() {
        weigh(simd, weights, tokens, at + done + i * S::F32_LANES, std::array::from_mut(one));
    }
}

#[inline(always)]
fn weigh<S: Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    tokens: &[&[f32]; TOKENS],
    at: usize,
    total: &mut [S::f32s; N],
) {
    let mut sums = *total;
    for (&weight, token) in weights.iter().zip(tokens) {
        let weight = simd.splat_f32s(weight);
        for (sum, &v) in sums.iter_mut().zip(registers::<S>(&token[at..at + N * S::F32_LANES])) {
            *sum = simd.mul_add_e_f32s(weight, v, *sum);
        }
    }
    *total = sums;
}

/// Replaces scores by their exponentials below `top` and gives the sum.
#[inline(always)]
fn powers<S: Simd>(simd: S, scores: &mut [S::f32s], top: f32) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    for x in scores {
        *x = exp(simd, simd.sub_f32s(*x, simd.splat_f32s(top)));
        sum = simd.add_f32s(sum, *x);
    }
    simd.reduce_sum_f32s(sum)
}
