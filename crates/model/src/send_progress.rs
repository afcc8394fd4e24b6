//! How much of what an attempt sends has left, for a person who watches.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What has left of the bytes that an attempt sends over its present connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendProgress {
    /// The attempt, from 1.
    pub attempt: u32,
    /// The first byte that this connection sends; above 0 where a message goes on.
    pub from: u64,
    /// Bytes that have left, those before `from` included. The last few megabytes may still be in the system's buffers.
    pub sent: u64,
    /// Bytes of the whole; `None` where that is not known before its end.
    pub total: Option<u64>,
    /// Milliseconds since the connection was asked to send.
    pub millis: u64,
}

impl SendProgress {
    /// Bytes a second over this connection, on average; `None` before anything can be said.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        let sent = self.sent.checked_sub(self.from).filter(|sent| *sent > 0)?;
        let rate = (u128::from(sent) * 1000).checked_div(u128::from(self.millis))?;
        u64::try_from(rate).ok()
    }

    /// How long the rest takes at that rate.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let rest = self.total?.checked_sub(self.sent)?;
        let seconds = rest.div_ceil(self.rate().filter(|rate| *rate > 0)?);
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::SendProgress;
    use std::time::Duration;

    #[test]
    fn what_was_sent_over_an_earlier_connection_is_not_part_of_the_rate() {
        let progress =
            SendProgress { attempt: 1, from: 6_000, sent: 8_000, total: Some(10_500), millis: 2_000 };
        assert_eq!((progress.rate(), progress.left()), (Some(1_000), Some(Duration::from_secs(3))));
        // Nothing was sent yet, no time has passed, or the whole is not known.
        for unknown in [
            SendProgress { sent: 6_000, ..progress },
            SendProgress { sent: 0, ..progress },
            SendProgress { millis: 0, ..progress },
        ] {
            assert_eq!((unknown.rate(), unknown.left()), (None, None), "{unknown:?}");
        }
        assert_eq!(SendProgress { total: None, ..progress }.left(), None);
        assert_eq!(SendProgress { sent: 10_500, ..progress }.left(), Some(Duration::ZERO));
    }
}
