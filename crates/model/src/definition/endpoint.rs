//! Endpoints and listeners: where files are fetched, delivered and received.

use super::Throttle;
use crate::connection::words;
use crate::schema::{TransportSpec, Values, joined};
use crate::shown_path::shown_path;
use crate::{Error, ErrorKind, Result};
use std::time::Duration;
use url::Url;

/// A configured remote or local place.
#[derive(Clone, PartialEq, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// The transport that speaks to it, such as `sftp`.
    pub transport: String,
    /// Where it is, without user or password; several for places that hold the same.
    pub urls: Vec<EndpointUrl>,
    /// The node that may use it, for a folder that is not shared.
    pub node: Option<String>,
    /// The worker pool of its deliveries; `None`: that of their flow.
    pub pool: Option<String>,
    /// How much of it is used.
    pub throttle: Throttle,
    /// Which of several addresses a delivery tries first.
    pub balance: Balance,
    /// When failures take it, or one of several addresses, offline; `None` for never.
    pub offline: Option<OfflineRule>,
    /// What its transport declares for endpoints, defaults filled in.
    pub options: Values,
}

words! {
    /// Which of several addresses a delivery tries first.
    Balance {
        /// Each in turn.
        RoundRobin = "round_robin",
        /// Any.
        Random = "random",
        /// Any, by their weights.
        Weighted = "weighted",
        /// The first that is not offline, in the order in which they are written.
        Failover = "failover",
        /// The one that took a file last, until it fails.
        None = "none",
    }
}

/// When failures take an endpoint or address offline, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfflineRule {
    /// The number of failures in a row.
    pub after: u32,
    /// How long it stays offline each time; `None` for times that grow.
    pub lasts: Option<Duration>,
}

impl Default for OfflineRule {
    /// After five failures, for a time that grows.
    fn default() -> Self {
        Self { after: 5, lasts: None }
    }
}

/// One of an endpoint's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointUrl {
    /// The address.
    pub url: Url,
    /// Its share of the use, from 1 to 1,000.
    pub weight: u32,
}

impl EndpointUrl {
    /// The address without a query and whatever else may be a secret, for receipts, events and errors.
    #[must_use]
    pub fn shown(&self) -> String {
        let url = &self.url;
        // A path without a host is written with an empty one (RFC 8089, section 2).
        let without = if url.cannot_be_a_base() { "" } else { "//" };
        let host = url.host_str().map_or_else(
            || without.to_owned(),
            |host| {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("//{host}{port}")
            },
        );
        let query = if url.query().is_some() { "?…" } else { "" };
        format!("{}:{host}{}{query}", url.scheme(), shown_path(url.path()))
    }
}

impl Endpoint {
    /// An endpoint of which nothing is known but its address; all else is as the transport has it by default.
    ///
    /// # Errors
    /// `ConfigInvalid`: the address is no URL.
    pub fn bare(name: &str, url: &str, spec: &TransportSpec) -> Result<Self> {
        let url = Url::parse(url).map_err(|error| {
            Error::permanent(ErrorKind::ConfigInvalid, "read an address").with("url", url).caused_by(error)
        })?;
        let (fields, _) = joined(spec.endpoint);
        let options = Values::defaults(&fields).map_err(|reason| {
            Error::permanent(ErrorKind::Internal, "use a transport's defaults")
                .with("transport", spec.name)
                .with("reason", reason)
        })?;
        Ok(Self {
            name: name.to_owned(),
            transport: spec.name.to_owned(),
            urls: vec![EndpointUrl { url, weight: 1 }],
            node: None,
            pool: None,
            throttle: Throttle::default(),
            balance: Balance::Failover,
            offline: None,
            options,
        })
    }

    /// The same endpoint with one of its addresses alone, as transports see it.
    #[must_use]
    pub fn at(&self, address: usize) -> Self {
        let urls = self.urls.get(address).cloned().into_iter().collect();
        Self { urls, ..self.clone() }
    }

    /// Its first address.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.urls.first().map(|address| &address.url)
    }

    /// Whether a URL leads to the server of this endpoint's first address: the same scheme, host and port. By another scheme
    /// it would be reached without TLS.
    #[must_use]
    pub fn is_at_server_of(&self, url: &str) -> bool {
        let server = |url: &Url| {
            let host = url.host_str()?.to_ascii_lowercase();
            Some((url.scheme().to_owned(), host, url.port_or_known_default()))
        };
        let other = Url::parse(url).ok();
        let other = other.as_ref().and_then(server);
        other.is_some() && other == self.url().and_then(server)
    }

    /// The partner on the other side, where the transport knows partners.
    #[must_use]
    pub fn partner(&self) -> Option<&str> {
        self.options.text("partner")
    }
}

/// An address at which partners send files to us.
#[derive(Clone, PartialEq, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The transport that it speaks, such as `as2`.
    pub transport: String,
    /// What its transport declares for listeners, defaults filled in.
    pub options: Values,
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, EndpointUrl};
    use crate::schema::TransportSpec;

    #[test]
    fn a_url_is_at_the_server_of_an_endpoint_by_its_scheme_host_and_port() {
        const SPEC: TransportSpec = TransportSpec::new("as2", "For a test.");
        let endpoint = Endpoint::bare("globex", "https://AS2.globex.example/in", &SPEC).unwrap();
        for (url, expected) in [
            ("https://as2.globex.example:443/mdn", true),
            ("https://as2.globex.example:8443/mdn", false),
            ("http://as2.globex.example:443/mdn", false),
            ("http://as2.globex.example/in", false),
            ("https://mdn.globex.example/in", false),
            ("not a url", false),
            ("mailto:as2@globex.example", false),
        ] {
            assert_eq!(endpoint.is_at_server_of(url), expected, "{url}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        let shown = |url: &str| EndpointUrl { url: url.parse().unwrap(), weight: 1 }.shown();
        assert_eq!(shown("https://h.example/in?token=hunter2"), "https://h.example/in?…");
        assert_eq!(shown("sftp://h:2222//abs/dir"), "sftp://h:2222//abs/dir");
        assert_eq!(shown(&format!("https://h/{}/x", "a1-_".repeat(12))), "https://h/…/x");
        assert_eq!(shown("file:///srv/out"), "file:///srv/out");
        assert_eq!(shown("fake:a"), "fake:a");
    }
}
