//! Certificates that partners propose: by a revision where the partner was defined in the console, else by what is to be
//! written; answered once they are in force, whoever put them there.

use crate::support::{World, bare_world, caller, start};
use config::{Catalogue, Settings};
use control::{AnnounceCertificate, Control, DecideCertificates, Parts, StagedPayloads};
use model::definition::Definitions;
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, Section, TransportSpec};
use model::{
    Actor, AnnouncementState, ByHand, CertificateExchange, CertificateExchangeFormat, CertificateProposal,
    CertificateUsage, Declaration, EDITED, ErrorKind, ExchangeContent, ExchangePolicy, ExchangeRequest,
    ExchangeResponse, ProposalState, ProposedCertificate, Result, RevisionKind, Role, Sha256,
    StoredDefinition, TransferId,
};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use staging::{RealDisk, Staging};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use store::{Acquired, ExchangeTaken, NewRevision, NewSecrets, Reply, TakeExchange};
use uuid::Uuid;

const CERTIFICATE: Kind = Kind::Name(Section::CERTIFICATE);
const KEY: Kind = Kind::Name(Section::KEY);
static DATED: Group = Group::of(&[
    Field::required("name", CERTIFICATE, "The certificate."),
    Field::optional("from", Kind::Time, "From when."),
    Field::optional("until", Kind::Time, "Until when."),
    Field::optional("uses", Kind::List(&Kind::Choice(&["encrypt", "verify"])), "For what."),
]);
static PARTNER: Group = Group::of(&[
    Field::optional(
        "certificates",
        Kind::List(&Kind::OneOf(&[CERTIFICATE, Kind::Table(&DATED)])),
        "The partner's certificates.",
    ),
    Field::optional(
        "certificate_exchange",
        Kind::Choice(&["ask", "accept", "refuse"]),
        "What is done with what it proposes.",
    ),
]);
static IDENTITY: Group = Group::of(&[Field::optional("keys", Kind::List(&KEY), "Our keys.")]);
static ENDPOINT: Group = Group::of(&[
    Field::required("partner", Kind::Name(Section::PARTNER), "The partner."),
    Field::required("identity", Kind::Name(Section::IDENTITY), "The identity."),
]);
static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "post", port: Some(80), paths: Paths::None, connects_per_poll: false }],
    roles: Roles { source: false, destination: true, listener: false },
    endpoint: &[&ENDPOINT],
    partner: Some(&PARTNER),
    identity: Some(&IDENTITY),
    ..TransportSpec::new("post", "Messages with certificates, for tests.")
};

/// A transport whose messages about certificates are a line of text.
struct Post;

impl Declaration for Post {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn certificate_exchange(&self) -> Option<&dyn CertificateExchangeFormat> {
        Some(self)
    }
}

fn content(text: String) -> ExchangeContent {
    ExchangeContent {
        media_type: "text/plain".into(),
        bytes: text.into_bytes(),
        file_name: "exchange".into(),
        subject: "Certificates".into(),
    }
}

impl CertificateExchangeFormat for Post {
    fn request(&self, _: &Definitions, asked: &ExchangeRequest<'_>) -> Result<ExchangeContent> {
        Ok(content(format!("request {} to {}", asked.id, asked.response_url)))
    }

    fn response(&self, _: &Definitions, said: &ExchangeResponse<'_>) -> Result<ExchangeContent> {
        let reason = said.reason.unwrap_or("-");
        Ok(content(format!("response {} {} {reason}", said.proposal.request_id, said.accepted)))
    }

    fn response_url(&self, _: &Definitions, _: &str) -> Option<String> {
        None
    }
}

/// A certificate that is valid for a year around the time of the tests, and its fingerprint.
fn certificate(name: &str) -> (String, String) {
    let key = PKey::generate_ed25519().unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    let day = |days: i64| Asn1Time::from_unix(start().timestamp() + days * 86_400).unwrap();
    builder.set_not_before(&day(-100)).unwrap();
    builder.set_not_after(&day(265)).unwrap();
    builder.sign(&key, MessageDigest::null()).unwrap();
    let certificate = builder.build();
    let digest = certificate.digest(MessageDigest::sha256()).unwrap();
    let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (String::from_utf8(certificate.to_pem().unwrap()).unwrap(), fingerprint)
}

struct Scene {
    world: World,
    control: Control,
    payloads: StagedPayloads,
    pem: String,
    fingerprint: String,
}

