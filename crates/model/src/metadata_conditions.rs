//! What a flow asks of the metadata of what it receives: keys with masks.

use crate::{Mask, PeerText, metadata};
use serde_json::Value;
use std::collections::BTreeMap;

/// Masks by the keys of metadata. Each key must be there, and its value match; a list does where one of its values matches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MetadataConditions(BTreeMap<String, Mask>);

/// Characters of a value, and of the masks, that words about them hold.
const SHOWN: usize = 100;

impl MetadataConditions {
    /// The conditions of these keys, with masks of text ([`Mask::of_text`]).
    #[must_use]
    pub const fn new(masks: BTreeMap<String, Mask>) -> Self {
        Self(masks)
    }

    /// The keys that it asks for.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The first condition that metadata does not meet, in words for the operator: `as2_subject is "Hello", and must match
    /// "*urgent*"`. `None` if it meets all. `value` gives the value of a key.
    pub fn unmet<'a>(&self, value: impl Fn(&str) -> Option<&'a Value>) -> Option<String> {
        self.0.iter().find_map(|(key, mask)| {
            let texts = value(key).map(metadata::texts).unwrap_or_default();
            if texts.iter().any(|text| mask.matches(text.as_bytes())) {
                return None;
            }
            let masks: Vec<String> = mask.spec().include.iter().map(|mask| format!("{mask:?}")).collect();
            let masks = shortened(&masks.join(" or "));
            Some(match texts.is_empty() {
                true => format!("{key} is missing, and must match {masks}"),
                false => {
                    let value = shortened(PeerText::from(texts.join(", ").as_str()).as_str());
                    format!("{key} is \"{value}\", and must match {masks}")
                }
            })
        })
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::MetadataConditions;
    use crate::{Mask, MaskSpec};
    use serde_json::{Value, json};

    fn conditions(masks: &[(&str, &[&str])], ignore_case: bool) -> MetadataConditions {
        let mask = |include: &[&str]| {
            let include = include.iter().map(|mask| (*mask).to_owned()).collect();
            Mask::of_text(&MaskSpec { include, exclude: Vec::new(), is_regex: false, ignore_case }).unwrap()
        };
        MetadataConditions::new(
            masks.iter().map(|(key, include)| ((*key).to_owned(), mask(include))).collect(),
        )
    }

    fn unmet(conditions: &MetadataConditions, metadata: &Value) -> Option<String> {
        conditions.unmet(|key| metadata.get(key))
    }

    #[test]
    fn all_conditions_must_be_met() {
        let both =
            conditions(&[("form_application", &["ORDERS*", "PO"]), ("as2_subject", &["*urgent*"])], false);
        for (metadata, words) in [
            (json!({ "form_application": "ORDERS-1", "as2_subject": "an urgent/one" }), None),
            (json!({ "form_application": "PO", "as2_subject": "urgent" }), None),
            (json!({ "form_application": "PO", "as2_subject": "Urgent" }), Some("as2_subject is \"Urgent\"")),
            (
                json!({ "form_application": "orders", "as2_subject": "urgent" }),
                Some("must match \"ORDERS*\" or \"PO\""),
            ),
            (json!({ "as2_subject": "urgent" }), Some("form_application is missing")),
            (json!({}), Some("as2_subject is missing")),
        ] {
            let told = unmet(&both, &metadata);
            assert_eq!(told.is_none(), words.is_none(), "{metadata}: {told:?}");
            assert!(told.unwrap_or_default().contains(words.unwrap_or_default()), "{metadata}");
        }
        assert_eq!(unmet(&MetadataConditions::default(), &json!({})), None);
        assert_eq!(unmet(&conditions(&[("a", &["X*"])], true), &json!({ "a": "xyz" })), None);
    }

    #[test]
    fn numbers_and_lists_match_as_text_and_a_star_asks_for_the_key_alone() {
        let parts = conditions(&[("as2_parts", &["3"])], false);
        assert_eq!(unmet(&parts, &json!({ "as2_parts": 3 })), None);
        assert!(unmet(&parts, &json!({ "as2_parts": 13 })).is_some());
        assert_eq!(unmet(&parts, &json!({ "as2_parts": [1, "3"] })), None);
        let any = conditions(&[("a", &["*"])], false);
        assert_eq!(unmet(&any, &json!({ "a": "" })), None);
        for missing in [json!({}), json!({ "a": null }), json!({ "a": [] }), json!({ "a": {} })] {
            assert_eq!(unmet(&any, &missing).unwrap(), "a is missing, and must match \"*\"", "{missing}");
        }
        let long = unmet(&parts, &json!({ "as2_parts": "x".repeat(5000) })).unwrap();
        assert!(long.len() < 200, "{long}");
    }
}
