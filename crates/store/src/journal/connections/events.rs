//! The events about connections, and the data that rows and events share.

use crate::audit::clean_detail;
use model::{
    AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionId, ConnectionOpened, Direction, EventId,
    EventKind, NodeName, PeerText, Severity, Timestamp,
};
use serde_json::{Map, Value};

/// The id of the event about a connection: it is derived from the connection's id, so that an entry that is shipped
/// twice is one event. A UUID of version 8 (RFC 9562) from SHA-256.
#[must_use]
pub fn connection_event_id(connection: ConnectionId, what: &str) -> EventId {
    let mut name = b"waybill connection event ".to_vec();
    name.extend_from_slice(connection.uuid().as_bytes());
    name.extend_from_slice(what.as_bytes());
    let digest = openssl::sha::sha256(&name);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    EventId::new(uuid::Builder::from_custom_bytes(id).into_uuid())
}

pub(super) fn opened_event(opened: &ConnectionOpened) -> AuditEvent {
    let id = connection_event_id(opened.id, "opened");
    let mut event = AuditEvent::new(id, opened.at, opened.node.clone(), EventKind::ConnectionOpened)
        .connection(opened.id)
        .detail("direction", opened.direction.as_str())
        .detail("protocol", opened.protocol.as_str())
        .detail("purpose", opened.purpose.as_str())
        .detail("security", Value::Object(security(opened)));
    (event.endpoint, event.peer) = (opened.endpoint.clone(), remote(opened));
    for (key, value) in [
        ("host", opened.host.as_ref().map(PeerText::to_string)),
        ("local", opened.local.map(|address| address.to_string())),
        ("proxy", opened.proxy.clone()),
        ("control", opened.control.map(|control| control.to_string())),
        ("through", opened.through.map(|carrier| carrier.to_string())),
    ] {
        if let Some(value) = value {
            event = event.detail(key, value);
        }
    }
    event
}

pub(super) fn closed_event(closed: &ConnectionClosed, node: &NodeName) -> AuditEvent {
    let id = connection_event_id(closed.id, "closed");
    AuditEvent::new(id, closed.at, node.clone(), EventKind::ConnectionClosed)
        .connection(closed.id)
        .severity(if closed.failed { Severity::Warning } else { Severity::Info })
        .detail("bytes_in", closed.bytes_in)
        .detail("bytes_out", closed.bytes_out)
        .detail("duration_micros", micros(closed))
        .detail("requests", closed.requests)
        .detail("reason", closed.reason.as_str())
        .detail("failed", closed.failed)
}

pub(super) fn failed_event(failed: &ConnectionFailed) -> AuditEvent {
    let id = connection_event_id(failed.id, "failed");
    let mut event = AuditEvent::new(id, failed.at, failed.node.clone(), EventKind::ConnectionFailed)
        .connection(failed.id)
        .detail("direction", Direction::Outbound.as_str())
        .detail("protocol", failed.protocol.as_str())
        .detail("purpose", failed.purpose.as_str())
        .detail("host", failed.host.as_str())
        .detail("error", failed.error.as_str())
        .detail("duration_micros", failed_micros(failed));
    if let Some(proxy) = &failed.proxy {
        event = event.detail("proxy", proxy.as_str());
    }
    event.endpoint.clone_from(&failed.endpoint);
    event.peer = failed.remote.map(|remote| remote.to_string());
    event
}

pub(super) fn remote(opened: &ConnectionOpened) -> Option<String> {
    opened.remote.map(model::address_text)
}

pub(super) fn security(opened: &ConnectionOpened) -> Map<String, Value> {
    match serde_json::to_value(&opened.security) {
        Ok(Value::Object(fields)) => clean_detail(&fields),
        // A tagged enum of texts is always an object.
        _ => Map::new(),
    }
}

pub(super) fn begun(closed: &ConnectionClosed) -> Timestamp {
    closed.at.checked_sub_signed(chrono::TimeDelta::microseconds(micros(closed))).unwrap_or(closed.at)
}

pub(super) fn micros(closed: &ConnectionClosed) -> i64 {
    i64::try_from(closed.duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn failed_micros(failed: &ConnectionFailed) -> i64 {
    i64::try_from(failed.duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn given_up(failed: &ConnectionFailed) -> Timestamp {
    let took = chrono::TimeDelta::microseconds(failed_micros(failed));
    failed.at.checked_add_signed(took).unwrap_or(failed.at)
}

pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
