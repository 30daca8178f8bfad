//! Verdicts from JSON Lines, many lines at once: the plain case of readers, at the speed of the disk.

use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};

use super::trials::{self, Seen, Trials};

/// Bytes per task.
const CHUNK: usize = 1 << 19;

/// Trials of one problem: its name, how many, how many of them correct, and copies that were left out.
pub type Tally = (String, u64, u64, u64);

/// Where a record holds what.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The keys that every record has, in this order.
    pub keys: &'a [String],
    /// The place of the problem's name: text or a whole number.
    pub problem: usize,
    /// The place of the verdict: true, false, 1 or 0.
    pub verdict: usize,
    /// The places of what identifies a trial among those of its problem: text or whole numbers.
    pub identity: &'a [usize],
    /// The place of a text that tells trials apart, looked at where they have an identity.
    pub text: Option<usize>,
    /// What identities start with: model and benchmark.
    pub prefix: &'a str,
}

/// Why a block was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncounted {
    /// A line is something else than the layout says: go through the block line by line.
    Unusual,
    /// The trial of this problem and identity occurs twice, with different content, the second time in this line of the
    /// block.
    Conflict(usize),
}

/// One line's trial.
struct Trial {
    place: usize,
    verdict: bool,
    /// Identity, content and line, where trials have an identity.
    known: Option<(u64, u32, usize)>,
}

/// Counts trials in a block of whole lines, problems in order of first appearance.
///
/// # Errors
/// [`Uncounted`], with nothing counted in the first case.
pub fn tally(block: &[u8], layout: Layout<'_>, trials: &mut Trials) -> Result<Vec<Tally>, Uncounted> {
    let block = std::str::from_utf8(block).map_err(|_| Uncounted::Unusual)?;
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
    let parts: Vec<Chunk> =
        chunks.into_par_iter().map(|chunk| read(chunk, layout)).collect::<Option<_>>().ok_or(Uncounted::Unusual)?;
    let mut places = HashMap::new();
    let mut total: Vec<Tally> = Vec::new();
    let mut line = 0;
    for part in parts {
        let names: Vec<usize> = part
            .names
            .into_iter()
            .map(|name| {
                let place = *places.entry(name.clone()).or_insert(total.len());
                if place == total.len() {
                    total.push((name, 0, 0, 0));
                }
                place
            })
            .collect();
        for Trial { place, verdict, known } in part.trials {
            let row = &mut total[names[place]];
            match known.map(|(identity, content, at)| (trials.add(identity, content), at)) {
                Some((Seen::Conflict, at)) => return Err(Uncounted::Conflict(line + at)),
                Some((Seen::Copy, _)) => row.3 += 1,
                _ => {
                    row.1 += 1;
                    row.2 += u64::from(verdict);
                }
            }
        }
        for (place, n, c) in part.counted {
            total[names[place]].1 += n;
            total[names[place]].2 += c;
        }
        line += part.lines;
    }
    Ok(total)
}

/// What one task found: names of problems, and trials that point to them, counted at once where nothing identifies them.
#[derive(Default)]
struct Chunk {
    names: Vec<String>,
    trials: Vec<Trial>,
    counted: Vec<(usize, u64, u64)>,
    lines: usize,
}

fn read(chunk: &str, layout: Layout<'_>) -> Option<Chunk> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut found = Chunk::default();
    let mut identity = String::new();
    for line in chunk.split('\n') {
        found.lines += 1;
        let line = line.trim_start_matches('\u{feff}').trim_ascii();
        if line.is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_str(line);
        let Line { name, correct, parts, text } = json.deserialize_map(Record(layout)).ok()?;
        json.end().ok()?;
        let place = if let Some(&place) = places.get(&name) {
            place
        } else {
            places.insert(name.clone(), found.names.len());
            found.names.push(name.clone());
            found.counted.push((found.names.len() - 1, 0, 0));
            found.names.len() - 1
        };
        if layout.identity.is_empty() {
            found.counted[place].1 += 1;
            found.counted[place].2 += u64::from(correct);
            continue;
        }
        identity.clear();
        identity.push_str(layout.prefix);
        push_part(&mut identity, &name);
        for part in parts {
            identity.push('\u{1f}');
            push_part(&mut identity, &part);
        }
        let content = trials::content(correct, text.as_deref().map(str::as_bytes));
        found.trials.push(Trial {
            place,
            verdict: correct,
            known: Some((trials::identity(identity.as_bytes()), content, found.lines)),
        });
    }
    // What follows the last line's end is no line.
    found.lines -= usize::from(chunk.is_empty() || chunk.ends_with('\n'));
    Some(found)
}

