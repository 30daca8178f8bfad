//! `t2fast_core::passk::vote`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArrayMethods as _, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;
use t2fast_core::passk::ballots::Ballots;
use t2fast_core::passk::vote::{self, Ties};
use t2fast_core::random::Philox;

use super::{Table, positive, unknown};
use crate::errors::Error;
use crate::work::{self, run};

/// The parts of a flat array between offsets.
fn ragged<'a, T>(flat: &'a [T], offsets: &[i64]) -> PyResult<Vec<&'a [T]>> {
    let part = |pair: &[i64]| {
        let range = usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?;
        flat.get(range)
    };
    let parts: Option<Vec<&[T]>> = offsets.windows(2).map(part).collect();
    parts.ok_or_else(|| Error::from(t2fast_core::Error::Array("offsets lie outside the array".to_owned())).into())
}

/// Hashes what is a hash already.
#[derive(Default)]
struct Own(u64);

type Owning = BuildHasherDefault<Own>;
/// Prints of votes, and the first problem that has them.
type Known = HashMap<u128, usize, Owning>;

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = mixed(self.0 ^ u64::from_le_bytes(word));
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }

    fn write_usize(&mut self, word: usize) {
        self.0 = mixed(word as u64);
    }
}

/// A number that looks drawn, another for each word: the steps of splitmix64 (Steele, Lea and Flood 2014).
const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const fn print(votes: u64) -> u128 {
    (mixed(votes) as u128) << 64 | mixed(!votes) as u128
}

/// Prints of few votes.
const PRINTS: [u128; 128] = {
    let mut prints = [0; 128];
    let mut votes = 0;
    while votes < 128 {
        prints[votes] = print(votes as u64);
        votes += 1;
    }
    prints
};

/// 128 bits that tell votes apart, whatever the order of wrong answers: sums of numbers that look drawn. Of a million kinds two
/// share theirs with a chance of 1e-27.
fn printed(votes: &[u64], right: Option<usize>) -> u128 {
    let of =
        |votes: u64| PRINTS.get(usize::try_from(votes).unwrap_or(usize::MAX)).copied().unwrap_or_else(|| print(votes));
    let own = right.map_or(0, |place| votes[place]);
    let all = votes.iter().filter(|&&votes| votes > 0).fold(0_u128, |sum, &votes| sum.wrapping_add(of(votes)));
    let wrong = if own > 0 { all.wrapping_sub(of(own)) } else { all };
    // The right answer's votes are not one of the wrong ones'.
    wrong.wrapping_add(print(own ^ (1 << 63)))
}

/// Problems after which it is asked whether looking for equal ones is worth it.
const LOOKED_AT: usize = 2048;

/// The problems whose votes are the same but for the order of wrong answers: for each problem the first of its kind.
fn kinds(problems: &[&[u64]], correct: &[i64]) -> Vec<usize> {
    let size = problems.len().div_ceil(rayon::current_num_threads().max(1)).max(1024);
    let parts: Vec<(Vec<usize>, Known)> = (0..problems.len().div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let (mut known, mut seen) = (Known::default(), 0);
            let first = (part * size..((part + 1) * size).min(problems.len()))
                .enumerate()
                .map(|(done, problem)| {
                    // Where hardly two are alike, looking for them takes longer than the votes do.
                    if done >= LOOKED_AT && known.len() > LOOKED_AT / 2 && known.len() * 2 > seen {
                        return problem;
                    }
                    seen = done + 1;
                    *known.entry(printed(problems[problem], usize::try_from(correct[problem]).ok())).or_insert(problem)
                })
                .collect();
            (first, known)
        })
        .collect();
    // One kind may have a first problem in each part.
    let mut known = Known::default();
    let mut first = Vec::with_capacity(problems.len());
    for (part, own) in parts {
        let mut renamed: HashMap<usize, usize, Owning> = HashMap::default();
        for (key, problem) in own {
            renamed.insert(problem, *known.entry(key).or_insert(problem));
        }
        if first.is_empty() {
            first = part;
            continue;
        }
        first.extend(part.into_iter().map(|problem| renamed.get(&problem).copied().unwrap_or(problem)));
    }
    first
}

/// Stands for the error of a value that is another problem's.
const COPIED: f64 = -1.0;

/// Problems handed out together.
const PART: usize = 256;

