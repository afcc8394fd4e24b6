//! The types of Waybill's world (flows, transfers, deliveries, events, errors) and the rules that need no
//! I/O.
//!
//! All other crates use these types. Nothing here does I/O, reads a clock or uses randomness: the caller
//! passes times and ids in, so every rule can be tested with plain data.
//!
//! Where to look:
//! * what is transferred: [`Offer`], [`Transfer`], [`Delivery`], [`Receipt`]
//! * how states change: [`transition`] and the three state machines
//! * what people define: [`definition`]
//! * the audit trail: [`AuditEvent`], [`ConnectionOpened`], [`ConnectionClosed`]
//! * who may do what: [`role`]
//! * errors: [`Error`]

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod archived_copy;
mod audit;
mod by_hand;
mod canonical;
mod certificate_exchange;
mod connection;
mod date_format;
mod declaration;
pub mod definition;
mod directory_template;
mod distinguished_name;
mod error;
pub mod evidence;
mod id;
mod known_host;
mod mask;
mod mdn;
pub mod metadata;
mod metadata_conditions;
mod notes;
mod path;
mod peer_text;
mod probe;
mod proxy;
mod quoted;
mod receipt_transfer;
mod revision;
pub mod role;
pub mod schedule;
pub mod schema;
mod secret;
mod send_progress;
mod shown_path;
mod skip_reason;
mod state;
mod step;
mod suspension;
mod syslog;
mod template;
mod tls;
mod transfer;

pub use archived_copy::{ARCHIVE_PATH, ARCHIVE_SHA256, ArchivedCopy};
pub use audit::{Actor, AuditEvent, EventKind, EventWords, Severity, TELL_PARTNER};
pub use by_hand::{ByHand, CHOSEN_SUBJECT};
pub use canonical::{canonical_json, canonical_object};
pub use certificate_exchange::{
    AnnouncementState, CertificateAnnouncement, CertificateAnswer, CertificateAnswers, CertificateExchange,
    CertificateExchangeFormat, CertificateProposal, CertificateUsage, ExchangeContent, ExchangePolicy,
    ExchangeRequest, ExchangeResponse, ProposalState, ProposedCertificate,
};
pub use connection::{
    Certificate, ConnectionClosed, ConnectionFailed, ConnectionOpened, Direction, Protocol, Purpose,
    Security, address_text,
};
pub use date_format::DateFormat;
pub use declaration::Declaration;
pub use directory_template::DirectoryTemplate;
pub use distinguished_name::distinguished_name;
pub use error::{Error, ErrorKind, Result, Retry};
pub use id::{
    AttemptId, ConnectionId, DeliveryId, EventId, EvidenceId, NodeName, OfferId, PayloadId, TransferId,
};
pub use known_host::{
    HostKeyFormat, HostKeyStanding, KnownHost, KnownHostLine, KnownHostMark, OfferedHostKey, listed_host,
};
pub use mask::{Mask, MaskError, MaskSpec};
pub use mdn::{CONTRADICTED_RECEIPT, MdnEntity, UNPROVEN_MDN, UnprovenMdn};
pub use metadata_conditions::MetadataConditions;
pub use notes::{GIVEN_ANSWER, MAY_REMAIN, ON_THE_WIRE, PUBLISHING};
pub use path::RemotePath;
pub use peer_text::PeerText;
pub use probe::{Probe, ProbeStep};
pub use proxy::{Proxy, ProxyProtocol};
pub use quoted::{Quoted, quoted};
pub use receipt_transfer::{RECEIPT, RECEIPT_URL, is_receipts_flow, receipts_flow};
pub use revision::{EDITED, RevisionKind, StoredDefinition, StoredFile};
pub use role::{Permission, Role};
pub use schema::{
    PublicMaterial, did_you_mean, duration_text, nearest, nearest_of, parse_bandwidth, parse_duration,
    parse_size,
};
pub use secret::Secret;
pub use send_progress::SendProgress;
pub use shown_path::shown_path;
pub use skip_reason::{PollReport, SkipCount, SkipReason};
pub use state::{
    DeliveryEvent, DeliveryState, IllegalTransition, Lifecycle, OfferEvent, OfferState, TransferAction,
    TransferEvent, TransferState, transition,
};
pub use step::Step;
pub use suspension::{Suspension, SuspensionKind};
pub use syslog::SyslogTarget;
pub use template::{FORBIDDEN, FailureValues, NameCounter, NameTemplate, TemplateError, TemplateValues};
pub use tls::{ClientCertificates, TlsVersion};
pub use transfer::{
    Attachment, Claim, Content, Delivery, IdentityRule, OVERTAKEN, Offer, OfferIdentity, Outcome,
    PayloadRecord, ProcessingClaim, Receipt, ReceiptKind, Sha256, Transfer, TransferKind,
};

/// A time in UTC, in whole microseconds, the precision of both databases. Code that reads a clock cuts the
/// rest off, so that a time that is read back equals the time that was written.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
