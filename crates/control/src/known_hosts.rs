//! The list of known hosts: the host keys of servers that every node trusts.
//!
//! It is no part of the definitions and their revisions: a roll-back would bring back keys that a person removed. Endpoints
//! that say by themselves whom to trust do not look in it.

mod add;
mod forget;
mod list;
mod remove;
mod scan;

pub use add::{AddKnownHosts, OtherKeys, ReadKnownHosts, UnreadableLine, UnwrittenKnownHost};
pub use forget::ForgetOfferedKey;
pub use list::{KnownHostDetail, KnownHostList};
pub use remove::RemoveKnownHost;
pub use scan::{ScanHostKeys, ScannedHost};

use crate::Control;
use model::definition::Definitions;
use model::schema::TransportSpec;
use model::{AuditEvent, Error, ErrorKind, EventKind, HostKeyFormat, KnownHost, Result};
use std::collections::{BTreeMap, BTreeSet};

impl Control {
    fn host_key_format(
        &self,
        operation: &'static str,
    ) -> Result<(&'static TransportSpec, &dyn HostKeyFormat)> {
        self.0.catalogue.host_keys().ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, operation)
                .advice("no transport of this build has servers with host keys")
        })
    }

    fn known_host_event(&self, kind: EventKind, host: &KnownHost) -> AuditEvent {
        let event = self
            .event(kind)
            .detail("known_host", host.id.to_string())
            .detail("line", host.line.as_str())
            .detail("hosts", host.hosts())
            .detail("key_type", host.key_type())
            .detail("fingerprint", host.fingerprint.as_str());
        host.comment.iter().fold(event, |event, comment| event.detail("comment", comment.as_str()))
    }
}

/// The endpoints that look up a host in the list, by the places of the lines that they find.
fn used_by(
    format: &dyn HostKeyFormat,
    lines: &[String],
    definitions: &Definitions,
) -> BTreeMap<usize, BTreeSet<String>> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for endpoint in definitions.endpoints.values() {
        for at in 0..endpoint.urls.len() {
            let Some((host, port)) = format.looks_up(&endpoint.at(at)) else { continue };
            for place in format.about(lines, &host, port) {
                found.entry(place).or_default().insert(endpoint.name.clone());
            }
        }
    }
    found
}
