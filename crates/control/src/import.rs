//! What an import changes in definitions that come from another gateway: this one's logins stay, and this environment's
//! values take the place of the other's.

use crate::{Control, PlanRequest};
use config::{Conflict, Documents, Notice, Problem};
use model::{Result, StoredDefinition};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What was changed, by section and name, and what could not be.
#[derive(Default)]
pub(crate) struct Import {
    pub(crate) altered: BTreeSet<(String, String)>,
    /// Definitions whose secrets, or references to them, stayed, with the field.
    pub(crate) kept: BTreeMap<String, String>,
    /// Which fields stayed as this gateway has them, one notice for each definition.
    pub(crate) notices: Vec<Notice>,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) problems: Vec<Problem>,
}

impl Control {
    /// Changes definitions as the request asks.
    pub(crate) fn import(
        &self,
        new: &mut Vec<StoredDefinition>,
        current: &[StoredDefinition],
        request: &PlanRequest,
    ) -> Result<Import> {
        let mut import = Import::default();
        if let Some(overlay) = &request.overlay {
            let (documents, problems) = Documents::read_file(overlay);
            import.problems = problems;
            for over in documents.definitions("overlay") {
                self.overlay(new, &over, &mut import);
            }
        }
        if request.keep_credentials {
            let here: BTreeMap<String, &StoredDefinition> =
                current.iter().map(|old| (old.key(), old)).collect();
            for definition in new.iter_mut() {
                if let Some(old) = here.get(&definition.key()) {
                    self.keep_login(definition, old, &mut import);
                }
            }
            self.keep_login_definitions(new, current, request, &mut import);
            self.find_missing_logins(new, current, &mut import);
        }
        Ok(import)
    }

    fn overlay(&self, new: &mut [StoredDefinition], over: &StoredDefinition, import: &mut Import) {
        let target = new.iter_mut().find(|d| d.section == over.section && d.name == over.name);
        let Some(target) = target else {
            import.conflicts.push(Conflict {
                definition: over.key(),
                field: String::new(),
                message: "the overlay names it, but the directory does not define it".to_owned(),
            });
            return;
        };
        let before = target.document.clone();
        let transport = before.get("transport").and_then(Value::as_str);
        let allowed = |path: &[&str]| self.facts().is_per_environment(&over.section, transport, path);
        let mut merge = Merge { allowed: &allowed, refused: Vec::new() };
        merge.table(&mut target.document, &over.document, &mut Vec::new());
        import.conflicts.extend(merge.refused.into_iter().map(|field| {
            Conflict {
                definition: over.key(),
                field,
                message:
                    "an overlay may not set this field: it is for what differs between environments (\"per environment\" in \
                      docs/reference.md)"
                        .to_owned(),
            }
        }));
        if target.document != before {
            import.altered.insert((target.section.clone(), target.name.clone()));
        }
    }

    fn keep_login(&self, new: &mut StoredDefinition, old: &StoredDefinition, import: &mut Import) {
        let facts = self.facts();
        let before = new.document.clone();
        if facts.is_login_section(&new.section) {
            new.document = old.document.clone();
        } else if let (Value::Object(new_fields), Value::Object(old_fields)) =
            (&mut new.document, &old.document)
        {
            let section = &old.section;
            let transport = before.get("transport").and_then(Value::as_str);
            let is_login = |path: &[&str]| facts.is_login(section, transport, path);
            keep(new_fields, old_fields, &mut Vec::new(), &is_login);
        }
        if let Some(field) = facts.secret_field(new) {
            import.kept.insert(new.key(), field);
        }
        if new.document != before {
            import.altered.insert((new.section.clone(), new.name.clone()));
            let mut fields = Vec::new();
            differing(&before, &new.document, "", &mut fields);
            let message = format!("keeps its login of this gateway: {}", fields.join(", "));
            import.notices.push(Notice { definition: new.key(), message });
        }
    }

