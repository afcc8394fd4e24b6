//! The MDNs of a transfer: those that its partner sent, and the one that we sent.

use super::query::{Bind, Query};
use crate::Store;
use crate::either::Backend;
use crate::row::unreadable;
use model::{CONTRADICTED_RECEIPT, DeliveryId, MdnEntity, Result, TransferId, UNPROVEN_MDN};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// Which of a transfer's MDNs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WhichMdn {
    /// The one that proves a delivery.
    Accepted(DeliveryId),
    /// The last one that did not prove a delivery: it says no, or its signature or MIC proves nothing.
    NotAccepted(DeliveryId),
    /// The one that proved a delivery until a later one contradicted it.
    Contradicted(DeliveryId),
    /// The one that we answered the received message with.
    Sent,
}

impl WhichMdn {
    /// `accepted`, `not-accepted`, `contradicted` or `sent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::NotAccepted(_) => "not-accepted",
            Self::Contradicted(_) => "contradicted",
            Self::Sent => "sent",
        }
    }

    /// The delivery that it answers.
    #[must_use]
    pub const fn delivery(self) -> Option<DeliveryId> {
        match self {
            Self::Accepted(delivery) | Self::NotAccepted(delivery) | Self::Contradicted(delivery) => {
                Some(delivery)
            }
            Self::Sent => None,
        }
    }
}

/// An MDN that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptMdn {
    /// Which.
    pub which: WhichMdn,
    /// The attempt that it answered, where that is known.
    pub attempt: Option<u32>,
}

#[derive(FromRow)]
struct KeptRow {
    id: Uuid,
    attempt: Option<String>,
}

#[derive(FromRow)]
struct EncodedRow {
    mdn: Option<String>,
}

#[derive(FromRow)]
struct ReplyRow {
    reply_head: Option<Json<Value>>,
    reply_body: Option<Vec<u8>>,
}

/// The text under a key of a column that holds JSON: a field of [`model::Receipt`] or [`model::UnprovenMdn`].
fn text(backend: Backend, column: &str, key: &str) -> String {
    match backend {
        // A row that is no JSON must not keep the others from being read.
        Backend::Sqlite => {
            format!("CASE WHEN json_valid({column}) THEN json_extract({column}, '$.{key}') END")
        }
        Backend::Postgres => format!("{column} ->> '{key}'"),
    }
}

