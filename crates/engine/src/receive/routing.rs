//! Routing: which flows accept a received file.

use crate::suspensions::Suspensions;
use model::definition::{Definitions, Flow, FlowSource};
use model::{RemotePath, Suspension};
use std::sync::Arc;

/// The flows that take a received file.
pub(crate) enum Routes {
    /// All of these do.
    To(Vec<Arc<Flow>>),
    /// One of them is paused: nothing may take the file now.
    Paused(Suspension),
    /// There are none.
    Nowhere,
}

impl Routes {
    /// The enabled flows that receive such a file, whichever of them are paused by now.
    pub(crate) fn of(
        definitions: &Definitions,
        suspensions: &Suspensions,
        listener: &str,
        partner: Option<&str>,
        file_name: &RemotePath,
    ) -> Self {
        let takes = |flow: &&Arc<Flow>| match &flow.source {
            FlowSource::Receive(source) => {
                flow.enabled
                    && source.listener == listener
                    && source.partner.as_deref().is_none_or(|wanted| Some(wanted) == partner)
                    && source.mask.matches(file_name.file_name())
            }
            FlowSource::Poll(_) => false,
        };
        let flows: Vec<Arc<Flow>> = definitions.flows.values().filter(takes).cloned().collect();
        if let Some(paused) = flows.iter().find_map(|flow| suspensions.flow(&flow.name)) {
            return Self::Paused(paused.clone());
        }
        if flows.is_empty() { Self::Nowhere } else { Self::To(flows) }
    }
}
