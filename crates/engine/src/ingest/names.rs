//! Whether a file can have its name at the flow's destinations: what cannot be delivered is not taken.

use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::Whole;
use crate::transfers::name_at;
use model::definition::Destination;
use model::{ArchivedCopy, RemotePath, Result, Retry, Sha256, TemplateValues, TransferId};
use transport::folder::path_in_archive;
use uuid::Uuid;

/// Asks each destination about the name that each part would get there.
///
/// # Errors
/// Permanent: a destination cannot carry one.
pub(crate) fn check_names(polled: &PolledFlow, whole: &Whole) -> Result<()> {
    for destination in &polled.flow.destinations {
        for (part, sequence) in whole.parts.iter().zip(1_u32..) {
            check_name(polled, destination, &part.file_name, sequence)?;
        }
    }
    Ok(())
}

/// Asks a destination about the name that a file would get there.
///
/// # Errors
/// Permanent: the destination cannot carry it.
pub(crate) fn check_name(
    polled: &PolledFlow,
    destination: &Destination,
    file_name: &RemotePath,
    sequence: u32,
) -> Result<()> {
    let context = &polled.context;
    let made = context.endpoint(&destination.endpoint).and_then(|(endpoint, transport)| {
        transport.destination(context.addresses.first(&endpoint), destination, context.services.clone())
    });
    // An endpoint that cannot be used now says nothing about the name; the delivery will report it.
    let Ok(made) = made else { return Ok(()) };
    // What it will be is not known yet; it is as long as this.
    let archived = path_in_archive(&RemotePath::default(), file_name, Some(context.now()));
    let archived = ArchivedCopy::new(archived, Sha256([0; 32]));
    let values = TemplateValues {
        name: file_name.file_name(),
        received: context.now(),
        flow: &polled.flow.name,
        // Every transfer's id is as long as this one.
        transfer: TransferId::new(Uuid::nil()),
        sequence,
        failure: None,
        archive: Some(&archived),
    };
    match made.check_name(&name_at(destination, file_name, &values)) {
        Err(error) if error.retry() == Retry::Permanent => Err(error.with("destination", &destination.name)),
        _ => Ok(()),
    }
}
