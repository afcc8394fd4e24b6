//! A transport whose places do what a test tells them, and what the engine lends, in memory.
//!
//! [`FakeTransport`] has endpoints by name; each [`FakeEndpoint`] holds offers to be found, answers to be
//! given to deliveries, and a ledger of what it saw. [`ScriptedFolder`] wraps any folder and lies, fails
//! or lets something happen in between; [`MemoryFolder`] is an honest one.

mod destination;
mod endpoint;
mod folder;
mod known_hosts;
mod lent;
mod memory;
mod places;
mod source;

pub use destination::{Answer, DeliverCall, ScriptedReply};
pub use endpoint::{DeliverySeen, FakeEndpoint, SettleSeen};
pub use folder::{Act, PublishAnswer, ScriptedFolder, Way};
pub use known_hosts::HostKeysOnly;
pub use lent::{BytesPayload, Known, MemoryAudit, MemoryHostKeys, MemoryLog, NoDirectory, services};
pub use memory::{MemoryFolder, Renames};
pub use places::{FakeTransport, SPEC};
pub use source::{Opening, ScriptedOffer, ScriptedPart, Settling};

use model::{Error, ErrorKind, Retry};

#[cfg(test)]
mod tests;

/// An error as a test scripts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its kind.
    pub kind: ErrorKind,
    /// Its class.
    pub retry: Retry,
}

impl Fault {
    /// A connection that broke before anything was done.
    pub const CUT: Self = Self { kind: ErrorKind::Unreachable, retry: Retry::Transient };

    /// A connection that broke, nobody knows when.
    pub const LOST: Self = Self { kind: ErrorKind::Unreachable, retry: Retry::Ambiguous };

    /// A refusal for good.
    pub const REFUSED: Self = Self { kind: ErrorKind::Rejected, retry: Retry::Permanent };

    /// The error itself.
    #[must_use]
    pub fn error(self, operation: &'static str) -> Error {
        Error::new(self.kind, self.retry, operation).with("cause", "the test asked for it")
    }
}
