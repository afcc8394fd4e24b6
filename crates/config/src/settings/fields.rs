//! The settings, declared.

use crate::sections::PROXY;
use crate::words::{BOOL, DURATION, LIST, SECRET, SIZE, TEXT};
use model::schema::{Field, Group, Kind};
use model::{ClientCertificates, TlsVersion};

/// The keys of `waybill.toml`.
pub static SETTINGS: Group = Group::of(&[
    Field::preset(
        "state_directory",
        TEXT,
        "state",
        "Where this node keeps what is its own: the connection journal, the key that signs audit seals, its \
         lock, and the SQLite database unless `database.url` names another. Relative to this file.",
    ),
    Field::optional("node", Kind::Table(&NODE), "This process among the nodes that share a database."),
    Field::optional("database", Kind::Table(&DATABASE), "Where everything is recorded."),
    Field::optional("staging", Kind::Table(&STAGING), "Where payloads are kept while they are under way."),
    Field::optional("listen", Kind::Table(&LISTEN), "Addresses that Waybill listens on."),
    Field::optional("limits", Kind::Table(&LIMITS), "How much is done at once."),
    Field::optional(
        "roots",
        Kind::Table(&ROOTS),
        "What definitions may reach on this machine. The person who may edit flows does not thereby own \
         the host: what is not named here is refused.",
    ),
    Field::optional("secrets", Kind::Table(&SECRETS), "Secrets in definitions."),
    Field::optional("egress", Kind::Table(&EGRESS), "Which addresses Waybill may dial."),
    Field::optional("network", Kind::Table(&NETWORK), "How Waybill's own connections leave this machine."),
    Field::optional("audit", Kind::Table(&AUDIT), "The audit record."),
    Field::optional("log", Kind::Table(&LOG), "The process log, on standard error."),
]);

pub(super) static NODE: Group = Group::of(&[
    Field::preset(
        "name",
        TEXT,
        "waybill",
        "Its name in audit events and leases: 1 to 64 letters, digits, '.', '_' or '-'. Nodes that share a \
         database need different names.",
    ),
    Field::preset(
        "lease",
        DURATION,
        "30s",
        "How long the node's claims hold without being renewed; what a dead node leaves is taken over after \
         that. 5s to 10m.",
    ),
]);

pub(super) static DATABASE: Group = Group::of(&[
    Field::optional(
        "url",
        SECRET,
        "`postgres://user:password@host/database` or `sqlite:PATH`. Without it, SQLite in the state directory. \
         A password is best kept apart: `postgres://waybill:${file:/run/secrets/database}@host/waybill`.",
    ),
    Field::preset(
        "text_search_indexes",
        BOOL,
        "true",
        "PostgreSQL: whether parts of texts (events' words, file names) are found by indexes, which need the \
         extension pg_trgm and cost the server about 0.2 ms of processor time for each event. With `false` they \
         are dropped, and such a search looks through all rows of its time range. Say the same on all nodes.",
    ),
]);

pub(super) static STAGING: Group = Group::of(&[
    Field::optional(
        "directory",
        TEXT,
        "Where payloads are staged; `staging` in the state directory unless given. Nodes that share a database \
         share this directory as well. Relative to this file.",
    ),
    Field::preset(
        "min_free",
        SIZE,
        "1GiB",
        "Room that staging leaves free: with less, nothing new is taken, and what is under way goes on.",
    ),
]);

pub(super) static LISTEN: Group = Group::of(&[
    Field::preset(
        "console",
        TEXT,
        "127.0.0.1:8420",
        "Address and port of the console and its API. Loopback until told otherwise; IPv6 in brackets.",
    ),
    Field::optional(
        "console_url",
        TEXT,
        "Where people reach the console when that is another address, such as `https://waybill.acme.example` \
         before a reverse proxy that does TLS. With https cookies are Secure; the first start's link begins \
         with it.",
    ),
    Field::preset(
        "console_proxy_protocol",
        BOOL,
        "false",
        "Whether each connection to the console begins with a PROXY header (version 1 or 2), as \
         HAProxy's `send-proxy` writes it. Only `trusted_proxies` may connect then.",
    ),
    Field::optional(
        "trusted_proxies",
        LIST,
        "Networks of the reverse proxies and load balancers before Waybill, such as `10.0.0.0/8`. What they say \
         of their clients is believed: the last address that is none of theirs is the client's, in records, \
         events and limits. What anybody else says is ignored.",
    ),
    Field::preset(
        "proxy_header",
        Kind::Choice(&["either", "x-forwarded-for", "forwarded"]),
        "either",
        "Which header the trusted proxies write. With `either`, a request where the two name different clients is \
         answered 400: a proxy passes on the header that it does not write itself, and the client may have \
         invented that one. Set the one that your proxies write, and let them remove the other.",
    ),
    Field::optional(
        "http",
        Kind::Map(&Kind::Table(&HTTP_LISTENER)),
        "HTTP servers for what partners send, by a name of your choice: `[listen.http.partners]`. A `[listener.NAME]` in the \
         definitions names the server and says at which path messages are taken.",
    ),
]);

