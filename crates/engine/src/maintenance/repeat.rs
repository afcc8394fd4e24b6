//! Runs each kind of maintenance periodically.

use crate::context::Context;
use crate::guard::guarded;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use std::time::Duration;
use transport::Shutdown;

/// The most rows in one round.
pub(crate) const BATCH: u32 = 500;

/// Work that the engine runs periodically, including work of other crates: sealing the audit trail, creating its
/// partitions, removing what is past its retention.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Its name in the log.
    fn name(&self) -> &'static str;
    /// The wait between two runs.
    fn every(&self) -> Duration;
    /// Runs it once.
    ///
    /// # Errors
    /// It is logged, and the work runs again.
    async fn run(&self) -> Result<()>;
}

/// Runs one kind of maintenance until shutdown, which also ends a run that waits for a server: each can be ended at any
/// point, as by a crash.
pub(crate) async fn repeat(context: Arc<Context>, maintenance: Arc<dyn Maintenance>, mut shutdown: Shutdown) {
    loop {
        let run = tokio::select! {
            run = guarded("run maintenance", maintenance.run()) => run,
            _ = shutdown.wait_for(|ended| *ended) => return,
        };
        if let Err(error) = run {
            tracing::warn!(maintenance = maintenance.name(), error = %error.chain(), "maintenance failed; it runs again");
        }
        tokio::select! {
            () = context.services.clock.sleep(maintenance.every()) => {}
            _ = shutdown.wait_for(|ended| *ended) => return,
        }
    }
}
