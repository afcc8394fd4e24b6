//! `transport = "sftp"`: makes sources and destinations over [`SftpFolder`].

use crate::SPEC;
use crate::destination::SftpDestination;
use crate::folder::SftpFolder;
use crate::key;
use crate::options::Settings;
use crate::pool::Pool;
use crate::session::Remote;
use crate::source::SftpSource;
use model::definition::{self, Definitions, Endpoint, Flow, FlowSource, PollEffects, PollSource};
use model::schema::{Finding, TransportSpec};
use model::{Purpose, Result, Timestamp};
use net::Net;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use transport::folder::{Folder, Polling, check_poll, options};
use transport::{Declaration, Destination, Services, Source, Transport};

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
    /// takes them: the endpoint's directory is not put before them. Files that are written get these permissions, where
    /// some are given.
    ///
    /// # Errors
    /// `ConfigInvalid`, as `check`.
    pub fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        purpose: Purpose,
        permissions: Option<u32>,
        services: Services,
    ) -> Result<Arc<dyn Folder>> {
        let folder = SftpFolder::new(self.pool(endpoint, purpose, services)?);
        Ok(Arc::new(folder.with_permissions(permissions)))
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

impl Declaration for SftpTransport {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        let login = Settings::read(endpoint)?.login;
        match &login.private_key {
            Some(key) => key::try_out(key, login.passphrase.as_ref())
                .map_err(|error| error.with("endpoint", &endpoint.name).with("option", "private_key")),
            None => Ok(()),
        }
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        Polling::of(poll).effects()
    }

    fn check_destination(&self, endpoint: &Endpoint, destination: &definition::Destination) -> Result<()> {
        Settings::read(endpoint)?.writing(endpoint, destination).map(drop)
    }

    fn check_definitions(&self, definitions: &Definitions, _: Timestamp) -> Vec<Finding> {
        options::check_definitions(SPEC.name, definitions)
    }

    fn check_source(&self, endpoint: &Endpoint, flow: &Flow) -> Result<()> {
        let settings = Settings::read(endpoint)?;
        match &flow.source {
            FlowSource::Poll(poll) => check_poll(&settings.directory, poll),
            FlowSource::Receive(_) => Ok(()),
        }
    }
}

impl Transport for SftpTransport {
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        let pool = self.pool(&endpoint, Purpose::Poll, services)?;
        Ok(Arc::new(SftpSource::new(pool, flow)?))
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let (write, permissions) = Settings::read(&endpoint)?.writing(&endpoint, destination)?;
        let pool = self.pool(&endpoint, Purpose::Deliver, services)?;
        Ok(Arc::new(SftpDestination::new(pool, write, permissions)?))
    }
}
