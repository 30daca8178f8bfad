//! Many queries over one run of keys and values: queries lie side by side in the lanes of registers.

use pulp::Simd;

use super::super::vector::{Element, exp, registers, registers_mut};

/// Tokens worked on at a time: their scores stay in the innermost cache.
const BLOCK: usize = 64;
/// Most tokens or dimensions whose products are accumulated together: a multiple of this is padded to.
const DEEPEST: usize = 8;
/// The score of what has seen nothing: finite, so that no difference of two infinities turns into NaN.
pub(super) const LOWEST: f32 = f32::MIN;

/// Keys and values of a run of tokens for one head, side by side for all tiles that read them.
#[derive(Default)]
pub(super) struct Run {
    tokens: usize,
    dim: usize,
    /// Numbers from one token to the next: `dim`, padded.
    stride: usize,
    /// `[tokens, padded][stride]`.
    keys: Vec<f32>,
    /// Like the keys.
    values: Vec<f32>,
}

impl Run {
    /// Lays out tokens of a cache: `places` says where they are, `head` and `kv_heads` where in a token.
    #[inline(always)]
    pub(super) fn lay<E: Element>(
        &mut self,
        places: &[usize],
        keys: &[E],
        values: &[E],
        (head, kv_heads, dim): (usize, usize, usize),
    ) {
        let stride = dim.next_multiple_of(DEEPEST);
        (self.tokens, self.dim, self.stride) = (places.len(), dim, stride);
        for (to, cache) in [(&mut self.keys, keys), (&mut self.values, values)] {
            to.resize(places.len().next_multiple_of(DEEPEST) * stride, 0.0);
            let (tokens, padding) = to.split_at_mut(places.len() * stride);
            padding.fill(0.0);
            for (to, &place) in tokens.chunks_exact_mut(stride).zip(places) {
                let from = &cache[(place * kv_heads + head) * dim..][..dim];
                let (to, padding) = to.split_at_mut(dim);
                E::widen(from, to);
                padding.fill(0.0);
            }
        }
    }
}

/// What of a run the queries see.
pub(super) struct Sight<'a> {
    /// Scores become `cap tanh(score / cap)`; 0: they stay.
    pub(super) cap: f32,
    /// Visible positions; 0: all.
    pub(super) window: usize,
    /// Position of the run's first token.
    pub(super) first: i64,
    /// By lane, where its query stands; nothing: all see everything.
    pub(super) stands: &'a [i64],
}

impl Sight<'_> {
    /// A score after cap, causality and window.
    #[inline(always)]
    fn shown(&self, score: f32, lane: usize, position: i64) -> f32 {
        let score = if self.cap > 0.0 { self.cap * (score / self.cap).tanh() } else { score };
        let Some(&at) = self.stands.get(lane) else { return score };
        let behind = self.window > 0 && at - position >= i64::try_from(self.window).unwrap_or(i64::MAX);
        if behind || position > at { f32::NEG_INFINITY } else { score }
    }

    /// The tokens that any query sees, of a run of so many; and the positions that all see, first and last.
    fn range(&self, tokens: usize) -> (std::ops::Range<usize>, i64, i64) {
        let (Some(&least), Some(&most)) = (self.stands.iter().min(), self.stands.iter().max()) else {
            return (0..tokens, i64::MIN, i64::MAX);
        };
        let window = i64::try_from(self.window).unwrap_or(i64::MAX);
        let number = |position: i64| usize::try_from(position - self.first).unwrap_or(0).min(tokens);
        let (begin, all) = if window > 0 { (number(least - window + 1), most - window + 1) } else { (0, i64::MIN) };
        (begin..number(most + 1), all, least)
    }
}

/// Queries of a tile, their results, and memory for its work, which tiles use one after the other.
#[derive(Default)]
pub(super) struct Tile {
    /// `[head_dim][lanes]`.
    queries: Vec<f32>,
    /// `[tokens][lanes]`: scores, then weights.
    scores: Vec<f32>,
    /// `[head_dim][lanes]`.
    out: Vec<f32>,
    /// `[lanes]` each: the largest score, and the sum of the exponentials below it.
    pub(super) most: Vec<f32>,
    pub(super) sum: Vec<f32>,
    width: usize,
}

/// Lanes that a tile of `left` queries takes: as wide as registers allow, narrower where few are left.
#[inline(always)]
pub(super) fn lanes_for<S: Simd>(left: usize) -> usize {
    let registers = left.div_ceil(S::F32_LANES);
    let taken = if registers > 2 && S::REGISTER_COUNT >= 32 { 4 } else { registers.min(2) };
    taken * S::F32_LANES
}

impl Tile {
    /// Takes queries in, times `scale`: lane `i` has `queries(i)`; the other lanes of `width` have zeros.
    #[inline(always)]
    pub(super) fn take<'q, E: Element + 'q>(
        &mut self,
        (n, width, dim): (usize, usize, usize),
        scale: f32,
        queries: impl Fn(usize) -> &'q [E],
    ) {
        self.width = width;
        self.queries.clear();
        self.queries.resize(dim * width, 0.0);
        for i in 0..n.min(width) {
            for (d, x) in queries(i).iter().enumerate() {
                self.queries[d * width + i] = x.wide() * scale;
            }
        }
        for (lanes, value) in [(&mut self.most, LOWEST), (&mut self.sum, 0.0)] {
            lanes.clear();
            lanes.resize(width, value);
        }
        self.out.clear();
        self.out.resize(dim.next_multiple_of(DEEPEST) * width, 0.0);
        self.scores.resize(BLOCK * width, 0.0);
    }

