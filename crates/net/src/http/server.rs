//! The HTTP server: one for each listen address. Listeners and the console share it, and register routes by host and
//! path while it runs.
//!
//! An accepted connection is recorded when its first request's head has arrived, so that the record contains its
//! purpose, its endpoint and the requested host; then the handler runs. A connection that ends earlier (a failed
//! handshake, a port scan, an endless head) is recorded with its end, with the data of the address's first route.
//! Later requests on the same connection count as its requests, whatever their route.

mod accept;
mod exchange;
mod forwarded;
mod handler;
mod limits;
mod malformed;
mod numbers;
mod obs_fold;
mod open_connections;
mod proxy_header;
mod routes;
mod serve;
mod standby;
mod unread_body;
mod watch;

pub use forwarded::{ForwardedHeader, TrustedProxies};
pub use handler::{Handler, PeerInfo, TowerHandler, Unserved};
pub use limits::ServerLimits;
pub use numbers::ListenerNumbers;
pub use obs_fold::FoldedFields;
pub use open_connections::client_network;
pub use routes::Route;
pub use standby::{Standby, Waits};

use crate::connection::lock;
use crate::tls::Registered;
use crate::{Net, ServerCertificate, ServerTls, socket};
use accept::Address;
use model::{Error, ErrorKind, Result, Retry};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenSpec {
    /// Its name in the log and the metrics.
    pub name: String,
    /// The address; port 0 takes a free port, the same for all that use this address with port 0.
    pub address: SocketAddr,
    /// TLS from the first byte; `None` for no TLS.
    pub tls: Option<ServerTls>,
    /// Whether each connection begins with a PROXY header (version 1 or 2), before TLS. Only trusted proxies
    /// may connect then.
    pub proxy_protocol: bool,
}

impl ListenSpec {
    /// An address without TLS and PROXY headers.
    #[must_use]
    pub fn plain(name: &str, address: SocketAddr) -> Self {
        Self { name: name.to_owned(), address, tls: None, proxy_protocol: false }
    }
}

/// The HTTP servers of a process, one for each listen address. Cheap to clone.
#[derive(Clone)]
pub struct HttpServers {
    inner: Arc<Inner>,
}

struct Inner {
    net: Net,
    limits: ServerLimits,
    proxies: Arc<TrustedProxies>,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    bound: HashMap<SocketAddr, Arc<Address>>,
    /// Stopping, while their last requests finish.
    retired: Vec<Arc<Address>>,
}

/// A registered route. Dropping it removes the route; requests that have begun are finished. When the last route of
/// an address is removed, the address is closed.
pub struct RouteGuard {
    inner: Arc<Inner>,
    asked: SocketAddr,
    address: Arc<Address>,
    id: u64,
    certificate: Option<Registered>,
}

impl HttpServers {
    /// Servers with these limits. Nothing is bound yet.
    #[must_use]
    pub fn new(net: &Net, limits: ServerLimits) -> Self {
        Self::behind(net, limits, TrustedProxies::default())
    }

    /// The same with trusted proxies, whose headers about their clients are believed.
    #[must_use]
    pub fn behind(net: &Net, limits: ServerLimits, proxies: TrustedProxies) -> Self {
        let (net, proxies) = (net.clone(), Arc::new(proxies));
        Self { inner: Arc::new(Inner { net, limits, proxies, addresses: Mutex::default() }) }
    }

    /// The metrics of every bound address, by name.
    #[must_use]
    pub fn numbers(&self) -> Vec<ListenerNumbers> {
        let mut all: Vec<_> =
            lock(&self.inner.addresses).bound.values().map(|address| address.numbers()).collect();
        all.sort_by(|a, b| (&a.listener, a.address).cmp(&(&b.listener, b.address)));
        all
    }

