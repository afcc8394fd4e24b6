//! AS2 (RFC 4130): messages between trading partners over HTTP, signed, encrypted and confirmed with
//! receipts.
//!
//! * sending: [`outgoing`] creates a message from a payload; `prepared` stores what is needed to send the same message
//!   in every attempt; `destination` sends it; `receipt` and `refusal` read the partner's answer.
//! * receiving: `listener` accepts messages; `receive` reads one into staging; `reply` answers it.
//! * a large message that broke off goes on (draft-harding-as2-restart-06): `transfer_id` notes what it is known by,
//!   `destination::ask_held` asks the partner how much it has, `destination::restarting` decides what is sent, and
//!   `streaming::making` gives its bytes from there.
//! * one of a partner's goes on as well: [`content_range`] reads which bytes come, `listener::going_on` decides what is done
//!   with them by what is held, `listener::restart` does it, and `streaming::kept` keeps the bytes while they are read.
//! * receipts: [`mdn`] and [`disposition`]. Those that come later, not in an answer: `sent_message` notes what one must say,
//!   `later_receipt` judges it; `receipt_target` says where ours may go, `later_delivery` sends them.
//! * what holds several things: `composite` reads a receipt beside payloads, in answers (`destination::answered`) and in messages
//!   (`listener::apart`). `destination::answering` puts a payload into an answer that waits for it, `listener::answering` waits.
//! * `exchange` reads and writes messages about certificates (CEM), `listener::exchanged` takes them: they become no transfer.
//! * messages as HTML forms, both ways: [`forms`]. Receipts that are no MDNs: [`report_types`] says what they are, `mdn`
//!   writes and reads them.
//! * `evidence` collects what proves a message later, `signed_copy` what was signed where that is not the payload. Where the
//!   receipt comes later, `sent_proof` notes it with the message, and `later_evidence` puts it together.
//!
//! Bytes are streamed through the `smime` crate in both directions; no payload is held in memory. A large message
//! is worked on by several threads ([`smime::threads`]): one signs while another encrypts, one decrypts and verifies while another
//! writes to staging (`staging_writer`).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod admission;
pub mod agreement;
mod answer_body;
mod by_hand;
mod check;
pub mod choice;
mod coding;
mod composite;
pub mod content_range;
mod destination;
mod diagnosis;
pub mod disposition;
mod evidence;
pub mod exchange;
mod fallback;
pub mod file_names;
pub mod form_fields;
pub mod forms;
pub mod header_options;
pub mod kept_terms;
mod later_delivery;
mod later_evidence;
mod later_fallback;
mod later_receipt;
mod later_reply;
mod legacy;
mod listener;
mod logged_in;
mod login;
mod material;
pub mod mdn;
mod media_types;
mod message_terms;
mod mic_mismatch;
mod names;
mod noted_signature;
mod options;
pub mod outgoing;
mod parties;
mod partnership;
mod pgp_keys;
mod pgp_message;
mod pgp_receipt;
mod pgp_signature;
mod prepared;
pub mod presets;
mod probe;
mod read_once;
mod readable;
mod receipt;
mod receipt_check;
mod receipt_form;
mod receipt_target;
pub mod receipt_terms;
mod receive;
mod received_keys;
mod recorded;
mod refusal;
mod reject;
mod rejection;
mod related;
mod reply;
mod reply_address;
mod reply_check;
pub mod report_types;
mod request;
pub mod restart_terms;
mod root_part;
mod sent_message;
mod sent_proof;
mod signed_copy;
mod signer;
mod spool;
mod staging_writer;
mod stored_mdn;
mod streaming;
mod tell;
#[cfg(test)]
mod testing;
mod transfer_id;
mod unknown;

pub use file_names::safe_file_name;
pub use names::read_name;
pub use receive::disposition_of;

