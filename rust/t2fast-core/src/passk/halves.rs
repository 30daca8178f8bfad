//! maj@k for k up to 32 of very many problems: what a tally's answers make of a vote is looked up in two halves.
//!
//! maj@k counts choices as [`ballots`](super::ballots) does: for x votes for the right answer, `C(c, x) [z^(k - x)]` of a product
//! with one factor for each wrong answer, averaged over the nodes s that weigh ties. The product over the rare answers (fewer
//! than [`SPLIT`] samples) is the one half, that over the common ones the other. A million tallies of 64 samples hold 400,000
//! different sets of wrong answers, but only 6,000 different rare halves and 5,000 common ones. So each half is multiplied out once, for
//! all x, nodes and powers, and a tally costs two look-ups and one sum of products, the coefficient of z^(k - x). From x =
//! `SPLIT` on the rare answers are never cut off: together they are a row of Pascal's triangle, and the common half
//! is averaged over the nodes beforehand. All terms are positive.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::prints::{self, Hashed};
use super::vote::Ties;
use crate::quadrature::legendre;
use crate::simd;

/// The largest k.
pub const MOST_K: usize = 32;
/// The most samples of a problem: numbers of choices stay below 1e51.
pub const MOST_SAMPLES: usize = 512;
/// Samples from which an answer is a common one.
pub const SPLIT: usize = 5;
/// Doubles in a vector.
const LANES: usize = 8;
/// Zeros before a polynomial that is multiplied: no factor is of a higher degree.
const BEFORE: usize = MOST_K / 2;
/// Doubles of a polynomial.
const ROOM: usize = (MOST_K + 1).next_multiple_of(LANES);

/// A polynomial, with zeros before its first coefficient.
type Buffer = [f64; BEFORE + ROOM];

/// What is looked up of a tally with fewer right samples than samples.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The problem's place.
    pub problem: usize,
    /// Its samples.
    n: usize,
    /// How many are right.
    right: usize,
    /// Samples that gave a rare answer.
    small: usize,
    rare: usize,
    common: usize,
}

/// Where the coefficients for x votes stand in a row.
#[derive(Debug, Clone)]
struct Place {
    start: usize,
    /// Values of s and their weights.
    nodes: Vec<(f64, f64)>,
    /// Doubles of each node.
    stride: usize,
}

/// Rows of one kind by their keys.
#[derive(Debug, Clone)]
struct Rows<K> {
    known: HashMap<K, usize, BuildHasherDefault<Hashed>>,
    flat: Vec<f64>,
}

impl<K: Hash + Eq> Rows<K> {
    fn new() -> Self {
        Self { known: HashMap::default(), flat: Vec::new() }
    }

    fn clear(&mut self) {
        self.known.clear();
        self.flat.clear();
    }
}

/// The two halves of all tallies met so far.
#[derive(Debug, Clone)]
pub struct Halves {
    ks: Vec<usize>,
    ties: Ties,
    /// The largest of `ks`.
    most: usize,
    /// C(m, i) for i up to `most`, row by row, with zeros behind.
    triangle: Vec<f64>,
    width: usize,
    /// By x, from 1 to most / 2; [0] is of no use.
    places: Vec<Place>,
    rare: Rows<u64>,
    common: Rows<u128>,
    /// By n: for each k and number of right samples, the choices in which more than half of the votes are right.
    sure: Vec<Vec<f64>>,
    /// Doubles to keep.
    room: usize,
    answers: Vec<usize>,
}