impl Store {
    /// The MDNs that are kept of a transfer: for each delivery, in their order, the one that proves it, the last one that
    /// did not, and the one that proved it and was contradicted; then the one that we sent. Not their bytes.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mdns(&self, transfer: TransferId) -> Result<Vec<KeptMdn>> {
        let backend = self.backend();
        let mut query =
            Query::new(self, "SELECT d.id, CAST(d.attempt AS TEXT) AS attempt FROM deliveries d WHERE ");
        query.sql.push_str(&format!("{} IS NOT NULL", text(backend, "d.receipt", "mdn")));
        query.and("d.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY d.created_at, d.id");
        let accepted: Vec<KeptRow> = query.fetch(self, "look for a transfer's MDNs").await?;
        let other = self.noted_mdns(transfer, UNPROVEN_MDN).await?;
        let contradicted = self.noted_mdns(transfer, CONTRADICTED_RECEIPT).await?;
        let kept = |row: KeptRow, which: fn(DeliveryId) -> WhichMdn| KeptMdn {
            which: which(DeliveryId::new(row.id)),
            attempt: row.attempt.and_then(|number| number.parse().ok()),
        };
        let mut all: Vec<KeptMdn> = accepted.into_iter().map(|row| kept(row, WhichMdn::Accepted)).collect();
        all.extend(other.into_iter().map(|row| kept(row, WhichMdn::NotAccepted)));
        all.extend(contradicted.into_iter().map(|row| kept(row, WhichMdn::Contradicted)));
        if self.sent_mdn(transfer).await?.is_some() {
            all.push(KeptMdn { which: WhichMdn::Sent, attempt: None });
        }
        Ok(all)
    }

    /// One MDN of a transfer as a whole MIME entity: header fields, an empty line, and the body, byte for byte
    /// as it came or was sent. At most about 1 MiB. `None` when there is none, or not of this transfer.
    ///
    /// # Errors
    /// The database failed, or what it holds is no base64.
    pub async fn mdn(&self, transfer: TransferId, which: WhichMdn) -> Result<Option<Vec<u8>>> {
        let (from, delivery) = match which {
            WhichMdn::Sent => return self.sent_mdn(transfer).await,
            WhichMdn::Accepted(delivery) => {
                let mdn = text(self.backend(), "d.receipt", "mdn");
                (format!("SELECT {mdn} AS mdn FROM deliveries d WHERE TRUE"), delivery)
            }
            WhichMdn::NotAccepted(delivery) => (self.select_noted(UNPROVEN_MDN), delivery),
            WhichMdn::Contradicted(delivery) => (self.select_noted(CONTRADICTED_RECEIPT), delivery),
        };
        let mut query = Query::new(self, from);
        query.and("d.id = ?", Some(Bind::Id(delivery.uuid())));
        query.and("d.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        let rows: Vec<EncodedRow> = query.fetch(self, "read an MDN").await?;
        let Some(encoded) = rows.into_iter().find_map(|row| row.mdn) else { return Ok(None) };
        let mdn = MdnEntity::from_text(&encoded).map_err(|error| unreadable("MDN", &error.to_string()))?;
        Ok(Some(mdn.into_bytes()))
    }

    /// The deliveries of a transfer that have a note with an MDN under this key.
    async fn noted_mdns(&self, transfer: TransferId, key: &'static str) -> Result<Vec<KeptRow>> {
        let backend = self.backend();
        let attempt = text(backend, "n.value", "attempt");
        let mut query = Query::new(
            self,
            format!(
                "SELECT d.id, CAST({attempt} AS TEXT) AS attempt FROM notes n \
                 JOIN deliveries d ON d.id = n.delivery_id WHERE {} IS NOT NULL",
                text(backend, "n.value", "mdn")
            ),
        );
        query.and_text("n.key = ?", Some(key));
        query.and("d.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY d.created_at, d.id");
        query.fetch(self, "look for a transfer's MDNs").await
    }

    /// The MDNs that notes under this key hold.
    fn select_noted(&self, key: &'static str) -> String {
        let mdn = text(self.backend(), "n.value", "mdn");
        format!(
            "SELECT {mdn} AS mdn FROM deliveries d JOIN notes n ON n.delivery_id = d.id WHERE n.key = '{key}'"
        )
    }

    async fn sent_mdn(&self, transfer: TransferId) -> Result<Option<Vec<u8>>> {
        let mut query = Query::new(
            self,
            "SELECT k.reply_head, k.reply_body FROM transfers t JOIN intake_keys k ON k.offer_id = t.offer_id \
             WHERE k.state = 'answered'",
        );
        query.and("t.id = ?", Some(Bind::Id(transfer.uuid())));
        let rows: Vec<ReplyRow> = query.fetch(self, "read the answer to a message").await?;
        Ok(rows.into_iter().next().and_then(|row| entity(&row.reply_head?.0, &row.reply_body?)))
    }
}

/// A reply as a MIME entity; none where it is no MDN but a bare status.
fn entity(head: &Value, body: &[u8]) -> Option<Vec<u8>> {
    let headers: Vec<(&str, &str)> = head
        .get("headers")?
        .as_array()?
        .iter()
        .filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?)))
        .collect();
    let is_mdn = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("Content-Type") && value.starts_with("multipart/"));
    is_mdn.then(|| {
        let mut entity: Vec<u8> =
            headers.iter().flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes()).collect();
        entity.extend_from_slice(b"\r\n");
        entity.extend_from_slice(body);
        entity
    })
}
