//! The state that every part of the engine uses: the database, staging, the node's lease, the clock, the definitions
//! in force. It does not depend on the parts.

use crate::addresses::Addresses;
use crate::by_hand;
use crate::health::{EndpointHealth, HealthChange, Reachability};
use crate::history::{FlowAt, KeptFlows};
use crate::host_keys::KnownHostList;
use crate::ids::Ids;
use crate::node::lease::NodeLeaseKeeper;
use crate::pace::Paces;
use crate::queues::Queues;
use crate::settings::EngineSettings;
use crate::suspensions::Suspensions;
use model::definition::{Definitions, Endpoint, OfflineRule};
use model::{
    AuditEvent, ByHand, Error, ErrorKind, EventKind, PeerText, Result, Retry, Suspension, Timestamp,
};
use staging::Staging;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::{OpenFlowRun, Store, WentOffline};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::folder::Folder;
use transport::{Services, Transport};

/// Wait between two attempts to record a result while the database is unreachable.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// The most endpoints that an event names which go offline or come back with one.
const OTHERS_NAMED: usize = 100;

pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) staging: Staging,
    pub(crate) services: Services,
    /// The directories of this machine that flows may archive to.
    pub(crate) local_archives: Arc<dyn Folder>,
    pub(crate) lease: Arc<NodeLeaseKeeper>,
    pub(crate) ids: Ids,
    pub(crate) transports: BTreeMap<&'static str, Arc<dyn Transport>>,
    pub(crate) health: Arc<EndpointHealth>,
    /// Flows of earlier revisions.
    pub(crate) flows: KeptFlows,
    /// What people have paused or set offline.
    pub(crate) suspensions: watch::Sender<Arc<Suspensions>>,
    /// The host keys that all nodes trust.
    pub(crate) host_keys: Arc<KnownHostList>,
    /// The addresses of endpoints that have several.
    pub(crate) addresses: Addresses,
    /// Which endpoints have as many deliveries waiting as they may.
    pub(crate) queues: Queues,
    /// The bandwidth of endpoints.
    pub(crate) paces: Paces,
    /// Runs that people requested and that no living node has started.
    pub(crate) flow_runs: watch::Sender<Arc<Vec<OpenFlowRun>>>,
    pub(crate) settings: EngineSettings,
    /// Tracks all tasks of the engine, so that shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    /// A number from 0 to 1 that spreads retries.
    pub(crate) fn jitter(&self) -> f64 {
        self.services.random.unit()
    }

    pub(crate) fn definitions(&self) -> Arc<Definitions> {
        self.services.directory.definitions()
    }

    /// A flow as it is at a revision; of a file that a person sent, what stands in its place.
    ///
    /// # Errors
    /// The database failed; or, `ConfigInvalid`, the flow cannot be read on this node, or the revision does not have
    /// it.
    pub(crate) async fn flow_at(&self, flow: &str, revision: i64) -> Result<FlowAt> {
        if let Some(sent) = ByHand::of(flow) {
            let (endpoint, transport) = self.endpoint(sent.endpoint)?;
            return by_hand::flow(sent, &endpoint, transport.spec());
        }
        self.flows.flow(&self.definitions(), flow, revision).await
    }

    /// An endpoint in force, and its transport.
    pub(crate) fn endpoint(&self, name: &str) -> Result<(Arc<Endpoint>, Arc<dyn Transport>)> {
        let definitions = self.definitions();
        let endpoint = definitions.endpoints.get(name).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an endpoint")
                .with("endpoint", name)
                .advice("it is no longer defined; define it again, then retry")
        })?;
        let transport = self.transports.get(endpoint.transport.as_str()).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an endpoint's transport")
                .with("endpoint", name)
                .with("transport", &endpoint.transport)
        })?;
        Ok((Arc::clone(endpoint), Arc::clone(transport)))
    }

    pub(crate) fn suspensions(&self) -> Arc<Suspensions> {
        Arc::clone(&self.suspensions.borrow())
    }

    /// Why an endpoint is not used: a person set it offline, or one through which it is reached.
    pub(crate) fn set_offline(&self, definitions: &Definitions, name: &str) -> Option<Suspension> {
        let suspensions = self.suspensions();
        // Most of the time nothing is.
        suspensions.endpoints().next()?;
        let mut way = vec![name];
        let mut at = 0;
        while let Some(name) = way.get(at).copied() {
            if let Some(suspension) = suspensions.endpoint(name) {
                return Some(suspension.clone());
            }
            at += 1;
            let Some(endpoint) = definitions.endpoints.get(name) else { continue };
            let Some(transport) = self.transports.get(endpoint.transport.as_str()) else { continue };
            let through = transport.spec().ways().filter_map(|field| endpoint.options.text(field));
            // Each once: a way that goes round in a circle is refused when definitions are checked.
            let new: Vec<&str> = through.filter(|other| !way.contains(other)).collect();
            way.extend(new);
        }
        None
    }

    /// The endpoints that are not used because people set them offline, or those through which they are reached.
    pub(crate) fn all_set_offline(&self, definitions: &Definitions) -> Vec<String> {
        let suspensions = self.suspensions();
        let named = suspensions.endpoints().map(str::to_owned);
        let behind =
            definitions.endpoints.keys().filter(|name| self.set_offline(definitions, name).is_some());
        named.chain(behind.cloned()).collect()
    }

    /// Endpoints that are bound to other nodes.
    pub(crate) fn endpoints_of_other_nodes(&self) -> Vec<String> {
        let definitions = self.definitions();
        let pinned = definitions.endpoints.values().filter(|endpoint| !self.may_use(endpoint));
        pinned.map(|endpoint| endpoint.name.clone()).collect()
    }

    /// Whether this node may use an endpoint.
    pub(crate) fn may_use(&self, endpoint: &Endpoint) -> bool {
        endpoint.node.as_deref().is_none_or(|node| node == self.settings.node.as_str())
    }

    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        self.services.event(kind)
    }

    /// Writes an event that is not part of a state change. If that fails, the event itself is logged: the work
    /// continues, and the event is not lost.
    pub(crate) async fn record_event(&self, event: AuditEvent) {
        let kind = event.kind;
        let detail = serde_json::Value::Object(event.detail.clone());
        if let Err(error) = self.services.audit.record(vec![event]).await {
            tracing::error!(%kind, %detail, error = %error.chain(), "an audit event could not be written");
        }
    }

    /// Records what the use of an endpoint showed about it, and after which error.
    pub(crate) async fn observe(&self, endpoint: &str, reachability: Reachability, error: Option<&Error>) {
        let rule = self.offline_rule(endpoint);
        let change = self.health.observe(endpoint, rule.as_ref(), reachability, self.now());
        self.record_health(endpoint, None, change, error).await;
    }

    /// Takes over from the database which endpoints were offline before this node started. Under another revision than
    /// then they are tried at once, because it may have fixed the failure.
    pub(crate) async fn restore_health(&self) -> Result<()> {
        let (now, revision) = (self.now(), self.definitions().revision);
        for known in self.store.failing_endpoints_of(&self.settings.node).await? {
            let is_unchanged = known.revision == revision;
            let until = if is_unchanged { known.until } else { known.until.min(now) };
            self.health.restore(&known.endpoint, u32::try_from(known.failures).unwrap_or(u32::MAX), until);
            if until < known.until {
                self.store.endpoints_tried_again(vec![known.endpoint], &self.settings.node, now).await?;
            }
        }
        Ok(())
    }

    /// Lets endpoints be tried again at once, because something was changed that may have fixed the failure.
    pub(crate) async fn try_again(&self, endpoints: &BTreeSet<&str>) {
        let now = self.now();
        let were_offline = self.health.try_again(endpoints, now);
        if !were_offline.is_empty()
            && let Err(error) = self.store.endpoints_tried_again(were_offline, &self.settings.node, now).await
        {
            tracing::warn!(error = %error.chain(), "endpoints are tried again, but lists show them as offline until their time is over");
        }
    }

    /// When failures take an endpoint offline; `None` for never.
    fn offline_rule(&self, endpoint: &str) -> Option<OfflineRule> {
        let definitions = self.definitions();
        definitions.endpoints.get(endpoint).map_or_else(|| Some(OfflineRule::default()), |own| own.offline)
    }

    /// Writes to the audit trail that an endpoint, or one of its addresses, went offline, after which error, or came
    /// back online.
    pub(crate) async fn record_health(
        &self,
        endpoint: &str,
        address: Option<&str>,
        change: HealthChange,
        error: Option<&Error>,
    ) {
        let event = match change {
            HealthChange::None => return,
            HealthChange::WentOffline(until) => {
                let kind =
                    if address.is_some() { EventKind::AddressOffline } else { EventKind::EndpointOffline };
                let event = self
                    .event(kind)
                    .detail("until", until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
                match error {
                    Some(error) => event.error(error),
                    None => event,
                }
            }
            HealthChange::CameOnline if address.is_some() => self.event(EventKind::AddressOnline),
            HealthChange::CameOnline => self.event(EventKind::EndpointOnline),
        };
        let event = match address {
            Some(address) => event.detail("address", address),
            None => event,
        };
        let others = if address.is_some() { Vec::new() } else { self.health.with(endpoint) };
        let event = if others.is_empty() {
            event
        } else {
            // Thousands of names would make an event that nobody reads; each endpoint's page shows its own state.
            let names: Vec<_> = others.into_iter().take(OTHERS_NAMED).collect();
            event.detail("with_it", names)
        };
        let event = event.endpoint(endpoint);
        if address.is_some() {
            return self.record_event(event).await;
        }
        let mut endpoints = self.health.with(endpoint);
        endpoints.push(endpoint.to_owned());
        let node = &self.settings.node;
        let (kind, detail) = (event.kind, serde_json::Value::Object(event.detail.clone()));
        let written = match change {
            HealthChange::WentOffline(until) => {
                let offline = WentOffline {
                    endpoints,
                    node: node.clone(),
                    at: self.now(),
                    until,
                    failures: self.health.failures(endpoint),
                    revision: self.definitions().revision,
                    error: error.map(|error| PeerText::from(error.chain().as_str()).as_str().to_owned()),
                };
                self.store.endpoints_went_offline(offline, event).await
            }
            _ => self.store.endpoints_came_online(endpoints, node, event).await,
        };
        if let Err(error) = written {
            // The work continues, and the event is not lost.
            tracing::error!(endpoint, %kind, %detail, error = %error.chain(), "that an endpoint went offline or came back could not be recorded");
        }
    }

    /// Records a result, and repeats this while the database is unreachable: if the result were lost, the act itself
    /// would be repeated. Gives up when the lease's epoch is over, because another node then checks what happened,
    /// and on errors that a repetition cannot solve.
    pub(crate) async fn write_until_done<T, F: Future<Output = Result<T>>>(
        &self,
        what: &'static str,
        epoch: i64,
        mut write: impl FnMut() -> F,
    ) -> Result<T> {
        loop {
            match write().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.retry() == Retry::Permanent || !self.lease.holds(epoch) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(what, error = %error.chain(), "could not be recorded yet; this is tried again");
                }
            }
            tokio::select! {
                () = self.services.clock.sleep(RECORD_AGAIN) => {}
                () = self.lease.lost(epoch) => {}
            }
        }
    }

    /// The same for a write that is repeated only if it is unknown whether it took effect.
    pub(crate) async fn write_until_known<T, F: Future<Output = Result<T>>>(
        &self,
        what: &'static str,
        epoch: i64,
        mut write: impl FnMut() -> F,
    ) -> Result<T> {
        match write().await {
            Err(error) if error.retry() == Retry::Ambiguous => {
                tracing::warn!(what, error = %error.chain(), "it is not known whether it was recorded; asking again");
            }
            answer => return answer,
        }
        // From here on, an error says nothing about the first attempt.
        let answer = self.write_until_done(what, epoch, write).await;
        answer.map_err(|error| error.retry_as(Retry::Ambiguous))
    }
}
