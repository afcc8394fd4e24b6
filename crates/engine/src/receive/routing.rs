//! Routing: which flows accept a received file.

use crate::queues::Queues;
use crate::suspensions::Suspensions;
use model::definition::{Definitions, Flow, FlowSource};
use std::sync::Arc;
use transport::ReceivedFile;

/// The flows that accept a received file.
pub(crate) enum Routes {
    /// All of these accept it; none where it is only an attachment of its message's first file.
    To(Vec<Arc<Flow>>),
    /// One of them accepts nothing now: no flow may accept the file before it does.
    NotNow(NotNow),
    /// No flow accepts it, for this reason.
    Nowhere(String),
}

/// A flow that accepts nothing now: a person paused it, or the queue of one of its destinations is full.
pub(crate) struct NotNow {
    pub(crate) flow: String,
    /// Since when and why.
    pub(crate) words: String,
    pub(crate) advice: &'static str,
}

impl Routes {
    /// The same for each file of a message. A flow that keeps the files of a message together looks at the first alone, and
    /// takes the others with it.
    pub(crate) fn of_message(
        definitions: &Definitions,
        now: (&Suspensions, &Queues),
        (listener, partner): (&str, Option<&str>),
        files: &[ReceivedFile<'_>],
    ) -> Vec<Self> {
        let of = |(place, file): (usize, &ReceivedFile<'_>)| {
            Self::of(definitions, now, (listener, partner), file, place == 0)
        };
        let mut routes: Vec<Self> = files.iter().enumerate().map(of).collect();
        let are_taken =
            matches!(routes.first(), Some(Self::To(flows)) if flows.iter().any(|flow| flow.together));
        for route in routes.iter_mut().skip(1) {
            if are_taken && matches!(route, Self::Nowhere(_)) {
                *route = Self::To(Vec::new());
            }
        }
        routes
    }

    /// The enabled flows that accept such a file, now or later. Those that keep the files of a message together accept its
    /// first.
    fn of(
        definitions: &Definitions,
        (suspensions, queues): (&Suspensions, &Queues),
        (listener, partner): (&str, Option<&str>),
        file: &ReceivedFile<'_>,
        is_first: bool,
    ) -> Self {
        let takes = |flow: &&Arc<Flow>| match &flow.source {
            FlowSource::Receive(source) => {
                flow.enabled
                    && (is_first || !flow.together)
                    && source.listener == listener
                    && source.partner.as_deref().is_none_or(|wanted| Some(wanted) == partner)
                    && source.mask.matches(file.file_name.file_name())
            }
            FlowSource::Poll(_) => false,
        };
        let by_name = definitions.flows.values().filter(takes).cloned();
        let (flows, others): (Vec<Arc<Flow>>, Vec<Arc<Flow>>) =
            by_name.partition(|flow| unmet(flow, file).is_none());
        let not_now = |flow: &Arc<Flow>| {
            let paused = suspensions.flow(&flow.name).map(|paused| {
                (
                    paused.words(),
                    "the sender is asked to send it again later; `waybill flow resume` resumes the flow",
                )
            });
            let full = || {
                let full = queues.full(flow)?;
                Some((
                    full.words(),
                    "the sender is asked to send it again later; see why the endpoint is slow, or allow a longer queue",
                ))
            };
            let (words, advice) = paused.or_else(full)?;
            Some(NotNow { flow: flow.name.clone(), words, advice })
        };
        if let Some(not_now) = flows.iter().find_map(not_now) {
            return Self::NotNow(not_now);
        }
        if flows.is_empty() { Self::Nowhere(why_nowhere(&others, file)) } else { Self::To(flows) }
    }
}

/// The condition of a flow that a file's metadata does not meet, in words; `None` if it meets all.
fn unmet(flow: &Flow, file: &ReceivedFile<'_>) -> Option<String> {
    match &flow.source {
        FlowSource::Receive(source) => source.conditions.unmet(|key| file.value(key)),
        FlowSource::Poll(_) => None,
    }
}

/// Flows of which the reason says why they do not accept a file.
const MOST_TOLD: usize = 3;

/// Why no flow accepts a file. The others would, if its metadata were another.
fn why_nowhere(others: &[Arc<Flow>], file: &ReceivedFile<'_>) -> String {
    let told = |flow: &Arc<Flow>| Some(format!("flow {} would, but {}", flow.name, unmet(flow, file)?));
    let told = others.iter().take(MOST_TOLD).filter_map(told);
    let mut told: Vec<String> = told.collect();
    if told.is_empty() {
        return "define one whose source has this listener, this partner and a mask for this name".to_owned();
    }
    if let more @ 1.. = others.len().saturating_sub(MOST_TOLD) {
        told.push(format!("{more} more flows would with other metadata"));
    }
    format!("{}: change 'where' of its source, or define another flow", told.join("; "))
}
