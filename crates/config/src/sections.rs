//! The kinds of definitions, declared: what holds for every transport. Each transport adds its own fields.

use crate::words::{BOOL, CERTIFICATE as CERTIFICATE_PEM, DURATION, LIST, ORDER, SECRET, SETTLE, TEXT};
use model::schema::{Field, Group, Kind, Section, SectionSpec};

const fn section(section: Section, doc: &'static str, group: &'static Group) -> SectionSpec {
    SectionSpec { section, doc, group }
}

/// The kinds of definitions, each after those it may name.
pub static SECTIONS: [SectionSpec; 9] = [
    section(Section::CERTIFICATE, "A certificate of a partner or of an authority.", &CERTIFICATE),
    section(Section::KEY, "A private key of ours, with its certificate where it has one.", &KEY),
    section(Section::CREDENTIAL, "A user name with its password.", &CREDENTIAL),
    section(Section::PROXY, "A proxy that connections go through.", &PROXY),
    section(
        Section::IDENTITY,
        "Our own side of partnerships; each transport that knows partners has a table in it.",
        &IDENTITY,
    ),
    section(
        Section::PARTNER,
        "A trading partner; what was agreed with it for each transport has a table in it.",
        &PARTNER,
    ),
    section(Section::LISTENER, "A place at which partners reach us.", &LISTENER),
    section(Section::ENDPOINT, "A remote or local place that is polled or delivered to.", &ENDPOINT),
    section(Section::FLOW, "Moves files from one source to its destinations.", &FLOW),
];

static CERTIFICATE: Group = Group::of(&[Field::required(
    "pem",
    CERTIFICATE_PEM,
    "The certificate in PEM form, best as a reference such as `${file:/etc/waybill/globex.pem}`. Of several \
     in one file the first is used.",
)
.address()]);

static KEY: Group = Group::of(&[
    Field::required(
        "private_key",
        SECRET,
        "The private key in PEM form (PKCS #8, PKCS #1, SEC 1; OpenSSH's own form for SSH only). A reference \
         such as `${file:/run/secrets/acme.key}`.",
    ),
    Field::optional("passphrase", SECRET, "The passphrase of a private key that is encrypted."),
    Field::optional(
        "certificate",
        CERTIFICATE_PEM,
        "The certificate that belongs to the key, in PEM form; certificates of authorities may follow it, which TLS \
         shows along with it. An identity needs one; a key for SSH does not.",
    ),
]);

static CREDENTIAL: Group = Group::of(&[
    Field::required("username", TEXT, "The user to log in as."),
    Field::required("password", SECRET, "The password. A reference such as `${file:/run/secrets/acme}`."),
]);

pub(crate) static PROXY: Group = Group::of(&[
    Field::required(
        "url",
        Kind::Url,
        "Where it is: `http://HOST:PORT` for an HTTP proxy, which is asked to CONNECT, or `socks5://HOST:PORT`. The \
         proxy finds the addresses of hosts.",
    )
    .address(),
    Field::optional(
        "username",
        TEXT,
        "The user to log in to it as: by Basic authentication to an HTTP proxy.",
    )
    .login(),
    Field::optional("password", SECRET, "The user's password.").login(),
]);

static IDENTITY: Group = Group::of(&[Field::optional("title", TEXT, "Its name for people.")]);

static PARTNER: Group = Group::of(&[
    Field::optional("title", TEXT, "Its name for people."),
    Field::optional("contact", TEXT, "Whom to ask there, such as a mail address."),
]);

pub(crate) static LISTENER: Group =
    Group::of(&[Field::required("transport", TEXT, "The transport that it speaks.")]);

pub(crate) static ENDPOINT: Group = Group::of(&[
    Field::required("transport", TEXT, "The transport that speaks to it.").address(),
    Field::optional(
        "url",
        Kind::OneOf(&[Kind::Url, Kind::List(&Kind::OneOf(&[Kind::Url, Kind::Table(&ADDRESS)]))]),
        "Where it is, without user or password; several for places that hold the same, where the transport takes several. \
         In `sftp:` and `ftp:` URLs the path is relative to the login directory, and `//` begins an absolute one.",
    )
    .address(),
    Field::optional(
        "node",
        TEXT,
        "The one node that may use it: for a folder on that machine's own disk. Left out, every node may.",
    )
    .per_environment(),
]);

