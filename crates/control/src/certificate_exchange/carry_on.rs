//! What a running gateway does by itself: it answers proposals that are decided or whose certificates are in force, decides by
//! the partners' policies, and sends announcements. Any node may do it: each step is recorded with what it expects.

use super::decide::with_revision;
use super::{is_in_force, is_of_messages, was_given_up};
use crate::{Caller, CertificateList, Control};
use engine::{FileByHand, StagedPayloads, sent_by_hand};
use model::definition::Definitions;
use model::{
    ByHand, CHOSEN_SUBJECT, CertificateProposal, Content, DeliveryId, Error, ErrorKind, EventKind,
    ExchangeContent, ExchangePolicy, ExchangeResponse, PayloadId, PayloadRecord, ProposalState, RemotePath,
    Result, Retry, Timestamp, TransferId,
};
use serde_json::Map;
use std::time::Duration;
use store::{DecideProposal, NewTransfer, OpenAnnouncement, SendAnnouncement};

/// How often one request is sent.
const MOST_SENT: u32 = 5;

/// Between two times that a request is sent.
const SENT_EVERY: Duration = Duration::from_secs(86_400);

/// The answer that is given by policy.
const BY_POLICY: &str = "certificates are not exchanged by messages with this partner";

/// Why a proposal that waited for a decision is concluded without one.
const TOO_LATE: &str = "no decision was made in time: the partner can propose the certificates again";

/// Why one is concluded that was accepted and never came into force.
const OUT_OF_DATE: &str = "its certificates have expired before they came into force";

/// The operation's name in errors.
const OPERATION: &str = "send a message about certificates";

impl Control {
    /// Does what is to be done now. What fails is tried again the next time, and does not keep the rest from being done: the
    /// answer has the errors.
    ///
    /// # Errors
    /// The database failed.
    pub async fn carry_on_exchanges(
        &self,
        definitions: &Definitions,
        payloads: &StagedPayloads,
    ) -> Result<Vec<Error>> {
        let mut failed = Vec::new();
        let open = self.0.store.open_certificate_proposals().await?;
        if !open.is_empty() {
            let known = self.certificates_of(&Caller::system(), definitions).await?;
            for proposal in &open {
                let done = self.carry_on_proposal(definitions, &known, payloads, proposal).await;
                failed.extend(done.err().map(|error| error.with("proposal", proposal.id)));
            }
        }
        for due in self.0.store.due_announcements((self.0.now)()).await? {
            let id = due.announcement.id;
            let done = self.carry_on_announcement(definitions, payloads, due).await;
            failed.extend(done.err().map(|error| error.with("announcement", id)));
        }
        Ok(failed)
    }

    async fn carry_on_proposal(
        &self,
        definitions: &Definitions,
        known: &CertificateList,
        payloads: &StagedPayloads,
        proposal: &CertificateProposal,
    ) -> Result<()> {
        let are_of_messages = proposal.certificates.iter().all(is_of_messages);
        let now = (self.0.now)();
        let is_in_force = is_in_force(known, proposal, now);
        let accepted = match (proposal.state, policy(definitions, proposal)) {
            (ProposalState::Refused, _) | (ProposalState::Waiting, ExchangePolicy::Refuse) => false,
            (ProposalState::Agreed, _) if is_in_force => true,
            (ProposalState::Waiting, _) if is_in_force && are_of_messages => true,
            _ if proposal.expires_at().is_some_and(|until| until <= now) => {
                return self.expire(proposal).await;
            }
            (ProposalState::Waiting, ExchangePolicy::Accept)
                if are_of_messages && !was_given_up(known, proposal, now) =>
            {
                return self.accept_by_policy(known, proposal).await;
            }
            _ => return Ok(()),
        };
        self.respond(definitions, payloads, proposal, accepted).await
    }

    /// Concludes a proposal whose time is over, so that it is none of those that wait.
    async fn expire(&self, proposal: &CertificateProposal) -> Result<()> {
        let why = if proposal.state == ProposalState::Agreed { OUT_OF_DATE } else { TOO_LATE };
        let act = self.act(&Caller::system(), Some(why), None)?;
        let (from, to) = (vec![proposal.state], ProposalState::Expired);
        let decide = DecideProposal { id: proposal.id, from, to, act, response: None };
        // Decided meanwhile: nothing was written.
        self.0.store.decide_certificate_proposal(decide).await.map(|_| ())
    }