impl Halves {
    /// For these k, each from 2 to [`MOST_K`]; about `room` bytes of halves are kept.
    #[must_use]
    pub fn new(ks: &[usize], ties: Ties, room: usize) -> Self {
        let most = ks.iter().copied().max().unwrap_or(2);
        let width = (most + 1).next_multiple_of(LANES);
        let mut triangle = vec![0.0; (MOST_SAMPLES + 1) * width];
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
            // Where the k differ, coefficients of smaller ones are read up to a vector's length beyond.
            let stride = (rest + 1 + if ks.len() > 1 { LANES - 1 } else { 0 }).next_multiple_of(LANES);
            let place = Place { start, nodes, stride };
            start += place.stride * if x < SPLIT { place.nodes.len() } else { 1 };
            place
        };
        let places: Vec<Place> = (0..=most / 2).map(place).collect();
        Self {
            ks: ks.to_vec(),
            ties,
            most,
            triangle,
            width,
            places,
            rare: Rows::new(),
            common: Rows::new(),
            sure: vec![Vec::new(); MOST_SAMPLES + 1],
            room: room / size_of::<f64>(),
            answers: Vec::new(),
        }
    }

    /// Forgets the halves where they take too much room; cases made before are of no use then.
    pub fn tidy(&mut self) {
        if self.rare.flat.len() + self.common.flat.len() > self.room {
            self.rare.clear();
            self.common.clear();
        }
    }

    /// Looks up the halves of a problem of `n` samples, at most [`MOST_SAMPLES`], of which `right` are right.
    pub fn case(&mut self, problem: usize, n: usize, right: usize, wrong: &[i64], sum: &prints::Sum) -> Case {
        let counts = sum.rare();
        let small = (1..SPLIT).map(|m| m * counts[m]).sum();
        let rare = if let Some(&row) = self.rare.known.get(&sum.rare_key()) {
            row
        } else {
            let row = self.rare.flat.len();
            self.rare.known.insert(sum.rare_key(), row);
            self.add_rare(counts);
            row
        };
        let common = if let Some(&row) = self.common.known.get(&sum.common_key()) {
            row
        } else {
            let row = self.common.flat.len();
            self.common.known.insert(sum.common_key(), row);
            self.add_common(wrong);
            row
        };
        if self.sure[n].is_empty() {
            self.sure[n] = self.more_than_half(n);
        }
        Case { problem, n, right, small, rare, common }
    }

    /// maj@k of each case and k with k < n, handed to `found` with the case and the place of k.
    pub fn values(&self, cases: &[Case], found: &mut [f64]) {
        for (i, &k) in self.ks.iter().enumerate() {
            let found = &mut found[i * cases.len()..(i + 1) * cases.len()];
            let share = self.ties.share(k - 1);
            sums(self, k, i, share, cases, found);
        }
    }

    fn row(&self, m: usize) -> &[f64] {
        &self.triangle[m * self.width..(m + 1) * self.width]
    }

    fn multiply(&self, x: usize, s: f64, answers: &[usize], product: &mut Buffer) {
        let blocks = (self.most - x + 1).div_ceil(LANES);
        multiply(&self.triangle, self.width, x, s, answers, &mut product[..BEFORE + blocks * LANES]);
    }

    fn more_than_half(&self, n: usize) -> Vec<f64> {
        let mut sums = Vec::with_capacity(self.ks.len() * (n + 1));
        for &k in &self.ks {
            for right in 0..=n {
                let (own, others) = (self.row(right), self.row(n - right));
                sums.push((k / 2 + 1..=k).map(|x| own[x] * others[k - x]).sum());
            }
        }
        sums
    }

    fn add_rare(&mut self, counts: [usize; SPLIT]) {
        for x in 1..SPLIT.min(self.places.len()) {
            let small: usize = (1..x.max(2)).map(|m| m * counts[m]).sum();
            self.answers.clear();
            for (m, &count) in counts.iter().enumerate().skip(x.max(2)) {
                self.answers.extend(std::iter::repeat_n(m, count));
            }
            let place = &self.places[x];
            for &(s, _) in &place.nodes {
                let mut product = started(self.row(small), 1.0);
                self.multiply(x, s, &self.answers, &mut product);
                let end = self.rare.flat.len() + place.stride;
                self.rare.flat.extend_from_slice(&product[BEFORE..=BEFORE + self.most - x]);
                self.rare.flat.resize(end, 0.0);
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn add_common(&mut self, wrong: &[i64]) {
        let mut answers = std::mem::take(&mut self.answers);
        answers.clear();
        answers.extend(wrong.iter().map(|&m| m as usize).filter(|&m| m >= SPLIT));
        answers.sort_unstable();
        let (mut cut_off, mut small) = (0, 0);
        for x in 1..self.places.len() {
            while cut_off < answers.len() && answers[cut_off] < x {
                small += answers[cut_off];
                cut_off += 1;
            }
            let place = &self.places[x];
            let start = self.common.flat.len();
            let nodes = if x < SPLIT { place.nodes.len() } else { 1 };
            self.common.flat.resize(start + nodes * place.stride, 0.0);
            let mut to = start;
            for &(s, weight) in &place.nodes {
                let mut product = started(self.row(small), weight);
                self.multiply(x, s, &answers[cut_off..], &mut product);
                // The other way round: a coefficient of the whole product is a sum over pairs that stand at one place.
                let coefficients = product[BEFORE..=BEFORE + self.most - x].iter().rev();
                for (to, coefficient) in self.common.flat[to..].iter_mut().zip(coefficients) {
                    *to += coefficient;
                }
                to += if x < SPLIT { place.stride } else { 0 };
            }
        }
        self.answers = answers;
    }
}

fn started(row: &[f64], weight: f64) -> Buffer {
    let mut product = [0.0; BEFORE + ROOM];
    for (to, from) in product[BEFORE..].iter_mut().zip(row) {
        *to = weight * from;
    }
    product
}

fn vector(all: &[f64], start: usize) -> &[f64; LANES] {
    all[start..start + LANES].try_into().expect("LANES doubles")
}

/// Times the factor of each answer, cut off at z^x with ties weighed by s.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn multiply(triangle: &[f64], width: usize, x: usize, s: f64, answers: &[usize], product: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for &m in answers {
        let mut factor = [0.0; BEFORE + 1];
        factor[..=x].copy_from_slice(&triangle[m * width..=m * width + x]);
        factor[x] *= s;
        // From the highest powers down, so that none is changed before it is used.
        for block in (0..(product.len() - BEFORE) / LANES).rev() {
            let mut sum = [0.0; LANES];
            for (j, &ways) in factor[..=x.min(m)].iter().enumerate() {
                let from = vector(product, BEFORE + block * LANES - j);
                for lane in 0..LANES {
                    sum[lane] = simd::mul_add::<FMA>(ways, from[lane], sum[lane]);
                }
            }
            product[BEFORE + block * LANES..][..LANES].copy_from_slice(&sum);
        }
    }
}

