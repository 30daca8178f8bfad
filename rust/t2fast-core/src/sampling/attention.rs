//! Attention of one query per row over prefixes that rows share and over tokens of their own.
//!
//! Prefixes first: a piece is read once for all rows that share it, whose queries lie side by side in the lanes of
//! registers, so that the softmax runs down the tokens and needs no sums across lanes (online: Milakov and Gimelshein
//! 2018). Each row then starts from its partial results and reads what is its own.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::vector::{Element, exp, registers, registers_mut};
use crate::error::{Error, Result};

/// Tokens of a prefix worked on at a time: their scores stay in the innermost cache.
const BLOCK: usize = 64;
/// Tokens or dimensions whose products are accumulated together: a multiple of this is padded to.
const DEEP: usize = 4;
/// The score of what has seen nothing: finite, so that no difference of two infinities turns into NaN.
const LOWEST: f32 = f32::MIN;

/// A decode step of one layer, as `t2fast_kernels.plan` planned it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Heads of queries for each of them.
    pub group: usize,
    /// Of a head.
    pub head_dim: usize,
    /// Tokens on a page.
    pub page_size: usize,
    /// Page ids, row by row.
    pub tables: &'a [i32],
    /// Entries in a row of the tables.
    pub table_width: usize,
    /// Pieces of prefixes: first entry in the row map, rows, table, begin, end, position, first partial, 0.
    pub items: &'a [[i32; 8]],
    /// Rows of the pieces.
    pub row_map: &'a [i32],
    /// Prefix runs: table, begin, end, position.
    pub segments: &'a [[i32; 4]],
    /// By row and level: first partial, distance to the next, partials, segment or -1.
    pub row_levels: &'a [[i32; 4]],
    /// Levels of a row.
    pub levels: usize,
    /// By row: table or -1, begin, position of begin, 0.
    pub rows: &'a [[i32; 4]],
    /// By row: where its own tokens end.
    pub ends: &'a [i32],
    /// Partial results of all pieces.
    pub partials: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Visible positions; 0: all.
    pub window: usize,
    /// Scores become `cap tanh(score / cap)`; 0: they stay.
    pub cap: f32,
    /// By query head, one score more.
    pub sinks: Option<&'a [f32]>,
}

/// Queries, keys, values and results.
#[derive(Debug)]
pub struct Tensors<'a, E> {
    /// `[rows, query heads, head_dim]`.
    pub queries: &'a [E],
    /// `[pages, page_size, kv_heads, head_dim]`.
    pub keys: &'a [E],
    /// Like the keys.
    pub values: &'a [E],
    /// Like the queries.
    pub out: &'a mut [E],
    /// `[rows, query heads]`: logarithms of the sums of exponentiated scores.
    pub sums: &'a mut [f32],
}

/// Decodes a step, on the current pool's threads if `parallel`.
///
/// # Errors
/// [`Error::Array`] when a table leads beyond the cache or a length is not what the others say.
pub fn decode<E: Element>(step: &Step<'_>, tensors: Tensors<'_, E>, parallel: bool) -> Result<()> {
    step.check(&tensors)?;
    Arch::new().dispatch(Decode { step, tensors, parallel })
}

/// Where new tokens go.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Page ids, row by row.
    pub tables: &'a [i32],
    /// Entries in a row of the tables.
    pub table_width: usize,
    /// Tokens on a page.
    pub page_size: usize,
    /// By token: its table.
    pub row_table: &'a [i32],
    /// By token: its number within the table; one below 0 is skipped.
    pub token_index: &'a [i32],
}

