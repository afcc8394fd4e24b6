//! Which handler answers a request.

use super::Handler;
use crate::ServerCertificate;
use crate::connection::lock;
use ::http::header::HOST;
use ::http::{HeaderMap, Uri};
use model::{Error, ErrorKind, Protocol, Purpose, Result};
use std::sync::{Arc, Mutex};

/// The requests that a route answers, and the data for the records of connections whose first request it gets.
#[derive(Clone, Debug)]
pub struct Route {
    /// The host, without port, in any case; with `None` the route answers for all hosts without a route of their own.
    pub host: Option<String>,
    /// The path and everything below it, by whole segments: `/as2` answers for `/as2` and `/as2/x`, not for `/as2x`.
    /// Compared as sent, without decoding. `/` answers for everything.
    pub path: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The purpose.
    pub purpose: Purpose,
    /// The endpoint of these connections.
    pub endpoint: Option<String>,
    /// The certificate for clients that request the route's host or a name in the certificate; only for a server with
    /// TLS. Without one, clients get the server's own certificate.
    pub certificate: Option<ServerCertificate>,
}

/// The routes of one address.
#[derive(Default)]
pub(super) struct Routes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// Best match first: named hosts before any host, longer paths before shorter ones.
    entries: Vec<Arc<Registered>>,
    /// The data for recording a connection without a request: those of the first route ever registered.
    first: Option<(Protocol, Purpose)>,
}

pub(super) struct Registered {
    id: u64,
    pub(super) route: Route,
    pub(super) handler: Arc<dyn Handler>,
}

impl Routes {
    /// # Errors
    /// `ConfigInvalid`: the path does not begin with `/`. `AlreadyExists`: there is a route with this host and path.
    pub(super) fn add(&self, mut route: Route, handler: Arc<dyn Handler>) -> Result<u64> {
        if !route.path.starts_with('/') {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "register a route")
                .with("path", &route.path)
                .advice("begin the path with '/'"));
        }
        route.path.truncate(route.path.trim_end_matches('/').len());
        route.host = route.host.map(|host| host.to_ascii_lowercase());
        let mut table = lock(&self.table);
        if table.entries.iter().any(|e| e.route.host == route.host && e.route.path == route.path) {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "register a route")
                .with("host", route.host.as_deref().unwrap_or("any"))
                .with("path", if route.path.is_empty() { "/" } else { &route.path })
                .advice("two listeners have the same host and path: change one of them"));
        }
        table.first.get_or_insert((route.protocol, route.purpose));
        let id = table.next;
        table.next += 1;
        table.entries.push(Arc::new(Registered { id, route, handler }));
        table.entries.sort_by_key(|e| (e.route.host.is_none(), std::cmp::Reverse(e.route.path.len())));
        Ok(id)
    }

    /// Removes a route; true if no route is left.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut table = lock(&self.table);
        table.entries.retain(|entry| entry.id != id);
        table.entries.is_empty()
    }

    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<Arc<Registered>> {
        let table = lock(&self.table);
        table
            .entries
            .iter()
            .find(|entry| {
                let route = &entry.route;
                route
                    .host
                    .as_deref()
                    .is_none_or(|own| host.is_some_and(|host| host.eq_ignore_ascii_case(own)))
                    && path.strip_prefix(&route.path).is_some_and(|r| r.is_empty() || r.starts_with('/'))
            })
            .cloned()
    }

    /// Whether only pages are served here, so that every client is a browser.
    pub(super) fn are_pages(&self) -> bool {
        lock(&self.table).entries.iter().all(|entry| entry.route.purpose == Purpose::Console)
    }

    /// All handlers of this address.
    pub(super) fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        lock(&self.table).entries.iter().map(|entry| Arc::clone(&entry.handler)).collect()
    }

    pub(super) fn default_use(&self) -> (Protocol, Purpose) {
        lock(&self.table).first.unwrap_or((Protocol::Http, Purpose::Receive))
    }
}

/// The host that a request names, with its port as sent: from an absolute URL, otherwise from the Host header (RFC
/// 9112, section 3.2).
pub(super) fn asked_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    }
}

/// A host without its port; an IPv6 address keeps its brackets.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn ports_are_cut_off_hosts() {
        for (host, name) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
