//! maj@k for k up to 32 of very many problems: what a tally's answers make of a vote is looked up in two halves.
//!
//! maj@k counts choices as [`ballots`](super::ballots) does: for x votes for the right answer, `C(c, x) [z^(k - x)]` of a product
//! with one factor for each wrong answer, averaged over the nodes s that weigh ties. The product over the rare answers (fewer
//! than [`SPLIT`] samples) is the one half, that over the common ones the other. A million tallies of 64 samples hold 400,000
//! different sets of wrong answers, but only 6,000 different rare halves and 5,000 common ones. So each half is multiplied out once, for
//! all x, nodes and powers, and a tally costs two look-ups and one sum of products, the coefficient of z^(k - x). From x =
//! `SPLIT` on the rare answers are never cut off: together they are a row of Pascal's triangle, and the common half
//! is averaged over the nodes beforehand. All terms are positive.

use pulp::{Arch, Simd, WithSimd};

use super::prints;
use super::rows::{Aligned, LANES, Rows};
use super::vote::Ties;
use crate::quadrature::legendre;

/// The largest k.
pub const MOST_K: usize = 32;
/// The most samples of a problem: of more, too few problems have equal halves for these to pay.
pub const MOST_SAMPLES: usize = 100;
/// Samples from which an answer is a common one.
pub const SPLIT: usize = 5;
/// Zeros before a polynomial that is multiplied: no factor is of a higher degree.
const BEFORE: usize = MOST_K / 2;
/// Doubles of a polynomial.
const ROOM: usize = (MOST_K + 1).next_multiple_of(LANES);

/// A polynomial, with zeros before its first coefficient.
type Buffer = [f64; BEFORE + ROOM];

/// What is looked up of a tally that has right samples and wrong ones.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// The problem's place.
    problem: u32,
    /// Rows.
    rare: u32,
    common: u32,
    /// The case before it with the same common answers.
    before: u32,
    /// Samples, how many of them are right, and how many gave a rare answer.
    n: u16,
    right: u16,
    small: u16,
}

/// No case.
const NONE: u32 = u32::MAX;

/// Where the coefficients for x votes stand in a row.
#[derive(Debug, Clone)]
struct Place {
    start: usize,
    /// Values of s and their weights.
    nodes: Vec<(f64, f64)>,
    /// Doubles of each node.
    stride: usize,
}

/// The two halves of all tallies met so far.
#[derive(Debug, Clone)]
pub struct Halves {
    ks: Vec<usize>,
    ties: Ties,
    factors: Factors,
    /// By x, from 1 to most / 2; [0] is of no use.
    places: Vec<Place>,
    rare: Rows<u64>,
    common: Rows<u128>,
    /// By n: for each k and number of right samples, the choices in which more than half of the votes are right.
    sure: Vec<Vec<f64>>,
    /// Doubles to keep.
    room: usize,
    cases: Vec<Case>,
    /// By common row: the last case that has it.
    last: Vec<u32>,
    /// Common rows that cases have, in the order in which they were met.
    met: Vec<u32>,
    answers: Vec<usize>,
}

