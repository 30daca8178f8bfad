//! Which trials have been counted: equal identity and content is a copy, equal identity and other content a conflict.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::Hasher as _;

/// What a trial is to those seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Seen {
    /// Never seen.
    New = 0,
    /// Seen with the same verdict and text.
    Copy = 1,
    /// Seen with another verdict or text.
    Conflict = 2,
}

/// The hash of a trial's identity.
#[must_use]
pub fn identity(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

/// A trial's content: its verdict in the lowest bit, and above it the hash of its text, 0 where there is none.
#[must_use]
#[allow(clippy::cast_possible_truncation)]
pub fn content(verdict: bool, text: Option<&[u8]>) -> u32 {
    let hash = text.map_or(0, |text| (identity(text) as u32 | 2) & !1);
    hash | u32::from(verdict)
}

/// The trials counted so far, about twenty bytes each; hashes of identities decide, so that one in 10^7 logs of a million trials
/// takes two trials for one.
#[derive(Debug, Default, Clone)]
pub struct Trials {
    seen: HashMap<u64, u32, Identity>,
}

/// Identities are hashes already.
#[derive(Debug, Default, Clone)]
struct Identity;

#[derive(Debug, Default, Clone)]
struct Pass(u64);

impl std::hash::BuildHasher for Identity {
    type Hasher = Pass;

    fn build_hasher(&self) -> Pass {
        Pass(0)
    }
}

impl std::hash::Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Trials {
    /// Notes a trial. Texts are compared where both times there is one.
    pub fn add(&mut self, identity: u64, content: u32) -> Seen {
        match self.seen.entry(identity) {
            Entry::Vacant(place) => {
                place.insert(content);
                Seen::New
            }
            Entry::Occupied(mut place) => {
                let before = *place.get();
                if before == content {
                    Seen::Copy
                } else if (before ^ content) & 1 == 1 || (before > 1 && content > 1) {
                    Seen::Conflict
                } else {
                    // One of them has no text: keep the one that has.
                    place.insert(before.max(content));
                    Seen::Copy
                }
            }
        }
    }

    /// Whether a trial has been noted.
    #[must_use]
    pub fn contains(&self, identity: u64) -> bool {
        self.seen.contains_key(&identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_conflicts() {
        let mut trials = Trials::default();
        let name = identity(b"m\x1fa\x1f0");
        assert_eq!(trials.add(name, content(true, None)), Seen::New);
        assert_eq!(trials.add(name, content(true, None)), Seen::Copy);
        assert_eq!(trials.add(name, content(true, Some(b"x"))), Seen::Copy);
        assert_eq!(trials.add(name, content(true, None)), Seen::Copy);
        assert_eq!(trials.add(name, content(true, Some(b"y"))), Seen::Conflict);
        assert_eq!(trials.add(name, content(false, None)), Seen::Conflict);
        assert_eq!(trials.add(identity(b"m\x1fa\x1f1"), content(false, None)), Seen::New);
        assert!(trials.contains(name) && !trials.contains(identity(b"")));
    }
}
