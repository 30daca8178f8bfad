//! maj@k of many problems from counted votes, by the shortest way for each k and number of samples.
//!
//! One sample or all of them need no choices to be counted. For k up to 32 of at most 100 samples both [`halves`](super::halves)
//! of a tally are looked up, for larger k each tally that differs is worked out by [`ballots`](super::ballots); where that
//! is too much work, votes are drawn. A value depends on the tally, the list of k and the settings alone.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::ballots::Ballots;
use super::halves::{Halves, MOST_K, MOST_SAMPLES};
use super::prints::{self, Hashed};
use super::seen::Seen;
use super::vote::{self, Ties};
use crate::error::{Error, Result};
use crate::random::Philox;
use crate::threads::Progress;

/// Bytes that halves may take on all threads together, but for some on each.
const ROOM: usize = 1 << 27;
const LEAST_ROOM: usize = 1 << 24;
/// Problems handed out together, at most.
const PART: usize = 1 << 14;
/// Problems after which it is asked whether looking for equal ones is worth it.
const LOOKED_AT: usize = 2048;

/// Votes of many problems.
#[derive(Debug, Clone, Copy)]
pub struct Tallies<'a> {
    /// Samples of each problem that are right.
    pub right: &'a [i64],
    /// Samples of each wrong answer, problem after problem.
    pub wrong: &'a [i64],
    /// Where each problem begins in `wrong`, and where the last one ends.
    pub starts: &'a [i64],
}

impl<'a> Tallies<'a> {
    fn wrong(&self, problem: usize) -> Result<&'a [i64]> {
        let place = |start: i64| usize::try_from(start).ok();
        place(self.starts[problem])
            .zip(place(self.starts[problem + 1]))
            .and_then(|(start, end)| self.wrong.get(start..end))
            .ok_or_else(|| Error::Array("starts must rise from 0 to the number of wrong answers".to_owned()))
    }
}

/// How votes are counted.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Samples per vote.
    pub ks: &'a [u64],
    /// What a tie counts.
    pub ties: Ties,
    /// Multiplications per problem and k beyond which votes are drawn.
    pub exact: f64,
    /// How many are drawn.
    pub draws: u32,
    /// Of the draws.
    pub seed: u64,
}

/// maj@k and its Monte-Carlo standard error (0 where exact), problem after problem.
///
/// # Errors
/// [`Error::Array`] for counts below 0, starts outside the array and lengths that differ.
pub fn majority(tallies: Tallies<'_>, settings: Settings<'_>, progress: &Progress) -> Result<(Vec<f64>, Vec<f64>)> {
    let (problems, width) = (tallies.right.len(), settings.ks.len());
    if tallies.starts.len() != problems + 1 {
        let starts = tallies.starts.len();
        return Err(Error::Array(format!("starts has length {starts}: must be one more than problems ({problems})")));
    }
    let (mut values, mut errors) = (vec![0.0; problems * width], vec![0.0; problems * width]);
    if width == 0 {
        return Ok((values, errors));
    }
    let threads = rayon::current_num_threads().max(1);
    let fresh = Worker::new(tallies, settings, (ROOM / threads).max(LEAST_ROOM))?;
    let idle: Mutex<Vec<Worker<'_>>> = Mutex::new(Vec::new());
    let part = problems.div_ceil(4 * threads).clamp(1, PART);
    let parts = values.par_chunks_mut(width * part).zip(errors.par_chunks_mut(width * part)).enumerate();
    parts.try_for_each(|(i, (values, errors))| {
        let own = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = own.unwrap_or_else(|| fresh.clone());
        worker.work(i * part, values, errors)?;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        progress.advance((values.len() / width) as u64)
    })?;
    Ok((values, errors))
}

/// What one thread knows.
#[derive(Debug, Clone)]
struct Worker<'a> {
    tallies: Tallies<'a>,
    settings: Settings<'a>,
    /// By column: wrong answers up to which no problem needs draws.
    few: Vec<usize>,
    /// The least of them, and the largest k, where no k goes by ballots.
    few_for_all: usize,
    most: u64,
    /// Columns whose k go by halves.
    by_halves: Vec<usize>,
    /// Columns of a single sample.
    single: Vec<usize>,
    halves: Halves,
    seen: Seen,
    /// By column, where any were needed.
    ballots: Vec<Option<Ballots>>,
    /// Of any problem, as far as known.
    most_samples: u64,
    /// Where the values of votes stand in `done`.
    known: HashMap<u128, usize, BuildHasherDefault<Hashed>>,
    /// Values by column, NaN until worked out; the first are of votes that are not kept.
    done: Vec<f64>,
    looked_at: usize,
    votes: Vec<u64>,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
