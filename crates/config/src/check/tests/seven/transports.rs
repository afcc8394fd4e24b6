//! Seven fake transports, each with the fields that are its own.

use crate::Catalogue;
use model::schema::{
    Field, Group, Kind, Paths, Roles, Rule, Scheme, Section, SectionSpec, TEXTS, TransportSpec,
};
use model::{Declaration, PublicMaterial};
use std::sync::Arc;

const fn field(name: &'static str, kind: Kind) -> Field {
    Field::optional(name, kind, "For tests.")
}

const fn scheme(name: &'static str, port: u16, paths: Paths) -> Scheme {
    Scheme { name, port: Some(port), paths, connects_per_poll: matches!(paths, Paths::Login) }
}

const fn section(section: Section, group: &'static Group) -> SectionSpec {
    SectionSpec { section, doc: "For tests.", group }
}

pub(super) const SMTP: Section = Section::new("smtp_server");
const OAUTH: Section = Section::new("oauth2_client");
const USER: Section = Section::new("user");

const BOTH: Roles = Roles { source: true, destination: true, listener: false };
const CREDENTIAL: Kind = Kind::Name(Section::CREDENTIAL);
const KEY: Kind = Kind::Name(Section::KEY);

/// What every polled source will have and has not yet.
pub(super) static LATER_AT_SOURCES: Group = Group::of(&[field("stream", Kind::Bool)]);

/// What transports that dial share.
static DIALS: Group = Group::of(&[
    field("credential", CREDENTIAL),
    field("username", Kind::Text),
    field("proxy", Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Name(Section::PROXY)])),
    field("trust", Kind::Table(&TRUST)),
    field("tls", Kind::Table(&TLS)),
    field("connect_timeout", Kind::Duration),
    field("timeout", Kind::Duration),
    field("connections", Kind::Integer { min: 1, max: 64 }),
    field("keep_open", Kind::Duration),
]);
static TRUST: Group = Group::of(&[
    field("authorities", Kind::List(&Kind::Name(Section::CERTIFICATE))),
    field("pins", TEXTS),
    field("revocation", Kind::Choice(&["prefer", "require", "off"])),
]);
static TLS: Group = Group::of(&[
    field("min", Kind::Choice(&["1.2", "1.3"])),
    field("ciphers", TEXTS),
    field("client_key", KEY),
]);

/// What folders share.
static POLLED_FOLDER: Group = Group::of(&[
    field("recursive", Kind::Bool),
    field("stable_for", Kind::Duration),
    field("done_file", Kind::Template),
    field("min_size", Kind::Size),
    field("identity", Kind::Choice(&["name_size_time", "name", "content"])),
    field("claim", Kind::Choice(&["lease", "rename"])),
    field("after", Kind::OneOf(&[Kind::Choice(&["delete", "keep"]), Kind::Table(&AFTER)])),
    field("error_directory", Kind::Directory),
]);
static AFTER: Group = Group::of(&[
    field("archive", Kind::Directory),
    field("archive_locally", Kind::Text),
    field("move", Kind::Directory),
    field("timestamp", Kind::Bool),
    field("keep_for", Kind::Duration),
])
.with(&[Rule::ExactlyOne(&["archive", "archive_locally", "move"]), Rule::Needs("keep_for", "archive")]);
static WRITTEN_FOLDER: Group = Group::of(&[
    field("directory", Kind::Template),
    field("overwrite", Kind::Choice(&["refuse", "replace", "rename", "skip_same", "append"])),
    field("temporary", Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Table(&TEMPORARY)])),
    field("verify", Kind::Choice(&["size", "checksum", "none"])),
    field("permissions", Kind::Text),
    field("keep_time", Kind::Bool),
    field("create_directories", Kind::Bool),
    field("marker", Kind::Template),
]);
static TEMPORARY: Group = Group::of(&[
    field("suffix", Kind::Text),
    field("prefix", Kind::Text),
    field("directory", Kind::Directory),
])
.with(&[Rule::ExactlyOne(&["suffix", "prefix", "directory"])]);

static FILE: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "file", port: None, paths: Paths::Host, connects_per_poll: false }],
    endpoint: &[&DISK],
    roles: BOTH,
    source: &[&LATER_AT_SOURCES, &POLLED_FOLDER],
    destination: &[&WRITTEN_FOLDER],
    ..TransportSpec::new("file", "A folder.")
};
static DISK: Group = Group::of(&[field("owner", Kind::Text), field("wake_up", Kind::Choice(&["inotify"]))]);

