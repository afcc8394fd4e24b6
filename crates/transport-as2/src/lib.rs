//! AS2 (RFC 4130): messages between trading partners over HTTP, signed, encrypted and confirmed with
//! receipts.
//!
//! * sending: [`outgoing`] creates a message from a payload; `prepared` stores what is needed to send the same message
//!   in every attempt; `destination` sends it; `receipt` and `refusal` read the partner's answer.
//! * receiving: `listener` accepts messages; `receive` reads one into staging; `reply` answers it.
//! * receipts: [`mdn`] and [`disposition`].
//!
//! Bytes are streamed through the `smime` crate in both directions; no payload is held in memory.

mod admission;
pub mod agreement;
mod answer_body;
mod check;
mod coding;
mod destination;
pub mod disposition;
mod legacy;
mod listener;
mod material;
pub mod mdn;
mod mic_mismatch;
mod names;
mod options;
pub mod outgoing;
mod parties;
mod prepared;
mod probe;
mod readable;
mod receipt;
mod receive;
mod refusal;
mod reject;
mod rejection;
mod reply;
mod request;
mod stored_mdn;
mod streaming;
#[cfg(test)]
mod testing;

pub use names::read_name;
pub use receive::disposition_of;
pub use request::safe_file_name;

use crate::admission::Admission;
use crate::check::Check;
use crate::destination::As2Destination;
use crate::listener::As2Listener;
use model::definition::{self, Definitions, Endpoint, Flow};
use model::schema::{Finding, Findings, TransportSpec};
use model::{Error, ErrorKind, Result, Timestamp};
use net::Net;
use net::http::{HttpServers, ListenSpec};
pub use options::SPEC;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use transport::{Declaration, Destination, Listener, Services, Source, Transport};

/// The AS2 transport.
pub struct As2 {
    net: Net,
    servers: HttpServers,
    /// The HTTP servers of `waybill.toml`, by name.
    listen: BTreeMap<String, Vec<ListenSpec>>,
    /// What all listeners together may hold.
    admission: OnceLock<Arc<Admission>>,
    bound: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl As2 {
    /// AS2 over this network, receiving at these HTTP servers.
    #[must_use]
    pub fn new(net: Net, servers: HttpServers, listen: Vec<ListenSpec>) -> Self {
        let mut by_name = BTreeMap::<String, Vec<ListenSpec>>::new();
        for listen in listen {
            by_name.entry(listen.name.clone()).or_default().push(listen);
        }
        Self { net, servers, listen: by_name, admission: OnceLock::new(), bound: Arc::default() }
    }

    /// Where a listener receives, once it is bound: the real port.
    #[must_use]
    pub fn bound(&self, listener: &str) -> Option<SocketAddr> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).get(listener).copied()
    }
}

impl Declaration for As2 {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn check_identity(
        &self,
        identity: &definition::Identity,
        definitions: &Definitions,
        findings: &mut Findings<'_>,
    ) {
        Check { definitions, findings }.identity(identity);
    }

    fn check_partner(
        &self,
        partner: &definition::Partner,
        definitions: &Definitions,
        findings: &mut Findings<'_>,
    ) {
        Check { definitions, findings }.partner(partner);
    }

    fn check_listener(
        &self,
        listener: &definition::Listener,
        definitions: &Definitions,
        findings: &mut Findings<'_>,
    ) {
        Check { definitions, findings }.listener(listener);
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        Check { definitions, findings }.endpoint(endpoint);
    }

    fn check_definitions(&self, definitions: &Definitions, _: Timestamp) -> Vec<Finding> {
        check::definitions(definitions)
    }
}

impl Transport for As2 {
    fn source(&self, endpoint: Arc<Endpoint>, _: Arc<Flow>, _: Services) -> Result<Arc<dyn Source>> {
        Err(Error::permanent(ErrorKind::Unsupported, "poll an AS2 endpoint")
            .with("endpoint", &endpoint.name)
            .advice("AS2 partners send messages by themselves, so there is nothing to poll: define a listener, and receive with source = { listener = \"NAME\" }"))
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        _: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        Ok(Arc::new(As2Destination { endpoint, services, net: self.net.clone() }))
    }

    fn listener(&self, listener: Arc<definition::Listener>, services: Services) -> Result<Arc<dyn Listener>> {
        let text = |name: &str| listener.options.text(name).map(str::to_owned);
        let server = text("server").unwrap_or_default();
        let listen = self.listen.get(&server).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "receive AS2")
                .with("listener", &listener.name)
                .with("server", &server)
                .advice(
                    "this HTTP server is not set up: add [listen.http.NAME] with its address to waybill.toml",
                )
        })?;
        Ok(Arc::new(As2Listener {
            name: listener.name.clone(),
            servers: self.servers.clone(),
            listen: listen.clone(),
            host: text("host"),
            path: text("path").unwrap_or_default(),
            certificate: text("certificate"),
            admission: self.admission.get_or_init(|| Arc::new(Admission::new(&services.budget))).clone(),
            services,
            routes: Mutex::default(),
            bound: Arc::clone(&self.bound),
        }))
    }
}
