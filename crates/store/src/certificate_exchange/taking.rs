//! A message about certificates that was received: what it says is recorded with the reply to it.

use super::told;
use crate::command::{Command, place_of};
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::intake::{Reply, lock_key};
use crate::lease::NodeLease;
use crate::open::Store;
use crate::row::digest;
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use chrono::TimeDelta;
use model::{
    AnnouncementState, AuditEvent, CertificateAnnouncement, CertificateAnswers, CertificateExchange,
    CertificateProposal, EventKind, ProposalState, Result, Sha256, Timestamp,
};
use sqlx::types::Json;
use uuid::Uuid;

/// Proposals of one partner that may wait at the same time, and that it may make within [`WITHIN`]: rows stay, whatever is
/// decided.
const MOST_OPEN: i64 = 50;

/// The reason of a proposal that was made again.
const AGAIN: &str = "the partner proposed the same certificates again, in a newer request";

/// The time in which proposals that are concluded count as well.
const WITHIN: TimeDelta = TimeDelta::hours(24);

/// A received message about certificates.
#[derive(Clone, Debug)]
pub struct TakeExchange {
    /// The receiving node's lease. If it is no longer held, nothing is written.
    pub lease: NodeLease,
    /// The key that [`Store::intake_begin`] reserved.
    pub key: String,
    /// What the message says.
    pub exchange: CertificateExchange,
    /// The answer that the peer gets after the commit.
    pub reply: Reply,
    /// The digest of its content.
    pub content: Sha256,
    /// Receipts that are sent later.
    pub receipts: Vec<NewTransfer>,
    /// The events of the reception.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::take_exchange`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeTaken {
    /// It is recorded: answer the peer.
    Taken,
    /// Too many proposals of this partner wait for a decision, or came within a day: nothing was written.
    TooMany,
    /// Another node holds the key now: nothing was written; do not answer the peer.
    Lost,
}

impl Store {
    /// Records what a message about certificates says, and answers its key, in one transaction. A request that came before
    /// under the same id changes nothing.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same message.
    pub async fn take_exchange(&self, take: TakeExchange) -> Result<ExchangeTaken> {
        self.write(take).await
    }
}

#[async_trait]
impl Command for TakeExchange {
    type Answer = ExchangeTaken;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<ExchangeTaken, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(ExchangeTaken::Lost);
        }
        let key = digest(&self.key);
        let Some(row) = lock_key(tx, &key).await? else { return Ok(ExchangeTaken::Lost) };
        if row.is_answered_with(&self.reply) {
            return Ok(ExchangeTaken::Taken);
        }
        if !row.is_held_by(&self.lease) {
            return Ok(ExchangeTaken::Lost);
        }
        match &self.exchange {
            CertificateExchange::Proposal(proposal) => {
                if !self.propose(tx, proposal).await? {
                    return Ok(ExchangeTaken::TooMany);
                }
            }
            CertificateExchange::Answers(answers) => self.answer(tx, answers).await?,
        }
        row.cancel_refusal(tx, &self.lease, self.now).await?;
        let receipts = insert_transfers(tx, &self.receipts, self.now).await?;
        on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'answered', answered_at = $2, offer_id = NULL, reply_head = $3, \
             reply_body = $4, content_digest = $5, answer_until = NULL, refusal_id = NULL WHERE digest = $1")
            .bind(&key).bind(self.now).bind(Json(&self.reply.head)).bind(&self.reply.body)
            .bind(self.content.0.to_vec()).execute(c).await.map(|_| ()))?;
        tx.events(&described(&self.events, &receipts));
        Ok(ExchangeTaken::Taken)
    }
}

