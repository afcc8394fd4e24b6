//! Listing a directory, and looking at a path: PROPFIND (RFC 4918, 9.1).

use crate::connection::{Ask, Remote};
use crate::error;
use crate::protocol::answer::Slot;
use crate::protocol::href::{self, Meaning};
use crate::protocol::multistatus::{CHECKSUMS, LOCKS, Malformed, Multistatus, PROPERTIES, Response};
use futures::stream::{self, BoxStream, StreamExt};
use http::StatusCode;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result};
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncBufRead, BufReader};
use transport::folder::{Entry, EntryKind};

const LIST: &str = "list a directory";

const LOOK: &str = "look at a file";

/// The most entries of one directory; a listing that goes on is taken for one without end.
const ENTRIES: u64 = 10_000_000;

type Source = Pin<Box<dyn AsyncBufRead + Send>>;

/// An answer being read.
struct Listing {
    remote: Arc<Remote>,
    directory: RemotePath,
    parts: Vec<Vec<u8>>,
    source: Multistatus<Source>,
    connection: Option<ConnectionId>,
    /// Given back after the last byte.
    _slot: Slot,
    /// The first of it, which was read already.
    first: Option<Response>,
    seen: u64,
    is_itself_seen: bool,
    /// The first reference that led elsewhere.
    elsewhere: Option<String>,
}

/// Asks about a path.
async fn ask(
    remote: &Arc<Remote>,
    path: &RemotePath,
    is_listing: bool,
    properties: &'static str,
) -> Result<Listing> {
    let operation = if is_listing { LIST } else { LOOK };
    let ask = Ask::new("PROPFIND", path).header("depth", if is_listing { "1" } else { "0" }).xml(properties);
    let ask = if is_listing { ask.directory() } else { ask };
    // A listing is read as it is used, like a file: what looks at files meanwhile must not wait for it.
    let slot = if is_listing { remote.download_slot().await? } else { remote.slot().await? };
    let answer = remote.ask_again(operation, ask, slot).await?;
    if answer.status != StatusCode::MULTI_STATUS {
        return Err(error::refused(operation, &remote.settings.target(), path, answer).await);
    }
    let source: Source = Box::pin(BufReader::with_capacity(64 * 1024, answer.body.into_reader()));
    Ok(Listing {
        remote: Arc::clone(remote),
        directory: path.clone(),
        parts: href::parts(path),
        source: Multistatus::new(source),
        connection: answer.connection,
        _slot: answer.slot,
        first: None,
        seen: 0,
        is_itself_seen: false,
        elsewhere: None,
    })
}

/// Looks at a path.
///
/// # Errors
/// `NotFound` if nothing is there; by status otherwise.
pub(crate) async fn look(remote: &Arc<Remote>, path: &RemotePath) -> Result<Entry> {
    look_at_version(remote, path).await.map(|(entry, _)| entry)
}

/// The same with its strong ETag, where it has one, as a condition of a request.
///
/// # Errors
/// As [`look`].
pub(super) async fn look_at_version(
    remote: &Arc<Remote>,
    path: &RemotePath,
) -> Result<(Entry, Option<String>)> {
    let (response, connection) = ask_about(remote, path, PROPERTIES).await?;
    match response.status {
        Some(404 | 410) => Err(Error::permanent(ErrorKind::NotFound, LOOK)
            .with("host", remote.settings.target())
            .with("path", path)
            .on_connection(connection)),
        _ => {
            let strong = response.strong.clone();
            Ok((entry(path.clone(), response), strong))
        }
    }
}

/// The checksums that the server tells of a file, as it writes them.
///
/// # Errors
/// By status.
pub(super) async fn checksums(remote: &Arc<Remote>, path: &RemotePath) -> Result<Option<String>> {
    ask_about(remote, path, CHECKSUMS).await.map(|(response, _)| response.checksums)
}

/// Who holds a lock on a path, as the server tells.
///
/// # Errors
/// By status.
pub(super) async fn lock_owner(remote: &Arc<Remote>, path: &RemotePath) -> Result<Option<String>> {
    ask_about(remote, path, LOCKS).await.map(|(response, _)| response.lock_owner)
}

