//! The transports of this build, as they declare themselves.
//!
//! The binary knows every transport and hands this in, so that documents are checked, and the reference page and the
//! JSON Schema are written, from each transport's own declaration.

use crate::sections::SECTIONS;
use model::definition::{KeyDefinition, PublicKey};
use model::schema::{Section, SectionSpec, TransportSpec};
use model::{CertificateExchangeFormat, Declaration, HostKeyFormat, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// All transports of this build, by name.
#[derive(Clone, Default)]
pub struct Catalogue(BTreeMap<&'static str, Arc<dyn Declaration>>);

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<Arc<dyn Declaration>> for Catalogue {
    fn from_iter<T: IntoIterator<Item = Arc<dyn Declaration>>>(transports: T) -> Self {
        Self(transports.into_iter().map(|transport| (transport.spec().name, transport)).collect())
    }
}

impl Catalogue {
    /// The transport of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'static TransportSpec> {
        self.declaration(name).map(|transport| transport.spec())
    }

    pub(crate) fn declaration(&self, name: &str) -> Option<&dyn Declaration> {
        self.0.get(name).map(|transport| &**transport)
    }

    pub(crate) fn declarations(&self) -> impl Iterator<Item = &dyn Declaration> {
        self.0.values().map(|transport| &**transport)
    }

    /// The public half of a key in OpenSSH's form; `None` if no transport uses such keys. Blocks for as long as decrypting
    /// the key takes.
    ///
    /// # Errors
    /// The key cannot be read, or is none that SSH has.
    pub fn public_key(&self, key: &KeyDefinition) -> Option<Result<PublicKey>> {
        self.declarations().find_map(|transport| transport.public_key(key))
    }

    /// How lines of the list of known hosts are read, by the transport whose servers show host keys; `None` if this build has
    /// no such transport.
    #[must_use]
    pub fn host_keys(&self) -> Option<(&'static TransportSpec, &dyn HostKeyFormat)> {
        self.declarations().find_map(|transport| Some((transport.spec(), transport.host_keys()?)))
    }

    /// How a transport writes messages about certificates; `None` if it cannot exchange them.
    #[must_use]
    pub fn certificate_exchange(&self, transport: &str) -> Option<&dyn CertificateExchangeFormat> {
        self.declaration(transport)?.certificate_exchange()
    }

    /// All transports, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static TransportSpec> + Clone {
        self.0.values().map(|transport| transport.spec())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + '_ {
        self.0.keys().copied()
    }

    /// Every kind of definition, each after those that it may name: Waybill's own, and those of transports.
    pub fn sections(&self) -> impl Iterator<Item = SectionSpec> + '_ {
        let material = SECTIONS.iter().filter(|spec| is_material(spec.section));
        let rest = SECTIONS.iter().filter(|spec| !is_material(spec.section));
        let own = self.iter().flat_map(|transport| transport.sections.iter());
        material.chain(own).chain(rest).copied()
    }
}

/// What everything else refers to.
fn is_material(section: Section) -> bool {
    [
        Section::CERTIFICATE,
        Section::KEY,
        Section::CREDENTIAL,
        Section::PROXY,
        Section::CALENDAR,
        Section::WORKER_POOL,
    ]
    .contains(&section)
}