static SFTP: TransportSpec = TransportSpec {
    schemes: &[scheme("sftp", 22, Paths::Login)],
    endpoint: &[&DIALS, &SSH],
    roles: BOTH,
    source: &[&LATER_AT_SOURCES, &POLLED_FOLDER],
    destination: &[&WRITTEN_FOLDER],
    ..TransportSpec::new("sftp", "A folder.")
};
static NOTHING: Group = Group::of(&[]);
static SSH: Group = Group::of(&[
    field("key", KEY),
    field(
        "authentication",
        Kind::List(&Kind::Choice(&["publickey", "password", "keyboard-interactive", "hostbased"])),
    ),
    field("host_key", Kind::Public(PublicMaterial::HostKeys)),
    field("known_hosts", Kind::Public(PublicMaterial::KnownHosts)),
    field("jump", Kind::Name(Section::ENDPOINT)),
    field("ciphers", TEXTS),
    field("macs", TEXTS),
    field("key_exchange", TEXTS),
    field("host_key_algorithms", TEXTS),
    field("compression", Kind::Bool),
    field("fips", Kind::Bool),
    field("legacy", Kind::Bool),
]);

static FTP: TransportSpec = TransportSpec {
    schemes: &[scheme("ftp", 21, Paths::Login), scheme("ftps", 990, Paths::Login)],
    endpoint: &[&DIALS, &FTP_SERVER],
    roles: BOTH,
    source: &[&LATER_AT_SOURCES, &POLLED_FOLDER],
    destination: &[&WRITTEN_FOLDER],
    ..TransportSpec::new("ftp", "A folder.")
};
static FTP_SERVER: Group = Group::of(&[
    field("security", Kind::Choice(&["none", "explicit", "implicit"])),
    field("data_protection", Kind::Bool),
    field("data_connection", Kind::Choice(&["passive", "active"])),
    field("active_ports", Kind::Text),
    field("type", Kind::Choice(&["binary", "ascii"])),
    field("listing", Kind::Choice(&["auto", "mlsd", "unix", "windows"])),
    field("encoding", Kind::Text),
    field("session_reuse", Kind::Bool),
    field("keepalive", Kind::Duration),
]);

static WEBDAV: TransportSpec = TransportSpec {
    schemes: &[scheme("davs", 443, Paths::Server)],
    endpoint: &[&DIALS, &WEB_SERVER],
    roles: BOTH,
    source: &[&LATER_AT_SOURCES, &POLLED_FOLDER],
    destination: &[&WRITTEN_FOLDER],
    ..TransportSpec::new("webdav", "A folder.")
};
static WEB_SERVER: Group = Group::of(&[
    field("server", Kind::Choice(&["standard", "sharepoint"])),
    field("lock", Kind::Bool),
    field("authentication", Kind::Choice(&["basic", "digest", "bearer", "certificate"])),
]);

static EMAIL: TransportSpec = TransportSpec {
    schemes: &[
        scheme("imap", 143, Paths::None),
        scheme("imaps", 993, Paths::None),
        scheme("pop3", 110, Paths::None),
        scheme("pop3s", 995, Paths::None),
        Scheme { name: "mailto", port: None, paths: Paths::Address, connects_per_poll: false },
    ],
    roles: BOTH,
    endpoint: &[&DIALS, &MAILBOX],
    source: &[&LATER_AT_SOURCES, &MAILS],
    destination: &[&MAIL],
    sections: &[section(SMTP, &RELAY)],
    ..TransportSpec::new("email", "Mail.")
};
static RELAY: Group = Group::of(&[field("host", Kind::Text)]);
static MAILBOX: Group = Group::of(&[
    field("security", Kind::Choice(&["tls", "starttls", "none"])),
    field("oauth2", Kind::Table(&TOKEN)),
    field("server", Kind::Name(SMTP)),
]);
static TOKEN: Group = Group::of(&[
    field("token_url", Kind::Url),
    field("client", Kind::Name(OAUTH)),
    field("scope", Kind::Text),
]);
static MAILS: Group = Group::of(&[
    field("attachments", Kind::Choice(&["each", "zip"])),
    field("body", Kind::Choice(&["ignore", "take"])),
    field("search", Kind::Table(&SEARCH)),
    // Its own word: another form than folders have.
    field("after", Kind::OneOf(&[Kind::Choice(&["delete", "seen"]), Kind::Table(&MOVE)])),
    field("largest", Kind::Size),
]);
static SEARCH: Group = Group::of(&[field("unseen", Kind::Bool), field("from", TEXTS)]);
static MOVE: Group = Group::of(&[field("move", Kind::Text)]);
static MAIL: Group =
    Group::of(&[field("from", Kind::Text), field("subject", Kind::Template), field("attach", Kind::Bool)]);

static HTTP: TransportSpec = TransportSpec {
    schemes: &[scheme("https", 443, Paths::None)],
    roles: Roles { source: false, destination: true, listener: true },
    endpoint: &[&DIALS, &API],
    listener: &[&UPLOADS],
    received: &[&RECEIVED],
    destination: &[&REQUEST],
    sections: &[section(OAUTH, &CLIENT), section(USER, &NOTHING)],
    ..TransportSpec::new("http", "Requests.")
};
static CLIENT: Group = Group::of(&[field("client_secret", Kind::Secret)]);
static API: Group = Group::of(&[field(
    "authenticate",
    Kind::OneOf(&[Kind::Choice(&["basic", "bearer", "digest", "certificate"]), Kind::Table(&AUTHENTICATE)]),
)]);
static AUTHENTICATE: Group = Group::of(&[field("oauth2", Kind::Name(OAUTH)), field("header", Kind::Text)])
    .with(&[Rule::ExactlyOne(&["oauth2", "header"])]);
