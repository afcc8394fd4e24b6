//! Messages, their receipts and evidence.

use super::EventWords;
use crate::audit::EventKind;

impl EventWords<'_> {
    /// The line of one of these events; empty for any other.
    pub(super) fn of_message(&self, kind: EventKind) -> String {
        match kind {
            EventKind::ReceiptUnmatched => format!(
                "A receipt{} arrived, but no delivery waits for it{}{}",
                self.sender(),
                self.with(": message ", "message_id"),
                self.with(": ", "key")
            ),
            EventKind::ReceiptUnproven => format!(
                "A receipt{} proves nothing, and the delivery{} still waits for one{}",
                self.sender(),
                self.to(),
                self.with(": ", "error")
            ),
            EventKind::ReceiptIgnored => format!(
                "A receipt{} for the delivery{} arrived and changed nothing{}{}",
                self.sender(),
                self.to(),
                self.with("; its state is ", "was"),
                self.with(": ", "receipt")
            ),
            EventKind::MessageRefused => format!(
                "A message{} was refused{}{}",
                self.sender(),
                self.with(": ", "reason"),
                self.with(": ", "error")
            ),
            EventKind::MessageRestarted => format!(
                "A message{} goes on after its connection was lost{}{}",
                self.partner.map(|partner| format!(" to partner {partner}")).unwrap_or_default(),
                self.with(" at byte ", "from_byte"),
                self.with(" of ", "total")
            ),
            EventKind::RestartUnsupported => format!(
                "The whole message is sent again: AS2 restart is not supported{}{}",
                self.partner.map(|partner| format!(" by partner {partner}")).unwrap_or_default(),
                self.with(": ", "reason")
            ),
            EventKind::LegacyUsed => format!(
                "Weak algorithms or keys were used{}, as legacy = true allows{}",
                self.partner.map(|partner| format!(" with partner {partner}")).unwrap_or_default(),
                self.with(": ", "used")
            ),
            EventKind::MessageRepeated => format!(
                "A message{} was received again; it was answered and not processed again{}",
                self.sender(),
                self.with(": ", "message_id")
            ),
            EventKind::MessageContentDiffers => format!(
                "A message{} was {}: {}{}",
                self.sender(),
                if self.is_true("taken_from_answer") { "taken from an answer" } else { "refused" },
                self.text("reason")
                    .unwrap_or_else(|| "its Message-ID was used before for other content".to_owned()),
                self.with(": ", "message_id")
            ),
            EventKind::MessagePartialKept => format!(
                "The connection of a message{} broke; what had come is kept{}{}",
                self.sender(),
                self.count(": ", "received", "byte", "bytes"),
                self.with(" of ", "total")
            ),
            EventKind::MessageContinued => format!(
                "The sender of a message{} goes on{}{}",
                self.sender(),
                self.with(" at byte ", "from_byte"),
                self.with(" of ", "total")
            ),
            EventKind::MessagePartialRemoved => format!(
                "What was kept of a message{} is removed{}{}",
                self.sender(),
                self.count(": ", "received", "byte", "bytes"),
                self.with("; ", "reason")
            ),
            EventKind::EvidenceRecorded => {
                format!("The evidence of a message{} was recorded; its receipt had come before", self.to())
            }
            EventKind::EvidenceRemoved => format!(
                "The evidence of a message was removed at the end of its retention{}",
                self.with(": ", "message_id")
            ),
            EventKind::EvidenceExported => {
                format!("{} saved the evidence of a message{}", self.who(), self.with(": ", "message_id"))
            }
            _ => String::new(),
        }
    }
}
