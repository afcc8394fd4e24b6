//! The audit trail: writing events, reading them back as they are stored, partitions and retention.
//!
//! Events are written with the commands that cause them ([`crate::tx::Tx::event`]), or alone
//! ([`crate::Store::append_events`]). Written events can be sealed ([`crate::seal`]) and verified
//! ([`crate::verify`]).

mod carry_over;
mod clean;
mod hash;
mod partition;
mod position;
mod removal;
mod stored;

pub(crate) use carry_over::last_events;
pub(crate) use hash::EventColumns;
pub use hash::event_hash;
pub use removal::{MonthKept, RemovedMonth};

pub(crate) use clean::{clean, clean_column, clean_detail};
pub(crate) use stored::{EventCursor, StoredRow, columns};

use crate::Store;
use crate::command::Command;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Result};

struct AppendEvents(Vec<AuditEvent>);

#[async_trait]
impl Command for AppendEvents {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        tx.events(&self.0);
        Ok(())
    }
}

impl Store {
    /// Writes events that do not belong to another change. An event that already exists (same time, same id) is not
    /// changed.
    ///
    /// # Errors
    /// The database failed; then none is written.
    pub async fn append_events(&self, events: Vec<AuditEvent>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        self.write(AppendEvents(events)).await
    }
}

#[cfg(test)]
mod tests;
