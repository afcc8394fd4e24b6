//! Claims transfers whose steps are due and starts an attempt for each.

use crate::claim_loop::{self, Attempts, Claims};
use crate::context::Context;
use crate::processing::attempt::attempt;
use async_trait::async_trait;
use model::Result;
use std::sync::Arc;
use store::NodeLease;
use tokio::sync::watch;
use transport::Shutdown;

/// How many transfers' steps are done at the same time on a node: they use its processors and its disk.
const AT_ONCE: usize = 4;

/// Claims steps and starts attempts until shutdown, then waits for running attempts.
pub(crate) async fn dispatch(context: Arc<Context>, shutdown: Shutdown) {
    claim_loop::run(&context, Steps(Arc::clone(&context)), shutdown).await;
}

struct Steps(Arc<Context>);

#[async_trait]
impl Claims for Steps {
    const WHAT: &'static str = "steps of flows";

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.0.store.step_wakeups()
    }

    async fn claim(&self, lease: &NodeLease, attempts: &Attempts) -> Result<usize> {
        let Self(context) = self;
        let free = u32::try_from(AT_ONCE.saturating_sub(attempts.count())).unwrap_or(0);
        let now = context.now();
        // Most flows have no steps: a look costs no write.
        if free == 0 || context.store.next_steps().await?.is_none_or(|due| due > now) {
            return Ok(0);
        }
        let revision = context.definitions().revision;
        let claimed = context.store.claim_steps(lease, free, revision, now).await?;
        let count = claimed.len();
        for claimed in claimed {
            let context = Arc::clone(context);
            attempts.start(async move { attempt(&context, claimed).await });
        }
        Ok(count)
    }
}
