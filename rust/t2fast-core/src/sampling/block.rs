//! What a decoder block computes between its products: norms, rotary embedding, the gate of its feed-forward part.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::vector::{exp, registers, registers_mut};
use crate::error::{Error, Result};

/// Rows that a thread takes at a time.
const ROWS: usize = 16;
/// The widest head that can be normed.
const WIDEST: usize = 512;

fn wrong() -> Error {
    Error::Array("a decoder block's arrays do not have the lengths that their rows say".into())
}

// -------------------------------------------------------------------------------------------------- root mean square

/// Divides each row by the root of its mean square (plus `eps`) and multiplies by `weight`, whose length is a row's:
/// `out = weight x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich 2019). `residual` is first added to `x`, in place.
///
/// # Errors
/// [`Error::Array`] when lengths disagree.
pub fn normalise(
    x: &mut [f32],
    residual: Option<&[f32]>,
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
    parallel: bool,
) -> Result<()> {
    let width = weight.len();
    if width == 0
        || !x.len().is_multiple_of(width)
        || out.len() != x.len()
        || residual.is_some_and(|residual| residual.len() != x.len())
    {
        return Err(wrong());
    }
    let arch = Arch::new();
    let size = ROWS * width;
    let one = |part: usize, x: &mut [f32], out: &mut [f32]| {
        let residual = residual.map(|residual| &residual[part * size..part * size + x.len()]);
        arch.dispatch(Norm { x, residual, weight, eps, out });
    };
    if parallel {
        x.par_chunks_mut(size).zip(out.par_chunks_mut(size)).enumerate().for_each(|(i, (x, out))| one(i, x, out));
    } else {
        x.chunks_mut(size).zip(out.chunks_mut(size)).enumerate().for_each(|(i, (x, out))| one(i, x, out));
    }
    Ok(())
}

struct Norm<'a> {
    x: &'a mut [f32],
    residual: Option<&'a [f32]>,
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl WithSimd for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, residual, weight, eps, out } = self;
        if let Some(residual) = residual {
            for (x, &more) in x.iter_mut().zip(residual) {
                *x += more;
            }
        }
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let scale = inverse_root(simd, x, eps);
            for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
                *out = w * (x * scale);
            }
        }
    }
}

/// One over the root of the mean square of some numbers plus `eps`.
#[inline(always)]
#[allow(clippy::cast_precision_loss)]
fn inverse_root<S: Simd>(simd: S, x: &[f32], eps: f32) -> f32 {
    let (body, tail) = S::as_simd_f32s(x);
    let (fours, rest) = body.as_chunks::<4>();
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for (sum, &x) in sums.iter_mut().zip(four) {
            *sum = simd.mul_add_e_f32s(x, x, *sum);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum = simd.mul_add_e_f32s(x, x, *sum);
    }
    let [a, b, c, d] = sums;
    let sum = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
    let sum = sum + tail.iter().map(|x| x * x).sum::<f32>();
    1.0 / (sum / x.len() as f32 + eps).sqrt()
}

// -------------------------------------------------------------------------------------------------- the gate

/// `out = silu(gate) up`, where a row of `both` holds the gate's numbers and then as many of `up`, and silu(x) is
/// `x / (1 + e^-x)`.
///
/// # Errors
/// [`Error::Array`] when lengths disagree.
pub fn gate(both: &[f32], width: usize, out: &mut [f32], parallel: bool) -> Result<()> {
    if width == 0 || both.len() != 2 * out.len() || !out.len().is_multiple_of(width) {
        return Err(wrong());
    }
    let arch = Arch::new();
    let size = ROWS * width;
    if parallel {
        let parts = both.par_chunks(2 * size).zip(out.par_chunks_mut(size));
        parts.for_each(|(both, out)| arch.dispatch(Gate { both, width, out }));
    } else {
        let parts = both.chunks(2 * size).zip(out.chunks_mut(size));
        parts.for_each(|(both, out)| arch.dispatch(Gate { both, width, out }));
    }
    Ok(())
}

struct Gate<'a> {
    both: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { both, width, out } = self;
        for (both, out) in both.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gates, ups) = both.split_at(width);
            let whole = width / S::F32_LANES * S::F32_LANES;
            let (gates, last_gates) = gates.split_at(whole);
            let (ups, last_ups) = ups.split_at(whole);
            let (out, last) = out.split_at_mut(whole);
            let parts = registers::<S>(gates).iter().zip(registers::<S>(ups));
            for (out, (&gate, &up)) in registers_mut::<S>(out).iter_mut().zip(parts) {
                *out = simd.mul_f32s(silu(simd, gate), up);
            }
            if !last.is_empty() {
                let mut padded = [0.0; 64];
                padded[..last.len()].copy_from_slice(last_gates);
                let lanes = registers_mut::<S>(&mut padded);
                lanes[0] = silu(simd, lanes[0]);
                for ((out, &gate), &up) in last.iter_mut().zip(&padded).zip(last_ups) {
                    *out = gate * up;
                }
            }
        }
    }
}

