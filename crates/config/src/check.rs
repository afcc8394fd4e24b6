//! Checks documents and makes the model's definitions of them, without any network.
//!
//! Each kind of definition is read after those it may name, so that what it needs of them is known. A
//! definition with an error is left out; whatever names it is checked as far as it can be, so that one
//! mistake is reported once.

mod alone;
mod calendar;
mod circle;
mod directory;
mod endpoint;
mod failure;
mod findings;
mod flow;
mod glob;
mod listener;
mod location;
mod mask;
mod material;
mod overlap;
mod partner;
mod proxy;
mod schedule;
mod source;
mod steps;
mod stream;
mod taken;
mod throttle;
mod together;

pub(crate) use proxy::read_proxy;

use crate::catalogue::Catalogue;
use crate::context::{Context, suggestion};
use crate::documents::Documents;
use crate::environment::Environment;
use crate::problem::{Problem, any_error};
use crate::reader::{Declared, Reader};
use crate::roots::Roots;
use crate::settings::SETTINGS;
use crate::tree::{Entry, Value, join};
use model::definition::{Definitions, Listener};
use model::schema::Section;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Documents {
    /// Checks everything and resolves the references. The definitions are there when no problem is an error and no
    /// secret is missing that the database keeps; their revision is 0. Problems are sorted by file and line, and each is told once.
    #[must_use]
    pub fn check(
        &self,
        catalogue: &Catalogue,
        roots: &Roots,
        environment: &dyn Environment,
    ) -> (Option<Definitions>, Vec<Problem>) {
        let Checked { definitions, complete, problems } = self.check_all(catalogue, roots, environment);
        (definitions.filter(|_| complete), problems)
    }

    pub(crate) fn check_all(
        &self,
        catalogue: &Catalogue,
        roots: &Roots,
        environment: &dyn Environment,
    ) -> Checked {
        let roots = &roots.beside_definitions(self.directory.as_deref());
        let mut context = Context::new(roots, environment);
        let index = index(&context, self, catalogue);
        context.among(
            index.iter().map(|(section, named)| (*section, named.keys().copied().collect())).collect(),
        );
        let context = context;
        let mut checker = Checker::new(&context, self, catalogue, index);
        checker.certificates();
        checker.keys();
        checker.credentials();
        checker.proxies();
        checker.calendars();
        checker.worker_pools();
        checker.others();
        checker.identities();
        checker.partners();
        checker.listeners();
        checker.endpoints();
        checker.flows();
        checker.failure_routes();
        checker.overlaps();
        checker.circles();
        for transport in catalogue.declarations() {
            checker.report(transport.check_definitions(&checker.definitions, environment.now()));
        }
        context.keep_apart();
        let definitions = checker.definitions;
        let complete = context.is_complete();
        let mut problems = context.into_problems();
        let failed = any_error(&problems) || self.files.iter().any(|file| file.broken);
        // What a file with a syntax error lacks is not reported: its syntax error is.
        let broken: BTreeSet<&str> =
            self.files.iter().filter(|file| file.broken).map(|file| &*file.shown).collect();
        problems.retain(|problem| !broken.contains(problem.file.as_str()));
        problems.sort();
        problems.dedup();
        Checked { definitions: (!failed).then_some(definitions), complete, problems }
    }
}

/// What a check found.
pub(crate) struct Checked {
    /// What was made of the documents, when no problem is an error.
    pub(crate) definitions: Option<Definitions>,
    /// Whether every secret was at hand: else the definitions lack what needs one.
    pub(crate) complete: bool,
    /// Sorted by file and line.
    pub(crate) problems: Vec<Problem>,
}

/// All definitions by kind and name.
type Index<'a> = BTreeMap<Section, BTreeMap<&'a str, &'a Entry>>;

struct Checker<'a> {
    context: &'a Context<'a>,
    documents: &'a Documents,
    catalogue: &'a Catalogue,
    index: Index<'a>,
    definitions: Definitions,
    endpoints: BTreeMap<String, endpoint::EndpointFacts>,
    /// Listeners whose fields could be read, also those that their transport refuses.
    listeners: BTreeMap<String, Arc<Listener>>,
    polls: Vec<overlap::Poll>,
    failure_routes: Vec<failure::Named>,
    /// Only one flow is read, of endpoints and listeners nothing but their transports is known: transports do not
    /// compare it with those.
    is_alone: bool,
}

fn index<'a>(context: &Context<'_>, documents: &'a Documents, catalogue: &Catalogue) -> Index<'a> {
    let sections: Vec<Section> = catalogue.sections().map(|spec| spec.section).collect();
    let mut index = Index::new();
    for file in &documents.files {
        for (word, entry) in &file.table {
            let Some(section) = sections.iter().copied().find(|section| section.as_str() == word) else {
                context.error(&entry.key, "", unknown_section(word, &sections));
                continue;
            };
            let Value::Table(table) = &entry.node.value else {
                let message = format!("must be tables, written [{word}.NAME]");
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

fn unknown_section(word: &str, sections: &[Section]) -> String {
    if SETTINGS.fields.iter().any(|setting| setting.name == word) {
        return format!("'{word}' is a setting of the gateway; write it in waybill.toml");
    }
    let words = sections.iter().map(|section| section.as_str());
    format!("unknown kind of definition '{word}'{}", suggestion(word, words))
}

/// Whether a text may be the name of a definition. Names end up in paths, URLs and pages: nothing in them needs escaping.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b".-_".contains(&b))
        && name.bytes().next().is_some_and(plain)
}

impl<'a> Checker<'a> {
    fn new(
        context: &'a Context<'a>,
        documents: &'a Documents,
        catalogue: &'a Catalogue,
        index: Index<'a>,
    ) -> Self {
        Self {
            context,
            documents,
            catalogue,
            index,
            definitions: Definitions::default(),
            endpoints: BTreeMap::new(),
            listeners: BTreeMap::new(),
            polls: Vec::new(),
            failure_routes: Vec::new(),
            is_alone: false,
        }
    }

    /// The definitions of a kind, as they are written.
    fn written(&self, section: Section) -> Vec<(&'a str, &'a Entry)> {
        let named = self.index.get(&section).into_iter().flatten();
        named.map(|(name, entry)| (*name, *entry)).collect()
    }

    /// Opens a definition.
    fn open(&self, section: Section, name: &str, entry: &'a Entry, declared: Declared) -> Option<Reader<'a>> {
        Reader::open(self.context, &entry.key, &entry.node, join(section.as_str(), name), declared)
    }

    /// The definitions of a kind, each opened by the fields that hold for all of them.
    fn section(&self, section: Section) -> Vec<(&'a str, Reader<'a>)> {
        let Some(spec) = self.catalogue.sections().find(|spec| spec.section == section) else {
            return Vec::new();
        };
        let open = |(name, entry): (&'a str, &'a Entry)| {
            Some((name, self.open(section, name, entry, spec.group.into())?))
        };
        self.written(section).into_iter().filter_map(open).collect()
    }

    /// The definition that a field names, if there is one.
    fn name_in(&self, reader: &Reader<'a>, field: &str) -> Option<String> {
        match reader.value(field) {
            Some(model::schema::Value::Text(name)) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
