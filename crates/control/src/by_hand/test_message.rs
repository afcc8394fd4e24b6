//! The content of a test message, which says of itself what it is.

use super::ChosenEndpoint;
use model::{NodeName, Timestamp};

/// The Subject of test messages.
pub const TEST_SUBJECT: &str = "Waybill test message, please do not process";

/// Begins the file names of test messages.
const NAME: &str = "waybill-test-";

/// Whether a file name is that of a test message.
#[must_use]
pub fn is_test_name(name: &str) -> bool {
    name.starts_with(NAME)
}

/// A test message.
pub(super) struct TestMessage {
    pub(super) file_name: String,
    pub(super) media_type: &'static str,
    pub(super) subject: &'static str,
    pub(super) content: String,
}

impl TestMessage {
    pub(super) fn new(now: Timestamp, node: &NodeName, to: &ChosenEndpoint) -> Self {
        let from = to.identity.as_deref().unwrap_or("Waybill");
        let partner = to.partner.as_deref().unwrap_or(&to.endpoint);
        // CRLF, so that a product that rewrites line ends leaves these as they are.
        let content = [
            "This is a TEST message of Waybill. It contains no business data.".to_owned(),
            "Please do not process it; it can be deleted.".to_owned(),
            String::new(),
            format!("From:    {from}"),
            format!("To:      {partner}"),
            format!("Sent at: {} by node {node}", now.format("%Y-%m-%dT%H:%M:%SZ")),
            String::new(),
        ]
        .join("\r\n");
        Self {
            file_name: format!("{NAME}{}.txt", now.format("%Y%m%dT%H%M%SZ")),
            media_type: "text/plain; charset=utf-8",
            subject: TEST_SUBJECT,
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_message_says_that_it_is_one() {
        let to = ChosenEndpoint {
            endpoint: "globex-as2".into(),
            partner: Some("globex".into()),
            identity: Some("acme".into()),
            revision: 1,
        };
        let now = Timestamp::from_timestamp(1_795_183_800, 0).unwrap();
        let message = TestMessage::new(now, &"n1".parse().unwrap(), &to);
        assert_eq!(message.file_name, "waybill-test-20261120T141000Z.txt");
        assert!(is_test_name(&message.file_name) && !is_test_name("orders.txt"));
        assert!(message.subject.contains("test message"));
        assert!(
            message.content.starts_with("This is a TEST message")
                && message.content.contains("To:      globex\r\n")
        );
        assert!(!message.content.replace("\r\n", "").contains('\n'));
    }
}
