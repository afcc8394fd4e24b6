//! Endpoints and listeners: where files are fetched, delivered and received.

use super::Throttle;
use crate::schema::Values;
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
    /// What its transport declares for endpoints, defaults filled in.
    pub options: Values,
}

/// One of an endpoint's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointUrl {
    /// The address.
    pub url: Url,
    /// Its share of the use, from 1 to 1,000.
    pub weight: u32,
}

impl Endpoint {
    /// Its first address.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.urls.first().map(|address| &address.url)
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
