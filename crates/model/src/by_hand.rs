//! Transfers of files that a person sends to an endpoint ([`crate::TransferKind::ByHand`]): they go through no flow.

/// Begins what stands in place of a flow's name for a file that a person sends. No flow's name contains a colon.
const SENT: &str = "endpoint:";

/// The same for a test message.
const TEST: &str = "test:";

/// The key of the metadata that holds the Subject that a person chose for the message.
pub const CHOSEN_SUBJECT: &str = "chosen_subject";

/// What a transfer has in place of a flow's name when a person sent its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByHand<'a> {
    /// The endpoint that it goes to, which is also the name of its only destination.
    pub endpoint: &'a str,
    /// Whether it is a test message: it is tried once.
    pub is_test: bool,
}

impl<'a> ByHand<'a> {
    /// Reads what stands in place of a flow's name; `None` for a flow, and for a listener's receipts.
    #[must_use]
    pub fn of(flow: &'a str) -> Option<Self> {
        let sent = flow.strip_prefix(SENT).map(|endpoint| Self { endpoint, is_test: false });
        sent.or_else(|| flow.strip_prefix(TEST).map(|endpoint| Self { endpoint, is_test: true }))
    }

    /// What stands in place of a flow's name.
    #[must_use]
    pub fn flow(&self) -> String {
        let begin = if self.is_test { TEST } else { SENT };
        format!("{begin}{}", self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::ByHand;
    use crate::{is_receipts_flow, receipts_flow};

    #[test]
    fn files_sent_by_hand_are_told_from_flows_and_receipts() {
        for is_test in [false, true] {
            let sent = ByHand { endpoint: "globex-as2", is_test };
            let flow = sent.flow();
            assert_eq!(ByHand::of(&flow), Some(sent));
            assert!(!is_receipts_flow(&flow));
        }
        assert_eq!(ByHand::of("orders"), None);
        assert_eq!(ByHand::of("endpoint"), None);
        assert_eq!(ByHand::of(&receipts_flow("as2")), None);
    }
}
