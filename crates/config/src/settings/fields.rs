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
        "The directory for this node's own files: the connection journal, the key that signs audit seals, a \
        lock file, and the SQLite database unless `database.url` is set. Relative to this file.",
    ),
    Field::optional("node", Kind::Table(&NODE), "This process as one of the nodes that share a database."),
    Field::optional("database", Kind::Table(&DATABASE), "The database in which everything is recorded."),
    Field::optional("staging", Kind::Table(&STAGING), "Where files are stored during their transfer."),
    Field::optional("listen", Kind::Table(&LISTEN), "The addresses that Waybill listens on."),
    Field::optional("limits", Kind::Table(&LIMITS), "How much Waybill does at the same time."),
    Field::optional(
        "roots",
        Kind::Table(&ROOTS),
        "The directories and variables of this machine that definitions may use. Everything else is \
        refused, so that a person who may edit flows does not get access to the whole machine.",
    ),
    Field::optional("secrets", Kind::Table(&SECRETS), "Secrets in definitions."),
    Field::optional("egress", Kind::Table(&EGRESS), "Which addresses Waybill may connect to."),
    Field::optional("network", Kind::Table(&NETWORK), "How outgoing connections leave this machine."),
    Field::optional("audit", Kind::Table(&AUDIT), "The audit record."),
    Field::optional("log", Kind::Table(&LOG), "The process log, on standard error."),
]);

pub(super) static NODE: Group = Group::of(&[
    Field::preset(
        "name",
        TEXT,
        "waybill",
        "The node's name in audit events and leases: 1 to 64 letters, digits, '.', '_' or '-'. Nodes that \
        share a database need different names.",
    ),
    Field::preset(
        "lease",
        DURATION,
        "30s",
        "How long the node's claims are valid without renewal. When a node fails, other nodes take over its \
        work after this time. 5s to 10m.",
    ),
]);

pub(super) static DATABASE: Group = Group::of(&[
    Field::optional(
        "url",
        SECRET,
        "`postgres://user:password@host/database` or `sqlite:PATH`. Left out, SQLite in the state directory. Keep a password in its own file: `postgres://waybill:${file:/run/secrets/database}@host/waybill`.",
    ),
    Field::preset(
        "text_search_indexes",
        BOOL,
        "true",
        "PostgreSQL: whether searches for a part of a text (in events and file names) use indexes. They \
        need the extension pg_trgm and cost the database server about 0.2 ms of processor time for each \
        event. With `false` the indexes are dropped, and such a search reads all rows of its time range. \
        Use the same value on all nodes.",
    ),
]);

pub(super) static STAGING: Group = Group::of(&[
    Field::optional(
        "directory",
        TEXT,
        "The staging directory. Left out, `staging` in the state directory. Nodes that share a database \
        must share this directory as well. Relative to this file.",
    ),
    Field::preset(
        "min_free",
        SIZE,
        "1GiB",
        "The space that staging leaves free on its file system. With less free space, Waybill accepts no \
        new files; running transfers continue.",
    ),
]);

pub(super) static LISTEN: Group = Group::of(&[
    Field::preset(
        "console",
        TEXT,
        "127.0.0.1:8420",
        "Address and port of the console and its API. By default only this machine can reach it. Write IPv6 \
        addresses in brackets.",
    ),
    Field::optional(
        "console_url",
        TEXT,
        "The URL at which people open the console, if it is not `console`, such as \
        `https://waybill.acme.example` for a reverse proxy with TLS. With https, cookies are marked Secure. \
        The link that the first start prints begins with this URL.",
    ),
    Field::preset(
        "console_proxy_protocol",
        BOOL,
        "false",
        "Whether each connection to the console begins with a PROXY header (version 1 or 2), as HAProxy's \
        `send-proxy` writes it. With `true`, only `trusted_proxies` may connect.",
    ),
    Field::optional(
        "trusted_proxies",
        LIST,
        "Networks of the reverse proxies and load balancers in front of Waybill, such as `10.0.0.0/8`. \
        Waybill believes what they report about their clients: the last address that does not belong to a \
        trusted proxy is the client's address in records, events and limits. Such headers from other \
        addresses are ignored.",
    ),
    Field::preset(
        "proxy_header",
        Kind::Choice(&["either", "x-forwarded-for", "forwarded"]),
        "either",
        "Which header the trusted proxies write. With `either`, a request whose two headers name different \
        clients is answered with 400, because one of them may come from the client itself. Set the header \
        that your proxies write, and configure them to remove the other one.",
    ),
    Field::optional(
        "http",
        Kind::Map(&Kind::Table(&HTTP_LISTENER)),
        "HTTP servers that partners send files to, each with a name of your choice, such as \
        `[listen.http.partners]`. A `[listener.NAME]` in the definitions refers to a server by this name \
        and gives the path.",
    ),
]);

