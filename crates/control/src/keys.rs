//! The public halves of named keys: what partners' servers must know of us.

use crate::{Caller, Control};
use config::Documents;
use model::definition::{Definitions, KeyDefinition, PublicKey};
use model::schema::Section;
use model::{Error, ErrorKind, Permission, Result, StoredDefinition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Which keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListKeys {
    /// Those of a directory of definitions; without it those in force.
    pub directory: Option<PathBuf>,
}

/// A named key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyDetail {
    /// Its name.
    pub name: String,
    /// Its public half; `None` for one that SSH does not have.
    pub public: Option<PublicKey>,
    /// Why there is no public half.
    pub problem: Option<String>,
    /// What names it, such as `endpoint.acme`.
    pub used_by: Vec<String>,
}

impl Control {
    /// The named keys with their public halves, by name. The private halves are read on this machine, and shown nowhere.
    ///
    /// # Errors
    /// The caller may not see definitions; the definitions cannot be used on this machine; the database failed.
    pub async fn keys(&self, caller: &Caller, request: &ListKeys) -> Result<Vec<KeyDetail>> {
        caller.require(Permission::ViewDefinitions)?;
        let stored = match &request.directory {
            Some(directory) => Documents::read(directory).0.definitions(""),
            None => self.0.store.current_definitions().await?.definitions,
        };
        let found = match &request.directory {
            Some(directory) => self.usable(&Documents::read(directory).0)?,
            None => self.resolve(&stored).await?,
        };
        let this = self.clone();
        // Decrypting a key takes long on purpose.
        let reading = tokio::task::spawn_blocking(move || this.key_details(&found));
        let mut keys =
            reading.await.map_err(|e| Error::transient(ErrorKind::Internal, "read the keys").caused_by(e))?;
        for key in &mut keys {
            key.used_by = stored.iter().filter(|other| names_key(other, &key.name)).map(name_of).collect();
        }
        Ok(keys)
    }

    /// One of them.
    ///
    /// # Errors
    /// As [`Control::keys`]; `NotFound`.
    pub async fn key(&self, caller: &Caller, request: &ListKeys, name: &str) -> Result<KeyDetail> {
        let keys = self.keys(caller, request).await?;
        let names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
        keys.into_iter().find(|key| key.name == name).ok_or_else(|| {
            let error = Error::permanent(ErrorKind::NotFound, "find the key").with("key", name);
            match model::nearest(name, names.iter().map(String::as_str)) {
                Some(near) => error.advice(format!("did you mean '{near}'?")),
                None => error.advice("`waybill key list` shows which there are"),
            }
        })
    }

    /// The keys of definitions, without what names them. Blocks while keys are decrypted.
    #[must_use]
    pub fn key_details(&self, definitions: &Definitions) -> Vec<KeyDetail> {
        definitions.keys.values().map(|key| self.key_detail(key)).collect()
    }

    /// A key, without what names it. Blocks while it is decrypted.
    #[must_use]
    pub fn key_detail(&self, key: &Arc<KeyDefinition>) -> KeyDetail {
        let (public, problem) = match self.0.catalogue.public_key(key) {
            Some(Ok(public)) => (Some(public), None),
            Some(Err(error)) => (None, Some(error.chain())),
            None => (None, None),
        };
        KeyDetail { name: key.name.clone(), public, problem, used_by: Vec::new() }
    }
}

fn name_of(definition: &StoredDefinition) -> String {
    format!("{}.{}", definition.section, definition.name)
}

/// Whether a definition names a key, in the fields that do.
fn names_key(definition: &StoredDefinition, key: &str) -> bool {
    const FIELDS: [&str; 3] = ["key", "client_key", "keys"];
    fn found(value: &Value, key: &str, named: bool) -> bool {
        match value {
            Value::String(text) => named && text == key,
            Value::Array(items) => items.iter().any(|item| found(item, key, named)),
            // A list of keys may hold tables with their `name`.
            Value::Object(fields) => fields.iter().any(|(name, value)| {
                found(value, key, FIELDS.contains(&name.as_str()) || named && name == "name")
            }),
            _ => false,
        }
    }
    definition.section != Section::KEY.as_str() && found(&definition.document, key, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_named_by_itself_or_in_a_table_with_its_time() {
        let identity = |keys: Value| StoredDefinition {
            section: "identity".into(),
            name: "acme".into(),
            origin: String::new(),
            file: String::new(),
            position: 0,
            document: json!({ "as2": { "id": "new", "keys": keys } }),
        };
        for keys in [
            json!("new"),
            json!(["old", "new"]),
            json!({ "name": "new", "from": "2027-01-01T00:00:00Z" }),
            json!(["old", { "name": "new", "uses": ["sign"] }]),
        ] {
            assert!(names_key(&identity(keys.clone()), "new"), "{keys}");
        }
        for keys in [json!(["old"]), json!([{ "name": "old", "uses": ["new"] }])] {
            assert!(!names_key(&identity(keys.clone()), "new"), "{keys}");
        }
    }
}
