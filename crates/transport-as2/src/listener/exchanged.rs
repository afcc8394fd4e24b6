//! Messages about certificates: a partner proposes new ones, or answers for ours. They become no transfer: what they say is on
//! record before the sender gets its receipt, and nothing is used of it until it is accepted.

use super::Receiver;
use crate::agreement::NAME;
use crate::disposition::{Disposition, DispositionError};
use crate::exchange::{ExchangePart, Refusal, Said, parts_of, read};
use crate::later_reply::given;
use crate::material::Certificate;
use crate::parties::Parties;
use crate::receive::ReadMessage;
use crate::reject::try_again_later;
use crate::reply::{ReplyContent, stored_reply};
use crate::request::RequestHead;
use model::{
    CertificateAnswers, CertificateExchange, CertificateProposal, Error, ErrorKind, ExchangePolicy, PeerText,
    ProposalState, Result, Sha256, Timestamp,
};
use net::http::PeerInfo;
use smime::Report;
use transport::{Reception, StoredReply, content_digest};

impl Receiver {
    /// Takes a message about certificates.
    ///
    /// # Errors
    /// Ours: nothing may be said, and the sender comes again.
    pub(super) async fn take_exchange(
        &self,
        head: &RequestHead,
        parties: Parties,
        peer: &PeerInfo,
        message: ReadMessage,
        reception: Box<dyn Reception>,
    ) -> Result<StoredReply> {
        let parties = parties.answering(&message.report);
        // What is signed is verified by the partner's own certificates alone; what is not signed, anybody may have written.
        let now = self.services.clock.now();
        let signer = parties.verified_with(&message.report).map(|known| {
            let policy = policy_for(&parties, known, &message.report, now);
            Signer { name: known.name.clone(), policy }
        });
        let Some(signer) = signer else {
            let cause = "a message about certificates must be signed by S/MIME, whatever was agreed for other messages";
            let answer = ReplyContent {
                disposition: Disposition::Error(DispositionError::InsufficientMessageSecurity),
                mic: None,
                by_pss: false,
                text: "A message about certificates must be signed (S/MIME).".into(),
            };
            return self.refuse(head, &parties, peer, reception, answer, cause).await;
        };
        let algorithm = message.signed_by().or_else(|| head.mdn.digests.first().copied());
        let algorithm = algorithm.unwrap_or(smime::Digest::Sha256);
        let mic = message.mic(algorithm).map(|mic| mic.to_text(head.mdn.names));
        let by_pss =
            message.report.signed().is_some_and(|proof| proof.scheme == smime::SignatureScheme::RsaPss);
        let events = self.events(head, &parties, &message, peer);
        let (parts, sender) = (message.parts, head.from.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let collected = parts_of(&parts)?;
            Ok::<_, Error>(collected.and_then(|parts| Ok((read(&parts, &sender, now)?, digest_of(&parts)))))
        });
        let said = reading.await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "read a message about certificates").caused_by(error)
        })??;
        let (said, content) = match said {
            Ok(said) => said,
            Err(Refusal(text)) => {
                let disposition = Disposition::Error(DispositionError::UnexpectedProcessingError);
                let answer = ReplyContent { disposition, mic: None, by_pss: false, text: text.clone() };
                return self.refuse(head, &parties, peer, reception, answer, &text).await;
            }
        };
        let exchange = self.exchange(head, &parties, said, signer);
        let answer = ReplyContent {
            disposition: Disposition::Processed,
            mic,
            by_pss,
            text: format!(
                "The message about certificates from {} to {} with the Message-ID {} was received and stored. This \
                 says nothing of whether they are accepted.",
                head.from, head.to, head.message_id
            ),
        };
        let reply = stored_reply(&self.services, head, Some(&parties), &answer)?;
        let receipts = self.later_receipts(head, &parties, peer, &reply).await?;
        match reception.take_exchange(exchange, content, events, reply.clone(), receipts).await {
            Ok(()) => {
                tracing::info!(
                    partner = parties.partner.name,
                    message_id = %PeerText::from(head.message_id.as_str()),
                    "a message about certificates was received"
                );
                Ok(given(&parties, reply))
            }
            Err(error) if error.kind() == ErrorKind::Throttled => {
                let event = self.refusal(peer, Some(head)).partner(&parties.partner.name);
                self.record(event.error(&error).detail("status", 503)).await?;
                Ok(try_again_later(
                    "Too many certificates that you proposed wait for a decision, or came within a day: send this message \
                     again later.",
                ))
            }
            Err(error) => Err(error),
        }
    }

    fn exchange(
        &self,
        head: &RequestHead,
        parties: &Parties,
        said: Said,
        signer: Signer,
    ) -> CertificateExchange {
        let now = self.services.clock.now();
        let message_id = PeerText::from(head.message_id.as_str()).as_str().to_owned();
        let partner = parties.partner.name.clone();
        match said {
            Said::Request { request_id, certificates } => {
                CertificateExchange::Proposal(CertificateProposal {
                    id: self.services.random.uuid(now),
                    transport: NAME.to_owned(),
                    partner,
                    identity: parties.identity.name.clone(),
                    request_id,
                    message_id,
                    signed_with: signer.name,
                    received_at: now,
                    policy: signer.policy,
                    certificates,
                    state: ProposalState::Waiting,
                    decided_by: None,
                    decided_at: None,
                    reason: None,
                    response: None,
                })
            }
            Said::Response { request_id, answers } => {
                CertificateExchange::Answers(CertificateAnswers { partner, request_id, message_id, answers })
            }
        }
    }
}

/// The certificate that signed a message, and what is done with what the message proposes.
struct Signer {
    name: String,
    policy: ExchangePolicy,
}

/// The partner's policy; but nothing is accepted without a person for what was signed by a certificate that is not in force, for
/// its key may have been given up as others know it, nor for a signature that counts only as expired certificates or weak
/// algorithms were allowed.
fn policy_for(parties: &Parties, known: &Certificate, report: &Report, now: Timestamp) -> ExchangePolicy {
    let policy = parties.partner.agreement.exchange;
    let is_in_force = parties.partner.certificates.is_newest_to_read_with(&known.name, now);
    let is_weak = report.signed().is_some_and(|proof| !proof.weaknesses.is_empty());
    match policy {
        ExchangePolicy::Accept if !is_in_force || is_weak || !known.validity.holds(now) => {
            ExchangePolicy::Ask
        }
        _ => policy,
    }
}

/// The digest of what a message holds, as that of any other message.
fn digest_of(parts: &[ExchangePart]) -> Sha256 {
    let hashes: Vec<Sha256> = parts.iter().map(|part| Sha256(openssl::sha::sha256(&part.bytes))).collect();
    content_digest(&hashes)
}
