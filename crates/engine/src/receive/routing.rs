//! Routing: which flows accept a received file.

use crate::queues::Queues;
use crate::suspensions::Suspensions;
use model::RemotePath;
use model::definition::{Definitions, Flow, FlowSource};
use std::sync::Arc;

/// The flows that accept a received file.
pub(crate) enum Routes {
    /// All of these accept it; none where it is only an attachment of its message's first file.
    To(Vec<Arc<Flow>>),
    /// One of them accepts nothing now: no flow may accept the file before it does.
    NotNow(NotNow),
    /// No flow accepts it.
    Nowhere,
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
        file_names: &[&RemotePath],
    ) -> Vec<Self> {
        let of = |(place, name): (usize, &&RemotePath)| {
            Self::of(definitions, now, (listener, partner), name, place == 0)
        };
        let mut routes: Vec<Self> = file_names.iter().enumerate().map(of).collect();
        let are_taken =
            matches!(routes.first(), Some(Self::To(flows)) if flows.iter().any(|flow| flow.together));
        for route in routes.iter_mut().skip(1) {
            if are_taken && matches!(route, Self::Nowhere) {
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
        file_name: &RemotePath,
        is_first: bool,
    ) -> Self {
        let takes = |flow: &&Arc<Flow>| match &flow.source {
            FlowSource::Receive(source) => {
                flow.enabled
                    && (is_first || !flow.together)
                    && source.listener == listener
                    && source.partner.as_deref().is_none_or(|wanted| Some(wanted) == partner)
                    && source.mask.matches(file_name.file_name())
            }
            FlowSource::Poll(_) => false,
        };
        let flows: Vec<Arc<Flow>> = definitions.flows.values().filter(takes).cloned().collect();
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
        if flows.is_empty() { Self::Nowhere } else { Self::To(flows) }
    }
}