impl TakeExchange {
    /// Records a proposal; false if too many wait already, or came within a day.
    async fn propose(&self, tx: &mut Tx<'_>, proposal: &CertificateProposal) -> Result<bool, Fault> {
        let open: i64 = on!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM certificate_proposals WHERE partner = $1 \
             AND (state IN ('waiting', 'agreed', 'refused') OR received_at > $2)")
            .bind(&proposal.partner).bind(self.now - WITHIN).fetch_one(c).await)?;
        let id = digest(&proposal.request_id);
        let earlier: Option<Json<CertificateProposal>> = on!(tx, c => sqlx::query_scalar(
            "SELECT proposal FROM certificate_proposals WHERE partner = $1 AND digest = $2")
            .bind(&proposal.partner).bind(&id).fetch_optional(c).await)?;
        if let Some(Json(earlier)) = earlier {
            let reason = match earlier.certificates == proposal.certificates {
                true => "the same request came before",
                false => {
                    "a request with this id came before, with other certificates: nothing of this one is used"
                }
            };
            let event = tx.derived(self.now, &self.lease.node, EventKind::CertificateIgnored);
            let event = told(event, proposal).detail("reason", reason);
            tx.event(event);
            return Ok(true);
        }
        let superseded = self.superseded(tx, proposal).await?;
        // One that came within a day counts, whatever becomes of it.
        let free = superseded.iter().filter(|one| one.received_at <= self.now - WITHIN).count();
        if open - i64::try_from(free).unwrap_or(MOST_OPEN) >= MOST_OPEN {
            return Ok(false);
        }
        for earlier in &superseded {
            self.supersede(tx, earlier, proposal).await?;
        }
        on!(tx, c => sqlx::query(
            "INSERT INTO certificate_proposals (id, partner, digest, state, received_at, proposal) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (partner, digest) DO NOTHING")
            .bind(proposal.id).bind(&proposal.partner).bind(&id).bind(proposal.state.as_str())
            .bind(proposal.received_at).bind(Json(proposal)).execute(c).await.map(|_| ()))?;
        let event = tx.derived(self.now, &self.lease.node, EventKind::CertificateProposed);
        let mut event = told(event, proposal).detail("policy", proposal.policy.as_str());
        if let Some(until) = proposal.respond_by() {
            event = event.detail("respond_by", until.to_rfc3339());
        }
        tx.event(event);
        Ok(true)
    }

    /// The proposals that wait for a decision and that this one repeats. What was decided stays.
    async fn superseded(
        &self,
        tx: &mut Tx<'_>,
        newer: &CertificateProposal,
    ) -> Result<Vec<CertificateProposal>, Fault> {
        let sql = locking!(
            tx,
            "SELECT proposal FROM certificate_proposals WHERE partner = $1 AND state = 'waiting' ORDER BY id"
        );
        let waiting: Vec<Json<CertificateProposal>> =
            on!(tx, c => sqlx::query_scalar(sql).bind(&newer.partner).fetch_all(c).await)?;
        let waiting = waiting.into_iter().map(|Json(earlier)| earlier);
        Ok(waiting.filter(|earlier| earlier.is_repeated_by(newer)).collect())
    }

    async fn supersede(
        &self,
        tx: &mut Tx<'_>,
        earlier: &CertificateProposal,
        newer: &CertificateProposal,
    ) -> Result<(), Fault> {
        on!(tx, c => sqlx::query(
            "UPDATE certificate_proposals SET state = $2, decided_at = $3, reason = $4 WHERE id = $1")
            .bind(earlier.id).bind(ProposalState::Superseded.as_str()).bind(self.now).bind(AGAIN)
            .execute(c).await.map(|_| ()))?;
        let event = tx.derived(self.now, &self.lease.node, EventKind::CertificateIgnored);
        let event = told(event, earlier)
            .detail("state", ProposalState::Superseded.as_str())
            .detail("newer", newer.id.to_string())
            .detail("reason", AGAIN);
        tx.event(event);
        Ok(())
    }

    /// Records what a partner says of a certificate of ours. Each request of ours names one.
    async fn answer(&self, tx: &mut Tx<'_>, said: &CertificateAnswers) -> Result<(), Fault> {
        let sql = locking!(
            tx,
            "SELECT id, state, announcement FROM certificate_announcements WHERE partner = $1 AND request_id = $2"
        );
        let found: Option<(Uuid, String, Json<CertificateAnnouncement>)> = on!(tx, c => sqlx::query_as(sql)
            .bind(&said.partner).bind(&said.request_id).fetch_optional(c).await)?;
        let ignored = |tx: &Tx<'_>, reason: &str| {
            tx.derived(self.now, &self.lease.node, EventKind::CertificateIgnored)
                .partner(&said.partner)
                .peer_detail("request", &said.request_id)
                .detail("reason", reason)
        };
        let Some((id, state, Json(announced))) = found else {
            let event = ignored(tx, "it answers no request of ours to this partner");
            tx.event(event);
            return Ok(());
        };
        let Some(answer) = said.answers.iter().find(|answer| answer.serials.contains(&announced.serial))
        else {
            let event = ignored(tx, "it names another certificate than was announced");
            tx.event(event);
            return Ok(());
        };
        let state = AnnouncementState::parse(&state);
        let to = match answer.accepted {
            Some(true) => AnnouncementState::Accepted,
            Some(false) => AnnouncementState::Rejected,
            None => AnnouncementState::Waiting,
        };
        // An answer that comes late counts as well; one that contradicts an earlier one does not.
        if !matches!(state, Some(AnnouncementState::Waiting | AnnouncementState::Expired)) {
            let event = ignored(tx, "the partner has answered before");
            tx.event(event);
            return Ok(());
        }
        let event = tx
            .derived(self.now, &self.lease.node, EventKind::CertificateAnswered)
            .partner(&said.partner)
            .detail("key", announced.key.as_str())
            .detail("fingerprint", announced.fingerprint.as_str())
            .detail("answer", if answer.accepted.is_none() { "not decided yet" } else { to.as_str() });
        tx.event(match &answer.reason {
            Some(reason) => event.peer_detail("reason", reason),
            None => event,
        });
        if answer.accepted.is_none() {
            return Ok(());
        }
        on!(tx, c => sqlx::query(
            "UPDATE certificate_announcements SET state = $2, reason = $3, answered_at = $4, next_at = NULL WHERE id = $1")
            .bind(id).bind(to.as_str()).bind(&answer.reason).bind(self.now)
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }
}
