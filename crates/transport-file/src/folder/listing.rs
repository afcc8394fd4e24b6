//! Listing a directory of any length in bounded memory.

use super::entry;
use super::place;
use crate::error::failed;
use futures::stream::{self, Stream};
use model::{Error, RemotePath, Result};
use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;
use transport::folder::Entry;

/// Entries handed over at a time.
const CHUNK: usize = 256;

/// Chunks waiting to be taken; the reading thread waits beyond that.
const CHUNKS: usize = 4;

/// Bytes asked of the system at a time.
const BUFFER: usize = 32 * 1024;

/// Opens a directory to be listed.
pub(super) fn open(base: &RemotePath, roots: &[RemotePath], directory: &RemotePath) -> Result<OwnedFd> {
    let anchor = place::anchor(base, roots, directory)?;
    place::open_directory(&anchor.directory, &anchor.parts, OFlags::RDONLY)
        .map_err(|e| failed("list a directory", &base.join(directory), e))
}

/// The entries as the system tells them, read on a thread of their own as they are taken.
pub(super) fn stream(directory: OwnedFd, path: RemotePath) -> impl Stream<Item = Result<Entry>> {
    let (sender, receiver) = mpsc::channel::<Result<Vec<Entry>>>(CHUNKS);
    tokio::task::spawn_blocking(move || {
        // A receiver that is gone took what it wanted.
        if let Err(Some(error)) = read(&directory, &sender) {
            let _ = sender.blocking_send(Err(failed("list a directory", &path, error)));
        }
    });
    stream::unfold((receiver, Vec::new().into_iter()), next)
}

type Waiting = (mpsc::Receiver<Result<Vec<Entry>>>, std::vec::IntoIter<Entry>);

async fn next((mut receiver, mut chunk): Waiting) -> Option<(Result<Entry>, Waiting)> {
    loop {
        if let Some(entry) = chunk.next() {
            return Some((Ok(entry), (receiver, chunk)));
        }
        match receiver.recv().await? {
            Ok(entries) => chunk = entries.into_iter(),
            Err(error) => return Some((Err::<Entry, Error>(error), (receiver, chunk))),
        }
    }
}

/// `Err(None)` if the reader of the listing was dropped.
fn read(directory: &OwnedFd, sender: &mpsc::Sender<Result<Vec<Entry>>>) -> Result<(), Option<Errno>> {
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); BUFFER];
    let mut names = RawDir::new(directory, &mut buffer);
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(name) = names.next() {
        let name = name.map_err(Some)?;
        let bytes = name.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        match rustix::fs::statat(directory, name.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => chunk.push(entry(RemotePath::from_bytes(bytes), &stat)),
            // Gone since it was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Some(error)),
        }
        if chunk.len() == CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            sender.blocking_send(Ok(full)).map_err(|_| None)?;
        }
    }
    sender.blocking_send(Ok(chunk)).map_err(|_| None)
}
