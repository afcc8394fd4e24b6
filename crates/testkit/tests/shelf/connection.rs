//! Connections to a shelf: dialled, logged in, and what the pool asks of them.

use crate::error::Refusal;
use crate::options::Settings;
use async_trait::async_trait;
use model::{Probe, Purpose, Result, Step};
use net::{Connector, PooledConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::fake::MemoryFolder;

/// The server: its files, the one password that it takes, and its connections.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) files: MemoryFolder,
    pub(crate) password: &'static str,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
}

/// A server, as the endpoints describe it that share its connections: makes connections to it. A real one has a [`net::Net`] to dial by.
pub(crate) struct Remote {
    pub(crate) server: Server,
    pub(crate) settings: Settings,
}

/// A connection that is logged in.
pub(crate) struct Connection {
    pub(crate) server: Server,
    lost: AtomicBool,
}

impl Remote {
    fn log_in(&self) -> Result<Connection> {
        if self.settings.password.reveal() != self.server.password {
            return Err(Refusal::Login.error("log in", &self.settings.host));
        }
        let open = self.server.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.server.most.fetch_max(open, Ordering::SeqCst);
        Ok(Connection { server: self.server.clone(), lost: AtomicBool::default() })
    }

    /// Connects and logs in, telling each step. A real one begins with [`net::Net::dial_for_test`].
    pub(crate) fn connect_for_test(&self, probe: &mut Probe) -> Option<Connection> {
        probe.note(Step::Name, &self.settings.host);
        probe.note(Step::Tcp, "connected");
        let connection = self.log_in();
        probe.add(Step::Login, Duration::ZERO, connection, |_| "logged in".to_owned())
    }
}

#[async_trait]
impl Connector for Remote {
    type Connection = Connection;

    async fn connect(&self, _: Purpose, _: &str) -> Result<Connection> {
        self.log_in()
    }
}

#[async_trait]
impl PooledConnection for Connection {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    async fn is_alive(&self) -> bool {
        !self.is_lost()
    }

    fn lose(&self, _: &'static str) {
        self.lost.store(true, Ordering::SeqCst);
    }

    fn closing(&self, _: &'static str) {}
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
    }
}
