//! Rows of doubles by their keys, laid out for vectors.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};
use std::ops::Deref;

use super::prints::Hashed;

/// Doubles in the widest vector, and on a cache line.
pub const LANES: usize = 8;
/// Rows that are allocated together.
const BLOCK: usize = 256;

/// Doubles from the beginning of a cache line on, so that no vector of them lies on two lines.
#[derive(Debug)]
pub struct Aligned {
    flat: Vec<f64>,
    start: usize,
}

impl Aligned {
    pub fn with_capacity(capacity: usize) -> Self {
        let mut flat: Vec<f64> = Vec::with_capacity(capacity + LANES);
        let start = flat.as_ptr().align_offset(LANES * size_of::<f64>()).min(LANES);
        flat.resize(start, 0.0);
        Self { flat, start }
    }

    pub fn len(&self) -> usize {
        self.flat.len() - self.start
    }

    /// `more` zeros; the capacity is enough.
    pub fn grow(&mut self, more: usize) -> &mut [f64] {
        let end = self.flat.len();
        self.flat.resize(end + more, 0.0);
        &mut self.flat[end..]
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut other = Self::with_capacity(self.len());
        other.flat.extend_from_slice(&self.flat[self.start..]);
        other
    }
}

impl Deref for Aligned {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.flat[self.start..]
    }
}

/// Rows of one kind by their keys.
#[derive(Debug, Clone)]
pub struct Rows<K> {
    pub known: HashMap<K, u32, BuildHasherDefault<Hashed>>,
    /// [`BLOCK`] rows each, so that none moves when there are more.
    blocks: Vec<Aligned>,
    /// Doubles of a row.
    length: usize,
}

impl<K: Hash + Eq> Rows<K> {
    pub fn new(length: usize) -> Self {
        Self { known: HashMap::default(), blocks: Vec::new(), length }
    }

    #[inline(always)]
    pub fn row(&self, which: u32) -> &[f64] {
        let which = which as usize;
        &self.blocks[which / BLOCK][which % BLOCK * self.length..][..self.length]
    }

    /// A new row, of zeros.
    #[allow(clippy::cast_possible_truncation)]
    pub fn add(&mut self, key: K) -> (u32, &mut [f64]) {
        let which = self.known.len();
        self.known.insert(key, which as u32);
        if which.is_multiple_of(BLOCK) {
            self.blocks.push(Aligned::with_capacity(BLOCK * self.length));
        }
        (which as u32, self.blocks[which / BLOCK].grow(self.length))
    }

    /// Doubles of all rows.
    pub fn size(&self) -> usize {
        self.known.len() * self.length
    }

    pub fn clear(&mut self) {
        self.known.clear();
        self.blocks.clear();
    }
}
