//! Definitions as they are written: TOML files of one directory, or what the database keeps of them.
//!
//! A directory is read flat, its `*.toml` files in the order of their names. Which file a definition
//! stands in does not matter; a name that stands in two is an error. References stay references.

use crate::environment::open_regular;
use crate::problem::{Place, Problem, any_error};
use crate::tree::{self, Entry, Node, Table, Value};
use model::schema::{FieldPath, FieldStep, Section, Subject};
use serde_json::Value as Json;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest document, in bytes; thousands of definitions are far smaller.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// Documents with their references unresolved. They may hold secrets: those that a person wrote, and those that the
/// database keeps once [`Documents::with_kept`] has put them in.
#[derive(Clone, Default)]
pub struct Documents {
    pub(crate) files: Vec<Document>,
    /// The directory that they were read from.
    pub(crate) directory: Option<PathBuf>,
}

/// One file.
#[derive(Clone)]
pub(crate) struct Document {
    /// Its name within the directory.
    pub(crate) name: String,
    pub(crate) table: Table,
    /// Whether it could be read only in part: what is missing in it then proves nothing.
    pub(crate) broken: bool,
    /// How messages name it.
    pub(crate) shown: Arc<str>,
    /// What was read; empty for one that was made of stored definitions.
    pub(crate) text: Arc<str>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.name)).finish()
    }
}

impl Documents {
    /// Where a field of a definition stands, and its path as messages write it. A field that is left out is at the table, or
    /// the list item, that it would stand in.
    pub(crate) fn find(&self, subject: &Subject, path: &FieldPath) -> (Place, String) {
        let sections = self.files.iter().filter_map(|file| file.table.get(subject.section.as_str()));
        let mut definitions = sections.filter_map(|section| match &section.node.value {
            Value::Table(named) => named.get(&subject.name),
            _ => None,
        });
        let Some(definition) = definitions.next() else {
            let file = self.files.first().map_or_else(|| "".into(), |file| file.shown.clone());
            return (Place::whole(&file), path.to_string());
        };
        let mut place = &definition.key;
        let mut node = Some(&definition.node);
        let mut shown = String::new();
        for step in path.steps() {
            match (step, node.map(|node| &node.value)) {
                (FieldStep::Key(key), value) => {
                    shown = tree::join(&shown, key);
                    let below = if let Some(Value::Table(table)) = value { table.get(key) } else { None };
                    node = below.map(|entry| &entry.node);
                    place = below.map_or(place, |entry| &entry.key);
                }
                (FieldStep::Item(number), Some(Value::List(items))) => {
                    node = items.get(number.saturating_sub(1));
                    place = node.map_or(place, |node| &node.place);
                    // Texts in a list are told by what is said of them.
                    if node.is_none_or(|node| matches!(node.value, Value::Table(_))) {
                        shown = format!("{shown}[{number}]");
                    }
                }
                // One alone, as a list takes it.
                (FieldStep::Item(_), _) => {}
            }
        }
        (place.clone(), shown)
    }

