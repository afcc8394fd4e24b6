//! The listeners of the definitions in force: started, changed and ended by revisions while the process runs.
//!
//! What a listener is receiving when it ends goes on under its old definition; its address answers again at once.

use crate::readiness::Readiness;
use model::definition::{Definitions, Listener as Defined};
use model::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::{Intake, Listener, Services, Shutdown, Transport};

/// Pauses before a listener that is down is bound again: the first, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(crate) struct Listeners {
    transports: BTreeMap<&'static str, Arc<dyn Transport>>,
    services: Services,
    intake: Arc<dyn Intake>,
    readiness: Arc<Readiness>,
    running: HashMap<String, Running>,
}

struct Running {
    stop: watch::Sender<bool>,
    task: TaskTracker,
}

impl Running {
    async fn end(self) {
        self.stop.send_replace(true);
        self.task.close();
        self.task.wait().await;
    }
}

impl Listeners {
    pub(crate) fn new(
        transports: &[Arc<dyn Transport>],
        services: Services,
        intake: Arc<dyn Intake>,
        readiness: Arc<Readiness>,
    ) -> Self {
        let transports = transports.iter().map(|transport| (transport.spec().name, Arc::clone(transport)));
        Self { transports: transports.collect(), services, intake, readiness, running: HashMap::new() }
    }

    /// Starts the listeners of these definitions. One that cannot be bound is down and says so.
    pub(crate) async fn start(&mut self, definitions: &Definitions) {
        for defined in definitions.listeners.values() {
            self.listen(defined).await;
        }
    }

    /// Follows the definitions until the process ends; `current` are those that were started.
    pub(crate) async fn follow(
        mut self,
        mut current: Arc<Definitions>,
        mut definitions: watch::Receiver<Arc<Definitions>>,
        mut shutdown: Shutdown,
    ) {
        loop {
            // A revision that came meanwhile is seen by its number.
            let newest = Arc::clone(&definitions.borrow_and_update());
            if newest.revision != current.revision {
                let before = std::mem::replace(&mut current, newest);
                self.change(&before, &current).await;
            }
            let ended = tokio::select! {
                changed = definitions.changed() => changed.is_err(),
                // A closed channel is an end as well.
                _ = shutdown.wait_for(|ended| *ended) => true,
            };
            if ended {
                for (_, running) in self.running.drain() {
                    running.end().await;
                }
                return;
            }
        }
    }

    async fn change(&mut self, before: &Definitions, now: &Definitions) {
        let changed = now.changed_listeners(before);
        let gone = before.listeners.keys().filter(|name| !now.listeners.contains_key(*name));
        let changed = self.usable(changed, now).await;
        let ending: Vec<&str> = gone.map(String::as_str).chain(changed.iter().copied()).collect();
        // All end before the first begins: two may change places.
        for name in ending {
            if let Some(running) = self.running.remove(name) {
                running.end().await;
            }
            self.readiness.listener_forgotten(name);
        }
        for name in changed {
            if let Some(defined) = now.listeners.get(name) {
                tracing::info!(listener = name, "a listener is started by a new revision");
                self.listen(defined).await;
            }
        }
    }

    /// Of changed listeners those that could be served as they are defined now. One that could not goes on as it was, and
    /// says so.
    async fn usable<'a>(&self, changed: BTreeSet<&'a str>, now: &Definitions) -> Vec<&'a str> {
        let mut usable = Vec::new();
        for name in changed {
            let defined = now.listeners.get(name).filter(|_| self.running.contains_key(name));
            match defined.map(|defined| self.made(defined).and_then(|listener| listener.check())) {
                Some(Err(error)) => self.readiness.listener_kept(&self.services, name, &error).await,
                Some(Ok(())) | None => usable.push(name),
            }
        }
        usable
    }

    fn made(&self, defined: &Arc<Defined>) -> Result<Arc<dyn Listener>> {
        let transport = self.transports.get(defined.transport.as_str()).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find a listener's transport")
                .with("listener", &defined.name)
                .with("transport", &defined.transport)
        })?;
        transport.listener(Arc::clone(defined), self.services.clone())
    }

    async fn listen(&mut self, defined: &Arc<Defined>) {
        let (name, services) = (defined.name.clone(), self.services.clone());
        let listener = match self.made(defined) {
            Ok(listener) => listener,
            Err(error) => return self.readiness.listener_failed(&services, &name, &error).await,
        };
        let (readiness, intake) = (Arc::clone(&self.readiness), Arc::clone(&self.intake));
        let first = listener.bind(Arc::clone(&intake)).await;
        if let Err(error) = &first {
            readiness.listener_failed(&services, &name, error).await;
        }
        let (stop, stopped) = watch::channel(false);
        let task = TaskTracker::new();
        task.spawn({
            let name = name.clone();
            async move {
                if first.is_err() && bind_again(&*listener, intake, stopped.clone(), &name).await {
                    readiness.listener_recovered(&services, &name).await;
                }
                if let Err(error) = listener.serve(stopped).await {
                    readiness.listener_failed(&services, &name, &error).await;
                }
            }
        });
        self.running.insert(name, Running { stop, task });
    }
}

/// Binds until it works: whoever had the port may be gone in a moment, an address may come up later. Answers
/// whether it worked, or the process ends instead.
async fn bind_again(
    listener: &dyn Listener,
    intake: Arc<dyn Intake>,
    mut shutdown: Shutdown,
    name: &str,
) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        // A closed channel is an end as well.
        if tokio::time::timeout(pause, shutdown.wait_for(|ended| *ended)).await.is_ok() {
            return false;
        }
        match listener.bind(Arc::clone(&intake)).await {
            Ok(()) => return true,
            Err(error) => {
                pause = (pause * 2).min(LONGEST_PAUSE);
                tracing::info!(
                    listener = name, error = %error.chain(), next = ?pause, "a listener is still down"
                );
            }
        }
    }
}
