//! What the last messages to and from a partner used: algorithms, keys and certificates, each with how often.

use crate::web::facts::Fact;
use crate::web::format::safe_text;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use store::{ReceivedExchange, SentExchange};

/// Of the messages that it sent.
pub(super) fn received(exchanges: &[ReceivedExchange]) -> Vec<Fact> {
    let all: Vec<&Map<String, Value>> = exchanges.iter().map(|exchange| &exchange.metadata).collect();
    // Of files that came by another way, nothing is known.
    let all: Vec<_> = all.into_iter().filter(|metadata| metadata.contains_key("as2_message_id")).collect();
    lines(&[
        ("Cipher", tally(&all, "as2_cipher", "not encrypted")),
        ("Decrypted with our key", tally(&all, "as2_decrypted_with", "none")),
        ("Signature verified with", tally(&all, "as2_verified_with", "not signed")),
        ("Digest of the MIC", tally_by(&all, |metadata| digest(metadata, "as2_mic"), "none")),
    ])
}

/// Of the messages that it got, by their receipts.
pub(super) fn sent(exchanges: &[SentExchange]) -> Vec<Fact> {
    let all: Vec<&Map<String, Value>> = exchanges.iter().map(|exchange| &exchange.receipt_detail).collect();
    let all: Vec<_> = all.into_iter().filter(|detail| !detail.is_empty()).collect();
    lines(&[
        ("Signed with our key", tally(&all, "sent_signed_with", "not signed")),
        ("Encrypted for", tally(&all, "sent_encrypted_with", "not encrypted")),
        ("Receipt verified with", tally(&all, "signed_with", "not signed")),
        ("Digest of the MIC", tally_by(&all, |detail| digest(detail, "mic"), "no MIC")),
        ("Weak algorithms", tally_by(&all, |detail| word(detail, "legacy_used"), "")),
    ])
}

fn lines(tallies: &[(&str, String)]) -> Vec<Fact> {
    let shown = tallies.iter().filter(|(_, text)| !text.is_empty());
    shown.map(|(name, text)| Fact { long: false, mono: false, ..Fact::new(name, text.as_str()) }).collect()
}

fn word(detail: &Map<String, Value>, key: &str) -> Option<String> {
    detail.get(key)?.as_str().filter(|text| !text.is_empty()).map(safe_text)
}

/// The digest's name in a MIC: `…, sha256`.
fn digest(detail: &Map<String, Value>, key: &str) -> Option<String> {
    let mic = word(detail, key)?;
    mic.rsplit_once(',').map(|(_, name)| name.trim().to_owned())
}

fn tally(all: &[&Map<String, Value>], key: &str, none: &str) -> String {
    tally_by(all, |detail| word(detail, key), none)
}

/// The values with how often each occurs, the most frequent first; `none` stands for no value, and nothing if it is empty.
fn tally_by(
    all: &[&Map<String, Value>],
    value: impl Fn(&Map<String, Value>) -> Option<String>,
    none: &str,
) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for detail in all {
        let value = value(detail).unwrap_or_else(|| none.to_owned());
        if !value.is_empty() {
            *counts.entry(value).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    match counts.as_slice() {
        [] => String::new(),
        [(only, _)] => only.clone(),
        several => {
            several.iter().map(|(value, count)| format!("{value} ({count})")).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_counted_the_most_frequent_first() {
        let details = [
            json!({"as2_cipher": "aes256-cbc", "as2_mic": "Zm9v, sha256"}),
            json!({"as2_cipher": "aes256-cbc", "as2_mic": "Zm9v, sha-1"}),
            json!({"as2_mic": null}),
        ];
        let all: Vec<&Map<String, Value>> =
            details.iter().map(|detail| detail.as_object().unwrap()).collect();
        assert_eq!(tally(&all, "as2_cipher", "not encrypted"), "aes256-cbc (2), not encrypted (1)");
        assert_eq!(tally(&all[..2], "as2_cipher", "not encrypted"), "aes256-cbc");
        assert_eq!(
            tally_by(&all, |detail| digest(detail, "as2_mic"), "none"),
            "none (1), sha-1 (1), sha256 (1)"
        );
        assert_eq!(tally_by(&all, |detail| word(detail, "legacy_used"), ""), "");
    }
}
