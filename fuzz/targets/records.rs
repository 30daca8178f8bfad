//! Blocks of JSON Lines, counted by the core and by a plain reader. Where the core counts, both agree; where it declines, the
//! plain reader finds something unusual.

#![no_main]

use std::collections::HashMap;
use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use t2fast_core::passk::records::{Layout, Tally, Uncounted, tally};
use t2fast_core::passk::trials::Trials;

const KEYS: [&str; 4] = ["task_id", "sample", "text", "passed"];

/// An object's members in their order, doubles included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn name(value: &RawValue) -> Option<String> {
    serde_json::from_str::<String>(value.get())
        .ok()
        .or_else(|| serde_json::from_str::<i64>(value.get()).ok().map(|number| number.to_string()))
        .or_else(|| serde_json::from_str::<u64>(value.get()).ok().map(|number| number.to_string()))
}

fn verdict(value: &RawValue) -> Option<bool> {
    serde_json::from_str::<bool>(value.get()).ok().or_else(|| match serde_json::from_str::<f64>(value.get()).ok()? {
        0.0 => Some(false),
        1.0 => Some(true),
        _ => None,
    })
}

type Line = (String, Vec<String>, Option<String>, bool);

/// A line as one reads it at a glance; None for anything unusual.
fn line(line: &str, with: bool) -> Option<Line> {
    let Members(members) = serde_json::from_str(line).ok()?;
    if members.iter().map(|(key, _)| key.as_str()).ne(KEYS) {
        return None;
    }
    let text = if with { Some(name(members[2].1)?) } else { None };
    let parts = if with { vec![name(members[1].1)?] } else { Vec::new() };
    Some((name(members[0].1)?, parts, text, verdict(members[3].1)?))
}

fn plain(block: &str, with: bool) -> Result<Vec<Tally>, Uncounted> {
    // All lines are read before any is counted, so that what is unusual comes before what contradicts.
    let mut read = Vec::new();
    for (at, text) in block.split('\n').enumerate() {
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        if !text.is_empty() {
            read.push((at + 1, line(text, with).ok_or(Uncounted::Unusual)?));
        }
    }
    let mut total: Vec<Tally> = Vec::new();
    let mut seen: HashMap<(String, Vec<String>), (bool, Option<String>)> = HashMap::new();
    for (at, (name, parts, text, correct)) in read {
        if !total.iter().any(|row| row.0 == name) {
            total.push((name.clone(), 0, 0, 0));
        }
        let row = total.iter_mut().find(|row| row.0 == name).expect("pushed above");
        if with {
            if let Some(before) = seen.insert((name, parts), (correct, text.clone())) {
                if before != (correct, text) {
                    return Err(Uncounted::Conflict(at));
                }
                row.3 += 1;
                continue;
            }
        }
        row.1 += 1;
        row.2 += u64::from(correct);
    }
    Ok(total)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, block)) = data.split_first() else { return };
    let with = first & 1 == 1;
    let keys = KEYS.map(str::to_owned);
    let (identity, text): (&[usize], _) = if with { (&[1], Some(2)) } else { (&[], None) };
    let layout = Layout { keys: &keys, problem: 0, verdict: 3, identity, text, prefix: "m" };
    let expected = std::str::from_utf8(block).map_err(|_| Uncounted::Unusual).and_then(|block| plain(block, with));
    assert_eq!(tally(block, layout, &mut Trials::default()), expected);
});
