//! Files that are read at their source while they are written.
//!
//! Such a file can be read once in an attempt, and whether it is the file that was found is known only after its last
//! byte. So it must have a temporary name until then, and nothing can be compared with it before.

use super::{FolderDestination, Overwrite, WriteOptions};
use crate::Deliver;
use model::Result;
use model::schema::{Findings, Section};

impl WriteOptions {
    /// Checks the options of a destination whose files are streamed. Paths begin at the destination.
    pub fn check_streamed(&self, findings: &mut Findings<'_>) {
        if !self.temporary_name {
            findings.error(
                "temporary",
                "cannot be \"none\" where the flow's source has stream = true: whether a file was changed while it was \
                 read is known after its last byte, and until then it must have a temporary name",
            );
        }
        let why = match self.overwrite {
            Overwrite::SkipSame => {
                "an existing file is compared with the checksum of the new one, which is not known yet"
            }
            Overwrite::Append => {
                "what was appended of a file that turns out to be changed could not be taken back"
            }
            Overwrite::Refuse | Overwrite::Replace | Overwrite::Rename(_) => return,
        };
        let message = format!("cannot be used where the flow's source has stream = true: {why}");
        findings.error("overwrite", message);
    }
}

impl FolderDestination {
    /// Refuses a streamed file where the options do not allow it: a person may have changed the flow and retried the
    /// delivery.
    pub(super) fn may_be_streamed(&self, delivery: &Deliver) -> Result<()> {
        if !delivery.payload.is_streamed() {
            return Ok(());
        }
        Findings::required(Section::FLOW, &delivery.flow, |findings| {
            self.options.check_streamed(findings);
            Some(())
        })
    }
}
