//! What was agreed with a partner about messages to it that go on where they broke off (draft-harding-as2-restart-06).

use model::schema::Values;
use model::words;

/// The size of the smallest messages, in bytes, that go on where nothing else is agreed.
pub(crate) const SMALLEST: u64 = 16 * 1024 * 1024;

words! {
    /// When a partner is asked how much of a message it has (HEAD).
    AskHeld {
        /// Before a message goes on.
        OnRestart = "on_restart",
        /// Before the first attempt as well.
        Always = "always",
    }
}

/// How messages to a partner go on where they broke off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestartTerms {
    /// Whether they do.
    pub offer: bool,
    /// The size of the smallest messages that do, in bytes.
    pub smallest: u64,
    /// When the partner is asked how much it has.
    pub head: AskHeld,
    /// Whether the first POST of a message has `Content-Range`. Those that go on always have it.
    pub range_first: bool,
}

impl Default for RestartTerms {
    fn default() -> Self {
        Self { offer: false, smallest: SMALLEST, head: AskHeld::OnRestart, range_first: true }
    }
}

impl RestartTerms {
    /// Reads a partner's table `send.restart`.
    pub(crate) fn of(restart: &Values) -> Self {
        let other = Self::default();
        Self {
            offer: restart.bool("offer"),
            smallest: restart.size("smallest").unwrap_or(other.smallest),
            head: restart.text("head").and_then(AskHeld::parse).unwrap_or(other.head),
            range_first: restart.bool("range_first"),
        }
    }

    /// Whether a message of so many bytes goes on where it broke off.
    pub(crate) const fn covers(&self, total: u64) -> bool {
        // The last byte is sent again where the partner has all of them: there must be one.
        self.offer && total > 0 && total >= self.smallest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_on_from_the_smallest_size_on() {
        let terms = RestartTerms { offer: true, smallest: 10, ..RestartTerms::default() };
        assert!(terms.covers(10) && !terms.covers(9));
        assert!(!RestartTerms { offer: false, ..terms.clone() }.covers(10));
        let all = RestartTerms { smallest: 0, ..terms };
        assert!(all.covers(1) && !all.covers(0));
    }
}