    /// A lane's results, one per dimension, without the division by the sum.
    #[inline(always)]
    pub(super) fn lane(&self, i: usize) -> impl Iterator<Item = f32> {
        self.out.iter().skip(i).step_by(self.width).copied()
    }

    /// Reads a run.
    #[inline(always)]
    pub(super) fn read<S: Simd>(&mut self, simd: S, run: &Run, sight: &Sight<'_>) {
        // As many products at once as registers hold, with the queries or weights that they are made of.
        match (self.width / S::F32_LANES, S::REGISTER_COUNT >= 32) {
            (1, _) => read::<S, 1, 8>(simd, self, run, sight),
            (2, false) => read::<S, 2, 4>(simd, self, run, sight),
            (2, true) => read::<S, 2, 8>(simd, self, run, sight),
            _ => read::<S, 4, 4>(simd, self, run, sight),
        }
    }
}

#[inline(always)]
fn read<S: Simd, const N: usize, const DEEP: usize>(simd: S, tile: &mut Tile, run: &Run, sight: &Sight<'_>) {
    let (dim, stride, width) = (run.dim, run.stride, N * S::F32_LANES);
    let (range, all_from, all_to) = sight.range(run.tokens);
    for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
        let begin = block * BLOCK;
        let tokens = (run.tokens.min(range.end) - begin).min(BLOCK);
        let keys = &run.keys[begin * stride..(begin + tokens.next_multiple_of(DEEP)) * stride];
        let values = &run.values[begin * stride..(begin + tokens) * stride];
        let scores = registers_mut::<S>(&mut tile.scores).as_chunks_mut::<N>().0;
        let lanes = registers::<S>(&tile.queries).as_chunks::<N>().0;
        let parts = scores.as_chunks_mut::<DEEP>().0.iter_mut();
        for (scores, keys) in parts.zip(keys.chunks_exact(DEEP * stride)) {
            score(simd, &lanes[..dim], keys, stride, scores);
        }
        let (from, to) = (sight.first.saturating_add_unsigned(begin as u64), begin + tokens);
        let to = sight.first.saturating_add_unsigned(to as u64);
        if sight.cap > 0.0 || from < all_from || to - 1 > all_to {
            for (t, row) in tile.scores[..tokens * width].chunks_exact_mut(width).enumerate() {
                let position = from.saturating_add_unsigned(t as u64);
                for (i, x) in row.iter_mut().enumerate() {
                    *x = sight.shown(*x, i, position);
                }
            }
        }
        let scores = &mut registers_mut::<S>(&mut tile.scores).as_chunks_mut::<N>().0[..tokens];
        let most = &mut registers_mut::<S>(&mut tile.most).as_chunks_mut::<N>().0[0];
        let sum = &mut registers_mut::<S>(&mut tile.sum).as_chunks_mut::<N>().0[0];
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
        let out = registers_mut::<S>(&mut tile.out).as_chunks_mut::<N>().0;
        for (d, out) in out.as_chunks_mut::<DEEP>().0.iter_mut().enumerate() {
            weigh(simd, scores, &values[d * DEEP..], stride, &fade, out);
        }
    }
}

/// Scores of `DEEP` tokens for `N` registers of queries.
#[inline(always)]
fn score<S: Simd, const N: usize, const DEEP: usize>(
    simd: S,
    queries: &[[S::f32s; N]],
    keys: &[f32],
    stride: usize,
    scores: &mut [[S::f32s; N]; DEEP],
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; DEEP];
    let keys: [&[f32]; DEEP] = std::array::from_fn(|i| &keys[i * stride..][..queries.len()]);
    for (d, q) in queries.iter().enumerate() {
        for (sums, keys) in sums.iter_mut().zip(keys) {
            let k = simd.splat_f32s(keys[d]);
            for (sum, &q) in sums.iter_mut().zip(q) {
                *sum = simd.mul_add_e_f32s(k, q, *sum);
            }
        }
    }
    *scores = sums;
}

/// `out = fade out + weights values` for `DEEP` dimensions.
#[inline(always)]
fn weigh<S: Simd, const N: usize, const DEEP: usize>(
    simd: S,
    weights: &[[S::f32s; N]],
    values: &[f32],
    stride: usize,
    fade: &[S::f32s; N],
    out: &mut [[S::f32s; N]; DEEP],
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; DEEP];
    for (sums, out) in sums.iter_mut().zip(out.iter()) {
        for ((sum, &out), &fade) in sums.iter_mut().zip(out).zip(fade) {
            *sum = simd.mul_f32s(out, fade);
        }
    }
    for (weights, values) in weights.iter().zip(values.chunks(stride)) {
        let Some(values) = values.first_chunk::<DEEP>() else { break };
        for (sums, &v) in sums.iter_mut().zip(values) {
            let v = simd.splat_f32s(v);
            for (sum, &w) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(v, w, *sum);
            }
        }
    }
    *out = sums;
}
