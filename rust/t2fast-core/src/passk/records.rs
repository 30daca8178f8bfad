//! Verdicts from JSON Lines, many lines at once: the plain case of readers, at the speed of the disk.

use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};

/// Bytes per task.
const CHUNK: usize = 1 << 19;

/// Trials of one problem: its name, how many, and how many of them correct.
pub type Tally = (String, u64, u64);

/// Counts trials in a block of whole lines, problems in order of first appearance. Every line must be an object with
/// exactly these keys in this order; the one at place `problem` names the problem (text or a whole number), the one at
/// `verdict` is true, false, 1 or 0.
///
/// `None` when any line is anything else, so that the caller can go through the block line by line and say what is wrong.
#[must_use]
pub fn tally(block: &[u8], keys: &[String], problem: usize, verdict: usize) -> Option<Vec<Tally>> {
    let block = std::str::from_utf8(block).ok()?;
    let record = Record { keys, problem, verdict };
    let mut chunks = Vec::new();
    let mut rest = block;
    while rest.len() > CHUNK {
        let cut =
            rest.as_bytes()[CHUNK..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| CHUNK + at + 1);
        let (chunk, after) = rest.split_at(cut);
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    let parts: Vec<Vec<Tally>> =
        chunks.into_par_iter().map(|chunk| tally_chunk(chunk, record)).collect::<Option<_>>()?;
    let mut places = HashMap::new();
    let mut total: Vec<Tally> = Vec::new();
    for (name, n, c) in parts.into_iter().flatten() {
        let place = *places.entry(name.clone()).or_insert(total.len());
        if place == total.len() {
            total.push((name, n, c));
        } else {
            total[place].1 += n;
            total[place].2 += c;
        }
    }
    Some(total)
}

fn tally_chunk(chunk: &str, record: Record<'_>) -> Option<Vec<Tally>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut counts: Vec<Tally> = Vec::new();
    for line in chunk.split('\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_str(line);
        let (name, correct) = json.deserialize_map(record).ok()?;
        json.end().ok()?;
        let place = if let Some(&place) = places.get(&name) {
            place
        } else {
            places.insert(name.clone(), counts.len());
            counts.push((name, 0, 0));
            counts.len() - 1
        };
        counts[place].1 += 1;
        counts[place].2 += u64::from(correct);
    }
    Some(counts)
}

/// An object with known keys.
#[derive(Clone, Copy)]
struct Record<'a> {
    keys: &'a [String],
    problem: usize,
    verdict: usize,
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = (String, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys of the first line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut correct) = (None, None);
        for (place, key) in self.keys.iter().enumerate() {
            match map.next_key_seed(Key(key))? {
                Some(true) if place == self.problem => name = Some(map.next_value_seed(Name)?),
                Some(true) if place == self.verdict => correct = Some(map.next_value_seed(Verdict)?),
                Some(true) => drop(map.next_value::<IgnoredAny>()?),
                _ => return Err(A::Error::custom("other keys")),
            }
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("more keys"));
        }
        name.zip(correct).ok_or_else(|| A::Error::custom("no problem or verdict"))
    }
}

/// Whether a key is the one expected.
struct Key<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// A problem's name: text, or a whole number as its digits.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_str<E>(self, name: &str) -> Result<String, E> {
        Ok(name.to_owned())
    }

    fn visit_u64<E>(self, name: u64) -> Result<String, E> {
        Ok(name.to_string())
    }

    fn visit_i64<E>(self, name: i64) -> Result<String, E> {
        Ok(name.to_string())
    }
}

/// True, false, 1 or 0.
struct Verdict;

impl<'de> DeserializeSeed<'de> for Verdict {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Verdict {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, 1 or 0")
    }

    fn visit_bool<E>(self, verdict: bool) -> Result<bool, E> {
        Ok(verdict)
    }

    fn visit_u64<E: serde::de::Error>(self, verdict: u64) -> Result<bool, E> {
        if verdict <= 1 { Ok(verdict == 1) } else { Err(E::custom("neither 0 nor 1")) }
    }

    #[allow(clippy::float_cmp)]
    fn visit_f64<E: serde::de::Error>(self, verdict: f64) -> Result<bool, E> {
        if verdict == 0.0 || verdict == 1.0 { Ok(verdict == 1.0) } else { Err(E::custom("neither 0 nor 1")) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn keys() -> Vec<String> {
        ["task_id", "text", "passed"].map(str::to_owned).to_vec()
    }

    #[test]
    fn counts_in_order_of_appearance_over_many_chunks() {
        let mut block = String::new();
        for i in 0..40_000 {
            let (id, passed) = ((i * 7) % 13, i % 3 == 0);
            writeln!(block, "{{\"task_id\": \"t/{id}\", \"text\": \"a\\nb {i}\", \"passed\": {passed}}}\r\n").unwrap();
        }
        assert!(block.len() > 3 * CHUNK);
        let got = tally(block.as_bytes(), &keys(), 0, 2).unwrap();
        assert_eq!(got.len(), 13);
        assert_eq!(got[1].0, "t/7");
        assert_eq!(got.iter().map(|row| row.1).sum::<u64>(), 40_000);
        assert_eq!(got.iter().map(|row| row.2).sum::<u64>(), 13_334);
    }

    #[test]
    fn numbers_serve_as_names_and_verdicts() {
        let block =
            b"{\"task_id\": 3, \"text\": [1, {}], \"passed\": 1}\n{\"task_id\": -3, \"text\": null, \"passed\": 0.0}";
        let got = tally(block, &keys(), 0, 2).unwrap();
        assert_eq!(got, [("3".to_owned(), 1, 1), ("-3".to_owned(), 1, 0)]);
    }

    #[test]
    fn anything_unusual_is_left_to_the_caller() {
        for line in [
            "{\"task_id\": \"a\", \"text\": 1, \"passed\": 0.5}",
            "{\"task_id\": \"a\", \"text\": 1, \"passed\": null}",
            "{\"task_id\": \"a\", \"text\": 1, \"passed\": true, \"model\": 1}",
            "{\"task_id\": \"a\", \"passed\": true, \"text\": 1}",
            "{\"task_id\": \"a\", \"text\": 1}",
            "{\"task_id\": 1.5, \"text\": 1, \"passed\": true}",
            "{\"task_id\": \"a\", \"text\": 1, \"passed\": true} x",
            "{\"task_id\": \"a\", \"text\": NaN, \"passed\": true}",
            "[1, 0]",
            "{\"task_id\": \"a",
        ] {
            assert_eq!(tally(line.as_bytes(), &keys(), 0, 2), None, "{line}");
        }
        assert_eq!(tally(b"{\"task_id\": \"\xff\", \"text\": 1, \"passed\": true}", &keys(), 0, 2), None);
    }
}
