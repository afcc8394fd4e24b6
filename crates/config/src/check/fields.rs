//! The definitions, declared.

use crate::field::{
    BOOL, CERTIFICATE as CERTIFICATE_PEM, CIPHER, CLAIM, DIGEST, DUPLICATES, DURATION, Field, FieldKind,
    LIST, MDN, ORDER, SECRET, SECURITY, SETTLE, SIZE, Section, TEXT,
};
use model::OptionKind;

/// The fields of a kind of definition.
#[must_use]
pub const fn fields_of(section: Section) -> &'static [Field] {
    match section {
        Section::Certificate => CERTIFICATE,
        Section::Key => KEY,
        Section::Credential => CREDENTIAL,
        Section::Proxy => PROXY,
        Section::Identity => IDENTITY,
        Section::Partner => PARTNER,
        Section::Endpoint => ENDPOINT,
        Section::Flow => FLOW,
    }
}

static CERTIFICATE: &[Field] = &[Field::required(
    "pem",
    CERTIFICATE_PEM,
    "The certificate in PEM form, best as a reference such as `${file:/etc/waybill/globex.pem}`. Of several \
     in one file the first is used.",
)];

static KEY: &[Field] = &[
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
];

static CREDENTIAL: &[Field] = &[
    Field::required("username", TEXT, "The user to log in as."),
    Field::required("password", SECRET, "The password. A reference such as `${file:/run/secrets/acme}`."),
];

pub(crate) static PROXY: &[Field] = &[
    Field::required(
        "url",
        TEXT,
        "Where it is: `http://HOST:PORT` for an HTTP proxy, which is asked to CONNECT, or `socks5://HOST:PORT`. The \
         proxy finds the addresses of hosts.",
    ),
    Field::optional(
        "username",
        TEXT,
        "The user to log in to it as: by Basic authentication to an HTTP proxy.",
    ),
    Field::optional("password", SECRET, "The user's password."),
];

static IDENTITY: &[Field] = &[
    Field::required("as2_id", TEXT, "Our AS2 name: 1 to 128 printable ASCII characters, compared exactly."),
    Field::required(
        "key",
        FieldKind::Name(Section::Key),
        "The key that signs and decrypts. It needs a certificate.",
    ),
];

static PARTNER: &[Field] = &[
    Field::required(
        "as2_id",
        TEXT,
        "The partner's AS2 name: 1 to 128 printable ASCII characters, compared exactly.",
    ),
    Field::optional(
        "certificates",
        FieldKind::Names(Section::Certificate),
        "Its certificates: the first encrypts, any verifies. For a rollover, put the new one first once the \
         partner has it.",
    ),
    Field::preset("send_security", SECURITY, "signed_encrypted", "How messages to it are protected."),
    Field::preset(
        "cipher",
        CIPHER,
        "aes256-cbc",
        "The cipher of messages to it. `3des` is for old partners only.",
    ),
    Field::preset(
        "digest",
        DIGEST,
        "sha256",
        "The digest of signatures to it, and of the MIC. `sha1` is for old partners only, and needs `legacy = true`.",
    ),
    Field::preset(
        "mdn",
        MDN,
        "signed",
        "The receipt that is asked for, in the answer to the message itself.",
    ),
    Field::preset(
        "receive_security",
        SECURITY,
        "signed_encrypted",
        "The least protection of messages from it; one with less is answered `insufficient-message-security`.",
    ),
    Field::preset(
        "duplicates",
        DUPLICATES,
        "repeat",
        "How a Message-ID that was answered before is answered: the stored reply again, or a warning. The \
         payload is processed once either way.",
    ),
    Field::preset(
        "accept_expired",
        BOOL,
        "false",
        "Whether its certificates are used after they expired. One that is not valid yet never is.",
    ),
    Field::preset(
        "legacy",
        BOOL,
        "false",
        "Whether MD5, SHA-1 and RSA keys under 2,048 bits are used with it: its signatures and receipts by them \
         count, `digest = \"sha1\"` may be sent. Each use is a warning event, `message.legacy_used`.",
    ),
    Field::preset("largest_message", SIZE, "64GiB", "Largest message taken from it; more is refused."),
];

static ENDPOINT: &[Field] = &[
    Field::required("transport", TEXT, "The transport that speaks to it."),
    Field::optional(
        "url",
        TEXT,
        "Where it is, without user or password. In `sftp:` and `ftp:` URLs the path is relative to the login \
         directory, and `//` begins an absolute one.",
    ),
    Field::optional("username", TEXT, "The user to log in as."),
    Field::optional(
        "credential",
        FieldKind::Name(Section::Credential),
        "A named user and password, instead of `username` and the option `password`.",
    ),
    Field::optional(
        "key",
        FieldKind::Name(Section::Key),
        "A named key, instead of the options `private_key` and `passphrase`.",
    ),
    Field::optional("partner", FieldKind::Name(Section::Partner), "The partner on the other side, for AS2."),
    Field::optional("identity", FieldKind::Name(Section::Identity), "Our own side, for AS2."),
    Field::optional(
        "node",
        TEXT,
        "The one node that may use it: for a folder on that machine's own disk. Left out, every node may.",
    ),
    Field::optional("options", FieldKind::Options, "The transport's own options."),
];

