//! The difference between the definitions in force and a directory, or between two revisions.
//!
//! Pure: nothing is read or written here. A definition belongs to its origin: a directory removes and changes
//! only what came from it.

mod fields;
mod keep;
mod text;

pub use fields::FieldChange;

use crate::facts::Facts;
use fields::changed_fields;
use model::{StoredDefinition, StoredFile};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What would change. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Plan {
    /// The revision that this is the difference to; 0 before the first.
    pub base: i64,
    /// Where the new definitions come from.
    pub origin: String,
    /// Definitions that would be removed.
    pub removed: Vec<Named>,
    /// Definitions that would change.
    pub changed: Vec<Changed>,
    /// Definitions that would be added.
    pub added: Vec<Named>,
    /// Files whose text changes while none of their definitions does: comments and layout.
    pub layout: Vec<String>,
    /// What keeps this from being applied.
    pub conflicts: Vec<Conflict>,
    /// What a person should know before it is applied.
    pub warnings: Vec<Notice>,
}

/// A definition and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Named {
    /// Such as `flow.orders`.
    pub definition: String,
    /// The file of its origin; empty for one that was edited in the console.
    pub file: String,
}

/// A definition that changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Changed {
    /// Such as `flow.orders`.
    pub definition: String,
    /// The file of its origin; empty for one that was edited in the console.
    pub file: String,
    /// The origin that it came from, when that changes.
    pub origin_before: Option<String>,
    /// The file that it stood in, when that changes.
    pub file_before: Option<String>,
    /// Field by field.
    pub fields: Vec<FieldChange>,
}

/// What keeps a plan from being applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Conflict {
    /// The definition it is about.
    pub definition: String,
    /// The field of it; empty for the definition as a whole.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What a person should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// The definition it is about.
    pub definition: String,
    /// What will happen.
    pub message: String,
}

/// What to write so that a plan is carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Definitions that are new or take the place of those of the same name.
    pub put: Vec<StoredDefinition>,
    /// Section and name of those that go.
    pub removed: Vec<(String, String)>,
    /// Files whose text is new or changed.
    pub files_put: Vec<StoredFile>,
    /// Origin and name of files that go.
    pub files_removed: Vec<(String, String)>,
}

/// Definitions with the texts of their files.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Every definition.
    pub definitions: &'a [StoredDefinition],
    /// Texts of files.
    pub files: &'a [StoredFile],
}

/// Where the definitions of a directory come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its name.
    pub name: &'a str,
    /// Definitions of other origins become this one's instead of being conflicts.
    pub take_over: bool,
    /// Somebody chose the name. Else it is the directory's path, and a directory that holds what is in force already is
    /// taken for a copy of it, not for somebody else's definitions.
    pub is_named: bool,
}

type Key<'a> = (&'a str, &'a str);

fn by_key(definitions: &[StoredDefinition]) -> BTreeMap<Key<'_>, &StoredDefinition> {
    definitions.iter().map(|d| ((d.section.as_str(), d.name.as_str()), d)).collect()
}

