//! Follows what people decide about flows and endpoints, on whichever node they say it: the database tells.

use crate::context::Context;
use model::{Result, SuspensionKind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use transport::Shutdown;

/// Time between two looks. SQLite tells nobody of what another process wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two looks: a busy gateway is woken hundreds of times a second.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// Looks for new decisions until shutdown.
pub(crate) async fn follow(context: Arc<Context>, mut shutdown: Shutdown) {
    let mut wakeups = context.store.wakeups();
    loop {
        let woken = async {
            tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
            // Nobody wakes any more once the store is closed.
            if wakeups.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|ended| *ended) => return,
            () = woken => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = follow_suspensions(&context).await {
            tracing::warn!(error = %error.chain(), "cannot read which flows are paused and which endpoints are offline");
        }
        if let Err(error) = follow_runs(&context).await {
            tracing::warn!(error = %error.chain(), "cannot read which flows are to run now");
        }
    }
}

/// Tells the pollers which runs wait for them.
async fn follow_runs(context: &Context) -> Result<()> {
    let open = Arc::new(context.store.open_flow_runs(context.now()).await?);
    context.flow_runs.send_if_modified(|known| {
        let is_new = *known != open;
        *known = open;
        is_new
    });
    Ok(())
}

/// Takes over what was paused, resumed, set offline or online since the last look.
///
/// # Errors
/// The database failed: what was known stays in force.
pub(crate) async fn follow_suspensions(context: &Context) -> Result<()> {
    let known = context.suspensions.borrow().newest;
    let changes = context.store.suspension_changes(known).await?;
    if changes.is_empty() {
        return Ok(());
    }
    for change in &changes {
        let (kind, name) = (change.kind, change.name.as_str());
        match &change.now {
            Some(suspension) => tracing::info!(%kind, name, state = suspension.words(), "suspended"),
            None => tracing::info!(%kind, name, "no longer suspended"),
        }
    }
    let online =
        changes.iter().filter(|change| change.kind == SuspensionKind::Endpoint && change.now.is_none());
    let online: BTreeSet<&str> = online.map(|change| change.name.as_str()).collect();
    // Who sets an endpoint online wants it tried, also where failures had taken it offline.
    context.health.try_again(&online, context.now());
    context.suspensions.send_modify(|suspensions| {
        let mut new = (**suspensions).clone();
        new.apply(&changes);
        *suspensions = Arc::new(new);
    });
    Ok(())
}
