//! Endpoints: addresses, logins, and what each transport declares.

use super::Checker;
use super::location::Location;
use super::throttle::throttle;
use crate::context::suggestion;
use crate::reader::{Declared, Reader, Text, text_of};
use crate::reference::is_reference;
use crate::sections::ENDPOINT;
use crate::tree::{Entry, Node, Value as Written};
use model::definition::{Balance, Endpoint, EndpointUrl, OfflineRule};
use model::schema::{Kind, Paths, Section, TransportSpec, Value, Values};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use url::Url;

/// What flows need to know of an endpoint, also of one with an error elsewhere.
#[derive(Clone)]
pub(super) struct EndpointFacts {
    pub(super) transport: &'static TransportSpec,
    /// Where it is, by each of its addresses.
    pub(super) locations: Vec<Location>,
    /// How many connections it may have, where that is written.
    pub(super) connections: Option<i64>,
    /// The endpoint, when its fields could be read.
    pub(super) read: Option<Arc<Endpoint>>,
}

impl<'a> Checker<'a> {
    pub(super) fn endpoints(&mut self) {
        for (name, entry) in self.written(Section::ENDPOINT) {
            let errors = self.context.error_count();
            let Some(spec) = self.transport_of(Section::ENDPOINT, name, entry) else { continue };
            let groups = std::iter::once(&ENDPOINT).chain(spec.endpoint.iter().copied());
            let Some(reader) = self.open(Section::ENDPOINT, name, entry, Declared::joined(groups)) else {
                continue;
            };
            let node = reader.text("node").and_then(|text| {
                model::NodeName::try_from(text.value).map_err(|message| reader.error("node", message)).ok()
            });
            let node = node.map(String::from);
            let (fields, _) = model::schema::joined(spec.endpoint);
            let options = reader.values(&fields);
            let declares = |name: &str| fields.iter().any(|field| field.name == name);
            let written = declares("connections") && reader.has("connections");
            let connections = if written { reader.integer("connections") } else { None };
            let (pool, throttle) = (self.pool(&reader, connections), throttle(&reader, connections));
            let urls = self.urls(&reader, spec);
            let username = options.as_ref().and_then(|options| self.username(options));
            let locations = urls.iter().map(|address| &address.url);
            let locations = locations
                .filter_map(|url| Location::of(spec, url, username.as_deref(), node.clone()))
                .collect();
            let (balance, offline) = (balance(&reader, &urls), offline(&reader));
            let has_fields = reader.is_complete() && (reader.has("url") || spec.schemes.is_empty());
            let read = options.filter(|_| has_fields).map(|options| {
                let (name, transport) = (name.to_owned(), spec.name.to_owned());
                let throttle = throttle.unwrap_or_default();
                Arc::new(Endpoint { name, transport, urls, node, pool, throttle, balance, offline, options })
            });
            let facts = EndpointFacts { transport: spec, locations, connections, read: read.clone() };
            self.endpoints.insert(name.to_owned(), facts);
            let Some(endpoint) = read else { continue };
            // Each address by itself, as the transport sees it later.
            for address in 0..endpoint.urls.len().max(1) {
                let alone = endpoint.at(address);
                self.ask(spec.name, (Section::ENDPOINT, name), "", |own, findings| {
                    own.check_endpoint(&alone, &self.definitions, findings);
                });
            }
            if self.context.error_count() == errors {
                self.definitions.endpoints.insert(name.to_owned(), endpoint);
            }
        }
    }