impl Scene {
    /// A partner from the console or from a directory, with one certificate and an endpoint.
    async fn new(origin: &str) -> Self {
        let scene = Self::without_endpoint(origin).await;
        let endpoint =
            json!({ "transport": "post", "url": "post://globex", "partner": "globex", "identity": "acme" });
        scene.put(origin, vec![("endpoint", "globex-post", endpoint)]).await;
        scene
    }

    /// The same, of a partner that only sends to us.
    async fn without_endpoint(origin: &str) -> Self {
        let world = bare_world().await;
        let environment = config::ProcessEnvironment::at(start());
        let (settings, _) = Settings::load(None, Vec::new(), &environment).unwrap();
        let control = Control::new(Parts {
            store: world.store.clone(),
            settings,
            catalogue: Catalogue::from_iter([Arc::new(Post) as Arc<dyn Declaration>]),
            now: Arc::new(start),
            ids: Arc::new(Uuid::now_v7),
            random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
        });
        let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
        let staging =
            Staging::open(&world.directory.path().join("staging"), Arc::new(RealDisk), settings).unwrap();
        let (old, _) = certificate("old");
        let (pem, fingerprint) = certificate("Globex");
        let scene = Self { world, control, payloads: StagedPayloads::new(staging), pem, fingerprint };
        let put = [
            ("certificate", "globex", json!({ "pem": old })),
            ("partner", "globex", json!({ "post": { "certificates": ["globex"] } })),
            ("identity", "acme", json!({ "post": {} })),
        ];
        scene.put(origin, put.into()).await;
        scene
    }

    async fn put(&self, origin: &str, put: Vec<(&str, &str, Value)>) {
        let definition = |(section, name, document): (&str, &str, Value)| StoredDefinition {
            section: section.into(),
            name: name.into(),
            origin: origin.into(),
            file: if origin == EDITED { String::new() } else { "partners.toml".into() },
            position: 0,
            document,
        };
        let store = &self.world.store;
        let revision = NewRevision {
            id: Uuid::now_v7(),
            base: store.current_revision_number().await.unwrap(),
            at: start(),
            author: Actor::System,
            kind: RevisionKind::Apply,
            source: None,
            summary: String::new(),
            put: put.into_iter().map(definition).collect(),
            removed: vec![],
            files_put: vec![],
            files_removed: vec![],
            secrets: NewSecrets::default(),
            events: vec![],
        };
        store.apply_revision(revision).await.unwrap();
    }

    async fn proposed(&self, policy: ExchangePolicy, usages: &[CertificateUsage]) -> Uuid {
        self.proposed_with(policy, usages, |_| {}).await
    }

    async fn proposed_with(
        &self,
        policy: ExchangePolicy,
        usages: &[CertificateUsage],
        change: impl FnOnce(&mut CertificateProposal),
    ) -> Uuid {
        let store = &self.world.store;
        let (node, term) = ("n1".parse().unwrap(), Duration::from_secs(86_400));
        let held = store.acquire_node(&node, term, start(), Uuid::nil()).await.unwrap();
        let Acquired::Held(lease) = held else { unreachable!("{held:?}") };
        let mut proposal = CertificateProposal {
            id: Uuid::now_v7(),
            transport: "post".into(),
            partner: "globex".into(),
            identity: "acme".into(),
            request_id: "r1".into(),
            message_id: "<1@globex>".into(),
            signed_with: "globex".into(),
            received_at: start(),
            policy,
            certificates: vec![ProposedCertificate {
                usages: usages.to_vec(),
                pem: self.pem.clone(),
                fingerprint: self.fingerprint.clone(),
                subject: "CN=Globex".into(),
                issuer: "CN=Globex".into(),
                serial: "7".into(),
                not_before: start(),
                not_after: start() + term,
                respond_by: None,
                response_url: None,
            }],
            state: ProposalState::Waiting,
            decided_by: None,
            decided_at: None,
            reason: None,
            response: None,
        };
        change(&mut proposal);
        let id = proposal.id;
        store.intake_begin(&lease, "k1", start()).await.unwrap();
        let take = TakeExchange {
            lease,
            key: "k1".into(),
            exchange: CertificateExchange::Proposal(proposal),
            reply: Reply { head: json!({ "status": 200, "headers": [] }), body: Vec::new() },
            content: Sha256([0; 32]),
            receipts: Vec::new(),
            events: Vec::new(),
            now: start(),
        };
        assert_eq!(store.take_exchange(take).await.unwrap(), ExchangeTaken::Taken);
        id
    }

