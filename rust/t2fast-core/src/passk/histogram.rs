//! Counts of many problems as a histogram of (n, c): small, exact, and mergeable.

use rayon::prelude::*;

use super::estimate::{self, Estimator, MOST_SAMPLES};
use crate::error::{Error, Result};

/// Problems that share n and c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Samples drawn.
    pub n: u64,
    /// Correct samples.
    pub c: u64,
    /// How many problems have these counts.
    pub problems: u64,
}

/// The distinct (n, c) of a set of problems with their multiplicities, in rising order of (n, c).
///
/// Every average over problems depends on the counts through this alone, and histograms of shards add up to the
/// histogram of the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    pairs: Vec<Pair>,
}

/// Problems per task while counting, at least.
const CHUNK: usize = 1 << 15;
/// Counting tables are dense up to this n; beyond, pairs are sorted.
const DENSE: u64 = 1 << 20;
/// Problems per task while copying.
const GATHER: usize = 1 << 14;
/// Distinct pairs per task while averaging.
const BLOCK: usize = 512;

impl Histogram {
    /// Counts the pairs. `n` has one entry for all problems, or as many as `c`.
    ///
    /// # Errors
    /// [`Error::Array`] when the lengths differ or there is no problem; and unless 0 <= c <= n and 1 <= n <= 2^50.
    pub fn from_counts(n: &[i64], c: &[i64]) -> Result<Self> {
        check_lengths(n, c)?;
        let first = n[0];
        check_samples(first, 0)?;
        let uniform = n.len() == 1 || n.par_chunks(CHUNK).all(|n| n.iter().fold(0, |bits, &n| bits | (n ^ first)) == 0);
        // A table pays where it is not much longer than what is counted.
        if uniform && first.unsigned_abs() <= DENSE.min(1024 + 64 * c.len() as u64) {
            return Self::dense(first.unsigned_abs(), c);
        }
        let mut sorted = Vec::with_capacity(c.len());
        for (i, &c) in c.iter().enumerate() {
            sorted.push(checked_pair(if uniform { first } else { n[i] }, c, i)?);
        }
        sorted.par_sort_unstable();
        Ok(Self::from_sorted(sorted))
    }

    /// Counts problems that all have n samples into a table.
    fn dense(n: u64, c: &[i64]) -> Result<Self> {
        #[allow(clippy::cast_possible_truncation)]
        let size = n as usize + 1;
        // Whole numbers add up the same however they are split.
        let chunk = c.len().div_ceil(rayon::current_num_threads()).max(CHUNK);
        let tables: Vec<Option<Vec<u32>>> = c.par_chunks(chunk).map(|c| tally(size, c)).collect();
        let mut total = vec![0_u64; size];
        for table in tables {
            let Some(table) = table else {
                let worst = c.iter().position(|&c| c < 0 || c.unsigned_abs() > n).expect("one was met");
                #[allow(clippy::cast_possible_wrap)]
                return Err(checked_pair(n as i64, c[worst], worst).expect_err("it lies outside"));
            };
            for (total, count) in total.iter_mut().zip(table) {
                *total += u64::from(count);
            }
        }
        let pairs = total.iter().zip(0..).filter(|&(&problems, _)| problems > 0);
        Ok(Self { pairs: pairs.map(|(&problems, c)| Pair { n, c, problems }).collect() })
    }

    fn from_sorted(sorted: Vec<(u64, u64)>) -> Self {
        let mut pairs: Vec<Pair> = Vec::new();
        for (n, c) in sorted {
            match pairs.last_mut() {
                Some(pair) if pair.n == n && pair.c == c => pair.problems += 1,
                _ => pairs.push(Pair { n, c, problems: 1 }),
            }
        }
        Self { pairs }
    }

    /// A histogram from pairs with multiplicities, in any order, repeats allowed.
    ///
    /// # Errors
    /// [`Error::Array`] as in [`Histogram::from_counts`], and for a multiplicity below 1.
    pub fn from_pairs(n: &[i64], c: &[i64], problems: &[i64]) -> Result<Self> {
        if n.len() != c.len() || n.len() != problems.len() {
            let (n, c, p) = (n.len(), c.len(), problems.len());
            return Err(Error::Array(format!("n, c and problems have lengths {n}, {c} and {p}: they must be equal")));
        }
        let mut pairs = Vec::with_capacity(n.len());
        for (i, ((&n, &c), &problems)) in n.iter().zip(c).zip(problems).enumerate() {
            let (n, c) = checked_pair(n, c, i)?;
            if problems < 1 {
                return Err(Error::Array(format!("problems[{i}] = {problems}: must be at least 1")));
            }
            pairs.push(Pair { n, c, problems: problems.unsigned_abs() });
        }
        let mut histogram = Self::default();
        histogram.absorb(pairs);
        Ok(histogram)
    }

    /// Adds the problems of another histogram: shards combine exactly, in any order.
    pub fn merge(&mut self, other: &Self) {
        self.absorb(other.pairs.clone());
    }

