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
