//! Deliveries outside the hours of their destinations: they are put off until those begin.

use crate::context::Context;
use chrono::TimeDelta;
use model::definition::Definitions;
use model::{Result, Timestamp};
use std::sync::{Mutex, PoisonError};
use store::ClosedDestination;

/// How often it is checked that what was put off still waits for the hours in force. Another node may have put it off by
/// definitions that it had not replaced yet.
const CHECK_EVERY: TimeDelta = TimeDelta::minutes(1);

/// When this node last checked what was put off, and at which revision.
#[derive(Default)]
pub(crate) struct Hours(Mutex<Option<(i64, Timestamp)>>);

impl Hours {
    /// Puts off what is due and may not begin now. Returns the destinations outside whose hours it is, each as
    /// `flow/destination`.
    pub(crate) async fn follow(
        &self,
        context: &Context,
        definitions: &Definitions,
        now: Timestamp,
    ) -> Result<Vec<String>> {
        let closed = closed(definitions, now);
        let opening: Vec<ClosedDestination> = closed
            .iter()
            .filter_map(|(flow, destination, opens)| {
                let (flow, destination) = ((*flow).to_owned(), (*destination).to_owned());
                Some(ClosedDestination { flow, destination, opens: (*opens)? })
            })
            .collect();
        if self.is_to_be_checked(definitions.revision, now) {
            for until in context.store.put_off_until().await? {
                if until.opens > now && !opening.contains(&until) {
                    context.store.undo_put_off(&until, now).await?;
                }
            }
            self.checked(definitions.revision, now);
        }
        for until in &opening {
            context.store.put_off(until, now).await?;
        }
        Ok(closed.into_iter().map(|(flow, destination, _)| format!("{flow}/{destination}")).collect())
    }

    fn is_to_be_checked(&self, revision: i64, now: Timestamp) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|(before, at)| before != revision || now - at >= CHECK_EVERY)
    }

    fn checked(&self, revision: i64, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, now));
    }
}

/// The destinations outside whose hours it is, by flow, and when they begin; `None` for never.
fn closed(definitions: &Definitions, now: Timestamp) -> Vec<(&str, &str, Option<Timestamp>)> {
    let mut closed = Vec::new();
    for flow in definitions.flows.values() {
        let restricted = flow
            .destinations
            .iter()
            .filter(|to| !to.hours.is_unrestricted() && to.hours.closed_at(now).is_some());
        closed.extend(restricted.map(|to| (flow.name.as_str(), to.name.as_str(), to.hours.next(now))));
    }
    closed
}
