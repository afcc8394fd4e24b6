//! Secrets of definitions on their way into the database and back.

use crate::Control;
use crate::prepare::Stored;
use config::{Conflict, Documents, Held, Notice, Put, each_secret};
use model::{Error, ErrorKind, Result, Secret, StoredDefinition};
use std::collections::BTreeMap;
use store::{EncryptedSecret, MasterKeys, NewSecrets};
use uuid::Uuid;

/// Stored secrets by their ids: decrypted, or why they cannot be.
pub(crate) struct Opened {
    opened: BTreeMap<String, (EncryptedSecret, Secret<String>)>,
    failed: BTreeMap<String, EncryptedSecret>,
    keys: MasterKeys,
}

impl Opened {
    /// A secret, where it belongs: an id in another definition or field opens nothing.
    fn get(&self, definition: &str, field: &str, id: &str) -> Option<&str> {
        let (place, secret) = self.opened.get(id)?;
        (format!("{}.{}", place.section, place.name) == definition && place.field == field)
            .then(|| secret.reveal().as_str())
    }

    /// Why a secret is not there.
    fn why(&self, definition: &str, field: &str, id: &str) -> Error {
        let failed = self.failed.get(id).and_then(|secret| self.keys.decrypt(secret).err());
        let missing = || {
            Error::permanent(ErrorKind::IntegrityFailed, "find a stored secret")
                .advice("the database does not hold it for this field: enter it again")
        };
        failed.unwrap_or_else(missing).with("secret of", format_args!("{definition}.{field}"))
    }
}

/// The ids of secrets that definitions name, by definition and field.
pub(crate) fn ids(definitions: &[StoredDefinition], control: &Control) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for definition in definitions {
        let key = definition.key();
        each_secret(&mut definition.clone(), control.facts(), |field, held| {
            if let Held::Id(id) = held {
                found.insert((key.clone(), field.to_owned()), id.to_owned());
            }
            Put::Nothing
        });
    }
    found
}

/// Definitions whose literal secrets are encrypted, and what to write for it.
#[derive(Default)]
pub(crate) struct Hidden {
    pub(crate) secrets: NewSecrets,
    pub(crate) conflicts: Vec<Conflict>,
    /// Definitions that keep a stored secret, with the field.
    pub(crate) kept: BTreeMap<String, String>,
}

