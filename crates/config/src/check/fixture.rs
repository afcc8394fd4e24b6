//! For tests: three transports, and a machine with a few files and variables.

use crate::{Catalogue, Environment, ReadFile, Roots};
use model::Declaration;
use model::definition::{
    DatedPoll, Definitions, DeliveryDirectory, Destination, Endpoint, Identity, Listener, Partner,
    PollEffects, PollSource, ReceiveSource,
};
use model::schema::{
    Field, FieldPath, Findings, Group, Kind, Paths, Roles, Rule, Scheme, Section, TransportSpec, Values,
};
use model::{DirectoryTemplate, PublicMaterial, Timestamp};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509NameBuilder};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// 2027-01-15.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO acme\n";

const fn scheme(name: &'static str, port: u16, paths: Paths) -> Scheme {
    Scheme { name, port: Some(port), paths, connects_per_poll: matches!(paths, Paths::Login) }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field::optional(name, kind, "For tests.")
}

/// Three transports that are alike to real ones.
static SFTP: TransportSpec = TransportSpec {
    schemes: &[scheme("sftp", 22, Paths::Login)],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&LOGIN],
    source: &[&POLLED],
    destination: &[&WRITTEN],
    ..TransportSpec::new("sftp", "A server.")
};

static LOGIN: Group = Group::of(&[
    field("proxy", Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Name(Section::PROXY)])),
    field("username", Kind::Text),
    field("password", Kind::Secret),
    field("credential", Kind::Name(Section::CREDENTIAL)),
    field("key", Kind::Name(Section::KEY)),
    field("private_key", Kind::Secret),
    field("passphrase", Kind::Secret),
    Field::required("host_key", Kind::Public(PublicMaterial::HostKeys), "Whose server it is."),
    field("known_hosts", Kind::Public(PublicMaterial::KnownHosts)),
    field("timeout", Kind::Duration),
    Field::preset("connections", Kind::Integer { min: 1, max: 16 }, "4", "For tests."),
    field("strict", Kind::Bool),
    field("retries", Kind::Integer { min: 0, max: 9 }),
    field("compression", Kind::Choice(&["none", "zlib"])),
    field("window", Kind::Size),
])
.with(&[
    Rule::AtMostOne(&["username", "credential"]),
    Rule::AtMostOne(&["password", "credential"]),
    Rule::Needs("passphrase", "private_key"),
]);

static POLLED: Group = Group::of(&[
    Field::required(
        "after",
        Kind::OneOf(&[Kind::Choice(&["delete", "keep"]), Kind::Table(&AFTER)]),
        "What becomes of a file that was taken.",
    ),
    Field::preset("stable_for", Kind::Duration, "5s", "For tests."),
    Field::preset("recursive", Kind::Bool, "false", "For tests."),
    field("directory", Kind::Text),
    field("error_directory", Kind::Directory),
    Field::preset("stream", Kind::Bool, "false", "For tests."),
]);

static AFTER: Group = Group::of(&[
    field("archive", Kind::Directory),
    Field::preset("timestamp", Kind::Bool, "true", "For tests."),
    field("archive_locally", Kind::LocalDirectory),
    field("move", Kind::Directory),
])
.with(&[
    Rule::ExactlyOne(&["archive", "archive_locally", "move"]),
    Rule::NeedsOneOf("timestamp", &["archive", "archive_locally"]),
]);

static WRITTEN: Group = Group::of(&[
    Field::preset("overwrite", Kind::Choice(&["refuse", "replace"]), "refuse", "For tests."),
    field("suffix", Kind::Text),
    field("directory", Kind::Text),
]);

static FILE: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "file", port: None, paths: Paths::Host, connects_per_poll: false }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&SUFFIX],
    source: &[&POLLED],
    destination: &[&WRITTEN],
    ..TransportSpec::new("file", "A directory.")
};

static SUFFIX: Group = Group::of(&[field("suffix", Kind::Text)]);

