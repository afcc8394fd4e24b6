//! What was agreed about messages from a partner that go on where they broke off (draft-harding-as2-restart-06), and how much of
//! them a listener keeps.

use model::schema::Values;
use std::time::Duration;
use transport::KeepLimits;

/// How messages from a partner are kept while they arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptTerms {
    /// Whether they are.
    pub accept: bool,
    /// The size of the smallest messages that are, in bytes.
    pub smallest: u64,
    /// How long a message is kept after its last byte.
    pub keep_for: Duration,
}

/// The least time for which a message is kept: its sender has to come again.
const SHORTEST: Duration = Duration::from_secs(60);

impl Default for KeptTerms {
    fn default() -> Self {
        Self { accept: true, smallest: 1 << 20, keep_for: Duration::from_secs(3 * 86_400) }
    }
}

impl KeptTerms {
    /// Reads a partner's table `receive.restart`.
    pub(crate) fn of(restart: &Values) -> Self {
        let other = Self::default();
        let keep_for = restart.duration("keep_for").unwrap_or(Duration::ZERO);
        Self {
            accept: restart.bool("accept") && !keep_for.is_zero(),
            smallest: restart.size("smallest").unwrap_or(other.smallest),
            keep_for: keep_for.max(SHORTEST),
        }
    }

    /// Whether a message is kept that has so many bytes, where that is known. One of unknown length may be too small, where there
    /// is a smallest size.
    pub(crate) const fn cover(&self, total: Option<u64>) -> bool {
        match total {
            Some(total) => self.accept && total > 0 && total >= self.smallest,
            None => self.accept && self.smallest == 0,
        }
    }
}

/// What a listener keeps, by its table `restart`.
pub(crate) fn limits(restart: &Values) -> KeepLimits {
    KeepLimits {
        messages: restart.integer("messages").and_then(|number| u64::try_from(number).ok()).unwrap_or(100),
        bytes: restart.size("bytes").unwrap_or(128 << 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_from_the_smallest_size_on_if_it_is_known() {
        let terms = KeptTerms { smallest: 10, ..KeptTerms::default() };
        assert!(terms.cover(Some(10)) && !terms.cover(Some(9)) && !terms.cover(None));
        let all = KeptTerms { smallest: 0, ..terms };
        assert!(all.cover(Some(1)) && all.cover(None) && !all.cover(Some(0)));
        let none = KeptTerms { accept: false, ..all };
        assert!(!none.cover(Some(1)) && !none.cover(None));
    }
}
