//! What a transport declares, and what it checks beyond the types of its fields.

use crate::definition::{Definitions, Destination, Endpoint, Flow, PollEffects, PollSource};
use crate::schema::{Finding, TransportSpec};
use crate::{Result, Timestamp};

/// A transport's declaration with its own checks. No I/O.
pub trait Declaration: Send + Sync {
    /// The transport as data.
    fn spec(&self) -> &'static TransportSpec;

    /// Checks an endpoint further than its fields' kinds can.
    ///
    /// # Errors
    /// What cannot be used, in words for the person who wrote it.
    fn check_endpoint(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// Checks what a flow asks of an endpoint that it polls (archive directories and the like).
    ///
    /// # Errors
    /// `ConfigInvalid` or `Unsupported`, in words for the person who wrote it.
    fn check_source(&self, _endpoint: &Endpoint, _flow: &Flow) -> Result<()> {
        Ok(())
    }

    /// What a flow's polling does to its place, by the fields that this transport declares for sources. A transport that
    /// declares none for it keeps what it has, in its one directory.
    fn poll_effects(&self, _poll: &PollSource) -> PollEffects {
        PollEffects { keeps_files: true, ..PollEffects::default() }
    }

    /// Checks what a flow asks of an endpoint that it delivers to.
    ///
    /// # Errors
    /// `ConfigInvalid` or `Unsupported`, in words for the person who wrote it.
    fn check_destination(&self, _endpoint: &Endpoint, _destination: &Destination) -> Result<()> {
        Ok(())
    }

    /// Checks what several definitions say together, and what people should be warned of. `now` is for validity dates.
    fn check_definitions(&self, _definitions: &Definitions, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }
}