    /// What a running gateway does, once.
    async fn carry_on(&self) {
        let definitions = self.control.usable_definitions().await.unwrap();
        let failed = self.control.carry_on_exchanges(&definitions, &self.payloads).await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
    }

    async fn state(&self, id: Uuid) -> ProposalState {
        self.world.store.certificate_proposal(id).await.unwrap().unwrap().state
    }

    /// What a transfer sends by hand to the partner's endpoint.
    async fn sent(&self, transfer: TransferId) -> String {
        let found = self.world.store.transfer(transfer).await.unwrap().unwrap();
        assert_eq!(ByHand::of(&found.flow), Some(ByHand { endpoint: "globex-post", is_test: false }));
        let mut text = String::new();
        self.payloads.open(&found.payload).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    async fn response(&self, id: Uuid) -> String {
        let found = self.world.store.certificate_proposal(id).await.unwrap().unwrap();
        self.sent(found.response.unwrap()).await
    }
}

const MESSAGES: [CertificateUsage; 2] =
    [CertificateUsage::DigitalSignature, CertificateUsage::KeyEncipherment];

fn decide(id: Uuid) -> DecideCertificates {
    DecideCertificates { id, reason: Some("compared".into()) }
}

#[tokio::test]
async fn a_partner_of_the_console_gets_the_certificates_by_a_revision() {
    let scene = Scene::new(EDITED).await;
    let id = scene.proposed(ExchangePolicy::Ask, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Waiting, "nothing is accepted by itself");
    for role in [Role::Viewer, Role::Auditor, Role::Operator] {
        let refused = scene.control.accept_certificates(&caller(role), &decide(id)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let accepted = scene.control.accept_certificates(&caller(Role::Designer), &decide(id)).await.unwrap();
    assert_eq!((accepted.revision, accepted.to_write), (Some(3), None));
    let current = scene.world.store.current_definitions().await.unwrap().definitions;
    let partner = current.iter().find(|one| one.key() == "partner.globex").unwrap();
    let list = partner.document["post"]["certificates"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]), (2, &json!("globex")));
    let name = format!("globex-{}", &scene.fingerprint[..8]);
    assert_eq!(list[1], json!({ "name": name, "from": "2026-11-20T14:10:00Z" }));
    assert_eq!(scene.state(id).await, ProposalState::Agreed);
    // What is in force is not rejected.
    let late = scene.control.reject_certificates(&caller(Role::Admin), &decide(id)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Rejected);
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Accepted);
    assert_eq!(scene.response(id).await, "response r1 true compared");
    // Answered once, and decided once.
    scene.carry_on().await;
    assert_eq!(scene.world.store.current_revision_number().await.unwrap(), 3);
    let again = scene.control.reject_certificates(&caller(Role::Admin), &decide(id)).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn definitions_of_a_directory_are_not_changed() {
    let scene = Scene::new("/etc/flows").await;
    let id = scene.proposed(ExchangePolicy::Accept, &MESSAGES).await;
    scene.carry_on().await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Agreed, "it waits for the definitions");
    assert_eq!(scene.world.store.current_revision_number().await.unwrap(), 2);
    let definitions = scene.control.usable_definitions().await.unwrap();
    let shown = scene.control.certificate_exchanges(&caller(Role::Auditor), &definitions).await.unwrap();
    assert!(shown.proposals[0].wants_a_person());
    let text = shown.proposals[0].to_write.as_deref().unwrap();
    assert!(text.contains("partners.toml of /etc/flows") && text.contains(&scene.pem), "{text}");
    // Another name than was said serves as well: the certificate counts.
    let list = json!({ "post": { "certificates": ["globex", "next"] } });
    let next = ("certificate", "next", json!({ "pem": scene.pem }));
    scene.put("/etc/flows", vec![next, ("partner", "globex", list)]).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Accepted);
}

#[tokio::test]
async fn a_policy_may_refuse_and_certificates_for_tls_wait_for_a_person() {
    let scene = Scene::new("/etc/flows").await;
    let id = scene.proposed(ExchangePolicy::Refuse, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Rejected);
    assert!(scene.response(id).await.starts_with("response r1 false certificates are not exchanged"));

    let scene = Scene::new("/etc/flows").await;
    let id = scene.proposed(ExchangePolicy::Accept, &[CertificateUsage::TlsServer]).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Waiting);
    scene.control.reject_certificates(&caller(Role::Designer), &decide(id)).await.unwrap();
    scene.carry_on().await;
    assert_eq!(scene.response(id).await, "response r1 false compared");
}

