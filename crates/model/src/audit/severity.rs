//! How much an event matters, where the one that records it says nothing else.

use super::{EventKind, Severity};

impl EventKind {
    /// The usual severity of an event of this kind.
    #[must_use]
    pub const fn usual_severity(self) -> Severity {
        match self {
            Self::PollFailed
            | Self::OfferBackedOff
            | Self::OfferChanged
            | Self::OfferMismatch
            | Self::OfferUnstable
            | Self::SettleFailed
            | Self::DeliveryRetrying
            | Self::StepsRetrying
            | Self::StepsInterrupted
            | Self::DeliveryInterrupted
            | Self::ReceiptUnmatched
            | Self::ReceiptUnproven
            | Self::MessageRefused
            | Self::MessageRepeated
            | Self::MessageContentDiffers
            | Self::MessagePartialKept
            | Self::MessagePartialRemoved
            | Self::RestartUnsupported
            | Self::LegacyUsed
            | Self::CertificateFallback
            | Self::CertificateExpires
            | Self::CertificateProposed
            | Self::CertificateRejected
            | Self::CertificateUnanswered
            | Self::CertificateIgnored
            | Self::ConnectionWeakened
            | Self::ConnectionFailed
            | Self::ConnectionLost
            | Self::EndpointOffline
            | Self::EndpointQueueFull
            | Self::AddressOffline
            | Self::EndpointSetOffline
            | Self::FlowPaused
            | Self::FlowPreferredNodeBehind
            | Self::FlowWaitsForRoom
            | Self::TransferHeld
            | Self::PayloadQuarantined
            | Self::NodeFenced
            | Self::LoginFailed
            | Self::ListenerLimitReached
            | Self::LoginThrottled
            | Self::TimestampFailed
            | Self::AuditRestored => Severity::Warning,
            Self::DefinitionsRefused
            | Self::OfferRefused
            | Self::FlowFilesMissing
            | Self::TransferFailed
            | Self::DeliveryFailed
            | Self::DeliveryExpired
            | Self::ListenerFailed
            | Self::CertificateExpired
            | Self::AuditAlarm => Severity::Error,
            _ => Severity::Info,
        }
    }
}
