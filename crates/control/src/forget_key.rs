//! Giving up a master key that is lost.

use crate::secrets::ids;
use crate::{Caller, Control};
use model::{Error, ErrorKind, EventKind, Permission, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most fields that the audit event names.
const NAMED: usize = 20;

/// A master key to be forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForgetKey {
    /// Its id.
    pub key: String,
    /// Whether to do it; else what would be lost is listed.
    pub confirmed: bool,
}

/// What is lost with a master key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ForgottenKey {
    /// Its id.
    pub key: String,
    /// Whether it was done.
    pub forgotten: bool,
    /// Secrets that were encrypted with it, in all revisions.
    pub secrets: usize,
    /// The fields of the definitions in force whose secrets are to be written again.
    pub in_force: BTreeSet<String>,
    /// Fields that only earlier revisions have it in.
    pub earlier: BTreeSet<String>,
}

impl Control {
    /// Forgets a master key that is not in the settings, with every secret that is encrypted with it. The
    /// definitions in force that need one cannot be used then until it is written again.
    ///
    /// # Errors
    /// The caller may not manage secrets; no such key is known, or it is in the settings; the database failed.
    pub async fn forget_master_key(&self, caller: &Caller, request: &ForgetKey) -> Result<ForgottenKey> {
        caller.require(Permission::ManageSecrets)?;
        let failed = |kind| Error::permanent(kind, "forget a master key").with("key", &request.key);
        if self.0.master_keys.ids().contains(&request.key.as_str()) {
            return Err(failed(ErrorKind::ConfigInvalid).advice(
                "it is in secrets.master_key of waybill.toml, so nothing is lost: `waybill key rotate` goes over to \
                 the first key there",
            ));
        }
        let places = self.0.store.secrets_under(&request.key).await?.ok_or_else(|| {
            failed(ErrorKind::NotFound).advice("nothing in the database is encrypted with a key of this id")
        })?;
        let current = ids(&self.current().await?.definitions, self);
        let current: BTreeSet<&String> = current.values().collect();
        let (mut in_force, mut earlier) = (BTreeSet::new(), BTreeSet::new());
        for place in &places {
            let field = format!("{}.{}.{}", place.section, place.name, place.field);
            let set = if current.contains(&place.id.to_string()) { &mut in_force } else { &mut earlier };
            set.insert(field);
        }
        let earlier = &earlier - &in_force;
        if request.confirmed {
            let mut fields: Vec<&str> = in_force.iter().chain(&earlier).map(String::as_str).collect();
            let more = fields.len().saturating_sub(NAMED);
            fields.truncate(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let event = self
                .event(EventKind::MasterKeyForgotten)
                .by(caller.actor.clone())
                .detail("key", request.key.as_str())
                .detail("secrets", places.len())
                .detail("fields", fields.join(", ") + &more);
            self.0.store.forget_master_key(&request.key, vec![event]).await?;
        }
        let (key, forgotten, secrets) = (request.key.clone(), request.confirmed, places.len());
        Ok(ForgottenKey { key, forgotten, secrets, in_force, earlier })
    }
}