static ADDRESS: Group = Group::of(&[
    Field::required("url", Kind::Url, "One of the addresses."),
    Field::preset("weight", Kind::Integer { min: 1, max: 1000 }, "1", "Its share of the use."),
]);

static FLOW: Group = Group::of(&[
    Field::optional("title", TEXT, "Its name for people."),
    Field::preset("enabled", BOOL, "true", "Whether it takes anything."),
    Field::required("source", Kind::Table(&POLLED), "Where its files come from."),
    Field::required(
        "destination",
        Kind::List(&Kind::Table(&DESTINATION)),
        "Where they go; at least one `[[flow.NAME.destination]]`.",
    ),
    Field::preset(
        "ordered",
        BOOL,
        "false",
        "Whether each destination gets the files strictly one after another.",
    ),
    Field::preset(
        "continue_after_failure",
        BOOL,
        "false",
        "In an ordered flow: whether a delivery that failed for good lets the next one pass.",
    ),
    Field::preset("retention", DURATION, "30d", "How long payloads are kept after their transfer ended."),
]);

/// What every source has.
pub(crate) static SOURCE: Group = Group::of(&[
    Field::preset(
        "mask",
        LIST,
        "*.*",
        "Which names to take, one or several: `*` and `?`. `*.*` means every name, those without a dot included.",
    ),
    Field::optional("exclude", LIST, "Names never to take; wins over `mask`."),
    Field::preset(
        "mask_is_regex",
        BOOL,
        "false",
        "Whether `mask` and `exclude` are regular expressions over the whole name.",
    ),
]);

/// What a source that polls an endpoint has besides.
pub(crate) static POLLED: Group = Group::of(&[
    Field::optional("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint that is polled."),
    Field::preset("every", DURATION, "60s", "Time between the starts of two polls; at least 1s."),
    Field::preset(
        "read_limit",
        Kind::Integer { min: 0, max: 1_000_000 },
        "10",
        "Most files that a poll takes, after sorting; 0 for no limit.",
    ),
    Field::preset(
        "order",
        ORDER,
        "listing",
        "Which come first: as the server lists them, oldest first over the whole listing, or by name.",
    ),
    Field::preset(
        "settle",
        SETTLE,
        "recorded",
        "When `after` happens: once the file is recorded, or when all its deliveries are final.",
    ),
    Field::optional("retry", Kind::Table(&RETRY), "How often a file that cannot be read is tried."),
]);

/// What a source that receives by a listener has besides.
pub(crate) static RECEIVED: Group = Group::of(&[
    Field::optional(
        "listener",
        Kind::Name(Section::LISTENER),
        "Instead of `endpoint`: the listener at which partners hand in their files.",
    ),
    Field::optional(
        "partner",
        Kind::Name(Section::PARTNER),
        "With `listener`: only what this partner sends. Left out, any known partner.",
    ),
]);

/// What every destination has.
pub(crate) static DESTINATION: Group = Group::of(&[
    Field::required("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint."),
    Field::optional("name", TEXT, "Its name within the flow; the endpoint's name unless given."),
    Field::optional(
        "file_name",
        Kind::Template,
        "How files are named there, such as `{stem}-{received:%Y%m%d}{ext}`; the received name unless given. \
         Fields: name, stem, ext, received (with a time format), flow, transfer, sequence (with a width).",
    ),
    Field::optional("retry", Kind::Table(&RETRY), "How failures are retried."),
    Field::optional(
        "expires_after",
        DURATION,
        "How long a delivery may take from its recording; past that it fails as expired. For ever unless given.",
    ),
]);

pub(crate) static RETRY: Group = Group::of(&[
    Field::preset("attempts", Kind::Integer { min: 1, max: 10_000 }, "12", "Attempts in all."),
    Field::preset("first", DURATION, "30s", "The wait after the first failure; it doubles with each."),
    Field::preset("longest", DURATION, "1h", "The longest wait."),
]);
