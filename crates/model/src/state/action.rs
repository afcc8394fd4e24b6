//! What a person can do to transfers. Whether it can be done in a state is for [`transition`] to say.

use super::{DeliveryEvent, DeliveryState, TransferEvent, TransferState, transition};
use crate::connection::words;

words! {
    /// What a person does to a transfer.
    TransferAction {
        /// Its failed deliveries are sent again.
        Retry = "retry",
        /// No delivery is begun until it is released.
        Hold = "hold",
        /// It goes on.
        Release = "release",
        /// What of it is not delivered is given up.
        Cancel = "cancel",
        /// Its payload is sent once more, as a transfer of its own.
        Resubmit = "resubmit",
    }
}

impl TransferAction {
    /// What happens to the transfer.
    #[must_use]
    pub const fn event(self) -> TransferEvent {
        match self {
            Self::Retry => TransferEvent::Reopen,
            Self::Hold => TransferEvent::Hold,
            Self::Release => TransferEvent::Release,
            Self::Cancel => TransferEvent::Cancel,
            Self::Resubmit => TransferEvent::Resubmit,
        }
    }

    /// Whether it can be done to a transfer in this state.
    #[must_use]
    pub fn fits(self, state: TransferState) -> bool {
        transition(state, self.event()).is_ok()
    }

    /// Whether transfers in this state are meant by a filter that names no state. What a person has cancelled stays
    /// cancelled, and what failed stays in sight as failed, unless somebody says so.
    #[must_use]
    pub fn is_meant_in_bulk(self, state: TransferState) -> bool {
        use TransferState as S;
        self.fits(state)
            && match self {
                Self::Retry | Self::Resubmit => state != S::Cancelled,
                Self::Cancel => !matches!(state, S::Failed | S::PartlyFailed),
                Self::Hold | Self::Release => true,
            }
    }
}

impl DeliveryState {
    /// Whether a retry sends it again: it failed, expired or waits for its next attempt. One that a person cancelled
    /// is sent again only where `cancelled` says so.
    #[must_use]
    pub fn is_retried(self, cancelled: bool) -> bool {
        transition(self, DeliveryEvent::Requeue).is_ok() && (cancelled || self != Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states in which an action can be done, as letters in the order of [`TransferState::ALL`]: `x` also by a
    /// filter that names no state, `s` only where the state is named.
    #[test]
    fn each_action_fits_the_states_that_its_line_says() {
        use TransferAction as A;
        //                          staged, processing, delivering, completed, partly_failed, failed, cancelled, held
        let table = [
            (A::Retry, "-xx-xxsx"),
            (A::Hold, "xxx-----"),
            (A::Release, "-------x"),
            (A::Cancel, "xxx-ss-x"),
            (A::Resubmit, "---xxxs-"),
        ];
        for (action, line) in table {
            let letter = |state: &TransferState| match (action.fits(*state), action.is_meant_in_bulk(*state))
            {
                (true, true) => 'x',
                (true, false) => 's',
                (false, _) => '-',
            };
            assert_eq!(TransferState::ALL.iter().map(letter).collect::<String>(), line, "{action}");
        }
        assert_eq!(table.len(), A::ALL.len());
    }

    #[test]
    fn a_retry_leaves_alone_what_is_being_sent_or_awaits_its_receipt() {
        let retried = |cancelled| {
            DeliveryState::ALL.iter().copied().filter(|s| s.is_retried(cancelled)).collect::<Vec<_>>()
        };
        use DeliveryState as S;
        assert_eq!(retried(false), [S::Retrying, S::Failed, S::Expired]);
        assert_eq!(retried(true), [S::Retrying, S::Failed, S::Expired, S::Cancelled]);
    }
}
