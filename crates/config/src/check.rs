//! Checks documents and makes the model's definitions of them, without any network.
//!
//! Each kind of definition is read after those it may name, so that what it needs of them is known. A
//! definition with an error is left out; whatever names it is checked as far as it can be, so that one
//! mistake is told once.

mod directory;
mod endpoint;
mod fields;
mod flow;
mod glob;
mod mask;
mod material;
mod overlap;
mod partner;
mod proxy;
mod source;

pub use fields::fields_of;
pub(crate) use fields::{ARCHIVE, MOVE, PROXY};
pub(crate) use proxy::read_proxy;

use crate::catalogue::Catalogue;
use crate::context::{Context, suggestion};
use crate::documents::Documents;
use crate::environment::Environment;
use crate::field::Section;
use crate::problem::{Place, Problem, any_error};
use crate::reader::Reader;
use crate::roots::Roots;
use crate::settings::SETTINGS;
use crate::tree::{Entry, Value, join};
use model::definition::Definitions;
use std::collections::{BTreeMap, BTreeSet};

impl Documents {
    /// Checks everything and resolves the references. The definitions are there when no problem is an
    /// error; their revision is 0. Problems are sorted by file and line, and each is told once.
    #[must_use]
    pub fn check(
        &self,
        catalogue: &Catalogue,
        roots: &Roots,
        environment: &dyn Environment,
    ) -> (Option<Definitions>, Vec<Problem>) {
        let context = Context::new(roots, environment);
        let index = index(&context, self);
        let mut checker = Checker {
            context: &context,
            catalogue,
            index,
            definitions: Definitions::default(),
            key_facts: BTreeMap::new(),
            rsa_certificates: BTreeMap::new(),
            short_certificates: BTreeMap::new(),
            as2_ids: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            polls: Vec::new(),
        };
        checker.certificates();
        checker.keys();
        checker.credentials();
        checker.proxies();
        checker.identities();
        checker.partners();
        checker.endpoints();
        checker.flows();
        checker.overlaps();
        context.keep_apart();
        let definitions = checker.definitions;
        let mut problems = context.into_problems();
        let failed = any_error(&problems) || self.files.iter().any(|file| file.broken);
        // What a half-read file lacks is no news: its syntax error is told already.
        let broken: BTreeSet<&str> =
            self.files.iter().filter(|file| file.broken).map(|file| &*file.shown).collect();
        problems.retain(|problem| !broken.contains(problem.file.as_str()));
        problems.sort();
        problems.dedup();
        ((!failed).then_some(definitions), problems)
    }
}

/// All definitions by kind and name.
type Index<'a> = BTreeMap<Section, BTreeMap<&'a str, &'a Entry>>;

struct Checker<'a> {
    context: &'a Context<'a>,
    catalogue: &'a Catalogue,
    index: Index<'a>,
    definitions: Definitions,
    key_facts: BTreeMap<String, material::KeyFacts>,
    /// Whether a certificate's key is RSA.
    rsa_certificates: BTreeMap<String, bool>,
    /// Certificates whose keys are too short, with their bits.
    short_certificates: BTreeMap<String, u32>,
    /// AS2 names, whose they are and where that is written.
    as2_ids: BTreeMap<String, (String, Place)>,
    endpoints: BTreeMap<String, endpoint::EndpointFacts<'a>>,
    polls: Vec<overlap::Poll>,
}

fn index<'a>(context: &Context<'_>, documents: &'a Documents) -> Index<'a> {
    let mut index = Index::new();
    for file in &documents.files {
        for (word, entry) in &file.table {
            let Some(section) = Section::ALL.into_iter().find(|section| section.as_str() == word) else {
                context.error(&entry.key, "", unknown_section(word));
                continue;
            };
            let Value::Table(table) = &entry.node.value else {
                let message = format!("takes tables, written [{word}.NAME]");
                context.error(&entry.node.place, word, message);
                continue;
            };
            for (name, entry) in table {
                let path = join(word, name);
                if !is_name(name) {
                    let message = format!(
                        "the name {name:?} cannot be used: 1 to 64 of a-z, 0-9, '.', '-' and '_', the first a letter \
                         or digit"
                    );
                    context.error(&entry.key, word, message);
                    continue;
                }
                let named = index.entry(section).or_default();
                if let Some(first) = named.get(name.as_str()) {
                    let message = format!("is defined twice: first in {}", first.key);
                    context.error(&entry.key, &path, message);
                } else {
                    named.insert(name, entry);
                }
            }
        }
    }
    index
}

fn unknown_section(word: &str) -> String {
    if SETTINGS.iter().any(|setting| setting.name == word) {
        return format!("'{word}' is a setting of the process; it belongs in waybill.toml");
    }
    let words = Section::ALL.into_iter().map(Section::as_str);
    format!("unknown kind of definition '{word}'{}", suggestion(word, words))
}

/// Names end up in paths, URLs and pages: nothing in them needs escaping.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b".-_".contains(&b))
        && name.bytes().next().is_some_and(plain)
}

impl<'a> Checker<'a> {
    /// The definitions of a kind, each opened.
    fn section(&self, section: Section) -> Vec<(&'a str, Reader<'a>)> {
        let Some(named) = self.index.get(&section) else { return Vec::new() };
        let open = |(name, entry): (&&'a str, &&'a Entry)| {
            let path = join(section.as_str(), name);
            let reader = Reader::open(self.context, &entry.key, &entry.node, path, fields_of(section))?;
            Some((*name, reader))
        };
        named.iter().filter_map(open).collect()
    }

    fn names(&self, section: Section) -> impl Iterator<Item = &'a str> + Clone {
        self.index.get(&section).into_iter().flat_map(|named| named.keys().copied())
    }

    /// The definition that a field names, if there is one.
    fn name_in(&self, reader: &Reader<'a>, field: &str, section: Section) -> Option<String> {
        let text = reader.text(field)?;
        self.known(reader, field, section, &text).then_some(text.value)
    }

    /// The definitions that a field lists, as far as there are such.
    fn names_in(&self, reader: &Reader<'a>, field: &str, section: Section) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for text in reader.list(field) {
            if names.contains(&text.value) {
                reader.context.error(
                    text.place,
                    &reader.key(field),
                    format!("names '{}' twice", text.written),
                );
            } else if self.known(reader, field, section, &text) {
                names.push(text.value);
            }
        }
        names
    }

    fn known(
        &self,
        reader: &Reader<'a>,
        field: &str,
        section: Section,
        text: &crate::reader::Text<'_>,
    ) -> bool {
        let known = self.index.get(&section).is_some_and(|named| named.contains_key(text.value.as_str()));
        if !known {
            let near = suggestion(&text.value, self.names(section));
            let message = format!("there is no {} '{}'{near}", section.as_str(), text.written);
            reader.context.error(text.place, &reader.key(field), message);
        }
        known
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
