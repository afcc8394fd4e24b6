//! The keys of the metadata of received messages, as far as flows may choose by them.

use crate::form_fields;
use crate::related::{CONTENT_ID, CONTENT_TYPE};
use model::definition::ReceiveSource;
use model::did_you_mean;
use model::schema::Findings;

/// What a listener says of a message and its parts. Fields of forms come besides.
const KEYS: [&str; 15] = [
    "as2_from",
    "as2_to",
    "as2_message_id",
    "as2_subject",
    "as2_features",
    "as2_cipher",
    "as2_signer",
    "as2_decrypted_with",
    "as2_verified_with",
    "as2_mic",
    "as2_went_on_at_byte",
    "as2_parts",
    "as2_file_name",
    CONTENT_ID,
    CONTENT_TYPE,
];

fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(form_fields::keys())
}

/// A flow that asks for a key that no message has takes nothing.
pub(crate) fn check(source: &ReceiveSource, findings: &mut Findings<'_>) {
    for key in source.conditions.keys().filter(|key| keys().all(|known| known != *key)) {
        let hint = did_you_mean(key, keys());
        let message = format!("no AS2 message has the metadata '{key}', so this flow accepts nothing{hint}");
        findings.warning("where", message);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use model::definition::ReceiveSource;
    use model::schema::{Findings, Section, Values};
    use model::{Mask, MaskSpec, MetadataConditions};

    #[test]
    fn keys_that_no_message_has_are_named() {
        let mask = || Mask::of_text(&MaskSpec::default()).unwrap();
        let conditions =
            ["as2_subject", "as2_content_type", "form_application", "form_input_data", "as2_subjct"];
        let source = ReceiveSource {
            listener: "as2".into(),
            partner: None,
            mask: mask(),
            conditions: MetadataConditions::new(conditions.map(|key| (key.to_owned(), mask())).into()),
            options: Values::default(),
        };
        let mut found = Vec::new();
        check(&source, &mut Findings::of(&mut found, Section::FLOW, "orders"));
        let told = format!("{found:?}");
        assert_eq!(found.len(), 1, "{told}");
        assert!(told.contains("'as2_subjct'") && told.contains("did you mean 'as2_subject'"), "{told}");
    }
}