#[tokio::test]
async fn a_certificate_of_the_list_counts_for_what_and_while_it_is_used() {
    let scene = Scene::new(EDITED).await;
    let list = |entry: Value| ("partner", "globex", json!({ "post": { "certificates": ["globex", entry] } }));
    let next = ("certificate", "next", json!({ "pem": scene.pem }));
    let given_up = json!({ "name": "next", "until": "2026-01-01T00:00:00Z" });
    scene.put(EDITED, vec![next, list(given_up)]).await;
    let id = scene.proposed(ExchangePolicy::Accept, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Waiting, "no policy uses again what was given up");
    // One that only encrypts is not in force for signatures: the list is changed before the partner is answered.
    scene.put(EDITED, vec![list(json!({ "name": "next", "uses": ["encrypt"] }))]).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Agreed);
    let current = scene.world.store.current_definitions().await.unwrap().definitions;
    let partner = current.iter().find(|one| one.key() == "partner.globex").unwrap();
    let entry = &partner.document["post"]["certificates"][1];
    assert_eq!(*entry, json!({ "name": "next", "uses": ["encrypt", "verify"] }));
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Accepted);
}

#[tokio::test]
async fn a_partner_without_an_endpoint_is_decided_and_not_answered() {
    let scene = Scene::without_endpoint(EDITED).await;
    let accepted = scene.proposed(ExchangePolicy::Ask, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(accepted).await, ProposalState::Waiting, "nothing is decided by itself");
    scene.control.accept_certificates(&caller(Role::Designer), &decide(accepted)).await.unwrap();
    scene.carry_on().await;
    let found = scene.world.store.certificate_proposal(accepted).await.unwrap().unwrap();
    assert_eq!((found.state, found.response), (ProposalState::Accepted, None));
    assert_eq!(found.reason.as_deref(), Some("compared"));
    let definitions = scene.control.usable_definitions().await.unwrap();
    let shown = scene.control.certificate_exchanges(&caller(Role::Auditor), &definitions).await.unwrap();
    assert!(shown.proposals[0].is_unanswered && !shown.proposals[0].wants_a_person());
    // An endpoint that comes later sends nothing of what is concluded.
    let endpoint =
        json!({ "transport": "post", "url": "post://globex", "partner": "globex", "identity": "acme" });
    scene.put(EDITED, vec![("endpoint", "globex-post", endpoint)]).await;
    scene.carry_on().await;
    assert_eq!(scene.world.store.certificate_proposal(accepted).await.unwrap().unwrap().response, None);

    let scene = Scene::without_endpoint("/etc/flows").await;
    let refused = scene.proposed(ExchangePolicy::Refuse, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(refused).await, ProposalState::Rejected);
}

#[tokio::test]
async fn what_nobody_decides_expires() {
    let day = Duration::from_secs(86_400);
    let ask = (ExchangePolicy::Ask, &MESSAGES);
    for (late, until, state) in [
        (Some(6 * day), 300 * day, ProposalState::Waiting),
        (Some(7 * day), 300 * day, ProposalState::Expired),
        (None, 300 * day, ProposalState::Waiting),
        // With its certificates, whenever an answer is wanted.
        (None, Duration::ZERO, ProposalState::Expired),
    ] {
        let scene = Scene::new("/etc/flows").await;
        let id = scene
            .proposed_with(ask.0, ask.1, |proposal| {
                proposal.certificates[0].respond_by = late.map(|late| start() - late);
                proposal.certificates[0].not_after = start() + until;
            })
            .await;
        scene.carry_on().await;
        assert_eq!(scene.state(id).await, state, "{late:?} {until:?}");
    }
    let scene = Scene::new("/etc/flows").await;
    let id = scene
        .proposed_with(ask.0, ask.1, |proposal| {
            proposal.received_at = start() - 90 * day;
            proposal.certificates[0].not_after = start() + 300 * day;
        })
        .await;
    scene.carry_on().await;
    let found = scene.world.store.certificate_proposal(id).await.unwrap().unwrap();
    assert_eq!((found.state, found.decided_by.as_deref()), (ProposalState::Expired, Some("system")));
    let late = scene.control.accept_certificates(&caller(Role::Designer), &decide(id)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Rejected);
    assert!(late.chain().contains("no decision was made in time"), "{}", late.chain());
}

