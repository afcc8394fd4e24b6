//! Reading an offered file on after its connection broke: the same file, at the byte that was reached.
//!
//! Whoever reads sees one stream, so what is staged and its running digest are kept. It goes on only if the server
//! reports a time or a version for the file, and reports it unchanged; otherwise other content could be appended to what
//! was read. After the last byte the file is compared once more, as after every reading.

use super::FolderSource;
use super::claim::found_at_source;
use crate::folder::FileReader;
use crate::folder::destination::is_cut;
use crate::folder::outage::until_back;
use crate::{AfterRead, FoundOffer, Resumption, Resumptions, Source};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Error, RemotePath, Result};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// How often a reading goes on. Each time it must have come further than the time before.
const LIMIT: usize = 64;

/// The bytes from which a server that cannot be reached is waited for; fewer are as quickly read again.
const LEAST: u64 = 256 * 1024;

type Bytes = Box<dyn AsyncRead + Send + Unpin>;

/// A file that is read over as many connections as it takes.
pub(super) struct Resuming {
    source: FolderSource,
    /// What to compare the file with, and where it is.
    offer: FoundOffer,
    bytes: Bytes,
    position: u64,
    reopening: Option<BoxFuture<'static, Result<Bytes, Error>>>,
    resumptions: Resumptions,
}

impl Resuming {
    /// A reader that goes on; the same one if the server does not report enough of the file to know it again.
    pub(super) fn over(
        source: &FolderSource,
        offer: FoundOffer,
        bytes: Bytes,
        resumptions: &Resumptions,
    ) -> Bytes {
        let identity = &offer.identity;
        if identity.modified.is_none() && identity.version.is_none() {
            return bytes;
        }
        let source = source.over(source.folder.clone());
        let resumptions = resumptions.clone();
        Box::new(Self { source, offer, bytes, position: 0, reopening: None, resumptions })
    }

    /// Whether reading may go on after an error.
    fn may_go_on(&self, error: &Error) -> bool {
        let taken = self.resumptions.taken();
        is_cut(error)
            && self.position > 0
            && taken.len() < LIMIT
            && taken.last().is_none_or(|last| last.from < self.position)
    }

    /// Opens the file once more where it was left, if it is unchanged; otherwise fails with the error that broke it off.
    fn reopen(&self, broken: Error) -> BoxFuture<'static, Result<Bytes, Error>> {
        let source = self.source.over(self.source.folder.clone());
        let (offer, position, resumptions) = (self.offer.clone(), self.position, self.resumptions.clone());
        async move {
            let at_source = found_at_source(&offer);
            let path = &at_source.identity.path;
            let opened = match position < LEAST {
                true => source.read_on(&offer, path, position).await,
                false => until_back(|| source.read_on(&offer, path, position)).await,
            };
            let reader = match opened {
                Ok(Some(reader)) => reader,
                Ok(None) => return Err(broken),
                Err(error) => {
                    tracing::info!(%path, error = %error.chain(), "a file whose reading broke off cannot be opened again; its reading ends");
                    return Err(broken);
                }
            };
            let after = broken.to_string();
            tracing::warn!(%path, from = position, after, "the connection broke; the file is read on at the byte that was reached");
            resumptions.add(Resumption { from: position, connection: reader.connection, after });
            Ok(reader.bytes)
        }
        .boxed()
    }
}

impl FolderSource {
    /// Opens a file at the byte that was reached; `None` if it is not as it was.
    async fn read_on(
        &self,
        offer: &FoundOffer,
        path: &RemotePath,
        position: u64,
    ) -> Result<Option<FileReader>> {
        match self.look_again(offer).await? {
            AfterRead::Unchanged => self.folder.read(path, position).await.map(Some),
            after => {
                tracing::info!(%path, ?after, "a file whose reading broke off is not as it was; its reading ends");
                Ok(None)
            }
        }
    }
}

impl AsyncRead for Resuming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(reopening) = &mut self.reopening {
                let reopened = ready!(reopening.as_mut().poll(context));
                self.reopening = None;
                self.bytes = reopened.map_err(io::Error::other)?;
            }
            let before = buffer.filled().len();
            match ready!(Pin::new(&mut self.bytes).poll_read(context, buffer)) {
                Ok(()) => {
                    self.position += (buffer.filled().len() - before) as u64;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => match error.downcast::<Error>() {
                    Ok(error) if self.may_go_on(&error) => {
                        // Gives its connection back before another one is needed.
                        self.bytes = Box::new(tokio::io::empty());
                        self.reopening = Some(self.reopen(error));
                    }
                    Ok(error) => return Poll::Ready(Err(io::Error::other(error))),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }
}
