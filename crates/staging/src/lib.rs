//! Staging: the bytes that Waybill has received and is responsible for.
//!
//! Bytes arrive from a source or a listener as parts, are hashed while they are written, and are then
//! *committed*: the file is synced, renamed to its final name, and the directory is synced. A committed
//! payload survives a killed process and a power failure; a part that was not committed may be lost.
//! Destinations can open a committed payload any number of times, at any offset.
//!
//! A staging area is one directory, shared by all nodes:
//!
//! ```text
//! partial/            parts being written: <id>, or named-<hash of the name> and its .marks;
//!                     segment-<id>: bytes of messages that have arrived in part
//! payloads/ab/<id>    committed payloads, spread by the last byte of their id
//! quarantine/<id>     committed payloads without a row in the database
//! moves.lock          held while payloads are moved to or from quarantine
//! ```
//!
//! Where to look: [`Staging`] is the staging area, [`PartFile`] a part that is being written; [`PayloadFile`]
//! and [`PayloadStream`] read payloads; [`Staging::sweep`] cleans up. [`Disk`] is a thin layer over files, so
//! that tests can simulate a power failure. Every call blocks unless it is `async`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod area;
mod disk;
mod extents;
mod fault;
mod kept;
mod layout;
mod marks;
mod part;
mod read;
mod real_disk;
mod stream;
mod sweep;

pub use area::{Settings, StagedPayload, Staging};
pub use disk::{Disk, DiskFile, Listing, Space, Stat};
pub use kept::Segment;
pub use part::{PartFile, SHARED_FROM};
pub use read::PayloadFile;
pub use real_disk::RealDisk;
pub use stream::{PayloadStream, STREAM_BUFFERS};
pub use sweep::{Found, Rows, Swept};
