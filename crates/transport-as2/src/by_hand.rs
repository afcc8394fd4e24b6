//! Files that a person sends: what was chosen for the one message counts more than what was agreed for all.

use model::{ByHand, CHOSEN_SUBJECT};
use transport::Deliver;

/// Whether a person sent the file, so that its media type was chosen for it.
pub(crate) fn is_by_hand(delivery: &Deliver) -> bool {
    ByHand::of(&delivery.flow).is_some()
}

/// The template of the Subject that a person chose. The metadata of other files is their sources' and flows'.
pub(crate) fn subject(delivery: &Deliver) -> Option<String> {
    let chosen = delivery.payload.metadata().get(CHOSEN_SUBJECT)?.as_str()?;
    is_by_hand(delivery).then(|| literal(chosen))
}

/// A template that gives the text as it is.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn braces_of_a_subject_are_no_fields() {
        assert_eq!(literal("Orders {name} } of May"), "Orders {{name}} }} of May");
    }
}
