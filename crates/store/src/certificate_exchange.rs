//! Messages about certificates (Certificate Exchange Messaging): what partners propose, and what we announce to them.
//!
//! A proposal is recorded with the reply to its message, in one transaction. An answer of ours is recorded with the transfer that
//! takes it to the partner, so that no decision is answered twice, on whichever node.

mod announcements;
mod taking;

pub use announcements::{NewAnnouncement, OpenAnnouncement, SendAnnouncement};
pub use taking::{ExchangeTaken, TakeExchange};

use crate::action::Act;
use crate::command::{Command, place_of};
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::word;
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{
    AuditEvent, CertificateProposal, Error, ErrorKind, EventKind, ProposalState, Result, Timestamp,
    TransferId,
};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// The most proposals that are shown.
const SHOWN: i64 = 500;

#[derive(FromRow)]
struct ProposalRow {
    id: Uuid,
    state: String,
    proposal: Json<CertificateProposal>,
    decided_by: Option<String>,
    decided_at: Option<Timestamp>,
    reason: Option<String>,
    response_id: Option<Uuid>,
}

impl ProposalRow {
    fn read(self) -> Result<CertificateProposal> {
        let state = word(ProposalState::parse(&self.state), "certificate_proposals.state", &self.state)?;
        let (decided_by, decided_at, reason) = (self.decided_by, self.decided_at, self.reason);
        let response = self.response_id.map(TransferId::new);
        Ok(CertificateProposal {
            id: self.id,
            state,
            decided_by,
            decided_at,
            reason,
            response,
            ..self.proposal.0
        })
    }
}

/// A decision about a proposal, or the answer to the partner.
#[derive(Clone, Debug)]
pub struct DecideProposal {
    /// Which.
    pub id: Uuid,
    /// The states that it may be in; in another one nothing changes.
    pub from: Vec<ProposalState>,
    /// Its state from then on.
    pub to: ProposalState,
    /// Who decides, when, and why. Of a proposal that is concluded, who decided before stays.
    pub act: Act,
    /// The transfer that takes the answer to the partner. Without one, a conclusion is that of a partner that cannot be answered.
    pub response: Option<NewTransfer>,
}

impl Store {
    /// What partners proposed: first what waits for a decision or an answer, so that what is answered does not push it out of
    /// sight; of each the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn certificate_proposals(&self) -> Result<Vec<CertificateProposal>> {
        let rows: Vec<ProposalRow> = self
            .read("list the certificates that partners propose", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, state, proposal, decided_by, decided_at, reason, response_id FROM certificate_proposals \
                     ORDER BY CASE WHEN state IN ('waiting', 'agreed', 'refused') THEN 0 ELSE 1 END, received_at DESC, id DESC \
                     LIMIT $1")
                    .bind(SHOWN).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(ProposalRow::read).collect()
    }

    /// Those of them that are not concluded, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_certificate_proposals(&self) -> Result<Vec<CertificateProposal>> {
        let rows: Vec<ProposalRow> = self
            .read("list the certificates that wait for an answer", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, state, proposal, decided_by, decided_at, reason, response_id FROM certificate_proposals \
                     WHERE state IN ('waiting', 'agreed', 'refused') ORDER BY received_at, id LIMIT $1")
                    .bind(SHOWN).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(ProposalRow::read).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn certificate_proposal(&self, id: Uuid) -> Result<Option<CertificateProposal>> {
        let row: Option<ProposalRow> = self
            .read("look up certificates that a partner proposes", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, state, proposal, decided_by, decided_at, reason, response_id FROM certificate_proposals \
                     WHERE id = $1").bind(id).fetch_optional(c).await)
            })
            .await?;
        row.map(ProposalRow::read).transpose()
    }

