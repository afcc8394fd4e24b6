//! The kinds of definitions, declared: what holds for every transport. Each transport adds its own fields.

mod flow;

use crate::words::{BALANCE, BOOL, CERTIFICATE as CERTIFICATE_PEM, DURATION, LIST, SECRET, TEXT};
use flow::FLOW;
pub(crate) use flow::{DESTINATION, POLLED, RECEIVED, SOURCE};
use model::definition::DEFAULT_POOL;
use model::schema::{Field, Group, Kind, Section, SectionSpec};

const fn section(section: Section, doc: &'static str, group: &'static Group) -> SectionSpec {
    SectionSpec { section, doc, group }
}

/// The kinds of definitions, each after those it may name.
pub static SECTIONS: [SectionSpec; 11] = [
    section(Section::CERTIFICATE, "A certificate of a partner or of a certificate authority.", &CERTIFICATE),
    section(Section::KEY, "One of our private keys, with its certificate if it has one.", &KEY),
    section(Section::CREDENTIAL, "A user name and its password.", &CREDENTIAL),
    section(Section::PROXY, "A proxy for outgoing connections.", &PROXY),
    section(
        Section::CALENDAR,
        "A calendar of days off. On these days the flows that name it poll nothing.",
        &CALENDAR,
    ),
    section(
        Section::WORKER_POOL,
        "A worker pool: a number of deliveries that run at the same time on each node. A pool keeps room for the \
        flows and endpoints that name it, whatever other deliveries run, and keeps them from taking more. The pool \
        `default` is that of all others; unless it is defined here, its size is `limits.deliveries` in \
        `waybill.toml`.",
        &WORKER_POOL,
    ),
    section(
        Section::IDENTITY,
        "Our own side in exchanges with partners. It has a table for each transport that works with \
        partners, such as `[identity.NAME.as2]`.",
        &IDENTITY,
    ),
    section(
        Section::PARTNER,
        "A trading partner. It has a table for each transport that works with partners, such as \
        `[partner.NAME.as2]`.",
        &PARTNER,
    ),
    section(Section::LISTENER, "An address at which partners send files to us.", &LISTENER),
    section(Section::ENDPOINT, "A remote or local place that flows poll or deliver to.", &ENDPOINT),
    section(Section::FLOW, "Moves files from one source to its destinations.", &FLOW),
];

static CERTIFICATE: Group = Group::of(&[Field::required(
    "pem",
    CERTIFICATE_PEM,
    "The certificate: in PEM form, or a reference such as `${file:/etc/waybill/globex.pem}` to a file in PEM form, in \
    DER, or in PKCS #7 (`.p7b`). If a file contains several certificates, the first one is used; of a PKCS #7 file the one \
    that issued none of the others. Or an OpenPGP public key in armour, for messages by PGP/MIME.",
)
.address()]);

static KEY: Group = Group::of(&[
    Field::required(
        "private_key",
        SECRET,
        "The private key in PEM form (PKCS #8, PKCS #1, SEC 1; OpenSSH's own form for SSH only), or a PKCS #12 file, whose \
         certificates are used where `certificate` is left out. A reference such as `${file:/run/secrets/acme.key}`. Or an OpenPGP private key in armour, for messages by PGP/MIME.",
    ),
    Field::optional(
        "passphrase",
        SECRET,
        "The passphrase of the private key or PKCS #12 file, if it is encrypted.",
    ),
    Field::optional(
        "certificate",
        CERTIFICATE_PEM,
        "The certificate of the key, in PEM form, or a reference to a file in PEM form, in DER, or in PKCS #7 (`.p7b`). \
        Certificates of authorities may follow; TLS sends them as well. Keys of identities need a certificate; keys for SSH do \
        not.",
    ),
]);

static CREDENTIAL: Group = Group::of(&[
    Field::required("username", TEXT, "The user name."),
    Field::required("password", SECRET, "The password. A reference such as `${file:/run/secrets/acme}`."),
]);

pub(crate) static PROXY: Group = Group::of(&[
    Field::required(
        "url",
        Kind::Url,
        "The proxy's address: `http://HOST:PORT` for an HTTP proxy (method CONNECT), or \
        `socks5://HOST:PORT`. The proxy looks up the names of hosts.",
    )
    .address(),
    Field::optional(
        "username",
        TEXT,
        "The user name for the proxy. An HTTP proxy gets it by Basic authentication.",
    )
    .login(),
    Field::optional("password", SECRET, "The user's password.").login(),
]);

static CALENDAR: Group = Group::of(&[
    Field::optional(
        "days_off",
        LIST,
        "The days off, each written as year, month and day: `[\"2026-12-25\", \"2026-12-26\"]`. A day begins and \
        ends at midnight in the time zone of the flow.",
    ),
    Field::preset("weekends", BOOL, "false", "Whether Saturdays and Sundays are days off as well."),
]);

static WORKER_POOL: Group = Group::of(&[Field::required(
    "size",
    Kind::Integer { min: 1, max: 4096 },
    "How many deliveries of the pool run at the same time on each node.",
)]);

/// The name of a worker pool; that of the default pool need not be defined.
const POOL: Kind = Kind::OneOf(&[Kind::Choice(&[DEFAULT_POOL]), Kind::Name(Section::WORKER_POOL)]);

static IDENTITY: Group = Group::of(&[Field::optional("title", TEXT, "A title for people.")]);

