//! Receipts of ours that the sender of a message wants later, at a URL of its own: staged as they are sent, and recorded
//! together with the message.

use super::Receiver;
use crate::agreement::Partner;
use crate::later_reply::{accepted, is_receipt, staged_receipt};
use crate::parties::Parties;
use crate::reject::try_again_later;
use crate::reply::plain_reply;
use crate::request::RequestHead;
use http::StatusCode;
use model::Result;
use net::http::PeerInfo;
use transport::{OutgoingReceipt, StoredReply};

/// Receipts that may be on their way to one partner.
const MOST_OPEN: u32 = 10_000;

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

    /// Whether so many receipts are on their way to a partner that no other is taken on.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn has_too_many_receipts(&self, partner: &Partner) -> Result<bool> {
        Ok(self.intake.open_receipts(&partner.name, MOST_OPEN).await? >= MOST_OPEN)
    }

    /// Accepts no message whose receipt comes later until some of those before were sent: the partner's server does not take
    /// them, or more slowly than its messages come.
    pub(super) async fn refuse_more_receipts(
        &self,
        head: &RequestHead,
        partner: &Partner,
        peer: &PeerInfo,
    ) -> Result<StoredReply> {
        let event = self.refusal(peer, Some(head)).partner(&partner.name);
        let reason = format!(
            "{MOST_OPEN} receipts for messages of this partner are still on their way: see why its server does not take them"
        );
        let event = event.detail("reason", reason).detail("status", StatusCode::SERVICE_UNAVAILABLE.as_u16());
        self.record(event).await?;
        Ok(try_again_later(
            "Too many receipts for your messages could not be sent yet: see that your server takes them, then send this message again.",
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
        let part = staged_receipt(&self.services, head, reply, Some(peer.connection)).await?;
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
