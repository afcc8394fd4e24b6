//! Readiness of this node: what `/readyz` reports in addition to the database, the journal and the
//! room in staging.

use model::{Error, EventKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use transport::Services;

/// What keeps this node from taking in work. Not ready until [`Readiness::started`].
#[derive(Default)]
pub(crate) struct Readiness {
    is_started: AtomicBool,
    /// Listeners that are down, by name, and why.
    down: Mutex<BTreeMap<String, String>>,
    /// Listeners that go on under their old definitions, and why.
    kept: Mutex<BTreeMap<String, String>>,
    /// The newest revision, when it cannot be used on this node, and why.
    refused: Mutex<Option<(i64, String)>>,
    /// Why the directory of definitions could not be applied at the start.
    directory: Mutex<Option<String>>,
}

impl Readiness {
    /// Listeners and flows are up, as far as they can be.
    pub(crate) fn started(&self) {
        self.is_started.store(true, Ordering::SeqCst);
    }

    /// A listener is down: on record, and a reason not to be ready. The process lives.
    pub(crate) async fn listener_failed(&self, services: &Services, listener: &str, error: &Error) {
        let error = error.chain();
        tracing::error!(listener, %error, "a listener is down");
        self.down.lock().unwrap_or_else(PoisonError::into_inner).insert(listener.to_owned(), error.clone());
        let event =
            services.event(EventKind::ListenerFailed).detail("listener", listener).detail("error", error);
        if let Err(error) = services.audit.record(vec![event]).await {
            tracing::error!(listener, error = %error.chain(), "the event about a listener that is down could not be recorded");
        }
    }

    /// A listener that was down is up.
    pub(crate) async fn listener_recovered(&self, services: &Services, listener: &str) {
        tracing::info!(listener, "a listener is up again");
        self.down.lock().unwrap_or_else(PoisonError::into_inner).remove(listener);
        let event = services.event(EventKind::ListenerRecovered).detail("listener", listener);
        if let Err(error) = services.audit.record(vec![event]).await {
            tracing::error!(listener, error = %error.chain(), "the event about a listener that is up again could not be recorded");
        }
    }

    /// A listener cannot be served as a revision defines it, and goes on as it was: on record, and a reason not to be
    /// ready.
    pub(crate) async fn listener_kept(&self, services: &Services, listener: &str, error: &Error) {
        let error = error.chain();
        tracing::error!(listener, %error, "a listener goes on under its old definition");
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(listener.to_owned(), error.clone());
        let event = services.event(EventKind::ListenerFailed).detail("listener", listener);
        let event = event.detail("error", error).detail("in_force", "the definition before");
        if let Err(error) = services.audit.record(vec![event]).await {
            tracing::error!(listener, error = %error.chain(), "that a listener goes on under its old definition is not on record");
        }
    }

    /// Listeners that go on under their old definitions: names and why.
    pub(crate) fn kept(&self) -> Vec<(String, String)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(listener, why)| (listener.clone(), why.clone())).collect()
    }

    /// The newest revision is in force.
    pub(crate) fn revision_in_force(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The directory of definitions could not be applied at the start: what was stored goes on.
    pub(crate) fn directory_refused(&self, error: &str) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }

    /// The newest revision cannot be used on this node: the one before goes on.
    pub(crate) fn revision_refused(&self, revision: i64, error: &str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, error.to_owned()));
    }

    /// The revision that cannot be used on this node, and why.
    pub(crate) fn refused(&self) -> Option<(i64, String)> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A listener is gone, or made anew: what was wrong with it is no reason any more.
    pub(crate) fn listener_forgotten(&self, listener: &str) {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).remove(listener);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(listener);
    }

    /// Listeners that are down: names and why.
    pub(crate) fn down(&self) -> Vec<(String, String)> {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.iter().map(|(listener, why)| (listener.clone(), why.clone())).collect()
    }

    /// The reasons not to be ready, one line each.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let starting = !self.is_started.load(Ordering::SeqCst);
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        let down = down.iter().map(|(listener, why)| format!("listener {listener} is down: {why}"));
        let kept = self.kept().into_iter();
        let kept = kept
            .map(|(listener, why)| format!("listener {listener} goes on under its old definition: {why}"));
        let refused = self.refused().map(|(number, why)| {
            // A line each: the probe's answer is read by machines.
            format!("revision {number} cannot be used on this node: {}", why.replace('\n', "; "))
        });
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let directory = directory.map(|why| {
            format!("the directory of definitions cannot be applied: {}", why.replace('\n', "; "))
        });
        let starting = starting.then(|| "the node is starting".to_owned());
        starting.into_iter().chain(down).chain(kept).chain(refused).chain(directory).collect()
    }
}
