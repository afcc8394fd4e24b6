//! To whom stored secrets are shown: never to an address that they were not given for.
//!
//! A secret that is written anew may go wherever its document says. One that the database keeps, or that an import keeps
//! of the receiving gateway, goes only where it went before: whoever changes the address may not know it.

use crate::Control;
use config::{Address, Conflict, Notice};
use model::StoredDefinition;
use std::collections::{BTreeMap, BTreeSet};

/// What would be shown to whom.
#[derive(Default)]
pub(crate) struct Disclosures {
    pub(crate) conflicts: Vec<Conflict>,
    /// With `reuse_secrets`: what is shown to a new address.
    pub(crate) notices: Vec<Notice>,
}

/// What decides to whom a definition's secrets are shown: its own fields, and the definitions that they name.
type Whole = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

/// Definitions by name, with those that log in by each credential and key.
struct State<'d> {
    control: &'d Control,
    all: BTreeMap<String, &'d StoredDefinition>,
    users: BTreeMap<String, Vec<&'d StoredDefinition>>,
}

impl<'d> State<'d> {
    fn of(control: &'d Control, definitions: impl IntoIterator<Item = &'d StoredDefinition>) -> Self {
        let facts = control.facts();
        let mut state = Self { control, all: BTreeMap::new(), users: BTreeMap::new() };
        for definition in definitions {
            for (section, name) in facts.references(definition) {
                if facts.is_login_section(section) {
                    state.users.entry(format!("{section}.{name}")).or_default().push(definition);
                }
            }
            state.all.insert(definition.key(), definition);
        }
        state
    }

    /// The definitions that show the secrets of one: itself, or those that log in by it.
    fn users(&self, owner: &str) -> Vec<&'d StoredDefinition> {
        match self.all.get(owner) {
            Some(definition) if !self.control.facts().is_login_section(&definition.section) => {
                vec![*definition]
            }
            _ => self.users.get(owner).cloned().unwrap_or_default(),
        }
    }

    fn address(&self, of: &StoredDefinition) -> Whole {
        let facts = self.control.facts();
        let Address { fields, names } = facts.address(of);
        let mut whole = BTreeMap::from([(String::new(), fields)]);
        for (section, name) in names {
            let key = format!("{section}.{name}");
            if let Some(named) = self.all.get(&key) {
                whole.insert(key, facts.address(named).fields);
            }
        }
        whole
    }
}

/// The fields in which a definition's address differs from what it was.
fn changed(before: Option<&Whole>, after: &Whole) -> String {
    let Some(before) = before else { return "it is new".to_owned() };
    let mut found = Vec::new();
    for (of, fields) in after {
        let old = before.get(of);
        let names: BTreeSet<&String> =
            fields.keys().chain(old.into_iter().flat_map(BTreeMap::keys)).collect();
        for name in names.into_iter().filter(|name| old.and_then(|old| old.get(*name)) != fields.get(*name)) {
            found.push(if of.is_empty() { name.clone() } else { format!("{of}.{name}") });
        }
    }
    format!("{} changes", found.join(", "))
}

fn shown(of: &StoredDefinition) -> String {
    let url = of.document.get("url").map(ToString::to_string);
    url.map_or_else(|| "another address".to_owned(), |url| url.replace('"', ""))
}

impl Control {
    /// Compares where secrets go with where they went. `kept`: definitions of the directory whose secrets are kept,
    /// with the field. `others`: definitions of other origins.
    pub(crate) fn disclosures(
        &self,
        before: &[StoredDefinition],
        (new, others): (&[StoredDefinition], &[&StoredDefinition]),
        kept: &BTreeMap<String, String>,
        reuse: bool,
    ) -> Disclosures {
        let facts = self.facts();
        let was = State::of(self, before);
        let is = State::of(self, new.iter().chain(others.iter().copied()));
        let theirs = others.iter().filter(|other| facts.secret_field(other).is_some());
        let theirs: BTreeSet<String> = theirs.map(|other| other.key()).collect();
        let mut found = Disclosures::default();
        for owner in kept.keys().chain(&theirs) {
            let allowed: Vec<Whole> = was.users(owner).into_iter().map(|user| was.address(user)).collect();
            for user in is.users(owner) {
                let address = is.address(user);
                if address.values().all(BTreeMap::is_empty) || allowed.contains(&address) {
                    continue;
                }
                let key = user.key();
                let why = changed(was.all.get(&key).map(|user| was.address(user)).as_ref(), &address);
                if reuse {
                    let message = format!("the stored secret of {owner} goes to {} ({why})", shown(user));
                    found.notices.push(Notice { definition: key, message });
                    continue;
                }
                let (definition, field, message) = match kept.get(owner) {
                    Some(field) if key == *owner => (
                        owner.clone(),
                        field.clone(),
                        format!(
                            "cannot be kept, because this change would send the stored secret to another server ({why}): \
                             write the secret in the document"
                        ),
                    ),
                    Some(field) => (
                        owner.clone(),
                        field.clone(),
                        format!(
                            "cannot be kept, because {key} would send the stored secret to an address for which it was not \
                             entered ({why}): write the secret in the document"
                        ),
                    ),
                    None => {
                        let origin = is.all.get(owner).map_or("", |owner| owner.origin.as_str());
                        let message = format!(
                            "would send the secret of {owner}, which belongs to {origin}, to an address for which it was not \
                             entered ({why}): an administrator can allow this with --reuse-secrets"
                        );
                        (key, String::new(), message)
                    }
                };
                found.conflicts.push(Conflict { definition, field, message });
            }
        }
        found
    }
}