/// Writes tokens of `size` numbers into a cache of pages.
///
/// # Errors
/// [`Error::Array`] when a table leads beyond the cache or a length is not what the others say.
pub fn append<E: Element>(places: Places<'_>, new: &[E], size: usize, cache: &mut [E]) -> Result<()> {
    let Places { tables, table_width, page_size, row_table, token_index } = places;
    for ((new, &table), &token) in new.chunks_exact(size.max(1)).zip(row_table).zip(token_index) {
        if token < 0 {
            continue;
        }
        let (page, slot) = (index(token) / page_size, index(token) % page_size);
        let entry = index(table) * table_width + page;
        let id = tables.get(entry).filter(|_| page < table_width && table >= 0);
        let to = id.and_then(|&id| {
            let begin = (usize::try_from(id).ok()? * page_size + slot) * size;
            cache.get_mut(begin..begin + size)
        });
        let Some(to) = to else {
            return Err(Error::Array(format!("index = {token}: table {table} leads to no page of the cache")));
        };
        to.copy_from_slice(new);
    }
    Ok(())
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

/// A number of the plan that is never negative where it is used.
#[inline(always)]
#[allow(clippy::cast_sign_loss)]
fn index(value: i32) -> usize {
    value.max(0) as usize
}

impl Step<'_> {
    fn check<E>(&self, tensors: &Tensors<'_, E>) -> Result<()> {
        let query = self.kv_heads * self.group * self.head_dim;
        let rows = self.rows.len();
        let fits = tensors.queries.len() >= rows * query
            && tensors.out.len() >= rows * query
            && tensors.sums.len() >= rows * self.kv_heads * self.group
            && tensors.keys.len() == tensors.values.len()
            && self.ends.len() >= rows
            && self.row_levels.len() >= rows * self.levels
            && self.table_width > 0
            && self.page_size > 0
            && self.sinks.is_none_or(|sinks| sinks.len() == self.kv_heads * self.group);
        if !fits {
            return Err(Error::Array("a decode step's arrays do not have the lengths that its plan says".into()));
        }
        Ok(())
    }

    /// Where in the cache, as token numbers over all pages, tokens `begin` to `end - 1` of a table are.
    #[inline(always)]
    fn run(&self, cache: usize, table: i32, begin: i32, end: i32) -> Result<Vec<usize>> {
        let (first, begin, end) = (index(table) * self.table_width, index(begin), index(end));
        let pages = self.tables.get(first..first + self.table_width);
        let Some(pages) = pages.filter(|_| end <= self.table_width * self.page_size) else {
            return Err(Error::Array(format!("block_tables: table {table} has no token {end}")));
        };
        let held = cache / (self.page_size * self.kv_heads * self.head_dim).max(1);
        let mut places = Vec::with_capacity(end.saturating_sub(begin));
        let mut at = begin;
        while at < end {
            let id = pages[at / self.page_size];
            let page = usize::try_from(id).ok().filter(|&page| page < held);
            let Some(page) = page else {
                return Err(Error::Array(format!("block_tables: page {id}, but the cache holds {held} pages")));
            };
            let stop = end.min((at / self.page_size + 1) * self.page_size);
            places.extend((at..stop).map(|t| page * self.page_size + t % self.page_size));
            at = stop;
        }
        Ok(places)
    }

    /// Where a row's query stands.
    fn at(&self, row: usize) -> i64 {
        let [table, begin, position, _] = self.rows[row];
        let length = if table < 0 { 0 } else { self.ends[row] - begin };
        i64::from(position) + i64::from(length) - 1
    }

    /// A score after cap and window.
    #[inline(always)]
    fn shown(&self, score: f32, at: i64, position: i64) -> f32 {
        let score = if self.cap > 0.0 { self.cap * (score / self.cap).tanh() } else { score };
        let hidden = self.window > 0 && at - position >= i64::try_from(self.window).unwrap_or(i64::MAX);
        if hidden { f32::NEG_INFINITY } else { score }
    }
}

// -------------------------------------------------------------------------------------------------- shared prefixes

/// All pieces of prefixes, for one head of keys.
struct Shared<'a, 'b, E> {
    step: &'a Step<'b>,
    runs: &'a [Vec<usize>],
    queries: &'a [E],
    keys: &'a [E],
    values: &'a [E],
    head: usize,
    partials: &'a mut [f32],
}

impl<E: Element> WithSimd for Shared<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { step, runs, queries, keys, values, head, partials } = self;
        let mut room = Room::default();
        for (item, places) in step.items.iter().zip(runs) {
            let members = &step.row_map[index(item[0])..index(item[0]) + index(item[1])];
            let piece = Piece { step, places, begin: i64::from(item[5]), members, queries, keys, values, head };
            let n = members.len() * step.group;
            let mut done = 0;
            while done < n {
                // As wide as registers allow; narrower where few queries are left.
                let left = (n - done).div_ceil(S::F32_LANES);
                let taken = if left > 2 && S::REGISTER_COUNT >= 32 {
                    tile::<S, E, 4>(simd, &piece, done, &mut room);
                    4
                } else if left > 1 {
                    tile::<S, E, 2>(simd, &piece, done, &mut room);
                    2
                } else {
                    tile::<S, E, 1>(simd, &piece, done, &mut room);
                    1
                };
                let width = taken * S::F32_LANES;
                room.keep(step, partials, index(item[6]), done, (n - done).min(width), width);
                done += width;
            }
        }
    }
}