    fn absorb(&mut self, more: Vec<Pair>) {
        self.pairs.extend(more);
        self.pairs.sort_unstable();
        self.pairs.dedup_by(|next, kept| {
            let same = next.n == kept.n && next.c == kept.c;
            if same {
                kept.problems += next.problems;
            }
            same
        });
    }

    /// The distinct pairs, in rising order of (n, c).
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// How many problems there are.
    #[must_use]
    pub fn problems(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.problems).sum()
    }

    /// The smallest n: the largest k for which an average over all problems exists.
    #[must_use]
    pub fn fewest_samples(&self) -> u64 {
        self.pairs.first().map_or(0, |pair| pair.n)
    }

    /// The average over problems of a function of (n, c); the order of summation is fixed.
    ///
    /// # Errors
    /// The first of the function's errors.
    #[allow(clippy::cast_precision_loss)]
    pub fn mean(&self, value: impl Fn(u64, u64) -> Result<f64> + Sync) -> Result<f64> {
        let block = |pairs: &[Pair]| -> Result<f64> {
            let mut sum = Sum::default();
            for pair in pairs {
                sum.add(pair.problems as f64 * value(pair.n, pair.c)?);
            }
            Ok(sum.value())
        };
        let parts: Vec<Result<f64>> = self.pairs.par_chunks(BLOCK).map(block).collect();
        let mut sum = Sum::default();
        for part in parts {
            sum.add(part?);
        }
        Ok(sum.value() / self.problems() as f64)
    }

    /// The average of an estimate over the problems, for each k; NaN where it is undefined for one of them.
    ///
    /// # Errors
    /// As [`Estimator::value`].
    pub fn means(&self, estimator: Estimator, ks: &[u64]) -> Result<Vec<f64>> {
        if estimator == Estimator::PassAtK {
            return Ok(ks.iter().map(|&k| self.mean_pass_at_k(k)).collect());
        }
        ks.iter().map(|&k| self.mean(|n, c| estimator.value(n, c, k))).collect()
    }

    /// Mean pass@k over the problems; NaN where one of them has fewer than k samples.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_pass_at_k(&self, k: u64) -> f64 {
        const LANES: usize = 64;
        if k > self.fewest_samples() {
            return f64::NAN;
        }
        let block = |pairs: &[Pair]| {
            let (mut c, mut values) = ([0.0; LANES], [0.0; LANES]);
            let mut sum = Sum::default();
            for pairs in pairs.chunk_by(|a, b| a.n == b.n).flat_map(|same| same.chunks(LANES)) {
                for (c, pair) in c.iter_mut().zip(pairs) {
                    *c = pair.c as f64;
                }
                estimate::passes_at_k(pairs[0].n, &c[..pairs.len()], k, &mut values[..pairs.len()]);
                for (value, pair) in values.iter().zip(pairs) {
                    sum.add(pair.problems as f64 * value);
                }
            }
            sum.value()
        };
        let mut sum = Sum::default();
        if self.pairs.len() <= 4 * BLOCK {
            for part in self.pairs.chunks(BLOCK).map(block) {
                sum.add(part);
            }
        } else {
            let parts: Vec<f64> = self.pairs.par_chunks(BLOCK).map(block).collect();
            for part in parts {
                sum.add(part);
            }
        }
        sum.value() / self.problems() as f64
    }
}

/// An estimate for each problem and each k: row by row, `ks.len()` numbers per problem. `n` has one entry for all
/// problems, or as many as `c`.
///
/// # Errors
/// As [`Histogram::from_counts`] and [`Estimator::value`].
///
/// # Panics
/// When `out` does not hold `c.len() * ks.len()` numbers.
pub fn table(estimator: Estimator, n: &[i64], c: &[i64], ks: &[u64], out: &mut [f64]) -> Result<()> {
    check_lengths(n, c)?;
    assert_eq!(out.len(), c.len() * ks.len(), "one number per problem and k");
    if ks.is_empty() {
        return Ok(());
    }
    let row = |n: u64, c: u64, out: &mut [f64]| -> Result<()> {
        for (out, &k) in out.iter_mut().zip(ks) {
            *out = estimator.value(n, c, k)?;
        }
        Ok(())
    };
    let at = |i: usize| checked_pair(if n.len() == 1 { n[0] } else { n[i] }, c[i], i);
    // Where counts repeat often, each distinct pair is worked out once.
    if c.len() >= 1024 {
        let histogram = Histogram::from_counts(n, c)?;
        let pairs = histogram.pairs();
        if 2 * pairs.len() <= c.len() {
            let mut rows = vec![0.0; pairs.len() * ks.len()];
            let work = rows.par_chunks_mut(ks.len()).with_min_len(64).zip(pairs);
            work.try_for_each(|(out, pair)| row(pair.n, pair.c, out))?;
            if pairs[0].n == pairs[pairs.len() - 1].n && pairs[0].n <= DENSE {
                gather(pairs, &rows, c, out);
                return Ok(());
            }
            return out.par_chunks_mut(ks.len()).with_min_len(4096).enumerate().try_for_each(|(i, out)| {
                let pair = at(i)?;
                let place = pairs.binary_search_by_key(&pair, |pair| (pair.n, pair.c)).expect("every pair was counted");
                out.copy_from_slice(&rows[place * ks.len()..][..ks.len()]);
                Ok(())
            });
        }
    }
    let work = out.par_chunks_mut(ks.len()).with_min_len(1024_usize.div_ceil(ks.len())).enumerate();
    work.try_for_each(|(i, out)| {
        let (n, c) = at(i)?;
        row(n, c, out)
    })
}