impl Control {
    /// Decrypts what definitions name, as far as the master keys of this host allow.
    pub(crate) async fn open_secrets(&self, definitions: &[StoredDefinition]) -> Result<Opened> {
        let wanted = ids(definitions, self);
        let wanted: Vec<Uuid> = wanted.values().filter_map(|id| id.parse().ok()).collect();
        let keys = self.0.master_keys.clone();
        let mut all = Opened { opened: BTreeMap::new(), failed: BTreeMap::new(), keys };
        if !wanted.is_empty() {
            for (id, secret) in self.0.store.secrets(&wanted).await? {
                match self.0.master_keys.decrypt(&secret) {
                    Ok(plain) => {
                        all.opened.insert(id.to_string(), (secret, plain));
                    }
                    Err(_) => {
                        all.failed.insert(id.to_string(), secret);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Stored definitions as documents that can be checked, their secrets put in.
    pub(crate) async fn open_documents(&self, definitions: &[StoredDefinition]) -> Result<Documents> {
        let opened = self.open_secrets(definitions).await?;
        let mut missing = None;
        let documents =
            Documents::from_definitions(definitions)?.with_kept(self.facts(), |definition, field, id| {
                let found = id.and_then(|id| opened.get(definition, field, id)).map(str::to_owned);
                if found.is_none() && missing.is_none() {
                    missing = Some(opened.why(definition, field, id.unwrap_or_default()));
                }
                found
            });
        missing.map_or(Ok(documents), Err)
    }

    /// What the definitions in force need of the master keys.
    ///
    /// # Errors
    /// `ConfigInvalid`: a key that a secret in force is encrypted with is missing, or a key is another one than that
    /// of its id. What only earlier revisions hold is a warning.
    pub async fn check_master_keys(&self) -> Result<Vec<String>> {
        let current = self.current().await?;
        let needed = ids(&current.definitions, self);
        let needed: Vec<Uuid> = needed.values().filter_map(|id| id.parse().ok()).collect();
        self.0.store.check_master_keys(&self.0.master_keys, &needed).await
    }

    /// Takes ids out of what people wrote: they name no secret by it, and so keep none of another place.
    pub(crate) fn refuse_ids(&self, new: &mut [StoredDefinition]) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for definition in new {
            let key = definition.key();
            each_secret(definition, self.facts(), |field, held| {
                if !matches!(held, Held::Id(_)) {
                    return Put::Nothing;
                }
                let message = "must be { kept = true }, not the id of a secret".to_owned();
                conflicts.push(Conflict { definition: key.clone(), field: field.to_owned(), message });
                Put::Kept
            });
        }
        conflicts
    }

    /// Encrypts the literal secrets of new definitions; one that is stored already stays as it is. `{ kept = true }`
    /// becomes what is stored. Ids are those that an import left.
    pub(crate) async fn hide_secrets(
        &self,
        new: &mut [StoredDefinition],
        current: &Stored,
        opened: &Opened,
    ) -> Result<Hidden> {
        let stored = ids(&current.definitions, self);
        let keys = self.0.master_keys.by_use(&self.0.store.master_keys_in_use().await?);
        let (mut hidden, mut failed) = (Hidden::default(), None);
        for definition in new.iter_mut() {
            let (section, name, key) =
                (definition.section.clone(), definition.name.clone(), definition.key());
            each_secret(definition, self.facts(), |field, held| {
                let known = stored.get(&(key.clone(), field.to_owned()));
                let plain = known.and_then(|id| opened.get(&key, field, id));
                let mut conflict = |message: String| {
                    hidden.conflicts.push(Conflict {
                        definition: key.clone(),
                        field: field.to_owned(),
                        message,
                    });
                    Put::Nothing
                };
                match (held, known) {
                    (Held::Kept | Held::Id(_), None) => conflict(
                        "is { kept = true }, but no secret is stored for this field: write the secret or a \
                        reference"
                            .to_owned(),
                    ),
                    (Held::Kept | Held::Id(_), Some(id)) if plain.is_none() => {
                        let why = opened.why(&key, field, id).chain();
                        conflict(format!(
                            "would be kept, but cannot be decrypted: write the secret again ({why})"
                        ))
                    }
                    (Held::Kept | Held::Id(_), Some(id)) => {
                        hidden.kept.entry(key.clone()).or_insert_with(|| field.to_owned());
                        Put::Id(id.clone())
                    }
                    // Without a master key the check refuses it.
                    (Held::Literal(_), _) if keys.is_empty() => Put::Nothing,
                    (Held::Literal(text), Some(id)) if plain == Some(text) => Put::Id(id.clone()),
                    (Held::Literal(text), _) => {
                        let id = (self.0.ids)();
                        match keys.encrypt(id, (&section, &name, field), text) {
                            Ok(secret) => {
                                hidden.secrets.rows.push(secret);
                                Put::Id(id.to_string())
                            }
                            Err(error) => {
                                failed = Some(error);
                                Put::Nothing
                            }
                        }
                    }
                }
            });
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if !hidden.secrets.rows.is_empty() {
            hidden.secrets.check = keys.newest().and_then(|id| keys.check(id));
        }
        Ok(hidden)
    }

    /// Puts into documents what `{ kept = true }` stands for. What cannot be opened stays as it is: the check passes
    /// over it.
    pub(crate) fn put_kept(&self, documents: Documents, current: &Stored, opened: &Opened) -> Documents {
        let stored = ids(&current.definitions, self);
        documents.with_kept(self.facts(), |definition, field, id| {
            let known = || stored.get(&(definition.to_owned(), field.to_owned())).map(String::as_str);
            let id = id.or_else(known)?;
            opened.get(definition, field, id).map(str::to_owned)
        })
    }

    /// Stored secrets that cannot be opened, each with the reason.
    pub(crate) fn unopened(&self, definitions: &[&StoredDefinition], opened: &Opened) -> Vec<Notice> {
        let mut found = Vec::new();
        for definition in definitions {
            let key = definition.key();
            each_secret(&mut (*definition).clone(), self.facts(), |field, held| {
                if let Held::Id(id) = held
                    && opened.get(&key, field, id).is_none()
                {
                    let why = opened.why(&key, field, id).chain();
                    let message = format!(
                        "{field} cannot be decrypted, so no node can use these definitions until you write it again in {} ({why})",
                        definition.origin
                    );
                    found.push(Notice { definition: key.clone(), message });
                }
                Put::Nothing
            });
        }
        found
    }
}
