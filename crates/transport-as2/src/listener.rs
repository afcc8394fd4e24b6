//! A defined listener: its path at an HTTP server, and what receives there.

mod answering;
mod apart;
mod committing;
mod exchanged;
mod going_on;
mod later_receipts;
mod login;
mod receipts;
mod receiver;
mod repeated;
mod restart;
mod seems_receipt;

pub(crate) use receiver::Receiver;

use crate::admission::Admission;
use crate::material::Materials;
use crate::unknown::UnknownAnswer;
use async_trait::async_trait;
use model::{Error, ErrorKind, Result};
use net::http::{Handler, HttpServers, ListenSpec, Route, RouteGuard};
use net::{OwnCertificate, ServerCertificate};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use transport::{Intake, KeepLimits, Listener, Services, Shutdown};

/// A defined listener: one path at one HTTP server.
pub(crate) struct As2Listener {
    pub(crate) name: String,
    pub(crate) services: Services,
    pub(crate) servers: HttpServers,
    /// The server's addresses.
    pub(crate) listen: Vec<ListenSpec>,
    pub(crate) host: Option<String>,
    pub(crate) path: String,
    /// How messages of unknown names are answered.
    pub(crate) unknown: UnknownAnswer,
    /// The largest message in bytes; `None`: as the partner's agreement says.
    pub(crate) largest: Option<u64>,
    /// How much is kept of messages that have arrived in part.
    pub(crate) limits: KeepLimits,
    /// Keys and certificates, read once.
    pub(crate) materials: Arc<Materials>,
    /// The name of the credential by which partners log in.
    pub(crate) credential: Option<String>,
    /// The name of the key whose certificate clients of this listener are shown.
    pub(crate) certificate: Option<String>,
    /// The same for all listeners, which share its limits.
    pub(crate) admission: Arc<Admission>,
    /// By address; those that are missing could not be bound yet.
    pub(crate) routes: Mutex<BTreeMap<SocketAddr, RouteGuard>>,
    pub(crate) bound: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl As2Listener {
    fn bind_one(
        &self,
        listen: &ListenSpec,
        certificate: Option<ServerCertificate>,
        handler: &Arc<dyn Handler>,
    ) -> Result<()> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.contains_key(&listen.address) {
            return Ok(());
        }
        let route = Route {
            host: self.host.clone(),
            path: self.path.clone(),
            protocol: model::Protocol::As2,
            purpose: model::Purpose::Receive,
            endpoint: None,
            certificate,
        };
        let guard = self.servers.route(listen, route, Arc::clone(handler))?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", guard.local_addr(), self.path);
        tracing::info!(listener = %self.name, server = %listen.name, url, "receiving AS2 messages at this path");
        let mut addresses = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.entry(self.name.clone()).or_insert(guard.local_addr());
        routes.insert(listen.address, guard);
        Ok(())
    }

    /// What clients are shown that ask for this listener's host.
    fn certificate(&self) -> Result<Option<ServerCertificate>> {
        let Some(name) = &self.certificate else { return Ok(None) };
        let definitions = self.services.directory.definitions();
        let key = definitions.key(name)?;
        let own = OwnCertificate {
            certificates: key.certificate.clone().unwrap_or_default(),
            private_key: key.private_key.clone(),
            passphrase: key.passphrase.clone(),
        };
        let checked = ServerCertificate::new(&own, self.services.clock.now());
        checked.map(Some).map_err(|error| error.with("listener", &self.name).with("key", name))
    }
}

#[async_trait]
impl Listener for As2Listener {
    fn check(&self) -> Result<()> {
        match (self.certificate()?, self.listen.iter().find(|listen| listen.tls.is_none())) {
            (Some(_), Some(listen)) => Err(Error::permanent(ErrorKind::ConfigInvalid, "show a certificate")
                .with("listener", &self.name)
                .with("server", &listen.name)
                .advice("the server does no TLS: set 'tls' of the server in waybill.toml")),
            _ => Ok(()),
        }
    }

    async fn bind(&self, intake: Arc<dyn Intake>) -> Result<()> {
        let certificate = self.certificate()?;
        let handler: Arc<dyn Handler> = Arc::new(Receiver {
            listener: self.name.clone(),
            services: self.services.clone(),
            intake,
            admission: Arc::clone(&self.admission),
            path: self.path.clone(),
            materials: Arc::clone(&self.materials),
            unknown: self.unknown,
            largest: self.largest,
            credential: self.credential.clone(),
            limits: self.limits,
        });
        let mut first = Ok(());
        for listen in &self.listen {
            let bound = self.bind_one(listen, certificate.clone(), &handler);
            if first.is_ok() {
                first = bound;
            }
        }
        first
    }

    async fn serve(&self, mut shutdown: Shutdown) -> Result<()> {
        // An error means that the engine is gone, which is an end as well.
        drop(shutdown.wait_for(|ended| *ended).await);
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        Ok(())
    }
}
