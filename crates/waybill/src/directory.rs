//! The definitions in force, as transports ask for them.

use model::definition::Definitions;
use std::sync::Arc;
use tokio::sync::watch;
use transport::Directory;

/// The definitions of whatever revision is in force when they are asked for.
pub(crate) struct InForce(pub(crate) watch::Receiver<Arc<Definitions>>);

impl Directory for InForce {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0.borrow())
    }
}
