//! Values of the tallies that were met first, for those that are the same but for the order of wrong answers.
//!
//! Of few samples there are few tallies: a million problems of 16 samples have 850. What was met first stays, as what is
//! frequent is met early; where tallies hardly repeat, a look costs little.

use super::prints::Sum;

/// Tallies kept: a power of two.
const SLOTS: usize = 1 << 12;

/// Tallies by a hash of them, one for each.
#[derive(Debug, Clone)]
pub struct Seen {
    width: usize,
    /// What each is known by, and its right samples; none are right where there is no tally. Empty until the first look.
    keys: Vec<[u64; 4]>,
    values: Vec<f64>,
    /// Slots that were taken since the last [`Seen::finish`], and the problems whose values will be theirs.
    taken: Vec<(u32, u32)>,
    /// Problems whose values a slot has or will have.
    again: Vec<(u32, u32)>,
}

impl Seen {
    /// For values of `width` each.
    pub fn new(width: usize) -> Self {
        Self { width, keys: Vec::new(), values: Vec::new(), taken: Vec::new(), again: Vec::new() }
    }

    /// Whether [`Seen::finish`] will write the values of a problem with right samples.
    #[allow(clippy::cast_possible_truncation)]
    pub fn again(&mut self, problem: usize, right: u64, sum: &Sum) -> bool {
        if self.keys.is_empty() {
            (self.keys, self.values) = (vec![[0; 4]; SLOTS], vec![0.0; SLOTS * self.width]);
        }
        let key = sum.with(right);
        // Multiplied, the upper bits depend on all (Knuth's multiplicative hashing).
        let mixed = key[0].wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key[1] ^ right.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let slot = (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as usize % SLOTS;
        let known = &mut self.keys[slot];
        let same = *known == key;
        if same {
            self.again.push((slot as u32, problem as u32));
        } else if known[3] == 0 {
            *known = key;
            self.taken.push((slot as u32, problem as u32));
        }
        same
    }

    /// Takes the values of new tallies from a table, and gives their values to those that are the same.
    pub fn finish(&mut self, table: &mut [f64]) {
        let width = self.width;
        let place = |i: u32| i as usize * width..(i as usize + 1) * width;
        for (slot, problem) in self.taken.drain(..) {
            self.values[place(slot)].copy_from_slice(&table[place(problem)]);
        }
        for (slot, problem) in self.again.drain(..) {
            table[place(problem)].copy_from_slice(&self.values[place(slot)]);
        }
    }
}
