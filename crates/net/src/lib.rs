//! The network: all sockets of Waybill. Connecting, name resolution, egress rules, proxies, TLS and trust,
//! the HTTP client and server, and the record of each connection.
//!
//! A connection is recorded before it is used, and its end is recorded in every case. No other crate creates
//! sockets, so no connection can be missing in the audit trail.
//!
//! Where to look:
//! * connecting: [`Net::dial`], [`DialRequest`], [`TlsProfile`], [`EgressRules`]
//! * an endpoint's connection options: [`ConnectOptions`], [`CONNECTION`], [`TLS`]
//! * connections that are kept and shared: [`Pool`], [`Connector`], [`POOL`]
//! * connecting over another connection (SSH jump hosts): [`Net::dial_over`]
//! * being connected to by a server that was asked to: [`Net::expect`], [`ExpectedConnection`]
//! * sending syslog messages: [`Net::send_syslog`]
//! * asking the SSH agent of this machine to sign: [`connect_ssh_agent`]
//! * the HTTP client: [`http::HttpClient`]
//! * the HTTP server: [`http::HttpServers`], [`http::Handler`], with TLS [`ServerTls`] and
//!   [`ServerCertificate`]
//! * the record: [`ConnectionLog`], [`ConnectionHandle`]

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod agent;
mod connection;
mod dial;
mod dialling;
mod egress;
mod end_tls;
mod expect;
pub mod http;
mod meter;
mod options;
mod pool;
mod probe;
mod proxy;
mod record;
mod resolve;
mod socket;
mod start_tls;
mod stream;
mod syslog;
mod tls;

pub use agent::connect_ssh_agent;
pub use connection::{ConnectionHandle, NowFn};
pub use dial::DialRequest;
pub use egress::{EgressRules, Network};
pub use expect::ExpectedConnection;
pub use model::ConnectionFailed;
pub use model::{ClientCertificates, Proxy, ProxyProtocol, SyslogTarget, TlsVersion};
pub use options::{CONNECTION, ConnectOptions, ConnectProfile, NO_PROXY, POOL, ProxyChoice, TLS};
pub use pool::{Connector, Pool, PoolLease, PoolLimits, PooledConnection, Pools, Shareable, Shared, Sharing};
pub use record::{ConnectionLog, Opened, RefusedConnections};
pub use resolve::{Resolver, SystemResolver};
pub use stream::{Carried, Stream};
pub use syslog::syslog_message;
pub use tls::{
    OwnCertificate, ServerCertificate, ServerTls, ServerTlsOptions, TlsOptions, TlsProfile, TlsSession, Trust,
};

use model::{NodeName, Result, Timestamp};
use record::Recorder;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The id source of [`NetSettings`]: version 7 UUIDs.
pub type NewIdFn = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// The settings that the process gives to this crate.
#[derive(Clone)]
pub struct NetSettings {
    /// This node.
    pub node: NodeName,
    /// Time.
    pub now: NowFn,
    /// Ids for connections.
    pub new_id: NewIdFn,
    /// The rules for target addresses.
    pub egress: EgressRules,
    /// The proxy for connections whose options name no other. The egress rules do not apply to its own address,
    /// because the administrator of this machine configured it.
    pub proxy: Option<Arc<Proxy>>,
    /// The name resolver.
    pub resolver: Arc<dyn Resolver>,
    /// The most connections at a time, inbound and outbound together, including those whose end is not recorded yet.
    pub max_connections: usize,
}

impl NetSettings {
    /// The default settings: usual egress rules, the system's resolver, 16,384 connections.
    #[must_use]
    pub fn new(node: NodeName, now: NowFn, new_id: NewIdFn) -> Self {
        Self {
            node,
            now,
            new_id,
            egress: EgressRules::default(),
            proxy: None,
            resolver: Arc::new(SystemResolver),
            max_connections: 16_384,
        }
    }
}

/// The network. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    settings: NetSettings,
    recorder: Recorder,
    clients: http::Clients,
    tls: tls::Profiles,
    closers: pool::Closers,
}

impl Net {
    /// Starts recording. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(settings: NetSettings, log: Arc<dyn ConnectionLog>) -> Self {
        let recorder = Recorder::start(log, settings.max_connections);
        let (clients, tls) = (http::Clients::default(), tls::Profiles::default());
        let closers = pool::Closers::default();
        Self { inner: Arc::new(Inner { settings, recorder, clients, tls, closers }) }
    }

    /// The number of connections that are open, being opened, or whose end is not recorded yet.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.recorder.pending()
    }

    /// For the end of the process: closes pooled connections and waits until every connection's end is recorded.
    /// Returns the number of connections that remain at the deadline.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.inner.closers.close();
        self.inner.clients.clear();
        // A timeout is not an error: the returned number shows it.
        let _ = tokio::time::timeout(deadline, self.inner.recorder.drained()).await;
        self.connections()
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    pub(crate) fn closers(&self) -> &pool::Closers {
        &self.inner.closers
    }

    pub(crate) fn clients(&self) -> &http::Clients {
        &self.inner.clients
    }

    /// A TLS profile with these options, checked. The same options return the same profile while it is in use and for
    /// some time after: reading the system's authorities takes milliseconds.
    ///
    /// # Errors
    /// As [`TlsProfile::new`].
    pub fn tls_profile(&self, options: &TlsOptions) -> Result<TlsProfile> {
        self.inner.tls.get(options)
    }

    /// The chosen proxy, and whether the administrator of this machine configured it.
    pub(crate) fn proxy(&self, choice: &ProxyChoice) -> Option<(Arc<Proxy>, bool)> {
        match choice {
            ProxyChoice::Process => self.inner.settings.proxy.clone().map(|proxy| (proxy, true)),
            ProxyChoice::Disabled => None,
            ProxyChoice::Through(proxy) => Some((Arc::clone(proxy), false)),
        }
    }

    pub(crate) fn egress(&self) -> &EgressRules {
        &self.inner.settings.egress
    }

    pub(crate) fn resolver(&self) -> &dyn Resolver {
        &*self.inner.settings.resolver
    }

    pub(crate) fn node(&self) -> &NodeName {
        &self.inner.settings.node
    }

    pub(crate) fn clock(&self) -> &NowFn {
        &self.inner.settings.now
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.settings.now)()
    }

    pub(crate) fn new_id(&self) -> Uuid {
        (self.inner.settings.new_id)()
    }
}