    /// Accepts as the partner's policy says. The partner is answered the next time, once the certificates are in force here.
    async fn accept_by_policy(&self, known: &CertificateList, proposal: &CertificateProposal) -> Result<()> {
        let system = Caller::system();
        let act = self.act(&system, None, None)?;
        // A person or another node may have decided since the list was read.
        let found = self.0.store.certificate_proposal(proposal.id).await?;
        if found.is_none_or(|found| found.state != ProposalState::Waiting) {
            return Ok(());
        }
        let (revision, _) = self.put_in_force(&system, known, proposal).await?;
        match self.decide(proposal, vec![ProposalState::Waiting], ProposalState::Agreed, act).await {
            Err(error) if error.kind() == ErrorKind::Rejected => {
                let found = self.0.store.certificate_proposal(proposal.id).await?;
                let is_accepted = |found: CertificateProposal| {
                    matches!(found.state, ProposalState::Agreed | ProposalState::Accepted)
                };
                match revision.is_none() || found.is_some_and(is_accepted) {
                    true => Ok(()),
                    false => Err(with_revision(error, revision)),
                }
            }
            done => done,
        }
    }

    async fn respond(
        &self,
        definitions: &Definitions,
        payloads: &StagedPayloads,
        proposal: &CertificateProposal,
        accepted: bool,
    ) -> Result<()> {
        let by_policy = (!accepted && proposal.state == ProposalState::Waiting).then_some(BY_POLICY);
        let reason = proposal.reason.as_deref().or(by_policy);
        let mut act = self.act(&Caller::system(), None, None)?;
        act.reason = reason.map(str::to_owned);
        let to = if accepted { ProposalState::Accepted } else { ProposalState::Rejected };
        let (id, from) = (proposal.id, vec![proposal.state]);
        // A partner that only sends to us cannot be answered: what was decided is the end of it.
        let Some(endpoint) = endpoint_of(definitions, proposal) else {
            let decide = DecideProposal { id, from, to, act, response: None };
            return self.0.store.decide_certificate_proposal(decide).await.map(|_| ());
        };
        let format = self.0.catalogue.certificate_exchange(&proposal.transport).ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, OPERATION).with("transport", &proposal.transport)
        })?;
        let now = (self.0.now)();
        let content = format.response(definitions, &ExchangeResponse { proposal, accepted, reason, now })?;
        let (transfer, payload) =
            self.staged(payloads, content, (endpoint, &proposal.partner, definitions.revision)).await?;
        let decide = DecideProposal { id, from, to, act, response: Some(transfer) };
        let done = self.0.store.decide_certificate_proposal(decide).await;
        remove_unless(done, payloads, payload).await
    }

    async fn carry_on_announcement(
        &self,
        definitions: &Definitions,
        payloads: &StagedPayloads,
        due: OpenAnnouncement,
    ) -> Result<()> {
        let OpenAnnouncement { announcement, content } = due;
        let now = (self.0.now)();
        if announcement.respond_by <= now {
            let event = self
                .event(EventKind::CertificateUnanswered)
                .partner(&announcement.partner)
                .detail("key", announcement.key.as_str())
                .detail("fingerprint", announcement.fingerprint.as_str())
                .detail("respond_by", announcement.respond_by.to_rfc3339());
            self.0.store.expire_announcement(announcement.id, now, event).await?;
            return Ok(());
        }
        if !definitions.endpoints.contains_key(&announcement.endpoint) {
            return Err(Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("endpoint", &announcement.endpoint)
                .advice("the endpoint of the announcement is not defined any more"));
        }
        let to = (announcement.endpoint.as_str(), &announcement.partner, definitions.revision);
        let (transfer, payload) = self.staged(payloads, content, to).await?;
        let send = SendAnnouncement {
            id: announcement.id,
            sent: announcement.sent,
            next_at: next_at(announcement.sent + 1, now, announcement.respond_by),
            transfer,
            act: self.act(&Caller::system(), None, None)?,
        };
        let done = self.0.store.send_announcement(send).await;
        remove_unless(done, payloads, payload).await
    }

    /// Stages a message, and makes its transfer, which is not recorded yet.
    async fn staged(
        &self,
        payloads: &StagedPayloads,
        content: ExchangeContent,
        (endpoint, partner, revision): (&str, &String, i64),
    ) -> Result<(NewTransfer, PayloadId)> {
        let ExchangeContent { media_type, bytes, file_name, subject } = content;
        let id = PayloadId::new((self.0.ids)());
        let (staging, length) = (payloads.clone(), bytes.len() as u64);
        let staged = tokio::task::spawn_blocking(move || staging.stage(id, &bytes)).await;
        let sha256 =
            staged.map_err(|error| Error::transient(ErrorKind::Internal, OPERATION).caused_by(error))??;
        let transfer = sent_by_hand(FileByHand {
            to: ByHand { endpoint, is_test: false },
            partner: Some(partner.clone()),
            transfer: TransferId::new((self.0.ids)()),
            delivery: DeliveryId::new((self.0.ids)()),
            revision,
            payload: PayloadRecord {
                id,
                length,
                content: Content::Staged(sha256),
                media_type: Some(media_type),
                file_name: RemotePath::from(file_name.as_str()),
                staged_at: (self.0.now)(),
            },
            metadata: Map::from_iter([(CHOSEN_SUBJECT.to_owned(), subject.into())]),
        });
        Ok((transfer, id))
    }
}

