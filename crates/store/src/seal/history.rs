//! Earlier seals that a node or a copy remembers, to find where a restored database diverged.

use model::Sha256;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Up to this distance from the last seal, every seal is remembered; up to twice this distance every second one, and
/// so on: a few dozen in total. The seal that is found is at most twice as far from the last one as the fork.
const NEAR: i64 = 4;

/// Seals of one chain, by number: the last one, and some earlier ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealHistory(BTreeMap<i64, Sha256>);

impl SealHistory {
    /// As [`SealHistory::json`] gave it; `None` when it is not of that form.
    #[must_use]
    pub fn read(noted: &Value) -> Option<Self> {
        let pairs = noted.as_array()?.iter();
        let read = pairs.map(|pair| Some((pair.get(0)?.as_i64()?, pair.get(1)?.as_str()?.parse().ok()?)));
        read.collect::<Option<_>>().map(Self)
    }

    /// Pairs of number and digest, in ascending order.
    #[must_use]
    pub fn json(&self) -> Value {
        self.0.iter().map(|(seal, digest)| json!([seal, digest.to_string()])).collect()
    }

    /// The number of the last one; 0 before the first.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.0.last_key_value().map_or(0, |(seal, _)| *seal)
    }

    /// The remembered seals, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (i64, Sha256)> {
        self.0.iter().rev().map(|(seal, digest)| (*seal, *digest))
    }

    /// The digest of a seal, if it is remembered.
    pub(crate) fn digest(&self, seal: i64) -> Option<Sha256> {
        self.0.get(&seal).copied()
    }

    /// Whether it contains exactly this seal.
    pub(crate) fn has(&self, seal: i64, digest: Sha256) -> bool {
        self.digest(seal) == Some(digest)
    }

    /// Forgets the seals after a number.
    pub(crate) fn cut_after(&mut self, seal: i64) {
        self.0.retain(|number, _| *number <= seal);
    }

    /// Forgets a seal.
    pub(crate) fn forget(&mut self, seal: i64) {
        self.0.remove(&seal);
    }

    /// Notes the next seal; noted seals from that number on are discarded.
    pub fn note(&mut self, seal: i64, digest: Sha256) {
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
        let mut history = SealHistory::default();
        assert_eq!(history.last(), 0);
        for seal in 1..=70_000 {
            history.note(seal, digest(seal));
        }
        assert!(history.0.len() < 64, "{}", history.0.len());
        for back in [0, 1, 2, 7, 30, 100, 5_000, 30_000] {
            let fork = 70_000 - back;
            let (found, _) = history.newest_first().find(|(seal, _)| *seal <= fork).unwrap();
            assert!(fork - found <= back, "{back}: {found}");
        }
        assert_eq!(SealHistory::read(&history.json()), Some(history.clone()));
        history.note(9, digest(1));
        assert_eq!(history.last(), 9);
        assert_eq!(history.newest_first().next(), Some((9, digest(1))));
        for unread in [json!(7), json!([[1, "x"]]), json!([[1]]), Value::Null] {
            assert_eq!(SealHistory::read(&unread), None, "{unread}");
        }
    }
}
