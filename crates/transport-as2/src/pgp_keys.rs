//! OpenPGP keys of both parties, read once for a revision of the definitions, and chosen as S/MIME's are (`material`).

use crate::agreement::{Identity, Partner};
use crate::choice::Dated;
use crate::read_once::once;
use model::definition::Definitions;
use model::{Error, ErrorKind, Result, Timestamp};
use pgp_mime::{OwnKey, PartnerKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Those of one revision of the definitions, each read when it is first asked for.
#[derive(Default)]
pub(crate) struct PgpKeys {
    own: Mutex<BTreeMap<String, Arc<OwnKey>>>,
    partners: Mutex<BTreeMap<String, Arc<PartnerKey>>>,
}

impl PgpKeys {
    fn own(&self, definitions: &Definitions, identity: &Identity, name: &str) -> Result<Arc<OwnKey>> {
        once(&self.own, name, || {
            let definition = definitions.key(name)?;
            let passphrase = definition.passphrase.as_ref().map(|words| words.reveal().as_str());
            OwnKey::read(definition.private_key.reveal(), passphrase).map_err(|error| {
                Error::permanent(ErrorKind::ConfigInvalid, "read our OpenPGP key")
                    .with("identity", &identity.name)
                    .with("key", name)
                    .advice("check the key's armoured text (gpg --export-secret-keys --armor) and passphrase")
                    .caused_by(error)
            })
        })
    }

    fn partner(&self, definitions: &Definitions, partner: &Partner, name: &str) -> Result<Arc<PartnerKey>> {
        once(&self.partners, name, || {
            PartnerKey::read(&definitions.certificate(name)?.pem).map_err(|error| {
                Error::permanent(ErrorKind::ConfigInvalid, "read a partner's OpenPGP key")
                    .with("partner", &partner.name)
                    .with("certificate", name)
                    .advice("check its armoured text (gpg --export --armor)")
                    .caused_by(error)
            })
        })
    }

    /// The key that signs now, with its name.
    ///
    /// # Errors
    /// `ConfigInvalid`: none does, or one cannot be read.
    pub(crate) fn signing(
        &self,
        definitions: &Definitions,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(String, Arc<OwnKey>)> {
        let read = |dated: &Dated| Ok((dated.name.clone(), self.own(definitions, identity, &dated.name)?));
        let all = identity.pgp_keys.sending(now).into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let at = system_time(now);
        all.into_iter().find(|(_, own)| own.can_sign(at)).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the OpenPGP key that signs now")
                .with("identity", &identity.name)
                .with("keys", names(identity.pgp_keys.names()))
                .advice(
                    "give the identity an OpenPGP key (pgp_keys) whose time has begun and is not over (from, until), that \
                    signs (uses), and that has neither expired nor been revoked",
                )
        })
    }

    /// The keys that decrypt now.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn decrypting(
        &self,
        definitions: &Definitions,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Vec<Arc<OwnKey>>> {
        let read = |dated: &Dated| self.own(definitions, identity, &dated.name);
        identity.pgp_keys.reading(now).into_iter().map(read).collect()
    }

    /// The key that messages to a partner are encrypted for now, with its name.
    ///
    /// # Errors
    /// `ConfigInvalid`: there is none, or one cannot be read.
    pub(crate) fn encrypting(
        &self,
        definitions: &Definitions,
        partner: &Partner,
        now: Timestamp,
    ) -> Result<(String, Arc<PartnerKey>)> {
        let keys = &partner.agreement.pgp_keys;
        let read = |dated: &Dated| Ok((dated.name.clone(), self.partner(definitions, partner, &dated.name)?));
        let all = keys.sending(now).into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let at = system_time(now);
        all.into_iter().find(|(_, found)| found.can_encrypt(at)).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the OpenPGP key to encrypt for")
                .with("partner", &partner.name)
                .with("keys", names(keys.names()))
                .advice(
                    "add the OpenPGP key that the partner decrypts with now (pgp_keys; from, until, uses); one that has expired \
                    or been revoked is not used",
                )
        })
    }

    /// The keys that verify a partner's signatures now; those that are in force first.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn verifying_keys(
        &self,
        definitions: &Definitions,
        partner: &Partner,
        now: Timestamp,
    ) -> Result<Vec<Arc<PartnerKey>>> {
        let read = |dated: &Dated| self.partner(definitions, partner, &dated.name);
        partner.agreement.pgp_keys.reading(now).into_iter().map(read).collect()
    }
}

/// What a message was signed with and encrypted for, by the names of definitions. It is noted with the message: when that is sent,
/// other keys may be in force.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct PgpNames {
    pub(crate) signed_with: Option<String>,
    pub(crate) encrypted_for: Option<String>,
}

impl PgpNames {
    pub(crate) fn sent_with(&self) -> Vec<(&'static str, String)> {
        let signed = self.signed_with.clone().map(|name| ("sent_signed_with", name));
        let encrypted = self.encrypted_for.clone().map(|name| ("sent_encrypted_with", name));
        signed.into_iter().chain(encrypted).collect()
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A time as the `pgp_mime` crate has it.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}