/// Copies to each problem the row of its count, `rows` holding one row for each pair; all pairs have the same n, and every
/// entry of `c` has its pair.
#[allow(clippy::cast_possible_truncation)]
fn gather(pairs: &[Pair], rows: &[f64], c: &[i64], out: &mut [f64]) {
    /// Rows of a length that the compiler knows are copied without a call.
    #[allow(clippy::cast_possible_truncation)]
    fn by<const K: usize>(places: &[u32], rows: &[f64], c: &[i64], out: &mut [f64]) {
        let (rows, out) = (rows.as_chunks::<K>().0, out.as_chunks_mut::<K>().0);
        out.par_chunks_mut(GATHER).zip(c.par_chunks(GATHER)).for_each(|(out, c)| {
            for (out, &c) in out.iter_mut().zip(c) {
                *out = rows[places[c.unsigned_abs() as usize] as usize];
            }
        });
    }
    let mut places = vec![0_u32; pairs[pairs.len() - 1].c as usize + 1];
    for (place, pair) in (0..).zip(pairs) {
        places[pair.c as usize] = place;
    }
    match rows.len() / pairs.len() {
        1 => by::<1>(&places, rows, c, out),
        2 => by::<2>(&places, rows, c, out),
        3 => by::<3>(&places, rows, c, out),
        4 => by::<4>(&places, rows, c, out),
        width => out.par_chunks_mut(width).with_min_len(4096).zip(c).for_each(|(out, &c)| {
            let place = places[c.unsigned_abs() as usize] as usize;
            out.copy_from_slice(&rows[place * width..][..width]);
        }),
    }
}

/// Counts the values of `c` below `size`; `None` when there are others.
fn tally(size: usize, c: &[i64]) -> Option<Vec<u32>> {
    // Neighbours that are equal would wait for each other's increments: in a small table, where that is likely, four
    // copies take turns.
    let copies = if size <= 1024 { 4 } else { 1 };
    let mut tables = vec![0_u32; copies * size];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = |table: &mut [u32], c: i64| -> bool {
        // A negative number becomes a huge one.
        table.get_mut(c as u64 as usize).map(|count| *count += 1).is_some()
    };
    if copies == 1 {
        return c.iter().all(|&c| count(&mut tables, c)).then_some(tables);
    }
    let (low, high) = tables.split_at_mut(2 * size);
    let ((t0, t1), (t2, t3)) = (low.split_at_mut(size), high.split_at_mut(size));
    let (fours, rest) = c.as_chunks::<4>();
    let inside = |&[a, b, c, d]: &[i64; 4]| count(t0, a) & count(t1, b) & count(t2, c) & count(t3, d);
    if !fours.iter().all(inside) || !rest.iter().all(|&c| count(t0, c)) {
        return None;
    }
    for (((a, b), c), d) in t0.iter_mut().zip(t1.iter()).zip(t2.iter()).zip(t3.iter()) {
        *a += b + c + d;
    }
    tables.truncate(size);
    Some(tables)
}

/// Checks that `n` has one entry or as many as `c`, and that there is a problem.
///
/// # Errors
/// [`Error::Array`] otherwise.
pub fn check_lengths(n: &[i64], c: &[i64]) -> Result<()> {
    if c.is_empty() || n.is_empty() {
        return Err(Error::Array("n and c are empty: there must be at least one problem".to_owned()));
    }
    if n.len() != 1 && n.len() != c.len() {
        return Err(Error::Array(format!("n and c have lengths {} and {}: they must be equal", n.len(), c.len())));
    }
    Ok(())
}

fn check_samples(n: i64, i: usize) -> Result<u64> {
    match u64::try_from(n) {
        Ok(n) if (1..=MOST_SAMPLES).contains(&n) => Ok(n),
        _ => Err(Error::Array(format!("n[{i}] = {n}: a problem needs at least one sample, and at most 2^50"))),
    }
}

/// The counts of problem `i` as unsigned numbers.
///
/// # Errors
/// [`Error::Array`] unless 0 <= c <= n and 1 <= n <= 2^50.
pub fn checked_pair(n: i64, c: i64, i: usize) -> Result<(u64, u64)> {
    let n = check_samples(n, i)?;
    match u64::try_from(c) {
        Ok(c) if c <= n => Ok((n, c)),
        _ => Err(Error::Array(format!("c[{i}] = {c}: must lie between 0 and n[{i}] = {n}"))),
    }
}

/// A running sum that carries its rounding error along (Neumaier 1974).
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let sum = self.sum + x;
        self.lost += if self.sum.abs() >= x.abs() { (self.sum - sum) + x } else { (x - sum) + self.sum };
        self.sum = sum;
    }

    /// The sum.
    #[inline]
    #[must_use]
    pub fn value(&self) -> f64 {
        self.sum + self.lost
    }
}