/// maj@k of cases, all with k < n.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn sums(halves: &Halves, k: usize, place_of_k: usize, share: f64, cases: &[Case], found: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    let shift = halves.most - k;
    for (case, found) in cases.iter().zip(found) {
        let wrong = case.n - case.right;
        if k >= case.n {
            continue;
        }
        let own = &halves.triangle[case.right * halves.width..][..halves.width];
        let small = &halves.triangle[case.small * halves.width..][..halves.width];
        let mut sum = [0.0; LANES];
        for x in 1.max(k.saturating_sub(wrong))..=case.right.min(k / 2) {
            let place = &halves.places[x];
            let length = (k - x + 1).next_multiple_of(LANES);
            let mut ways = [0.0; LANES];
            if x < SPLIT {
                let all = place.nodes.len() * place.stride;
                let rare = &halves.rare.flat[case.rare + place.start..][..all];
                let common = &halves.common.flat[case.common + place.start..][..all];
                // With the largest k the nodes follow each other without a gap.
                let (step, length) = if shift == 0 { (all, all) } else { (place.stride, length) };
                for (rare, common) in rare.chunks_exact(step).zip(common.chunks_exact(step)) {
                    ways = dot::<FMA>(&rare[..length], &common[shift..shift + length], ways);
                }
            } else {
                let common = &halves.common.flat[case.common + place.start + shift..][..length];
                ways = dot::<FMA>(&small[..length], common, ways);
            }
            let own = if x == 1 { own[x] * share } else { own[x] };
            for lane in 0..LANES {
                sum[lane] = simd::mul_add::<FMA>(own, ways[lane], sum[lane]);
            }
        }
        let halves_sum: [f64; 4] = std::array::from_fn(|lane| sum[lane] + sum[lane + 4]);
        let beaten = (halves_sum[0] + halves_sum[2]) + (halves_sum[1] + halves_sum[3]);
        let sure = halves.sure[case.n][place_of_k * (case.n + 1) + case.right];
        *found = (beaten + sure) / halves.triangle[case.n * halves.width + k];
    }
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[f64], b: &[f64], mut sum: [f64; LANES]) -> [f64; LANES] {
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sum[lane] = simd::mul_add::<FMA>(a[lane], b[lane], sum[lane]);
        }
    }
    sum
}
