//! What every part of the engine holds.

use crate::adapters::Ids;
use crate::endpoints::EndpointHealth;
use crate::lease::LeaseKeeper;
use crate::running::EngineSettings;
use model::definition::{Definitions, Endpoint};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result, Timestamp};
use staging::Staging;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Store;
use transport::{Services, Transport};

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) staging: Staging,
    pub(crate) services: Services,
    pub(crate) lease: Arc<LeaseKeeper>,
    pub(crate) ids: Ids,
    pub(crate) transports: BTreeMap<&'static str, Arc<dyn Transport>>,
    pub(crate) health: Arc<EndpointHealth>,
    pub(crate) settings: EngineSettings,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        self.services.event(kind)
    }

    pub(crate) fn definitions(&self) -> Arc<Definitions> {
        self.services.directory.definitions()
    }

    /// Writes an event that is no part of a state change. A failure is logged with the event itself:
    /// it must not stop the work, and must not vanish.
    pub(crate) async fn record(&self, event: AuditEvent) {
        let kind = event.kind;
        let detail = serde_json::Value::Object(event.detail.clone());
        if let Err(error) = self.services.audit.record(vec![event]).await {
            tracing::error!(%kind, %detail, error = %error.chain(), "an audit event could not be written");
        }
    }

    /// An endpoint in force, and the transport that speaks to it.
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

    /// A number from 0 to 1 that spreads retries.
    pub(crate) fn jitter(&self) -> f64 {
        self.services.random.unit()
    }
}
