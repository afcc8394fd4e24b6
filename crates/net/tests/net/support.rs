//! What the tests share: a log that remembers, certificates made on the spot, plain and TLS peers.

pub(crate) mod certificates;

use async_trait::async_trait;
use model::{ConnectionClosed, ConnectionId, Error, ErrorKind, Protocol, Purpose, Result};
use net::{
    ConnectionFailed, ConnectionLog, DialRequest, Net, NetSettings, Opened, ProxyChoice, RefusedConnections,
    Resolver,
};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Remembers records in the order they came.
#[derive(Default)]
pub(crate) struct MemoryLog {
    pub(crate) opened: Mutex<Vec<Opened>>,
    pub(crate) closed: Mutex<Vec<ConnectionClosed>>,
    pub(crate) failed: Mutex<Vec<ConnectionFailed>>,
    pub(crate) turned_away: Mutex<Vec<RefusedConnections>>,
    pub(crate) refuse: AtomicBool,
    pub(crate) slow: AtomicBool,
}

#[async_trait]
impl ConnectionLog for MemoryLog {
    async fn opened(&self, opened: Opened) -> Result<()> {
        self.pass().await?;
        self.opened.lock().unwrap().push(opened);
        Ok(())
    }

    async fn closed(&self, closed: ConnectionClosed) -> Result<()> {
        self.pass().await?;
        assert!(
            self.opened.lock().unwrap().iter().any(|o| o.record.id == closed.id),
            "closed without opened: {closed:?}"
        );
        self.closed.lock().unwrap().push(closed);
        Ok(())
    }

    async fn failed(&self, failed: ConnectionFailed) -> Result<()> {
        self.pass().await?;
        self.failed.lock().unwrap().push(failed);
        Ok(())
    }

    async fn turned_away(&self, report: RefusedConnections) -> Result<()> {
        self.pass().await?;
        self.turned_away.lock().unwrap().push(report);
        Ok(())
    }
}

impl MemoryLog {
    async fn pass(&self) -> Result<()> {
        if self.slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if self.refuse.load(Ordering::Relaxed) {
            return Err(Error::transient(ErrorKind::StorageFull, "write the journal"));
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let opened = self.opened.lock().unwrap().len();
        (opened, self.closed.lock().unwrap().len(), self.failed.lock().unwrap().len())
    }

    pub(crate) fn last_opened(&self) -> Opened {
        self.opened.lock().unwrap().last().expect("nothing opened").clone()
    }

    pub(crate) fn last_failed(&self) -> ConnectionFailed {
        self.failed.lock().unwrap().last().expect("nothing failed").clone()
    }

    pub(crate) fn closed_of(&self, id: ConnectionId) -> Option<ConnectionClosed> {
        let closed = self.closed.lock().unwrap();
        let all: Vec<_> = closed.iter().filter(|record| record.id == id).cloned().collect();
        assert!(all.len() < 2, "closed twice: {all:?}");
        all.into_iter().next()
    }

    /// Waits for the end of a connection.
    pub(crate) async fn wait_closed(&self, id: ConnectionId) -> ConnectionClosed {
        eventually("the connection's end", || self.closed_of(id)).await
    }

    /// Waits until this many are closed, and checks that exactly these were opened.
    pub(crate) async fn wait_pairs(&self, count: usize) {
        eventually("the ends of all connections", || {
            (self.counts().1 == count && self.counts().0 == count).then_some(())
        })
        .await;
        let opened: std::collections::HashSet<_> =
            self.opened.lock().unwrap().iter().map(|o| o.record.id).collect();
        let closed: std::collections::HashSet<_> = self.closed.lock().unwrap().iter().map(|c| c.id).collect();
        assert_eq!(opened, closed);
        assert_eq!(opened.len(), count);
    }
}

/// Looks again until there is something, for ten seconds.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come");
}

/// Names of the test's own; anything else is unknown.
#[derive(Default)]
pub(crate) struct Names(pub(crate) HashMap<String, Vec<SocketAddr>>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        match self.0.get(host) {
            Some(addresses) => Ok(addresses.clone()),
            None => Err(io::Error::other("failed to lookup address information: Name or service not known")),
        }
    }
}

pub(crate) fn settings() -> NetSettings {
    let now = Arc::new(chrono::Utc::now);
    NetSettings::new("test-1".parse().unwrap(), now, Arc::new(uuid::Uuid::now_v7))
}

pub(crate) fn net() -> (Net, Arc<MemoryLog>) {
    net_with(|_| {})
}

pub(crate) fn net_with(change: impl FnOnce(&mut NetSettings)) -> (Net, Arc<MemoryLog>) {
    let mut settings = settings();
    change(&mut settings);
    let log = Arc::new(MemoryLog::default());
    (Net::new(settings, log.clone()), log)
}

pub(crate) fn names(entries: &[(&str, &[SocketAddr])]) -> Arc<dyn Resolver> {
    Arc::new(Names(entries.iter().map(|(name, all)| ((*name).to_owned(), all.to_vec())).collect()))
}

pub(crate) fn request(host: &str, port: u16) -> DialRequest {
    DialRequest {
        endpoint: Some("acme".to_owned()),
        protocol: Protocol::Sftp,
        purpose: Purpose::Poll,
        host: host.to_owned(),
        port,
        tls: None,
        proxy: ProxyChoice::Disabled,
        timeout: Duration::from_secs(5),
        keep_alive: Some(Duration::from_secs(60)),
        control: None,
    }
}

pub(crate) fn to(address: SocketAddr) -> DialRequest {
    request(&address.ip().to_string(), address.port())
}

pub(crate) async fn listener() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that refuses.
pub(crate) async fn refusing() -> SocketAddr {
    listener().await.1
}
