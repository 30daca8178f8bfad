//! A decoder block of the Llama kind, but for what its attention reads: four products, norms, rotary embedding, the gate.

use pulp::{Arch, Simd, WithSimd};

use super::gate::gate;
use super::norm::{Norm, inverse_root, normalise};
use super::product::{Lanes, Packed, each, multiply};
use crate::error::{Error, Result};

/// The widest head that can be normed.
const WIDEST: usize = 512;

fn wrong() -> Error {
    Error::Array("a decoder block's arrays do not have the lengths that its weights say".into())
}

/// A block's weights.
#[derive(Debug)]
pub struct Block {
    /// Of a head.
    pub head_dim: usize,
    /// Heads of keys, and as many of values.
    pub kv_heads: usize,
    /// To heads of queries, of keys and of values, one after the other.
    pub heads: Packed,
    /// From heads of queries.
    pub output: Packed,
    /// To the gate's numbers and what they are multiplied by, in turn.
    pub gate: Packed,
    /// From the gate.
    pub down: Packed,
    /// Before attention and before the gate.
    pub norms: [Norm; 2],
    /// Of queries' and of keys' heads.
    pub head_norms: Option<[Norm; 2]>,
}

/// Memory for the work of blocks, which use it one after the other.
#[derive(Debug, Default)]
pub struct Work {
    x: Lanes,
    normed: Lanes,
    wide: Lanes,
    y: Lanes,
    joined: Vec<f32>,
}

impl Block {
    /// Whether the parts fit together.
    ///
    /// # Errors
    /// [`Error::Array`] when they do not.
    pub fn check(&self) -> Result<()> {
        let ((width, joined), (read, out)) = (self.heads.shape(), self.output.shape());
        let ((gate_in, both), (gated, down)) = (self.gate.shape(), self.down.shape());
        let dim = self.head_dim;
        let fits = dim > 0
            && dim.is_multiple_of(2)
            && self.kv_heads > 0
            && read > 0
            && read.is_multiple_of(dim)
            && joined == read + 2 * self.kv_heads * dim
            && [out, gate_in, down] == [width; 3]
            && both == 2 * gated
            && self.norms.iter().all(|norm| norm.0.len() == width)
            && self.head_norms.iter().flatten().all(|norm| norm.0.len() == dim && dim <= WIDEST);
        if fits { Ok(()) } else { Err(wrong()) }
    }

    /// Queries, keys and values, `[rows, heads, head_dim]`, of rows `x`. `cos` and `sin`, `[rows, head_dim]`, say by how
    /// much a row is turned; dimension i turns with i + `head_dim` / 2 (Su et al. 2021).
    ///
    /// # Errors
    /// [`Error::Array`] when lengths disagree.
    pub fn heads(
        &self,
        x: &[f32],
        [cos, sin]: [&[f32]; 2],
        [queries, keys, values]: [&mut [f32]; 3],
        work: &mut Work,
        parallel: bool,
    ) -> Result<()> {
        let (width, joined) = self.heads.shape();
        let (n, of_keys) = (x.len() / width, self.kv_heads * self.head_dim);
        let fits = x.len() == n * width
            && cos.len() == n * self.head_dim
            && sin.len() == cos.len()
            && queries.len() == n * (joined - 2 * of_keys)
            && keys.len() == n * of_keys
            && values.len() == keys.len();
        if !fits {
            return Err(wrong());
        }
        Arch::new().dispatch(Before { block: self, x, cos, sin, queries, keys, values, work, parallel });
        Ok(())
    }

    /// The block's output, in place of its input, after its attention's `[rows, query heads, head_dim]`.
    ///
    /// # Errors
    /// [`Error::Array`] when lengths disagree.
    pub fn rest(&self, x: &mut [f32], read: &[f32], work: &mut Work, parallel: bool) -> Result<()> {
        let (inputs, width) = self.output.shape();
        let n = x.len() / width;
        if x.len() != n * width || read.len() != n * inputs {
            return Err(wrong());
        }
        Arch::new().dispatch(After { block: self, x, read, work, parallel });
        Ok(())
    }
}

struct Before<'a> {
    block: &'a Block,
    x: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    work: &'a mut Work,
    parallel: bool,
}

impl WithSimd for Before<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, x, cos, sin, queries, keys, values, work, parallel } = self;
        let (width, joined) = block.heads.shape();
        work.x.lay::<S>(x, width, parallel);
        normalise(simd, &block.norms[0], &work.x, &mut work.normed, parallel);
        multiply(simd, &block.heads, &work.normed, &mut work.wide, parallel);
        work.joined.resize(x.len() / width * joined, 0.0);
        Lanes::rows([&work.wide], joined, &mut work.joined, parallel);
        simd.vectorize(Split { block, joined: &work.joined, cos, sin, queries, keys, values });
    }
}

