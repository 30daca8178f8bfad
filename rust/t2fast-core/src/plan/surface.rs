//! The law at every point of a grid.
//!
//! N and D reach a law only through the loss, so that for each k the surface is a function of one number. Over the losses
//! that a grid spans, that function is replaced by a polynomial on each of a few dozen panels, chosen by bisection until
//! direct evaluation between the nodes confirms it to [`TOLERANCE`]. A point then costs a short Horner scheme instead
//! of six transcendental functions: on a whole surface, storing the results is the larger part of the work.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use rayon::prelude::*;

use super::grid::Axes;
use crate::error::{Error, Result, positive};
use crate::law::{AnyLaw, Law};
use crate::simd::mul_add;
use crate::threads::Progress;

/// Coefficients per panel and k. Fewer need more panels; more amplify rounding, by 2.4 for each.
const TERMS: usize = 10;

/// How far the polynomials may be from direct evaluation, relative to the largest value met or 1.
const TOLERANCE: f64 = 2e-13;

/// Values of k handled together: a panel's coefficients then stay in the first-level cache, and tables of several
/// blocks are built in parallel.
pub(super) const BLOCK: usize = 64;

/// Values of k in flight at once.
const LANES: usize = 32;

/// Piecewise polynomials in the loss, one for each of a few k.
pub(super) struct Table {
    /// Upper ends of the panels.
    ends: Vec<f64>,
    /// Centre and inverse half-width of each panel.
    maps: Vec<(f64, f64)>,
    /// For each panel, TERMS rows with one coefficient for each k.
    coefficients: Vec<f64>,
    ks: usize,
}

impl Table {
    /// Builds the table over a range of losses, or gives up after `most_panels`.
    pub(super) fn build(law: &AnyLaw, ks: &[f64], lo: f64, hi: f64, most_panels: usize) -> Option<Self> {
        let width = ks.len();
        let to_monomials = chebyshev_to_monomials();
        let mut table = Self { ends: Vec::new(), maps: Vec::new(), coefficients: Vec::new(), ks: width };
        // Panels still to be fitted, the lowest on top.
        let mut open = vec![(lo, hi)];
        let mut attempts = 0;
        let mut nodes = vec![0.0; TERMS * width];
        let mut fitted = vec![0.0; width];
        let mut direct = vec![0.0; width];
        let mut loss = vec![0.0; width];
        while let Some((lo, hi)) = open.pop() {
            attempts += 1;
            if attempts > 2 * most_panels {
                return None;
            }
            let (centre, half) = (0.5 * (lo + hi), 0.5 * (hi - lo));
            for (t, node) in chebyshev_nodes().into_iter().zip(nodes.chunks_mut(width)) {
                loss.fill(centre + half * t);
                law.at_losses(&loss, ks, node);
            }
            let base = table.coefficients.len();
            for row in &to_monomials {
                let start = table.coefficients.len();
                table.coefficients.resize(start + width, 0.0);
                let sums = &mut table.coefficients[start..];
                for (weight, node) in row.iter().zip(nodes.chunks(width)) {
                    for (sum, value) in sums.iter_mut().zip(node) {
                        *sum += weight * value;
                    }
                }
            }
            let panel = &table.coefficients[base..];
            // Between nodes, where the error of an interpolation is largest.
            let exact_enough = (0..=TERMS).step_by(2).all(|i| {
                let t = extremum(i);
                evaluate(panel, t, &mut fitted);
                loss.fill(centre + half * t);
                law.at_losses(&loss, ks, &mut direct);
                fitted.iter().zip(&direct).all(|(a, b)| (a - b).abs() <= TOLERANCE * b.abs().max(1.0))
            });
            // A panel narrower than rounding cannot be halved; it is as exact as losses are.
            let middle = centre;
            if exact_enough || middle <= lo || middle >= hi {
                table.ends.push(hi);
                table.maps.push((centre, if half > 0.0 { 1.0 / half } else { 0.0 }));
            } else {
                table.coefficients.truncate(base);
                open.push((middle, hi));
                open.push((lo, middle));
            }
        }
        Some(table)
    }

    /// The law at one loss and every k of the table.
    #[inline]
    pub(super) fn row(&self, loss: f64, out: &mut [f64]) {
        let panel = self.ends.partition_point(|&end| end < loss).min(self.ends.len() - 1);
        let (centre, scale) = self.maps[panel];
        let size = TERMS * self.ks;
        evaluate(&self.coefficients[panel * size..(panel + 1) * size], (loss - centre) * scale, out);
    }
}

/// Horner's rule at `t`, for every k at once.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn evaluate(coefficients: &[f64], t: f64, out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let ks = out.len();
    assert!(coefficients.len() == TERMS * ks, "one coefficient per term and k");
    // A group of lanes keeps eight vector registers busy, enough to hide the latency of a multiply-add.
    let mut groups = out.chunks_exact_mut(LANES);
    let mut start = 0;
    for group in &mut groups {
        let mut sums = [0.0; LANES];
        for row in coefficients.chunks_exact(ks).rev() {
            for (sum, c) in sums.iter_mut().zip(&row[start..start + LANES]) {
                *sum = mul_add::<FMA>(*sum, t, *c);
            }
        }
        group.copy_from_slice(&sums);
        start += LANES;
    }
    for (l, out) in groups.into_remainder().iter_mut().enumerate() {
        *out = coefficients.chunks_exact(ks).rev().fold(0.0, |sum, row| mul_add::<FMA>(sum, t, row[start + l]));
    }
}

