//! What a transport says of itself, once.

use super::{Field, Group, Kind, Rule, Section, SectionSpec};

/// A transport as data: names, addresses, roles, and the fields of each place where a person may say something to it.
#[derive(Clone, Copy, Debug)]
pub struct TransportSpec {
    /// Its name in `transport = "…"`.
    pub name: &'static str,
    /// What it is, in one sentence for the reference page.
    pub doc: &'static str,
    /// The schemes that an endpoint's URL may have; none when an endpoint takes no URL.
    pub schemes: &'static [Scheme],
    /// What its endpoints and listeners can be used for.
    pub roles: Roles,
    /// Fields of `[endpoint.NAME]`.
    pub endpoint: &'static [&'static Group],
    /// Fields of a flow's source that polls its endpoints.
    pub source: &'static [&'static Group],
    /// Fields of a flow's source that receives by its listeners.
    pub received: &'static [&'static Group],
    /// Fields of a flow's destination.
    pub destination: &'static [&'static Group],
    /// Fields of `[listener.NAME]`.
    pub listener: &'static [&'static Group],
    /// Fields of `[partner.NAME.TRANSPORT]`: what was agreed with a partner that speaks it.
    pub partner: Option<&'static Group>,
    /// Fields of `[identity.NAME.TRANSPORT]`: who we are to partners that speak it.
    pub identity: Option<&'static Group>,
    /// Kinds of definitions that only this transport refers to.
    pub sections: &'static [SectionSpec],
    /// Whether its destinations send a file with its attachments, in one message.
    pub sends_attachments: bool,
}

impl TransportSpec {
    /// A transport without addresses, roles and fields, to be filled in by its own declaration.
    #[must_use]
    pub const fn new(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            schemes: &[],
            roles: Roles { source: false, destination: false, listener: false },
            endpoint: &[],
            source: &[],
            received: &[],
            destination: &[],
            listener: &[],
            partner: None,
            identity: None,
            sections: &[],
            sends_attachments: false,
        }
    }

    /// The scheme of a URL, when the transport takes it.
    #[must_use]
    pub fn scheme(&self, name: &str) -> Option<&'static Scheme> {
        self.schemes.iter().find(|scheme| scheme.name == name)
    }

    /// The fields of its endpoints that name other endpoints: those through which an endpoint is reached.
    pub fn ways(&self) -> impl Iterator<Item = &'static str> {
        let fields = self.endpoint.iter().flat_map(|group| group.fields);
        fields.filter(|field| matches!(field.kind, Kind::Name(Section::ENDPOINT))).map(|field| field.name)
    }
}

/// The fields and rules of several groups, in order.
#[must_use]
pub fn joined(groups: &[&Group]) -> (Vec<Field>, Vec<Rule>) {
    let fields = groups.iter().flat_map(|group| group.fields.iter().copied()).collect();
    let rules = groups.iter().flat_map(|group| group.rules.iter().copied()).collect();
    (fields, rules)
}

/// A URL scheme that a transport takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scheme {
    /// Its name, such as `sftp`.
    pub name: &'static str,
    /// Its registered port, so that `sftp://host` and `sftp://host:22` are one place; `None` when it has none.
    pub port: Option<u16>,
    /// What the directories in its URLs are relative to.
    pub paths: Paths,
    /// Whether each poll of such a place opens a connection of its own.
    pub connects_per_poll: bool,
}

/// What the directories in a URL are relative to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paths {
    /// On this machine: absolute, and only below the roots that the host's owner allows.
    Host,
    /// The login directory; `//` begins an absolute path.
    Login,
    /// The server's root.
    Server,
    /// There are no directories.
    None,
    /// There is no host either: the URL is an address, as in `mailto:`.
    Address,
}

/// What endpoints and listeners of a transport can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// A flow may poll its endpoints.
    pub source: bool,
    /// A flow may deliver to its endpoints.
    pub destination: bool,
    /// A flow may receive by its listeners.
    pub listener: bool,
}