    /// The transport that a definition names.
    pub(super) fn transport_of(
        &self,
        section: Section,
        name: &str,
        entry: &Entry,
    ) -> Option<&'static TransportSpec> {
        let path = crate::tree::join(section.as_str(), name);
        let Written::Table(table) = &entry.node.value else {
            let message = format!("must be a table, not {}", entry.node.value.describe());
            self.context.error(&entry.node.place, &path, message);
            return None;
        };
        let key = crate::tree::join(&path, "transport");
        let Some(written) = table.get("transport") else {
            let message = "'transport' is missing: the name of its transport, such as \"sftp\"";
            self.context.error(&entry.key, &path, message);
            return None;
        };
        let text = text_of(self.context, &written.node, &key, Kind::Text)?;
        if is_reference(text.written) {
            // Which fields there are, and which of them are secrets, must not depend on where the document is read.
            let message = "cannot be a reference, because it decides which other fields are allowed; write the \
                transport's name";
            self.context.error(text.place, &key, message);
            return None;
        }
        let spec = self.catalogue.get(&text.value);
        if spec.is_none() {
            let near = suggestion(&text.value, self.catalogue.names());
            let message = format!("there is no transport '{}'{near}", text.written);
            self.context.error(text.place, &key, message);
        }
        spec
    }

    /// Who logs in: written, or of the credential that is named.
    fn username(&self, options: &Values) -> Option<String> {
        if let Some(name) = options.text("username") {
            return Some(name.to_owned());
        }
        let credential = self.definitions.credentials.get(options.text("credential")?)?;
        Some(credential.username.clone())
    }

    /// The addresses; those with an error are left out.
    fn urls(&self, reader: &Reader<'a>, spec: &TransportSpec) -> Vec<EndpointUrl> {
        let Some(entry) = reader.entry("url") else {
            if !spec.schemes.is_empty() {
                let message = format!("'url' is missing: transport '{}' needs {}", spec.name, schemes(spec));
                reader.context.error(reader.place, &reader.path, message);
            }
            return Vec::new();
        };
        // The forms and their keys; what the addresses themselves say is checked below.
        if reader.value("url").is_none() {
            return Vec::new();
        }
        let alone = std::slice::from_ref(&entry.node);
        let nodes: &[Node] = if let Written::List(items) = &entry.node.value { items } else { alone };
        if nodes.is_empty() {
            reader.error("url", "contains no address");
        }
        nodes.iter().filter_map(|node| self.address(reader, spec, node)).collect()
    }

    fn address(&self, reader: &Reader<'a>, spec: &TransportSpec, node: &'a Node) -> Option<EndpointUrl> {
        let key = reader.key("url");
        let (node, weight) = match &node.value {
            Written::Table(table) => {
                let weight = match table.get("weight").map(|entry| &entry.node.value) {
                    // Its bounds were checked when the table was read.
                    Some(Written::Integer(weight)) => u32::try_from(*weight).unwrap_or(1),
                    Some(Written::Text(text) | Written::Word(text)) => {
                        let resolved = self.context.resolve_quietly(text);
                        resolved.and_then(|weight| weight.parse().ok()).unwrap_or(1)
                    }
                    _ => 1,
                };
                (&table.get("url")?.node, weight)
            }
            _ => (node, 1),
        };
        let text = text_of(self.context, node, &key, Kind::Text)?;
        let url = self.url(reader, spec, &text)?;
        Some(EndpointUrl { url, weight })
    }

    fn url(&self, reader: &Reader<'a>, spec: &TransportSpec, text: &Text<'_>) -> Option<Url> {
        let wrong = |message: String| {
            self.context.error(text.place, &reader.key("url"), message);
            None
        };
        if spec.schemes.is_empty() {
            return wrong(format!("transport '{}' has no URL", spec.name));
        }
        if text.value.chars().any(char::is_control) {
            // Reading a URL drops line ends and tabs without a word, and leads elsewhere.
            return wrong("has a line end or another control character".into());
        }
        let url = match Url::parse(&text.value) {
            Ok(url) => url,
            // The text may hold a password, so that the reason alone is shown.
            Err(error) => return wrong(format!("is not a URL: {error}; write {}", schemes(spec))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong(
                "contains a user or password; write username = \"…\" and password = \"…\", or credential = \
                \"NAME\""
                    .into(),
            );
        }
        if let Some(name) = secret_in_query(&url).filter(|_| !is_reference(text.written)) {
            let advice = format!(
                "has '{name}' after the '?', which looks like a secret: everyone who can read the document, \
                its copies or the database sees it; put the value into a variable and write ${{env:NAME}} \
                instead"
            );
            reader.warning("url", advice);
        }
        let Some(scheme) = spec.scheme(url.scheme()) else {
            let other = self.catalogue.iter().find(|other| other.scheme(url.scheme()).is_some());
            let hint = match other {
                Some(other) => format!("; {}:// belongs to transport = \"{}\"", url.scheme(), other.name),
                None => suggestion(url.scheme(), spec.schemes.iter().map(|scheme| scheme.name)),
            };
            let message =
                format!("transport '{}' needs {}, not {}://{hint}", spec.name, schemes(spec), url.scheme());
            return wrong(message);
        };
        if scheme.paths == Paths::Host {
            self.local(&url, &text.value).map_err(wrong).ok()?;
        } else if scheme.paths == Paths::Address {
            if url.path().is_empty() {
                return wrong("has no address".into());
            }
        } else if url.host_str().is_none_or(str::is_empty) {
            return wrong("has no host".into());
        }
        if !matches!(scheme.paths, Paths::None | Paths::Address) && climbs(&text.value) {
            return wrong("contains '..'; write the directory without it".into());
        }
        let plain = matches!(scheme.paths, Paths::Host | Paths::Login);
        if url.fragment().is_some() || plain && url.query().is_some() {
            return wrong("has '?' or '#'; in a directory's name write %3F and %23".into());
        }
        Some(url)
    }

    /// A folder on this machine must lie below the allowed roots.
    fn local(&self, url: &Url, written: &str) -> Result<(), String> {
        let after_scheme = written.get(url.scheme().len()..).unwrap_or_default();
        if !after_scheme.starts_with(":///") {
            return Err(format!("write {}:///absolute/path, with three slashes", url.scheme()));
        }
        if climbs(written) {
            // The URL's own reading has taken the `..` away already.
            return Err("contains '..'; write the directory without it".to_owned());
        }
        let path = url.to_file_path().map_err(|()| "is not a path of this machine".to_owned())?;
        self.context.roots.folder(&path)
    }
}