static AS2: TransportSpec = TransportSpec {
    schemes: &[scheme("http", 80, Paths::None), scheme("https", 443, Paths::None)],
    roles: Roles { source: false, destination: true, listener: true },
    endpoint: &[&SIDES],
    listener: &[&AT],
    received: &[&RECEIVED],
    partner: Some(&PARTNER),
    identity: Some(&IDENTITY),
    ..TransportSpec::new("as2", "Messages.")
};

static SIDES: Group = Group::of(&[
    Field::required("partner", Kind::Name(Section::PARTNER), "The partner that the files go to."),
    Field::required("identity", Kind::Name(Section::IDENTITY), "The identity under which we send."),
]);

static AT: Group = Group::of(&[
    Field::required("server", Kind::Server, "The HTTP server."),
    field("certificate", Kind::Name(Section::KEY)),
]);

static RECEIVED: Group = Group::of(&[field("strict", Kind::Bool)]);

static PARTNER: Group = Group::of(&[
    Field::required("id", Kind::Text, "Its AS2 name."),
    field("certificates", Kind::List(&Kind::Name(Section::CERTIFICATE))),
    field("send", Kind::Table(&SEND)),
]);

static SEND: Group = Group::of(&[Field::preset(
    "cipher",
    Kind::Choice(&["aes128-cbc", "aes256-cbc"]),
    "aes256-cbc",
    "The cipher.",
)
.per_environment()]);

static IDENTITY: Group = Group::of(&[
    Field::required("id", Kind::Text, "Our AS2 name."),
    field("keys", Kind::List(&Kind::Name(Section::KEY))),
]);

struct Declared(&'static TransportSpec);

impl Declaration for Declared {
    fn spec(&self) -> &'static TransportSpec {
        self.0
    }

    fn check_endpoint(&self, endpoint: &Endpoint, _: &Definitions, findings: &mut Findings<'_>) {
        if endpoint.options.text("suffix") == Some("*") {
            findings.error("suffix", "cannot be used");
        }
    }

    fn check_source(&self, _: &Endpoint, poll: &PollSource, findings: &mut Findings<'_>) {
        if poll.options.table("after").text("move") == Some("nowhere") {
            findings.error("after.move", "is nowhere");
        }
        if poll.options.text("error_directory") == Some("far") {
            findings.warning("error_directory", "is far away");
        }
    }

    fn check_received(&self, _: &Listener, source: &ReceiveSource, findings: &mut Findings<'_>) {
        if source.partner.as_deref() == Some("globex") && source.options.bool("strict") {
            findings.error("strict", "is too strict for globex");
        }
    }

    fn check_listener(&self, listener: &Listener, _: &Definitions, findings: &mut Findings<'_>) {
        if listener.options.text("server") == Some("cellar") {
            findings.error("server", "is in the cellar");
        }
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        let is_recursive = poll.options.bool("recursive");
        let directory = poll.options.text("directory");
        let directory = directory.map(|text| DirectoryTemplate::parse_polled(text).unwrap());
        let dated = directory.clone().filter(DirectoryTemplate::is_dated);
        PollEffects {
            directory: directory.map(|template| template.fixed_part()),
            is_recursive: is_recursive || dated.is_some(),
            dated: dated.map(|template| DatedPoll { template, past_days: 1, is_recursive }),
            keeps_files: poll.options.text("after") == Some("keep"),
            moves_refused: poll.options.text("error_directory").is_some(),
            streams: poll.options.bool("stream"),
            names_archive: {
                let after = poll.options.table("after");
                after.text("archive").is_some() && after.bool("timestamp")
            },
            ..PollEffects::default()
        }
    }

    fn delivery_directory(&self, flow: &str, options: &Values) -> DeliveryDirectory {
        let template = options.text("directory").map(|text| DirectoryTemplate::parse(text).unwrap());
        template.map_or_else(DeliveryDirectory::default, |template| DeliveryDirectory {
            examples: template.examples(flow),
        })
    }

    fn check_destination(&self, _: &Endpoint, destination: &Destination, findings: &mut Findings<'_>) {
        if destination.options.text("suffix") == Some("*") {
            findings.error("suffix", "cannot end a file's name");
        }
    }

    fn check_streamed(&self, _: &Endpoint, destination: &Destination, findings: &mut Findings<'_>) {
        if !self.0.roles.source {
            findings.error("endpoint", "cannot be streamed to");
        }
        if destination.options.text("overwrite") == Some("replace") {
            findings.error("overwrite", "cannot be used with streamed files");
        }
    }

    fn check_partner(&self, partner: &Partner, _: &Definitions, findings: &mut Findings<'_>) {
        let Some(side) = partner.agreement(self.0.name) else { return };
        if side.text("id") == Some("UNWANTED") {
            findings.error("id", "is not wanted");
        }
        for (name, number) in side.texts("certificates").zip(1..) {
            if name == "odd" {
                findings.warning(FieldPath::from("certificates").item(number), "'odd' is odd");
            }
        }
    }

    fn check_identity(&self, identity: &Identity, _: &Definitions, findings: &mut Findings<'_>) {
        if identity.side(self.0.name).is_some_and(|side| side.text("id") == Some("NOBODY")) {
            findings.error("id", "is nobody");
        }
    }
}