pub(super) static HTTP_LISTENER: Group = Group::of(&[
    Field::required(
        "address",
        LIST,
        "Address and port, such as `0.0.0.0:4080` or `[::]:4080`, or a list of them. With port 0, the system chooses a free one.",
    ),
    Field::preset(
        "proxy_protocol",
        BOOL,
        "false",
        "Whether each connection begins with a PROXY header (version 1 or 2), as HAProxy's `send-proxy` \
         writes it, before TLS. With `true`, only `listen.trusted_proxies` may connect.",
    ),
    Field::optional("tls", Kind::Table(&HTTP_TLS), "TLS for HTTPS. Left out, the server speaks plain HTTP."),
]);

pub(super) static HTTP_TLS: Group = Group::of(&[
    Field::optional(
        "certificate",
        TEXT,
        "A PEM file with the server's certificate and its chain. Clients get it if they ask for no host \
        name (SNI), or for a name for which no listener has a certificate. Waybill checks the file every \
        two seconds: a new certificate that is valid and fits the key is used for new connections, and open \
        connections continue. Relative to this file.",
    ),
    Field::optional(
        "private_key",
        TEXT,
        "The file with the certificate's private key, in PEM form. Relative to this file.",
    ),
    Field::optional("passphrase", SECRET, "The passphrase of the private key, if the key is encrypted."),
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
        "Whether clients are asked for a certificate. With `required`, clients without one are refused; \
        with `optional`, they are accepted. A certificate that is not valid, or was not issued by one of \
        `client_authorities`, is refused in both cases. The certificate's subject is shown in the record of \
        the connection.",
    ),
    Field::optional(
        "client_authorities",
        TEXT,
        "A PEM file with the certificates of the authorities that issue client certificates; it may also \
        contain client certificates themselves. Read at the start. Relative to this file.",
    ),
]);

pub(super) static LIMITS: Group = Group::of(&[
    Field::preset(
        "buffers",
        SIZE,
        "256MiB",
        "Memory for the buffers of all running transfers. At least 16MiB. A large file needs no more than a \
        small one; with less memory, fewer files are transferred at the same time.",
    ),
    Field::preset(
        "deliveries",
        Kind::Integer { min: 1, max: 4096 },
        "32",
        "The highest number of deliveries that run on this node at the same time, but for those of worker pools \
        (`[worker_pool.NAME]`); one endpoint gets three quarters of them at most, unless its `throttle` says \
        otherwise.",
    ),
    Field::preset(
        "stagings",
        Kind::Integer { min: 1, max: 4096 },
        "16",
        "The highest number of files that this node reads from sources at the same time.",
    ),
    Field::preset(
        "connections",
        Kind::Integer { min: 8, max: 65_536 },
        "1024",
        "The highest number of connections to each listen address at the same time. For a further one, the \
        connection that has been idle longest is closed; if all are in use, the new one is closed. If the \
        system allows too few open files, the number is lower, because this node needs some for its own \
        work.",
    ),
    Field::preset(
        "connections_per_client",
        Kind::Integer { min: 2, max: 65_536 },
        "256",
        "The highest number of connections from one client to each listen address at the same time. A \
        client is an IPv4 address or the /64 network of an IPv6 address. For trusted proxies, the limit \
        counts the simultaneous requests of each client behind them.",
    ),
]);

pub(super) static ROOTS: Group = Group::of(&[
    Field::optional(
        "files",
        LIST,
        "Directories that `file` endpoints may use, with all directories below them. Archive and error \
        directories must be below them too. Relative to this file.",
    ),
    Field::optional(
        "variables",
        LIST,
        "Environment variables that definitions may use as `${env:NAME}` in any field. Their values are \
        visible to users, so list only variables without secrets, such as host names and directories.",
    ),
    Field::optional(
        "secret_variables",
        LIST,
        "Environment variables that definitions may use as `${env:NAME}` in fields for secrets only: \
        passwords, passphrases, private keys.",
    ),
    Field::optional(
        "secrets",
        LIST,
        "Directories whose files definitions may use as `${file:/path}`, with all directories below them. \
        Such references are allowed in fields for secrets, certificates and host keys. Relative to this \
        file.",
    ),
    Field::optional(
        "ssh_agent",
        TEXT,
        "The socket of an SSH agent, such as `/run/waybill/agent.sock` or `${env:SSH_AUTH_SOCK}`. With it, \
        SFTP endpoints may log in with the agent's keys (option `agent`): every user with the \
        permission to change endpoints can then log in with these keys to any server. Left out, no endpoint may. The agent is never forwarded \
        to a server. Relative to this file.",
    ),
]);

