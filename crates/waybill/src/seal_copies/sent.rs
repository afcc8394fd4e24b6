//! How far a copy has come: which seals it has, as far as that must be known to go on, or to begin anew where a restored
//! database forked off.

use model::Sha256;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How far back every seal is remembered; twice as far every second, and so on: a few dozen in all, and never more
/// is sent again than twice what the fork gave up.
const NEAR: i64 = 4;

/// Seals that were sent, by number: the last one, and some of those before it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sent(BTreeMap<i64, Sha256>);

impl Sent {
    /// As it was noted; what cannot be read is as good as nothing.
    pub(super) fn of(noted: Option<&Value>) -> Self {
        let pairs = noted.and_then(Value::as_array).into_iter().flatten();
        let read = pairs.map(|pair| Some((pair.get(0)?.as_i64()?, pair.get(1)?.as_str()?.parse().ok()?)));
        Self(read.collect::<Option<_>>().unwrap_or_default())
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().map(|(seal, digest)| json!([seal, digest.to_string()])).collect()
    }

    /// The last one; 0 before the first.
    pub(super) fn last(&self) -> i64 {
        self.0.last_key_value().map_or(0, |(seal, _)| *seal)
    }

    /// What is remembered, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (i64, Sha256)> {
        self.0.iter().rev().map(|(seal, digest)| (*seal, *digest))
    }

    /// Notes the next one; what was noted from that number on was given up.
    pub(super) fn note(&mut self, seal: i64, digest: Sha256) {
        let _given_up = self.0.split_off(&seal);
        self.0.insert(seal, digest);
        // The lowest bit that is set says how round a number is.
        self.0.retain(|number, _| seal - number < (number & -number).saturating_mul(NEAR));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seal: i64) -> Sha256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seal.to_be_bytes());
        Sha256(bytes)
    }

    #[test]
    fn a_few_are_remembered_and_one_is_never_far() {
        let mut sent = Sent::default();
        assert_eq!(sent.last(), 0);
        for seal in 1..=70_000 {
            sent.note(seal, digest(seal));
        }
        assert!(sent.0.len() < 64, "{}", sent.0.len());
        for back in [0, 1, 2, 7, 30, 100, 5_000, 30_000] {
            let fork = 70_000 - back;
            let (found, _) = sent.newest_first().find(|(seal, _)| *seal <= fork).unwrap();
            assert!(fork - found <= back, "{back}: {found}");
        }
        assert_eq!(Sent::of(Some(&sent.json())), sent);
        sent.note(9, digest(1));
        assert_eq!(sent.last(), 9);
        assert_eq!(sent.newest_first().next(), Some((9, digest(1))));
        for unread in [json!(7), json!([[1, "x"]]), json!([[1]]), Value::Null] {
            assert_eq!(Sent::of(Some(&unread)), Sent::default(), "{unread}");
        }
    }
}