static FLOW: &[Field] = &[
    Field::preset("enabled", BOOL, "true", "Whether it takes anything."),
    Field::required("source", FieldKind::Table(SOURCE), "Where its files come from."),
    Field::required(
        "destination",
        FieldKind::Tables(DESTINATION),
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
];

pub(crate) static SOURCE: &[Field] = &[
    Field::optional("endpoint", FieldKind::Name(Section::Endpoint), "The endpoint that is polled."),
    Field::optional(
        "listener",
        TEXT,
        "Instead of `endpoint`: the transport that receives. `as2` takes messages at the path `/as2` of each \
         `listen.http` address.",
    ),
    Field::optional(
        "partner",
        FieldKind::Name(Section::Partner),
        "With `listener`: only what this partner sends. Left out, any known partner.",
    ),
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
    Field::preset("every", DURATION, "60s", "Time between the starts of two polls; at least 1s."),
    Field::optional(
        "stable_for",
        DURATION,
        "How long a file must keep its size and time before it is taken; `0s` takes it at first sight. 5s \
         unless given, and never longer than `every`.",
    ),
    Field::preset(
        "read_limit",
        FieldKind::Value(OptionKind::Integer { min: 0, max: 1_000_000 }),
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
        "recursive",
        BOOL,
        "false",
        "Whether directories below are looked into; their path is kept.",
    ),
    Field::preset(
        "ignore_times",
        BOOL,
        "false",
        "Whether the modification times that the place tells are left out, for places that tell another time of a file at \
         each look (`offer.unstable` tells so). A file is then told by its path and size alone. What that costs: one that is \
         filled in place, its size set beforehand, is taken half written; with `after = \"keep\"` another file of the same name \
         and size is not noticed; `order = \"arrival\"` goes by name; and before a file is deleted, archived or moved it is read \
         again, to be sure that it is still the one that was taken. Files that are kept at the source are offered anew once \
         when this is changed.",
    ),
    Field::optional(
        "after",
        FieldKind::After,
        "What becomes of a file once it is safely recorded: `\"delete\"`, `\"keep\"`, `{ archive = \"DIR\" }` (with \
         the time in its name unless `timestamp = false`) or `{ move = \"DIR\" }`. Must be written for a polled \
         source: a default that deletes would surprise, and so would one that leaves a partner's folder to grow.",
    ),
    Field::optional(
        "error_directory",
        TEXT,
        "Where a file goes that could not be taken, with its cause beside it. Required for folders on this \
         machine; elsewhere the file stays where it is without it.",
    ),
    Field::preset(
        "settle",
        SETTLE,
        "recorded",
        "When `after` happens: once the file is recorded, or when all its deliveries are final.",
    ),
    Field::preset(
        "claim",
        CLAIM,
        "lease",
        "How a file is claimed: by the node's lease, or by renaming it to `.stage` as well.",
    ),
    Field::optional("retry", FieldKind::Table(RETRY), "How often a file that cannot be read is tried."),
];

/// Fields of a source that have a meaning for polling alone.
pub(crate) const POLL_ONLY: [&str; 11] = [
    "every",
    "stable_for",
    "read_limit",
    "order",
    "recursive",
    "ignore_times",
    "after",
    "error_directory",
    "settle",
    "claim",
    "retry",
];

pub(crate) static ARCHIVE: &[Field] = &[
    Field::required("archive", TEXT, "The directory that files are archived in."),
    Field::preset("timestamp", BOOL, "true", "Whether the name gets the time of archiving."),
];

pub(crate) static MOVE: &[Field] =
    &[Field::required("move", TEXT, "The directory that files are moved into under their own name.")];

pub(crate) static DESTINATION: &[Field] = &[
    Field::required("endpoint", FieldKind::Name(Section::Endpoint), "The endpoint."),
    Field::optional("name", TEXT, "Its name within the flow; the endpoint's name unless given."),
    Field::optional(
        "file_name",
        TEXT,
        "How files are named there, such as `{stem}-{received:%Y%m%d}{ext}`; the received name unless given. \
         Fields: name, stem, ext, received (with a time format), flow, transfer, sequence (with a width).",
    ),
    Field::optional("retry", FieldKind::Table(RETRY), "How failures are retried."),
    Field::optional(
        "expires_after",
        DURATION,
        "How long a delivery may take from its recording; past that it fails as expired. For ever unless given.",
    ),
];

pub(crate) static RETRY: &[Field] = &[
    Field::preset(
        "attempts",
        FieldKind::Value(OptionKind::Integer { min: 1, max: 10_000 }),
        "12",
        "Attempts in all.",
    ),
    Field::preset("first", DURATION, "30s", "The wait after the first failure; it doubles with each."),
    Field::preset("longest", DURATION, "1h", "The longest wait."),
];