/// maj@k and its Monte-Carlo standard error (0 where exact), of shape (problems, ks). `votes` holds each problem's counts
/// of distinct answers between `offsets`, `correct` the place of the right one or -1; with `first`, `votes` holds those of the
/// wrong answers and `correct` the counts of the right one. Problems with the same votes are worked out once. Where the exact way takes more than `exact` multiplications, `draws` samples are drawn.
#[pyfunction]
#[pyo3(signature = (votes, offsets, correct, k, ties, exact, draws, seed, threads = None, report = None, first = false))]
#[allow(clippy::too_many_arguments, clippy::cast_precision_loss)]
pub fn majority<'py>(
    py: Python<'py>,
    votes: PyReadonlyArray1<'py, i64>,
    offsets: PyReadonlyArray1<'py, i64>,
    correct: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
    ties: &str,
    exact: f64,
    draws: u32,
    seed: u64,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'py, PyAny>>,
    first: bool,
) -> PyResult<(Table<'py>, Table<'py>)> {
    let ties = match ties {
        "random" => Ties::Random,
        "fail" => Ties::Fail,
        "win" => Ties::Win,
        _ => return Err(unknown("ties", ties).into()),
    };
    let ks = positive(&k)?;
    let (votes, offsets, correct) = (votes.as_slice()?, offsets.as_slice()?, correct.as_slice()?);
    if correct.len() + 1 != offsets.len().max(1) {
        return Err(Error::from(t2fast_core::Error::Array("correct and offsets differ in length".to_owned())).into());
    }
    let votes: Vec<u64> = if first {
        // Each problem's right answer before its wrong ones.
        let mut all = Vec::with_capacity(votes.len() + correct.len());
        for (wrong, right) in ragged(votes, offsets)?.into_iter().zip(correct) {
            all.push(right.unsigned_abs());
            all.extend(wrong.iter().map(|v| v.unsigned_abs()));
        }
        all
    } else {
        votes.iter().map(|v| v.unsigned_abs()).collect()
    };
    let (moved, zeros): (Vec<i64>, Vec<i64>);
    let (offsets, correct) = if first {
        moved = (0..).zip(offsets).map(|(place, offset)| offset + place).collect();
        zeros = vec![0; correct.len()];
        (&moved[..], &zeros[..])
    } else {
        (offsets, correct)
    };
    let problems = ragged(&votes, offsets)?;
    let size = |k: u64| usize::try_from(k).unwrap_or(usize::MAX);
    let right = |problem: usize| usize::try_from(correct[problem]).ok();
    let exactly = |problem: usize, k: u64| {
        let votes = problems[problem];
        vote::most_majority_work(votes.len(), size(k)) <= exact
            || k > votes.iter().sum()
            || vote::majority_work(votes, right(problem), size(k)) <= exact
    };
    let most = problems.iter().map(|votes| votes.iter().sum::<u64>()).max().unwrap_or(0);
    let ballots: Vec<Ballots> = ks.iter().map(|&k| Ballots::new(most, size(k), ties)).collect();
    let (values, errors) = run(py, threads, report, |progress| {
        let first = kinds(&problems, correct);
        let width = ks.len();
        let (mut values, mut errors) = (vec![0.0; problems.len() * width], vec![0.0; problems.len() * width]);
        if width == 0 {
            return Ok((values, errors));
        }
        // What is exact is worked out once for each kind; drawn votes are independent for each problem.
        values.par_chunks_mut(width * PART).zip(errors.par_chunks_mut(width * PART)).enumerate().try_for_each_init(
            || ballots.clone(),
            |ballots, (part, (values, errors))| {
                let rows = values.chunks_mut(width).zip(errors.chunks_mut(width));
                for (problem, (values, errors)) in (part * PART..).zip(rows) {
                    for (i, &k) in ks.iter().enumerate() {
                        (values[i], errors[i]) = if !exactly(problem, k) {
                            // One stream per problem and k.
                            let mut random = Philox::new(seed, (problem as u64) << 32 | k & 0xffff_ffff);
                            let (votes, right) = (problems[problem], right(problem));
                            vote::majority_sampled(votes, right, size(k), ties, draws, &mut random)?
                        } else if first[problem] == problem {
                            (ballots[i].majority(problems[problem], right(problem)), 0.0)
                        } else {
                            (0.0, COPIED)
                        };
                    }
                }
                progress.advance((values.len() / width) as u64)
            },
        )?;
        for problem in (0..problems.len()).filter(|&problem| first[problem] != problem) {
            for i in 0..width {
                let (to, from) = (problem * width + i, first[problem] * width + i);
                if errors[to] == COPIED {
                    (values[to], errors[to]) = (values[from], 0.0);
                }
            }
        }
        Ok((values, errors))
    })?;
    let table = |flat: Vec<f64>| PyArray1::from_vec(py, flat).reshape([problems.len(), ks.len()]);
    Ok((table(values)?, table(errors)?))
}

/// The expected value of the highest-scored of k, of shape (problems, ks).
#[pyfunction]
pub fn best_of_k<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray1<'py, f64>,
    values: PyReadonlyArray1<'py, f64>,
    offsets: PyReadonlyArray1<'py, i64>,
    k: PyReadonlyArray1<'py, i64>,
) -> PyResult<Table<'py>> {
    let (ks, offsets) = (positive(&k)?, offsets.as_slice()?);
    let problems: Vec<_> =
        ragged(scores.as_slice()?, offsets)?.into_iter().zip(ragged(values.as_slice()?, offsets)?).collect();
    let rows = work::detached(py, || {
        problems
            .par_iter()
            .with_min_len(16)
            .map(|(scores, values)| vote::best_of_k(scores, values, &ks))
            .collect::<t2fast_core::Result<Vec<_>>>()
    })?;
    let flat: Vec<f64> = rows.into_iter().flatten().collect();
    PyArray1::from_vec(py, flat).reshape([problems.len(), ks.len()])
}