impl Halves {
    /// For these k, each from 2 to [`MOST_K`]; about `room` bytes of halves are kept.
    #[must_use]
    pub fn new(ks: &[usize], ties: Ties, room: usize) -> Self {
        let most = ks.iter().copied().max().unwrap_or(2);
        let width = (most + 1).next_multiple_of(LANES);
        let mut aligned = Aligned::with_capacity((MOST_SAMPLES + 1) * width);
        let triangle = aligned.grow((MOST_SAMPLES + 1) * width);
        for m in 0..=MOST_SAMPLES {
            triangle[m * width] = 1.0;
            for i in 1..=most.min(m) {
                triangle[m * width + i] = triangle[(m - 1) * width + i - 1] + triangle[(m - 1) * width + i];
            }
        }
        let mut start = 0;
        let place = |x: usize| {
            if x == 0 {
                return Place { start: 0, nodes: Vec::new(), stride: 0 };
            }
            let rest = most - x;
            let nodes = match ties {
                // All votes but the right one's are ties: their share is a factor.
                _ if x == 1 => vec![(1.0, 1.0)],
                Ties::Random => legendre(rest / x / 2 + 1),
                Ties::Fail => vec![(0.0, 1.0)],
                Ties::Win => vec![(1.0, 1.0)],
            };
            let stride = (rest + 1).next_multiple_of(LANES);
            let place = Place { start, nodes, stride };
            start += place.stride * if x < SPLIT { place.nodes.len() } else { 1 };
            place
        };
        let places: Vec<Place> = (0..=most / 2).map(place).collect();
        let rare = places.get(SPLIT).map_or(start, |place| place.start);
        Self {
            ks: ks.to_vec(),
            ties,
            factors: Factors { arch: Arch::new(), most, triangle: aligned, width },
            places,
            rare: Rows::new(rare),
            common: Rows::new(start),
            sure: vec![Vec::new(); MOST_SAMPLES + 1],
            room: room / size_of::<f64>(),
            cases: Vec::new(),
            last: Vec::new(),
            met: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Adds a problem of `n` samples, at most [`MOST_SAMPLES`], of which `right` are right, neither none nor all.
    #[allow(clippy::cast_possible_truncation)]
    pub fn add(&mut self, problem: usize, n: usize, right: usize, wrong: &[i64], sum: &prints::Sum) {
        let rare = if let Some(&row) = self.rare.known.get(&sum.rare_key()) {
            row
        } else {
            self.add_rare(sum.rare_key(), sum.rare())
        };
        let common = if let Some(&row) = self.common.known.get(&sum.common_key()) {
            row
        } else {
            self.last.push(NONE);
            self.add_common(sum.common_key(), wrong)
        };
        if self.sure[n].is_empty() {
            self.sure[n] = self.more_than_half(n);
        }
        let last = &mut self.last[common as usize];
        if *last == NONE {
            self.met.push(common);
        }
        let before = std::mem::replace(last, self.cases.len() as u32);
        let (problem, small) = (problem as u32, sum.rare_samples() as u16);
        self.cases.push(Case { problem, rare, common, before, n: n as u16, right: right as u16, small });
    }

    /// Whether so many halves are kept that the values of the problems added are to be asked for.
    #[must_use]
    pub fn full(&self) -> bool {
        self.rare.size() + self.common.size() > self.room
    }

    /// Writes maj@k of the problems added to rows of `values`, `width` wide, where k < n; k's columns are `columns`. Then
    /// none is added any more.
    pub fn finish(&mut self, values: &mut [f64], width: usize, columns: &[usize]) {
        // One after the other those that have the same common answers: their row is near at hand then.
        let mut order = Vec::with_capacity(self.cases.len());
        for &row in &self.met {
            let mut next = std::mem::replace(&mut self.last[row as usize], NONE);
            while let Some(case) = self.cases.get(next as usize) {
                order.push(*case);
                next = case.before;
            }
        }
        self.factors.arch.dispatch(Sums { halves: self, cases: &order, values, width, columns });
        self.cases.clear();
        self.met.clear();
        if self.full() {
            self.rare.clear();
            self.common.clear();
            self.last.clear();
        }
    }

    fn more_than_half(&self, n: usize) -> Vec<f64> {
        let mut sums = Vec::with_capacity(self.ks.len() * (n + 1));
        for &k in &self.ks {
            for right in 0..=n {
                let (own, others) = (self.factors.row(right), self.factors.row(n - right));
                sums.push((k / 2 + 1..=k).map(|x| own[x] * others[k - x]).sum());
            }
        }
        sums
    }

    fn add_rare(&mut self, key: u64, counts: [usize; SPLIT]) -> u32 {
        let Self { factors, places, rare, answers, .. } = self;
        let (which, mut row) = rare.add(key);
        for (x, place) in places.iter().enumerate().take(SPLIT).skip(1) {
            let small: usize = (1..x.max(2)).map(|m| m * counts[m]).sum();
            answers.clear();
            for (m, &count) in counts.iter().enumerate().skip(x.max(2)) {
                answers.extend(std::iter::repeat_n(m, count));
            }
            for &(s, _) in &place.nodes {
                let (to, rest) = row.split_at_mut(place.stride);
                let product = factors.product(x, s, answers, small, 1.0);
                to[..=factors.most - x].copy_from_slice(&product[BEFORE..=BEFORE + factors.most - x]);
                row = rest;
            }
        }
        which
    }

    fn add_common(&mut self, key: u128, wrong: &[i64]) -> u32 {
        let Self { factors, places, common, answers, .. } = self;
        let (which, mut row) = common.add(key);
        answers.clear();
        answers.extend(wrong.iter().filter_map(|&m| usize::try_from(m).ok()).filter(|&m| m >= SPLIT));
        answers.sort_unstable();
        let (mut cut_off, mut small) = (0, 0);
        for (x, place) in places.iter().enumerate().skip(1) {
            while cut_off < answers.len() && answers[cut_off] < x {
                small += answers[cut_off];
                cut_off += 1;
            }
            for (node, &(s, weight)) in place.nodes.iter().enumerate() {
                let product = factors.product(x, s, &answers[cut_off..], small, weight);
                // The other way round: a coefficient of the whole product is a sum over pairs that stand at one place.
                let coefficients = product[BEFORE..=BEFORE + factors.most - x].iter().rev();
                row.iter_mut().zip(coefficients).for_each(|(to, coefficient)| *to += coefficient);
                if x < SPLIT || node + 1 == place.nodes.len() {
                    row = &mut row[place.stride..];
                }
            }
        }
        which
    }
}

/// What products are made of.
#[derive(Debug, Clone)]
struct Factors {
    arch: Arch,
    /// The largest k.
    most: usize,
    /// C(m, i) for i up to `most`, row by row, with zeros behind.
    triangle: Aligned,
    width: usize,
}

impl Factors {
    #[inline(always)]
    fn row(&self, m: usize) -> &[f64] {
        &self.triangle[m * self.width..][..self.width]
    }

    /// Of the factors of `answers`, cut off at z^x, and of all of `small` samples; coefficients up to z^(most - x).
    fn product(&self, x: usize, s: f64, answers: &[usize], small: usize, weight: f64) -> Buffer {
        let mut product = [0.0; BEFORE + ROOM];
        for (to, from) in product[BEFORE..].iter_mut().zip(self.row(small)) {
            *to = weight * from;
        }
        let blocks = (self.most - x + 1).div_ceil(LANES);
        let (triangle, all) = (&self.triangle, &mut product[..BEFORE + blocks * LANES]);
        self.arch.dispatch(Multiply { triangle, width: self.width, x, s, answers, product: all });
        product
    }
}

/// A polynomial times the factor of each answer, cut off at z^x with ties weighed by s.
struct Multiply<'a> {
    triangle: &'a [f64],
    width: usize,
    x: usize,
    s: f64,
    answers: &'a [usize],
    product: &'a mut [f64],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { triangle, width, x, s, answers, product } = self;
        for &m in answers {
            let mut factor = [0.0; BEFORE + 1];
            factor[..=x].copy_from_slice(&triangle[m * width..=m * width + x]);
            factor[x] *= s;
            // From the highest powers down, so that none is changed before it is used.
            for end in (BEFORE + S::F64_LANES..=product.len()).rev().step_by(S::F64_LANES) {
                let mut sum = simd.splat_f64s(0.0);
                for (j, &ways) in factor[..=x.min(m)].iter().enumerate() {
                    let from = S::as_simd_f64s(&product[end - S::F64_LANES - j..end - j]).0[0];
                    sum = simd.mul_add_e_f64s(simd.splat_f64s(ways), from, sum);
                }
                S::as_mut_simd_f64s(&mut product[end - S::F64_LANES..end]).0[0] = sum;
            }
        }
    }
}

