//! Certificates that partners propose, and ours that are announced to them, as the page shows them.

use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::Moment;
use control::{CertificateExchanges, ProposalDetail};
use model::{Actor, AnnouncementState, CertificateAnnouncement, CertificateUsage, ProposalState, Timestamp};
use uuid::Uuid;

/// A proposal in the list.
pub(super) struct Proposal {
    pub(super) id: Uuid,
    pub(super) partner: String,
    pub(super) standing: Badge,
    pub(super) certificates: Vec<Proposed>,
    pub(super) at: Moment,
    pub(super) signed_with: String,
    pub(super) respond_by: Option<Moment>,
    pub(super) is_late: bool,
    pub(super) can_be_decided: bool,
    pub(super) to_write: Option<String>,
    pub(super) decided_by: Option<String>,
    pub(super) reason: Option<String>,
    /// The path of the transfer that took the answer to the partner.
    pub(super) response: Option<String>,
    /// Whether no endpoint led to the partner, which has no answer for that.
    pub(super) is_unanswered: bool,
}

/// A certificate that is proposed.
pub(super) struct Proposed {
    pub(super) subject: String,
    pub(super) usages: String,
    pub(super) fingerprint: String,
    pub(super) from: Moment,
    pub(super) until: Moment,
}

/// A certificate of ours that was announced.
pub(super) struct Announcement {
    pub(super) key: String,
    pub(super) partner: String,
    pub(super) standing: Badge,
    pub(super) fingerprint: String,
    pub(super) reason: Option<String>,
    pub(super) respond_by: Moment,
    pub(super) sent: u32,
    /// The path of the transfer that sent it last.
    pub(super) transfer: Option<String>,
}

impl Proposal {
    fn new(detail: ProposalDetail, now: Timestamp) -> Self {
        let respond_by = detail.proposal.respond_by();
        let is_open = matches!(detail.proposal.state, ProposalState::Waiting | ProposalState::Agreed);
        let standing = match detail.proposal.state {
            ProposalState::Waiting => Badge::new(Tone::Warn, Icon::Warning, "Waits for a decision"),
            ProposalState::Agreed if detail.in_force => {
                Badge::new(Tone::Busy, Icon::Moving, "Accepted, is answered")
            }
            ProposalState::Agreed => Badge::new(Tone::Warn, Icon::Clock, "Accepted, not in force"),
            ProposalState::Refused => Badge::new(Tone::Busy, Icon::Moving, "Rejected, is answered"),
            ProposalState::Accepted => Badge::new(Tone::Good, Icon::Check, "Accepted"),
            ProposalState::Rejected => Badge::new(Tone::Bad, Icon::Cross, "Rejected"),
            ProposalState::Expired => Badge::new(Tone::Warn, Icon::Warning, "Not decided in time"),
            ProposalState::Superseded => Badge::new(Tone::Busy, Icon::Clock, "Proposed again"),
        };
        let proposal = detail.proposal;
        let certificates = proposal.certificates.into_iter().map(|one| Proposed {
            subject: one.subject,
            usages: words(&one.usages),
            fingerprint: one.fingerprint,
            from: Moment(one.not_before),
            until: Moment(one.not_after),
        });
        Self {
            id: proposal.id,
            partner: proposal.partner,
            standing,
            certificates: certificates.collect(),
            at: Moment(proposal.received_at),
            signed_with: proposal.signed_with,
            respond_by: respond_by.map(Moment),
            is_late: is_open && respond_by.is_some_and(|until| until < now),
            can_be_decided: is_open,
            to_write: detail.to_write,
            decided_by: proposal.decided_by.map(|text| match Actor::from_text(&text) {
                Some(actor) => actor.name(),
                None => text,
            }),
            reason: proposal.reason,
            response: proposal.response.map(|id| format!("/transfers/{id}")),
            is_unanswered: detail.is_unanswered,
        }
    }
}

impl From<CertificateAnnouncement> for Announcement {
    fn from(one: CertificateAnnouncement) -> Self {
        let standing = match one.state {
            AnnouncementState::Waiting => Badge::new(Tone::Busy, Icon::Clock, "Waits for the answer"),
            AnnouncementState::Accepted => Badge::new(Tone::Good, Icon::Check, "Accepted"),
            AnnouncementState::Rejected => Badge::new(Tone::Bad, Icon::Cross, "Rejected"),
            AnnouncementState::Expired => Badge::new(Tone::Warn, Icon::Warning, "No answer in time"),
        };
        Self {
            key: one.key,
            partner: one.partner,
            standing,
            fingerprint: one.fingerprint,
            reason: one.reason,
            respond_by: Moment(one.respond_by),
            sent: one.sent,
            transfer: one.transfer.map(|id| format!("/transfers/{id}")),
        }
    }
}

/// What is shown of both, newest first.
pub(super) fn listed(found: CertificateExchanges, now: Timestamp) -> (Vec<Proposal>, Vec<Announcement>) {
    let proposals = found.proposals.into_iter().map(|detail| Proposal::new(detail, now)).collect();
    (proposals, found.announcements.into_iter().map(Announcement::from).collect())
}

fn words(usages: &[CertificateUsage]) -> String {
    usages.iter().map(|usage| usage.as_str()).collect::<Vec<_>>().join(", ")
}
