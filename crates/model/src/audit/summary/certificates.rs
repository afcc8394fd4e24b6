//! Certificates: their ends, their use outside their time, and their exchange with partners.

use super::EventWords;
use crate::audit::EventKind;

impl EventWords<'_> {
    /// The line of one of these events; empty for any other.
    pub(super) fn of_certificate(&self, kind: EventKind) -> String {
        match kind {
            EventKind::CertificateExpires | EventKind::CertificateExpired => format!(
                "The certificate{}{} {}{}{}",
                self.with(" ", "certificate"),
                self.with(" of ", "subject"),
                if kind == EventKind::CertificateExpires { "ends" } else { "has expired" },
                self.with(", at ", "not_after"),
                self.with("; used by ", "used_by")
            ),
            EventKind::CertificateFallback => format!(
                "A key or certificate was used outside its time{}{}",
                self.partner.map(|partner| format!(" with partner {partner}")).unwrap_or_default(),
                self.with(": ", "used")
            ),
            EventKind::CertificateProposed => format!(
                "Partner{} proposes new certificates{}{}",
                self.named(self.partner),
                self.with(": ", "subject"),
                self.with("; answer wanted by ", "respond_by")
            ),
            EventKind::CertificateAccepted | EventKind::CertificateRejected => format!(
                "{} {} the certificates that partner{} proposed{}{}{}",
                self.who(),
                if kind == EventKind::CertificateAccepted { "accepted" } else { "rejected" },
                self.named(self.partner),
                self.with(": ", "subject"),
                self.with("; ", "reason"),
                self.with("; answer to the partner: ", "answer")
            ),
            EventKind::CertificateAnnounced => format!(
                "{} announced the certificate of key{} to partner{}{}",
                self.who(),
                self.with(" ", "key"),
                self.named(self.partner),
                self.with("; answer wanted by ", "respond_by")
            ),
            EventKind::CertificateAnswered => format!(
                "Partner{} answered for the certificate of key{}{}{}",
                self.named(self.partner),
                self.with(" ", "key"),
                self.with(": ", "answer"),
                self.with("; ", "reason")
            ),
            EventKind::CertificateUnanswered => format!(
                "Partner{} did not answer in time for the certificate of key{}{}",
                self.named(self.partner),
                self.with(" ", "key"),
                self.with("; answer wanted by ", "respond_by")
            ),
            EventKind::CertificateIgnored => format!(
                "A message about certificates{} changed nothing{}",
                self.sender(),
                self.with(": ", "reason")
            ),
            _ => String::new(),
        }
    }
}