impl<'a> Worker<'a> {
    fn new(tallies: Tallies<'a>, settings: Settings<'a>, room: usize) -> Result<Self> {
        let (mut by_halves, mut single, mut large) = (Vec::new(), Vec::new(), false);
        for (column, &k) in settings.ks.iter().enumerate() {
            match k {
                0 | 1 => single.push(column),
                _ if k <= MOST_K as u64 => by_halves.push(column),
                _ => large = true,
            }
        }
        let mut most_samples = 0;
        for problem in 0..if large { tallies.right.len() } else { 0 } {
            let wrong: u64 = tallies.wrong(problem)?.iter().map(|m| m.unsigned_abs()).sum();
            most_samples = most_samples.max(wrong + tallies.right[problem].unsigned_abs());
        }
        let ks: Vec<usize> = by_halves.iter().map(|&column| settings.ks[column] as usize).collect();
        let few = settings.ks.iter().map(|&k| {
            let enough = |answers: usize| {
                vote::most_majority_work(answers + 1, usize::try_from(k).unwrap_or(usize::MAX)) <= settings.exact
            };
            let (mut few, mut many) = (0, 1 << 20);
            while many - few > 1 {
                let middle = usize::midpoint(few, many);
                *if enough(middle) { &mut few } else { &mut many } = middle;
            }
            few
        });
        let few: Vec<usize> = few.collect();
        // More samples than there can be: no problem goes without a look at each k.
        let (mut few_for_all, mut most_k) = (0, u64::MAX);
        if !large {
            few_for_all = few.iter().copied().min().unwrap_or(0);
            most_k = settings.ks.iter().copied().max().unwrap_or(0);
        }
        Ok(Self {
            tallies,
            settings,
            few,
            few_for_all,
            most: most_k,
            by_halves,
            single,
            halves: Halves::new(&ks, settings.ties, room),
            seen: Seen::new(settings.ks.len()),
            ballots: vec![None; settings.ks.len()],
            most_samples: if large { most_samples } else { u64::MAX },
            known: HashMap::default(),
            done: vec![f64::NAN; settings.ks.len()],
            looked_at: 0,
            votes: Vec::new(),
        })
    }

    /// The values and errors of the problems from `first` on.
    fn work(&mut self, first: usize, values: &mut [f64], errors: &mut [f64]) -> Result<()> {
        let width = self.settings.ks.len();
        for place in 0..values.len() / width {
            let wrong = self.tallies.wrong(first + place)?;
            let right = prints::count(self.tallies.right[first + place])?;
            match prints::Sum::of(wrong)? {
                // The usual case, without a look at each k.
                Some(sum) if right > 0 && sum.samples() > 0 && self.usual(right, wrong, &sum) => {
                    let n = right as usize + sum.samples();
                    for &column in &self.single {
                        values[place * width + column] = right as f64 / n as f64;
                    }
                    if !self.by_halves.is_empty() && !self.seen.again(place, right, &sum) {
                        self.halves.add(place, n, right as usize, wrong, &sum);
                    }
                }
                sum => {
                    let row = place * width..(place + 1) * width;
                    self.problem(first, place, (right, wrong, sum), &mut values[row.clone()], &mut errors[row])?;
                }
            }
            if self.halves.full() {
                self.finish(values);
            }
        }
        self.finish(values);
        Ok(())
    }

    fn finish(&mut self, values: &mut [f64]) {
        self.halves.finish(values, self.settings.ks.len(), &self.by_halves);
        self.seen.finish(values);
    }

    fn usual(&self, right: u64, wrong: &[i64], sum: &prints::Sum) -> bool {
        let n = right.saturating_add(sum.samples() as u64);
        wrong.len() <= self.few_for_all && n > self.most && n <= MOST_SAMPLES as u64
    }

