//! Removing a line.

use crate::{Caller, Control};
use model::{Error, ErrorKind, EventKind, KnownHost, Permission, Result};
use serde::{Deserialize, Serialize};
use store::ChangeKnownHosts;

/// A line to remove.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoveKnownHost {
    /// Its id, or its fingerprint where one line alone has it.
    pub which: String,
}

const OPERATION: &str = "remove a known host";

impl Control {
    /// The line that a request means.
    ///
    /// # Errors
    /// The caller may not see definitions; `NotFound`; `ConfigInvalid` where several lines have the fingerprint; the
    /// database failed.
    pub async fn known_host(&self, caller: &Caller, request: &RemoveKnownHost) -> Result<KnownHost> {
        caller.require(Permission::ViewDefinitions)?;
        let which = request.which.trim();
        let hosts = self.0.store.known_hosts().await?.hosts;
        let mut found =
            hosts.into_iter().filter(|host| host.id.to_string() == which || host.fingerprint == which);
        match (found.next(), found.next()) {
            (Some(host), None) => Ok(host),
            (Some(_), Some(_)) => {
                Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION).with("key", which).advice(
                    "several lines have this key: name one by its ID, as `waybill known-host list` shows it",
                ))
            }
            (None, _) => Err(Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("known host", which)
                .advice("`waybill known-host list` shows which there are")),
        }
    }

    /// Removes a line, on record. Within seconds no node trusts it any more: connections that it allowed are used by nothing
    /// new, and end.
    ///
    /// # Errors
    /// The caller may not change definitions; as [`Control::known_host`]; the list was changed meanwhile.
    pub async fn remove_known_host(&self, caller: &Caller, request: &RemoveKnownHost) -> Result<KnownHost> {
        caller.require(Permission::ChangeDefinitions)?;
        let base = self.0.store.known_hosts_change().await?;
        let host = self.known_host(caller, request).await?;
        let event = self.known_host_event(EventKind::KnownHostRemoved, &host).by(caller.actor.clone());
        let change = ChangeKnownHosts {
            base,
            removed: vec![(host.id, caller.actor.clone(), event.at)],
            events: vec![event],
            ..ChangeKnownHosts::default()
        };
        self.0.store.change_known_hosts(change).await?;
        Ok(host)
    }
}