    /// Decides about a proposal, or records the answer to the partner with its transfer. False if it is in none of the states
    /// that were expected: nothing was written.
    ///
    /// # Errors
    /// `NotFound`; the database failed. If `Ambiguous`, look at the proposal.
    pub async fn decide_certificate_proposal(&self, decide: DecideProposal) -> Result<bool> {
        self.write(decide).await
    }
}

#[async_trait]
impl Command for DecideProposal {
    type Answer = bool;

    fn place(&self) -> u128 {
        place_of(&self.id.to_string())
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let sql = locking!(
            tx,
            "SELECT id, state, proposal, decided_by, decided_at, reason, response_id FROM certificate_proposals WHERE id = $1"
        );
        let row: Option<ProposalRow> =
            on!(tx, c => sqlx::query_as(sql).bind(self.id).fetch_optional(c).await)?;
        let Some(row) = row else {
            return Err(Error::permanent(ErrorKind::NotFound, "find certificates that a partner proposes")
                .with("proposal", self.id)
                .advice("`waybill cert proposals` lists them")
                .into());
        };
        let proposal = row.read()?;
        if !self.from.contains(&proposal.state) {
            return Ok(false);
        }
        let response = self.response.as_ref().map(|new| new.transfer.id.uuid());
        on!(tx, c => sqlx::query(
            "UPDATE certificate_proposals SET state = $2, \
             decided_by = CASE WHEN $7 THEN $3 ELSE COALESCE(decided_by, $3) END, \
             decided_at = CASE WHEN $7 THEN $4 ELSE COALESCE(decided_at, $4) END, \
             reason = CASE WHEN $7 THEN $5 ELSE COALESCE(reason, $5) END, \
             response_id = COALESCE($6, response_id) WHERE id = $1")
            .bind(self.id).bind(self.to.as_str()).bind(self.act.actor.to_text()).bind(self.act.at)
            .bind(&self.act.reason).bind(response).bind(!self.to.is_concluded())
            .execute(c).await.map(|_| ()))?;
        let kind = match self.to {
            ProposalState::Refused | ProposalState::Rejected => EventKind::CertificateRejected,
            ProposalState::Expired | ProposalState::Superseded => EventKind::CertificateIgnored,
            ProposalState::Waiting | ProposalState::Agreed | ProposalState::Accepted => {
                EventKind::CertificateAccepted
            }
        };
        let event = self.act.event(tx, kind);
        let mut event = told(event, &proposal).detail("state", self.to.as_str());
        match &self.response {
            Some(new) => {
                event = event.transfer(new.transfer.id);
                record_transfer(tx, new, &self.act).await?;
            }
            None if matches!(self.to, ProposalState::Accepted | ProposalState::Rejected) => {
                event = event.detail("answer", "none: no endpoint leads to the partner");
            }
            None => {}
        }
        tx.event(event);
        Ok(true)
    }
}

/// The transfer of a message of ours about certificates, with its event.
async fn record_transfer(tx: &mut Tx<'_>, new: &NewTransfer, act: &Act) -> Result<(), Fault> {
    let inserted = insert_transfers(tx, std::slice::from_ref(new), act.at).await?;
    let mut recorded =
        act.event(tx, EventKind::TransferRecorded).transfer(new.transfer.id).detail("by_hand", true);
    recorded.endpoint = new.deliveries.first().map(|new| new.delivery.endpoint.clone());
    tx.events(&described(&[recorded], &inserted));
    Ok(())
}

/// What an event says of a proposal.
fn told(event: AuditEvent, proposal: &CertificateProposal) -> AuditEvent {
    let all = |text: fn(&model::ProposedCertificate) -> &str| {
        let texts: Vec<&str> = proposal.certificates.iter().map(text).collect();
        texts.join(", ")
    };
    event
        .partner(&proposal.partner)
        .detail("proposal", proposal.id.to_string())
        .peer_detail("request", &proposal.request_id)
        .peer_detail("subject", all(|one| one.subject.as_str()))
        .detail("fingerprint", all(|one| one.fingerprint.as_str()))
}
