//! One line that says what an event is about: who, where, to what, and why.

mod certificates;
mod endpoints;
mod messages;
mod offers;
mod parts;

use super::EventKind;
use serde_json::{Map, Value};

/// An event's words, as they are stored; some may be of a newer Waybill.
#[derive(Clone, Copy, Debug)]
pub struct EventWords<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Who did it, as in [`super::Actor::to_text`].
    pub actor: &'a str,
    /// Where it happened.
    pub node: &'a str,
    /// The flow concerned.
    pub flow: Option<&'a str>,
    /// The endpoint concerned.
    pub endpoint: Option<&'a str>,
    /// The partner concerned.
    pub partner: Option<&'a str>,
    /// The peer's address.
    pub peer: Option<&'a str>,
    /// The rest.
    pub detail: &'a Map<String, Value>,
}

impl EventWords<'_> {
    /// One line, without the time. What the event does not tell is left out.
    #[must_use]
    pub fn summary(&self) -> String {
        match EventKind::parse(self.kind) {
            Some(kind) => self.of(kind),
            // A newer Waybill's: what most events would say.
            None => ["error", "reason", "why", "summary"]
                .iter()
                .find_map(|key| self.text(key))
                .unwrap_or_else(|| format!("At {}", self.endpoint.unwrap_or(self.node))),
        }
    }

    fn of(&self, kind: EventKind) -> String {
        match kind {
            EventKind::NodeStarted => {
                format!("Node {} started{}", self.node, self.with(", version ", "version"))
            }
            EventKind::NodeStopped => format!("Node {} stopped", self.node),
            EventKind::NodeFenced => format!(
                "Node {} did not renew its lease; other nodes take over its work{}",
                self.text("node").unwrap_or_else(|| "?".into()),
                self.count(": ", "deliveries", "delivery", "deliveries"),
            ),
            EventKind::DefinitionsApplied if self.is_carried() => format!(
                "The record of revision{} was copied before its month was removed: applied by {}{}",
                self.with(" ", "revision"),
                self.first_actor(),
                self.with(" at ", "first_at")
            ),
            EventKind::DefinitionsApplied => format!(
                "{} {} definitions{}{}{}",
                self.who(),
                match self.text("how").as_deref() {
                    Some("rollback") => "rolled back",
                    Some("edit") => "edited",
                    _ => "applied",
                },
                self.with(" as revision ", "revision"),
                self.with(" from ", "source"),
                self.with(": ", "changes")
            ),
            EventKind::DefinitionsInForce => {
                format!("Node {} put definitions in force{}", self.node, self.with(": revision ", "revision"))
            }
            EventKind::DefinitionsRefused => format!(
                "Node {} cannot use the definitions{}{}{}{}",
                self.node,
                self.with(" of revision ", "revision"),
                self.with(" of ", "directory"),
                self.with("; it still uses revision ", "in_force"),
                self.with(": ", "error")
            ),
            EventKind::MasterKeyRotated => format!(
                "{} encrypted all stored secrets with master key{}{}",
                self.who(),
                self.with(" ", "key"),
                self.count("; encrypted with another key before: ", "secrets", "secret", "secrets")
            ),
            EventKind::MasterKeyForgotten => format!(
                "{} forgot master key{}{}{}",
                self.who(),
                self.with(" ", "key"),
                self.count("; lost with it: ", "secrets", "secret", "secrets"),
                self.with(": ", "fields")
            ),
            EventKind::PollFailed => {
                format!("Polling{}{} failed{}", self.at(), self.for_flow(), self.with(": ", "error"))
            }
            EventKind::OfferBackedOff
            | EventKind::OfferRefused
            | EventKind::OfferChanged
            | EventKind::OfferMismatch
            | EventKind::OfferUnstable
            | EventKind::ArchiveRemoved
            | EventKind::FlowFilesMissing
            | EventKind::FlowFilesArrived
            | EventKind::OfferDuplicate
            | EventKind::OfferSettled
            | EventKind::SettleFailed => self.of_offer(kind),
            EventKind::CertificateExpires
            | EventKind::CertificateExpired
            | EventKind::CertificateFallback
            | EventKind::CertificateProposed
            | EventKind::CertificateAccepted
            | EventKind::CertificateRejected
            | EventKind::CertificateAnnounced
            | EventKind::CertificateAnswered
            | EventKind::CertificateUnanswered
            | EventKind::CertificateIgnored => self.of_certificate(kind),
            EventKind::ReceiptUnmatched
            | EventKind::ReceiptUnproven
            | EventKind::ReceiptIgnored
            | EventKind::MessageRefused
            | EventKind::MessageRestarted
            | EventKind::RestartUnsupported
            | EventKind::LegacyUsed
            | EventKind::MessageRepeated
            | EventKind::MessageContentDiffers
            | EventKind::MessagePartialKept
            | EventKind::MessageContinued
            | EventKind::MessagePartialRemoved
            | EventKind::EvidenceRecorded
            | EventKind::EvidenceRemoved
            | EventKind::EvidenceExported => self.of_message(kind),
            EventKind::TransferRecorded if self.detail.contains_key("resubmission") => format!(
                "{} sends {} once more{}{}{}",
                self.who(),
                self.file(),
                self.for_flow(),
                self.with("; it was sent with transfer ", "parent"),
                self.with(": ", "reason")
            ),
            EventKind::TransferRecorded if self.detail.contains_key("streamed") => format!(
                "{}{}{} was recorded, to be read when it is delivered{}",
                self.file(),
                self.origin(),
                self.for_flow(),
                self.count(", ", "bytes", "byte", "bytes")
            ),
            EventKind::TransferRecorded => format!(
                "{}{}{} was staged and recorded{}",
                self.file(),
                self.origin(),
                self.for_flow(),
                self.count(", ", "bytes", "byte", "bytes")
            ),
            EventKind::TransferCompleted | EventKind::TransferFailed => {
                let end = if kind == EventKind::TransferCompleted { "completed" } else { "failed" };
                format!("Transfer{} {end}{}", self.of_flow(), self.delivered())
            }
            EventKind::TransferCancelled => {
                format!(
                    "{} cancelled the transfer{}{}",
                    self.who(),
                    self.of_flow(),
                    self.with(": ", "reason")
                )
            }
            EventKind::TransferHeld => {
                let why = if self.detail.contains_key("why") { "why" } else { "reason" };
                format!("{} holds {}{}", self.who(), self.file(), self.with(": ", why))
            }
            EventKind::TransferReleased => {
                format!("{} released the transfer{}{}", self.who(), self.of_flow(), self.with(": ", "reason"))
            }
            EventKind::TransferResubmitted => format!(
                "{} resubmitted the transfer{}{}{}",
                self.who(),
                self.of_flow(),
                self.with(" as transfer ", "child"),
                self.with(": ", "reason")
            ),
            EventKind::TransferStreamed => format!(
                "{}{}{} was read to its end while it was delivered{}",
                self.file(),
                self.origin(),
                self.for_flow(),
                self.count(", ", "bytes", "byte", "bytes")
            ),
            EventKind::StepDone => format!(
                "{} made{}{} of {}{}",
                self.text("step").unwrap_or_else(|| "A step".to_owned()),
                self.count(" ", "bytes", "byte", "bytes"),
                self.count(", replacing ", "replaced", "character,", "characters,"),
                self.file(),
                self.for_flow(),
            ),
            EventKind::StepsRetrying => format!(
                "{} of the steps{} failed{}{}",
                self.attempt(),
                self.of_flow(),
                self.with(": ", "error"),
                self.with("; next try at ", "next")
            ),
            EventKind::StepsRequeued => {
                format!("{} retried the steps{}{}", self.who(), self.of_flow(), self.with(": ", "reason"))
            }
            EventKind::StepsInterrupted => format!(
                "{} of the steps{} was interrupted{}",
                self.attempt(),
                self.of_flow(),
                self.with(" because the lease ended of node ", "node")
            ),
            EventKind::DeliveryAttempted => {
                format!("{}{} began on node {}", self.attempt(), self.to(), self.node)
            }
            EventKind::DeliveryAwaiting => {
                format!("Sent{}; waiting for the receipt{}", self.to(), self.with(" until ", "until"))
            }
            EventKind::DeliveryDelivered => format!(
                "Delivered{}{}{}",
                self.to(),
                self.with(", receipt ", "receipt"),
                self.with(": ", "summary")
            ),
            EventKind::DeliveryRetrying => format!(
                "{}{} failed{}{}",
                self.attempt(),
                self.to(),
                self.with(": ", "error"),
                self.with("; next try at ", "next")
            ),
            EventKind::DeliveryFailed => {
                format!("Delivery{} failed{}", self.to(), self.with(": ", "error"))
            }
            EventKind::DeliveryExpired => {
                format!("Delivery{} expired{}", self.to(), self.with("; its state was ", "was"))
            }
            EventKind::DeliveryCancelled => {
                let why = if self.detail.contains_key("why") { "why" } else { "reason" };
                format!(
                    "{} cancelled the delivery{}{}{}{}",
                    self.who(),
                    self.to(),
                    self.with("; its state was ", "was"),
                    self.with("; at the destination may remain ", "may_remain"),
                    self.with(": ", why)
                )
            }
            EventKind::DeliveryRequeued => format!(
                "{} retried the delivery{}{}{}{}",
                self.who(),
                self.to(),
                self.with("; its state was ", "was"),
                match self.text("revision_before") {
                    Some(_) => self.with(", now through the flow of revision ", "revision"),
                    None => String::new(),
                },
                self.with(": ", "reason")
            ),
            EventKind::DeliveryInterrupted => format!(
                "{}{} was interrupted{}",
                self.attempt(),
                self.to(),
                self.with(" because the lease ended of node ", "node")
            ),
            EventKind::ListenerFailed if self.text("in_force").is_some() => format!(
                "Listener{} goes on under its old definition{}",
                self.with(" ", "listener"),
                self.with(": ", "error")
            ),
            EventKind::ListenerFailed => {
                format!("Listener{} is down{}", self.with(" ", "listener"), self.with(": ", "error"))
            }
            EventKind::ListenerLimitReached => format!(
                "Listener{} has too many connections{}{}",
                self.with(" ", "listener"),
                self.count(": ", "refused", "was refused", "were refused"),
                self.count(", ", "closed_while_idle", "was closed while idle", "were closed while idle")
            ),
            EventKind::ListenerRecovered => format!("Listener{} is up again", self.with(" ", "listener")),
            EventKind::ConnectionOpened => format!("Connected: {}{}", self.line(), self.protection()),
            EventKind::ConnectionClosed => format!(
                "Closed: {}{}{}{}",
                self.line(),
                self.with(": ", "reason"),
                self.seconds(" after ", "duration_micros"),
                self.traffic()
            ),
            EventKind::ConnectionWeakened => format!(
                "The peer was not verified, as configured: {}{}",
                self.line(),
                self.with(": ", "weakened")
            ),
            EventKind::AgentKeyUsed => format!(
                "Logged in with a key of the SSH agent: {}{}{}",
                self.line(),
                self.with(" as ", "login"),
                self.with(", key ", "fingerprint")
            ),
            EventKind::ConnectionFailed => {
                format!("Could not connect: {}{}", self.line(), self.with(": ", "error"))
            }
            EventKind::ConnectionLost => {
                format!("Outcome unknown: {}{}", self.line(), self.with("; no news from node ", "of_node"))
            }
            EventKind::ConnectionStillOpen => format!("Still open: {}", self.line()),
            EventKind::EndpointOffline
            | EventKind::EndpointOnline
            | EventKind::AddressOffline
            | EventKind::AddressOnline
            | EventKind::EndpointQueueFull
            | EventKind::EndpointQueueFree
            | EventKind::EndpointSetOffline
            | EventKind::EndpointSetOnline
            | EventKind::FlowWaitsForRoom
            | EventKind::FlowHasRoom
            | EventKind::FlowPreferredNodeBehind
            | EventKind::FlowRunRequested
            | EventKind::FlowRun
            | EventKind::FlowDryRun
            | EventKind::EndpointTested
            | EventKind::FlowPaused
            | EventKind::FlowResumed => self.of_endpoint(kind),
            EventKind::KnownHostAdded if self.is_carried() => format!(
                "The record of a known host{} was copied before its month was removed: added by {}{}{}",
                self.with(" ", "hosts"),
                self.first_actor(),
                self.with(" at ", "first_at"),
                self.with(": ", "fingerprint")
            ),
            EventKind::KnownHostAdded => format!(
                "{} added a known host{}{}{}{}{}",
                self.who(),
                self.with(": ", "hosts"),
                self.with(", ", "key_type"),
                self.with(" ", "fingerprint"),
                self.with("; it replaces ", "replaces"),
                self.with("; kept for the other names of the replaced line ", "kept_of")
            ),
            EventKind::KnownHostRemoved => format!(
                "{} removed a known host{}{}{}{}",
                self.who(),
                self.with(": ", "hosts"),
                self.with(", ", "key_type"),
                self.with(" ", "fingerprint"),
                self.with("; it is replaced by ", "replaced_by")
            ),
            EventKind::PayloadRemoved => {
                format!("The bytes of {} were removed at the end of their retention", self.file())
            }
            EventKind::PayloadQuarantined => format!(
                "Staged bytes without a record were moved to quarantine{}{}",
                self.with(": ", "payload"),
                self.count(", ", "bytes", "byte", "bytes")
            ),
            EventKind::AuditRemoved => format!(
                "Audit events{} were removed at the end of their retention{}",
                self.with(" of ", "month"),
                self.count(": ", "events", "event", "events")
            ),
            EventKind::AuditKeyTrusted => {
                format!(
                    "Node {} confirmed that a seal key belongs to this installation{}",
                    self.node,
                    self.with(": ", "trusted_key")
                )
            }
            EventKind::AuditRestored => format!(
                "{} accepted the audit trail of a restored database{}",
                self.who(),
                self.with(": ", "reason")
            ),
            EventKind::AuditAlarm => {
                format!("Audit alarm on node {}: nothing is sealed{}", self.node, self.with(": ", "alarm"))
            }
            EventKind::TimestampFailed => {
                format!("Node {} got no time stamp for an audit seal{}", self.node, self.with(": ", "error"))
            }
            EventKind::TimestampRecovered => {
                format!("Node {} gets time stamps for audit seals again", self.node)
            }
            EventKind::LoginSucceeded => format!("{} logged in{}", self.who(), self.by_peer()),
            EventKind::LoginFailed => format!(
                "A login{}{} failed{}",
                self.with(" as ", "user"),
                self.by_peer(),
                self.with(": ", "why")
            ),
            EventKind::LoginThrottled => format!(
                "Login attempts{}{} are delayed{}",
                self.with(" as ", "user"),
                self.by_peer(),
                self.with(": ", "why")
            ),
            EventKind::LoginEnded => format!("{} logged out{}", self.who(), self.by_peer()),
            EventKind::UserChanged if self.is_carried() => format!(
                "The record of user{} was copied before its month was removed: last changed by {}{}",
                self.with(" ", "user"),
                self.first_actor(),
                self.with(" at ", "first_at")
            ),
            EventKind::UserChanged => {
                format!("{} changed user{}{}", self.who(), self.with(" ", "user"), self.with(": ", "change"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