/// Which address is tried first.
fn balance(reader: &Reader<'_>, urls: &[EndpointUrl]) -> Balance {
    let balance = reader.word("balance", Balance::parse).unwrap_or(Balance::RoundRobin);
    if reader.has("balance") && urls.len() == 1 {
        reader.warning("balance", "has no effect: there is one address only");
    }
    if balance != Balance::Weighted && urls.iter().any(|address| address.weight > 1) {
        reader.warning("url", "has a 'weight', which has no effect without balance = \"weighted\"");
    }
    for (at, address) in urls.iter().enumerate() {
        if urls[..at].iter().any(|other| other.url == address.url) {
            reader.warning("url", format!("has {} twice", address.shown()));
        }
    }
    balance
}

/// When failures take it offline.
fn offline(reader: &Reader<'_>) -> Option<OfflineRule> {
    let usual = OfflineRule::default();
    match reader.value("offline") {
        Some(Value::Bool(_)) => None,
        Some(Value::Table(table)) => {
            let after = table.integer("after").and_then(|after| u32::try_from(after).ok());
            Some(OfflineRule { after: after.unwrap_or(usual.after), lasts: table.duration("for") })
        }
        _ => Some(usual),
    }
}

/// The first name in a URL's query that people give to what lets somebody in.
fn secret_in_query(url: &Url) -> Option<String> {
    const MARKS: [&str; 8] = ["token", "passw", "pwd", "secret", "apikey", "api_key", "api-key", "signature"];
    let names = url.query_pairs().map(|(name, _)| name.to_ascii_lowercase());
    names.into_iter().find(|name| {
        matches!(name.as_str(), "key" | "sig" | "auth" | "code" | "pass")
            || MARKS.iter().any(|mark| name.contains(mark))
    })
}

fn schemes(spec: &TransportSpec) -> String {
    let schemes: Vec<String> = spec.schemes.iter().map(|scheme| format!("{}://…", scheme.name)).collect();
    schemes.join(" or ")
}

/// Whether a URL as written has a `..` among the parts of its path, encoded or not.
fn climbs(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|part| percent_decode_str(part).collect::<Vec<u8>>() == b"..")
}