/// The revision that accepts is made, and the process ends before the proposal's state is changed.
#[tokio::test]
async fn what_ended_between_the_revision_and_the_decision_is_carried_on_without_a_second_revision() {
    for policy in [ExchangePolicy::Ask, ExchangePolicy::Accept] {
        let scene = Scene::new(EDITED).await;
        let id = scene.proposed(policy, &MESSAGES).await;
        let name = format!("globex-{}", &scene.fingerprint[..8]);
        let list = json!(["globex", { "name": name, "from": "2026-11-20T14:10:00Z" }]);
        let partner = ("partner", "globex", json!({ "post": { "certificates": list } }));
        scene.put(EDITED, vec![("certificate", &name, json!({ "pem": scene.pem })), partner]).await;
        assert_eq!(scene.world.store.current_revision_number().await.unwrap(), 3);
        // The person accepts once more: there is nothing to change.
        if policy == ExchangePolicy::Ask {
            let again =
                scene.control.accept_certificates(&caller(Role::Designer), &decide(id)).await.unwrap();
            assert_eq!((again.revision, again.to_write), (None, None));
        }
        scene.carry_on().await;
        assert_eq!(scene.state(id).await, ProposalState::Accepted, "{policy:?}");
        assert!(scene.response(id).await.starts_with("response r1 true"), "{policy:?}");
        scene.carry_on().await;
        assert_eq!(scene.world.store.current_revision_number().await.unwrap(), 3, "{policy:?}");
    }
    // Nor does it wait for the person.
    let scene = Scene::new(EDITED).await;
    let id = scene.proposed(ExchangePolicy::Ask, &MESSAGES).await;
    let next = ("certificate", "next", json!({ "pem": scene.pem }));
    let list = json!({ "post": { "certificates": ["globex", "next"] } });
    scene.put(EDITED, vec![next, ("partner", "globex", list)]).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Accepted);
}

#[tokio::test]
async fn a_policy_that_was_changed_accepts_nothing() {
    let scene = Scene::new(EDITED).await;
    let partner = json!({ "post": { "certificates": ["globex"], "certificate_exchange": "ask" } });
    scene.put(EDITED, vec![("partner", "globex", partner)]).await;
    let id = scene.proposed(ExchangePolicy::Accept, &MESSAGES).await;
    scene.carry_on().await;
    assert_eq!(scene.state(id).await, ProposalState::Waiting);
    assert_eq!(scene.world.store.current_revision_number().await.unwrap(), 3);
}

#[tokio::test]
async fn a_certificate_of_ours_is_announced_by_a_running_gateway() {
    let scene = Scene::new("/etc/flows").await;
    let definitions = scene.control.usable_definitions().await.unwrap();
    let mut request = AnnounceCertificate {
        transport: "post".into(),
        key: "acme".into(),
        partner: "globex".into(),
        endpoint: None,
        usages: Vec::new(),
        respond_by: None,
        response_url: Some("https://acme.example/as2".into()),
    };
    let announce = async |request: &AnnounceCertificate, definitions: &Definitions| {
        scene.control.announce_certificate(&caller(Role::Operator), definitions, request).await
    };
    assert_eq!(announce(&request, &definitions).await.unwrap_err().kind(), ErrorKind::NotFound);
    let mut with_key = definitions.clone();
    let key = model::definition::KeyDefinition {
        name: "acme".into(),
        private_key: String::new().into(),
        passphrase: None,
        certificate: Some(scene.pem.as_str().into()),
    };
    with_key.keys.insert("acme".into(), Arc::new(key));
    // The identity does not have the key: what the partner encrypts for it could not be read.
    assert_eq!(announce(&request, &with_key).await.unwrap_err().kind(), ErrorKind::ConfigInvalid);
    request.usages = vec![CertificateUsage::DigitalSignature];
    let announced = announce(&request, &with_key).await.unwrap();
    assert_eq!((announced.serial.as_str(), &announced.usages[..]), ("7", &MESSAGES[..1]));
    scene.carry_on().await;
    // Not again before its time.
    scene.carry_on().await;
    let found = scene.world.store.certificate_announcements().await.unwrap().remove(0);
    assert_eq!((found.state, found.sent), (AnnouncementState::Waiting, 1));
    let text = scene.sent(found.transfer.unwrap()).await;
    assert_eq!(text, format!("request {} to https://acme.example/as2", announced.request_id));
    request.response_url = None;
    assert_eq!(announce(&request, &with_key).await.unwrap_err().kind(), ErrorKind::ConfigInvalid);
    request.respond_by = Some(start());
    assert_eq!(announce(&request, &with_key).await.unwrap_err().kind(), ErrorKind::ConfigInvalid);
}
