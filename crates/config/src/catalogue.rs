//! What the transports of this build can be told, as plain data.
//!
//! The binary knows every transport and hands this in, so that documents are checked, and the
//! reference page is written, from each transport's own declaration.

use model::OptionSpec;
use model::definition::{Endpoint, Flow};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// All transports of this build, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(BTreeMap<&'static str, TransportSpec>);

/// Checks an endpoint further than its options' types can, without any I/O.
pub type EndpointCheck = Arc<dyn Fn(&Endpoint) -> model::Result<()> + Send + Sync>;

/// Checks what a flow asks of an endpoint that it polls, without any I/O.
pub type FlowCheck = Arc<dyn Fn(&Endpoint, &Flow) -> model::Result<()> + Send + Sync>;

/// One transport.
#[derive(Clone)]
pub struct TransportSpec {
    /// Its name in an endpoint's `transport`.
    pub name: &'static str,
    /// URL schemes that an endpoint may have; empty when it takes no URL.
    pub schemes: &'static [&'static str],
    /// The options that an endpoint may set.
    pub options: &'static [OptionSpec],
    /// What its endpoints can be used for.
    pub roles: Roles,
    /// Whether an endpoint stands between a partner and one of our identities, and needs both.
    pub partnership: bool,
    /// The transport's own check.
    pub check: EndpointCheck,
    /// The transport's own check of flows that poll its endpoints.
    pub check_flow: FlowCheck,
}

/// What endpoints of a transport can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// A flow may poll them.
    pub source: bool,
    /// A flow may deliver to them.
    pub destination: bool,
    /// A flow may receive by the transport.
    pub listener: bool,
}

impl fmt::Debug for TransportSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportSpec")
            .field("name", &self.name)
            .field("schemes", &self.schemes)
            .field("roles", &self.roles)
            .field("partnership", &self.partnership)
            .finish_non_exhaustive()
    }
}

impl FromIterator<TransportSpec> for Catalogue {
    fn from_iter<T: IntoIterator<Item = TransportSpec>>(transports: T) -> Self {
        Self(transports.into_iter().map(|transport| (transport.name, transport)).collect())
    }
}

impl Catalogue {
    /// The transport of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TransportSpec> {
        self.0.get(name)
    }

    /// All transports, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TransportSpec> + Clone {
        self.0.values()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + '_ {
        self.0.keys().copied()
    }
}

/// What the directories in a URL of a scheme are relative to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Directories {
    /// On this machine: absolute, and only below the allowed roots.
    Host,
    /// The login directory; `//` begins an absolute path.
    Login,
    /// The server's root.
    Server,
    /// There are none.
    None,
}

impl Directories {
    /// A URL's own scheme says it: the same for every transport that takes the scheme.
    pub(crate) fn of(scheme: &str) -> Self {
        match scheme {
            "file" => Self::Host,
            "sftp" | "ftp" | "ftps" => Self::Login,
            "dav" | "davs" | "webdav" | "webdavs" | "http" | "https" => Self::Server,
            _ => Self::None,
        }
    }
}

/// The registered port of a scheme, so that `sftp://host` and `sftp://host:22` are one place.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "sftp" => Some(22),
        "ftp" => Some(21),
        "ftps" => Some(990),
        "http" | "dav" | "webdav" => Some(80),
        "https" | "davs" | "webdavs" => Some(443),
        _ => None,
    }
}

/// Whether each poll of such a place opens a connection of its own.
pub(crate) fn connects_per_poll(scheme: &str) -> bool {
    matches!(scheme, "sftp" | "ftp" | "ftps" | "imap" | "imaps" | "pop3" | "pop3s")
}
