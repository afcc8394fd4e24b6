//! One listen address: accepts connections and looks after them until they end.

use super::limits::ServerLimits;
use super::routes::Routes;
use super::serve::{Accepted, serve};
use crate::{Net, ServerTls};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A bound address with its routes and its connections.
pub(super) struct Address {
    local: SocketAddr,
    tls: Option<ServerTls>,
    routes: Arc<Routes>,
    /// No more connections, no more requests on those there are.
    stopping: CancellationToken,
    /// No more time.
    cutting: CancellationToken,
    tasks: TaskTracker,
}

/// After an error of `accept` itself (no descriptors left, say).
const PAUSE: Duration = Duration::from_millis(100);

impl Address {
    /// Begins to accept.
    pub(super) fn start(
        net: &Net,
        limits: &ServerLimits,
        listener: TcpListener,
        tls: Option<ServerTls>,
    ) -> io::Result<Arc<Self>> {
        let address = Arc::new(Self {
            local: listener.local_addr()?,
            tls: tls.clone(),
            routes: Arc::new(Routes::default()),
            stopping: CancellationToken::new(),
            cutting: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let accepting = Accepting {
            net: net.clone(),
            limits: Arc::new(limits.clone()),
            listener,
            tls,
            routes: address.routes.clone(),
            stopping: address.stopping.clone(),
            cutting: address.cutting.clone(),
            tasks: address.tasks.clone(),
        };
        address.tasks.spawn(accepting.run());
        Ok(address)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Stops accepting; connections end after the request they are at.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
    }

    /// Whether it was stopped and its last connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.tasks.is_closed() && self.tasks.is_empty()
    }

    /// Waits for the connections to end, and cuts those that are left at the deadline.
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
    listener: TcpListener,
    tls: Option<ServerTls>,
    routes: Arc<Routes>,
    stopping: CancellationToken,
    cutting: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self) {
        let stopping = self.stopping.clone();
        // The listener is dropped with the future: the address is free as soon as accepting stops.
        stopping.run_until_cancelled_owned(self.accept_all()).await;
    }

    async fn accept_all(self) {
        let room = Arc::new(Semaphore::new(self.limits.connections.max(1)));
        loop {
            // Room first, in both senses: who cannot be served waits in the system's queue.
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let Some(place) = self.net.recorder().place().await else { return };
            let (socket, remote) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let accepted = Accepted {
                net: self.net.clone(),
                limits: self.limits.clone(),
                tls: self.tls.clone(),
                routes: self.routes.clone(),
                stopping: self.stopping.clone(),
                socket,
                remote,
                place: place.taken(),
            };
            let cutting = self.cutting.clone();
            self.tasks.spawn(async move {
                let served = serve(accepted, cutting);
                served.await;
                drop(permit);
            });
        }
    }
}