pub(super) static HTTP_LISTENER: Group = Group::of(&[
    Field::required(
        "address",
        LIST,
        "Address and port, such as `0.0.0.0:4080` or `[::]:4080`, or a list of them. Port 0 takes a free one.",
    ),
    Field::preset(
        "proxy_protocol",
        BOOL,
        "false",
        "Whether each connection begins with a PROXY header (version 1 or 2), as HAProxy's `send-proxy` \
         writes it, before TLS. Only `listen.trusted_proxies` may connect then.",
    ),
    Field::optional(
        "tls",
        Kind::Table(&HTTP_TLS),
        "HTTPS: TLS from the first byte. Without it the server speaks plain HTTP.",
    ),
]);

pub(super) static HTTP_TLS: Group = Group::of(&[
    Field::optional(
        "certificate",
        TEXT,
        "A file with the server's certificate and the chain above it, in PEM form: shown to clients that ask for no \
         name (SNI), and for names that no listener has a certificate for. The file is looked at every two \
         seconds; what fits its key and is valid is shown from the next connection on, and open connections go \
         on. Relative to this file.",
    ),
    Field::optional(
        "private_key",
        TEXT,
        "The file with the certificate's private key, in PEM form. Relative to this file.",
    ),
    Field::optional("passphrase", SECRET, "The passphrase of a private key that is encrypted."),
    Field::preset(
        "min",
        Kind::Choice(TlsVersion::WORDS),
        "1.2",
        "The lowest version of TLS; 1.3 is the highest.",
    ),
    Field::preset(
        "client_certificates",
        Kind::Choice(ClientCertificates::WORDS),
        "off",
        "Whether clients are asked for a certificate: with `required` those that show none are refused, with `optional` \
         they are served as well. One that leads to none of `client_authorities`, or is not valid, is refused either \
         way. Its subject stands on the connection's record.",
    ),
    Field::optional(
        "client_authorities",
        TEXT,
        "A file of certificates (PEM) that a client's must lead to; a client's own may be among them. Read at the start. \
         Relative to this file.",
    ),
]);

pub(super) static LIMITS: Group = Group::of(&[
    Field::preset(
        "buffers",
        SIZE,
        "256MiB",
        "Memory for the bytes under way, over all transfers. At least 16MiB. A large file takes no more \
         than a small one; with little memory fewer move at once.",
    ),
    Field::preset(
        "deliveries",
        Kind::Integer { min: 1, max: 4096 },
        "32",
        "Deliveries that this node has under way at once.",
    ),
    Field::preset(
        "stagings",
        Kind::Integer { min: 1, max: 4096 },
        "16",
        "Files that this node takes at once.",
    ),
    Field::preset(
        "connections",
        Kind::Integer { min: 8, max: 65_536 },
        "1024",
        "Connections that each listen address has at once. For one more, the one that was idle longest is \
         closed; where all are at work, the new one is. Fewer where the system allows too few open files: some \
         are kept back for this node's own work.",
    ),
    Field::preset(
        "connections_per_client",
        Kind::Integer { min: 2, max: 65_536 },
        "256",
        "The same of one client on each listen address: an IPv4 address, or the /64 network of an IPv6 one. \
         Proxies that are trusted are not bounded by it; the requests at once of each client behind them are.",
    ),
]);

pub(super) static ROOTS: Group = Group::of(&[
    Field::optional(
        "files",
        LIST,
        "Directories below which `file` endpoints, their archives and their error directories may lie. \
         Relative to this file.",
    ),
    Field::optional(
        "variables",
        LIST,
        "Environment variables that `${env:NAME}` in definitions may name in any field. What they hold may be seen: \
         host and user names, directories.",
    ),
    Field::optional(
        "secret_variables",
        LIST,
        "Environment variables that `${env:NAME}` in definitions may name in fields for secrets alone: passwords, \
         passphrases, private keys.",
    ),
    Field::optional(
        "secrets",
        LIST,
        "Directories below which the files of `${file:/path}` in definitions may lie. Such a reference goes into \
         fields for secrets, and into those for certificates and host keys if the file holds that. Relative to \
         this file.",
    ),
]);

