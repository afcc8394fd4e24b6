//! Endpoints: transport, URL, who logs in, options.

use super::Checker;
use super::directory::Directory;
use super::proxy;
use crate::catalogue::{Directories, TransportSpec, default_port};
use crate::context::suggestion;
use crate::field::Section;
use crate::reader::{Reader, value_of};
use crate::reference::is_reference;
use crate::tree::Value;
use model::definition::Endpoint;
use model::{OptionKind, OptionSpec, OptionValue, Options, Secret};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use url::Url;

/// What flows need to know of an endpoint, also of one with an error elsewhere.
#[derive(Clone)]
pub(super) struct EndpointFacts<'a> {
    pub(super) transport: &'a TransportSpec,
    pub(super) location: Option<Location>,
}

/// A directory on some machine.
#[derive(Clone)]
pub(super) struct Location {
    /// The same for endpoints that lead to the same server and login.
    pub(super) site: String,
    pub(super) scheme: String,
    pub(super) directories: Directories,
    pub(super) directory: Directory,
    /// The one node whose disk it is on.
    pub(super) node: Option<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn endpoints(&mut self) {
        for (name, reader) in self.section(Section::Endpoint) {
            let errors = self.context.error_count();
            let partner = self.name_in(&reader, "partner", Section::Partner);
            let identity = self.name_in(&reader, "identity", Section::Identity);
            let node = reader.text("node").and_then(|text| {
                model::NodeName::try_from(text.value).map_err(|message| reader.error("node", message)).ok()
            });
            let node = node.map(String::from);
            let Some(transport) = reader.text("transport") else { continue };
            let Some(spec) = self.catalogue.get(&transport.value) else {
                let near = suggestion(&transport.value, self.catalogue.names());
                reader.error("transport", format!("there is no transport '{}'{near}", transport.written));
                continue;
            };
            between(&reader, spec);
            self.signs_alike(&reader, partner.as_deref(), identity.as_deref());
            let login = self.login(&reader, spec);
            let url = self.url(&reader, spec);
            let location =
                url.as_ref().and_then(|url| locate(spec, url, login.username.as_deref(), node.clone()));
            self.endpoints.insert(name.to_owned(), EndpointFacts { transport: spec, location });
            let Some(options) = options(&reader, spec, login.options) else { continue };
            self.named_in_options(&reader, &options);
            let endpoint = Endpoint {
                name: name.to_owned(),
                transport: spec.name.to_owned(),
                url,
                username: login.username,
                partner,
                identity,
                node,
                options,
            };
            if self.context.error_count() > errors {
                continue;
            }
            match (spec.check)(&endpoint) {
                Ok(()) => {
                    self.definitions.endpoints.insert(name.to_owned(), Arc::new(endpoint));
                }
                Err(error) => reader.context.error(reader.place, &reader.path, error.to_string()),
            }
        }
    }

    /// A message that goes out again must be the same to the last byte: only RSA signs so.
    fn signs_alike(&self, reader: &Reader<'a>, partner: Option<&str>, identity: Option<&str>) {
        let partner = partner.and_then(|name| self.definitions.partners.get(name));
        let identity = identity.and_then(|name| self.definitions.identities.get(name));
        let (Some(partner), Some(identity)) = (partner, identity) else { return };
        let rsa = self.key_facts.get(&identity.key).is_none_or(|facts| facts.is_rsa);
        if partner.agreement.send_security.signs() && !rsa {
            reader.error(
                "identity",
                format!(
                    "signs what is sent to '{}' by key '{}', which is not RSA: its signatures differ each time, so \
                     that a message could not be repeated unchanged; give '{}' an RSA key",
                    partner.name, identity.key, identity.name
                ),
            );
        }
    }

    /// User, and options that a named credential and key bring.
    fn login(&self, reader: &Reader<'a>, spec: &TransportSpec) -> Login {
        let mut login =
            Login { username: reader.text("username").map(|text| text.value), options: Vec::new() };
        if let Some(name) = self.name_in(reader, "credential", Section::Credential) {
            if reader.has("username") {
                reader.error("credential", "brings its own user; leave 'username' out");
            }
            let credential = self.definitions.credentials.get(&name);
            if let (Some(option), Some(credential)) =
                (brought(reader, spec, "credential", "password"), credential)
            {
                login.username = Some(credential.username.clone());
                login.options.push((option, credential.password.clone()));
            }
        }
        if let Some(name) = self.name_in(reader, "key", Section::Key) {
            let key = self.definitions.keys.get(&name);
            if let (Some(option), Some(key)) = (brought(reader, spec, "key", "private_key"), key) {
                login.options.push((option, key.private_key.clone()));
                if let Some(words) = &key.passphrase
                    && let Some(option) = brought(reader, spec, "key", "passphrase")
                {
                    login.options.push((option, words.clone()));
                }
            }
        }
        login
    }

