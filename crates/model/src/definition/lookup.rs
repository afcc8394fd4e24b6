//! Definitions by their names, with an error for a person where one is gone.

use super::{CertificateDefinition, Definitions, Identity, KeyDefinition, Partner};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

fn find<'a, T>(map: &'a BTreeMap<String, Arc<T>>, what: &'static str, name: &str) -> Result<&'a Arc<T>> {
    map.get(name).ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "find a definition")
            .with(what, name)
            .advice("it is no longer defined; define it again, then retry")
    })
}

/// Each of them fails with `ConfigInvalid` when nothing of that name is defined.
#[allow(clippy::missing_errors_doc)]
impl Definitions {
    /// A partner.
    pub fn partner(&self, name: &str) -> Result<&Arc<Partner>> {
        find(&self.partners, "partner", name)
    }

    /// An identity of ours.
    pub fn identity(&self, name: &str) -> Result<&Arc<Identity>> {
        find(&self.identities, "identity", name)
    }

    /// A certificate.
    pub fn certificate(&self, name: &str) -> Result<&Arc<CertificateDefinition>> {
        find(&self.certificates, "certificate", name)
    }

    /// A key of ours.
    pub fn key(&self, name: &str) -> Result<&Arc<KeyDefinition>> {
        find(&self.keys, "key", name)
    }
}
