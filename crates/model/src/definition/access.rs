//! What decides whether two endpoints share connections.

use super::{CertificateDefinition, Credential, Definitions, Endpoint, KeyDefinition, ProxyDefinition};
use crate::schema::{Value, Values};
use std::sync::Arc;

/// How deep endpoints lead to others (a jump host behind a jump host).
const DEEPEST: usize = 8;

/// The way to a server and the account there: two endpoints with the same one share connections, whatever their
/// directories are. It contains everything that a connection is made with, also what the endpoint names (credential, key,
/// certificates, proxy), so that a changed password is a way of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Access {
    server: String,
    options: Values,
    named: Vec<Named>,
}

/// A definition that an endpoint names.
#[derive(Clone, PartialEq, Debug)]
enum Named {
    Certificate(Arc<CertificateDefinition>),
    Credential(Arc<Credential>),
    Key(Arc<KeyDefinition>),
    Proxy(Arc<ProxyDefinition>),
    /// Another endpoint on the way.
    Endpoint(Box<Access>),
}

impl Access {
    /// The way to an endpoint, by its first address, with what it names in these definitions.
    #[must_use]
    pub fn of(endpoint: &Endpoint, definitions: &Definitions) -> Self {
        Self::within(endpoint, definitions, DEEPEST)
    }

    /// The server: scheme, host and port. Empty for a place on this machine, which nothing leads to over a network.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    fn within(endpoint: &Endpoint, definitions: &Definitions, depth: usize) -> Self {
        let server = endpoint.url().and_then(|url| {
            let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
            let port = url.port_or_known_default().or(usual_port(url.scheme()));
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}://{host}{port}", url.scheme()))
        });
        let mut named = Vec::new();
        for (_, value) in endpoint.options.iter() {
            add_named(value, definitions, depth, &mut named);
        }
        Self { server: server.unwrap_or_default(), options: endpoint.options.clone(), named }
    }
}

/// The port of schemes that the URL standard does not know, so that a port that is written out makes no difference.
fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "sftp" => Some(22),
        "ftps" => Some(990),
        "dav" => Some(80),
        "davs" => Some(443),
        _ => None,
    }
}

/// Adds what the texts in a value name. A text that is no name but happens to be one only adds what need not be there.
fn add_named(value: &Value, definitions: &Definitions, depth: usize, named: &mut Vec<Named>) {
    let of_table = |table: &Values, named: &mut Vec<Named>| {
        for (_, value) in table.iter() {
            add_named(value, definitions, depth, named);
        }
    };
    match value {
        Value::Text(text) => {
            named.extend(definitions.certificates.get(text).cloned().map(Named::Certificate));
            named.extend(definitions.credentials.get(text).cloned().map(Named::Credential));
            named.extend(definitions.keys.get(text).cloned().map(Named::Key));
            named.extend(definitions.proxies.get(text).cloned().map(Named::Proxy));
            if let (Some(endpoint), Some(depth)) = (definitions.endpoints.get(text), depth.checked_sub(1)) {
                named.push(Named::Endpoint(Box::new(Access::within(endpoint, definitions, depth))));
            }
        }
        Value::List(items) => items.iter().for_each(|item| add_named(item, definitions, depth, named)),
        Value::Table(table) => of_table(table, named),
        Value::Map(map) => map.values().for_each(|value| add_named(value, definitions, depth, named)),
        _ => {}
    }
}
