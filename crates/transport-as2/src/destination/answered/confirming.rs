//! What the partner gets for the payloads of its answer ("HTTP Transport for Secure EDI", 2.7): a receipt where it asks for one,
//! which is sent later. The same is the answer to a POST that repeats the message. With it goes what proves the message.

use super::As2Destination;
use crate::agreement::{Identity, Partner, identity_named, partner_named};
use crate::composite::{Around, Proved};
use crate::disposition::Disposition;
use crate::evidence::{self, Received};
use crate::exchange::is_document;
use crate::later_reply::{receipt_target, staged_receipt};
use crate::material::{Certificate, Material};
use crate::parties::{Parties, verified_by};
use crate::receipt_target::ReceiptTarget;
use crate::reply::{ReplyContent, stored_reply};
use crate::request::RequestHead;
use crate::signed_copy::SignedCopy;
use crate::signer::Signer;
use model::{ConnectionId, Error, ErrorKind, PeerText, Result, Sha256};
use std::sync::Arc;
use transport::{AnswerMessage, Evidence, OutgoingReceipt, StagedPart, StoredReply, content_digest};

/// What the partner gets for the payloads of its answer.
pub(super) struct Confirmation {
    /// The answer to a POST that repeats the message: the receipt, or a bare status where the answer asks for none.
    reply: StoredReply,
    /// The receipt that is sent later.
    pub(super) receipt: Option<OutgoingReceipt>,
    /// What proves the message.
    evidence: Option<Evidence>,
}

impl Confirmation {
    /// The message in the answer, of these parts; `None` without a Message-ID, under which it could come again.
    pub(super) fn message(&self, head: &RequestHead, parts: &[StagedPart]) -> Option<AnswerMessage> {
        let hashes: Vec<Sha256> = parts.iter().map(|part| part.staged.sha256).collect();
        // In an answer, certificates are a file. In a message of their own they are proposed.
        let proposes = parts.iter().any(|part| is_document(part.media_type.as_deref()));
        (!head.message_id.is_empty()).then(|| AnswerMessage {
            key: head.key(),
            message_id: head.message_id.clone(),
            reply: self.reply.clone(),
            content: content_digest(&hashes),
            is_remembered: !proposes,
            evidence: self.evidence.clone(),
        })
    }
}

impl As2Destination {
    /// The confirmation of an answer with what is around its payloads, and what proves them; `None` where its names are not those of
    /// the partner and of an identity of ours: it is not known then whose message it is.
    ///
    /// # Errors
    /// A key that cannot sign; staging has no room for the receipt, or for what proves the message.
    pub(super) async fn confirmation(
        &self,
        head: &RequestHead,
        (around, proved): (&Around, Option<Proved>),
        connection: Option<ConnectionId>,
    ) -> Result<Option<Confirmation>> {
        let material = self.materials.of(self.services.directory.definitions());
        let content = processed(head, around);
        if head.mdn.wanted {
            let Some(parties) = self.parties_of(&material, head)? else { return Ok(None) };
            if let Some(target) = self.target(&material, head, &parties)? {
                let reply = stored_reply(&self.services, head, Some(&parties), &content)?;
                let between = Between {
                    partner: &parties.partner,
                    identity: &parties.identity,
                    certificates: parties.certificates(),
                };
                let own = parties.receipt_signer(head);
                let evidence = between.evidence(head, proved, (&content, &reply), own).await?;
                let part = staged_receipt(&self.services, head, &reply, connection).await?;
                let receipt = OutgoingReceipt {
                    listener: self.endpoint.name.clone(),
                    partner: parties.partner.name.clone(),
                    endpoint: target.endpoint,
                    url: target.url,
                    of_other: false,
                    part,
                };
                return Ok(Some(Confirmation { reply, receipt: Some(receipt), evidence }));
            }
        }
        let known = partner_named(&material.definitions, &head.from);
        let known = known.filter(|known| self.endpoint.partner() == Some(known.name.as_str()));
        let Some((known, identity)) = known.zip(identity_named(&material.definitions, &head.to)) else {
            return Ok(None);
        };
        // What is not sent is no answer to a repetition either.
        let mut bare = head.clone();
        bare.mdn.wanted = false;
        let reply = stored_reply(&self.services, &bare, None, &content)?;
        let certificates = material.verifying(&known, self.services.clock.now())?;
        let between = Between { partner: &known, identity: &identity, certificates: &certificates };
        let evidence = between.evidence(head, proved, (&content, &reply), None).await?;
        Ok(Some(Confirmation { reply, receipt: None, evidence }))
    }

