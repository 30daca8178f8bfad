//! Products of weights with rows that lie side by side in the lanes of registers.
//!
//! A step of few rows reads every weight of a model once: here they come as one stream, evenly spread over the
//! multiplications, and are asked for a page ahead, which hides the memory. Whatever the number of rows and threads, a
//! row's sums are added up in the same order.

use prefetch_index::prefetch_index;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::vector::{registers, registers_mut};
use crate::error::{Error, Result};

/// Outputs whose sums are held in registers together.
const PANEL: usize = 6;
/// Numbers of weights that stay near while all rows are multiplied by them.
const NEAR: usize = 1 << 16;
/// How far ahead weights are asked for: a page, since the processor reads ahead by itself within pages only.
const AHEAD: usize = 4096 / size_of::<f32>();
/// Features that are transposed together: a cache line of a row.
const LINE: usize = 16;

/// A matrix of weights, laid out for products.
#[derive(Debug)]
pub struct Packed {
    inputs: usize,
    outputs: usize,
    /// `[outputs / PANEL][inputs][PANEL]`, padded by zeros.
    panels: Vec<f32>,
    /// By output, padded.
    bias: Vec<f32>,
}

impl Packed {
    /// Packs rows of weights, one per output, and what is added to each output.
    ///
    /// # Errors
    /// [`Error::Array`] when lengths disagree.
    pub fn new(rows: &[&[f32]], bias: Option<&[f32]>) -> Result<Self> {
        let (outputs, inputs) = (rows.len(), rows.first().map_or(0, |row| row.len()));
        if inputs == 0 || rows.iter().any(|row| row.len() != inputs) || bias.is_some_and(|bias| bias.len() != outputs) {
            return Err(Error::Array("the rows and the bias of a matrix of weights do not fit together".into()));
        }
        let mut panels = vec![0.0; outputs.next_multiple_of(PANEL) * inputs];
        for (panel, rows) in panels.chunks_exact_mut(PANEL * inputs).zip(rows.chunks(PANEL)) {
            for (i, row) in rows.iter().enumerate() {
                for (to, &x) in panel.iter_mut().skip(i).step_by(PANEL).zip(*row) {
                    *to = x;
                }
            }
        }
        let mut padded = vec![0.0; outputs.next_multiple_of(PANEL)];
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(bias);
        }
        Ok(Self { inputs, outputs, panels, bias: padded })
    }

    /// Numbers of a row that it multiplies, and of one that it gives.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.inputs, self.outputs)
    }
}

/// Rows side by side, in parts of `width` rows: `[parts][features][width]`. Lanes without a row hold no more than what
/// zeros become.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) width: usize,
    pub(super) features: usize,
    size: usize,
    numbers: Vec<f32>,
}

impl Lanes {
    fn shape(&mut self, parts: usize, features: usize, width: usize) {
        (self.width, self.features, self.size) = (width, features, parts * features * width);
        // Registers that begin on a cache line are loaded in one go: room to begin on one.
        self.numbers.resize(self.size + LINE, 0.0);
    }

    fn parts(&self) -> usize {
        self.size / self.part()
    }

    /// Numbers of a part.
    pub(super) fn part(&self) -> usize {
        self.features * self.width
    }

    pub(super) fn all(&self) -> &[f32] {
        let at = self.numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        &self.numbers[at..at + self.size]
    }

    pub(super) fn all_mut(&mut self) -> &mut [f32] {
        let at = self.numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        &mut self.numbers[at..at + self.size]
    }

    /// Room for features of the same rows as `other`'s.
    pub(super) fn like(&mut self, other: &Self, features: usize) {
        self.shape(other.parts(), features, other.width);
    }

    /// Takes in rows, one after the other.
    pub(super) fn lay<S: Simd>(&mut self, rows: &[f32], features: usize, parallel: bool) {
        let n = rows.len() / features;
        let width = width_for::<S>(n);
        self.shape(n.div_ceil(width), features, width);
        each(parallel, self.all_mut(), features * width, |i, to| {
            let rows = &rows[i * width * features..n.min((i + 1) * width) * features];
            for (to, at) in to.chunks_mut(LINE * width).zip((0..features).step_by(LINE)) {
                for (lane, row) in rows.chunks_exact(features).enumerate() {
                    for (to, &x) in to.iter_mut().skip(lane).step_by(width).zip(&row[at..]) {
                        *to = x;
                    }
                }
                for lanes in to.chunks_exact_mut(width) {
                    lanes[rows.len() / features..].fill(0.0);
                }
            }
        });
    }

    /// Gives the first `features` of each row, one row after the other; of several of these, their sum.
    pub(super) fn rows<const N: usize>(lanes: [&Self; N], features: usize, out: &mut [f32], parallel: bool) {
        let width = lanes[0].width;
        each(parallel, out, features * width, |i, out| {
            let parts = lanes.map(|lanes| &lanes.all()[i * lanes.part()..][..features * width]);
            for at in (0..features).step_by(LINE) {
                for (lane, row) in out.chunks_exact_mut(features).enumerate() {
                    for (d, to) in row[at..].iter_mut().take(LINE).enumerate() {
                        *to = parts.iter().map(|part| part[(at + d) * width + lane]).sum();
                    }
                }
            }
        });
    }
}

/// Rows of a part: as many as registers hold, fewer where that leaves fewer lanes empty.
fn width_for<S: Simd>(n: usize) -> usize {
    let taken = n.div_ceil(S::F32_LANES);
    let half = taken < 32 && (1..=2).contains(&(taken % 4));
    S::F32_LANES
        * if taken <= 1 {
            1
        } else if S::REGISTER_COUNT < 32 || half {
            2
        } else {
            4
        }
}

