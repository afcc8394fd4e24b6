//! A TCP proxy on loopback that misbehaves on command.
//!
//! A test connects to [`FaultProxy::address`] instead of the server. [`FaultProxy::set`] changes the
//! behaviour at any time, also of connections that are open. When the proxy is dropped, so are its
//! listener, its tasks and its connections.

pub mod ftp;
mod pump;

use futures::FutureExt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the proxy does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Passes everything on.
    Pass,
    /// Passes this many bytes of each connection in one direction, counted from its beginning, then
    /// ends it.
    Cut {
        /// The direction that is counted.
        direction: Direction,
        /// Bytes passed on.
        after: u64,
        /// How it ends.
        how: Ending,
    },
    /// Everything arrives so much later, in each direction, as over a long line.
    Delay(Duration),
    /// Accepts and never answers; open connections fall silent, and go on when this ends.
    BlackHole,
    /// Does not listen; open connections go on.
    Refuse,
    /// Takes and passes on this many bytes per second in each direction; at least 1.
    Slow(u64),
    /// The server's side is gone, and the client is not told.
    HalfOpen,
}

/// A direction, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From client to server.
    Up,
    /// From server to client.
    Down,
}

/// How a connection ends, on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With a reset (RST).
    Reset,
    /// In order (FIN), as if the other had nothing more to say.
    Close,
}

/// The proxy.
pub struct FaultProxy {
    address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    listening: watch::Receiver<bool>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// What passed, over the proxy's life.
#[derive(Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Counts {
    pub(crate) fn passed(&self, direction: Direction, bytes: u64) {
        let count = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl FaultProxy {
    /// Starts a proxy before a server, on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), server).await
    }

    /// Starts a proxy before a server, on an address of one's own choice.
    ///
    /// # Errors
    /// The address is not free.
    pub async fn at(address: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let behaviour = watch::Sender::new(Behaviour::Pass);
        let (tell, listening) = watch::channel(true);
        let counts = Arc::new(Counts::default());
        let accepting =
            Accepting { server, address, behaviour: behaviour.subscribe(), counts: counts.clone() };
        let task = tokio::spawn(accepting.run(listener, tell));
        Ok(Self { address, behaviour, listening, counts, task })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the behaviour; in force when this returns.
    ///
    /// # Errors
    /// The port was taken by somebody else while the proxy refused.
    pub async fn set(&self, behaviour: Behaviour) -> io::Result<()> {
        self.behaviour.send_replace(behaviour);
        let wanted = behaviour != Behaviour::Refuse;
        let mut listening = self.listening.clone();
        let settled = listening.wait_for(|listens| *listens == wanted);
        match tokio::time::timeout(Duration::from_secs(10), settled).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        }
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Bytes passed on in a direction so far.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Up => self.counts.up.load(Ordering::Relaxed),
            Direction::Down => self.counts.down.load(Ordering::Relaxed),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Accepting {
    server: SocketAddr,
    address: SocketAddr,
    behaviour: watch::Receiver<Behaviour>,
    counts: Arc<Counts>,
}

impl Accepting {
    async fn run(mut self, listener: TcpListener, tell: watch::Sender<bool>) {
        let mut connections = JoinSet::new();
        let mut listener = Some(listener);
        loop {
            let refuse = *self.behaviour.borrow_and_update() == Behaviour::Refuse;
            if refuse {
                // What the kernel accepted for us already is refused as well, by a reset.
                listener = None;
            } else if listener.is_none() {
                listener = self.listen_again().await;
            }
            tell.send_replace(listener.is_some());
            tokio::select! {
                changed = self.behaviour.changed() => if changed.is_err() { return },
                accepted = accept(listener.as_ref()) => {
                    if let Ok(client) = accepted {
                        self.serve(client, &mut connections);
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn serve(&self, client: TcpStream, connections: &mut JoinSet<()>) {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let open = Open::new(self.counts.clone());
        let (server, behaviour) = (self.server, self.behaviour.clone());
        connections.spawn(pump::connect(client, server, behaviour, open).map(drop));
    }

    /// The port was ours a moment ago; connections of before may hold it for a little.
    async fn listen_again(&self) -> Option<TcpListener> {
        for _ in 0..100 {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                return Some(listener);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// Counts a connection for as long as it is open, also when its task is dropped.
pub(crate) struct Open(pub(crate) Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