    /// The values of one problem but for those that come by halves.
    fn problem(
        &mut self,
        first: usize,
        place: usize,
        (right, wrong, sum): (u64, &[i64], Option<prints::Sum>),
        values: &mut [f64],
        errors: &mut [f64],
    ) -> Result<()> {
        let n = right
            + sum.as_ref().map_or_else(|| wrong.iter().map(|&m| m.cast_unsigned()).sum(), |sum| sum.samples() as u64);
        let small = n <= MOST_SAMPLES as u64;
        let (mut halves, mut known) = (false, None);
        for column in 0..values.len() {
            let k = self.settings.ks[column];
            let value = if k > n {
                f64::NAN
            } else if right == 0 {
                0.0
            } else if !self.exactly(right, wrong, column) {
                let problem = (first + place) as u64;
                (values[column], errors[column]) = self.drawn(problem, right, wrong, k)?;
                continue;
            } else if right == n {
                1.0
            } else {
                match k {
                    0 | 1 => right as f64 / n as f64,
                    _ if k == n => self.all(right, wrong),
                    _ if k <= MOST_K as u64 && small && sum.is_some() => {
                        halves = true;
                        continue;
                    }
                    _ => {
                        let row = match known {
                            Some(row) => row,
                            None => *known.insert(self.look_up(right, wrong)),
                        };
                        if self.done[row + column].is_nan() {
                            self.collect(right, wrong);
                            let (k, ties, most) = (k as usize, self.settings.ties, self.most_samples);
                            let ballots = self.ballots[column].get_or_insert_with(|| Ballots::new(most, k, ties));
                            self.done[row + column] = ballots.majority(&self.votes, Some(0));
                        }
                        self.done[row + column]
                    }
                }
            };
            // Sums of many terms end a rounding beyond 1.
            values[column] = if value > 1.0 { 1.0 } else { value };
        }
        if let (true, Some(sum)) = (halves, sum) {
            self.halves.add(place, n as usize, right as usize, wrong, &sum);
        }
        Ok(())
    }

    /// Whether a problem needs no draws.
    fn exactly(&mut self, right: u64, wrong: &[i64], column: usize) -> bool {
        wrong.len() <= self.few[column] || {
            let k = usize::try_from(self.settings.ks[column]).unwrap_or(usize::MAX);
            self.collect(right, wrong);
            vote::majority_work(&self.votes, Some(0), k) <= self.settings.exact
        }
    }

    fn drawn(&mut self, problem: u64, right: u64, wrong: &[i64], k: u64) -> Result<(f64, f64)> {
        // One stream per problem and k.
        let mut random = Philox::new(self.settings.seed, problem << 32 | k & 0xffff_ffff);
        self.collect(right, wrong);
        let (ties, draws) = (self.settings.ties, self.settings.draws);
        vote::majority_sampled(&self.votes, Some(0), k as usize, ties, draws, &mut random)
    }

    /// The vote of all samples.
    fn all(&self, right: u64, wrong: &[i64]) -> f64 {
        let most = wrong.iter().max().map_or(0, |&m| m.cast_unsigned());
        if most > right {
            return 0.0;
        }
        self.settings.ties.share(wrong.iter().filter(|&&m| m.cast_unsigned() == right).count())
    }

    /// All votes of a problem, those for the right answer first.
    fn collect(&mut self, right: u64, wrong: &[i64]) {
        self.votes.clear();
        self.votes.push(right);
        self.votes.extend(wrong.iter().filter(|&&m| m > 0).map(|&m| m.cast_unsigned()));
    }

