//! Listing a directory as the server sends it: MLSD, or LIST.

use super::{Lease, Transfer};
use crate::error::Fault;
use crate::options::ListBy;
use crate::protocol::listing::{Form, LINE, Line};
use bytes::BytesMut;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use model::{RemotePath, Result};
use transport::folder::Entry;

/// The most lines of a listing that name no file: blank or unreadable ones, further versions of a file, names in another
/// encoding. Without it a listing of nothing else would never end.
const IDLE_LINES: u64 = 1_000_000;

/// The most files and directories of a listing. It is no listing of a directory then, and not all who list count.
const ENTRIES: u64 = 10_000_000;

pub(super) const OPERATION: &str = "list a directory";

/// Lists a directory, without `.` and `..`.
///
/// # Errors
/// By the server's codes.
pub(super) async fn list(
    lease: &Lease,
    directory: &RemotePath,
) -> Result<BoxStream<'static, Result<Entry>>, Fault> {
    Ok(entries(begin(lease, directory).await?))
}

fn entries(listing: Listing) -> BoxStream<'static, Result<Entry>> {
    let pages = stream::try_unfold(listing, |mut listing| async move {
        match listing.page().await {
            Ok(Some(page)) => Ok(Some((stream::iter(page.into_iter().map(Ok)), listing))),
            Ok(None) => Ok(None),
            Err(fault) => Err(fault.error(OPERATION, listing.lease.target(), Some(&listing.directory))),
        }
    });
    pages.try_flatten().boxed()
}

async fn begin(lease: &Lease, directory: &RemotePath) -> Result<Listing, Fault> {
    let new = |transfer, form, is_all| Listing {
        lease: lease.clone(),
        directory: directory.clone(),
        transfer: Some(transfer),
        form,
        is_all,
        room: BytesMut::new(),
        buffer: Vec::new(),
        lines: 0,
        idle_lines: 0,
        entries: 0,
        begun: Vec::new(),
        last: None,
        unreadable: None,
    };
    if lease.lists_facts() {
        match Transfer::of_path(lease, "MLSD", directory, 0).await {
            Err(Fault::Refused(reply))
                if matches!(reply.code, 500 | 502) && lease.list_by() == ListBy::Offer => {}
            other => return Ok(new(other?, Form::Facts, false)),
        }
    }
    let form = match lease.list_by() {
        ListBy::List(form) => form,
        ListBy::Offer | ListBy::Mlsd => Form::Any,
    };
    // By LIST's argument no directory can be named that begins with '-' or holds a '*'.
    lease.act("CWD", directory).await?;
    match Transfer::begin(lease.clone(), "LIST", b"-a", 0).await {
        Err(Fault::Refused(reply)) if reply.code / 100 == 5 => {
            Ok(new(Transfer::begin(lease.clone(), "LIST", b"", 0).await?, form, false))
        }
        other => Ok(new(other?, form, true)),
    }
}

struct Listing {
    lease: Lease,
    directory: RemotePath,
    /// `None` after its end.
    transfer: Option<Transfer>,
    form: Form,
    /// Whether hidden files were asked for. Where that is taken for a name, the listing is empty.
    is_all: bool,
    /// What is read into.
    room: BytesMut,
    /// A line that is not whole yet.
    buffer: Vec<u8>,
    lines: u64,
    idle_lines: u64,
    entries: u64,
    /// The beginning of an entry, where the next line is its rest.
    begun: Vec<u8>,
    /// The name before, which further versions of the same file have.
    last: Option<RemotePath>,
    /// The first line that could not be read.
    unreadable: Option<Vec<u8>>,
}

impl Listing {
    /// The next entries; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Entry>>, Fault> {
        loop {
            let Some(transfer) = &mut self.transfer else { return Ok(None) };
            let chunk = transfer.read(&mut self.room).await?;
            if !chunk.is_empty() {
                let page = self.take(&chunk)?;
                if !page.is_empty() {
                    return Ok(Some(page));
                }
                continue;
            }
            // The last line may have no end.
            let last = std::mem::take(&mut self.buffer);
            let page: Vec<Entry> = self.line(&last).into_iter().collect();
            if let Some(transfer) = self.transfer.take() {
                transfer.received().await?;
            }
            if self.is_all && self.lines == 0 {
                // Where hidden files are shown, "." is one.
                self.is_all = false;
                self.transfer = Some(Transfer::begin(self.lease.clone(), "LIST", b"", 0).await?);
                continue;
            }
            self.check()?;
            return Ok(Some(page));
        }
    }

    /// The entries of the lines that are whole now.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.buffer.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.buffer);
            match self.line(&line) {
                Some(entry) => entries.push(entry),
                None => self.idle_lines += 1,
            }
            if self.idle_lines > IDLE_LINES {
                return Err(Fault::Endless("the listing has more than 1,000,000 lines that name no file"));
            }
            if self.entries > ENTRIES {
                return Err(Fault::Endless("the listing has more than 10,000,000 files"));
            }
        }
        self.buffer.extend_from_slice(rest);
        if self.buffer.len() > LINE {
            self.buffer.truncate(200);
            return Err(Fault::Malformed(
                "a line of the listing is longer than 20 KiB",
                std::mem::take(&mut self.buffer),
            ));
        }
        Ok(entries)
    }

    fn line(&mut self, line: &[u8]) -> Option<Entry> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.lines += u64::from(!line.is_empty());
        let whole = [std::mem::take(&mut self.begun).as_slice(), line].concat();
        let line = whole.as_slice();
        match self.form.read(line, self.lease.now()) {
            Line::Entry(entry) => {
                self.entries += 1;
                if matches!(self.form, Form::Vms | Form::Any) && self.last.as_ref() == Some(&entry.path) {
                    return None;
                }
                self.last = Some(entry.path.clone());
                let shown = self.lease.shown(entry);
                if shown.is_none() {
                    let line = model::PeerText::new(line);
                    tracing::warn!(host = %self.lease.target().host, directory = %self.directory, %line, "listing: a name that is not of the endpoint's encoding is ignored");
                }
                shown
            }
            Line::Begun if line.len() <= LINE => {
                self.begun = line.to_vec();
                None
            }
            Line::Nothing => None,
            Line::Begun | Line::Unreadable => {
                if self.unreadable.is_none() {
                    let line = model::PeerText::new(line);
                    tracing::warn!(host = %self.lease.target().host, directory = %self.directory, %line, "listing: a line that cannot be read is ignored");
                }
                self.unreadable.get_or_insert_with(|| line.iter().take(200).copied().collect());
                None
            }
        }
    }

    /// A listing of which nothing can be read is an error, and not an empty directory.
    fn check(&mut self) -> Result<(), Fault> {
        match self.unreadable.take() {
            Some(line) if self.entries == 0 => {
                Err(Fault::Malformed("the listing has a form that Waybill does not know", line))
            }
            _ => Ok(()),
        }
    }
}
