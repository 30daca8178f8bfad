//! What tells the votes of one problem from those of another, whatever the order of wrong answers.
//!
//! An answer's count becomes numbers that look drawn, and a set of answers is known by their sum: 128 bits, so that of a
//! million sets two share theirs with a chance of 1e-27.

use std::hash::Hasher;

use super::halves::{MOST_SAMPLES, SPLIT};
use crate::error::{Error, Result};

/// Bits that count the answers with one number of samples.
const BITS: usize = 64 / (SPLIT - 1);

/// By an answer's samples: how it counts among rare ones, its print if it is a common one, and the samples. The last
/// is for all above, with more samples than are allowed.
static ANSWERS: [[u64; 4]; MOST_SAMPLES + 2] = {
    let mut answers = [[0; 4]; MOST_SAMPLES + 2];
    let mut m = 1;
    while m <= MOST_SAMPLES {
        answers[m][3] = m as u64;
        if m < SPLIT {
            answers[m][0] = 1 << (BITS * (m - 1));
        } else {
            (answers[m][1], answers[m][2]) = print(m as u64);
        }
        m += 1;
    }
    answers[MOST_SAMPLES + 1][3] = 1 << 32;
    answers
};

/// A number that looks drawn, another for each word: the steps of splitmix64 (Steele, Lea and Flood 2014).
const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const fn print(word: u64) -> (u64, u64) {
    (mixed(word), mixed(!word))
}

/// The wrong answers of one problem, added up.
#[derive(Debug, Clone, Copy)]
pub struct Sum([u64; 4]);

impl Sum {
    /// `None` where there are more samples or answers than halves are made of.
    ///
    /// # Errors
    /// [`Error::Array`] for a count below 0.
    #[inline]
    pub fn of(wrong: &[i64]) -> Result<Option<Self>> {
        let mut sum = [0_u64; 4];
        for &m in wrong {
            // What is below 0 is very large without a sign.
            let answer =
                &ANSWERS[usize::try_from(m.cast_unsigned()).map_or(MOST_SAMPLES + 1, |m| m.min(MOST_SAMPLES + 1))];
            (0..4).for_each(|i| sum[i] = sum[i].wrapping_add(answer[i]));
        }
        if wrong.len() < 1 << BITS && sum[3] <= MOST_SAMPLES as u64 {
            return Ok(Some(Self(sum)));
        }
        wrong.iter().try_for_each(|&m| count(m).map(drop)).map(|()| None)
    }

    /// Wrong samples.
    #[allow(clippy::cast_possible_truncation)]
    pub fn samples(&self) -> usize {
        self.0[3] as usize
    }

    /// How many wrong answers have m samples, for m below [`SPLIT`].
    #[allow(clippy::cast_possible_truncation)]
    pub fn rare(&self) -> [usize; SPLIT] {
        let mut counts = [0; SPLIT];
        for (i, count) in counts[1..].iter_mut().enumerate() {
            *count = (self.0[0] >> (BITS * i)) as usize & ((1 << BITS) - 1);
        }
        counts
    }

    /// Samples that gave rare answers.
    pub fn rare_samples(&self) -> usize {
        self.rare().iter().enumerate().map(|(m, count)| m * count).sum()
    }

    /// Another number for each set of rare answers.
    pub fn rare_key(&self) -> u64 {
        self.0[0]
    }

    /// Another for each tally: the keys, and the right samples.
    pub fn with(&self, right: u64) -> [u64; 4] {
        [self.0[0], self.0[1], self.0[2], right]
    }

    /// The print of the common answers.
    pub fn common_key(&self) -> u128 {
        u128::from(self.0[1]) << 64 | u128::from(self.0[2])
    }
}

/// A count of samples.
///
/// # Errors
/// [`Error::Array`] below 0.
pub fn count(votes: i64) -> Result<u64> {
    u64::try_from(votes).map_err(|_| Error::Array(format!("votes = {votes}: must be counts of samples, 0 or more")))
}

/// The print of all votes of a problem, those for the right answer first.
pub fn whole(votes: &[u64]) -> u128 {
    let wide = |word: u64| {
        let (one, other) = print(word);
        u128::from(one) << 64 | u128::from(other)
    };
    let wrong = votes[1..].iter().filter(|&&m| m > 0).fold(0_u128, |sum, &m| sum.wrapping_add(wide(m)));
    // The right answer's votes are not one of the wrong ones'.
    wrong.wrapping_add(wide(votes[0] ^ (1 << 63)))
}

/// Hashes prints, which are hashes already, and single words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
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

    fn write_u64(&mut self, word: u64) {
        self.0 = mixed(word);
    }
}
