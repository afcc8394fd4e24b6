//! A file while it is written, and what is known of it afterwards.

use crate::folder::Entry;
use crate::folder::attributes::NotSet;
use crate::folder::checksum::ChecksumKind;
use async_trait::async_trait;
use model::{ConnectionId, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A file being written under a temporary name.
#[async_trait]
pub trait Upload: Send {
    /// The connection over which the bytes are sent; `None` if there is none, as for a local directory.
    fn connection(&self) -> Option<ConnectionId>;

    /// The lock under which the file is written, for [`crate::folder::Folder::release_lock`]; `None` if it is not locked, which is the default.
    fn lock(&self) -> Option<String> {
        None
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// By the protocol's codes; the upload must then be aborted or dropped.
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()>;

    /// Waits until the server has acknowledged all bytes written so far; on this machine, until they are durable.
    ///
    /// # Errors
    /// As [`Upload::write`].
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Tells the upload which file had its name before. Where the answer to the last byte is lost, a file that looks the
    /// same as that one does not show that this upload took effect.
    fn replaces(&mut self, _earlier: Entry) {}

    /// Closes the file after all bytes were acknowledged and, where the server can, synced to disk. Returns what the
    /// server reports about the file.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn finish(self: Box<Self>) -> Result<Written>;

    /// Aborts the upload and removes the temporary file if possible.
    async fn abort(self: Box<Self>);

    /// How many bytes, from the beginning of the file, the server has confirmed; `None` if it confirms whole files only.
    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Ends an upload whose connection broke, so that [`crate::folder::Folder::resume_write`] can go on with its file: what has arrived
    /// stays. `false` if that is not possible, which is the default: the upload was aborted then.
    async fn suspend(self: Box<Self>) -> bool {
        self.abort().await;
        false
    }
}

/// What the server reports about a written file. It has acknowledged all its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Its size on the server; `None` if this user may not query it.
    pub size: Option<u64>,
    /// What proves that the file is complete.
    pub evidence: Evidence,
    /// Whether the file disappeared as soon as it was closed.
    pub gone: bool,
    /// What the flow asks for and the server has not set.
    pub not_set: NotSet,
}

impl Written {
    /// A file that still exists and has this size.
    #[must_use]
    pub fn there(size: u64) -> Self {
        Self { size: Some(size), evidence: Evidence::Size, gone: false, not_set: NotSet::default() }
    }
}

/// What proves that a written file is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Its size, reported after it was closed.
    Size,
    /// Its size, reported before it was closed. After that, the size could not be queried, or the file had been
    /// collected.
    SizeBeforeClose,
    /// The end of the file, read after it was closed. The server reports this wrong size.
    End(u64),
    /// Its size and its SHA-256: it was read back.
    ReadBack,
    /// Its size, and its checksum that the server computed.
    ServerChecksum(ChecksumKind),
    /// The acknowledgement of every write; nothing more was asked for.
    NotVerified,
    /// The acknowledgement of every write; the server shows no sizes.
    Acknowledged,
    /// The acknowledgement of every write, although the server reported this different size before or while the file
    /// was closed. After that, the size could not be queried, or the file had been collected. Servers that update
    /// sizes late do so.
    AcknowledgedAgainst(u64),
}

impl Evidence {
    /// The text for a receipt.
    #[must_use]
    pub fn words(self) -> Cow<'static, str> {
        match self {
            Self::Size => "size after closing".into(),
            Self::SizeBeforeClose => "size before closing".into(),
            Self::End(stated) => format!("the end of the file was read after closing; the server reports a wrong size of {stated} bytes").into(),
            Self::ReadBack => "the file was read back after closing, and its SHA-256 is that of what was sent".into(),
            Self::ServerChecksum(kind @ (ChecksumKind::Sha256 | ChecksumKind::Sha512)) => {
                format!("the server computed the file's {} after closing, and it is that of what was sent", kind.name()).into()
            }
            Self::ServerChecksum(kind) => format!(
                "the server computed the file's {} after closing, and it is that of what was sent; it has no better checksum, \
                 and this one shows damage but no forgery",
                kind.name()
            )
            .into(),
            Self::NotVerified => "every write was acknowledged; the flow asks for no more (verify = \"none\")".into(),
            Self::Acknowledged => "every write was acknowledged; the server shows no sizes".into(),
            Self::AcknowledgedAgainst(told) => {
                format!("every write was acknowledged; the server reported another size, {told} bytes").into()
            }
        }
    }
}
