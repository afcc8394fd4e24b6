//! What lies at a path, on servers that tell it in other codes than the draft's.
//!
//! Some answer 'failure' for a name that is not there, and some let nobody look. The two must not be mixed up: what is
//! missing may be written, settled, given up; of what is not shown nothing is known.

use crate::client::{self, Client};
use crate::error::Fault;
use crate::packet::Attributes;
use model::RemotePath;

/// A name that nobody gives to a file: how a server answers it is how it answers for what is missing.
const NO_NAME: &str = ".waybill-looks-for-a-name-that-is-not-there";

/// What a look at a path found.
pub(crate) enum Look {
    /// This.
    There(Attributes),
    /// Nothing; the answer that says so.
    Missing(Fault),
    /// The server does not say; its answer.
    NotShown(Fault),
}

/// Looks at a path, symbolic links not followed.
///
/// # Errors
/// No answer, or one that cannot be understood.
pub(crate) async fn look(client: &Client, path: &RemotePath) -> Result<Look, Fault> {
    match client.stat(path).await {
        Ok(attributes) => Ok(Look::There(attributes)),
        Err(fault) if fault.says_missing() => Ok(Look::Missing(fault.missing())),
        Err(fault) if fault.is_vague() && stands_for_missing(client, path, &fault).await? => {
            Ok(Look::Missing(fault.missing()))
        }
        Err(fault @ Fault::Refused(_)) => Ok(Look::NotShown(fault)),
        Err(fault) => Err(fault),
    }
}

/// A refusal that may mean that nothing lies at a path: told as that when nothing does.
pub(crate) async fn refine(client: &Client, fault: Fault, path: &RemotePath) -> Fault {
    if fault.says_missing() {
        return fault.missing();
    }
    if !fault.is_vague() {
        return fault;
    }
    match look(client, path).await {
        Ok(Look::Missing(_)) => fault.missing(),
        _ => fault,
    }
}

/// Whether the server answers so for what is not there: it shows the directory, and answers the same for a name that
/// is surely missing from it.
async fn stands_for_missing(client: &Client, path: &RemotePath, fault: &Fault) -> Result<bool, Fault> {
    if path.is_empty() {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or_default();
    // Both on their way at once.
    let shown = client.send_stat(&directory).await?;
    let nothing = client.send_stat(&directory.join(&NO_NAME.into())).await?;
    let shown = client::attributes(shown.await?);
    match (shown, client::attributes(nothing.await?)) {
        (Ok(_), Err(for_nothing)) => Ok(for_nothing.code().is_some() && for_nothing.code() == fault.code()),
        // The directory may be missing too, and its own.
        (Err(shown), _) if shown.is_vague() => Box::pin(stands_for_missing(client, &directory, fault)).await,
        (Err(shown), _) => Ok(shown.says_missing()),
        (Ok(_), Ok(_)) => Ok(false),
    }
}
