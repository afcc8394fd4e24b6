//! A transport's notes about a delivery.

use crate::command::Command;
use crate::delivery::Done;
use crate::delivery::finish::{Standing, standing};
use crate::delivery::insert::{insert_payload, refer};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{
    Claim, DeliveryId, Error, ErrorKind, ON_THE_WIRE, PayloadRecord, Result, SendProgress, TransferId,
};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

impl Store {
    /// Writes a note. It is durable when this returns.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note(&self, claim: &Claim, key: &str, value: Value) -> Result<Done> {
        self.write(Note { claim: claim.clone(), key: key.to_owned(), value }).await
    }

    /// Notes how much of what an attempt sends has left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note_progress(&self, claim: &Claim, progress: &SendProgress) -> Result<Done> {
        let value = serde_json::to_value(progress).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "note how much of a file has been sent").caused_by(error)
        })?;
        self.note(claim, ON_THE_WIRE, value).await
    }

    /// How much has left of what a delivery sends, as was noted last; `None` where nothing was noted. It may be of an earlier
    /// attempt.
    ///
    /// # Errors
    /// The database failed; or the note cannot be read.
    pub async fn progress(&self, delivery: DeliveryId) -> Result<Option<SendProgress>> {
        const OPERATION: &str = "look up how much of a file has been sent";
        let note: Option<Json<Value>> = self
            .read(OPERATION, async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT value FROM notes WHERE delivery_id = $1 AND key = $2")
                    .bind(delivery.uuid()).bind(ON_THE_WIRE).fetch_optional(c).await)
            })
            .await?;
        let read = |note: Json<Value>| {
            serde_json::from_value(note.0)
                .map_err(|error| Error::permanent(ErrorKind::Internal, OPERATION).caused_by(error))
        };
        note.map(read).transpose()
    }

    /// Writes a note about staged bytes that the delivery sends, and that its transfer needs them. Both are durable when
    /// this returns.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep(&self, claim: &Claim, key: &str, value: Value, payload: PayloadRecord) -> Result<Done> {
        let note = Note { claim: claim.clone(), key: key.to_owned(), value };
        self.write(Keep { note, payload }).await
    }

    /// Binds a key (a Message-ID) to the delivery, so that a receipt can find it. Binding it again to the same
    /// delivery is not an error.
    ///
    /// # Errors
    /// The key is bound to another delivery; or the database failed.
    pub async fn correlate(&self, claim: &Claim, key: &str) -> Result<Done> {
        self.write(Correlate { claim: claim.clone(), key: key.to_owned() }).await
    }
}

/// Whether the attempt may still write about its delivery. It may if a receipt arrived before its answer.
pub(crate) async fn may_write(tx: &mut Tx<'_>, claim: &Claim) -> Result<bool, Fault> {
    let sql = locking!(tx, "SELECT * FROM deliveries WHERE id = $1");
    let row: Option<DeliveryRow> =
        on!(tx, c => sqlx::query_as(sql).bind(claim.delivery.uuid()).fetch_optional(c).await)?;
    Ok(match row {
        Some(row) => !matches!(standing(&row, claim)?, Standing::Lost),
        None => false,
    })
}

/// Writes a note of a delivery.
pub(crate) async fn write_note(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
    key: &str,
    value: &Value,
) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "INSERT INTO notes (delivery_id, key, value) VALUES ($1, $2, $3) \
         ON CONFLICT (delivery_id, key) DO UPDATE SET value = excluded.value")
        .bind(delivery.uuid()).bind(key).bind(Json(value))
        .execute(c).await.map(|_| ()))?;
    Ok(())
}

struct Note {
    claim: Claim,
    key: String,
    value: Value,
}

#[async_trait]
impl Command for Note {
    type Answer = Done;

    fn place(&self) -> u128 {
        self.claim.delivery.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        if !may_write(tx, &self.claim).await? {
            return Ok(Done::ClaimLost);
        }
        self.insert(tx).await?;
        Ok(Done::Done)
    }
}

impl Note {
    async fn insert(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        write_note(tx, self.claim.delivery, &self.key, &self.value).await
    }
}

struct Keep {
    note: Note,
    payload: PayloadRecord,
}

#[async_trait]
impl Command for Keep {
    type Answer = Done;

    fn place(&self) -> u128 {
        self.note.place()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        let delivery = self.note.claim.delivery;
        if !may_write(tx, &self.note.claim).await? {
            return Ok(Done::ClaimLost);
        }
        let transfer: Uuid = on!(tx, c => sqlx::query_scalar("SELECT transfer_id FROM deliveries WHERE id = $1")
            .bind(delivery.uuid()).fetch_one(c).await)?;
        insert_payload(tx, &self.payload).await?;
        refer(tx, &self.payload, TransferId::new(transfer)).await?;
        self.note.insert(tx).await?;
        Ok(Done::Done)
    }
}

struct Correlate {
    claim: Claim,
    key: String,
}

#[async_trait]
impl Command for Correlate {
    type Answer = Done;

    fn place(&self) -> u128 {
        self.claim.delivery.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        if !may_write(tx, &self.claim).await? {
            return Ok(Done::ClaimLost);
        }
        on!(tx, c => sqlx::query(
            "INSERT INTO correlations (key, delivery_id) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(&self.key).bind(self.claim.delivery.uuid()).execute(c).await.map(|_| ()))?;
        let bound: Uuid = on!(tx, c => sqlx::query_scalar("SELECT delivery_id FROM correlations WHERE key = $1")
            .bind(&self.key).fetch_one(c).await)?;
        if bound != self.claim.delivery.uuid() {
            return Err(Error::permanent(
                ErrorKind::AlreadyExists,
                "note which receipt a delivery waits for",
            )
            .with("key", &self.key)
            .with("delivery", self.claim.delivery)
            .with("bound to", bound)
            .into());
        }
        Ok(Done::Done)
    }
}
