//! SFTP: polling and delivering over SSH.
//!
//! The SSH layer is russh over a stream of the `net` room; SFTP version 3 is spoken here, with names as
//! bytes and many requests on their way. Reading order: [`session`] (connect, trust, log in), [`client`]
//! (requests and answers), [`read`], [`list`] and [`upload`], [`folder`] (the contract), [`pool`].
//! Polling and safe writing themselves are the `transport` room's.

mod client;
mod endpoint;
mod error;
mod folder;
mod handshake;
mod host_key;
mod key;
mod known_hosts;
mod list;
mod options;
mod packet;
mod pool;
mod read;
mod session;
mod stream;
mod upload;

pub use options::OPTIONS;

use async_trait::async_trait;
use endpoint::{SftpDestination, SftpSource};
use model::definition::{Definitions, Endpoint, Flow, FlowSource};
use model::{OptionSpec, Purpose, Result};
use net::Net;
use options::Settings;
use pool::Pool;
use session::Remote;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use transport::folder::check_poll;
use transport::{Destination, Listener, Roles, Services, Source, Transport};

/// The transport `sftp`.
pub struct SftpTransport {
    net: Net,
    /// Pools in use, so that flows which share an endpoint share its connections.
    pools: Mutex<HashMap<(String, Purpose), Shared>>,
}

/// A pool, and the endpoint that it was made for: another revision's endpoint gets its own.
struct Shared {
    endpoint: Weak<Endpoint>,
    pool: Weak<Pool>,
}

impl SftpTransport {
    /// The transport over a network.
    #[must_use]
    pub fn new(net: Net) -> Self {
        Self { net, pools: Mutex::default() }
    }

    fn pool(&self, endpoint: &Arc<Endpoint>, purpose: Purpose, services: Services) -> Result<Arc<Pool>> {
        let settings = Settings::read(endpoint)?;
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, shared| shared.pool.strong_count() > 0);
        let key = (endpoint.name.clone(), purpose);
        if let Some(shared) = pools.get(&key)
            && shared.endpoint.ptr_eq(&Arc::downgrade(endpoint))
            && let Some(pool) = shared.pool.upgrade()
        {
            return Ok(pool);
        }
        let pool = Pool::new(Arc::new(Remote::new(self.net.clone(), settings, services)), purpose);
        let shared = Shared { endpoint: Arc::downgrade(endpoint), pool: Arc::downgrade(&pool) };
        pools.insert(key, shared);
        Ok(pool)
    }
}

#[async_trait]
impl Transport for SftpTransport {
    fn name(&self) -> &'static str {
        "sftp"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sftp"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn roles(&self) -> Roles {
        Roles { source: true, destination: true, listener: false }
    }

    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        Settings::read(endpoint).map(drop)
    }

    fn check_source(&self, endpoint: &Endpoint, flow: &Flow) -> Result<()> {
        let settings = Settings::read(endpoint)?;
        match &flow.source {
            FlowSource::Poll(poll) => check_poll(&settings.directory, poll),
            FlowSource::Receive(_) => Ok(()),
        }
    }

    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        let pool = self.pool(&endpoint, Purpose::Poll, services)?;
        Ok(Arc::new(SftpSource::new(pool, flow)?))
    }

    fn destination(&self, endpoint: Arc<Endpoint>, services: Services) -> Result<Arc<dyn Destination>> {
        let pool = self.pool(&endpoint, Purpose::Deliver, services)?;
        Ok(Arc::new(SftpDestination::new(pool)?))
    }

    fn listener(&self, _: Arc<Definitions>, _: Services) -> Result<Option<Arc<dyn Listener>>> {
        Ok(None)
    }
}
