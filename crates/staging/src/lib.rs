//! Staged payloads: the bytes that Waybill has taken into its care.
//!
//! Bytes come from a source or a listener as parts, are hashed while they are written, and are
//! *committed*: file synced, renamed to their final name, directory synced. What is reported committed is
//! whole after a kill and after a power loss; what was not committed was never promised. Destinations
//! open a committed payload as often as they like, at any offset.
//!
//! A staging area is one directory, shared by all nodes:
//!
//! ```text
//! partial/            parts being written: <id>, or named-<hash of the name> and its .marks
//! payloads/ab/<id>    committed payloads, spread by the last byte of their id
//! quarantine/<id>     committed payloads that no row in the database claims
//! moves.lock          held while payloads are moved to or from quarantine
//! ```
//!
//! Where to look: [`Staging`] is the area, [`PartFile`] a part on its way in, [`PayloadFile`] and
//! [`PayloadStream`] the ways out, [`Staging::sweep`] the sweep. [`Disk`] is the thin file layer
//! below, so that tests can take the power away. Every call blocks unless it is `async`.

mod area;
mod disk;
mod extents;
mod fault;
mod layout;
mod marks;
mod part;
mod read;
mod real_disk;
mod stream;
mod sweep;

pub use area::{Settings, StagedPayload, Staging};
pub use disk::{Disk, DiskFile, Listing, Space, Stat};
pub use part::PartFile;
pub use read::PayloadFile;
pub use real_disk::RealDisk;
pub use stream::{PayloadStream, STREAM_BUFFERS};
pub use sweep::{Found, Rows, Swept};