/// maj@k of cases and the halves' k with k < n, into columns of a table. Vectors are written out: of loops over arrays the
/// compiler makes vectors of two.
struct Sums<'a> {
    halves: &'a Halves,
    cases: &'a [Case],
    values: &'a mut [f64],
    width: usize,
    columns: &'a [usize],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { halves, cases, values, width, columns } = self;
        for case in cases {
            let values = &mut values[case.problem as usize * width..][..width];
            let (n, right) = (usize::from(case.n), usize::from(case.right));
            let (all, sure) = (halves.factors.row(n), &halves.sure[n]);
            for (which, (&k, &column)) in halves.ks.iter().zip(columns).enumerate() {
                if k < n {
                    let value = ((if k == halves.factors.most {
                        halves.sum::<S, true>(simd, case, k)
                    } else {
                        halves.sum::<S, false>(simd, case, k)
                    }) + sure[which * (n + 1) + right])
                        / all[k];
                    // Sums of many terms end a rounding beyond 1.
                    values[column] = value.min(1.0);
                }
            }
        }
    }
}

impl Halves {
    /// Choices of k samples, of the largest k or of a smaller one, in which the right answer wins with at most half of the votes.
    #[inline(always)]
    fn sum<S: Simd, const LARGEST: bool>(&self, simd: S, case: &Case, k: usize) -> f64 {
        let (n, right) = (usize::from(case.n), usize::from(case.right));
        let (own, small) = (self.factors.row(right), self.factors.row(usize::from(case.small)));
        let (rare, common) = (self.rare.row(case.rare), self.common.row(case.common));
        let shift = if LARGEST { 0 } else { self.factors.most - k };
        let mut sum = simd.splat_f64s(0.0);
        for x in 1.max((k + right).saturating_sub(n))..=right.min(k / 2) {
            let place = &self.places[x];
            let mut ways = simd.splat_f64s(0.0);
            if x < SPLIT {
                let all = place.start..place.start + place.nodes.len() * place.stride;
                // With the largest k the nodes follow each other without a gap.
                let (node, length) = if LARGEST { (all.len(), all.len()) } else { (place.stride, k - x + 1) };
                for (rare, common) in rare[all.clone()].chunks_exact(node).zip(common[all].chunks_exact(node)) {
                    ways = dot::<S, LARGEST>(simd, &rare[..length], &common[shift..shift + length], ways);
                }
            } else {
                let length = if LARGEST { place.stride } else { k - x + 1 };
                ways = dot::<S, LARGEST>(simd, &small[..length], &common[place.start + shift..][..length], ways);
            }
            let own = if x == 1 { own[x] * self.ties.share(k - 1) } else { own[x] };
            sum = simd.mul_add_e_f64s(simd.splat_f64s(own), ways, sum);
        }
        simd.reduce_sum_f64s(sum)
    }
}

#[inline(always)]
fn dot<S: Simd, const WHOLE: bool>(simd: S, a: &[f64], b: &[f64], mut sum: S::f64s) -> S::f64s {
    let ((a, a_end), (b, b_end)) = (S::as_simd_f64s(a), S::as_simd_f64s(b));
    for (&a, &b) in a.iter().zip(b) {
        sum = simd.mul_add_e_f64s(a, b, sum);
    }
    if WHOLE || a_end.is_empty() {
        return sum;
    }
    simd.mul_add_e_f64s(simd.partial_load_f64s(a_end), simd.partial_load_f64s(b_end), sum)
}
