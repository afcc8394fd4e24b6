//! What a person defines: endpoints, listeners, partners, identities, keys and flows (design, section 6).
//!
//! These are the checked forms. Documents are read, and references resolved, by the `config` room. What a transport
//! declares for itself stands in [`Values`], which it alone reads.

mod access;
mod changes;
mod endpoint;
mod flow;
mod lookup;
mod material;
mod partner;
mod throttle;

pub use access::Access;
pub use endpoint::{Balance, Endpoint, EndpointUrl, Listener, OfflineRule};
pub use flow::{
    DatedPoll, DeliveryDirectory, Destination, Flow, FlowSource, LocalArchive, OnFailure, Order, PollEffects,
    PollSource, ReceiveSource, RetryPolicy, SettleWhen, StepDefinition,
};
pub use material::{CertificateDefinition, Credential, KeyDefinition, ProxyDefinition, PublicKey};
pub use partner::{Identity, Partner};
pub use throttle::{BandwidthWindow, DEFAULT_POOL, Throttle, WorkerPool};

use crate::schedule::Calendar;
use crate::schema::{Section, Values};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All definitions in force, as one immutable revision.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Definitions {
    /// The revision's number; 0 before the first.
    pub revision: i64,
    /// The revision since which each flow is as it is here; a flow that is not named changed with this one.
    pub flows_since: BTreeMap<String, i64>,
    /// Own identities by name.
    pub identities: BTreeMap<String, Arc<Identity>>,
    /// Partners by name.
    pub partners: BTreeMap<String, Arc<Partner>>,
    /// Partner certificates by name.
    pub certificates: BTreeMap<String, Arc<CertificateDefinition>>,
    /// Own keys by name.
    pub keys: BTreeMap<String, Arc<KeyDefinition>>,
    /// Credentials by name.
    pub credentials: BTreeMap<String, Arc<Credential>>,
    /// Proxies by name.
    pub proxies: BTreeMap<String, Arc<ProxyDefinition>>,
    /// Calendars of days off by name.
    pub calendars: BTreeMap<String, Arc<Calendar>>,
    /// Worker pools by name; `default` only where its size is defined.
    pub worker_pools: BTreeMap<String, Arc<WorkerPool>>,
    /// Listeners by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// Endpoints by name.
    pub endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Flows by name.
    pub flows: BTreeMap<String, Arc<Flow>>,
    /// Definitions of kinds that a transport declared for itself, by kind and name.
    pub others: BTreeMap<Section, BTreeMap<String, Arc<Values>>>,
}
