//! What became of files at their sources.

use super::EventWords;
use crate::audit::EventKind;

impl EventWords<'_> {
    /// The line of one of these events; empty for any other.
    pub(super) fn of_offer(&self, kind: EventKind) -> String {
        match kind {
            EventKind::OfferBackedOff => format!(
                "{} could not be staged{}{}; it will be tried again",
                self.offer(),
                self.with(", failure ", "failures"),
                self.with(": ", "error")
            ),
            EventKind::OfferRefused => {
                format!("{} was refused{}", self.offer(), self.with(": ", "error"))
            }
            EventKind::OfferChanged => {
                format!(
                    "{} changed while it was read; it will be offered again{}",
                    self.offer(),
                    self.with(": ", "why")
                )
            }
            EventKind::OfferMismatch => format!(
                "{} was accepted although its source reports another size or time than was read{}{}{}",
                self.offer(),
                self.with(": bytes reported ", "stated_bytes"),
                self.with(", read ", "read_bytes"),
                self.with(": ", "why")
            ),
            EventKind::OfferUnstable => format!(
                "{} is not accepted yet: its modification time keeps changing{}{}",
                self.offer(),
                self.with(", it was ", "was"),
                self.with(" and is ", "is")
            ),
            EventKind::ArchiveRemoved => match self.text("outcome").as_deref() {
                Some("changed") => format!("{} was changed in its archive, and stays there", self.offer()),
                _ => format!("{} was removed from its archive: its time there is over", self.offer()),
            },
            EventKind::FlowFilesMissing => format!(
                "Files are missing{}{}{}{}",
                self.for_flow(),
                self.with(": expected ", "expected"),
                self.with(" on ", "day"),
                self.with(", taken by then: ", "found")
            ),
            EventKind::FlowFilesArrived => format!(
                "The missing files came after all{}{}{}",
                self.for_flow(),
                self.with(": expected ", "expected"),
                self.with(" on ", "day")
            ),
            EventKind::OfferDuplicate => format!(
                "{} has the content of a file that was taken before, and is not transferred again",
                self.offer()
            ),
            EventKind::OfferSettled => {
                let outcome = match self.text("outcome").as_deref() {
                    Some("kept") => "was kept at its source",
                    Some("changed") => {
                        "was replaced at its source: the new file was left there and will be offered as a new file"
                    }
                    _ => "was settled at its source",
                };
                format!("{} {outcome}{}", self.offer(), self.with("; archived as ", "archived"))
            }
            EventKind::SettleFailed => {
                format!("{} could not be settled at its source{}", self.offer(), self.with(": ", "error"))
            }
            _ => String::new(),
        }
    }
}