    /// What connection options name must be there.
    fn named_in_options(&self, reader: &Reader<'a>, options: &Options) {
        let named = [
            ("proxy", Section::Proxy, options.text("proxy").into_iter().collect()),
            ("tls_client_key", Section::Key, options.text("tls_client_key").into_iter().collect()),
            (
                "trust_authorities",
                Section::Certificate,
                options.list("trust_authorities").iter().map(String::as_str).collect::<Vec<_>>(),
            ),
        ];
        for (option, section, names) in named {
            for name in names {
                let known = self.index.get(&section).is_some_and(|all| all.contains_key(name));
                if known || (section == Section::Proxy && matches!(name, "" | proxy::NONE)) {
                    continue;
                }
                let near = suggestion(name, self.names(section));
                let message = format!("there is no {} '{name}'{near}", section.as_str());
                let place = reader.entry("options").map_or(reader.place, |entry| &entry.node.place);
                reader.context.error(place, &crate::tree::join(&reader.key("options"), option), message);
            }
        }
        let key = options.text("tls_client_key").and_then(|name| Some((name, self.key_facts.get(name)?)));
        if let Some((name, facts)) = key
            && !facts.has_certificate
        {
            let message =
                format!("key '{name}' has no certificate to show: give [key.{name}] its 'certificate'");
            reader.error("options", message);
        }
    }

