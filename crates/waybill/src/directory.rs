//! The definitions in force, as transports ask for them.

use model::definition::Definitions;
use model::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::watch;
use transport::{Directory, IdentityMaterial, PartnerMaterial};

/// Partners, identities and keys of whatever revision is in force when they are asked for.
pub(crate) struct InForce(pub(crate) watch::Receiver<Arc<Definitions>>);

impl Directory for InForce {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0.borrow())
    }

    fn partner(&self, name: &str) -> Result<PartnerMaterial> {
        let definitions = self.definitions();
        let partner = definitions.partners.get(name).ok_or_else(|| missing("partner", name))?;
        let certificates = partner.certificates.iter().map(|certificate| {
            let found = definitions.certificates.get(certificate);
            found.map(|c| c.pem.clone()).ok_or_else(|| missing("certificate", certificate))
        });
        Ok(PartnerMaterial {
            partner: Arc::clone(partner),
            certificates: certificates.collect::<Result<_>>()?,
        })
    }

    fn identity(&self, name: &str) -> Result<IdentityMaterial> {
        let definitions = self.definitions();
        let identity = definitions.identities.get(name).ok_or_else(|| missing("identity", name))?;
        let key = definitions.keys.get(&identity.key).ok_or_else(|| missing("key", &identity.key))?;
        Ok(IdentityMaterial {
            identity: Arc::clone(identity),
            private_key: key.private_key.clone(),
            passphrase: key.passphrase.clone(),
            certificate: key
                .certificate
                .clone()
                .ok_or_else(|| missing("certificate of key", &identity.key))?,
        })
    }
}

fn missing(what: &'static str, name: &str) -> Error {
    Error::permanent(ErrorKind::NotFound, "find a definition")
        .with(what, name)
        .advice("it is no longer defined; define it again, then retry")
}