/// A piece of a prefix, for the rows that share it and one head of keys.
struct Piece<'a, 'b, E> {
    step: &'a Step<'b>,
    /// Where its tokens are, and the position of the first.
    places: &'a [usize],
    begin: i64,
    members: &'a [i32],
    queries: &'a [E],
    keys: &'a [E],
    values: &'a [E],
    head: usize,
}

/// Memory that tiles use one after the other.
#[derive(Default)]
struct Room {
    /// `[head_dim][queries]`.
    queries: Vec<f32>,
    /// `[tokens][head_dim]`.
    keys: Vec<f32>,
    /// `[head_dim / DEEP][tokens][DEEP]`.
    values: Vec<[f32; DEEP]>,
    /// `[tokens][queries]`: scores, then weights.
    scores: Vec<f32>,
    /// `[head_dim][queries]`.
    out: Vec<f32>,
    /// `[queries]` each.
    most: Vec<f32>,
    sum: Vec<f32>,
}

impl Room {
    /// Write the tile's results where the rows will look for them.
    fn keep(&self, step: &Step<'_>, partials: &mut [f32], slot: usize, done: usize, n: usize, width: usize) {
        let (group, dim) = (step.group, step.head_dim);
        for i in 0..n {
            let query = done + i;
            let to = ((slot + query / group) * group + query % group) * (dim + 2);
            let to = &mut partials[to..to + dim + 2];
            (to[0], to[1]) = (self.most[i], self.sum[i]);
            for (d, x) in to[2..].iter_mut().enumerate() {
                *x = self.out[d * width + i];
            }
        }
    }
}

/// One piece of a prefix for `N` registers of queries, from query `done` on.
#[inline(always)]
fn tile<S: Simd, E: Element, const N: usize>(simd: S, piece: &Piece<'_, '_, E>, done: usize, room: &mut Room) {
    let &Piece { step, places, begin, members, queries, keys, values, head } = piece;
    let (group, dim, width) = (step.group, step.head_dim, N * S::F32_LANES);
    let deep = dim.next_multiple_of(DEEP);
    let n = members.len() * group;
    let row_of = |i: usize| index(members[(done + i).min(n - 1) / group]);
    let filled = (n - done).min(width);
    room.queries.clear();
    room.queries.resize(dim * width, 0.0);
    for i in 0..filled {
        let from = ((row_of(i) * step.kv_heads + head) * group + (done + i) % group) * dim;
        for (d, x) in queries[from..from + dim].iter().enumerate() {
            room.queries[d * width + i] = x.wide() * step.scale;
        }
    }
    room.out.clear();
    room.out.resize(deep * width, 0.0);
    room.most.clear();
    room.most.resize(width, LOWEST);
    room.sum.clear();
    room.sum.resize(width, 0.0);
    room.scores.resize(BLOCK * width, 0.0);
    room.keys.resize(BLOCK * dim, 0.0);
    room.values.resize(BLOCK * deep / DEEP, [0.0; DEEP]);
    let windowed = step.window > 0;
    // Where the queries stand, and the position of the piece's first token.
    let ats: Vec<i64> = if windowed { (0..width).map(|i| step.at(row_of(i))).collect() } else { Vec::new() };
    for (block, part) in places.chunks(BLOCK).enumerate() {
        let tokens = part.len();
        let padded = tokens.next_multiple_of(DEEP);
        for (t, &place) in part.iter().enumerate() {
            let from = (place * step.kv_heads + head) * dim;
            for (to, x) in room.keys[t * dim..(t + 1) * dim].iter_mut().zip(&keys[from..from + dim]) {
                *to = x.wide();
            }
            for (d, x) in values[from..from + dim].chunks(DEEP).enumerate() {
                let to = &mut room.values[d * BLOCK + t];
                for (to, x) in to.iter_mut().zip(x) {
                    *to = x.wide();
                }
            }
        }
        room.keys[tokens * dim..padded * dim].fill(0.0);
        let scores = registers_mut::<S>(&mut room.scores).as_chunks_mut::<N>().0;
        let lanes = registers::<S>(&room.queries).as_chunks::<N>().0;
        for (t, four) in scores[..padded].chunks_exact_mut(DEEP).enumerate() {
            let keys = &room.keys[t * DEEP * dim..(t + 1) * DEEP * dim];
            score(simd, lanes, keys, dim, four);
        }
        if step.cap > 0.0 || windowed {
            for (t, row) in room.scores[..tokens * width].chunks_exact_mut(width).enumerate() {
                let position = begin.saturating_add_unsigned((block * BLOCK + t) as u64);
                for (i, x) in row.iter_mut().enumerate() {
                    *x = step.shown(*x, if windowed { ats[i] } else { 0 }, position);
                }
            }
        }
        let scores = &mut registers_mut::<S>(&mut room.scores).as_chunks_mut::<N>().0[..tokens];
        let most = &mut registers_mut::<S>(&mut room.most).as_chunks_mut::<N>().0[0];
        let sum = &mut registers_mut::<S>(&mut room.sum).as_chunks_mut::<N>().0[0];
        let mut top = *most;
        for row in scores.iter() {
            for (top, &x) in top.iter_mut().zip(row) {
                *top = simd.max_f32s(*top, x);
            }
        }
        let mut fade = *most;
        for (fade, &top) in fade.iter_mut().zip(&top) {
            *fade = exp(simd, simd.sub_f32s(*fade, top));
        }
        *most = top;
        let mut total = [simd.splat_f32s(0.0); N];
        for row in scores.iter_mut() {
            for ((x, &top), total) in row.iter_mut().zip(&top).zip(&mut total) {
                *x = exp(simd, simd.sub_f32s(*x, top));
                *total = simd.add_f32s(*total, *x);
            }
        }
        for ((sum, &fade), &total) in sum.iter_mut().zip(&fade).zip(&total) {
            *sum = simd.mul_add_e_f32s(*sum, fade, total);
        }
        let out = registers_mut::<S>(&mut room.out).as_chunks_mut::<N>().0;
        for (out, values) in out.chunks_exact_mut(DEEP).zip(room.values.chunks_exact(BLOCK)) {
            weigh(simd, scores, values, &fade, out);
        }
    }
}