/// A transport whose polls have no fields at all: what it polls stays.
static FEED: TransportSpec = TransportSpec {
    schemes: &[scheme("feed", 99, Paths::None)],
    roles: Roles { source: true, destination: false, listener: false },
    ..TransportSpec::new("feed", "A place whose files stay.")
};

/// The three, and the one without fields for sources.
pub(crate) fn catalogue_with_feed() -> Catalogue {
    let specs = [&SFTP, &FILE, &AS2, &FEED];
    specs.map(|spec| Arc::new(Declared(spec)) as Arc<dyn Declaration>).into_iter().collect()
}

pub(crate) fn catalogue() -> Catalogue {
    [&SFTP, &FILE, &AS2].map(|spec| Arc::new(Declared(spec)) as Arc<dyn Declaration>).into_iter().collect()
}

/// A machine that is only imagined. Links are files whose real path is another.
pub(crate) struct Machine {
    pub(crate) variables: BTreeMap<&'static str, String>,
    pub(crate) files: BTreeMap<PathBuf, (Vec<u8>, bool)>,
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
}

impl Environment for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.links.get(path).cloned().unwrap_or_else(|| path.to_owned()))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<ReadFile> {
        let (bytes, readable_by_all) =
            self.files.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        let cut = bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ReadFile { bytes: bytes[..cut].to_vec(), readable_by_all: *readable_by_all })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp(NOW, 0).unwrap()
    }
}

pub(crate) fn roots() -> Roots {
    let variables = ["HOST", "EMPTY", "UNSET", "MASK", "SHOWN"].map(str::to_owned);
    let mut roots = Roots::new(["/srv".into()], variables, ["/pem".into(), "/secret".into()]);
    roots.secret_variables = ["PASSWORD", "OPEN", "SESAME"].map(str::to_owned).into();
    roots
}

