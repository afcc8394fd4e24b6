//! What pausing a flow and setting an endpoint offline have in common.

use crate::{Caller, Control};
use model::{
    AuditEvent, Error, ErrorKind, EventKind, Result, StoredDefinition, Suspension, SuspensionKind,
    did_you_mean,
};
use store::EndSuspension;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

impl Control {
    /// Suspends a flow or an endpoint, on record.
    pub(crate) async fn suspend(
        &self,
        caller: &Caller,
        kind: SuspensionKind,
        name: &str,
        reason: String,
    ) -> Result<Suspension> {
        let event = self.suspension_event(caller, kind, true, name, Some(&reason));
        // The moment of its event, with which verification compares it.
        let since = event.at;
        let by = caller.actor.clone();
        let suspension = Suspension { kind, name: name.to_owned(), by, reason: Some(reason), since };
        self.0.store.suspend(suspension.clone(), vec![event]).await?;
        Ok(suspension)
    }

    /// Ends the suspension of a flow or an endpoint, on record.
    pub(crate) async fn end_suspension(
        &self,
        caller: &Caller,
        kind: SuspensionKind,
        name: &str,
        reason: Option<String>,
    ) -> Result<Option<Suspension>> {
        let event = self.suspension_event(caller, kind, false, name, reason.as_deref());
        self.0
            .store
            .end_suspension(EndSuspension {
                kind,
                name: name.to_owned(),
                by: caller.actor.clone(),
                reason,
                at: event.at,
                must_be_in_force: kind == SuspensionKind::Flow,
                events: vec![event],
            })
            .await
    }

    fn suspension_event(
        &self,
        caller: &Caller,
        kind: SuspensionKind,
        begins: bool,
        name: &str,
        reason: Option<&str>,
    ) -> AuditEvent {
        let event = match (kind, begins) {
            (SuspensionKind::Flow, true) => self.event(EventKind::FlowPaused).flow(name),
            (SuspensionKind::Flow, false) => self.event(EventKind::FlowResumed).flow(name),
            (SuspensionKind::Endpoint, true) => self.event(EventKind::EndpointSetOffline).endpoint(name),
            (SuspensionKind::Endpoint, false) => self.event(EventKind::EndpointSetOnline).endpoint(name),
        };
        let event = event.by(caller.actor.clone());
        match reason {
            Some(reason) => event.detail("reason", reason),
            None => event,
        }
    }
}

/// A reason as it is kept: one line of text.
///
/// # Errors
/// `ConfigInvalid` when it is empty, longer than 500 characters, or holds control characters.
pub(crate) fn reason(operation: &'static str, text: &str) -> Result<String> {
    let text = text.trim();
    let advice = if text.is_empty() {
        "give a reason, for the people who find it later"
    } else if text.chars().count() > LONGEST_REASON {
        "give a reason of 500 characters at most"
    } else if text.chars().any(char::is_control) {
        "give a reason in one line, without control characters"
    } else {
        return Ok(text.to_owned());
    };
    Err(Error::permanent(ErrorKind::ConfigInvalid, operation).advice(advice))
}

/// Refuses a name that is not defined, with those that are near.
pub(crate) fn find_defined(
    operation: &'static str,
    kind: SuspensionKind,
    name: &str,
    definitions: &[StoredDefinition],
) -> Result<()> {
    // A kind of suspension is named as its section is.
    let of_kind = definitions.iter().filter(|definition| definition.section == kind.as_str());
    find_among(operation, kind, name, of_kind.map(|definition| definition.name.as_str()))
}

/// Refuses an unknown name, and suggests similar ones.
pub(crate) fn find_among<'a>(
    operation: &'static str,
    kind: SuspensionKind,
    name: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<()> {
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let near = did_you_mean(name, names.clone());
    let near = near.trim_start_matches("; ");
    let advice = match names.count() {
        0 => format!("no {kind} is defined"),
        1 => format!("{near} `waybill {kind} list` shows the one that is defined"),
        many => format!("{near} `waybill {kind} list` shows all {many}"),
    };
    Err(Error::permanent(ErrorKind::NotFound, operation)
        .with(kind.as_str(), name)
        .advice(advice.trim_start().to_owned()))
}