/// Asks for properties of one path.
async fn ask_about(
    remote: &Arc<Remote>,
    path: &RemotePath,
    properties: &'static str,
) -> Result<(Response, Option<ConnectionId>)> {
    let mut listing = ask(remote, path, false, properties).await?;
    let failed = |listing: &Listing, malformed| listing.failed(LOOK, malformed);
    let response = match listing.source.next().await {
        Ok(Some(response)) => response,
        Ok(None) => {
            let wrong = Malformed::Xml("it tells of no file".to_owned());
            return Err(failed(&listing, wrong));
        }
        Err(malformed) => return Err(failed(&listing, malformed)),
    };
    // To its end, so that the connection can be used again. More than the one was not asked for.
    match listing.source.next().await {
        Ok(_) => {}
        Err(malformed) => return Err(failed(&listing, malformed)),
    }
    Ok((response, listing.connection))
}

/// Lists a directory.
///
/// # Errors
/// `NotFound` if it is missing, `Rejected` if it is a file; by status otherwise.
pub(crate) async fn list(
    remote: Arc<Remote>,
    directory: &RemotePath,
) -> Result<BoxStream<'static, Result<Entry>>> {
    let mut listing = ask(&remote, directory, true, PROPERTIES).await?;
    listing.first = match listing.source.next().await {
        Ok(first) => first,
        Err(malformed) => return Err(listing.failed(LIST, malformed)),
    };
    if let Some(first) = &listing.first
        && !first.is_directory
        && listing.meaning(first) == Meaning::Itself
    {
        return Err(Error::permanent(ErrorKind::Rejected, LIST)
            .with("host", remote.settings.target())
            .with("path", directory)
            .on_connection(listing.connection)
            .advice("it is a file"));
    }
    let entries = stream::try_unfold(listing, |mut listing| async move {
        Ok(listing.next().await?.map(|entry| (entry, listing)))
    });
    Ok(entries.boxed())
}

impl Listing {
    fn failed(&self, operation: &'static str, malformed: Malformed) -> Error {
        let host = self.remote.settings.target();
        error::malformed(operation, &host, &self.directory, self.connection, malformed)
    }

    fn meaning(&self, response: &Response) -> Meaning {
        let settings = &self.remote.settings;
        href::read(&response.href, &settings.host, &self.parts, settings.is_sharepoint)
    }

    /// The next entry; `None` at the end.
    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            let response = match self.first.take() {
                Some(first) => Some(first),
                None => self.source.next().await.map_err(|malformed| self.failed(LIST, malformed))?,
            };
            let Some(response) = response else {
                // A server behind a proxy may answer with paths of its own.
                return match self.elsewhere.take().filter(|_| !self.is_itself_seen) {
                    Some(href) => {
                        let error = self.failed(LIST, Malformed::Xml(format!("it tells of '{href}' only")));
                        Err(error.advice(
                            "the server lists files under another host or path: write that into the url",
                        ))
                    }
                    None => Ok(None),
                };
            };
            self.seen += 1;
            if self.seen > ENTRIES {
                let why = format!("it has more than {ENTRIES} entries");
                return Err(self.failed(LIST, Malformed::Xml(why)));
            }
            match self.meaning(&response) {
                Meaning::Itself => self.is_itself_seen = true,
                // Gone since, as the server says itself.
                Meaning::Entry(_) if matches!(response.status, Some(404 | 410)) => {}
                Meaning::Entry(name) => return Ok(Some(entry(RemotePath::from_bytes(name), response))),
                Meaning::Elsewhere => {
                    self.elsewhere.get_or_insert_with(|| response.href.clone());
                    // With a slash in it no name of a file: whoever lists tells of it and passes it over.
                    let path = RemotePath::from_bytes(format!("/{}", response.href.trim_start_matches('/')));
                    return Ok(Some(entry(path, response)));
                }
            }
        }
    }
}

fn entry(path: RemotePath, response: Response) -> Entry {
    let kind = if response.is_directory { EntryKind::Directory } else { EntryKind::File };
    Entry {
        path,
        kind,
        size: response.size.filter(|_| kind == EntryKind::File),
        modified: response.modified,
        version: response.etag.filter(|_| kind == EntryKind::File),
        changed: None,
    }
}