pub(super) static SECRETS: Group = Group::of(&[Field::optional(
    "master_key",
    Kind::List(&Kind::Table(&MASTER_KEY)),
    "The keys that encrypt the passwords, passphrases and private keys of definitions in the database. The \
    first (newest) one encrypts; all of them decrypt. Without a master key, secrets in definitions must be \
    references (`${file:…}`, `${env:…}`). Example: `master_key = [{ id = \"2026\", key = \
    \"${file:/etc/waybill/master.key}\" }]`. All nodes need the same keys.",
)]);

pub(super) static MASTER_KEY: Group = Group::of(&[
    Field::required(
        "id",
        TEXT,
        "The key's name in the database: 1 to 64 letters, digits, '.', '_' or '-'. A new key needs a new id.",
    ),
    Field::required(
        "key",
        SECRET,
        "A reference to 32 bytes in base64, `${file:/path}` or `${env:NAME}`. `waybill key generate` \
        creates such a key.",
    ),
]);

pub(super) static EGRESS: Group = Group::of(&[
    Field::optional(
        "allow",
        LIST,
        "Networks that Waybill may connect to although they are refused by default (link-local and cloud \
        metadata addresses), such as `169.254.10.0/24` or a single address.",
    ),
    Field::preset(
        "allow_loopback",
        BOOL,
        "false",
        "Whether endpoints may use loopback addresses, that is, servers on this machine.",
    ),
]);

pub(super) static NETWORK: Group = Group::of(&[Field::optional(
    "proxy",
    Kind::Table(&PROXY),
    "The proxy for outgoing connections, such as `proxy = { url = \"http://proxy.acme.example:3128\" }`. An \
    endpoint may use another one, or `\"none\"` to connect directly. The proxy may be on this machine, \
    whatever `egress` says. If an endpoint's URL contains an address, `egress` applies to it behind the \
    proxy as well; host names are looked up by the proxy, and its own rules apply. The database, syslog and \
    DNS are not reached through the proxy.",
)]);

pub(super) static AUDIT: Group = Group::of(&[
    Field::preset(
        "retention_months",
        Kind::Integer { min: 0, max: 1200 },
        "0",
        "How many whole months audit events are kept; 0 keeps them without limit. Only sealed events are \
        removed, and their seals stay.",
    ),
    Field::preset("seal_every", DURATION, "1m", "How often new events are sealed. 1s to 1d."),
    Field::optional(
        "seal_file",
        TEXT,
        "A file to which each new seal is appended as one line of JSON, for `audit verify --seals`. Put it \
        where the database's administrators cannot write, and make it append-only. Relative to this file.",
    ),
    Field::optional(
        "seal_syslog",
        TEXT,
        "A syslog server to which each new seal is sent (RFC 5424): \"udp://HOST:514\", \"tcp://HOST:601\" \
        or \"unix:/dev/log\". The rules of `egress` apply.",
    ),
    Field::optional(
        "timestamp_url",
        TEXT,
        "A time-stamping authority (RFC 3161) that stamps the newest seal, such as \
        \"http://tsa.example/tsr\". It receives only the seal's digest. The rules of `egress` apply; https \
        uses the system's certificate authorities.",
    ),
    Field::optional(
        "timestamp_certificates",
        TEXT,
        "A PEM file with the certificates of the authority that signs the time stamps; needed with \
        `timestamp_url`. Keep this file: `audit verify` needs it as well. Read at the start. Relative to \
        this file.",
    ),
    Field::preset(
        "timestamp_every",
        DURATION,
        "1m",
        "The shortest time between two time stamps; each one covers all earlier seals. 1s to 1d.",
    ),
]);

pub(super) static LOG: Group = Group::of(&[
    Field::preset(
        "format",
        Kind::Choice(&["text", "json"]),
        "text",
        "`text` for people, or `json` with one object per line.",
    ),
    Field::preset(
        "level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "The lowest level that is written; `RUST_LOG` overrides it. From libraries, whose debug lines may \
        contain headers and passwords, only warnings and errors are written, whatever the level is.",
    ),
]);
