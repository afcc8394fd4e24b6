//! Looking at a path: MLST; else SIZE, CWD, and the line of STAT, which is the same as in a listing.

use super::{Lease, list};
use crate::connection::Connection;
use crate::error::{Cause, Fault};
use crate::protocol::listing::{self, Form, Line};
use crate::protocol::reply::Reply;
use futures::StreamExt;
use model::RemotePath;
use net::PooledConnection;
use transport::folder::{Entry, EntryKind};

/// What was found at a path.
pub(super) enum Looked {
    Found(Entry),
    /// Nothing; the answer that says so.
    Missing(Reply),
    /// The server does not tell.
    Refused(Reply),
}

/// Looks at a path.
///
/// # Errors
/// No answer came.
pub(super) async fn look(lease: &Lease, path: &RemotePath) -> Result<Looked, Fault> {
    if lease.lists_facts() {
        let reply = lease.ask_of("MLST", path).await?;
        if reply.is_done() {
            if let Some(entry) = reply.inner().iter().find_map(|line| facts(line)) {
                return Ok(Looked::Found(lease.typed(Entry { path: path.clone(), ..entry })));
            }
        } else if !matches!(reply.code, 500 | 502 | 504) {
            return match (reply.code, Cause::of(&reply)) {
                (450 | 550 | 553, Cause::Missing) => Ok(Looked::Missing(reply)),
                // The code of every refusal of a path. A file that is only refused must not count as gone: its transfer
                // would count as settled, and it would be read again.
                (550 | 553, Cause::Unknown) => look_in_directory(lease, path, reply).await,
                _ => Ok(Looked::Refused(reply)),
            };
        }
    }
    look_without_facts(lease, path).await
}

/// A line of MLST begins with a space.
fn facts(line: &[u8]) -> Option<Entry> {
    listing::facts(line.strip_prefix(b" ").unwrap_or(line))
}

async fn look_without_facts(lease: &Lease, path: &RemotePath) -> Result<Looked, Fault> {
    let entry =
        |kind, size| Entry { path: path.clone(), kind, size, modified: None, version: None, changed: None };
    let sized = lease.ask_of("SIZE", path).await?;
    if sized.code == 213 {
        let size = std::str::from_utf8(sized.text().trim_ascii()).ok().and_then(|digits| digits.parse().ok());
        // The time as in the listing: MDTM tells it to the second, LIST to the minute, and they would differ.
        return Ok(match status_line(lease, path).await? {
            Status::Line(found) => {
                Looked::Found(lease.typed(Entry { path: path.clone(), size: size.or(found.size), ..found }))
            }
            Status::Nothing(_) | Status::Unknown(_) => {
                Looked::Found(lease.typed(entry(EntryKind::File, size)))
            }
        });
    }
    let entered = lease.ask_of("CWD", path).await?;
    if entered.is_done() {
        return Ok(Looked::Found(entry(EntryKind::Directory, None)));
    }
    // Each delivery asks this of a name that is free: with both answers the directory need not be listed.
    if Cause::of(&sized) == Cause::Missing && Cause::of(&entered) == Cause::Missing {
        return Ok(Looked::Missing(sized));
    }
    match status_line(lease, path).await? {
        Status::Line(found) => Ok(Looked::Found(lease.typed(Entry { path: path.clone(), ..found }))),
        Status::Nothing(reply) => Ok(Looked::Missing(reply)),
        Status::Unknown(reply) if Cause::of(&reply) == Cause::Missing => Ok(Looked::Missing(reply)),
        Status::Unknown(_) => look_in_directory(lease, path, sized).await,
    }
}

/// What STAT says of a path that is no directory.
enum Status {
    Line(Entry),
    /// It listed nothing.
    Nothing(Reply),
    Unknown(Reply),
}