/// The zeros of the Chebyshev polynomial of degree TERMS.
#[allow(clippy::cast_precision_loss)]
fn chebyshev_nodes() -> [f64; TERMS] {
    std::array::from_fn(|i| (std::f64::consts::PI * (2 * i + 1) as f64 / (2 * TERMS) as f64).cos())
}

/// The i-th extremum of that polynomial, ends included.
#[allow(clippy::cast_precision_loss)]
fn extremum(i: usize) -> f64 {
    (std::f64::consts::PI * i as f64 / TERMS as f64).cos()
}

/// The matrix that takes values at the Chebyshev nodes to monomial coefficients of their interpolation.
///
/// At this degree and on [-1, 1] the cancellation between monomials stays below 1e-13.
#[allow(clippy::cast_precision_loss)]
fn chebyshev_to_monomials() -> [[f64; TERMS]; TERMS] {
    // Monomial coefficients of T_0, T_1, ...: T_j+1 = 2 t T_j - T_j-1.
    let mut chebyshev = [[0.0; TERMS]; TERMS];
    chebyshev[0][0] = 1.0;
    chebyshev[1][1] = 1.0;
    for j in 2..TERMS {
        for i in 0..TERMS {
            let shifted = if i == 0 { 0.0 } else { chebyshev[j - 1][i - 1] };
            chebyshev[j][i] = 2.0 * shifted - chebyshev[j - 2][i];
        }
    }
    let nodes = chebyshev_nodes();
    std::array::from_fn(|power| {
        std::array::from_fn(|node| {
            let angle = nodes[node].acos();
            (0..TERMS)
                .map(|j| {
                    let scale = if j == 0 { 1.0 } else { 2.0 } / TERMS as f64;
                    scale * (angle * j as f64).cos() * chebyshev[j][power]
                })
                .sum()
        })
    })
}

/// The law's value at every point of a grid, written to `out` in the order (N, D, k), k running fastest.
///
/// Points are not checked against any budget; `unique_tokens` discounts repeated tokens. Agrees with the law evaluated
/// point by point to 5e-13 (relative to 1 or the value, whichever is larger). Progress counts values of N.
///
/// # Errors
/// As [`Axes::check`]; [`Error::Array`] when `out` has not one place for each point; [`Error::Interrupted`] when `progress`
/// is cancelled.
pub fn surface(
    law: &AnyLaw,
    axes: Axes<'_>,
    unique_tokens: Option<f64>,
    out: &mut [f64],
    progress: &Progress,
) -> Result<()> {
    axes.check()?;
    if let Some(unique) = unique_tokens {
        positive("unique_tokens", unique)?;
    }
    let (tokens, ks) = (axes.n_tokens.len(), axes.k.len());
    if out.len() as u64 != axes.points() {
        return Err(Error::Array(format!("out has {} places for {} points", out.len(), axes.points())));
    }
    let Prepared { params, terms, scales, powers, tables } = prepared(law, axes, unique_tokens);
    out.par_chunks_mut(tokens * ks).zip(params.par_iter().zip(&scales)).try_for_each(|(plane, (&params, &scale))| {
        let mut loss = [0.0; BLOCK];
        for (row, (&term, &power)) in plane.chunks_mut(ks).zip(terms.iter().zip(&powers)) {
            let at = params + term + scale * power;
            for (block, (k, out)) in axes.k.chunks(BLOCK).zip(row.chunks_mut(BLOCK)).enumerate() {
                if let Some(tables) = &tables {
                    tables[block].row(at, out);
                } else {
                    loss[..out.len()].fill(at);
                    law.at_losses(&loss[..out.len()], k, out);
                }
            }
        }
        progress.advance(1)
    })
}

/// What a grid's losses are made of, and tables of the law over all of them for each block of k; none where they would not
/// pay.
pub(super) struct Prepared {
    /// The loss that each N leaves at infinite data, and the term of each D.
    params: Vec<f64>,
    terms: Vec<f64>,
    /// Overtraining is a product of a factor for N and one for D.
    scales: Vec<f64>,
    powers: Vec<f64>,
    pub(super) tables: Option<Vec<Table>>,
}

pub(super) fn prepared(law: &AnyLaw, axes: Axes<'_>, unique_tokens: Option<f64>) -> Prepared {
    let (sizes, tokens) = (axes.n_params.len(), axes.n_tokens.len());
    let base = law.chinchilla();
    let params: Vec<f64> =
        axes.n_params.iter().map(|&n| base.e + base.params_term(base.effective_params(n, unique_tokens))).collect();
    let mut terms = vec![0.0; tokens];
    base.tokens_terms(axes.n_tokens, unique_tokens, &mut terms);
    let scales: Vec<f64> = axes.n_params.iter().map(|&n| base.overtraining_of_params(n)).collect();
    let mut powers = vec![0.0; tokens];
    base.overtraining_of_tokens(axes.n_tokens, &mut powers);
    let extreme = |values: &[f64], start: f64, pick: fn(f64, f64) -> f64| values.iter().copied().fold(start, pick);
    let lo = extreme(&params, f64::INFINITY, f64::min) + extreme(&terms, f64::INFINITY, f64::min);
    let over = extreme(&scales, 0.0, f64::max) * extreme(&powers, 0.0, f64::max);
    let hi = extreme(&params, 0.0, f64::max) + extreme(&terms, 0.0, f64::max) + over;
    // A table pays once its panels are fewer than the rows by a good margin.
    let most_panels = sizes * tokens / (8 * TERMS);
    let tables: Option<Vec<Table>> =
        axes.k.par_chunks(BLOCK).map(|ks| Table::build(law, ks, lo, hi, most_panels)).collect();
    Prepared { params, terms, scales, powers, tables }
}