/// Works on parts of an array, each with its number.
pub(super) fn each(parallel: bool, out: &mut [f32], size: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if parallel {
        out.par_chunks_mut(size).enumerate().for_each(|(i, part)| work(i, part));
    } else {
        out.chunks_mut(size).enumerate().for_each(|(i, part)| work(i, part));
    }
}

/// `y = weights x + bias`.
pub(super) fn multiply<S: Simd>(simd: S, weights: &Packed, x: &Lanes, y: &mut Lanes, parallel: bool) {
    let &Packed { inputs, ref panels, ref bias, .. } = weights;
    y.like(x, bias.len());
    let (of_x, of_y, x, width) = (x.part(), y.part(), x.all(), x.width);
    // Of a group of panels: outputs.
    let group = (NEAR / (inputs * PANEL)).max(1) * PANEL;
    let run = |i: usize, x: &[f32], y: &mut [f32]| {
        let begin = i * group;
        let end = begin + y.len() / width;
        let (weights, bias) = (&panels[begin * inputs..end * inputs], &bias[begin..end]);
        simd.vectorize(Panels { x, weights, bias, width, y });
    };
    if parallel {
        each(true, y.all_mut(), of_y, |part, y| {
            each(true, y, group * width, |i, y| run(i, &x[part * of_x..(part + 1) * of_x], y));
        });
    } else {
        for i in 0..bias.len().div_ceil(group) {
            for (x, y) in x.chunks_exact(of_x).zip(y.all_mut().chunks_exact_mut(of_y)) {
                let end = of_y.min((i + 1) * group * width);
                run(i, x, &mut y[i * group * width..end]);
            }
        }
    }
}

/// Some panels times a part of the rows.
struct Panels<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
    width: usize,
    y: &'a mut [f32],
}

impl WithSimd for Panels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.width / S::F32_LANES {
            1 => panels::<S, 1>(simd, self),
            2 => panels::<S, 2>(simd, self),
            _ => panels::<S, 4>(simd, self),
        }
    }
}

#[inline(always)]
fn panels<S: Simd, const N: usize>(simd: S, work: Panels<'_>) {
    let Panels { x, weights, bias, y, .. } = work;
    let x = registers::<S>(x).as_chunks::<N>().0;
    let y = registers_mut::<S>(y).as_chunks_mut::<N>().0.as_chunks_mut::<PANEL>().0;
    let panels = weights.chunks_exact(x.len() * PANEL).zip(bias.as_chunks::<PANEL>().0);
    for (y, (panel, bias)) in y.iter_mut().zip(panels) {
        let mut sums = bias.map(|bias| [simd.splat_f32s(bias); N]);
        for (i, (x, weights)) in x.iter().zip(panel.as_chunks::<PANEL>().0).enumerate() {
            prefetch_index(panel, i * PANEL + AHEAD);
            for (sums, &weight) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(weight);
                for (sum, &x) in sums.iter_mut().zip(x) {
                    *sum = simd.mul_add_e_f32s(weight, x, *sum);
                }
            }
        }
        *y = sums;
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

    struct Product<'a> {
        weights: &'a Packed,
        x: &'a [f32],
        parallel: bool,
    }

    impl WithSimd for Product<'_> {
        type Output = Vec<f32>;

        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let (inputs, outputs) = self.weights.shape();
            let (mut x, mut y) = (Lanes::default(), Lanes::default());
            let mut out = vec![0.0; self.x.len() / inputs * outputs];
            // What lay there before must not matter.
            x.lay::<S>(&vec![f32::NAN; 99 * inputs], inputs, false);
            x.lay::<S>(self.x, inputs, self.parallel);
            multiply(simd, self.weights, &x, &mut y, self.parallel);
            Lanes::rows([&y], outputs, &mut out, self.parallel);
            out
        }
    }

    #[test]
    fn products_are_their_definition() {
        for (inputs, outputs) in [(1, 1), (5, 6), (33, 20), (96, 7), (300, 500)] {
            let (weights, bias) = (numbers(inputs * outputs, 1), numbers(outputs, 2));
            let rows: Vec<_> = weights.chunks(inputs).collect();
            for (n, biased) in [(1, false), (3, true), (17, false), (40, true), (65, true), (200, false)] {
                let packed = Packed::new(&rows, biased.then_some(&bias[..])).unwrap();
                let x = numbers(n * inputs, 3);
                let found = [false, true]
                    .map(|parallel| pulp::Arch::new().dispatch(Product { weights: &packed, x: &x, parallel }));
                assert_eq!(found[0], found[1]);
                // A row alone is the same bit by bit.
                let last = Product { weights: &packed, x: &x[(n - 1) * inputs..], parallel: false };
                assert_eq!(pulp::Arch::new().dispatch(last), found[0][(n - 1) * outputs..]);
                for (x, found) in x.chunks(inputs).zip(found[0].chunks(outputs)) {
                    for ((row, &found), &bias) in rows.iter().zip(found).zip(&bias) {
                        let terms = row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
                        let (sum, size) = terms.fold((0.0, 1.0), |(sum, size), term| (sum + term, size + term.abs()));
                        let exact = sum + if biased { f64::from(bias) } else { 0.0 };
                        assert!((f64::from(found) - exact).abs() <= 1e-6 * size, "{found} {exact}");
                    }
                }
            }
        }
        assert!(Packed::new(&[&[1.0, 2.0], &[1.0]], None).is_err());
        assert!(Packed::new(&[], None).is_err());
        assert!(Packed::new(&[&[1.0]], Some(&[1.0, 2.0])).is_err());
    }
}
