//! Follows what people pause, resume or set offline or online. They may do so on any node; this node reads it from
//! the database.

use crate::context::Context;
use crate::queues::is_full;
use model::definition::{Definitions, Endpoint};
use model::{EventKind, Result, SuspensionKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use transport::{HostKeyList as _, Shutdown};

/// Reads new decisions until shutdown.
pub(crate) async fn follow(context: Arc<Context>, mut shutdown: Shutdown) {
    let mut wakeups = context.store.decision_wakeups();
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|ended| *ended) => return,
            () = wakeups.next() => {}
        }
        if let Err(error) = follow_suspensions(&context).await {
            tracing::warn!(error = %error.chain(), "cannot read which flows are paused and which endpoints are offline");
        }
        if let Err(error) = follow_host_keys(&context).await {
            tracing::warn!(error = %error.chain(), "cannot read the list of known hosts; the lines read before stay in force");
        }
        if let Err(error) = follow_queues(&context).await {
            tracing::warn!(error = %error.chain(), "cannot count the deliveries that wait for endpoints");
        }
        if let Err(error) = follow_runs(&context).await {
            tracing::warn!(error = %error.chain(), "cannot read which flows are to run now");
        }
    }
}

/// Puts a changed list of known hosts in force.
async fn follow_host_keys(context: &Context) -> Result<()> {
    let before = context.host_keys.lines();
    if context.host_keys.follow().await? {
        tracing::info!("the list of known hosts has changed");
        // Servers that were not trusted before may be trusted now.
        let definitions = context.definitions();
        let concerned = concerned(context, &definitions, &before, &context.host_keys.lines());
        context.try_again(&concerned).await;
    }
    Ok(())
}

/// The endpoints for whose servers a list of known hosts says something else than before, and those that are reached over
/// them.
fn concerned<'a>(
    context: &Context,
    definitions: &'a Definitions,
    before: &[String],
    after: &[String],
) -> BTreeSet<&'a str> {
    let differs = |endpoint: &Endpoint| {
        let transport = context.transports.get(endpoint.transport.as_str());
        let Some(format) = transport.and_then(|transport| transport.host_keys()) else { return false };
        (0..endpoint.urls.len()).filter_map(|at| format.looks_up(&endpoint.at(at))).any(|(host, port)| {
            let about = |lines: &[String]| -> BTreeSet<String> {
                let places = format.about(lines, &host, port);
                places.into_iter().filter_map(|place| lines.get(place).cloned()).collect()
            };
            about(before) != about(after)
        })
    };
    let endpoints = || definitions.endpoints.values();
    let mut concerned: BTreeSet<&str> =
        endpoints().filter(|endpoint| differs(endpoint)).map(|endpoint| endpoint.name.as_str()).collect();
    loop {
        let known = concerned.len();
        for endpoint in endpoints() {
            let Some(transport) = context.transports.get(endpoint.transport.as_str()) else { continue };
            let mut ways = transport.spec().ways().filter_map(|field| endpoint.options.text(field));
            if ways.any(|way| concerned.contains(way)) {
                concerned.insert(&endpoint.name);
            }
        }
        if concerned.len() == known {
            return concerned;
        }
    }
}

/// Counts what waits for the endpoints whose queue has a limit.
async fn follow_queues(context: &Context) -> Result<()> {
    let definitions = context.definitions();
    let mut full = BTreeMap::new();
    for endpoint in definitions.endpoints.values() {
        if let Some(queue) = endpoint.throttle.queue
            && is_full(
                queue,
                context.store.waiting(&endpoint.name, queue).await?,
                context.queues.is_full(&endpoint.name),
            )
        {
            full.insert(endpoint.name.clone(), queue);
        }
    }
    let (filled, freed) = context.queues.replace(full);
    for full in filled {
        tracing::warn!(
            endpoint = full.endpoint,
            queue = full.queue,
            "the endpoint's queue is full: its flows take no new files"
        );
        let event = context.event(EventKind::EndpointQueueFull).endpoint(&full.endpoint);
        context.record_event(event.detail("queue", full.queue)).await;
    }
    for endpoint in freed {
        tracing::info!(endpoint, "the endpoint's queue has room again");
        context.record_event(context.event(EventKind::EndpointQueueFree).endpoint(&endpoint)).await;
    }
    Ok(())
}

/// Tells the pollers which runs are requested.
async fn follow_runs(context: &Context) -> Result<()> {
    let open = Arc::new(context.store.open_flow_runs(context.now()).await?);
    context.flow_runs.send_if_modified(|known| {
        let is_new = *known != open;
        *known = open;
        is_new
    });
    Ok(())
}

/// Applies what was paused, resumed, or set offline or online since the last query.
///
/// # Errors
/// The database failed: the known state stays in force.
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
    // Setting an endpoint online also ends an offline time that failures caused.
    context.try_again(&online).await;
    context.suspensions.send_modify(|suspensions| {
        let mut new = (**suspensions).clone();
        new.apply(&changes);
        *suspensions = Arc::new(new);
    });
    Ok(())
}
