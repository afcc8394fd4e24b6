//! Operations: what a person or a program can do with a gateway.
//!
//! The command line, the console and the API call the same operations. Each operation has its own file, with
//! its request, its answer and the function. Each checks the permission that it needs (`model::Permission`)
//! and writes audit events that name the person. Requests and answers can be serialised.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod apply;
mod by_hand;
mod caller;
mod certificate_exchange;
mod certificates;
mod directory;
mod disclosure;
mod ending_certificates;
mod endpoints;
pub mod evidence;
mod export;
mod flow_document;
mod flows;
mod forget_key;
mod history;
mod import;
mod keys;
mod known_hosts;
mod openpgp;
pub mod password;
mod plan;
mod poll_times;
mod prepare;
mod revisions;
mod roll_back;
mod rotate;
mod secrets;
mod suspensions;
mod transfers;
mod users;
pub mod zip;

pub use apply::{Applied, Apply};
pub use by_hand::{
    ChooseEndpoint, ChosenEndpoint, ExchangeStep, Explained, FileToSend, SentFile, StepStanding,
    TEST_SUBJECT, explain, is_test_name,
};
pub use caller::Caller;
pub use certificate_exchange::{
    AcceptedCertificates, AnnounceCertificate, CertificateExchanges, DecideCertificates, ProposalDetail,
};
pub use certificates::{CertificateDetail, CertificateList, CertificateUse, ListCertificates};
pub use ending_certificates::{CERTIFICATE_WARNINGS, EndingCertificate};
pub use endpoints::{
    EndpointDetail, EndpointList, EndpointRole, EndpointTest, EndpointTestStep, EndpointUse, ListEndpoints,
    SetOffline, SetOnline, TestEndpoint,
};
pub use engine::StagedPayloads;
pub use evidence::{EvidencePackage, ExportEvidence, PackageFile};
pub use export::ExportRequest;
pub use flow_document::metadata_conditions;
pub use flows::{
    DryRunAnswer, DryRunFile, DryRunFlow, DryRunStep, FlowDetail, FlowList, FlowRunAnswer, FlowSourceDetail,
    PauseFlow, ResumeFlow, RunFlow,
};
pub use forget_key::{ForgetKey, ForgottenKey};
pub use keys::{KeyDetail, ListKeys};
pub use known_hosts::{
    AddKnownHosts, ForgetOfferedKey, KnownHostDetail, KnownHostList, OtherKeys, ReadKnownHosts,
    RemoveKnownHost, ScanHostKeys, ScannedHost, UnreadableLine, UnwrittenKnownHost,
};
pub use plan::{PlanAnswer, PlanRequest};
pub use poll_times::{PollTimes, poll_schedules};
pub use revisions::{RevisionDetail, RevisionLine};
pub use roll_back::RollBack;
pub use rotate::Rotated;
pub use transfers::{
    BulkAnswer, BulkRequest, CountAnswer, CountRequest, KeptRevision, RefusedTransfer, ResubmitRequest,
    RetriedDelivery, TransferAnswer, TransferRequest,
};
pub use users::{AddUser, SetDisabled, SetRole, UserDetail, UserList};

use config::{Catalogue, Documents, ProcessEnvironment, Settings};
use model::definition::Definitions;
use model::{AuditEvent, Error, ErrorKind, EventId, EventKind, Result, StoredDefinition, Timestamp};
use std::sync::Arc;
use store::{MasterKey, MasterKeys, Store};
use uuid::Uuid;

/// Everything an operation works with. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Settings,
    catalogue: Catalogue,
    master_keys: MasterKeys,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
    random: Random,
    known_uses: certificates::KnownUses,
}

/// Fills a buffer with random bytes fit for secrets.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What [`Control::new`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The process settings of this node.
    pub settings: Settings,
    /// The transports of this build.
    pub catalogue: Catalogue,
    /// The clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// New ids.
    pub ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
    /// Randomness fit for secrets.
    pub random: Random,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Operations on one gateway's database.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, settings, catalogue, now, ids, random } = parts;
        let master_keys = master_keys(&settings);
        let known_uses = certificates::KnownUses::default();
        Self(Arc::new(Inner { store, settings, catalogue, master_keys, now, ids, random, known_uses }))
    }

    /// The definitions of stored documents as this node would use them: checked, references resolved.
    ///
    /// # Errors
    /// `ConfigInvalid` with every problem, when they cannot be used here: a variable or a file that they name is
    /// missing on this machine.
    pub async fn resolve(&self, definitions: &[StoredDefinition]) -> Result<Definitions> {
        let documents = self.open_documents(definitions).await?;
        self.usable(&documents)
    }

    /// The definitions of the newest revision as this node would use them.
    ///
    /// # Errors
    /// As [`Control::resolve`]; the database failed.
    pub async fn usable_definitions(&self) -> Result<Definitions> {
        self.resolve(&self.0.store.current_definitions().await?.definitions).await
    }

    /// Definitions as this node uses them.
    fn usable(&self, documents: &Documents) -> Result<Definitions> {
        let (found, problems) = self.check(documents);
        found.ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "use the definitions")
                .advice(format!("correct them:\n{}", config::Outline::of(&problems)))
        })
    }

    fn check(&self, documents: &Documents) -> (Option<Definitions>, Vec<config::Problem>) {
        let environment = ProcessEnvironment::at((self.0.now)());
        documents.examine(&self.0.settings, &self.0.catalogue, &environment)
    }

    fn event(&self, kind: EventKind) -> AuditEvent {
        AuditEvent::new(EventId::new((self.0.ids)()), (self.0.now)(), self.0.settings.node.clone(), kind)
    }
}

/// The master keys of the settings.
#[must_use]
pub fn master_keys(settings: &Settings) -> MasterKeys {
    let key = |key: &config::settings::MasterKey| MasterKey { id: key.id.clone(), key: key.key.clone() };
    MasterKeys::new(settings.master_keys.iter().map(key).collect())
}
