//! Routing: which flows accept a received file.

use crate::suspensions::Suspensions;
use model::definition::{Definitions, Flow, FlowSource};
use model::{RemotePath, Suspension};
use std::sync::Arc;

/// The flows that accept a received file.
pub(crate) enum Routes {
    /// All of these accept it.
    To(Vec<Arc<Flow>>),
    /// One of them is paused: no flow may accept the file now.
    Paused(Suspension),
    /// No flow accepts it.
    Nowhere,
}

impl Routes {
    /// The enabled flows that accept such a file, paused or not.
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
