//! Certificates of ours that are announced to partners: the request is sent, and sent again until the partner answers or its
//! time is over.

use super::record_transfer;
use crate::action::Act;
use crate::command::{Command, place_of};
use crate::delivery::NewTransfer;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{small, word};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    AnnouncementState, AuditEvent, CertificateAnnouncement, EventKind, ExchangeContent, Result, Timestamp,
    TransferId,
};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// The most announcements that are listed.
const SHOWN: i64 = 500;

/// An announcement that is recorded; its request is sent next.
#[derive(Clone, Debug)]
pub struct NewAnnouncement {
    /// What is announced.
    pub announcement: CertificateAnnouncement,
    /// The request.
    pub content: ExchangeContent,
    /// Who announces it.
    pub act: Act,
}

/// An announcement that is to be sent, or whose time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenAnnouncement {
    /// What is announced.
    pub announcement: CertificateAnnouncement,
    /// The request.
    pub content: ExchangeContent,
}

/// Sending a request, once or again.
#[derive(Clone, Debug)]
pub struct SendAnnouncement {
    /// Which announcement.
    pub id: Uuid,
    /// How often it was sent before: if that has changed, nothing is written.
    pub sent: u32,
    /// When it is sent again.
    pub next_at: Option<Timestamp>,
    /// The transfer that takes it to the partner.
    pub transfer: NewTransfer,
    /// Who sends it.
    pub act: Act,
}

#[derive(FromRow)]
struct Row {
    state: String,
    announcement: Json<CertificateAnnouncement>,
    reason: Option<String>,
    answered_at: Option<Timestamp>,
    sent: i64,
    next_at: Option<Timestamp>,
    transfer_id: Option<Uuid>,
}

impl Row {
    fn read(self) -> Result<CertificateAnnouncement> {
        let state =
            word(AnnouncementState::parse(&self.state), "certificate_announcements.state", &self.state)?;
        Ok(CertificateAnnouncement {
            state,
            reason: self.reason,
            answered_at: self.answered_at,
            sent: small(self.sent),
            next_at: self.next_at,
            transfer: self.transfer_id.map(TransferId::new),
            ..self.announcement.0
        })
    }
}

#[derive(FromRow)]
struct OpenRow {
    #[sqlx(flatten)]
    row: Row,
    media_type: String,
    file_name: String,
    subject: String,
    content: Vec<u8>,
}

impl OpenRow {
    fn read(self) -> Result<OpenAnnouncement> {
        let Self { row, media_type, file_name, subject, content: bytes } = self;
        let content = ExchangeContent { media_type, bytes, file_name, subject };
        Ok(OpenAnnouncement { announcement: row.read()?, content })
    }
}

impl Store {
    /// Records an announcement.
    ///
    /// # Errors
    /// The database failed.
    pub async fn announce_certificate(&self, new: NewAnnouncement) -> Result<()> {
        self.write(new).await
    }

    /// What was announced, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn certificate_announcements(&self) -> Result<Vec<CertificateAnnouncement>> {
        let rows: Vec<Row> = self
            .read("list the certificates that are announced", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT state, announcement, reason, answered_at, sent, next_at, transfer_id \
                     FROM certificate_announcements ORDER BY announced_at DESC, id DESC LIMIT $1")
                    .bind(SHOWN).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Announcements that are due to be sent, or whose time is over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due_announcements(&self, now: Timestamp) -> Result<Vec<OpenAnnouncement>> {
        let rows: Vec<OpenRow> = self
            .read("list the certificates that are to be announced", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT state, announcement, reason, answered_at, sent, next_at, transfer_id, media_type, file_name, \
                     subject, content FROM certificate_announcements \
                     WHERE state = 'waiting' AND (next_at <= $1 OR respond_by <= $1) ORDER BY announced_at, id LIMIT 50")
                    .bind(now).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(OpenRow::read).collect()
    }

    /// Records the transfer that sends a request. False if it was sent meanwhile, or the partner has answered: nothing was
    /// written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn send_announcement(&self, send: SendAnnouncement) -> Result<bool> {
        self.write(send).await
    }

    /// Ends an announcement whose time is over, with the event that tells it. False if it has ended already.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire_announcement(&self, id: Uuid, now: Timestamp, event: AuditEvent) -> Result<bool> {
        self.write(Expire { id, now, event }).await
    }
}

#[async_trait]
impl Command for NewAnnouncement {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let Self { announcement: new, content, act } = self;
        let written = on!(tx, c => sqlx::query(
            "INSERT INTO certificate_announcements (id, partner, request_id, state, announced_at, respond_by, announcement, \
             media_type, file_name, subject, content, sent, next_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12) ON CONFLICT (id) DO NOTHING")
            .bind(new.id).bind(&new.partner).bind(&new.request_id).bind(new.state.as_str()).bind(new.announced_at)
            .bind(new.respond_by).bind(Json(new)).bind(&content.media_type).bind(&content.file_name)
            .bind(&content.subject).bind(&content.bytes).bind(new.next_at)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(());
        }
        let event = act
            .event(tx, EventKind::CertificateAnnounced)
            .partner(&new.partner)
            .detail("key", new.key.as_str())
            .detail("fingerprint", new.fingerprint.as_str())
            .detail("respond_by", new.respond_by.to_rfc3339());
        tx.event(event);
        Ok(())
    }
}

#[async_trait]
impl Command for SendAnnouncement {
    type Answer = bool;

    fn place(&self) -> u128 {
        place_of(&self.id.to_string())
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let done = on!(tx, c => sqlx::query(
            "UPDATE certificate_announcements SET sent = sent + 1, next_at = $3, transfer_id = $4 \
             WHERE id = $1 AND sent = $2 AND state = 'waiting'")
            .bind(self.id).bind(i64::from(self.sent)).bind(self.next_at).bind(self.transfer.transfer.id.uuid())
            .execute(c).await.map(|done| done.rows_affected()))?;
        if done == 0 {
            return Ok(false);
        }
        record_transfer(tx, &self.transfer, &self.act).await?;
        Ok(true)
    }
}

struct Expire {
    id: Uuid,
    now: Timestamp,
    event: AuditEvent,
}

#[async_trait]
impl Command for Expire {
    type Answer = bool;

    fn place(&self) -> u128 {
        place_of(&self.id.to_string())
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let done = on!(tx, c => sqlx::query(
            "UPDATE certificate_announcements SET state = 'expired', next_at = NULL \
             WHERE id = $1 AND state = 'waiting' AND respond_by <= $2")
            .bind(self.id).bind(self.now).execute(c).await.map(|done| done.rows_affected()))?;
        if done == 1 {
            tx.event(self.event.clone());
        }
        Ok(done == 1)
    }
}
