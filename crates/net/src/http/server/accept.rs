//! One listen address: accepts connections and tracks them until they end.

use super::forwarded::TrustedProxies;
use super::limits::ServerLimits;
use super::open_connections::{Connections, Slot};
use super::routes::Routes;
use super::serve::{Accepted, plain_address, serve};
use super::{ListenSpec, ListenerNumbers};
use crate::Net;
use crate::record::{Place, RefusedConnections};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A bound address with its routes and its connections.
pub(super) struct Address {
    local: SocketAddr,
    spec: ListenSpec,
    connections: Arc<Connections>,
    routes: Arc<Routes>,
    /// Accept no more connections, and no more requests on the open ones.
    stopping: CancellationToken,
    /// The deadline is over.
    cutting: CancellationToken,
    tasks: TaskTracker,
}

/// The wait after an error of `accept` itself (for example no free descriptors).
const PAUSE: Duration = Duration::from_millis(100);

impl Address {
    /// Starts accepting.
    pub(super) fn start(
        net: &Net,
        limits: &ServerLimits,
        proxies: &Arc<TrustedProxies>,
        listener: TcpListener,
        spec: ListenSpec,
    ) -> io::Result<Arc<Self>> {
        let limits = Arc::new(limits.clone());
        let local = listener.local_addr()?;
        let address = Arc::new(Self {
            local,
            spec: spec.clone(),
            connections: Connections::new(limits.clone()),
            routes: Arc::new(Routes::default()),
            stopping: CancellationToken::new(),
            cutting: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let accepting = Accepting {
            net: net.clone(),
            limits,
            proxies: proxies.clone(),
            connections: address.connections.clone(),
            local,
            spec,
            routes: address.routes.clone(),
            stopping: address.stopping.clone(),
            cutting: address.cutting.clone(),
            tasks: address.tasks.clone(),
        };
        address.tasks.spawn(accepting.run(listener));
        Ok(address)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Its settings.
    pub(super) fn spec(&self) -> &ListenSpec {
        &self.spec
    }

    pub(super) fn numbers(&self) -> ListenerNumbers {
        ListenerNumbers::of(&self.spec.name, self.local, &self.connections)
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Stops accepting; connections end after their current request.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
    }

    /// Whether it was stopped and its last connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.tasks.is_closed() && self.tasks.is_empty()
    }

    /// Waits for the connections to end, and closes the remaining ones at the deadline.
    pub(super) async fn finish(&self, until: Instant) -> usize {
        if timeout_at(until, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.cutting.cancel();
        self.tasks.wait().await;
        left
    }
}

struct Accepting {
    net: Net,
    limits: Arc<ServerLimits>,
    proxies: Arc<TrustedProxies>,
    connections: Arc<Connections>,
    local: SocketAddr,
    spec: ListenSpec,
    routes: Arc<Routes>,
    stopping: CancellationToken,
    cutting: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        // The listener is dropped with the future: the address is free as soon as accepting stops.
        self.stopping.run_until_cancelled(self.accept_all(listener)).await;
        self.report().await;
    }

    async fn accept_all(&self, listener: TcpListener) {
        let mut reports = interval(self.limits.report_every.max(Duration::from_millis(10)));
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Some(place) = self.net.recorder().place().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = reports.tick() => {
                    self.report().await;
                    continue;
                }
            };
            let (socket, remote) = match accepted {
                Ok((socket, remote)) => (socket, plain_address(remote)),
                Err(error) => {
                    tracing::warn!(%error, listener = %self.spec.name, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let client = (!self.proxies.trusts(remote.ip())).then_some(remote.ip());
            match self.connections.join(remote, client) {
                Ok(slot) => self.serve(socket, remote, place.taken(), slot),
                // Closed at once. All refusals of a period are recorded together.
                Err(full) => tracing::debug!(%remote, reason = full.reason(), "a connection was refused"),
            }
        }
    }

    fn serve(&self, socket: TcpStream, remote: SocketAddr, place: Place, slot: Slot) {
        let accepted = Accepted {
            net: self.net.clone(),
            limits: self.limits.clone(),
            tls: self.spec.tls.clone(),
            routes: self.routes.clone(),
            stopping: self.stopping.clone(),
            socket,
            remote,
            place,
            slot,
            proxies: self.proxies.clone(),
            proxy_protocol: self.spec.proxy_protocol,
        };
        self.tasks.spawn(serve(accepted, self.cutting.clone()));
    }

    /// Records, in one line, the connections that were refused or closed to make room.
    async fn report(&self) {
        let Some(sum) = self.connections.unreported() else { return };
        let report = RefusedConnections {
            at: self.net.now(),
            node: self.net.node().clone(),
            listener: self.spec.name.clone(),
            address: self.local,
            refused: sum.refused,
            closed: sum.closed,
            last: sum.last,
        };
        tracing::warn!(
            listener = %report.listener, address = %report.address, refused = report.refused,
            closed_while_idle = report.closed, last = %report.last,
            "more connections than are allowed at once: see limits.connections and limits.connections_per_client"
        );
        if let Err(error) = self.net.recorder().log().turned_away(report).await {
            tracing::error!(error = %error.chain(), "the event about refused connections could not be recorded");
        }
    }
}