/// Scores of `DEEP` tokens for `N` registers of queries.
#[inline(always)]
fn score<S: Simd, const N: usize>(
    simd: S,
    queries: &[[S::f32s; N]],
    keys: &[f32],
    dim: usize,
    scores: &mut [[S::f32s; N]],
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; DEEP];
    let (k0, rest) = keys.split_at(dim);
    let (k1, rest) = rest.split_at(dim);
    let (k2, k3) = rest.split_at(dim);
    for ((((q, &k0), &k1), &k2), &k3) in queries.iter().zip(k0).zip(k1).zip(k2).zip(k3) {
        for (sums, k) in sums.iter_mut().zip([k0, k1, k2, k3]) {
            let k = simd.splat_f32s(k);
            for (sum, &q) in sums.iter_mut().zip(q) {
                *sum = simd.mul_add_e_f32s(k, q, *sum);
            }
        }
    }
    scores.copy_from_slice(&sums);
}

/// `out = fade out + weights values` for `DEEP` dimensions.
#[inline(always)]
fn weigh<S: Simd, const N: usize>(
    simd: S,
    weights: &[[S::f32s; N]],
    values: &[[f32; DEEP]],
    fade: &[S::f32s; N],
    out: &mut [[S::f32s; N]],
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; DEEP];
    for (sums, out) in sums.iter_mut().zip(out.iter()) {
        for ((sum, &out), &fade) in sums.iter_mut().zip(out).zip(fade) {
            *sum = simd.mul_f32s(out, fade);
        }
    }
    for (weights, values) in weights.iter().zip(values) {
        for (sums, &v) in sums.iter_mut().zip(values) {
            let v = simd.splat_f32s(v);
            for (sum, &w) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(v, w, *sum);
            }
        }
    }
    out.copy_from_slice(&sums);
}

// -------------------------------------------------------------------------------------------------- a row's own tokens

