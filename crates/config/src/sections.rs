//! The kinds of definitions, declared: what holds for every transport. Each transport adds its own fields.

use crate::words::{
    BALANCE, BOOL, CERTIFICATE as CERTIFICATE_PEM, DURATION, LIST, ORDER, SECRET, SETTLE, TEXT,
};
use model::definition::DEFAULT_POOL;
use model::schema::{Field, Group, Kind, Rule, Section, SectionSpec};

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
    "The certificate in PEM form, usually as a reference such as `${file:/etc/waybill/globex.pem}`. If a \
    file contains several certificates, the first one is used.",
)
.address()]);

static KEY: Group = Group::of(&[
    Field::required(
        "private_key",
        SECRET,
        "The private key in PEM form (PKCS #8, PKCS #1, SEC 1; OpenSSH's own form for SSH only), or a PKCS #12 file, whose \
         certificates are used where `certificate` is left out. A reference such as `${file:/run/secrets/acme.key}`.",
    ),
    Field::optional(
        "passphrase",
        SECRET,
        "The passphrase of the private key or PKCS #12 file, if it is encrypted.",
    ),
    Field::optional(
        "certificate",
        CERTIFICATE_PEM,
        "The certificate of the key, in PEM form. Certificates of authorities may follow; TLS sends them as \
        well. Keys of identities need a certificate; keys for SSH do not.",
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

/// What is done to files.
const STEPS: Kind = Kind::List(&Kind::Table(&steps::STEP));

static FLOW: Group = Group::of(&[
    Field::optional("title", TEXT, "A title for people."),
    Field::preset("enabled", BOOL, "true", "Whether the flow runs. With `false` it accepts no files."),
    Field::required("source", Kind::Table(&POLLED), "Where the files come from."),
    Field::optional(
        "steps",
        STEPS,
        "What is done to each file before it is delivered, in this order: `steps = [{ convert_charset = { from = \
        \"ISO-8859-1\" } }]`. Each step makes a new file of what it gets; what was received is kept unchanged beside it. \
        A file that a step cannot process is not delivered: its deliveries fail, and a retry does the steps again as the flow \
        then says. To `on_failure` goes what was received.",
    ),
    Field::required(
        "destination",
        Kind::List(&Kind::Table(&DESTINATION)),
        "Where the files go; at least one `[[flow.NAME.destination]]`.",
    ),
    Field::preset(
        "ordered",
        BOOL,
        "false",
        "Whether each destination gets the files in order, one after another.",
    ),
    Field::preset(
        "continue_after_failure",
        BOOL,
        "false",
        "In an ordered flow: whether the next file is delivered after a delivery has failed permanently. \
        Otherwise the destination waits until a person retries or cancels that delivery.",
    ),
    Field::preset(
        "retention",
        DURATION,
        "30d",
        "How long the content of files is kept after their transfer has ended.",
    ),
    Field::optional(
        "on_failure",
        TEXT,
        "Where a transfer goes of which a delivery failed for good or expired, once all its deliveries have ended: the \
        name of one of the flow's destinations, which then gets nothing else, or of another flow. The payload goes \
        there as a transfer of its own; its metadata says what failed and why, for `file_name` as \
        `{failure.flow}`, `{failure.destination}`, `{failure.endpoint}` and `{failure.error}`. A transfer that a \
        person cancels goes nowhere.",
    ),
    Field::optional(
        "metadata",
        Kind::Map(&Kind::Template),
        "What is added to the metadata of the flow's transfers: keys, and templates of their values with the fields of \
        `file_name` but `{counter}`; a date may hold any characters. Folders use `file_name`, the name of the file at its \
        destination, and with `is_file_path = \"true\"` its absolute path there, below the destination's `paths_below`. \
        Keys that Waybill itself writes (`source_…`, `archive_…`, `failure`) are refused.",
    ),
    Field::optional(
        "pool",
        POOL,
        "The worker pool of the flow's deliveries, a [worker_pool.NAME], but for endpoints that name one \
        themselves. Left out, the pool `default`.",
    ),
]);

/// What every source has.
pub(crate) static SOURCE: Group = Group::of(&[
    Field::preset(
        "mask",
        LIST,
        "*.*",
        "One or several masks for the names of files that the flow accepts: `*` and `?`. `*.*` means every \
        name, also one without a dot.",
    ),
    Field::optional(
        "exclude",
        LIST,
        "One or several masks for names that the flow never accepts, even if `mask` matches them.",
    ),
    Field::preset(
        "mask_is_regex",
        BOOL,
        "false",
        "Whether `mask` and `exclude` are regular expressions. They must match the whole name.",
    ),
    Field::preset(
        "ignore_case",
        BOOL,
        "false",
        "Whether upper and lower case are the same in `mask` and `exclude`: `*.edi` then also accepts `A.EDI`.",
    ),
]);

/// What a source that polls an endpoint has besides.
pub(crate) static POLLED: Group = Group::of(&[
    Field::optional("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint that is polled."),
    Field::preset(
        "every",
        DURATION,
        "60s",
        "The time from the start of one poll to the start of the next; at least 1s.",
    ),
    Field::optional(
        "cron",
        TEXT,
        "Instead of `every`: a cron expression that names the times of polls, with five fields (minute, hour, \
        day of the month, month, day of the week), such as `*/5 6-20 * * MON-FRI`. If both the day of the \
        month and the day of the week are restricted, a day that fits either counts. A time that passes \
        while a poll runs, or at which no node could poll, is made up once within ten minutes; after that it \
        is left out.",
    ),
    Field::preset(
        "time_zone",
        TEXT,
        "UTC",
        "The time zone of `cron`, `between`, `not_on`, `expect` and of dates in the names of directories, by its IANA name, such as `Europe/Berlin`. When the \
        clock is put forward, a time that does not exist counts as the first moment after the gap. When it \
        is put back, a `cron` expression with a fixed hour counts the first of the two moments, one that \
        repeats each hour counts both, and a window is open during both.",
    ),
    Field::optional(
        "between",
        Kind::List(&Kind::Table(&WINDOW)),
        "One or several windows; polls begin only within them. A poll that has begun goes on. Left out, polls \
        begin at any time. A run that a person requests is not bound to windows and calendar.",
    ),
    Field::optional(
        "not_on",
        Kind::Name(Section::CALENDAR),
        "The calendar with the days on which no poll begins. A window that goes over midnight belongs to the \
        day on which it begins.",
    ),
    Field::optional(
        "preferred_node",
        TEXT,
        "The name of the node that polls the source as long as it is alive, and has not refused the revision that brings the flow \
        as it is now; otherwise any other node polls it. Left out, the node that comes first does.",
    )
    .per_environment(),
    Field::optional(
        "expect",
        Kind::Table(&EXPECT),
        "How many files are expected by a time of each day on which polls may begin (`between`, `not_on` and `cron` \
        say on which). Where fewer were taken since midnight, the audit event `flow.files_missing` tells it, once a day, and \
        the flow's state and the overview show it until enough have come (`flow.files_arrived`) or the next day \
        is judged.",
    ),
    Field::preset(
        "read_limit",
        Kind::Integer { min: 0, max: 1_000_000 },
        "10",
        "The highest number of files that one poll reads, after sorting; 0 for no limit.",
    ),
    Field::preset(
        "order",
        ORDER,
        "listing",
        "The order in which files are read: `listing`, `arrival` (oldest first) or `name`.",
    ),
    Field::preset(
        "settle",
        SETTLE,
        "recorded",
        "When `after` is carried out: `recorded`, as soon as the file is stored and recorded, or \
        `after_delivery`, when all its deliveries have ended.",
    ),
    Field::optional(
        "retry",
        Kind::Table(&RETRY),
        "How often Waybill tries to read a file that cannot be read.",
    ),
])
.with(&[Rule::AtMostOne(&["every", "cron"])]);

/// What is expected of a source.
pub(crate) static EXPECT: Group = Group::of(&[
    Field::required("by", TEXT, "The time of the day, such as `18:00`, by the clock of `time_zone`."),
    Field::preset("at_least", Kind::Integer { min: 1, max: 1_000_000 }, "1", "How many files are expected."),
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

/// What a source that receives by a listener has besides.
pub(crate) static RECEIVED: Group = Group::of(&[
    Field::optional(
        "listener",
        Kind::Name(Section::LISTENER),
        "Instead of `endpoint`: the listener that partners send files to.",
    ),
    Field::optional(
        "partner",
        Kind::Name(Section::PARTNER),
        "With `listener`: the flow accepts files from this partner only. Left out, from any known partner.",
    ),
]);

/// What every destination has.
pub(crate) static DESTINATION: Group = Group::of(&[
    Field::required("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint."),
    Field::optional(
        "name",
        TEXT,
        "The name of this destination within the flow. Left out, the endpoint's name.",
    ),
    Field::optional(
        "file_name",
        Kind::Template,
        "A template for the names of delivered files, such as `{stem}-{received:%Y%m%d}{ext}`. Left out, \
        files keep their names. Fields: name, stem, ext, received (with a time format), flow, transfer, \
        sequence (the place of a part in its message, with a width), counter, archive.name and archive.sha256 (the copy in the \
        archive of the flow's source, where that has the time in its name), and on a failure route failure.flow, \
        failure.destination, failure.endpoint, failure.error. `{counter:6}` is a running number of this destination with at \
        least six digits; `{counter:6:daily}` begins at 1 each day. A number is given once, also over several nodes, and a \
        delivery that is tried again keeps its own; numbers may be left out.",
    ),
    Field::optional(
        "steps",
        STEPS,
        "What is done to each file before it is delivered to this destination, after the steps of the flow.",
    ),
    Field::optional("retry", Kind::Table(&RETRY), "How failed deliveries are retried."),
    Field::optional(
        "expires_after",
        DURATION,
        "How long a delivery may take, from the moment it was recorded; after that it fails as expired. \
        Left out, there is no limit.",
    ),
    Field::optional(
        "between",
        Kind::List(&Kind::Table(&WINDOW)),
        "One or several windows; deliveries begin only within them, retries too. A delivery that has begun goes on. \
        Left out, deliveries begin at any time.",
    ),
    Field::optional(
        "not_on",
        Kind::Name(Section::CALENDAR),
        "The calendar with the days on which no delivery begins. A window that goes over midnight belongs to the day on \
        which it begins.",
    ),
    Field::preset(
        "time_zone",
        TEXT,
        "UTC",
        "The time zone of `between`, `not_on`, and dates in templates and daily counters, by its IANA name, such as \
         `Europe/Berlin`.",
    ),
]);

pub(crate) static RETRY: Group = Group::of(&[
    Field::preset("attempts", Kind::Integer { min: 1, max: 10_000 }, "12", "The highest number of attempts."),
    Field::preset(
        "first",
        DURATION,
        "30s",
        "The wait after the first failure; it doubles with each further failure.",
    ),
    Field::preset("longest", DURATION, "1h", "The longest wait."),
]);
