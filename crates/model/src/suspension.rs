//! Flows that a person paused, and endpoints that a person set offline.

use crate::connection::words;
use crate::{Actor, Timestamp};
use serde::{Deserialize, Serialize};

words! {
    /// What is suspended.
    SuspensionKind {
        /// A flow that is paused: it takes no new files. What it has taken is delivered.
        Flow = "flow",
        /// An endpoint that is offline: nothing is tried there, and its files wait in order.
        Endpoint = "endpoint",
    }
}

/// A paused flow, or an endpoint set offline by a person. It lasts until a person ends it, whatever restarts and
/// revisions there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Suspension {
    /// What is suspended.
    pub kind: SuspensionKind,
    /// The name of the flow or endpoint.
    pub name: String,
    /// Who did it.
    pub by: Actor,
    /// Why, in that person's words.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Suspension {
    /// One line: `paused by ada since 2026-11-26 07:00:00 UTC: the partner moves`.
    #[must_use]
    pub fn words(&self) -> String {
        let what = match self.kind {
            SuspensionKind::Flow => "paused",
            SuspensionKind::Endpoint => "set offline",
        };
        let since = self.since.format("%Y-%m-%d %H:%M:%S");
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{what} by {} since {since} UTC{reason}", self.by.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_since_when_and_why() {
        let since = chrono::DateTime::from_timestamp(1_795_183_800, 0).unwrap();
        let mut paused = Suspension {
            kind: SuspensionKind::Flow,
            name: "orders".into(),
            by: Actor::User("anna".into()),
            reason: Some("the partner moves".into()),
            since,
        };
        assert_eq!(paused.words(), "paused by anna since 2026-11-20 14:10:00 UTC: the partner moves");
        paused = Suspension {
            kind: SuspensionKind::Endpoint,
            by: Actor::CommandLine("root".into()),
            reason: None,
            ..paused
        };
        let line = "set offline by root at the command line since 2026-11-20 14:10:00 UTC";
        assert_eq!(paused.words(), line);
    }
}
