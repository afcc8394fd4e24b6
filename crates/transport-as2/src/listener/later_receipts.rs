//! Receipts of ours that the sender of a message wants later, at a URL of its own: staged as they are sent, and recorded
//! together with the message.

use super::Receiver;
use crate::agreement::Partner;
use crate::later_reply::{accepted, entity, file_name, is_receipt, metadata};
use crate::parties::Parties;
use crate::reply::plain_reply;
use crate::request::RequestHead;
use http::StatusCode;
use model::{Error, ErrorKind, RemotePath, Result};
use net::http::PeerInfo;
use std::sync::Arc;
use transport::{OutgoingReceipt, StagedPart, StoredReply};

impl Receiver {
    /// Refuses a message whose receipt may not be sent where its sender wants it. Its sender would not learn it from a
    /// receipt: so the status says it.
    pub(super) async fn refuse_target(
        &self,
        head: &RequestHead,
        partner: &Partner,
        peer: &PeerInfo,
        reason: &str,
    ) -> Result<StoredReply> {
        let asked = head.mdn.deliver_to.as_deref().unwrap_or_default();
        let event = self.refusal(peer, Some(head)).partner(&partner.name);
        let event = event.peer_detail("receipt_delivery_option", asked).peer_detail("reason", reason);
        self.record(event.detail("status", StatusCode::FORBIDDEN.as_u16())).await?;
        Ok(plain_reply(
            StatusCode::FORBIDDEN,
            "Receipts for you are not sent to the host in Receipt-Delivery-Option. Ask the operator of this system to \
            allow it, or ask for a synchronous receipt, which comes in the answer to the message.",
        ))
    }

    /// The receipts that are to be sent later: a receipt of ours, as it would stand in the answer, for a sender that wants
    /// it elsewhere.
    ///
    /// # Errors
    /// Staging has no room, or another local error.
    pub(crate) async fn later_receipts(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        reply: &StoredReply,
    ) -> Result<Vec<OutgoingReceipt>> {
        let Some(target) = parties.receipt_to.as_ref().filter(|_| is_receipt(reply)) else {
            return Ok(Vec::new());
        };
        let (staging, entity) = (Arc::clone(&self.services.staging), entity(reply));
        let staged = tokio::task::spawn_blocking(move || {
            let mut part = staging.begin()?;
            part.append(&entity)?;
            part.commit()
        });
        let staged = staged
            .await
            .map_err(|error| Error::transient(ErrorKind::Internal, "stage a receipt").caused_by(error))??;
        let part = StagedPart {
            staged,
            file_name: RemotePath::from(file_name(&head.message_id).as_str()),
            media_type: Some("message/rfc822".to_owned()),
            metadata: metadata(head, reply),
            connection: Some(peer.connection),
        };
        Ok(vec![OutgoingReceipt {
            listener: self.listener.clone(),
            partner: parties.partner.name.clone(),
            endpoint: target.endpoint.clone(),
            url: target.url.clone(),
            of_other: false,
            part,
        }])
    }

    /// Gives this reply to a message whose Message-ID was answered before: in the answer or later, as is asked for now. `None`
    /// if it is to go later and does not, because a receipt for that Message-ID is still on its way. `of_other`: it refuses a
    /// message that is not known to be the one that was answered.
    pub(super) async fn give_again(
        &self,
        head: &RequestHead,
        parties: &Parties,
        peer: &PeerInfo,
        reply: StoredReply,
        of_other: bool,
    ) -> Result<Option<StoredReply>> {
        let mut receipts = self.later_receipts(head, parties, peer, &reply).await?;
        if receipts.is_empty() {
            return Ok(Some(reply));
        }
        for receipt in &mut receipts {
            receipt.of_other = of_other;
        }
        let is_sent = self.intake.repeat_receipts(&head.key(), receipts).await?;
        Ok(is_sent.then(accepted))
    }
}