/// The partner's policy when the proposal came; where it is another one now, a person decides.
fn policy(definitions: &Definitions, proposal: &CertificateProposal) -> ExchangePolicy {
    let partner = definitions.partners.get(&proposal.partner);
    let agreement = partner.and_then(|partner| partner.agreement(&proposal.transport));
    let now = agreement.and_then(|agreement| agreement.text("certificate_exchange"));
    match now {
        Some(now) if now != proposal.policy.as_str() => ExchangePolicy::Ask,
        _ => proposal.policy,
    }
}

/// When a request that was sent so often is sent again.
fn next_at(sent: u32, now: Timestamp, respond_by: Timestamp) -> Option<Timestamp> {
    let next = now + SENT_EVERY;
    (sent < MOST_SENT && next < respond_by).then_some(next)
}

/// The endpoint of the partner that uses the identity that was asked; of several the first by its name. None of a partner that
/// only sends to us.
fn endpoint_of<'a>(definitions: &'a Definitions, proposal: &CertificateProposal) -> Option<&'a str> {
    let CertificateProposal { transport, partner, identity, .. } = proposal;
    let mut found = definitions.endpoints.values().filter(|endpoint| {
        endpoint.transport == *transport
            && endpoint.options.text("partner") == Some(partner.as_str())
            && endpoint.options.text("identity") == Some(identity.as_str())
    });
    found.next().map(|endpoint| endpoint.name.as_str())
}

/// Removes staged bytes that nothing refers to; those of a commit whose outcome is not known stay for the sweep.
async fn remove_unless(done: Result<bool>, payloads: &StagedPayloads, payload: PayloadId) -> Result<()> {
    let error = match done {
        Ok(true) => return Ok(()),
        Ok(false) => None,
        Err(error) if error.retry() == Retry::Ambiguous => return Err(error),
        Err(error) => Some(error),
    };
    let staging = payloads.clone();
    let removed = tokio::task::spawn_blocking(move || staging.remove(payload)).await;
    let removed = removed.map_err(|error| Error::transient(ErrorKind::Internal, OPERATION).caused_by(error));
    match (error, removed.and_then(|removed| removed)) {
        (Some(error), Ok(())) => Err(error),
        (Some(error), Err(failed)) => Err(error.with("its staged bytes were not removed", failed.chain())),
        (None, removed) => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_a_few_times_and_never_after_its_time() {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let in_a_week = now + 7 * SENT_EVERY;
        assert_eq!(next_at(1, now, in_a_week), Some(now + SENT_EVERY));
        assert_eq!(next_at(MOST_SENT, now, in_a_week), None);
        assert_eq!(next_at(1, now, now + Duration::from_secs(23 * 3600)), None);
    }
}