static UPLOADS: Group = Group::of(&[
    Field::required("server", Kind::Server, "For tests."),
    Field::preset("path", Kind::Text, "/", "For tests."),
    field("https_only", Kind::Bool),
    field("certificate", KEY),
    field(
        "authenticate",
        Kind::List(&Kind::OneOf(&[
            Kind::Choice(&["basic", "client_certificate"]),
            Kind::Table(&AUTHENTICATE),
        ])),
    ),
    field("allow", Kind::Table(&ALLOW)),
    field("accept", Kind::List(&Kind::Choice(&["body", "form", "put"]))),
    field("compression", Kind::Table(&COMPRESSION)),
    field("headers", Kind::Text),
    field("respond", Kind::OneOf(&[Kind::Choice(&["stored"]), Kind::Table(&RESPOND)])),
    field("largest", Kind::Size),
]);
static ALLOW: Group = Group::of(&[field("users", Kind::List(&Kind::Name(USER))), field("networks", TEXTS)]);
static COMPRESSION: Group = Group::of(&[field("enabled", Kind::Bool), field("buffer", Kind::Bool)]);
static RESPOND: Group = Group::of(&[field("after_delivery", Kind::Duration)]);
static RECEIVED: Group = Group::of(&[field("methods", TEXTS)]);
static REQUEST: Group = Group::of(&[
    field("method", Kind::Template),
    field("path", Kind::Template),
    field("query", Kind::Map(&Kind::Template)),
    field("headers", Kind::Map(&Kind::Template)),
    field("send", Kind::Choice(&["chunked", "sized"])),
    field("compress", Kind::Choice(&["gzip", "none"])),
    field("statuses", Kind::List(&Kind::Table(&STATUS))),
    field("response", Kind::OneOf(&[Kind::Choice(&["evidence"]), Kind::Table(&RESPONSE)])),
]);
static STATUS: Group =
    Group::of(&[field("is", Kind::Text), field("means", Kind::Choice(&["delivered", "retry", "failed"]))]);
static RESPONSE: Group = Group::of(&[field("flow", Kind::Name(Section::FLOW))]);

static AS2: TransportSpec = TransportSpec {
    schemes: &[scheme("as2s", 443, Paths::None)],
    roles: Roles { source: false, destination: true, listener: true },
    endpoint: &[&DIALS],
    listener: &[&AT],
    partner: Some(&AGREED),
    identity: Some(&OWN),
    ..TransportSpec::new("as2", "Messages.")
};
static AT: Group = Group::of(&[
    Field::required("server", Kind::Server, "For tests."),
    Field::preset("path", Kind::Text, "/as2", "For tests."),
]);
static OWN: Group = Group::of(&[
    field("id", Kind::Text),
    field("keys", Kind::List(&Kind::OneOf(&[KEY, Kind::Table(&DATED)]))),
]);
static DATED: Group = Group::of(&[field("name", KEY), field("from", Kind::Time)]);
static AGREED: Group = Group::of(&[
    field("id", Kind::Text),
    field("certificates", Kind::List(&Kind::Name(Section::CERTIFICATE))),
    field("send", Kind::Map(&Kind::Text)),
    field("receive", Kind::Table(&RECEIVE)),
    field("mdn", Kind::Table(&MDN)),
    field("restart", Kind::Table(&RESTART)),
    field("legacy", Kind::Bool),
    field("preset", Kind::Text),
]);
static RECEIVE: Group = Group::of(&[
    field("security", Kind::Text),
    field("largest", Kind::Size),
    field("duplicates", Kind::Text),
]);
static MDN: Group =
    Group::of(&[field("ask", Kind::Text), field("reply_to", Kind::NameOf(&[Section::LISTENER]))]);
static RESTART: Group = Group::of(&[field("from_size", Kind::Size)]);

/// A place that is polled and has no fields at all.
static QUEUE: TransportSpec = TransportSpec {
    schemes: &[scheme("queue", 1, Paths::None)],
    roles: BOTH,
    ..TransportSpec::new("queue", "A queue.")
};

struct Own(&'static TransportSpec);

impl Declaration for Own {
    fn spec(&self) -> &'static TransportSpec {
        self.0
    }
}

/// The seven, and the one without fields.
pub(super) fn catalogue() -> Catalogue {
    [&SFTP, &FTP, &WEBDAV, &FILE, &HTTP, &EMAIL, &AS2, &QUEUE]
        .map(|spec| Arc::new(Own(spec)) as Arc<dyn Declaration>)
        .into_iter()
        .collect()
}
