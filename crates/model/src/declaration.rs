//! What a transport declares, and what it checks beyond the types of its fields.

use crate::definition::{Definitions, Destination, Endpoint, Flow, PollEffects, PollSource};
use crate::schema::{Finding, TransportSpec};
use crate::{Result, Timestamp};

/// A transport's declaration and its own checks. Does no I/O.
pub trait Declaration: Send + Sync {
    /// The transport as data.
    fn spec(&self) -> &'static TransportSpec;

    /// Checks an endpoint beyond the kinds of its fields.
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

    /// The effects of a flow's polling on the source: whether it polls subdirectories, keeps files, and moves
    /// refused ones. By default: files of one directory, which are kept.
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

    /// Checks several definitions together, and adds warnings. `now` is for validity dates.
    fn check_definitions(&self, _definitions: &Definitions, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }
}
