//! Process settings: `waybill.toml`, and the environment over it.
//!
//! They belong to the host's owner, so their own references may name any variable and any file (files, in
//! fields for secrets alone, as everywhere). A
//! variable `WAYBILL__SECTION__KEY` takes the place of the key `section.key`; lists in variables are
//! set apart by commas. Relative paths are relative to the file, wherever they are written.

mod database;
mod fields;
mod https;
mod master_keys;
mod network;
mod overrides;
mod timestamps;

pub use fields::SETTINGS;
pub use https::{HttpTls, TlsFiles};
pub use master_keys::MasterKey;
pub use network::Network;
pub use timestamps::Timestamps;

use self::database::{database_url, passwords_in_clear};
use self::https::http_server;
use crate::check::read_proxy;
use crate::context::Context;
use crate::environment::Environment;
use crate::problem::{Place, Problem, any_error};
use crate::reader::Reader;
use crate::roots::{Roots, plain};
use crate::tree;
use model::{NodeName, Proxy, Secret, SyslogTarget};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The settings of the process, which are read when it starts. Paths are absolute.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: NodeName,
    /// How long its claims hold without renewal.
    pub lease: Duration,
    /// Journal, seal key, lock.
    pub state_directory: PathBuf,
    /// The database.
    pub database: Database,
    /// Where payloads are staged.
    pub staging: Staging,
    /// Addresses to listen on.
    pub listen: Listen,
    /// How much Waybill does at the same time.
    pub limits: Limits,
    /// What definitions may reach.
    pub roots: Roots,
    /// What encrypts secrets of definitions, the newest first.
    pub master_keys: Vec<MasterKey>,
    /// Which addresses may be dialled.
    pub egress: Egress,
    /// The proxy of connections whose endpoints name none.
    pub proxy: Option<Arc<Proxy>>,
    /// The audit record.
    pub audit: Audit,
    /// The process log.
    pub log: Log,
}

/// The database's URL.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://…`, or `sqlite://` and an absolute path. A secret, for it may hold a password.
    pub url: Secret<String>,
    /// Whether PostgreSQL has indexes for searching text.
    pub text_search_indexes: bool,
}

/// Staging.
#[derive(Clone, Debug)]
pub struct Staging {
    /// Its directory.
    pub directory: PathBuf,
    /// Bytes it leaves free.
    pub min_free: u64,
}

/// Addresses to listen on.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Console and API.
    pub console: SocketAddr,
    /// Where people reach the console, when that is another address: `http` or `https`, and no path.
    pub console_url: Option<Url>,
    /// Whether connections to the console begin with a PROXY header.
    pub console_proxy_protocol: bool,
    /// HTTP servers by name.
    pub http: BTreeMap<String, HttpListener>,
    /// Proxies whose word about their clients is believed.
    pub trusted_proxies: Vec<Network>,
    /// Which header they write.
    pub proxy_header: ProxyHeader,
}

/// An HTTP server.
#[derive(Clone, Debug)]
pub struct HttpListener {
    /// Where it listens: one address at least.
    pub addresses: Vec<SocketAddr>,
    /// Whether connections to it begin with a PROXY header.
    pub proxy_protocol: bool,
    /// TLS, or none.
    pub tls: Option<HttpTls>,
}

/// A header by which proxies tell their clients' addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// Whichever is there.
    Either,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How much Waybill does at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory for buffers.
    pub buffers: u64,
    /// Deliveries at once.
    pub deliveries: usize,
    /// Files taken at once.
    pub stagings: usize,
    /// Connections of each listen address at once.
    pub connections: usize,
    /// The same of one client.
    pub connections_per_client: usize,
}

/// Which addresses may be dialled.
#[derive(Clone, Debug)]
pub struct Egress {
    /// Networks allowed although refused by default.
    pub allow: Vec<Network>,
    /// Whether loopback addresses are allowed.
    pub allow_loopback: bool,
}

/// The audit record.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Months that events are kept; `None` for no limit.
    pub retention_months: Option<u32>,
    /// Time between two seals.
    pub seal_every: Duration,
    /// A file that each seal is appended to.
    pub seal_file: Option<PathBuf>,
    /// A syslog server that each seal is sent to.
    pub seal_syslog: Option<SyslogTarget>,
    /// Who stamps seals with the time.
    pub timestamps: Option<Timestamps>,
    /// Certificates (PEM) that time stamps are checked with.
    pub timestamp_certificates: Option<PathBuf>,
}

/// The process log.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// The least important line written: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Most that a settings file holds, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

