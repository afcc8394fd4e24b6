//! `transport = "sftp"`: makes sources and destinations over [`SftpFolder`].

use crate::OPTIONS;
use crate::destination::SftpDestination;
use crate::folder::SftpFolder;
use crate::key;
use crate::options::Settings;
use crate::pool::Pool;
use crate::session::Remote;
use crate::source::SftpSource;
use model::definition::{Definitions, Endpoint, Flow, FlowSource};
use model::{OptionSpec, Purpose, Result};
use net::Net;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use transport::folder::{Folder, check_poll};
use transport::{Destination, Listener, Roles, Services, Source, Transport};

/// `transport = "sftp"`.
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

    /// The endpoint's directories themselves, over connections of their own. Paths are as the server
    /// takes them: the endpoint's directory is not put before them.
    ///
    /// # Errors
    /// `ConfigInvalid`, as `check`.
    pub fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        purpose: Purpose,
        services: Services,
    ) -> Result<Arc<dyn Folder>> {
        Ok(Arc::new(SftpFolder::new(self.pool(endpoint, purpose, services)?)))
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
        let login = Settings::read(endpoint)?.login;
        match &login.private_key {
            Some(key) => key::try_out(key, login.passphrase.as_ref())
                .map_err(|error| error.with("endpoint", &endpoint.name).with("option", "private_key")),
            None => Ok(()),
        }
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
