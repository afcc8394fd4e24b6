//! The revision that is in force on this node, and how it comes to be: at the start, by SIGHUP, and when another
//! node or a person made a new one.

use crate::process::ClockAndRandom;
use crate::readiness::Readiness;
use control::{Applied, Apply, Caller, Control, PlanRequest};
use model::definition::Definitions;
use model::schema::Section;
use model::{AuditEvent, Error, ErrorKind, EventId, EventKind, NodeName, Result, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use transport::Shutdown;

/// Time between two tries of a revision that cannot be used here: a missing file may have come.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(30);

/// What is in force on this node.
pub(crate) struct Revisions {
    control: Control,
    store: Store,
    node: NodeName,
    ambient: ClockAndRandom,
    readiness: Arc<Readiness>,
    definitions: watch::Sender<Arc<Definitions>>,
    /// One change at a time.
    turn: Mutex<Turn>,
}

/// What is known from one change to the next.
#[derive(Default)]
struct Turn {
    /// The revision that was refused last, and when.
    refused: Option<(i64, Instant)>,
    /// What is not on record yet.
    unreported: Option<Report>,
}

/// What is in force here, for the database.
struct Report {
    revision: i64,
    problem: Option<String>,
    at: Timestamp,
    events: Vec<AuditEvent>,
}

impl Revisions {
    pub(crate) fn new(
        control: Control,
        store: Store,
        node: NodeName,
        ambient: ClockAndRandom,
        readiness: Arc<Readiness>,
        definitions: watch::Sender<Arc<Definitions>>,
    ) -> Self {
        Self { control, store, node, ambient, readiness, definitions, turn: Mutex::default() }
    }

    /// What is in force, as it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Definitions>> {
        self.definitions.subscribe()
    }

    /// What may be done to the gateway.
    pub(crate) const fn control(&self) -> &Control {
        &self.control
    }

    /// What is in force now.
    pub(crate) fn in_force(&self) -> Arc<Definitions> {
        Arc::clone(&self.definitions.borrow())
    }

    /// At the start: applies a directory of definitions. One that cannot be applied does not keep the node from going on
    /// with the newest revision that is stored; it is not ready then, and says why.
    ///
    /// # Errors
    /// The directory cannot be applied, and no revision is stored that can be used; the database failed.
    pub(crate) async fn begin_with(&self, request: &PlanRequest) -> Result<()> {
        let Err(refused) = self.try_directory(request).await? else { return Ok(()) };
        if self.store.current_revision_number().await? == 0 {
            return Err(refused);
        }
        if let Err(error) = self.apply_stored().await {
            tracing::error!(error = %error.chain(), "the newest stored revision cannot be used either");
            return Err(refused);
        }
        let (error, revision) = (refused.chain(), self.in_force().revision);
        tracing::error!(
            revision,
            %error,
            "the directory of definitions cannot be applied: the stored revision goes on, and this node is not ready"
        );
        self.readiness.directory_refused(&error);
        let event = self
            .event(EventKind::DefinitionsRefused)
            .detail("directory", request.directory.display().to_string())
            .detail("in_force", revision)
            .detail("error", error.as_str());
        let report = Report { revision, problem: None, at: self.ambient.clock.now(), events: vec![event] };
        self.report(&mut *self.turn.lock().await, report).await;
        Ok(())
    }

    /// Checks a directory of definitions, stores it as a revision unless it is in force already, and puts it in
    /// force here.
    ///
    /// # Errors
    /// The problems or conflicts found, one a line; nothing changed then.
    pub(crate) async fn apply_directory(&self, request: &PlanRequest) -> Result<()> {
        self.try_directory(request).await?
    }

    /// The inner error: the directory is refused.
    async fn try_directory(&self, request: &PlanRequest) -> Result<Result<()>> {
        let mut turn = self.turn.lock().await;
        let directory = &request.directory;
        let request = Apply { plan: request.clone(), base: None };
        let applied = self.control.apply(&Caller::system(), &request).await?;
        let refused = |text: String| {
            let error = Error::permanent(ErrorKind::ConfigInvalid, "apply the definitions")
                .with("directory", directory.display())
                .advice(format!("correct them; `waybill plan` shows the same:\n{text}"));
            Ok(Err(error))
        };
        match applied {
            Applied::Made { revision, problems, definitions, .. }
            | Applied::Unchanged { revision, problems, definitions } => {
                for problem in &problems {
                    tracing::warn!("{problem}");
                }
                turn.refused = None;
                let Some(definitions) = definitions else {
                    return refused("a stored secret of another origin cannot be decrypted".to_owned());
                };
                self.put_in_force(&mut turn, *definitions, revision).await.map(Ok)
            }
            Applied::Invalid { problems } => refused(config::Outline::of(&problems).to_string()),
            other => refused(other.to_string()),
        }
    }

    /// Puts the newest revision of the database in force.
    ///
    /// # Errors
    /// It can no longer be used as it is: a variable or a file that it refers to is gone.
    pub(crate) async fn apply_stored(&self) -> Result<()> {
        let mut turn = self.turn.lock().await;
        let state = self.store.current_definitions().await?;
        if state.number == 0 {
            tracing::warn!("no definitions yet: start with --definitions DIR, or run `waybill apply DIR`");
            return Ok(());
        }
        let definitions = self.control.resolve(&state.definitions).await?;
        self.put_in_force(&mut turn, definitions, state.number).await
    }

    async fn put_in_force(&self, turn: &mut Turn, mut definitions: Definitions, revision: i64) -> Result<()> {
        definitions.revision = revision;
        definitions.flows_since = self.store.unchanged_since(revision, Section::FLOW.as_str()).await?;
        definitions.share_unchanged(&self.in_force());
        let (flows, endpoints) = (definitions.flows.len(), definitions.endpoints.len());
        engine::crash_point("follow.before");
        let before = self.definitions.send_replace(Arc::new(definitions)).revision;
        engine::crash_point("follow.in_force");
        self.readiness.revision_in_force();
        tracing::info!(revision, flows, endpoints, "definitions in force");
        let event = self.event(EventKind::DefinitionsInForce).detail("revision", revision);
        let events = if before == revision { Vec::new() } else { vec![event] };
        let report = Report { revision, problem: None, at: self.ambient.clock.now(), events };
        self.report(turn, report).await;
        engine::crash_point("follow.reported");
        Ok(())
    }

    /// Records which revision is in force here. A report that the database does not take is repeated at the next look, with
    /// what is added until then.
    async fn report(&self, turn: &mut Turn, mut report: Report) {
        if let Some(earlier) = turn.unreported.take() {
            report.events = earlier.events.into_iter().chain(report.events).collect();
        }
        let Report { revision, problem, at, events } = &report;
        let told =
            self.store.report_revision(&self.node, *revision, problem.clone(), *at, events.clone()).await;
        if let Err(error) = told {
            tracing::warn!(revision, error = %error.chain(), "which revision is in force on this node is not on record yet; it is tried again");
            turn.unreported = Some(report);
        }
    }

    fn event(&self, kind: EventKind) -> AuditEvent {
        let now = self.ambient.clock.now();
        AuditEvent::new(EventId::new(self.ambient.random.uuid(now)), now, self.node.clone(), kind)
    }

    /// Follows new revisions until the process ends. One that cannot be used here stays out of force, with an
    /// event, and the one before goes on.
    pub(crate) async fn follow(&self, mut shutdown: Shutdown) {
        let mut wakeups = self.store.decision_wakeups();
        loop {
            tokio::select! {
                // A closed channel is an end as well.
                _ = shutdown.wait_for(|ended| *ended) => return,
                () = wakeups.next() => {}
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
        if let Some(report) = turn.unreported.take() {
            self.report(&mut turn, report).await;
        }
        if newest == self.in_force().revision {
            return Ok(());
        }
        let known = turn.refused.filter(|(number, _)| *number == newest);
        if known.is_some_and(|(_, tried)| tried.elapsed() < TRY_AGAIN_EVERY) {
            return Ok(());
        }
        let state = self.store.definitions_at(newest).await?;
        match self.control.resolve(&state.definitions).await {
            Ok(definitions) => {
                turn.refused = None;
                self.put_in_force(&mut turn, definitions, newest).await
            }
            Err(error) => {
                turn.refused = Some((newest, Instant::now()));
                if known.is_some() {
                    return Ok(());
                }
                self.refuse(&mut turn, newest, &error).await;
                Ok(())
            }
        }
    }

    async fn refuse(&self, turn: &mut Turn, revision: i64, error: &Error) {
        let (error, in_force) = (error.chain(), self.in_force().revision);
        tracing::error!(revision, in_force, %error, "a new revision cannot be put in force on this node");
        self.readiness.revision_refused(revision, &error);
        let event = self
            .event(EventKind::DefinitionsRefused)
            .detail("revision", revision)
            .detail("in_force", in_force)
            .detail("error", error.as_str());
        let at = self.ambient.clock.now();
        let report = Report { revision: in_force, problem: Some(error), at, events: vec![event] };
        self.report(turn, report).await;
    }
}