impl Settings {
    /// Reads the settings file, if there is one, and the variables over it. `variables` are the process's
    /// own, of which those named `WAYBILL__…` count; the second part of the answer holds warnings.
    ///
    /// # Errors
    /// Every error found, and the warnings.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        environment: &dyn Environment,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let Some(path) = file else {
            return Self::parse(Path::new("waybill.toml"), b"", variables, environment);
        };
        match environment.read(path, LARGEST_FILE) {
            Ok(found) => {
                let open = found.readable_by_all.then(|| passwords_in_clear(path, &found.bytes));
                let (settings, mut problems) = Self::parse(path, &found.bytes, variables, environment)?;
                for key in open.unwrap_or_default() {
                    let place = Place::whole(&path.display().to_string().into());
                    let message = format!(
                        "contains a password that every user of this machine can read; put it into a file \
                        and write ${{file:/path}} instead, or prevent reading with: chmod o-r {}",
                        path.display()
                    );
                    problems.push(Problem::warning(&place, key, message));
                }
                Ok((settings, problems))
            }
            Err(error) => {
                let place = Place::whole(&path.display().to_string().into());
                Err(vec![Problem::error(&place, "", format!("cannot be read: {error}"))])
            }
        }
    }

    /// As [`Settings::load`], of text that stands for the file at `path`.
    ///
    /// # Errors
    /// Every error found, and the warnings.
    pub fn parse(
        path: &Path,
        text: &[u8],
        variables: impl IntoIterator<Item = (String, String)>,
        environment: &dyn Environment,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let file: Arc<str> = path.display().to_string().into();
        let (mut table, mut problems) = tree::parse(&file, text);
        if any_error(&problems) {
            return Err(problems);
        }
        overrides::apply(&mut table, variables, &mut problems);
        let roots = Roots::unbounded();
        let context = Context::new(&roots, environment);
        let place = Place::whole(&file);
        let reader = Reader::of(&context, &place, &table, String::new(), &SETTINGS);
        let base = path.parent().unwrap_or(Path::new(""));
        let mut settings = read(&reader, base);
        if let (Some(settings), Some(name)) = (&mut settings, path.file_name()) {
            settings.roots.own.push(beside(base, &name.to_string_lossy()));
        }
        problems.append(&mut context.into_problems());
        problems.sort();
        match settings {
            Some(settings) if !any_error(&problems) => Ok((settings, problems)),
            _ => Err(problems),
        }
    }
}

/// `None` only with a problem told.
fn read(all: &Reader<'_>, base: &Path) -> Option<Settings> {
    let [node, database, staging, listen] = ["node", "database", "staging", "listen"].map(|n| all.section(n));
    let [limits, roots, egress, audit, log] =
        ["limits", "roots", "egress", "audit", "log"].map(|name| all.section(name));
    let state_directory = beside(base, &all.text_or_default("state_directory")?);
    let name = parsed(&node, "name", |text| text.parse::<NodeName>());
    let lease = within(&node, "lease", 5..=600);
    let url = database_url(&database, base, &state_directory);
    let directory = staging
        .text("directory")
        .map_or_else(|| state_directory.join("staging"), |text| beside(base, &text.value));
    let console = parsed(&listen, "console", address);
    let console_url = listen.has("console_url").then(|| parsed(&listen, "console_url", origin));
    let trusted_proxies = networks(&listen, "trusted_proxies");
    let by_proxies_alone = |section: &Reader<'_>, name: &str| {
        let asked = section.flag(name);
        if asked && !listen.has("trusted_proxies") {
            let advice =
                "allows only trusted proxies to connect, but none is set: set listen.trusted_proxies";
            section.error(name, advice);
        }
        asked
    };
    let console_proxy_protocol = by_proxies_alone(&listen, "console_proxy_protocol");
    let mut http = BTreeMap::new();
    for (name, listener) in listen.named("http") {
        let proxy_protocol = by_proxies_alone(&listener, "proxy_protocol");
        if let Some(listener) = http_server(&listener, base, proxy_protocol) {
            http.insert(name.to_owned(), listener);
        }
    }
    let buffers = limits.size("buffers")?;
    if buffers < 16 << 20 {
        limits
            .error("buffers", "must be at least \"16MiB\": with less, one transfer of each kind cannot run");
    }
    let number = |name: &str| limits.integer(name).and_then(|n| usize::try_from(n).ok());
    let seal_every = within(&audit, "seal_every", 1..=86_400);
    let seal_syslog =
        audit.has("seal_syslog").then(|| parsed(&audit, "seal_syslog", |text| text.parse::<SyslogTarget>()));
    let timestamp_certificates = audit.text("timestamp_certificates").map(|text| beside(base, &text.value));
    let timestamps = timestamps::timestamps(&audit, timestamp_certificates.as_ref());
    let mut roots = read_roots(&roots, base);
    roots.own = vec![state_directory.clone(), directory.clone()];
    let master_keys = master_keys::read(&all.section("secrets"));
    roots.inline_secrets = !master_keys.is_empty();
    let allow = networks(&egress, "allow");
    let network = all.section("network");
    let proxy = network.has("proxy").then(|| network.child("proxy").and_then(|proxy| read_proxy(&proxy)));
    let levels = ["error", "warn", "info", "debug", "trace"];
    let retention = audit.integer("retention_months").and_then(|months| u32::try_from(months).ok())?;
    Some(Settings {
        node: name?,
        lease: lease?,
        database: Database { url: url?, text_search_indexes: database.flag("text_search_indexes") },
        staging: Staging { directory, min_free: staging.size("min_free")? },
        listen: Listen {
            console: console?,
            console_url: console_url.map_or(Some(None), |url| url.map(Some))?,
            console_proxy_protocol,
            http,
            trusted_proxies,
            proxy_header: listen.word("proxy_header", |word| {
                Some(match word {
                    "forwarded" => ProxyHeader::Forwarded,
                    "x-forwarded-for" => ProxyHeader::XForwardedFor,
                    _ => ProxyHeader::Either,
                })
            })?,
        },
        limits: Limits {
            buffers,
            deliveries: number("deliveries")?,
            stagings: number("stagings")?,
            connections: number("connections")?,
            connections_per_client: number("connections_per_client")?,
        },
        roots,
        master_keys,
        egress: Egress { allow, allow_loopback: egress.flag("allow_loopback") },
        proxy: proxy.map_or(Some(None), |proxy| proxy.map(|proxy| Some(Arc::new(proxy))))?,
        audit: Audit {
            retention_months: (retention > 0).then_some(retention),
            seal_every: seal_every?,
            seal_file: audit.text("seal_file").map(|text| beside(base, &text.value)),
            seal_syslog: seal_syslog.map_or(Some(None), |target| target.map(Some))?,
            timestamps: timestamps?,
            timestamp_certificates,
        },
        log: Log {
            format: log.word("format", |word| {
                Some(if word == "json" { LogFormat::Json } else { LogFormat::Text })
            })?,
            level: log.word("level", |word| levels.into_iter().find(|level| *level == word))?,
        },
        state_directory,
    })
}