    /// Registers a route, and binds its address if it is the first there. The route is active when this returns. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// `AlreadyExists`: another process uses the address, or another handler the route. `PermissionDenied`,
    /// `ConfigInvalid`: the address may not be used, is not an address of this machine, is used with other settings,
    /// or there is no certificate for it. Other routes are not affected.
    pub fn route(&self, listen: &ListenSpec, route: Route, handler: Arc<dyn Handler>) -> Result<RouteGuard> {
        let inner = &self.inner;
        let certificate = certificate_for(listen, &route)?;
        let mut addresses = lock(&inner.addresses);
        let address = match addresses.bound.entry(listen.address) {
            Entry::Occupied(taken) => taken.get().clone(),
            Entry::Vacant(free) => {
                let listener =
                    socket::listen(listen.address).map_err(|cause| bind_error(listen.address, cause))?;
                let address =
                    Address::start(&inner.net, &inner.limits, &inner.proxies, listener, listen.clone())
                        .map_err(|cause| bind_error(listen.address, cause))?;
                free.insert(address).clone()
            }
        };
        let (is, asked) = (address.spec(), listen);
        if is.tls != asked.tls || is.proxy_protocol != asked.proxy_protocol {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "listen")
                .with("address", listen.address)
                .advice("another server of Waybill uses this address with other settings (TLS or PROXY headers): give them the same settings, or different addresses"));
        }
        let id = address.routes().add(route, handler)?;
        Ok(RouteGuard { inner: inner.clone(), asked: listen.address, address, id, certificate })
    }

    /// Stops accepting, lets running requests finish until the deadline, then closes the remaining connections.
    /// Returns their number.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let addresses: Vec<_> = {
            let mut addresses = lock(&self.inner.addresses);
            let Addresses { bound, retired } = &mut *addresses;
            retired.drain(..).chain(bound.drain().map(|(_, address)| address)).collect()
        };
        for address in &addresses {
            address.stop();
        }
        let until = Instant::now() + deadline;
        let mut cut = 0;
        for address in addresses {
            cut += address.finish(until).await;
        }
        cut
    }
}

impl RouteGuard {
    /// The bound address, with the port that was found for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address.local_addr()
    }

    /// Replaces the route's certificate. The next handshake uses the new one; open connections continue.
    ///
    /// # Errors
    /// `ConfigInvalid`: the route was registered without a certificate, or the TLS library refuses this one. The old
    /// certificate stays in force.
    pub fn replace_certificate(&self, certificate: &ServerCertificate) -> Result<()> {
        match &self.certificate {
            Some(registered) => registered.replace(certificate),
            None => Err(Error::permanent(ErrorKind::ConfigInvalid, "replace a route's certificate")
                .with("address", self.local_addr())
                .advice("the route has no certificate of its own")),
        }
    }
}

/// The certificate of a route, after it was put in force.
fn certificate_for(listen: &ListenSpec, route: &Route) -> Result<Option<Registered>> {
    let registered = match (&listen.tls, &route.certificate) {
        (Some(tls), Some(certificate)) => tls.add(route.host.as_deref(), certificate).map(Some),
        (Some(tls), None) => tls.check_own().map(|()| None),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::permanent(ErrorKind::ConfigInvalid, "listen").advice(
            "the listener has a certificate, but its server does not use TLS: set 'tls' of the server in \
            waybill.toml",
        )),
    };
    registered.map_err(|error| error.with("server", &listen.name).with("address", listen.address))
}

impl Drop for RouteGuard {
    fn drop(&mut self) {
        // Under the lock that `route` takes: no route can be added to an address that is being closed.
        let mut addresses = lock(&self.inner.addresses);
        if !self.address.routes().remove(self.id) {
            return;
        }
        self.address.stop();
        let Addresses { bound, retired } = &mut *addresses;
        if bound.get(&self.asked).is_some_and(|address| Arc::ptr_eq(address, &self.address)) {
            bound.remove(&self.asked);
            retired.retain(|address| !address.is_over());
            retired.push(self.address.clone());
        }
    }
}

fn bind_error(address: SocketAddr, cause: io::Error) -> Error {
    let (kind, retry, advice) = match cause.kind() {
        io::ErrorKind::AddrInUse => (
            ErrorKind::AlreadyExists,
            Retry::Transient,
            "another process uses this address: stop it, or choose another port",
        ),
        io::ErrorKind::AddrNotAvailable => {
            (ErrorKind::ConfigInvalid, Retry::Permanent, "this machine has no such address")
        }
        io::ErrorKind::PermissionDenied => (
            ErrorKind::PermissionDenied,
            Retry::Permanent,
            "ports below 1024 need a permission (CAP_NET_BIND_SERVICE): grant it, or choose another port",
        ),
        _ => (ErrorKind::Internal, Retry::Transient, "see the cause"),
    };
    Error::new(kind, retry, "listen").with("address", address).advice(advice).caused_by(cause)
}