    fn url(&self, reader: &Reader<'a>, spec: &TransportSpec) -> Option<Url> {
        let Some(text) = reader.text("url") else {
            if !spec.schemes.is_empty() && !reader.has("url") {
                let message = format!("'url' is missing: transport '{}' needs {}", spec.name, schemes(spec));
                reader.context.error(reader.place, &reader.path, message);
            }
            return None;
        };
        let wrong = |message: String| {
            reader.error("url", message);
            None
        };
        if spec.schemes.is_empty() {
            return wrong(format!("transport '{}' takes no URL", spec.name));
        }
        if text.value.chars().any(char::is_control) {
            // Reading a URL drops line ends and tabs without a word, and leads elsewhere.
            return wrong("has a line end or another control character".into());
        }
        let url = match Url::parse(&text.value) {
            Ok(url) => url,
            // The text may hold a password, so that the reason alone is shown.
            Err(error) => return wrong(format!("is no URL: {error}; write {}", schemes(spec))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong(
                "holds a user or password; write username = \"…\", and the password as the option 'password' or by \
                 credential = \"NAME\""
                    .into(),
            );
        }
        if let Some(name) = secret_in_query(&url).filter(|_| !is_reference(text.written)) {
            let advice = format!(
                "has '{name}' behind its '?', which looks like a secret: the document, its copies and the database show it \
                 to every reader; keep it in a variable and write ${{env:NAME}} in its place"
            );
            reader.warning("url", advice);
        }
        if !spec.schemes.contains(&url.scheme()) {
            let other = self.catalogue.iter().find(|other| other.schemes.contains(&url.scheme()));
            let hint = match other {
                Some(other) => format!("; {}:// belongs to transport = \"{}\"", url.scheme(), other.name),
                None => suggestion(url.scheme(), spec.schemes.iter().copied()),
            };
            let message =
                format!("transport '{}' takes {}, not {}://{hint}", spec.name, schemes(spec), url.scheme());
            return wrong(message);
        }
        let directories = Directories::of(url.scheme());
        if url.scheme() == "file" {
            self.local(reader, &url, &text.value)?;
        } else if url.host_str().is_none_or(str::is_empty) {
            return wrong("names no host".into());
        }
        if directories != Directories::None && climbs(&text.value) {
            return wrong("contains '..'; write the directory that it leads to".into());
        }
        let plain = matches!(directories, Directories::Host | Directories::Login);
        if url.fragment().is_some() || plain && url.query().is_some() {
            return wrong("has '?' or '#'; in a directory's name write %3F and %23".into());
        }
        Some(url)
    }

    /// A folder on this machine must lie below the allowed roots.
    fn local(&self, reader: &Reader<'a>, url: &Url, written: &str) -> Option<()> {
        let checked = if !written.starts_with("file:///") {
            Err("write file:///absolute/path, with three slashes".to_owned())
        } else if climbs(written) {
            // The URL's own reading has taken the `..` away already.
            Err("contains '..'; write the directory that it leads to".to_owned())
        } else {
            url.to_file_path()
                .map_err(|()| "is no path of this machine".to_owned())
                .and_then(|path| self.context.roots.folder(&path))
        };
        checked.map_err(|message| reader.error("url", message)).ok()
    }
}

/// Who logs in.
struct Login {
    username: Option<String>,
    options: Vec<(&'static OptionSpec, Secret<String>)>,
}

/// The option that a named definition fills; none when the transport has no such option, or when it is
/// written as well.
fn brought(
    reader: &Reader<'_>,
    spec: &TransportSpec,
    field: &str,
    name: &'static str,
) -> Option<&'static OptionSpec> {
    let option = spec.options.iter().find(|option| option.name == name && option.kind == OptionKind::Secret);
    if option.is_none() {
        reader.error(field, format!("transport '{}' takes no {name}", spec.name));
    }
    let written = match reader.entry("options").map(|entry| &entry.node.value) {
        Some(Value::Table(options)) => options.contains_key(name),
        _ => false,
    };
    if written {
        reader.error(field, format!("brings the option '{name}'; leave one of the two out"));
        return None;
    }
    option
}

/// A partnership needs both sides; anything else has none.
fn between(reader: &Reader<'_>, spec: &TransportSpec) {
    for (field, words) in [("partner", "the partner on the other side"), ("identity", "our own side")] {
        if spec.partnership && !reader.has(field) {
            let message = format!("'{field}' is missing: transport '{}' needs {words}", spec.name);
            reader.context.error(reader.place, &reader.path, message);
        } else if !spec.partnership && reader.has(field) {
            reader.error(field, format!("transport '{}' has no {field}", spec.name));
        }
    }
}

/// The options written, those brought, and the defaults of the rest. `None` with a problem told.
fn options(
    reader: &Reader<'_>,
    spec: &TransportSpec,
    brought: Vec<(&'static OptionSpec, Secret<String>)>,
) -> Option<Options> {
    let mut options = match Options::defaults(spec.options) {
        Ok(options) => options,
        Err(message) => {
            reader.error("options", message);
            return None;
        }
    };
    let path = reader.key("options");
    let empty = crate::tree::Table::new();
    let written = match reader.entry("options").map(|entry| &entry.node.value) {
        None => &empty,
        Some(Value::Table(table)) => table,
        Some(other) => {
            reader.error("options", format!("takes a table, not {}", other.describe()));
            return None;
        }
    };
    for (name, entry) in written {
        let Some(option) = spec.options.iter().find(|option| option.name == name) else {
            let near = suggestion(name, spec.options.iter().map(|option| option.name));
            let message = format!("transport '{}' has no option '{name}'{near}", spec.name);
            reader.context.error(&entry.key, &path, message);
            continue;
        };
        let key = crate::tree::join(&path, name);
        if let Some(value) = value_of(reader.context, &entry.node, &key, option.kind) {
            options.set(option, value);
        }
    }
    for option in spec.options.iter().filter(|option| option.required) {
        let given = written.contains_key(option.name) || brought.iter().any(|(o, _)| o.name == option.name);
        if !given {
            let message = format!("option '{}' is missing: transport '{}' needs it", option.name, spec.name);
            let place = reader.entry("options").map_or(reader.place, |entry| &entry.key);
            reader.context.error(place, &path, message);
        }
    }
    for (option, secret) in brought {
        options.set(option, OptionValue::Secret(secret));
    }
    Some(options)
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
    let schemes: Vec<String> = spec.schemes.iter().map(|scheme| format!("{scheme}://…")).collect();
    schemes.join(" or ")
}

/// Whether a URL as written has a `..` among the parts of its path, encoded or not.
fn climbs(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|part| percent_decode_str(part).collect::<Vec<u8>>() == b"..")
}

fn locate(spec: &TransportSpec, url: &Url, username: Option<&str>, node: Option<String>) -> Option<Location> {
    let directories = Directories::of(url.scheme());
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let directory = match directories {
        Directories::None => return None,
        Directories::Host | Directories::Server => Directory::new(true, &path),
        Directories::Login => Directory::new(path.starts_with("//"), &path),
    };
    let port = url.port().or_else(|| default_port(url.scheme()));
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let user = if directories == Directories::Login { username.unwrap_or_default() } else { "" };
    let site = format!("{}//{user}@{host}:{port:?}", spec.name);
    Some(Location { site, scheme: url.scheme().to_owned(), directories, directory, node })
}