struct After<'a> {
    block: &'a Block,
    x: &'a mut [f32],
    read: &'a [f32],
    work: &'a mut Work,
    parallel: bool,
}

impl WithSimd for After<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, x, read, work, parallel } = self;
        let (inputs, width) = block.output.shape();
        work.wide.lay::<S>(read, inputs, parallel);
        multiply(simd, &block.output, &work.wide, &mut work.y, parallel);
        work.x.lay::<S>(x, width, parallel);
        let (part, of_y, y) = (work.x.part(), work.y.part(), work.y.all());
        each(parallel, work.x.all_mut(), part, |i, x| {
            for (x, &more) in x.iter_mut().zip(&y[i * of_y..]) {
                *x += more;
            }
        });
        normalise(simd, &block.norms[1], &work.x, &mut work.normed, parallel);
        multiply(simd, &block.gate, &work.normed, &mut work.wide, parallel);
        gate(simd, &work.wide, block.down.shape().0, &mut work.normed, parallel);
        multiply(simd, &block.down, &work.normed, &mut work.y, parallel);
        Lanes::rows([&work.x, &work.y], width, x, parallel);
    }
}

/// Rows of queries, keys and values side by side become three arrays; queries and keys are normed and turned.
struct Split<'a> {
    block: &'a Block,
    joined: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl WithSimd for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, joined, cos, sin, queries, keys, values } = self;
        let dim = block.head_dim;
        let (to_queries, to_keys) = (block.output.shape().0, block.kv_heads * dim);
        let rows = joined.chunks_exact(to_queries + 2 * to_keys);
        let out = queries
            .chunks_exact_mut(to_queries)
            .zip(keys.chunks_exact_mut(to_keys))
            .zip(values.chunks_exact_mut(to_keys));
        for (((row, ((q, k), v)), cos), sin) in rows.zip(out).zip(cos.chunks_exact(dim)).zip(sin.chunks_exact(dim)) {
            v.copy_from_slice(&row[to_queries + to_keys..]);
            let norms = block.head_norms.as_ref();
            let norms = [norms.map(|[queries, _]| queries), norms.map(|[_, keys]| keys)];
            let (from_queries, from_keys) = row.split_at(to_queries);
            for ((from, to), norm) in [(from_queries, q), (&from_keys[..to_keys], k)].into_iter().zip(norms) {
                for (x, y) in from.chunks_exact(dim).zip(to.chunks_exact_mut(dim)) {
                    if let Some((weight, eps)) = norm {
                        let scale = inverse_root(simd, x, *eps);
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
pub(super) mod tests {
    use super::*;

    /// Numbers without order, from -1 to 1.
    pub(in super::super) fn numbers(n: usize, seed: usize) -> Vec<f32> {
        #[allow(clippy::cast_precision_loss)]
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 6007) as f32 / 3003.0 - 1.0).collect()
    }

    pub(in super::super) fn close(found: &[f32], exact: &[f64], at_most: f64) {
        assert_eq!(found.len(), exact.len());
        for (&found, exact) in found.iter().zip(exact) {
            assert!((f64::from(found) - exact).abs() <= at_most * exact.abs().max(1.0), "{found} {exact}");
        }
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| f64::from(x)).collect()
    }

    /// Weights by output, of a block of 3 query heads, 1 of keys, of 10 numbers each, and the block itself.
    struct Parts {
        heads: Vec<f32>,
        output: Vec<f32>,
        gate: Vec<f32>,
        up: Vec<f32>,
        down: Vec<f32>,
        bias: Vec<f32>,
        block: Block,
    }

    const WIDTH: usize = 22;
    const GATED: usize = 37;

    fn parts(normed: bool) -> Parts {
        let [heads, output] = [numbers(50 * WIDTH, 1), numbers(WIDTH * 30, 2)];
        let [gate, up, down] = [numbers(GATED * WIDTH, 3), numbers(GATED * WIDTH, 4), numbers(WIDTH * GATED, 5)];
        let bias = numbers(50, 6);
        let pack = |x: &[f32], inputs: usize, bias: Option<&[f32]>| {
            Packed::new(&x.chunks(inputs).collect::<Vec<_>>(), bias).unwrap()
        };
        let both: Vec<_> = gate.chunks(WIDTH).zip(up.chunks(WIDTH)).flat_map(|(gate, up)| [gate, up]).collect();
        let block = Block {
            head_dim: 10,
            kv_heads: 1,
            heads: pack(&heads, WIDTH, Some(&bias)),
            output: pack(&output, 30, None),
            gate: Packed::new(&both, None).unwrap(),
            down: pack(&down, GATED, None),
            norms: [(numbers(WIDTH, 7), 1e-5), (numbers(WIDTH, 8), 1e-3)],
            head_norms: normed.then(|| [(numbers(10, 9), 1e-6), (numbers(10, 10), 1e-2)]),
        };
        Parts { heads, output, gate, up, down, bias, block }
    }

    fn product(weights: &[f32], x: &[f64]) -> Vec<f64> {
        weights.chunks(x.len()).map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()).collect()
    }

    #[allow(clippy::cast_precision_loss)]
    fn normed(x: &[f64], (weight, eps): &Norm) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        x.iter().zip(weight).map(|(x, &w)| f64::from(w) * x / (mean + f64::from(*eps)).sqrt()).collect()
    }

    #[test]
    fn heads_are_their_definition() {
        for (n, with_norms) in [(1, true), (3, false), (17, true), (70, true), (150, false)] {
            let Parts { heads, bias, block, .. } = parts(with_norms);
            block.check().unwrap();
            let (x, cos, sin) = (numbers(n * WIDTH, 11), numbers(n * 10, 12), numbers(n * 10, 13));
            let mut found = Vec::new();
            let mut work = Work::default();
            for parallel in [false, true] {
                let (mut q, mut k, mut v) = (vec![0.0; n * 30], vec![0.0; n * 10], vec![0.0; n * 10]);
                block.heads(&x, [&cos, &sin], [&mut q, &mut k, &mut v], &mut work, parallel).unwrap();
                found.push((q, k, v));
            }
            assert_eq!(found[0], found[1]);
            let (q, k, v) = &found[0];
            for row in 0..n {
                let joined = product(&heads, &normed(&wide(&x[row * WIDTH..(row + 1) * WIDTH]), &block.norms[0]));
                let joined: Vec<_> = joined.iter().zip(&bias).map(|(x, &bias)| x + f64::from(bias)).collect();
                close(&v[row * 10..(row + 1) * 10], &joined[40..], 1e-5);
                for head in 0..4 {
                    let mut x = joined[head * 10..(head + 1) * 10].to_vec();
                    if let Some(norms) = &block.head_norms {
                        x = normed(&x, &norms[usize::from(head == 3)]);
                    }
                    let turned: Vec<_> = (0..10)
                        .map(|i| {
                            let other = if i < 5 { -x[i + 5] } else { x[i - 5] };
                            x[i] * f64::from(cos[row * 10 + i]) + other * f64::from(sin[row * 10 + i])
                        })
                        .collect();
                    let found = if head < 3 { &q[row * 30 + head * 10..] } else { &k[row * 10..] };
                    close(&found[..10], &turned, 1e-5);
                }
            }
        }
    }

    #[test]
    fn the_rest_is_its_definition() {
        for n in [1, 5, 33, 64, 130] {
            let Parts { output, gate, up, down, block, .. } = parts(false);
            let (x, read) = (numbers(n * WIDTH, 14), numbers(n * 30, 15));
            let mut work = Work::default();
            let found = [false, true].map(|parallel| {
                let mut x = x.clone();
                block.rest(&mut x, &read, &mut work, parallel).unwrap();
                x
            });
            assert_eq!(found[0], found[1]);
            for (row, found) in found[0].chunks(WIDTH).enumerate() {
                let y = product(&output, &wide(&read[row * 30..(row + 1) * 30]));
                let y: Vec<_> = y.iter().zip(&x[row * WIDTH..]).map(|(y, &x)| y + f64::from(x)).collect();
                let z = normed(&y, &block.norms[1]);
                let gated = product(&gate, &z).into_iter().zip(product(&up, &z));
                let gated: Vec<_> = gated.map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
                let exact: Vec<_> = product(&down, &gated).iter().zip(&y).map(|(z, y)| z + y).collect();
                close(found, &exact, 1e-4);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let Parts { mut block, .. } = parts(true);
        let mut work = Work::default();
        assert!(block.rest(&mut [0.0; WIDTH], &[0.0; 29], &mut work, false).is_err());
        let (mut q, mut k, mut v) = ([0.0; 30], [0.0; 10], [0.0; 9]);
        let given = [&mut q[..], &mut k[..], &mut v[..]];
        assert!(block.heads(&[0.0; WIDTH], [&[0.0; 10]; 2], given, &mut work, false).is_err());
        block.kv_heads = 2;
        assert!(block.check().is_err());
    }
}