#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    // The exponential of what is not positive, so that nothing overflows: 1 / (1 + e^-|x|) of x or, where it is
    // negative, of -x, which is one minus that of x.
    let small = exp(simd, simd.neg_f32s(simd.abs_f32s(x)));
    let share = simd.div_f32s(one, simd.add_f32s(one, small));
    let positive = simd.less_than_or_equal_f32s(simd.splat_f32s(0.0), x);
    let share = simd.select_f32s(positive, share, simd.mul_f32s(small, share));
    // What is no number stays none: exp takes it for very small.
    simd.mul_f32s(x, share)
}

// -------------------------------------------------------------------------------------------------- heads

/// How rows of a product become heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// Heads of queries, and of keys and values.
    pub query_heads: usize,
    /// The same, of keys and values.
    pub kv_heads: usize,
    /// Of a head.
    pub head_dim: usize,
    /// `[rows, head_dim]`: by how much a row is turned. Dimension i turns with i + head_dim / 2 (Su et al. 2021).
    pub cos: &'a [f32],
    /// Like `cos`.
    pub sin: &'a [f32],
    /// Weights of the norms of queries' and of keys' heads, and what is added to their mean squares.
    pub norms: Option<(&'a [f32], &'a [f32], f32)>,
}

/// Splits rows of queries, keys and values, side by side, into three arrays; norms and turns queries and keys.
///
/// # Errors
/// [`Error::Array`] when lengths disagree.
pub fn split(
    heads: &Heads<'_>,
    joined: &[f32],
    queries: &mut [f32],
    keys: &mut [f32],
    values: &mut [f32],
) -> Result<()> {
    let &Heads { query_heads, kv_heads, head_dim: dim, cos, sin, norms } = heads;
    let row = (query_heads + 2 * kv_heads) * dim;
    if kv_heads == 0 || query_heads == 0 || dim == 0 || !dim.is_multiple_of(2) || !joined.len().is_multiple_of(row) {
        return Err(wrong());
    }
    let n = joined.len() / row;
    let fits = queries.len() == n * query_heads * dim
        && keys.len() == n * kv_heads * dim
        && values.len() == n * kv_heads * dim
        && cos.len() == n * dim
        && sin.len() == n * dim
        && norms.is_none_or(|(q, k, _)| q.len() == dim && k.len() == dim && dim <= WIDEST);
    if !fits {
        return Err(wrong());
    }
    Arch::new().dispatch(Split { heads, joined, queries, keys, values });
    Ok(())
}

struct Split<'a, 'b> {
    heads: &'a Heads<'b>,
    joined: &'a [f32],
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl WithSimd for Split<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { heads, joined, queries, keys, values } = self;
        let &Heads { query_heads, kv_heads, head_dim: dim, cos, sin, norms } = heads;
        let (to_queries, to_keys) = (query_heads * dim, kv_heads * dim);
        let rows = joined.chunks_exact(to_queries + 2 * to_keys);
        let out = queries
            .chunks_exact_mut(to_queries)
            .zip(keys.chunks_exact_mut(to_keys))
            .zip(values.chunks_exact_mut(to_keys));
        for (((row, ((q, k), v)), cos), sin) in rows.zip(out).zip(cos.chunks_exact(dim)).zip(sin.chunks_exact(dim)) {
            v.copy_from_slice(&row[to_queries + to_keys..]);
            let weights = [norms.map(|(weight, _, eps)| (weight, eps)), norms.map(|(_, weight, eps)| (weight, eps))];
            let (from_queries, from_keys) = row.split_at(to_queries);
            for ((from, to), norm) in [(from_queries, q), (&from_keys[..to_keys], k)].into_iter().zip(weights) {
                for (x, y) in from.chunks_exact(dim).zip(to.chunks_exact_mut(dim)) {
                    if let Some((weight, eps)) = norm {
                        let scale = inverse_root(simd, x, eps);
                        let mut normed = [0.0; WIDEST];
                        for ((to, &x), &w) in normed.iter_mut().zip(x).zip(weight) {
                            *to = w * (x * scale);
                        }
                        turn(&normed[..dim], cos, sin, y);
                    } else {
                        turn(x, cos, sin, y);
                    }
                }
            }
        }
    }
}

