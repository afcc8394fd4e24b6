//! Transfers of receipts that are sent later ([`crate::TransferKind::Receipt`]): they go through no flow.

/// The key of the metadata that holds the URL to which a receipt is sent.
pub const RECEIPT_URL: &str = "receipt_url";

/// The name of a receipt's only destination.
pub const RECEIPT: &str = "receipt";

/// Begins the names that stand for a listener in place of a flow. No flow's name contains a colon.
const LISTENER: &str = "listener:";

/// What the transfers of a listener's receipts have in place of a flow's name.
#[must_use]
pub fn receipts_flow(listener: &str) -> String {
    format!("{LISTENER}{listener}")
}

/// Whether a transfer with this in place of a flow's name is a receipt's.
#[must_use]
pub fn is_receipts_flow(flow: &str) -> bool {
    flow.starts_with(LISTENER)
}

#[cfg(test)]
mod tests {
    use super::{is_receipts_flow, receipts_flow};

    #[test]
    fn receipts_are_told_from_flows() {
        assert!(is_receipts_flow(&receipts_flow("as2")));
        assert!(!is_receipts_flow("as2") && !is_receipts_flow("listener"));
    }
}