    /// Credentials and keys that are here stay; those of the other gateway come only where something names them.
    fn keep_login_definitions(
        &self,
        new: &mut Vec<StoredDefinition>,
        current: &[StoredDefinition],
        request: &PlanRequest,
        import: &mut Import,
    ) {
        let (facts, origin) = (self.facts(), request.origin());
        let key = |of: &StoredDefinition| (of.section.clone(), of.name.clone());
        let old: BTreeSet<_> = current.iter().map(key).collect();
        // Those of another origin stay there: nothing would change them.
        let theirs: BTreeSet<_> =
            current.iter().filter(|old| old.origin != origin && !request.take_over).map(key).collect();
        let named: BTreeSet<(String, String)> = new
            .iter()
            .flat_map(|definition| facts.references(definition))
            .map(|(section, name)| (section.to_owned(), name))
            .collect();
        new.retain(|definition| {
            let key = key(definition);
            let stays = !facts.is_login_section(&key.0)
                || !theirs.contains(&key) && (old.contains(&key) || named.contains(&key));
            if !stays {
                import.altered.insert(key);
            }
            stays
        });
        let there: BTreeSet<_> = new.iter().map(key).collect();
        let keys: BTreeSet<String> = new.iter().map(StoredDefinition::key).collect();
        import.kept.retain(|key, _| keys.contains(key));
        let files: BTreeSet<String> = new.iter().map(|definition| definition.file.clone()).collect();
        for definition in current.iter().filter(|definition| definition.origin == origin) {
            if facts.is_login_section(&definition.section) && !there.contains(&key(definition)) {
                let message = "stays as this gateway has it: the directory does not define it".to_owned();
                import.notices.push(Notice { definition: definition.key(), message });
                import.altered.insert(key(definition));
                import.kept.extend(facts.secret_field(definition).map(|field| (definition.key(), field)));
                // The file of its name, if there is one, does not hold it.
                let file = Some(&definition.file).filter(|file| !files.contains(*file));
                new.push(StoredDefinition { file: file.cloned().unwrap_or_default(), ..definition.clone() });
            }
        }
    }

    /// An endpoint that names a credential or a key that is not here cannot log in.
    fn find_missing_logins(
        &self,
        new: &[StoredDefinition],
        current: &[StoredDefinition],
        import: &mut Import,
    ) {
        let facts = self.facts();
        for definition in new {
            for (section, name) in facts.references(definition) {
                let is_there =
                    new.iter().chain(current).any(|other| other.section == section && other.name == name);
                if facts.is_login_section(section) && !is_there {
                    import.conflicts.push(Conflict {
                        definition: definition.key(),
                        field: section.to_owned(),
                        message: format!(
                            "refers to {section} '{name}', which is not defined on this gateway: define \
                            [{section}.{name}], then apply again"
                        ),
                    });
                }
            }
        }
    }
}

/// The fields in which two documents differ.
fn differing(one: &Value, other: &Value, path: &str, fields: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let side = |side: &Map<String, Value>| side.get(key).cloned().unwrap_or_default();
                differing(&side(one), &side(other), &path, fields);
            }
        }
        _ if one != other => fields.push(path.to_owned()),
        _ => {}
    }
}

/// Login fields become the old ones: those that the old definition lacks go.
fn keep<'j>(
    new: &mut Map<String, Value>,
    old: &'j Map<String, Value>,
    path: &mut Vec<&'j str>,
    is_login: &impl Fn(&[&str]) -> bool,
) {
    let names: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
    new.retain(|key, _| {
        let mut whole: Vec<&str> = names.iter().map(String::as_str).collect();
        whole.push(key);
        !is_login(&whole)
    });
    for (key, value) in old {
        path.push(key);
        if is_login(path) {
            new.insert(key.clone(), value.clone());
        } else if let Value::Object(below) = value {
            let table = new.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(table) = table {
                keep(table, below, path, is_login);
            }
            if new.get(key).is_some_and(|table| table.as_object().is_some_and(Map::is_empty))
                && !below.is_empty()
            {
                new.remove(key);
            }
        }
        path.pop();
    }
}

/// Puts an overlay's fields over a document's.
struct Merge<'a> {
    allowed: &'a dyn Fn(&[&str]) -> bool,
    refused: Vec<String>,
}

impl Merge<'_> {
    fn table<'j>(&mut self, under: &mut Value, over: &'j Value, path: &mut Vec<&'j str>) {
        let (Value::Object(under), Value::Object(over)) = (under, over) else {
            self.refused.push(path.join("."));
            return;
        };
        for (key, value) in over {
            path.push(key);
            if (self.allowed)(path) {
                under.insert(key.clone(), value.clone());
            } else if value.is_object() {
                let below = under.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                self.table(below, value, path);
            } else if let (Some(Value::Array(under)), Value::Array(over)) = (under.get_mut(key), value)
                && under.len() == over.len()
                && over.iter().all(Value::is_object)
            {
                // Destinations, in their order.
                for (below, value) in under.iter_mut().zip(over) {
                    self.table(below, value, path);
                }
            } else {
                self.refused.push(path.join("."));
            }
            path.pop();
        }
    }
}