fn parsed<T>(reader: &Reader<'_>, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = reader.text_or_default(name)?;
    parse(&text).map_err(|message| reader.error(name, message)).ok()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "must be an IP address and a port, such as \"127.0.0.1:8420\" or \"[::1]:8420\", not {text:?}"
        )
    })
}

/// A URL of scheme, host and port alone.
fn origin(text: &str) -> Result<Url, String> {
    let wrong =
        |why: &str| format!("must be a URL such as \"https://waybill.acme.example\", not {text:?}: {why}");
    let url = server_url(text).map_err(|why| wrong(&why))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("write only scheme, host and port: the console is at the root of its host"));
    }
    Ok(url)
}

/// A URL of a web server; else what is wrong with it.
fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it must begin with http:// or https:// and a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user or password".to_owned());
    }
    Ok(url)
}

fn within(reader: &Reader<'_>, name: &str, seconds: std::ops::RangeInclusive<u64>) -> Option<Duration> {
    let duration = reader.duration(name)?;
    let (least, most) = (Duration::from_secs(*seconds.start()), Duration::from_secs(*seconds.end()));
    if (least..=most).contains(&duration) {
        return Some(duration);
    }
    reader.error(name, format!("must be {}s to {}s", least.as_secs(), most.as_secs()));
    None
}

/// A path as the settings write it: relative to their file, absolute from here on.
fn beside(base: &Path, path: &str) -> PathBuf {
    let path = base.join(path);
    without_parents(&std::path::absolute(&path).unwrap_or(path))
}

fn read_roots(reader: &Reader<'_>, base: &Path) -> Roots {
    let paths = |name: &str| -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for text in reader.list(name) {
            match plain(&beside(base, &text.value)) {
                Ok(path) => paths.push(path),
                Err(message) => reader.context.error(text.place, &reader.key(name), message),
            }
        }
        paths
    };
    let names = |name: &str| reader.list(name).into_iter().map(|text| text.value);
    let mut roots = Roots::new(paths("files"), names("variables"), paths("secrets"));
    roots.secret_variables = names("secret_variables").collect();
    roots.ssh_agent = reader.text("ssh_agent").map(|text| beside(base, &text.value));
    if let Some(both) = roots.secret_variables.iter().find(|name| roots.variables.contains(*name)) {
        reader.error(
            "secret_variables",
            format!("contains {both}, which is in roots.variables as well, where every field may use it; remove it there"),
        );
    }
    roots
}

/// Takes `..` out by the words of the path alone: the owner may write it, and roots are compared.
fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn networks(section: &Reader<'_>, name: &str) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.list(name) {
        match text.value.parse() {
            Ok(network) => networks.push(network),
            Err(message) => section.context.error(text.place, &section.key(name), message),
        }
    }
    networks
}

#[cfg(test)]
mod tests;