impl Plan {
    /// Whether nothing would change and nothing is in the way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty()
            && self.changed.is_empty()
            && self.added.is_empty()
            && self.layout.is_empty()
            && self.conflicts.is_empty()
    }

    /// Whether this and another change touch the same definition, or the text of the same file.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let touched: BTreeSet<&str> = self.touched().collect();
        other.touched().any(|key| touched.contains(key))
    }

    /// Definitions that change, and files whose text alone does.
    fn touched(&self) -> impl Iterator<Item = &str> {
        let named = self.removed.iter().chain(&self.added).map(|named| named.definition.as_str());
        let changed = self.changed.iter().map(|changed| changed.definition.as_str());
        named.chain(changed).chain(self.layout.iter().map(String::as_str))
    }

    /// The difference that a directory makes.
    #[must_use]
    pub fn of_directory(
        base: i64,
        current: Side<'_>,
        new: Side<'_>,
        Origin { name: origin, take_over, is_named }: Origin<'_>,
        facts: Facts<'_>,
    ) -> (Self, Changes) {
        let plan = Self { base, origin: origin.to_owned(), ..Self::default() };
        if !take_over && !is_named && is_copy(current, new, origin) {
            return (plan, Changes::default());
        }
        let (before, after) = (by_key(current.definitions), by_key(new.definitions));
        let others = |definition: &StoredDefinition| definition.origin != origin;
        let mut compared = Vec::new();
        let mut plan = plan;
        for (key, old) in &before {
            match after.get(key) {
                Some(_) if others(old) && !take_over => {
                    plan.conflicts.push(Conflict {
                        definition: old.key(),
                        field: String::new(),
                        message: format!(
                            "it belongs to {}; remove it from these documents, or apply with --take-over to \
                            move it to {origin}",
                            old.origin
                        ),
                    });
                }
                Some(_) => compared.push((*old).clone()),
                None if others(old) => {}
                None => compared.push((*old).clone()),
            }
        }
        let taken: BTreeSet<Key<'_>> =
            compared.iter().map(|d| (d.section.as_str(), d.name.as_str())).collect();
        let free = |d: &&StoredDefinition| {
            let key = (d.section.as_str(), d.name.as_str());
            taken.contains(&key) || !before.contains_key(&key)
        };
        let put: Vec<StoredDefinition> = new.definitions.iter().filter(free).cloned().collect();
        let old_files = files_of(current.files, &compared, origin);
        let side = Side { definitions: &compared, files: &old_files };
        let new = Side { definitions: &put, files: new.files };
        let changes = plan.compare(side, new, facts);
        plan.warnings.extend(keep::taken_again(current.definitions, &changes));
        (plan, changes)
    }

    /// The difference between two states as a whole, whatever the origins.
    #[must_use]
    pub fn between(base: i64, before: Side<'_>, after: Side<'_>, facts: Facts<'_>) -> (Self, Changes) {
        let mut plan = Self { base, ..Self::default() };
        let changes = plan.compare(before, after, facts);
        plan.warnings.extend(keep::taken_again(before.definitions, &changes));
        (plan, changes)
    }

    fn compare(&mut self, before: Side<'_>, after: Side<'_>, facts: Facts<'_>) -> Changes {
        let (old, new) = (by_key(before.definitions), by_key(after.definitions));
        let mut changes = Changes::default();
        for (key, definition) in &old {
            if !new.contains_key(key) {
                self.removed.push(named(definition));
                changes.removed.push((definition.section.clone(), definition.name.clone()));
            }
        }
        for (key, definition) in &new {
            let Some(earlier) = old.get(key) else {
                self.added.push(named(definition));
                changes.put.push((*definition).clone());
                continue;
            };
            let moved = |before: &str, after: &str| (before != after).then(|| before.to_owned());
            let changed = Changed {
                definition: definition.key(),
                file: definition.file.clone(),
                origin_before: moved(&earlier.origin, &definition.origin),
                file_before: moved(&earlier.file, &definition.file),
                fields: changed_fields(earlier, definition, facts),
            };
            // Two unlike documents may look alike when both hold only secrets that are not shown.
            if earlier.document != definition.document
                || changed.origin_before.is_some()
                || changed.file_before.is_some()
            {
                self.changed.push(changed);
                changes.put.push((*definition).clone());
            }
        }
        // Files of which a definition goes, or goes over to another one: of each origin its own.
        let mut left: BTreeSet<(String, String)> = BTreeSet::new();
        for (key, definition) in &old {
            let stays = new
                .get(key)
                .is_some_and(|now| now.origin == definition.origin && now.file == definition.file);
            if !stays {
                left.insert((definition.origin.clone(), definition.file.clone()));
            }
        }
        self.compare_files((before.files, after.files), &left, &mut changes);
        changes
    }

    fn compare_files(
        &mut self,
        (before, after): (&[StoredFile], &[StoredFile]),
        left: &BTreeSet<(String, String)>,
        changes: &mut Changes,
    ) {
        let key = |file: &StoredFile| (file.origin.clone(), file.file.clone());
        let old: BTreeMap<_, &str> = before.iter().map(|file| (key(file), file.text.as_str())).collect();
        let new: BTreeSet<_> = after.iter().map(key).collect();
        for file in after {
            if old.get(&key(file)) != Some(&file.text.as_str()) {
                let is_named = changes.put.iter().any(|d| d.origin == file.origin && d.file == file.file);
                if !is_named && !left.contains(&key(file)) {
                    self.layout.push(file.file.clone());
                }
                changes.files_put.push(file.clone());
            }
        }
        for (origin, file) in old.into_keys().filter(|key| !new.contains(key)) {
            let is_named = changes.put.iter().any(|d| d.origin == origin && d.file == file);
            if !is_named && !left.contains(&(origin.clone(), file.clone())) {
                self.layout.push(file.clone());
            }
            changes.files_removed.push((origin, file));
        }
    }

    /// A line for the list of revisions: `1 removed, 2 changed, 1 added: flow.a, flow.b, …`.
    #[must_use]
    pub fn summary(&self) -> String {
        const NAMES: usize = 8;
        let mut counts = Vec::new();
        let parts =
            [(self.removed.len(), "removed"), (self.changed.len(), "changed"), (self.added.len(), "added")];
        counts.extend(parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
        let names = self.removed.iter().map(|named| &named.definition);
        let names = names.chain(self.changed.iter().map(|changed| &changed.definition));
        let names: Vec<&str> =
            names.chain(self.added.iter().map(|named| &named.definition)).map(String::as_str).collect();
        match names.len() {
            0 if self.layout.is_empty() => "no change".to_owned(),
            0 => format!("comments or layout of {}", self.layout.join(", ")),
            all if all <= NAMES => format!("{}: {}", counts.join(", "), names.join(", ")),
            all => format!("{}: {} and {} more", counts.join(", "), names[..NAMES].join(", "), all - NAMES),
        }
    }
}

fn named(definition: &StoredDefinition) -> Named {
    Named { definition: definition.key(), file: definition.file.clone() }
}

/// Whether a directory that nothing came from holds what is in force already, whoever that belongs to: an export
/// that was not changed.
fn is_copy(current: Side<'_>, new: Side<'_>, origin: &str) -> bool {
    let before = by_key(current.definitions);
    let same = |definition: &StoredDefinition| {
        let key = (definition.section.as_str(), definition.name.as_str());
        before.get(&key).is_some_and(|old| old.document == definition.document)
    };
    !new.definitions.is_empty()
        && current.definitions.iter().all(|definition| definition.origin != origin)
        && new.definitions.iter().all(same)
}

/// The stored files of the origin, and those of other origins of which a definition goes over to it: such a text would
/// say what is not in force any more.
fn files_of(files: &[StoredFile], compared: &[StoredDefinition], origin: &str) -> Vec<StoredFile> {
    let over: BTreeSet<(&str, &str)> =
        compared.iter().map(|d| (d.origin.as_str(), d.file.as_str())).collect();
    files
        .iter()
        .filter(|file| file.origin == origin || over.contains(&(file.origin.as_str(), file.file.as_str())))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
