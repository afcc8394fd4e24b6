//! Whether a file can have its name at the flow's destinations: what cannot be delivered is not taken.

use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::Whole;
use crate::transfers::{added_by, name_at};
use model::{ArchivedCopy, RemotePath, Result, Retry, Sha256, TemplateValues, TransferId};
use serde_json::{Map, Value};
use transport::folder::path_in_archive;
use uuid::Uuid;

/// Asks each destination about the name that each part would get there.
///
/// # Errors
/// Permanent: a destination cannot carry one.
pub(crate) fn check_names(polled: &PolledFlow, whole: &Whole) -> Result<()> {
    let mut parts = whole.parts.iter().zip(1_u32..);
    parts.try_for_each(|(part, sequence)| check_name(polled, (&part.file_name, &part.metadata), sequence))
}

/// Asks each destination about the name that a file with this metadata would get there.
///
/// # Errors
/// Permanent: a destination cannot carry it.
pub(crate) fn check_name(
    polled: &PolledFlow,
    (file_name, metadata): (&RemotePath, &Map<String, Value>),
    sequence: u32,
) -> Result<()> {
    let made = polled.destinations();
    // What it will be is not known yet; it is as long as this.
    let archived = path_in_archive(&RemotePath::default(), file_name, Some(polled.context.now()));
    let archived = ArchivedCopy::new(archived, Sha256([0; 32]));
    for (destination, made) in polled.flow.destinations.iter().zip(made.iter()) {
        // An endpoint that cannot be used now says nothing about the name; the delivery will report it.
        let Some(made) = made else { continue };
        let values = TemplateValues {
            name: file_name.file_name(),
            received: polled.context.now(),
            flow: &polled.flow.name,
            // Every transfer's id is as long as this one.
            transfer: TransferId::new(Uuid::nil()),
            sequence,
            failure: None,
            archive: Some(&archived),
            metadata,
        };
        let mut metadata = metadata.clone();
        metadata.extend(added_by(&polled.flow, &values));
        let values = TemplateValues { metadata: &metadata, ..values };
        match made.check_name(&name_at(destination, file_name, &values)) {
            Err(error) if error.retry() == Retry::Permanent => {
                return Err(error.with("destination", &destination.name));
            }
            _ => {}
        }
    }
    Ok(())
}
