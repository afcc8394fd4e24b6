//! Which flows take a received file.

use model::RemotePath;
use model::definition::{Definitions, Flow, FlowSource};
use std::sync::Arc;

/// The enabled flows that receive such a file.
pub(crate) fn flows_for(
    definitions: &Definitions,
    listener: &str,
    partner: Option<&str>,
    file_name: &RemotePath,
) -> Vec<Arc<Flow>> {
    definitions
        .flows
        .values()
        .filter(|flow| match &flow.source {
            FlowSource::Receive(source) => {
                flow.enabled
                    && source.listener == listener
                    && source.partner.as_deref().is_none_or(|wanted| Some(wanted) == partner)
                    && source.mask.matches(file_name.file_name())
            }
            FlowSource::Poll(_) => false,
        })
        .cloned()
        .collect()
}