static PARTNER: Group = Group::of(&[
    Field::optional("title", TEXT, "A title for people."),
    Field::optional("contact", TEXT, "A contact, such as a mail address."),
]);

pub(crate) static LISTENER: Group =
    Group::of(&[Field::required("transport", TEXT, "The transport of the listener.")]);

pub(crate) static ENDPOINT: Group = Group::of(&[
    Field::required("transport", TEXT, "The transport that is used.").address(),
    Field::optional(
        "url",
        Kind::OneOf(&[Kind::Url, Kind::List(&Kind::OneOf(&[Kind::Url, Kind::Table(&ADDRESS)]))]),
        "The address, without user or password. A list gives several addresses at which the same files may be \
        delivered; see `balance`. An endpoint that is polled has one. In `sftp:` and `ftp:` URLs, the path is relative to the login directory; \
        an absolute path begins with `//`.",
    )
    .address(),
    Field::optional(
        "node",
        TEXT,
        "The name of the only node that may use the endpoint, for a folder on that machine's own disk. Left \
        out, every node may use it.",
    )
    .per_environment(),
    Field::preset(
        "balance",
        BALANCE,
        "round_robin",
        "Of several addresses, the one that a delivery tries first: `round_robin`, each in turn; `random`; \
        `weighted`, by each `weight`; `failover`, the first of the list that is not offline; `none`, the one that \
        took a file last, until it fails. Where it does not take the file, the others are tried at once, each \
        once, before the delivery waits for its next attempt. A file that may have arrived at one address is sent \
        to no other before that is found out. The receipt names the address that took the file.",
    ),
    Field::optional(
        "offline",
        Kind::OneOf(&[Kind::Off, Kind::Table(&OFFLINE)]),
        "When failures take the endpoint offline: nothing is tried there for a while, and its files wait. Of several \
        addresses each goes offline by itself. Connections that fail and logins that are refused count, never \
        what a server says of a file; a refused login, or a server that cannot prove its identity, takes it \
        offline at once. `false` for never.",
    ),
    Field::optional(
        "pool",
        POOL,
        "The worker pool of the deliveries to this endpoint, a [worker_pool.NAME]. Left out, the pool of their \
        flow.",
    ),
    Field::optional(
        "throttle",
        Kind::Table(&THROTTLE),
        "How much of the endpoint this gateway uses. All of it counts on each node by itself: two nodes may use \
        twice as much.",
    ),
]);

static OFFLINE: Group = Group::of(&[
    Field::preset("after", Kind::Integer { min: 1, max: 1000 }, "5", "After how many failures in a row."),
    Field::optional(
        "for",
        DURATION,
        "For how long, each time. Left out, 15 seconds at first, which doubles up to 10 minutes; after a refused \
        login 1 minute at first, up to 1 hour.",
    ),
]);

static THROTTLE: Group = Group::of(&[
    Field::optional(
        "deliveries",
        Kind::Integer { min: 1, max: 4096 },
        "The highest number of deliveries to the endpoint at the same time. Left out, three quarters \
        of `limits.deliveries` in `waybill.toml`. How many connections there are is set by `connections`.",
    ),
    Field::optional(
        "queue",
        Kind::Integer { min: 1, max: 10_000_000 },
        "How many deliveries may wait for the endpoint. When so many wait, the flows that deliver to it take no \
        new files: their sources are not polled, unless a person asks for a run, and a message that they would \
        receive is refused for the time being (HTTP 503). They are counted once a second, so that one poll or a \
        burst of messages may bring more.",
    ),
    Field::optional(
        "bandwidth",
        Kind::Bandwidth,
        "The highest number of bytes per second that all flows together read from the endpoint and write to it, \
        such as `10MiB/s`; at least `1KiB/s`. Bytes of files count; what the protocol adds does not. A new value \
        takes effect on transfers that are running. Left out, there is no limit.",
    ),
    Field::optional(
        "between",
        Kind::List(&Kind::Table(&BANDWIDTH_WINDOW)),
        "One or several windows in which another bandwidth holds. Of those that are open at the same time, the \
        first counts.",
    ),
    Field::preset(
        "time_zone",
        TEXT,
        "UTC",
        "The time zone of `between`, by its IANA name, such as `Europe/Berlin`.",
    ),
]);

static BANDWIDTH_WINDOW: Group = Group::of(&[
    WINDOW_FROM,
    WINDOW_TO,
    WINDOW_DAYS,
    Field::required("bandwidth", Kind::Bandwidth, "The bandwidth in it."),
]);

static ADDRESS: Group = Group::of(&[
    Field::required("url", Kind::Url, "An address."),
    Field::preset(
        "weight",
        Kind::Integer { min: 1, max: 1000 },
        "1",
        "How often this address is used in relation to the others.",
    ),
]);

/// A window of the day.
pub(crate) static WINDOW: Group = Group::of(&[WINDOW_FROM, WINDOW_TO, WINDOW_DAYS]);

const WINDOW_FROM: Field = Field::required("from", TEXT, "The time at which it begins, such as `06:00`.");
const WINDOW_TO: Field = Field::required(
    "to",
    TEXT,
    "The time at which it ends, such as `20:00`, or `24:00`. If it is earlier than `from`, the window goes \
    over midnight.",
);
const WINDOW_DAYS: Field = Field::optional(
    "days",
    LIST,
    "The days of the week on which it begins: `mon` to `sun`, or ranges such as `mon-fri`. Left out, every \
    day.",
);
