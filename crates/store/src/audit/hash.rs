//! The hash of an event, which a seal covers.
//!
//! The hash is SHA-256 over the canonical JSON (RFC 8785) of **all** the event's fields: absent ones as null, the
//! time as whole microseconds since 1970, the actor as its column's text, and `"v": 1`. The event's position is not
//! covered: the database assigns it when the event is written, and the journal or a log shipper must be able to
//! compute the hash of an event without it. An event that was moved to another position is outside its seal's range,
//! or not in the order of the seal's members; verification finds both.

use model::{AuditEvent, Sha256, canonical_json};
use serde_json::Value;
use uuid::Uuid;

/// The columns of an event as they are stored. They are what is hashed, even if somebody changed them to values that
/// no [`AuditEvent`] can have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventColumns {
    pub(crate) id: Uuid,
    pub(crate) at: i64,
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) severity: String,
    pub(crate) actor: String,
    pub(crate) flow: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) partner: Option<String>,
    pub(crate) transfer: Option<Uuid>,
    pub(crate) delivery: Option<Uuid>,
    pub(crate) connection: Option<Uuid>,
    pub(crate) peer: Option<String>,
    pub(crate) detail: Value,
}

impl EventColumns {
    /// The columns of an event in its cleaned form.
    pub(crate) fn of(event: &AuditEvent) -> Self {
        Self {
            id: event.id.uuid(),
            at: event.at.timestamp_micros(),
            node: event.node.as_str().to_owned(),
            kind: event.kind.as_str().to_owned(),
            severity: event.severity.as_str().to_owned(),
            actor: event.actor.to_text(),
            flow: event.flow.clone(),
            endpoint: event.endpoint.clone(),
            partner: event.partner.clone(),
            transfer: event.transfer.map(|id| id.uuid()),
            delivery: event.delivery.map(|id| id.uuid()),
            connection: event.connection.map(|id| id.uuid()),
            peer: event.peer.clone(),
            detail: Value::Object(event.detail.clone()),
        }
    }

    /// The text that is hashed.
    pub(crate) fn canonical(&self) -> String {
        // Written by hand in the order of RFC 8785 (by name), because this runs for every event that is sealed or
        // verified.
        let mut text = String::with_capacity(512);
        let id = |text: &mut String, key: &str, id: Option<Uuid>| match id {
            Some(id) => text.push_str(&format!(",\"{key}\":\"{id}\"")),
            None => text.push_str(&format!(",\"{key}\":null")),
        };
        let words = |text: &mut String, key: &str, words: Option<&str>| {
            text.push_str(&format!(",\"{key}\":{}", words.map_or(Value::Null, Value::from)));
        };
        text.push_str(&format!("{{\"actor\":{},\"at\":{}", Value::from(self.actor.as_str()), self.at));
        id(&mut text, "connection", self.connection);
        id(&mut text, "delivery", self.delivery);
        text.push_str(",\"detail\":");
        text.push_str(&canonical_json(&self.detail));
        words(&mut text, "endpoint", self.endpoint.as_deref());
        words(&mut text, "flow", self.flow.as_deref());
        id(&mut text, "id", Some(self.id));
        words(&mut text, "kind", Some(&self.kind));
        words(&mut text, "node", Some(&self.node));
        words(&mut text, "partner", self.partner.as_deref());
        words(&mut text, "peer", self.peer.as_deref());
        words(&mut text, "severity", Some(&self.severity));
        id(&mut text, "transfer", self.transfer);
        text.push_str(",\"v\":1}");
        text
    }

    /// SHA-256 over [`Self::canonical`].
    pub(crate) fn hash(&self) -> Sha256 {
        Sha256(openssl::sha::sha256(self.canonical().as_bytes()))
    }
}

/// The hash of an event as it is stored. The event is cleaned first, so that the caller's copy and the database's
/// have the same hash.
#[must_use]
pub fn event_hash(event: &AuditEvent) -> Sha256 {
    EventColumns::of(&super::clean::clean(event)).hash()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{EventId, EventKind};

    /// The form must never change: other tools verify it.
    #[test]
    fn canonical_form_is_fixed() {
        let at = chrono::DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let event = AuditEvent::new(
            EventId::new(Uuid::from_u128(7)),
            at,
            "n1".parse().unwrap(),
            EventKind::PollFailed,
        )
        .flow("orders")
        .detail("b", 1)
        .detail("a", "é");
        assert_eq!(
            EventColumns::of(&event).canonical(),
            "{\"actor\":\"system\",\"at\":1700000000000001,\"connection\":null,\"delivery\":null,\
             \"detail\":{\"a\":\"é\",\"b\":1},\"endpoint\":null,\"flow\":\"orders\",\
             \"id\":\"00000000-0000-0000-0000-000000000007\",\"kind\":\"poll.failed\",\"node\":\"n1\",\
             \"partner\":null,\"peer\":null,\"severity\":\"warning\",\"transfer\":null,\"v\":1}"
        );
        let mut columns = EventColumns::of(&event);
        columns.peer = Some("\"\\\u{1}é".into());
        columns.transfer = Some(Uuid::max());
        let text = columns.canonical();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(canonical_json(&value), text, "canonical whatever it holds");
    }
}
