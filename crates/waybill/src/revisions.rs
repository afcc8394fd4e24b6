//! The revision that is in force on this node, and how it comes to be: at the start, by SIGHUP, and when another
//! node or a person made a new one.

use crate::process::Ambient;
use crate::readiness::Readiness;
use control::{Applied, Apply, Caller, Control, PlanRequest};
use model::definition::Definitions;
use model::schema::Section;
use model::{AuditEvent, Error, ErrorKind, EventId, EventKind, NodeName, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use transport::Shutdown;

/// Time between two looks for a new revision. SQLite tells nobody of what another process wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two looks: a busy gateway is woken hundreds of times a second.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);
/// Time between two tries of a revision that cannot be used here: a missing file may have come.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(30);

/// What is in force on this node.
pub(crate) struct Revisions {
    control: Control,
    store: Store,
    node: NodeName,
    ambient: Ambient,
    readiness: Arc<Readiness>,
    definitions: watch::Sender<Arc<Definitions>>,
    /// One change at a time; holds the revision that was refused last, and when.
    turn: Mutex<Option<(i64, Instant)>>,
}

impl Revisions {
    pub(crate) fn new(
        control: Control,
        store: Store,
        node: NodeName,
        ambient: Ambient,
        readiness: Arc<Readiness>,
        definitions: watch::Sender<Arc<Definitions>>,
    ) -> Self {
        Self { control, store, node, ambient, readiness, definitions, turn: Mutex::new(None) }
    }

    /// What is in force, as it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Definitions>> {
        self.definitions.subscribe()
    }

    /// What is in force now.
    pub(crate) fn in_force(&self) -> Arc<Definitions> {
        Arc::clone(&self.definitions.borrow())
    }

    /// Checks a directory of definitions, stores it as a revision unless it is in force already, and puts it in
    /// force here.
    ///
    /// # Errors
    /// The problems or conflicts found, one a line; nothing changed then.
    pub(crate) async fn apply_directory(&self, directory: &Path) -> Result<()> {
        let mut turn = self.turn.lock().await;
        let plan = PlanRequest { directory: directory.to_path_buf(), ..PlanRequest::default() };
        let request = Apply { plan, base: None };
        let applied = self.control.apply(&Caller::system(), &request).await?;
        let refused = |text: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "apply the definitions")
                .with("directory", directory.display())
                .advice(format!("correct them; `waybill plan` shows the same:\n{text}"))
        };
        match applied {
            Applied::Made { revision, problems, definitions, .. }
            | Applied::Unchanged { revision, problems, definitions } => {
                for problem in &problems {
                    tracing::warn!("{problem}");
                }
                *turn = None;
                self.put_in_force(*definitions, revision).await
            }
            Applied::Invalid { problems } => Err(refused(config::Outline::of(&problems).to_string())),
            other => Err(refused(other.to_string())),
        }
    }

    /// Puts the newest revision of the database in force.
    ///
    /// # Errors
    /// It can no longer be used as it is: a variable or a file that it refers to is gone.
    pub(crate) async fn apply_stored(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let state = self.store.current_definitions().await?;
        if state.number == 0 {
            tracing::warn!(
                "no definitions yet: start with --definitions DIR, or put some in force with `waybill apply DIR`"
            );
            return Ok(());
        }
        let definitions = self.control.resolve(&state.definitions).await?;
        self.put_in_force(definitions, state.number).await
    }

    async fn put_in_force(&self, mut definitions: Definitions, revision: i64) -> Result<()> {
        definitions.revision = revision;
        definitions.flows_since = self.store.unchanged_since(revision, Section::FLOW.as_str()).await?;
        definitions.share_unchanged(&self.in_force());
        let (flows, endpoints) = (definitions.flows.len(), definitions.endpoints.len());
        let before = self.definitions.send_replace(Arc::new(definitions)).revision;
        self.readiness.revision_in_force();
        tracing::info!(revision, flows, endpoints, "definitions in force");
        let event = self.event(EventKind::DefinitionsInForce).detail("revision", revision);
        let events = if before == revision { Vec::new() } else { vec![event] };
        self.store.report_revision(&self.node, revision, None, self.ambient.clock.now(), events).await
    }

    fn event(&self, kind: EventKind) -> AuditEvent {
        let now = self.ambient.clock.now();
        AuditEvent::new(EventId::new(self.ambient.random.uuid(now)), now, self.node.clone(), kind)
    }

    /// Follows new revisions until the process ends. One that cannot be used here stays out of force, with an
    /// event, and the one before goes on.
    pub(crate) async fn follow(&self, mut shutdown: Shutdown) {
        let mut wakeups = self.store.wakeups();
        loop {
            let woken = async {
                tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
                // Nobody wakes any more once the store is closed; then there is nothing to look for either.
                if wakeups.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                // A closed channel is an end as well.
                _ = shutdown.wait_for(|ended| *ended) => return,
                () = woken => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(error = %error.chain(), "cannot look for a new revision of the definitions");
            }
        }
    }

    /// Puts a newer revision in force, if there is one.
    async fn look(&self) -> Result<()> {
        let mut turn = self.turn.lock().await;
        let newest = self.store.current_revision_number().await?;
        if newest == self.in_force().revision {
            return Ok(());
        }
        let known = turn.filter(|(number, _)| *number == newest);
        if known.is_some_and(|(_, tried)| tried.elapsed() < TRY_AGAIN_EVERY) {
            return Ok(());
        }
        let state = self.store.definitions_at(newest).await?;
        match self.control.resolve(&state.definitions).await {
            Ok(definitions) => {
                *turn = None;
                self.put_in_force(definitions, newest).await
            }
            Err(error) => {
                *turn = Some((newest, Instant::now()));
                if known.is_some() {
                    return Ok(());
                }
                self.refuse(newest, &error).await
            }
        }
    }

    async fn refuse(&self, revision: i64, error: &Error) -> Result<()> {
        let (error, in_force) = (error.chain(), self.in_force().revision);
        tracing::error!(revision, in_force, %error, "a new revision cannot be put in force on this node");
        self.readiness.revision_refused(revision, &error);
        let event = self
            .event(EventKind::DefinitionsRefused)
            .detail("revision", revision)
            .detail("in_force", in_force)
            .detail("error", error.as_str());
        let now = self.ambient.clock.now();
        self.store.report_revision(&self.node, in_force, Some(error), now, vec![event]).await
    }
}
