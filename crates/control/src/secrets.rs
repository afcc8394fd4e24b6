//! Secrets of definitions on their way into the database and back.

use crate::Control;
use crate::prepare::Stored;
use config::{Conflict, Documents, Held, Put, each_secret};
use model::{Error, ErrorKind, Result, Secret, StoredDefinition};
use serde_json::Value;
use std::collections::BTreeMap;
use store::{EncryptedSecret, NewSecrets};
use uuid::Uuid;

/// Decrypted secrets by their ids.
pub(crate) struct Opened(BTreeMap<String, (EncryptedSecret, Secret<String>)>);

impl Opened {
    /// A secret, where it belongs: an id in another definition or field opens nothing.
    fn get(&self, definition: &str, field: &str, id: &str) -> Option<&str> {
        let (place, secret) = self.0.get(id)?;
        (format!("{}.{}", place.section, place.name) == definition && place.field == field)
            .then(|| secret.reveal().as_str())
    }
}

/// The ids of secrets that definitions name, by definition and field.
fn ids(definitions: &[StoredDefinition], control: &Control) -> BTreeMap<(String, String), String> {
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
pub(crate) struct Hidden {
    pub(crate) secrets: NewSecrets,
    pub(crate) conflicts: Vec<Conflict>,
}

impl Control {
    /// Decrypts what definitions name.
    pub(crate) async fn open_secrets(&self, definitions: &[StoredDefinition]) -> Result<Opened> {
        let wanted = ids(definitions, self);
        let wanted: Vec<Uuid> = wanted.values().filter_map(|id| id.parse().ok()).collect();
        let mut opened = BTreeMap::new();
        if !wanted.is_empty() {
            for (id, secret) in self.0.store.secrets(&wanted).await? {
                let plain = self.0.master_keys.decrypt(&secret)?;
                opened.insert(id.to_string(), (secret, plain));
            }
        }
        Ok(Opened(opened))
    }

    /// Stored definitions as documents that can be checked, their secrets put in.
    pub(crate) async fn open_documents(&self, definitions: &[StoredDefinition]) -> Result<Documents> {
        let opened = self.open_secrets(definitions).await?;
        let mut missing = None;
        let documents =
            Documents::from_definitions(definitions)?.with_kept(self.facts(), |definition, field, id| {
                let found = id.and_then(|id| opened.get(definition, field, id)).map(str::to_owned);
                if found.is_none() {
                    missing = Some(format!("{definition}.{field}"));
                }
                found
            });
        match missing {
            None => Ok(documents),
            Some(place) => Err(Error::permanent(ErrorKind::IntegrityFailed, "find a stored secret")
                .with("field", place)
                .advice("the database does not hold it for this field; enter it again")),
        }
    }

    /// Encrypts the literal secrets of new definitions; one that is stored already stays as it is. `{ kept = true }`
    /// becomes what is stored.
    pub(crate) fn hide_secrets(
        &self,
        new: &mut [StoredDefinition],
        current: &Stored,
        opened: &Opened,
    ) -> Result<Hidden> {
        let stored = ids(&current.definitions, self);
        let places: BTreeMap<String, Vec<Option<Value>>> =
            current.definitions.iter().map(|old| (old.key(), place(old))).collect();
        let (mut rows, mut conflicts, mut failed) = (Vec::new(), Vec::new(), None);
        for definition in new.iter_mut() {
            let (section, name, key) =
                (definition.section.clone(), definition.name.clone(), definition.key());
            let moved = places.get(&key).is_some_and(|before| *before != place(definition));
            each_secret(definition, self.facts(), |field, held| {
                let known = stored.get(&(key.clone(), field.to_owned()));
                let mut conflict = |message: &str| {
                    conflicts.push(Conflict {
                        definition: key.clone(),
                        field: field.to_owned(),
                        message: message.to_owned(),
                    });
                    Put::Nothing
                };
                match (held, known) {
                    (Held::Kept, None) => conflict(
                        "says { kept = true }, but nothing is stored for this field: write the secret or a reference",
                    ),
                    (Held::Kept, Some(_)) if moved => conflict(
                        "says { kept = true } while the place changes that it is shown to (url, proxy, host key, trust): write \
                         the secret again, so that nobody sends it elsewhere who does not know it",
                    ),
                    (Held::Id(_), _) if moved => conflict(
                        "would be kept while the place changes that it is shown to (url, proxy, host key, trust): write the \
                         secret in the document",
                    ),
                    (Held::Kept, Some(id)) => Put::Id(id.clone()),
                    (Held::Id(id), known) if known.is_some_and(|known| known == id) => Put::Nothing,
                    (Held::Id(_), _) => conflict("takes { kept = true }, not the id of a secret"),
                    // Without a master key the check refuses it.
                    (Held::Literal(_), _) if self.0.master_keys.is_empty() => Put::Nothing,
                    (Held::Literal(text), known) => {
                        let same = known.filter(|id| opened.get(&key, field, id) == Some(text));
                        if let Some(id) = same {
                            return Put::Id(id.clone());
                        }
                        let id = (self.0.ids)();
                        match self.0.master_keys.encrypt(id, (&section, &name, field), text) {
                            Ok(secret) => {
                                rows.push(secret);
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
        let keys = &self.0.master_keys;
        let check = if rows.is_empty() { None } else { keys.newest().and_then(|id| keys.check(id)) };
        Ok(Hidden { secrets: NewSecrets { rows, check }, conflicts })
    }

    /// Puts into documents what `{ kept = true }` stands for.
    pub(crate) fn put_kept(&self, documents: Documents, current: &Stored, opened: &Opened) -> Documents {
        let stored = ids(&current.definitions, self);
        documents.with_kept(self.facts(), |definition, field, id| {
            let id =
                id.or_else(|| stored.get(&(definition.to_owned(), field.to_owned())).map(String::as_str));
            // What is not there is a conflict, told once: the check needs some text.
            Some(id.and_then(|id| opened.get(definition, field, id)).unwrap_or("kept").to_owned())
        })
    }
}

/// What decides who is shown an endpoint's secrets.
fn place(definition: &StoredDefinition) -> Vec<Option<Value>> {
    let fields = ["url", "transport", "proxy", "host_key", "known_hosts", "trust"];
    fields.iter().map(|field| definition.document.get(*field).cloned()).collect()
}
