//! AS2 (RFC 4130): messages between trading partners over HTTP, signed, encrypted, receipted.
//!
//! * out: [`outgoing`] makes a message of a payload; `letter` keeps what makes it the same message in
//!   every attempt; `destination` sends it; `receipt` and `refusal` read what the partner answers.
//! * in: `listener` takes messages; `receive` reads one into staging; `reply` answers it.
//! * [`mdn`] and [`disposition`] are the receipt itself.
//!
//! Bytes stream through the `smime` room both ways; nothing here holds a payload.

mod admission;
mod answer_body;
mod coding;
mod destination;
pub mod disposition;
mod kept;
mod legacy;
mod letter;
mod listener;
mod material;
pub mod mdn;
mod names;
mod options;
mod other_mic;
pub mod outgoing;
mod parties;
mod probe;
mod receipt;
mod receive;
mod refusal;
mod refusing;
mod reply;
mod request;
mod shown;
mod streaming;
#[cfg(test)]
mod testing;
mod unfit;

pub use names::read_name;
pub use receive::disposition_of;
pub use request::safe_file_name;

use crate::destination::As2Destination;
use crate::listener::As2Listener;
use async_trait::async_trait;
use model::definition::{Definitions, Endpoint, Flow, FlowSource};
use model::{Error, ErrorKind, OptionSpec, Result};
use net::http::{HttpServers, ListenSpec};
use net::{ConnectOptions, Net};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use transport::{Destination, Listener, Roles, Services, Source, Transport};

/// The AS2 transport.
pub struct As2 {
    net: Net,
    servers: HttpServers,
    listen: Vec<ListenSpec>,
    path: String,
    bound: Arc<Mutex<Vec<SocketAddr>>>,
}

impl As2 {
    /// AS2 over this network, receiving at `path` on these addresses.
    #[must_use]
    pub fn new(net: Net, servers: HttpServers, listen: Vec<ListenSpec>, path: &str) -> Self {
        Self { net, servers, listen, path: path.to_owned(), bound: Arc::default() }
    }

    /// Where it receives, once its listener is bound: the real ports.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Transport for As2 {
    fn name(&self) -> &'static str {
        "as2"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        options::OPTIONS
    }

    fn roles(&self) -> Roles {
        Roles { source: false, destination: true, listener: true }
    }

    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        let missing = |what: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "use an AS2 endpoint")
                .with("endpoint", &endpoint.name)
                .with("missing", what)
        };
        endpoint.url.as_ref().ok_or_else(|| missing("url"))?;
        endpoint.partner.as_ref().ok_or_else(|| missing("partner"))?;
        endpoint.identity.as_ref().ok_or_else(|| missing("identity"))?;
        let options = ConnectOptions::read(&endpoint.options);
        options.map(drop).map_err(|error| error.with("endpoint", &endpoint.name))
    }

    fn source(&self, endpoint: Arc<Endpoint>, _: Arc<Flow>, _: Services) -> Result<Arc<dyn Source>> {
        Err(Error::permanent(ErrorKind::Unsupported, "poll an AS2 endpoint")
            .with("endpoint", &endpoint.name)
            .advice("AS2 is push only: receive with source = { listener = \"as2\", partner = … }"))
    }

    fn destination(&self, endpoint: Arc<Endpoint>, services: Services) -> Result<Arc<dyn Destination>> {
        Ok(Arc::new(As2Destination { endpoint, services, net: self.net.clone() }))
    }

    fn listener(
        &self,
        definitions: Arc<Definitions>,
        services: Services,
    ) -> Result<Option<Arc<dyn Listener>>> {
        let wanted = definitions.flows.values().any(|flow| match &flow.source {
            FlowSource::Receive(receive) => flow.enabled && receive.listener == "as2",
            FlowSource::Poll(_) => false,
        });
        if !wanted {
            return Ok(None);
        }
        if self.listen.is_empty() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "receive AS2").advice(
                "a flow receives by AS2, but no address to listen on is set: set listen.http in waybill.toml",
            ));
        }
        Ok(Some(Arc::new(As2Listener {
            services,
            servers: self.servers.clone(),
            listen: self.listen.clone(),
            path: self.path.clone(),
            receiver: OnceLock::new(),
            routes: Mutex::default(),
            bound: Arc::clone(&self.bound),
        })))
    }
}