    /// Reads a directory's `*.toml` files, not those of directories below and none whose name begins with
    /// a dot. What cannot be read is among the problems.
    #[must_use]
    pub fn read(directory: &Path) -> (Self, Vec<Problem>) {
        let whole = Place::whole(&directory.display().to_string().into());
        let mut problems = Vec::new();
        let mut names = Vec::new();
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    match entry.map(|entry| entry.file_name().into_string()) {
                        Ok(Ok(name)) if !name.starts_with('.') => names.push(name),
                        Ok(Ok(_)) => {}
                        Ok(Err(name)) if has_extension(Path::new(&name)) => {
                            let message = format!(
                                "the file name {:?} is not UTF-8: rename it, its definitions would be missing",
                                name.display().to_string()
                            );
                            problems.push(Problem::error(&whole, "", message));
                        }
                        Ok(Err(_)) => {}
                        Err(error) => {
                            problems.push(Problem::error(&whole, "", format!("cannot be listed: {error}")))
                        }
                    }
                }
            }
            Err(error) => problems.push(Problem::error(&whole, "", format!("cannot be listed: {error}"))),
        }
        names.sort();
        let mut texts = Vec::new();
        for name in names {
            let path = directory.join(&name);
            if path.is_dir() {
                if holds_documents(&path) {
                    let place = Place::whole(&path.display().to_string().into());
                    let message = "is not read: only the *.toml files of the directory itself are definitions, not those of subdirectories";
                    problems.push(Problem::warning(&place, "", message));
                }
            } else if has_extension(&path) {
                match read_bounded(&path) {
                    Ok(bytes) => texts.push((name, path.display().to_string(), bytes)),
                    Err(message) => {
                        let place = Place::whole(&path.display().to_string().into());
                        problems.push(Problem::error(&place, "", message));
                    }
                }
            }
        }
        if texts.is_empty() && problems.is_empty() {
            problems.push(Problem::warning(&whole, "", "holds no *.toml file, so nothing is defined"));
        }
        let mut documents = Self { directory: Some(directory.to_owned()), ..Self::default() };
        for (name, shown, bytes) in texts {
            problems.append(&mut documents.add(name, &shown, &bytes));
        }
        (documents, problems)
    }

    /// Reads one file, as if it were alone in its directory.
    #[must_use]
    pub fn read_file(path: &Path) -> (Self, Vec<Problem>) {
        let shown = path.display().to_string();
        match read_bounded(path) {
            Ok(bytes) => {
                let mut documents = Self::default();
                let problems = documents.add(shown.clone(), &shown, &bytes);
                (documents, problems)
            }
            Err(message) => {
                (Self::default(), vec![Problem::error(&Place::whole(&shown.into()), "", message)])
            }
        }
    }

    /// Reads texts that stand for files of these names.
    #[must_use]
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> (Self, Vec<Problem>) {
        let mut documents = Self::default();
        let mut problems = Vec::new();
        for (name, bytes) in files {
            problems.append(&mut documents.add(name.to_owned(), name, bytes));
        }
        (documents, problems)
    }

    fn add(&mut self, name: String, shown: &str, bytes: &[u8]) -> Vec<Problem> {
        let shown: Arc<str> = shown.into();
        let (table, problems) = tree::parse(&shown, bytes);
        // Bytes that are no text are an error, so nobody stores them.
        let text = String::from_utf8_lossy(bytes).into();
        self.files.push(Document { name, table, broken: any_error(&problems), shown, text });
        problems
    }

    /// The names of the definitions of a kind.
    pub fn names(&self, section: Section) -> impl Iterator<Item = &str> + Clone {
        let tables = self.files.iter().filter_map(move |file| file.table.get(section.as_str()));
        tables.flat_map(|entry| match &entry.node.value {
            Value::Table(named) => named.keys().map(String::as_str).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
    }

    /// How many definitions there are, and in how many files.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let tables = self.files.iter().flat_map(|file| file.table.values());
        let below =
            tables.map(|entry| if let Value::Table(table) = &entry.node.value { table.len() } else { 0 });
        (below.sum(), self.files.len())
    }
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn holds_documents(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .is_ok_and(|entries| entries.filter_map(Result::ok).any(|entry| has_extension(&entry.path())))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let (file, _) = open_regular(path).map_err(failed)?;
    file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err("is larger than 16 MiB".into());
    }
    Ok(bytes)
}

pub(crate) fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) | Value::Word(text) | Value::Opened(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Bool(value) => Json::from(*value),
        Value::List(items) => items.iter().map(|item| value_to_json(&item.value)).collect(),
        Value::Table(table) => {
            let fields = table.iter().map(|(key, entry)| (key.clone(), value_to_json(&entry.node.value)));
            Json::Object(fields.collect())
        }
    }
}

/// A value that TOML does not have (null, a fraction) is an error that names its kind.
pub(crate) fn node_from_json(place: &Place, json: &Json) -> Result<Node, &'static str> {
    let value = match json {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Integer(number.as_i64().ok_or("number with a fraction")?),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| node_from_json(place, item)).collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let mut table = Table::new();
            for (key, value) in fields {
                let node = node_from_json(place, value)?;
                table.insert(key.clone(), Entry { key: place.clone(), node });
            }
            Value::Table(table)
        }
        Json::Null => return Err("null"),
    };
    Ok(Node { place: place.clone(), value })
}