/// One row: its partial results, then what it reads alone.
struct Own<'a, 'b, E> {
    step: &'a Step<'b>,
    partials: &'a [f32],
    queries: &'a [E],
    keys: &'a [E],
    values: &'a [E],
    row: usize,
    out: &'a mut [E],
    sums: &'a mut [f32],
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
        // Dimensions in whole registers, so that a row's sums stay in them.
        let deep = dim.next_multiple_of(S::F32_LANES);
        let mut query = vec![0.0; deep];
        let mut total = vec![0.0; deep];
        let mut padded = vec![0.0; deep];
        let mut scores: Vec<f32> = Vec::new();
        for head in 0..step.kv_heads {
            for g in 0..group {
                let q = head * group + g;
                let from = (row * step.kv_heads * group + q) * dim;
                for (to, x) in query.iter_mut().zip(&queries[from..from + dim]) {
                    *to = x.wide() * step.scale;
                }
                total.fill(0.0);
                let (mut most, mut sum) = step.sinks.map_or((LOWEST, 0.0), |sinks| (sinks[q].max(LOWEST), 1.0));
                if step.sinks.is_some_and(|sinks| sinks[q] == f32::NEG_INFINITY) {
                    sum = 0.0;
                }
                for level in levels {
                    for i in 0..index(level[2]) {
                        let slot = (head * step.partials + index(level[0]) + i * index(level[1])) * group + g;
                        let part = &partials[slot * (dim + 2)..(slot + 1) * (dim + 2)];
                        let top = f32::max(most, part[0]);
                        let (a, b) = ((most - top).exp(), (part[0] - top).exp());
                        (most, sum) = (top, sum * a + part[1] * b);
                        for (to, x) in total.iter_mut().zip(&part[2..]) {
                            *to = *to * a + x * b;
                        }
                    }
                }
                for (places, first) in &alone {
                    let hidden = if step.window > 0 {
                        usize::try_from(at - first + 1).unwrap_or(0).saturating_sub(step.window).min(places.len())
                    } else {
                        0
                    };
                    let places = &places[hidden..];
                    if places.is_empty() {
                        continue;
                    }
                    scores.clear();
                    scores.extend(places.iter().map(|&place| {
                        let from = (place * step.kv_heads + head) * dim;
                        let score = dot(simd, &query, &keys[from..from + dim], &mut padded);
                        if step.cap > 0.0 { step.cap * (score / step.cap).tanh() } else { score }
                    }));
                    let top = scores.iter().copied().fold(most, f32::max);
                    let fade = (most - top).exp();
                    most = top;
                    sum = sum * fade + powers(simd, &mut scores, top);
                    for x in &mut total {
                        *x *= fade;
                    }
                    for (&place, &weight) in places.iter().zip(&scores) {
                        let from = (place * step.kv_heads + head) * dim;
                        add(simd, weight, &values[from..from + dim], &mut padded, &mut total);
                    }
                }
                let share = if sum == 0.0 { 1.0 } else { 1.0 / sum };
                for (to, x) in out[q * dim..(q + 1) * dim].iter_mut().zip(&total) {
                    *to = E::narrow(x * share);
                }
                sums[q] = most + sum.ln();
            }
        }
        Ok(())
    }
}

/// Numbers of a cache as whole registers: in place where they are that already.
#[inline(always)]
fn laid<'a, S: Simd, E: Element>(x: &'a [E], padded: &'a mut [f32]) -> &'a [S::f32s] {
    match E::singles(x) {
        Some(x) if x.len().is_multiple_of(S::F32_LANES) => registers::<S>(x),
        _ => {
            for (to, x) in padded.iter_mut().zip(x) {
                *to = x.wide();
            }
            registers::<S>(padded)
        }
    }
}

#[inline(always)]
fn dot<S: Simd, E: Element>(simd: S, query: &[f32], key: &[E], padded: &mut [f32]) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    for (&q, &k) in registers::<S>(query).iter().zip(laid::<S, E>(key, padded)) {
        sum = simd.mul_add_e_f32s(q, k, sum);
    }
    simd.reduce_sum_f32s(sum)
}

#[inline(always)]
fn add<S: Simd, E: Element>(simd: S, weight: f32, value: &[E], padded: &mut [f32], total: &mut [f32]) {
    let weight = simd.splat_f32s(weight);
    for (to, &v) in registers_mut::<S>(total).iter_mut().zip(laid::<S, E>(value, padded)) {
        *to = simd.mul_add_e_f32s(weight, v, *to);
    }
}

/// Replaces scores by their exponentials below `top` and gives the sum.
#[inline(always)]
fn powers<S: Simd>(simd: S, scores: &mut Vec<f32>, top: f32) -> f32 {
    let n = scores.len();
    scores.resize(n.next_multiple_of(S::F32_LANES), f32::NEG_INFINITY);
    let mut sum = simd.splat_f32s(0.0);
    for x in registers_mut::<S>(scores) {
        *x = exp(simd, simd.sub_f32s(*x, simd.splat_f32s(top)));
        sum = simd.add_f32s(sum, *x);
    }
    scores.truncate(n);
    simd.reduce_sum_f32s(sum)
}