use crate::admission::Admission;
use crate::check::Check;
use crate::destination::As2Destination;
use crate::exchange::ExchangeFormat;
use crate::form_fields::FormFields;
use crate::later_delivery::ReceiptDestination;
use crate::listener::As2Listener;
use crate::material::Materials;
use crate::reply_address::ListenSpecs;
use crate::unknown::UnknownAnswer;
use model::definition::{self, Definitions, Endpoint, Flow};
use model::schema::{Finding, Findings, TransportSpec};
use model::{CertificateExchangeFormat, Error, ErrorKind, Result, Timestamp};
use net::http::{HttpServers, ListenSpec, ServerLogin};
use net::{Net, Shared};
pub use options::SPEC;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use transport::{Declaration, Destination, Listener, Services, Source, Transport};

/// The AS2 transport.
pub struct As2 {
    net: Net,
    logins: Shared<ServerLogin>,
    servers: HttpServers,
    /// The HTTP servers of `waybill.toml`, by name.
    listen: Arc<ListenSpecs>,
    exchange: ExchangeFormat,
    /// Keys and certificates, read once for all endpoints and listeners.
    materials: Arc<Materials>,
    /// What all listeners together may hold.
    admission: OnceLock<Arc<Admission>>,
    bound: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl As2 {
    /// AS2 over this network, receiving at these HTTP servers.
    #[must_use]
    pub fn new(net: Net, servers: HttpServers, listen: Vec<ListenSpec>) -> Self {
        let mut by_name = ListenSpecs::new();
        for listen in listen {
            by_name.entry(listen.name.clone()).or_default().push(listen);
        }
        let logins = Shared::of(&net);
        let listen = Arc::new(by_name);
        Self {
            net,
            logins,
            servers,
            exchange: ExchangeFormat { listen: Arc::clone(&listen) },
            listen,
            materials: Arc::default(),
            admission: OnceLock::new(),
            bound: Arc::default(),
        }
    }

    fn sender(&self, endpoint: Arc<Endpoint>, services: Services) -> As2Destination {
        As2Destination {
            endpoint,
            services,
            net: self.net.clone(),
            materials: Arc::clone(&self.materials),
            logins: self.logins.clone(),
            listen: Arc::clone(&self.listen),
            answer_to: None,
            form: FormFields::default(),
            notifies: false,
        }
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

    fn check_received(
        &self,
        _: &definition::Listener,
        source: &definition::ReceiveSource,
        findings: &mut Findings<'_>,
    ) {
        received_keys::check(source, findings);
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        Check { definitions, findings }.endpoint(endpoint);
    }

    fn certificate_exchange(&self) -> Option<&dyn CertificateExchangeFormat> {
        Some(&self.exchange)
    }

    fn check_definitions(&self, definitions: &Definitions, now: Timestamp) -> Vec<Finding> {
        [
            check::definitions(definitions),
            check::in_force(definitions, now),
            receipt_check::definitions(definitions),
            reply_check::definitions(definitions),
            forms::check_definitions(definitions),
        ]
        .concat()
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
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let answer_to = destination.options.text("answer_to").map(str::to_owned);
        let priority = destination.priority();
        let form = FormFields { priority, ..FormFields::of(destination.options.table("form")) };
        let notifies = destination.options.bool("error_notification");
        Ok(Arc::new(As2Destination { answer_to, form, notifies, ..self.sender(endpoint, services) }))
    }

    fn receipt_destination(
        &self,
        endpoint: Arc<Endpoint>,
        url: &str,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let to = |endpoint| self.sender(endpoint, services.clone());
        Ok(Arc::new(ReceiptDestination::new(&endpoint, url, &services.directory.definitions(), to)?))
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
            unknown: text("unknown")
                .and_then(|word| UnknownAnswer::parse(&word))
                .unwrap_or(UnknownAnswer::Receipt),
            largest: listener.options.size("largest"),
            credential: text("credential"),
            certificate: text("certificate"),
            limits: kept_terms::limits(listener.options.table("restart")),
            materials: Arc::clone(&self.materials),
            admission: self.admission.get_or_init(|| Arc::new(Admission::new(&services.budget))).clone(),
            services,
            routes: Mutex::default(),
            bound: Arc::clone(&self.bound),
        }))
    }
}
