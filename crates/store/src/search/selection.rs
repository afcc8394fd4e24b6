//! The transfers that an action in bulk is for: counted first, then read in batches, oldest first.

use super::query::{Bind, Cursor, Listing, Page, Query};
use super::transfers::{SELECT, TransferRow, restrict};
use super::{TransferFilter, TransferView};
use crate::Store;
use crate::search::bounded::Searched;
use model::{DeliveryState, Error, ErrorKind, Result, TransferAction, TransferKind, TransferState};
use sqlx::FromRow;

/// What is done, and to which transfers: those of the filter that the action fits
/// ([`TransferAction::is_meant_in_bulk`]).
#[derive(Clone, Debug)]
pub struct Selection {
    /// What is done.
    pub action: TransferAction,
    /// To which transfers.
    pub filter: TransferFilter,
}

#[derive(FromRow)]
struct CountRow {
    transfers: i64,
}

/// Words of a closed list, as SQL writes them.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

impl Selection {
    fn restrict(&self, query: &mut Query) {
        restrict(query, &self.filter);
        let named = self.filter.state;
        let is_meant = |state: &&TransferState| match named {
            Some(named) => **state == named && self.action.fits(named),
            None => self.action.is_meant_in_bulk(**state),
        };
        let states = listed(TransferState::ALL.iter().filter(is_meant).map(|state| state.as_str()));
        if states.is_empty() {
            query.sql.push_str(" AND FALSE");
            return;
        }
        query.sql.push_str(&format!(" AND t.state IN ({states})"));
        let has_delivery = "EXISTS (SELECT 1 FROM deliveries d WHERE d.transfer_id = t.id";
        match self.action {
            TransferAction::Retry => {
                let cancelled = named == Some(TransferState::Cancelled);
                let retried = DeliveryState::ALL.iter().filter(|state| state.is_retried(cancelled));
                let states = listed(retried.map(|state| state.as_str()));
                query.sql.push_str(&format!(" AND {has_delivery} AND d.state IN ({states}))"));
            }
            TransferAction::Hold | TransferAction::Release => {
                query.sql.push_str(&format!(" AND {has_delivery})"));
            }
            TransferAction::Cancel => {}
            TransferAction::Resubmit => {
                let payload = TransferKind::Payload.as_str();
                // Of a payload that was resubmitted before, its first transfer is meant alone.
                query.sql.push_str(&format!(
                    " AND t.kind = '{payload}' AND NOT EXISTS (SELECT 1 FROM transfers p \
                     WHERE p.id = t.parent_id AND p.payload_id = t.payload_id)"
                ));
            }
        }
    }
}

impl Store {
    /// How many transfers an action in bulk is for at this moment.
    ///
    /// # Errors
    /// `Timeout`: counting took longer than a search may; the database failed.
    pub async fn count_selected(&self, selection: &Selection) -> Result<u64> {
        const OPERATION: &str = "count the transfers that are meant";
        let mut query = Query::new(self, "SELECT count(*) AS transfers FROM transfers t WHERE TRUE");
        selection.restrict(&mut query);
        match query.search::<CountRow>(self, OPERATION).await? {
            Searched::Rows(rows) => {
                Ok(rows.first().and_then(|row| u64::try_from(row.transfers).ok()).unwrap_or_default())
            }
            Searched::TooLong(within) => Err(Error::permanent(ErrorKind::Timeout, OPERATION)
                .with("ended after", format_args!("{} s", within.as_secs()))
                .advice("choose a shorter time, or a flow or a partner as well")),
        }
    }

    /// A batch of the transfers that an action in bulk is for, oldest first, behind a cursor.
    ///
    /// # Errors
    /// The database failed.
    pub async fn selected(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Listing<TransferView>> {
        let page = Page { after, limit };
        let mut query = Query::new(self, SELECT);
        selection.restrict(&mut query);
        query.page_oldest_first("t.created_at", "t.id", page);
        query.list(self, "look up the transfers that are meant", true, page, TransferRow::view).await
    }
}

impl Query {
    /// Adds that the last part of a path matches a mask, as flows' masks do: `*` and `?`, capitals count. The column
    /// holds paths in their text form.
    pub(super) fn matches_mask(&mut self, column: &str, mask: Option<&str>) {
        let Some(mask) = mask.filter(|mask| !matches!(*mask, "*" | "*.*")) else { return };
        if mask.contains('\0') {
            self.sql.push_str(" AND FALSE");
            return;
        }
        // What stands behind the last '/': all that trimming characters other than '/' takes away.
        let name = format!("substr({column}, length(rtrim({column}, replace({column}, '/', ''))) + 1)");
        let condition = self.pick(" AND {} GLOB {}", " AND {} LIKE {} ESCAPE '\\'");
        let mut pattern = String::new();
        for character in mask.chars() {
            let stored = model::RemotePath::from(character.to_string().as_str()).to_text();
            match character {
                '*' => pattern.push_str(self.pick("*", "%")),
                '?' => pattern.push_str(self.pick("?", "_")),
                '[' => pattern.push_str(self.pick("[[]", "[")),
                _ => stored.chars().for_each(|character| {
                    if matches!(character, '%' | '_' | '\\') {
                        pattern.push_str(self.pick("", "\\"));
                    }
                    pattern.push(character);
                }),
            }
        }
        let place = self.bind(Bind::Text(pattern));
        self.sql.push_str(&condition.replacen("{}", &name, 1).replacen("{}", &place, 1));
    }
}
