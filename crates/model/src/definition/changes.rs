//! What a new revision changed, object by object, so that only that is touched.

use super::Definitions;
use crate::schema::{Value, Values};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Definitions {
    /// Whether a flow at another revision is the same as here.
    #[must_use]
    pub fn has_flow_as_at(&self, name: &str, revision: i64) -> bool {
        let since = self.flows_since.get(name).copied().unwrap_or(self.revision);
        self.flows.contains_key(name) && (since..=self.revision).contains(&revision)
    }

    /// Takes over from the revision before every object that is the same, so that whoever holds one sees that it is: two
    /// revisions share what did not change.
    pub fn share_unchanged(&mut self, before: &Self) {
        share(&mut self.identities, &before.identities);
        share(&mut self.partners, &before.partners);
        share(&mut self.certificates, &before.certificates);
        share(&mut self.keys, &before.keys);
        share(&mut self.credentials, &before.credentials);
        share(&mut self.proxies, &before.proxies);
        share(&mut self.calendars, &before.calendars);
        share(&mut self.worker_pools, &before.worker_pools);
        share(&mut self.listeners, &before.listeners);
        share(&mut self.endpoints, &before.endpoints);
        share(&mut self.flows, &before.flows);
    }

    /// Endpoints that are another way to reach another place than in the revision before, or the same by another login:
    /// the endpoint itself changed, is new, or something that it names did.
    #[must_use]
    pub fn changed_endpoints(&self, before: &Self) -> BTreeSet<&str> {
        let names = self.changed_names(before);
        let changed = self.endpoints.iter().filter(|(name, endpoint)| {
            before.endpoints.get(*name) != Some(*endpoint) || endpoint.options.mentions(&names)
        });
        changed.map(|(name, _)| name.as_str()).collect()
    }

    /// Listeners that are new or changed, or name something that did.
    #[must_use]
    pub fn changed_listeners(&self, before: &Self) -> BTreeSet<&str> {
        let names = self.changed_names(before);
        let changed = self.listeners.iter().filter(|(name, listener)| {
            before.listeners.get(*name) != Some(*listener) || listener.options.mentions(&names)
        });
        changed.map(|(name, _)| name.as_str()).collect()
    }

    /// Names of changed objects that others refer to. A name counts for every kind: two objects of one name are rare, and
    /// taking one for the other touches more than needed, never less.
    fn changed_names(&self, before: &Self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        differing(&self.certificates, &before.certificates, &mut names);
        differing(&self.keys, &before.keys, &mut names);
        differing(&self.credentials, &before.credentials, &mut names);
        differing(&self.proxies, &before.proxies, &mut names);
        let sides = |names: &BTreeSet<String>| {
            let partners = self.partners.iter().filter(|(name, partner)| {
                before.partners.get(*name) != Some(*partner)
                    || partner.agreements.values().any(|side| side.mentions(names))
            });
            let identities = self.identities.iter().filter(|(name, identity)| {
                before.identities.get(*name) != Some(*identity)
                    || identity.sides.values().any(|side| side.mentions(names))
            });
            let both = partners.map(|(name, _)| name).chain(identities.map(|(name, _)| name));
            both.cloned().collect::<Vec<_>>()
        };
        let sides = sides(&names);
        names.extend(sides);
        names
    }
}

fn share<T: PartialEq>(new: &mut BTreeMap<String, Arc<T>>, before: &BTreeMap<String, Arc<T>>) {
    for (name, object) in new {
        if let Some(old) = before.get(name).filter(|old| *old == object) {
            *object = Arc::clone(old);
        }
    }
}

fn differing<T: PartialEq>(
    new: &BTreeMap<String, Arc<T>>,
    before: &BTreeMap<String, Arc<T>>,
    names: &mut BTreeSet<String>,
) {
    let changed = new.iter().filter(|(name, object)| before.get(*name) != Some(*object));
    names.extend(changed.map(|(name, _)| name.clone()));
}

impl Values {
    /// Whether some text in it, at any depth, is one of these names.
    #[must_use]
    pub fn mentions(&self, names: &BTreeSet<String>) -> bool {
        self.iter().any(|(_, value)| mentions(value, names))
    }
}

fn mentions(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::Text(text) => names.contains(text),
        Value::List(items) => items.iter().any(|item| mentions(item, names)),
        Value::Table(table) => table.mentions(names),
        Value::Map(map) => map.values().any(|value| mentions(value, names)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::definition::{Balance, Credential, Endpoint, Listener, OfflineRule, Partner, Throttle};

    fn text(name: &'static str, value: &str) -> Values {
        Values::of([(name, Value::Text(value.to_owned()))])
    }

    fn definitions(password: &str, path: &str) -> Definitions {
        let mut all = Definitions::default();
        for name in ["acme", "globex"] {
            let password = if name == "acme" { password } else { "same" };
            let credential = Credential {
                name: name.into(),
                username: "u".into(),
                password: Secret::new(password.into()),
            };
            all.credentials.insert(name.into(), Arc::new(credential));
            let endpoint = Endpoint {
                name: format!("at-{name}"),
                transport: "sftp".into(),
                urls: Vec::new(),
                node: None,
                pool: None,
                throttle: Throttle::default(),
                balance: Balance::RoundRobin,
                offline: Some(OfflineRule::default()),
                options: text("credential", name),
            };
            all.endpoints.insert(endpoint.name.clone(), Arc::new(endpoint));
        }
        let agreements = [("as2".to_owned(), text("certificates", "acme"))].into();
        let partner = Partner { name: "p".into(), title: None, contact: None, agreements };
        all.partners.insert("p".into(), Arc::new(partner));
        let by_partner = Endpoint {
            name: "by-partner".into(),
            options: text("partner", "p"),
            ..Endpoint::clone(&all.endpoints["at-acme"])
        };
        all.endpoints.insert("by-partner".into(), Arc::new(by_partner));
        let listener = Listener { name: "as2".into(), transport: "as2".into(), options: text("path", path) };
        all.listeners.insert("as2".into(), Arc::new(listener));
        all
    }

    #[test]
    fn only_what_changed_is_told_with_all_that_names_it() {
        let before = definitions("one", "/as2");
        let mut same = definitions("one", "/as2");
        assert!(same.changed_endpoints(&before).is_empty() && same.changed_listeners(&before).is_empty());
        same.share_unchanged(&before);
        assert!(Arc::ptr_eq(&same.endpoints["at-acme"], &before.endpoints["at-acme"]));
        let mut other = definitions("two", "/in");
        let changed: Vec<_> = other.changed_endpoints(&before).into_iter().collect();
        assert_eq!(changed, ["at-acme", "by-partner"]);
        assert_eq!(other.changed_listeners(&before).into_iter().collect::<Vec<_>>(), ["as2"]);
        other.share_unchanged(&before);
        assert!(!Arc::ptr_eq(&other.credentials["acme"], &before.credentials["acme"]));
        assert!(Arc::ptr_eq(&other.credentials["globex"], &before.credentials["globex"]));
    }
}