/// Appends a part of an identity, so that other parts never make the same whole.
fn push_part(identity: &mut String, part: &str) {
    if part.bytes().any(|byte| matches!(byte, 0x1e | 0x1f)) {
        identity.push_str(&part.replace('\u{1e}', "\u{1e}0").replace('\u{1f}', "\u{1e}1"));
    } else {
        identity.push_str(part);
    }
}

/// An object of a known layout.
#[derive(Clone, Copy)]
struct Record<'a>(Layout<'a>);

/// What is read of a line.
struct Line {
    name: String,
    correct: bool,
    /// In the order of the layout's identity.
    parts: Vec<String>,
    text: Option<String>,
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys of the first line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Layout { keys, problem, verdict, identity, text, .. } = self.0;
        let (mut name, mut correct, mut words) = (None, None, None);
        let mut parts = vec![String::new(); identity.len()];
        for (place, key) in keys.iter().enumerate() {
            if map.next_key_seed(Key(key))? != Some(true) {
                return Err(A::Error::custom("other keys"));
            }
            if place == problem {
                name = Some(map.next_value_seed(Name)?);
            } else if place == verdict {
                correct = Some(map.next_value_seed(Verdict)?);
            } else if let Some(part) = identity.iter().position(|&one| one == place) {
                parts[part] = map.next_value_seed(Name)?;
            } else if text == Some(place) && !identity.is_empty() {
                words = Some(map.next_value_seed(Name)?);
            } else {
                let _ = map.next_value::<IgnoredAny>()?;
            }
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("more keys"));
        }
        let (name, correct) = name.zip(correct).ok_or_else(|| A::Error::custom("no problem or verdict"))?;
        Ok(Line { name, correct, parts, text: words })
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

    fn count(block: &[u8], identity: &[usize], trials: &mut Trials) -> Result<Vec<Tally>, Uncounted> {
        let keys = ["task_id", "text", "passed"].map(str::to_owned);
        tally(block, Layout { keys: &keys, problem: 0, verdict: 2, identity, text: None, prefix: "m\u{1f}" }, trials)
    }

    #[test]
    fn counts_in_order_of_appearance_over_many_chunks() {
        let mut block = String::new();
        for i in 0..40_000 {
            let (id, passed) = ((i * 7) % 13, i % 3 == 0);
            writeln!(block, "{{\"task_id\": \"t/{id}\", \"text\": \"a\\nb {i}\", \"passed\": {passed}}}\r\n").unwrap();
        }
        assert!(block.len() > 3 * CHUNK);
        let got = count(block.as_bytes(), &[], &mut Trials::default()).unwrap();
        assert_eq!(got.len(), 13);
        assert_eq!(got[1].0, "t/7");
        assert_eq!(got.iter().map(|row| row.1).sum::<u64>(), 40_000);
        assert_eq!(got.iter().map(|row| row.2).sum::<u64>(), 13_334);
    }

    #[test]
    fn numbers_serve_as_names_and_verdicts() {
        let block =
            b"{\"task_id\": 3, \"text\": [1, {}], \"passed\": 1}\n{\"task_id\": -3, \"text\": null, \"passed\": 0.0}";
        let got = count(block, &[], &mut Trials::default()).unwrap();
        assert_eq!(got, [("3".to_owned(), 1, 1, 0), ("-3".to_owned(), 1, 0, 0)]);
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
            assert_eq!(count(line.as_bytes(), &[], &mut Trials::default()), Err(Uncounted::Unusual), "{line}");
        }
        let latin = b"{\"task_id\": \"\xff\", \"text\": 1, \"passed\": true}";
        assert_eq!(count(latin, &[], &mut Trials::default()), Err(Uncounted::Unusual));
    }

    #[test]
    fn trials_with_an_identity_count_once() {
        let line = |id: &str, text: u32, passed: bool| {
            format!("{{\"task_id\": \"{id}\", \"text\": {text}, \"passed\": {passed}}}\n")
        };
        let mut trials = Trials::default();
        let block = [line("a", 0, true), line("a", 1, false), line("a", 0, true), line("b", 0, false)].concat();
        let got = count(block.as_bytes(), &[1], &mut trials).unwrap();
        assert_eq!(got, [("a".to_owned(), 2, 1, 1), ("b".to_owned(), 1, 0, 0)]);
        // In another block, in its second line.
        let block = [line("c", 0, true), line("a", 1, true)].concat();
        assert_eq!(count(block.as_bytes(), &[1], &mut trials), Err(Uncounted::Conflict(2)));
    }

    #[test]
    fn names_that_hold_the_separator_stay_apart() {
        let block = "{\"task_id\": \"a\\u001fb\", \"text\": \"c\", \"passed\": true}\n\
                     {\"task_id\": \"a\", \"text\": \"b\\u001fc\", \"passed\": true}\n\
                     {\"task_id\": \"a\", \"text\": \"b\\u001e1c\", \"passed\": false}\n";
        let got = count(block.as_bytes(), &[1], &mut Trials::default()).unwrap();
        assert_eq!(got, [("a\u{1f}b".to_owned(), 1, 1, 0), ("a".to_owned(), 2, 1, 0)]);
    }

    /// A line as one reads it at a glance; None for anything unusual.
    fn plain(line: &str) -> Option<(String, bool)> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let record = value.as_object()?;
        if record.len() != 3 || !record.contains_key("text") {
            return None;
        }
        let name = match &record["task_id"] {
            serde_json::Value::String(name) => name.clone(),
            serde_json::Value::Number(number) => number.as_i64()?.to_string(),
            _ => return None,
        };
        let correct = match &record["passed"] {
            serde_json::Value::Bool(passed) => *passed,
            number => match number.as_f64()? {
                0.0 => false,
                1.0 => true,
                _ => return None,
            },
        };
        Some((name, correct))
    }

    proptest::proptest! {
        /// Whatever the bytes: no panic, and what is counted is what a plain reader counts.
        #[test]
        fn counts_what_a_plain_reader_counts(
            lines in proptest::collection::vec(
                proptest::prop_oneof![
                    9 => "\\{\"task_id\": (\"[ab]\"|[0-9]), \"text\": (1|\"x\"|\\[\\]), \"passed\": (true|false|1|0|1\\.0)\\}[ \r]{0,2}",
                    1 => "\\{\"task_id\": (\"[ab]\"|null|1e3|\\{\\}), \"text\": (null|\\[|\"), \"passed\": (true|2|-0|\"1\"|null)\\}",
                    1 => "\\PC{0,12}",
                ],
                0..5,
            ),
            garbage in proptest::collection::vec(proptest::num::u8::ANY, 0..3),
        ) {
            let mut block = lines.join("\n").into_bytes();
            block.extend(garbage);
            let expected = std::str::from_utf8(&block).ok().and_then(|text| {
                text.split('\n')
                    .map(|line| line.trim_start_matches('\u{feff}').trim_ascii())
                    .filter(|line| !line.is_empty())
                    .map(plain)
                    .collect::<Option<Vec<_>>>()
            });
            let got = count(&block, &[], &mut Trials::default());
            let Some(expected) = expected else {
                proptest::prop_assert_eq!(got, Err(Uncounted::Unusual));
                return Ok(());
            };
            let got = got.unwrap();
            proptest::prop_assert_eq!(got.iter().map(|row| row.1).sum::<u64>(), expected.len() as u64);
            for (name, n, c, copies) in got {
                let own = expected.iter().filter(|one| one.0 == name);
                proptest::prop_assert_eq!(copies, 0);
                proptest::prop_assert_eq!(n, own.clone().count() as u64);
                proptest::prop_assert_eq!(c, own.filter(|one| one.1).count() as u64);
            }
        }
    }
}