    /// Where the values of these votes stand or will.
    fn look_up(&mut self, right: u64, wrong: &[i64]) -> usize {
        self.collect(right, wrong);
        // Where hardly two are alike, looking for them takes longer than the votes do.
        let alike = self.known.len() * 2 <= self.looked_at;
        if self.looked_at >= LOOKED_AT && self.known.len() > LOOKED_AT / 2 && !alike {
            self.done[..self.ballots.len()].fill(f64::NAN);
            return 0;
        }
        self.looked_at += 1;
        let row = self.done.len();
        let place = *self.known.entry(prints::whole(&self.votes)).or_insert(row);
        if place == row {
            self.done.resize(row + self.ballots.len(), f64::NAN);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::threads::on_threads;

    fn votes(random: &mut Philox, problems: usize) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
        let (mut right, mut wrong, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for _ in 0..problems {
            let most = [2, 3, 6, 12, 60, 300][usize::try_from(random.below(6)).unwrap()];
            let answers = random.below(if most > 100 { 3 } else { 20 });
            wrong.extend((0..answers).map(|_| i64::try_from(random.below(most)).unwrap()));
            right.push(i64::try_from(random.below(most) + u64::from(answers == 0)).unwrap());
            starts.push(i64::try_from(wrong.len()).unwrap());
        }
        (right, wrong, starts)
    }

    fn found(tallies: Tallies<'_>, ks: &[u64], ties: Ties) -> Vec<f64> {
        let settings = Settings { ks, ties, exact: f64::INFINITY, draws: 2, seed: 0 };
        let (values, errors) = majority(tallies, settings, &Progress::default()).unwrap();
        assert!(errors.iter().all(|&error| error == 0.0));
        values
    }

    fn all_votes(tallies: Tallies<'_>, problem: usize) -> Vec<u64> {
        let wrong = tallies.wrong(problem).unwrap().iter().map(|m| m.unsigned_abs());
        std::iter::once(tallies.right[problem].unsigned_abs()).chain(wrong).collect()
    }

    #[test]
    fn every_way_agrees_with_single_problems() {
        let (right, wrong, starts) = votes(&mut Philox::new(7, 0), 400);
        let tallies = Tallies { right: &right, wrong: &wrong, starts: &starts };
        for ties in [Ties::Random, Ties::Fail, Ties::Win] {
            for ks in [&[1, 2, 3, 4, 5, 7, 9, 12, 16, 24, 31, 32, 33, 64][..], &[2], &[3], &[8], &[9], &[16], &[32]] {
                let values = found(tallies, ks, ties);
                for (problem, values) in values.chunks(ks.len()).enumerate() {
                    let votes = all_votes(tallies, problem);
                    for (&k, &value) in ks.iter().zip(values) {
                        let exact = vote::majority_exact(&votes, Some(0), usize::try_from(k).unwrap(), ties);
                        assert!(
                            (value - exact).abs() <= 1e-12 * exact || value.is_nan() && exact.is_nan(),
                            "{votes:?} {k} {ties:?}: {value} {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn values_do_not_depend_on_company_or_threads() {
        let (right, wrong, starts) = votes(&mut Philox::new(8, 0), 3000);
        let tallies = Tallies { right: &right, wrong: &wrong, starts: &starts };
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let ks = [1, 3, 8, 20, 40];
        let all = bits(found(tallies, &ks, Ties::Random));
        let threads = NonZeroUsize::new(3);
        assert_eq!(on_threads(threads, || bits(found(tallies, &ks, Ties::Random))).unwrap(), all);
        for problem in (0..3000).step_by(97) {
            let one = Tallies {
                right: &right[problem..=problem],
                wrong: tallies.wrong(problem).unwrap(),
                starts: &[0, starts[problem + 1] - starts[problem]],
            };
            assert_eq!(bits(found(one, &ks, Ties::Random)), all[problem * 5..problem * 5 + 5]);
        }
        // Nor on how many halves are kept.
        let settings = Settings { ks: &ks, ties: Ties::Random, exact: f64::INFINITY, draws: 2, seed: 0 };
        let mut worker = Worker::new(tallies, settings, 1).unwrap();
        let (mut values, mut errors) = (vec![0.0; 3000 * 5], vec![0.0; 3000 * 5]);
        worker.work(0, &mut values, &mut errors).unwrap();
        assert_eq!(bits(values), all);
    }

    #[test]
    fn large_tallies_and_many_answers_go_one_by_one() {
        let wrong: Vec<i64> = std::iter::repeat_n(1, 70_000).chain([600, 0, 0]).collect();
        let tallies = Tallies { right: &[500, 3], wrong: &wrong, starts: &[0, 70_001, 70_003] };
        let values = found(tallies, &[3, 8], Ties::Random);
        for (i, k) in [3, 8].into_iter().enumerate() {
            let exact = vote::majority_exact(&all_votes(tallies, 0), Some(0), k, Ties::Random);
            assert!((values[i] - exact).abs() <= 1e-12 * exact);
        }
        assert!(values[2].to_bits() == 1.0_f64.to_bits() && values[3].is_nan());
    }

    #[test]
    fn impossible_tallies_are_refused() {
        let settings = Settings { ks: &[1, 3, 40], ties: Ties::Random, exact: 1e9, draws: 2, seed: 0 };
        let refused = |right: &[i64], wrong: &[i64], starts: &[i64]| {
            let error = majority(Tallies { right, wrong, starts }, settings, &Progress::default()).unwrap_err();
            error.to_string()
        };
        assert!(refused(&[-1], &[2], &[0, 1]).contains("votes = -1"));
        assert!(refused(&[1], &[2, -3], &[0, 2]).contains("votes = -3"));
        assert!(refused(&[1], &[700, -3], &[0, 2]).contains("votes = -3"));
        assert!(refused(&[1, 1], &[2], &[0, 1]).contains("starts has length 2"));
        assert!(refused(&[1], &[2], &[0, 2]).contains("starts must rise"));
        assert!(refused(&[1, 1], &[2], &[0, 1, 0]).contains("starts must rise"));
    }
}
