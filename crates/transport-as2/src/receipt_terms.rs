//! What was agreed with a partner about receipts that come later, not in the answer to the message: where the partner sends
//! those for our messages, how long they are awaited, and where ours for its messages may go.

use model::schema::Values;
use std::time::Duration;

/// How long a receipt is awaited where nothing is said.
pub(crate) const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Receipts that come later (RFC 4130, 7: asynchronous).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptTerms {
    /// The listener of ours that takes the partner's receipts; `None`: they come in the answer to the message.
    pub listener: Option<String>,
    /// The URL of that listener, as the partner is told; `None`: it follows from the listener.
    pub url: Option<String>,
    /// How long a receipt is awaited.
    pub deadline: Duration,
    /// Masks of the hosts that our receipts may be sent to, besides those of the partner's endpoints.
    pub hosts: Vec<String>,
}

impl Default for ReceiptTerms {
    fn default() -> Self {
        Self { listener: None, url: None, deadline: DEADLINE, hosts: Vec::new() }
    }
}

impl ReceiptTerms {
    /// Reads a partner's table `mdn`.
    pub(crate) fn of(mdn: &Values) -> Self {
        let listener = mdn.text("reply_to").and_then(|named| named.strip_prefix("listener:"));
        Self {
            listener: listener.map(str::to_owned),
            url: mdn.text("url").map(str::to_owned),
            deadline: mdn.duration("deadline").unwrap_or(DEADLINE),
            hosts: mdn.texts("hosts").map(str::to_owned).collect(),
        }
    }

    /// The URL that a message names for its receipt; `None` where the receipt comes in the answer.
    #[must_use]
    pub fn reply_url(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| self.listener.is_some())
    }

    /// Those of a message that goes out again as it was: it names this URL, whatever is agreed by now.
    pub(crate) fn repeat(&mut self, url: Option<&str>) {
        // Which listener is behind it does not matter to the message.
        let listener = self.listener.take().unwrap_or_default();
        self.listener = url.map(|_| listener);
        self.url = url.map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_goes_out_again_names_the_url_that_it_named() {
        let listener = Some("as2".to_owned());
        for today in [None, Some("https://new.acme.example/as2".to_owned())] {
            for listener in [None, listener.clone()] {
                for then in [None, Some("https://old.acme.example/as2")] {
                    let terms = ReceiptTerms {
                        listener: listener.clone(),
                        url: today.clone(),
                        ..ReceiptTerms::default()
                    };
                    let mut repeated = terms.clone();
                    repeated.repeat(then);
                    assert_eq!(repeated.reply_url(), then);
                    assert_eq!(repeated.deadline, terms.deadline);
                }
            }
        }
    }
}
