//! The metadata of a path, on servers that answer with other codes than the draft's.
//!
//! Some answer 'failure' for a missing name, and some refuse the request. The two must not be confused: a missing file
//! may be written, settled or given up; about a file that the server does not show, nothing is known.

use crate::protocol::client::{self, Client};
use crate::protocol::fault::Fault;
use crate::protocol::packet::Attributes;
use model::RemotePath;

/// A name that no file has: the server's answer for it is its answer for missing files.
const NO_NAME: &str = ".waybill-looks-for-a-name-that-is-not-there";

/// The pages of a listing that are searched for an existing name: the first may contain only `.` and `..`.
const PAGES: usize = 3;

/// The answer to a request for the metadata of a path.
pub(crate) enum Stat {
    /// The metadata.
    Found(Attributes),
    /// No file exists there; the server's answer.
    Missing(Fault),
    /// The server refuses; its answer.
    Refused(Fault),
}

/// Requests the metadata of a path; symbolic links are not followed.
///
/// # Errors
/// No answer, or one that cannot be understood.
pub(crate) async fn look(client: &Client, path: &RemotePath) -> Result<Stat, Fault> {
    match client.stat(path).await {
        Ok(attributes) => Ok(Stat::Found(attributes)),
        Err(fault) if fault.says_missing() => Ok(Stat::Missing(fault.missing())),
        Err(fault) if fault.is_vague() && stands_for_missing(client, path, &fault).await? => {
            Ok(Stat::Missing(fault.missing()))
        }
        Err(fault @ Fault::Refused(_)) => Ok(Stat::Refused(fault)),
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
        Ok(Stat::Missing(_)) => fault.missing(),
        _ => fault,
    }
}

/// Whether the server answers so for what is not there: it answers the same for a name that is surely missing from the
/// directory, lists the directory without this name, and shows what it lists.
async fn stands_for_missing(client: &Client, path: &RemotePath, fault: &Fault) -> Result<bool, Fault> {
    if path.is_empty() {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or_default();
    match client.stat(&directory.join(&NO_NAME.into())).await {
        Err(nothing) if nothing.code().is_some() && nothing.code() == fault.code() => {}
        Err(nothing) if nothing.code().is_none() => return Err(nothing),
        _ => return Ok(false),
    }
    let handle = match client.open_directory(&directory).await {
        Ok(handle) => handle,
        // The directory may be missing too.
        Err(refused) if refused.says_missing() => return Ok(true),
        Err(refused) if refused.is_vague() => {
            return Box::pin(stands_for_missing(client, &directory, &refused)).await;
        }
        Err(Fault::Refused(_)) => return Ok(false),
        Err(fault) => return Err(fault),
    };
    for _ in 0..PAGES {
        let names = match client.read_directory(&handle).await?.await.and_then(client::page) {
            Ok(Some(names)) => names,
            Ok(None) => return Ok(true),
            Err(Fault::Refused(_)) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        if names.iter().any(|named| named.name == path.file_name()) {
            return Ok(false);
        }
        let other = names.iter().find(|named| !matches!(&named.name[..], b"." | b".."));
        if let Some(other) = other {
            let other = directory.join(&RemotePath::from_bytes(other.name.to_vec()));
            return Ok(client.stat(&other).await.is_ok());
        }
    }
    Ok(false)
}