/// STAT with a path lists it over the control connection (RFC 959, 4.1.3).
async fn status_line(lease: &Connection, path: &RemotePath) -> Result<Status, Fault> {
    let reply = lease.ask_of("STAT", path).await?;
    // 211 is the state of the server: it does not list.
    if !matches!(reply.code, 212 | 213) {
        return Ok(Status::Unknown(reply));
    }
    let (name, now) = (path.file_name(), lease.now());
    let mut is_other = false;
    for line in reply.inner() {
        match form(lease).read(line, now) {
            Line::Entry(entry) if lease.named(&entry).is_some_and(|entry| is_named(&entry, name)) => {
                return Ok(Status::Line(entry));
            }
            Line::Nothing => {}
            // A name with `*` lists others.
            Line::Entry(_) | Line::Begun | Line::Unreadable => is_other = true,
        }
    }
    Ok(if is_other { Status::Unknown(reply) } else { Status::Nothing(reply) })
}

/// Some servers show the whole path here.
fn is_named(entry: &Entry, name: &[u8]) -> bool {
    entry.path.file_name() == name
}

fn form(connection: &Connection) -> Form {
    match connection.list_by() {
        crate::options::ListBy::List(form) => form,
        _ => Form::Any,
    }
}

/// Whether STAT lists what has just this path: others than those with wildcards, options and spaces.
fn is_no_pattern(path: &RemotePath) -> bool {
    let bytes = path.as_bytes();
    !bytes.starts_with(b"-")
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
}

/// The last resort: the listing of the directory above. `refusal` is what the server answered about the path.
async fn look_in_directory(lease: &Lease, path: &RemotePath, refusal: Reply) -> Result<Looked, Fault> {
    if path.parts().next().is_none() {
        return Ok(Looked::Refused(refusal));
    }
    let directory = path.parent().unwrap_or_default();
    let entered = lease.ask_of("CWD", &directory).await?;
    if !entered.is_done() {
        return Ok(match (entered.code, Cause::of(&entered)) {
            (450 | 550 | 553, Cause::Missing) => Looked::Missing(refusal),
            // The directory may be missing too.
            (550 | 553, Cause::Unknown) => {
                match Box::pin(look_in_directory(lease, &directory, entered)).await? {
                    Looked::Missing(_) => Looked::Missing(refusal),
                    Looked::Found(_) | Looked::Refused(_) => Looked::Refused(refusal),
                }
            }
            _ => Looked::Refused(refusal),
        });
    }
    // Each delivery asks for a name that is free, and the directory may be long. Who may enter it sees each file that is there.
    if is_no_pattern(path) && matches!(status_line(lease, path).await?, Status::Nothing(_)) {
        return Ok(Looked::Missing(refusal));
    }
    let mut listing = match list::list(lease, &directory).await {
        Ok(listing) => listing,
        Err(Fault::Refused(_)) => return Ok(Looked::Refused(refusal)),
        Err(fault) => return Err(fault),
    };
    // To its end: the answer to a listing that is left would be read beside the next command's.
    let mut found = None;
    while let Some(entry) = listing.next().await {
        match entry {
            Ok(entry) if is_named(&entry, path.file_name()) => found = Some(entry),
            Ok(_) => {}
            Err(_) => {
                lease.lose("a listing could not be read");
                return Ok(Looked::Refused(refusal));
            }
        }
    }
    Ok(match found {
        Some(entry) => Looked::Found(Entry { path: path.clone(), ..entry }),
        None => Looked::Missing(refusal),
    })
}

/// A refusal, and whether it was because nothing is at the path, which its code often does not say. Where that is asked
/// and the answer does not come, the fault is that of the question: a refusal for a reason that nobody knows must not
/// end a delivery for good.
pub(super) async fn refined(lease: &Lease, fault: Fault, path: &RemotePath) -> (Fault, bool) {
    let Fault::Refused(reply) = fault else { return (fault, false) };
    let is_missing = match (reply.code, Cause::of(&reply)) {
        (_, Cause::Missing) => true,
        (450 | 550 | 553, Cause::Unknown) => match look(lease, path).await {
            Ok(looked) => matches!(looked, Looked::Missing(_)),
            Err(silence) if silence.is_unanswered() => {
                tracing::debug!(host = %lease.target().host, %path, ?reply, "why this was refused is not known");
                return (silence, false);
            }
            Err(_) => false,
        },
        _ => false,
    };
    (Fault::Refused(reply), is_missing)
}
