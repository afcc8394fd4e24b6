//! The notes of a delivery that the receipts for it are told apart by. Its row is locked.

use crate::delivery::note::write_note;
use crate::either::on;
use crate::fault::Fault;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use model::DeliveryId;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;

/// The key of the note that holds the digests of the refusals on record, the last one last.
const REFUSALS: &str = "recorded_refusals";

/// So many are kept: a partner sends few, and who sends more must not fill the database.
const MOST: usize = 64;

/// What is noted under a key.
async fn read_note(tx: &mut Tx<'_>, delivery: DeliveryId, key: &str) -> Result<Option<Value>, Fault> {
    let note: Option<Json<Value>> = on!(tx, c => sqlx::query_scalar(
        "SELECT value FROM notes WHERE delivery_id = $1 AND key = $2")
        .bind(delivery.uuid()).bind(key).fetch_optional(c).await)?;
    Ok(note.map(|note| note.0))
}

/// Whether a delivery is still what a receipt was judged by: this attempt, and these notes as they were read.
pub(crate) async fn still_holds(
    tx: &mut Tx<'_>,
    row: &DeliveryRow,
    attempt: u32,
    notes: &BTreeMap<String, Option<Value>>,
) -> Result<bool, Fault> {
    if row.attempt != i64::from(attempt) {
        return Ok(false);
    }
    for (key, read) in notes {
        if read_note(tx, DeliveryId::new(row.id), key).await? != *read {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Remembers a refusal by its digest. Whether it was remembered before: then it was counted.
pub(crate) async fn was_recorded(tx: &mut Tx<'_>, delivery: DeliveryId, digest: &str) -> Result<bool, Fault> {
    let mut known = match read_note(tx, delivery, REFUSALS).await? {
        Some(Value::Array(known)) => known,
        _ => Vec::new(),
    };
    if known.iter().any(|other| other.as_str() == Some(digest)) {
        return Ok(true);
    }
    known.push(digest.into());
    let over = known.len().saturating_sub(MOST);
    known.drain(..over);
    write_note(tx, delivery, REFUSALS, &Value::Array(known)).await?;
    Ok(false)
}

/// Whether a receipt that did not prove its delivery is worth more than any that anybody can send.
const WEIGHTY: &str = "weighty";

/// Writes the note of a receipt that did not prove its delivery. There is one place for them: what was signed, or decided
/// something, does not make way for what did neither.
pub(crate) async fn write_unproven(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
    key: &str,
    value: &Value,
    weighty: bool,
) -> Result<(), Fault> {
    if weighty {
        let mut value = value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.insert(WEIGHTY.to_owned(), true.into());
        }
        return write_note(tx, delivery, key, &value).await;
    }
    let kept = read_note(tx, delivery, key).await?;
    let is_weighty = kept.as_ref().and_then(|kept| kept.get(WEIGHTY)?.as_bool()).unwrap_or_default();
    match is_weighty {
        true => Ok(()),
        false => write_note(tx, delivery, key, value).await,
    }
}
