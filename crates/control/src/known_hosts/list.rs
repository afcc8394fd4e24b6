//! Showing the list, with what uses each line.

use super::used_by;
use crate::{Caller, Control};
use model::definition::Definitions;
use model::{HostKeyStanding, KnownHost, OfferedHostKey, Permission, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// The list, and what waits for a decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KnownHostList {
    /// The lines, by their hosts.
    pub hosts: Vec<KnownHostDetail>,
    /// Keys that servers showed and that are not on file, newest first.
    pub offered: Vec<OfferedHostKey>,
    /// Endpoints that look up their server in the list, and for which it has no line.
    pub without_line: BTreeSet<String>,
}

/// A line, and what uses it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KnownHostDetail {
    /// The line.
    #[serde(flatten)]
    pub host: KnownHost,
    /// The endpoints that find it by the host of their address. One that only names the address to which a host's name leads
    /// is not counted: that is known when a connection is made.
    pub used_by: BTreeSet<String>,
}

impl KnownHostList {
    /// Leaves what contains a text in any of its parts, in capital letters or small ones.
    pub fn search(&mut self, text: &str) {
        let text = text.trim().to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| part.to_lowercase().contains(&text));
        self.hosts.retain(|KnownHostDetail { host, used_by }| {
            let comment = host.comment.as_deref().unwrap_or_default();
            let uses: Vec<&str> = used_by.iter().map(String::as_str).collect();
            has(&[&host.line, &host.fingerprint, comment, &host.by.name()]) || has(&uses)
        });
        self.offered.retain(|key| {
            has(&[&key.listed_host(), &key.key_type, &key.key, &key.fingerprint, &key.endpoint])
        });
    }
}

impl Control {
    /// The list of known hosts.
    ///
    /// # Errors
    /// The caller may not see definitions; the database failed.
    pub async fn known_hosts(&self, caller: &Caller, definitions: &Definitions) -> Result<KnownHostList> {
        caller.require(Permission::ViewDefinitions)?;
        let (_, format) = self.host_key_format("show the known hosts")?;
        let mut hosts = self.0.store.known_hosts().await?.hosts;
        hosts.sort_by(|a, b| (a.hosts(), a.key_type(), a.at).cmp(&(b.hosts(), b.key_type(), b.at)));
        let lines: Vec<String> = hosts.iter().map(|host| host.line.clone()).collect();
        let mut uses = used_by(format, &lines, definitions);
        let found: BTreeSet<&String> = uses.values().flatten().collect();
        let without_line = definitions
            .endpoints
            .values()
            .filter(|endpoint| (0..endpoint.urls.len()).any(|at| format.looks_up(&endpoint.at(at)).is_some()))
            .map(|endpoint| endpoint.name.clone())
            .filter(|name| !found.contains(name))
            .collect();
        let hosts = hosts.into_iter().enumerate();
        let hosts = hosts
            .map(|(at, host)| KnownHostDetail { host, used_by: uses.remove(&at).unwrap_or_default() })
            .collect();
        Ok(KnownHostList { hosts, offered: self.offered_now(&lines).await?, without_line })
    }

    /// The keys that wait for a decision, as they stand in the list now; one that is on file meanwhile waits no more.
    async fn offered_now(&self, lines: &[String]) -> Result<Vec<OfferedHostKey>> {
        let (_, format) = self.host_key_format("show the known hosts")?;
        let mut offered = self.0.store.offered_host_keys().await?;
        offered.retain_mut(|key| {
            key.standing = standing(format, lines, key);
            matches!(key.standing, HostKeyStanding::Unknown | HostKeyStanding::Changed)
        });
        Ok(offered)
    }
}

/// How a key stands among these lines.
pub(super) fn standing(
    format: &dyn model::HostKeyFormat,
    lines: &[String],
    key: &OfferedHostKey,
) -> HostKeyStanding {
    let about: Vec<&String> =
        format.about(lines, &key.host, key.port).into_iter().filter_map(|at| lines.get(at)).collect();
    let own = format!(" {} {}", key.key_type, key.key);
    let with_type = format!(" {} ", key.key_type);
    let is_mark = |line: &&&String| line.starts_with('@');
    if about.iter().any(|line| line.starts_with("@revoked ") && line.ends_with(&own)) {
        HostKeyStanding::Revoked
    } else if about.iter().any(|line| !is_mark(&line) && line.ends_with(&own)) {
        HostKeyStanding::Known
    } else if about.iter().any(|line| !is_mark(&line) && line.contains(&with_type)) {
        HostKeyStanding::Changed
    } else {
        HostKeyStanding::Unknown
    }
}
