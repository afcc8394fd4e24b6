//! What is at hand while documents are read, and the problems found so far.

use crate::environment::Environment;
use crate::problem::{Place, Problem, Severity};
use crate::reference::Use;
use crate::roots::Roots;
use model::schema::{Kind, Section};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// Shortest value that is looked for in messages, in bytes: a shorter one stands in many words.
const SHORTEST_HIDDEN: usize = 4;

pub(crate) struct Context<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) environment: &'a dyn Environment,
    /// The names of the definitions of each kind; `None` while settings are read, which name none.
    names: Option<BTreeMap<Section, BTreeSet<&'a str>>>,
    problems: RefCell<Vec<Problem>>,
    /// The keys at which there is an error.
    wrong: RefCell<BTreeSet<String>>,
    /// Secrets that the database keeps and that are not at hand.
    unknown: Cell<usize>,
    /// What references stood for, and the reference: no message shows the one, it names the other.
    hidden: RefCell<Vec<(Zeroizing<String>, String)>>,
    /// Variables that definitions name, and what for.
    variables: RefCell<BTreeMap<String, Uses>>,
}

/// Where a variable is used: in a field that is shown, and in one for secrets.
#[derive(Default)]
struct Uses {
    shown: Option<(Place, String)>,
    secret: Option<String>,
}

impl<'a> Context<'a> {
    pub(crate) const fn new(roots: &'a Roots, environment: &'a dyn Environment) -> Self {
        Self {
            roots,
            environment,
            names: None,
            problems: RefCell::new(Vec::new()),
            wrong: RefCell::new(BTreeSet::new()),
            unknown: Cell::new(0),
            hidden: RefCell::new(Vec::new()),
            variables: RefCell::new(BTreeMap::new()),
        }
    }

    /// From now on names of definitions are looked up among these.
    pub(crate) fn among(&mut self, names: BTreeMap<Section, BTreeSet<&'a str>>) {
        self.names = Some(names);
    }

    /// Whether what a text names is defined, where its kind says that it names a definition.
    pub(crate) fn is_defined(&self, kind: Kind, text: &str, written: &str, place: &Place, key: &str) -> bool {
        let (section, name) = match kind {
            Kind::Name(section) => (section, text),
            Kind::NameOf(sections) => {
                let Some((word, name)) = text.split_once(':') else { return false };
                let Some(section) = sections.iter().find(|section| section.as_str() == word) else {
                    return false;
                };
                (*section, name)
            }
            _ => return true,
        };
        let Some(names) = &self.names else { return true };
        let known = names.get(&section);
        if known.is_some_and(|names| names.contains(name)) {
            return true;
        }
        let near = suggestion(name, known.into_iter().flatten().copied());
        let shown = if written == text { name } else { written };
        self.error(place, key, format!("there is no {section} '{shown}'{near}"));
        false
    }

    pub(crate) fn error(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.problem(Severity::Error, place, key, message.into());
    }

    pub(crate) fn warning(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.problem(Severity::Warning, place, key, message.into());
    }

    fn problem(&self, severity: Severity, place: &Place, key: &str, mut message: String) {
        for (value, reference) in self.hidden.borrow().iter() {
            message = without(message, value, reference);
        }
        if severity == Severity::Error {
            self.wrong.borrow_mut().insert(key.to_owned());
        }
        self.problems.borrow_mut().push(Problem::new(severity, place, key, message));
    }

    /// Keeps what a reference stands for out of every later message.
    pub(crate) fn hide(&self, value: &str, reference: &str) {
        if value.len() >= SHORTEST_HIDDEN {
            self.hidden.borrow_mut().push((Zeroizing::new(value.to_owned()), reference.to_owned()));
        }
    }

    /// Notes that definitions use a variable.
    pub(crate) fn used(&self, name: &str, place: &Place, key: &str, to: Use) {
        if !self.roots.is_bounded() {
            return;
        }
        let mut variables = self.variables.borrow_mut();
        let uses = variables.entry(name.to_owned()).or_default();
        if to == Use::Secret {
            uses.secret.get_or_insert_with(|| key.to_owned());
        } else {
            uses.shown.get_or_insert_with(|| (place.clone(), key.to_owned()));
        }
    }

    /// A variable that holds a secret must stand in no field that is shown.
    pub(crate) fn keep_apart(&self) {
        for (name, uses) in self.variables.borrow().iter() {
            if let (Some((place, key)), Some(secret)) = (&uses.shown, &uses.secret) {
                let message = format!(
                    "would show the variable {name}, which {secret} uses as a secret; use another variable"
                );
                self.error(place, key, message);
            }
        }
    }

    /// A secret stands there that the database keeps and that is not at hand. What needs it is not checked.
    pub(crate) fn unknown(&self, place: &Place, key: &str, by_id: bool) {
        self.unknown.set(self.unknown.get() + 1);
        // What comes from the database itself has no lines, and is reported by the code that read it.
        if place.line > 0 {
            if by_id {
                self.error(place, key, "must be { kept = true }, not the id of a secret");
            } else {
                self.warning(place, key, "is known only to the database: what it holds is not checked here");
            }
        }
    }

    /// Whether everything was at hand: else what was made of the documents lacks something.
    pub(crate) const fn is_complete(&self) -> bool {
        self.unknown.get() == 0
    }

    /// Whether a definition of a kind has an error.
    pub(crate) fn has_error_in(&self, section: Section) -> bool {
        let of_kind =
            |key: &str| key.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let is_error = |problem: &Problem| problem.severity == Severity::Error && of_kind(&problem.key);
        self.problems.borrow().iter().any(is_error)
    }

    /// Whether there is an error at a key.
    pub(crate) fn has_error_at(&self, key: &str) -> bool {
        self.wrong.borrow().contains(key)
    }

    /// Whether there is an error at a key, or within what it holds.
    pub(crate) fn has_error_within(&self, key: &str) -> bool {
        let wrong = self.wrong.borrow();
        let mut longer = wrong.range(key.to_owned()..).map_while(|other| other.strip_prefix(key));
        longer.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Values that could not be read, for whatever reason.
    pub(crate) fn error_count(&self) -> usize {
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        self.problems.borrow().iter().filter(is_error).count() + self.unknown.get()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A message that names the reference instead of its value, in the forms in which messages write a value.
fn without(message: String, value: &str, reference: &str) -> String {
    let forms =
        [value.to_owned(), value.to_ascii_lowercase(), value.escape_debug().to_string()].map(Zeroizing::new);
    forms.iter().fold(message, |message, form| {
        if message.contains(form.as_str()) { message.replace(form.as_str(), reference) } else { message }
    })
}

/// `; did you mean 'x'?`, or what there is, or nothing when there is nothing.
pub(crate) fn suggestion<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = model::nearest(word, candidates.clone()) {
        return format!("; did you mean '{near}'?");
    }
    let all: Vec<&str> = candidates.collect();
    match all.len() {
        0 => String::new(),
        1..=12 => format!("; choose one of: {}", all.join(", ")),
        // A list that nobody reads is no help.
        many => format!("; there are {many} others"),
    }
}