pub(super) static SECRETS: Group = Group::of(&[Field::optional(
    "master_key",
    Kind::List(&Kind::Table(&MASTER_KEY)),
    "The keys that passwords, passphrases and private keys written into definitions are encrypted with before they reach \
     the database: the newest first. It encrypts, all decrypt. Without one, definitions hold references alone \
     (`${file:…}`, `${env:…}`). Such as `master_key = [{ id = \"2026\", key = \"${file:/etc/waybill/master.key}\" }]`; all \
     nodes need the same.",
)]);

pub(super) static MASTER_KEY: Group = Group::of(&[
    Field::required(
        "id",
        TEXT,
        "Its name in the database: 1 to 64 letters, digits, '.', '_' or '-'. A new key has a new one.",
    ),
    Field::required(
        "key",
        SECRET,
        "32 bytes in base64, as `waybill key generate` makes them; a reference, `${file:/path}` or `${env:NAME}`.",
    ),
]);

pub(super) static EGRESS: Group = Group::of(&[
    Field::optional(
        "allow",
        LIST,
        "Networks that may be dialled although they are refused by default (link-local and cloud metadata \
         addresses), such as `169.254.10.0/24` or a single address.",
    ),
    Field::preset(
        "allow_loopback",
        BOOL,
        "false",
        "Whether endpoints may be on this machine's own loopback addresses.",
    ),
]);

pub(super) static NETWORK: Group = Group::of(&[Field::optional(
    "proxy",
    Kind::Table(&PROXY),
    "The proxy that connections go through, such as `proxy = { url = \"http://proxy.acme.example:3128\" }`. An \
     endpoint may name another one, or `\"none\"` to connect directly. It may lie on this machine itself, whatever \
     `egress` says. What `egress` refuses by address is refused behind it as well where an endpoint's URL holds an \
     address; a name is looked up by the proxy, whose own rules decide then. The database, syslog and DNS are not \
     reached through it.",
)]);

pub(super) static AUDIT: Group = Group::of(&[
    Field::preset(
        "retention_months",
        Kind::Integer { min: 0, max: 1200 },
        "0",
        "Whole months that audit events are kept; 0 keeps them for ever. Only what is sealed is dropped, \
         and the seals stay.",
    ),
    Field::preset("seal_every", DURATION, "1m", "How often new events are sealed. 1s to 1d."),
    Field::optional(
        "seal_file",
        TEXT,
        "A file to which each seal is appended as it is made, a line of JSON each: for `audit verify --seals`. Put \
         it where the database's administrators cannot write, and mark it as append-only. Relative to this file.",
    ),
    Field::optional(
        "seal_syslog",
        TEXT,
        "A syslog server that each seal is sent to as it is made (RFC 5424): \"udp://HOST:514\", \
         \"tcp://HOST:601\" or \"unix:/dev/log\". The rules of `egress` hold for it.",
    ),
    Field::optional(
        "timestamp_url",
        TEXT,
        "A time-stamping authority (RFC 3161) that the newest seal is stamped by, such as \
         \"http://tsa.example/tsr\". What is sent is the seal's digest. The rules of `egress` hold for it; over https \
         the system's authorities are believed.",
    ),
    Field::optional(
        "timestamp_certificates",
        TEXT,
        "The certificates (PEM) that the chain of a time stamp's signer must lead to; needed with `timestamp_url`. \
         Keep it: `audit verify` checks with it as well. Read at the start. Relative to this file.",
    ),
    Field::preset(
        "timestamp_every",
        DURATION,
        "1m",
        "Least time between two time stamps; one proves all seals before it. 1s to 1d.",
    ),
]);

pub(super) static LOG: Group = Group::of(&[
    Field::preset(
        "format",
        Kind::Choice(&["text", "json"]),
        "text",
        "Lines for people, or one JSON object a line.",
    ),
    Field::preset(
        "level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "The least important line that is written; `RUST_LOG` wins over it. Of the libraries inside, whose lines may \
         hold headers and passwords, only warnings and errors are written, whatever either says.",
    ),
]);
