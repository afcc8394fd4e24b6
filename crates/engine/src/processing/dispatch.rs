//! Claims transfers whose steps are due and starts an attempt for each.

use crate::context::Context;
use crate::processing::attempt::attempt;
use model::{Result, Retry};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// The longest time between two queries: wake-ups may be lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many transfers' steps are done at the same time on a node: they use its processors and its disk.
const AT_ONCE: usize = 4;

/// Claims steps and starts attempts until shutdown, then waits for running attempts.
pub(crate) async fn dispatch(context: Arc<Context>, mut shutdown: Shutdown) {
    let attempts = TaskTracker::new();
    // Notified when an attempt ends.
    let freed = Arc::new(Notify::new());
    let mut woken = context.store.step_wakeups();
    loop {
        // A wake-up between the claim and the wait must not be lost.
        woken.mark_unchanged();
        let claimed = match claim(&context, &attempts, &freed).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "steps of flows could not be claimed");
                0
            }
        };
        if *shutdown.borrow() {
            break;
        }
        if claimed > 0 {
            continue;
        }
        tokio::select! {
            _ = woken.changed() => {}
            () = freed.notified() => {}
            () = context.services.clock.sleep(LONGEST_PAUSE) => {}
            _ = shutdown.wait_for(|ended| *ended) => break,
        }
    }
    attempts.close();
    attempts.wait().await;
}

async fn claim(context: &Arc<Context>, attempts: &TaskTracker, freed: &Arc<Notify>) -> Result<usize> {
    let free = u32::try_from(AT_ONCE.saturating_sub(attempts.len())).unwrap_or(0);
    let lease = context.lease.current();
    if free == 0 || context.lease.is_doubtful(lease.epoch) || context.lease.may_act(lease.epoch).is_err() {
        return Ok(0);
    }
    let now = context.now();
    // Most flows have no steps: a look costs no write.
    if context.store.next_steps().await?.is_none_or(|due| due > now) {
        return Ok(0);
    }
    let revision = context.definitions().revision;
    let claimed = match context.store.claim_steps(&lease, free, revision, now).await {
        Ok(claimed) => claimed,
        Err(error) => {
            if error.retry() == Retry::Ambiguous {
                // Steps may be claimed by this node without its knowing which: nobody would do them.
                context.lease.doubt(lease.epoch);
            }
            return Err(error);
        }
    };
    let count = claimed.len();
    for claimed in claimed {
        let (context, freed) = (Arc::clone(context), Arc::clone(freed));
        let running = attempts.token();
        tokio::spawn(async move {
            attempt(&context, claimed).await;
            drop(running);
            freed.notify_one();
        });
    }
    Ok(count)
}
