//! Events with the seals that cover them: what proves them without the database.

use crate::Store;
use crate::audit::{StoredRow, columns};
use crate::either::on;
use crate::seal::{Bound, Seal};
use model::evidence::RECORDINGS;
use model::{DeliveryId, Result, TransferId};
use sqlx::QueryBuilder;
use std::collections::BTreeMap;

/// The most events that are read of some transfers, besides those that may have recorded evidence.
const AT_MOST: i64 = 2000;

/// Events of transfers, and the seals that cover them.
#[derive(Clone, Debug, Default)]
pub struct SealedEvents {
    /// Each event as the text whose SHA-256 its seal has, and the number of that seal; `None` of one that is not sealed yet.
    pub events: Vec<(String, Option<i64>)>,
    /// The seals by number.
    pub seals: BTreeMap<i64, ExportedSeal>,
    /// Whether there are more events.
    pub more: bool,
}

/// A seal as it is given away.
#[derive(Clone, Debug)]
pub struct ExportedSeal {
    /// As one line of JSON ([`Seal::export`]), with its time stamp if it has one.
    pub line: String,
    /// Which key signed it.
    pub key_id: String,
    /// Id and hash of each of its events; `None` once retention has removed all of them.
    pub members: Option<Vec<u8>>,
}

impl Store {
    /// The events of some transfers in the order of the trail, with their seals; of their deliveries' all, or those of one.
    /// Events whose month was removed at the end of its retention are not there any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sealed_events(
        &self,
        transfers: &[TransferId],
        delivery: Option<DeliveryId>,
    ) -> Result<SealedEvents> {
        self.sealed_events_within(transfers, delivery, AT_MOST).await
    }

    pub(crate) async fn sealed_events_within(
        &self,
        transfers: &[TransferId],
        delivery: Option<DeliveryId>,
        at_most: i64,
    ) -> Result<SealedEvents> {
        let mut found = SealedEvents::default();
        if transfers.is_empty() {
            return Ok(found);
        }
        let mut rows = self.events_in_order(transfers, delivery, None, at_most + 1).await?;
        found.more = rows.len() as i64 > at_most;
        rows.truncate(usize::try_from(at_most).unwrap_or(usize::MAX));
        // What covers the evidence is never among those that are left out.
        if let Some(last) = rows.last().map(|row| row.bound).filter(|_| found.more) {
            rows.extend(self.events_in_order(transfers, delivery, Some(last), at_most).await?);
        }
        let mut seals: Vec<Seal> = Vec::new();
        for row in rows {
            // One that is no event any more proves nothing; `audit verify` finds it.
            let Some(event) = &row.columns else { continue };
            let covers = |seal: &&Seal| seal.from <= row.bound && row.bound < seal.to;
            let known = seals.iter().find(covers).map(|seal| seal.seq);
            let seal = match known {
                Some(seq) => Some(seq),
                None => match self.seal_over(row.bound).await? {
                    Some(seal) => {
                        let seq = seal.seq;
                        seals.push(seal);
                        Some(seq)
                    }
                    None => None,
                },
            };
            found.events.push((event.canonical(), seal));
        }
        for seal in seals {
            let stamps = self.timestamps_from(seal.seq, 1).await?;
            let token =
                stamps.iter().find(|stamp| stamp.seal == seal.seq).map(|stamp| stamp.token.as_slice());
            let exported = ExportedSeal {
                line: seal.export_with(token),
                key_id: seal.key_id.clone(),
                members: seal.members.clone(),
            };
            found.seals.insert(seal.seq, exported);
        }
        Ok(found)
    }

    /// Events in order; with `after`, those that may have recorded evidence behind it.
    async fn events_in_order(
        &self,
        transfers: &[TransferId],
        delivery: Option<DeliveryId>,
        after: Option<Bound>,
        at_most: i64,
    ) -> Result<Vec<StoredRow>> {
        let select = format!("SELECT {} FROM audit_events WHERE transfer_id IN (", columns(self.backend()));
        self.read("read the events of a message", async {
            on!(self.pool(), c => {
                let mut query = QueryBuilder::<Db>::new(select);
                let mut list = query.separated(", ");
                for transfer in transfers {
                    list.push_bind(transfer.uuid());
                }
                query.push(")");
                if let Some(delivery) = delivery {
                    query.push(" AND (delivery_id IS NULL OR delivery_id = ");
                    query.push_bind(delivery.uuid());
                    query.push(")");
                }
                if let Some(after) = after {
                    query.push(" AND (position, id) > (");
                    query.push_bind(after.position);
                    query.push(", ");
                    query.push_bind(after.id);
                    query.push(") AND kind IN (");
                    let mut list = query.separated(", ");
                    for kind in RECORDINGS {
                        list.push_bind(kind.as_str());
                    }
                    query.push(")");
                }
                query.push(" ORDER BY position, id LIMIT ");
                query.push_bind(at_most);
                query.build_query_as().persistent(false).fetch_all(c).await
            })
        })
        .await
    }

    /// The seal that covers a place, with its members.
    async fn seal_over(&self, place: Bound) -> Result<Option<Seal>> {
        let first: Option<i64> = self
            .read("look for the seal of an event", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT seq FROM audit_seals WHERE to_position >= $1 AND (to_position, to_id) > ($1, $2) \
                     ORDER BY to_position, to_id LIMIT 1")
                    .bind(place.position).bind(place.id).fetch_optional(c).await)
            })
            .await?;
        let Some(first) = first else { return Ok(None) };
        let seals = self.seals_from(first, Some(first), 1).await?;
        Ok(seals.into_iter().find(|seal| seal.from <= place && place < seal.to))
    }
}