pub(crate) fn machine() -> Machine {
    let mut files: BTreeMap<PathBuf, (Vec<u8>, bool)> = pems().clone();
    let mut add = |path: &str, bytes: &[u8], open| files.insert(path.into(), (bytes.to_vec(), open));
    add("/secret/password", b"hunter2\n", false);
    add("/secret/open", b"hunter2\n", true);
    add("/secret/latin1", b"\xe9", false);
    add("/secret/huge", &vec![b'x'; (1 << 20) + 1], false);
    add("/secret/ssh", b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", false);
    add("/secret/host.pub", HOST_KEY.as_bytes(), false);
    // With a comment in Latin-1.
    let line = format!("sftp.example {HOST_KEY}");
    add("/secret/known_hosts", &[b"# caf\xe9\n", line.as_bytes()].concat(), false);
    add("/elsewhere/password", b"hunter2\n", false);
    let links = [("/secret/link".into(), "/elsewhere/password".into())];
    let variables = [
        ("HOST", "sftp.example"),
        ("EMPTY", ""),
        ("HOME", "/root"),
        ("MASK", "*.edi"),
        ("PASSWORD", "hunter2"),
        ("OPEN", "open"),
        ("SESAME", "sesame"),
        ("SHOWN", "shownvalue"),
    ];
    Machine {
        variables: variables.map(|(name, value)| (name, value.to_owned())).into(),
        files,
        links: links.into(),
    }
}

/// Made once: keys take their time.
fn pems() -> &'static BTreeMap<PathBuf, (Vec<u8>, bool)> {
    static PEMS: OnceLock<BTreeMap<PathBuf, (Vec<u8>, bool)>> = OnceLock::new();
    PEMS.get_or_init(|| {
        let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let (good, other, small) = (rsa(2048), rsa(2048), rsa(1024));
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let curve = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut files = BTreeMap::new();
        let mut add = |name: &str, pem: Vec<u8>| files.insert(PathBuf::from("/pem").join(name), (pem, false));
        add("good.key", good.private_key_to_pem_pkcs8().unwrap());
        add("small.key", small.private_key_to_pem_pkcs8().unwrap());
        add("curve.key", curve.private_key_to_pem_pkcs8().unwrap());
        add(
            "locked.key",
            good.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"opensesame").unwrap(),
        );
        add("good.pem", certificate(&good, NOW - DAY, NOW + 400 * DAY));
        add("other.pem", certificate(&other, NOW - DAY, NOW + 400 * DAY));
        add("small.pem", certificate(&small, NOW - DAY, NOW + 400 * DAY));
        add("curve.pem", certificate(&curve, NOW - DAY, NOW + 400 * DAY));
        add("expired.pem", certificate(&good, NOW - 9 * DAY, NOW - 5 * DAY));
        add("expiring.pem", certificate(&good, NOW - DAY, NOW + 10 * DAY + 60));
        add("future.pem", certificate(&good, NOW + DAY, NOW + 400 * DAY));
        let beside =
            [certificate(&good, NOW - DAY, NOW + 400 * DAY), good.private_key_to_pem_pkcs8().unwrap()];
        add("beside.pem", beside.concat());
        add(
            "noted.pem",
            [b"password: hunter2\n".to_vec(), certificate(&good, NOW - DAY, NOW + 400 * DAY)].concat(),
        );
        let file = |key: &PKey<Private>| {
            let own = X509::from_pem(&certificate(key, NOW - DAY, NOW + 400 * DAY)).unwrap();
            let mut builder = openssl::pkcs12::Pkcs12::builder();
            builder.name("acme").pkey(key).cert(&own).build2("opensesame").unwrap().to_der().unwrap()
        };
        add("good.p12", file(&good));
        add("other.p12", file(&other));
        let two = [certificate(&good, NOW - DAY, NOW + 400 * DAY), certificate(&other, NOW, NOW + 9 * DAY)];
        add("two.pem", two.concat());
        files
    })
}

/// A self-signed certificate, PEM.
pub(crate) fn certificate(key: &PKey<Private>, from: i64, until: i64) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(until).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build().to_pem().unwrap()
}

/// Whether every default fits its own field, in a group and the tables below it.
pub(crate) fn presets_fit(group: &Group) {
    fn of_kind(kind: Kind) {
        match kind {
            Kind::Table(group) => presets_fit(group),
            Kind::List(kind) | Kind::Map(kind) => of_kind(*kind),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| of_kind(*kind)),
            _ => {}
        }
    }
    for field in group.fields {
        if let Err(message) = model::schema::Values::default_of(field) {
            panic!("{}: {message}", field.name);
        }
        of_kind(field.kind);
    }
}
