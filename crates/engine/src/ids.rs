//! Ids of this engine's records.

use std::sync::Arc;
use transport::{Clock, Random};
use uuid::Uuid;

/// Creates ids: version 7 UUIDs with the present time.
#[derive(Clone)]
pub(crate) struct Ids {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Ids {
    pub(crate) fn next(&self) -> Uuid {
        self.random.uuid(self.clock.now())
    }
}