    /// Where the receipt goes: a POST of its own brings it to the server that gave the answer, unless the answer names another
    /// place. `None` where that one may not be used.
    fn target(
        &self,
        material: &Material,
        head: &RequestHead,
        parties: &Parties,
    ) -> Result<Option<ReceiptTarget>> {
        match receipt_target(&material.definitions, head, &parties.partner) {
            Ok(Some(target)) => Ok(Some(target)),
            Ok(None) => {
                let url = self.url()?.as_str().to_owned();
                Ok(Some(ReceiptTarget { url, endpoint: self.endpoint.name.clone() }))
            }
            Err(reason) => {
                self.not_sent(head, &reason);
                Ok(None)
            }
        }
    }

    /// Who the answer is from and for; `None` where that is not the partner and an identity of ours.
    fn parties_of(&self, material: &Material, head: &RequestHead) -> Result<Option<Parties>> {
        let parties = match Parties::of(material, head, self.services.clock.now()) {
            Ok(parties) => parties?,
            Err(unknown) => {
                self.not_sent(head, &unknown.reason);
                return Ok(None);
            }
        };
        if self.endpoint.partner() != Some(parties.partner.name.as_str()) {
            self.not_sent(head, "its AS2-From is not the name of the partner that the message went to");
            return Ok(None);
        }
        Ok(Some(parties))
    }

    fn not_sent(&self, head: &RequestHead, reason: &str) {
        let message_id = PeerText::from(head.message_id.as_str());
        tracing::warn!(endpoint = self.endpoint.name, %message_id, reason, "the receipt that an answer asks for is not sent");
    }
}

/// Who a message is from and for, and the certificates that may have verified it.
struct Between<'a> {
    partner: &'a Partner,
    identity: &'a Identity,
    certificates: &'a [Arc<Certificate>],
}

impl Between<'_> {
    /// What proves a message in an answer, which is answered so.
    ///
    /// # Errors
    /// Staging has no room for what was signed; a certificate cannot be encoded.
    async fn evidence(
        &self,
        head: &RequestHead,
        proved: Option<Proved>,
        (content, reply): (&ReplyContent, &StoredReply),
        receipt_signer: Option<Signer<'_>>,
    ) -> Result<Option<Evidence>> {
        // Without a Message-ID nothing refers to it.
        let Some(Proved { report, pgp, signed }) = proved.filter(|_| !head.message_id.is_empty()) else {
            return Ok(None);
        };
        let part = signed.and_then(SignedCopy::into_part);
        let committed = tokio::task::spawn_blocking(move || part.map(|part| part.commit()).transpose());
        let committed = committed.await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "keep what was signed of an answer").caused_by(error)
        })?;
        // As of a message that came by POST: a signature of OpenPGP is around what S/MIME has signed.
        let by_pgp = pgp.as_ref().filter(|pgp| pgp.report.signed.is_some());
        let signer = match by_pgp {
            Some(pgp) => pgp.key.as_deref().map(Signer::Pgp),
            None => {
                verified_by(self.certificates, &report).map(|known| Signer::Certificate(&known.certificate))
            }
        };
        evidence::of_received(Received {
            head,
            partner: self.partner,
            identity: &self.identity.name,
            report: &report,
            pgp: pgp.as_ref().map(|pgp| &*pgp.report),
            mic: content.mic.as_deref(),
            signer,
            receipt_signer,
            reply,
            signed_content: committed?,
        })
    }
}

fn processed(head: &RequestHead, around: &Around) -> ReplyContent {
    ReplyContent {
        disposition: Disposition::Processed,
        mic: around.mic.as_ref().map(|mic| mic.to_text(head.mdn.names)),
        by_pss: around.by_pss,
        text: format!(
            "The answer from {} to {} with the Message-ID {} was received and stored.",
            head.from, head.to, head.message_id
        ),
    }
}