/// Turns a head.
#[inline(always)]
fn turn(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let half = x.len() / 2;
    let ((a, b), (cos_a, cos_b), (sin_a, sin_b)) = (x.split_at(half), cos.split_at(half), sin.split_at(half));
    let (out_a, out_b) = out.split_at_mut(half);
    for ((((out, &x), &y), &c), &s) in out_a.iter_mut().zip(a).zip(b).zip(cos_a).zip(sin_a) {
        *out = x * c - y * s;
    }
    for ((((out, &x), &y), &c), &s) in out_b.iter_mut().zip(b).zip(a).zip(cos_b).zip(sin_b) {
        *out = x * c + y * s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without order, from -3 to 3.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        #[allow(clippy::cast_precision_loss)]
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 6007) as f32 / 1001.0 - 3.0).collect()
    }

    fn close(found: &[f32], exact: impl IntoIterator<Item = f64>) {
        for (&found, exact) in found.iter().zip(exact) {
            assert!((f64::from(found) - exact).abs() <= 1e-6 * exact.abs().max(1.0), "{found} {exact}");
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn norms_are_their_definition() {
        for width in [1, 3, 16, 40, 67, 512] {
            for rows in [1, 5, 33] {
                let (start, more, weight) = (numbers(rows * width, 1), numbers(rows * width, 2), numbers(width, 3));
                for residual in [None, Some(&more[..])] {
                    let mut found = Vec::new();
                    for parallel in [false, true] {
                        let (mut x, mut out) = (start.clone(), vec![0.0; rows * width]);
                        normalise(&mut x, residual, &weight, 1e-5, &mut out, parallel).unwrap();
                        for (i, row) in x.chunks(width).enumerate() {
                            let mean = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / width as f64;
                            let exact = row
                                .iter()
                                .zip(&weight)
                                .map(|(&x, &w)| f64::from(w) * f64::from(x) / (mean + 1e-5).sqrt());
                            close(&out[i * width..(i + 1) * width], exact);
                        }
                        let sums = start.iter().enumerate().map(|(i, &x)| x + residual.map_or(0.0, |more| more[i]));
                        assert!(x.iter().copied().eq(sums));
                        found.push(out);
                    }
                    assert_eq!(found[0], found[1]);
                }
            }
        }
        assert!(normalise(&mut [0.0; 7], None, &[1.0; 2], 0.0, &mut [0.0; 7], false).is_err());
        assert!(normalise(&mut [0.0; 4], Some(&[0.0; 3]), &[1.0; 2], 0.0, &mut [0.0; 4], false).is_err());
    }

    #[test]
    fn gates_are_their_definition() {
        for width in [1, 15, 16, 100] {
            let mut both = numbers(2 * 37 * width, 4);
            for (i, x) in both.iter_mut().enumerate() {
                *x *= [1.0, 20.0, 60.0][i % 3];
            }
            let mut found = vec![vec![0.0; 37 * width]; 2];
            for (out, parallel) in found.iter_mut().zip([false, true]) {
                gate(&both, width, out, parallel).unwrap();
                for (row, out) in both.chunks(2 * width).zip(out.chunks(width)) {
                    let exact = row[..width]
                        .iter()
                        .zip(&row[width..])
                        .map(|(&x, &up)| f64::from(x) / (1.0 + (-f64::from(x)).exp()) * f64::from(up));
                    close(out, exact);
                }
            }
            assert_eq!(found[0], found[1]);
        }
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let mut out = [0.0; 3];
        gate(&[nan, inf, -1e30, 1.0, 1.0, 1.0], 3, &mut out, false).unwrap();
        assert!(out[0].is_nan() && out[1] == inf && out[2] == 0.0);
        assert!(gate(&[0.0; 5], 1, &mut [0.0; 2], false).is_err());
    }

    #[test]
    fn heads_are_split_normed_and_turned() {
        let (rows, query_heads, kv_heads, dim) = (3, 4, 2, 10);
        let joined = numbers(rows * 8 * dim, 5);
        let (cos, sin) = (numbers(rows * dim, 6), numbers(rows * dim, 7));
        let (of_q, of_k) = (numbers(dim, 8), numbers(dim, 9));
        for norms in [None, Some((&of_q[..], &of_k[..], 1e-6))] {
            let (mut q, mut k, mut v) = (vec![0.0; rows * 40], vec![0.0; rows * 20], vec![0.0; rows * 20]);
            let heads = Heads { query_heads, kv_heads, head_dim: dim, cos: &cos, sin: &sin, norms };
            split(&heads, &joined, &mut q, &mut k, &mut v).unwrap();
            for row in 0..rows {
                assert_eq!(v[row * 20..(row + 1) * 20], joined[row * 80 + 60..row * 80 + 80]);
                for head in 0..6 {
                    let (to, weight) = if head < 4 {
                        (&q[row * 40 + head * 10..], &of_q)
                    } else {
                        (&k[row * 20 + (head - 4) * 10..], &of_k)
                    };
                    let mut x: Vec<f64> = joined[row * 80 + head * 10..][..10].iter().map(|&x| f64::from(x)).collect();
                    if norms.is_some() {
                        let mean = x.iter().map(|x| x * x).sum::<f64>() / 10.0;
                        for (x, &w) in x.iter_mut().zip(weight) {
                            *x *= f64::from(w) / (mean + 1e-6).sqrt();
                        }
                    }
                    let turned = (0..10).map(|i| {
                        let other = if i < 5 { -x[i + 5] } else { x[i - 5] };
                        x[i] * f64::from(cos[row * 10 + i]) + other * f64::from(sin[row * 10 + i])
                    });
                    close(&to[..10], turned);
                }
            }
        }
        let heads = Heads { query_heads: 1, kv_heads: 1, head_dim: 4, cos: &cos, sin: &sin, norms: None };
        assert!(split(&heads, &joined[..12], &mut [0.0; 4], &mut [0.0; 4], &mut [0.0; 4]).is_err());
    }
}
