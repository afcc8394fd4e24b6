//! A TOML document as a tree that remembers where everything stands.
//!
//! Two things are known only here: TOML's own syntax, and that definitions need neither fractions nor
//! dates, so that a document and its JSON form hold exactly the same.

use crate::problem::{Place, Problem};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands. No `Debug`: it may hold a secret that someone wrote down literally.
#[derive(Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// Text of an environment variable, which may stand for any scalar or for a list.
    Word(String),
    /// A secret that the database keeps, decrypted.
    Opened(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, in words for a message; never its content.
    pub(crate) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) | Self::Opened(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A table's entries by key.
pub(crate) type Table = BTreeMap<String, Entry>;

/// A key's place and its value.
#[derive(Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

/// Reads a document as far as it can be read. What cannot is a problem; the rest is in the table.
pub(crate) fn parse(file: &Arc<str>, bytes: &[u8]) -> (Table, Vec<Problem>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let place = Lines::new(file, &good).place(good.len());
            return (Table::new(), vec![Problem::error(&place, "", "is not UTF-8, as TOML must be")]);
        }
    };
    let lines = Lines::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = TomlReader { lines, problems: Vec::new() };
    let table = reader.table(root.into_inner(), "");
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let mut message = error.message().trim().replace('\n', "; ");
        if message.contains("duplicate key")
            && let Some(first) =
                text.get(span.clone()).and_then(|key| reader.earlier(&table, key, span.start))
        {
            message = format!("{message}: first written on line {}", first.line);
        }
        reader.problems.push(Problem::error(&reader.lines.place(span.start), "", message));
    }
    (table, reader.problems)
}

struct TomlReader<'a> {
    lines: Lines<'a>,
    problems: Vec<Problem>,
}

impl TomlReader<'_> {
    fn table(&mut self, table: DeTable<'_>, path: &str) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            let place = self.lines.place(key.span().start);
            let name = key.into_inner().into_owned();
            let below = join(path, &name);
            if let Some(node) = self.node(value, &below) {
                entries.insert(name, Entry { key: place, node });
            }
        }
        entries
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, path: &str) -> Option<Node> {
        let Range { start, .. } = value.span();
        let place = self.lines.place(start);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => return self.refuse(&place, path, "is a larger number than Waybill supports"),
                }
            }
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Array(items) => Value::List(
                items
                    .into_iter()
                    .enumerate()
                    .filter_map(|(at, item)| self.node(item, &format!("{path}[{}]", at + 1)))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table, path)),
            DeValue::Float(_) => {
                return self.refuse(&place, path, "cannot be a number with a fraction; write text in quotes");
            }
            DeValue::Datetime(_) => {
                return self.refuse(
                    &place,
                    path,
                    "cannot be a date or time without quotes; write text in quotes",
                );
            }
        };
        Some(Node { place, value })
    }

    fn refuse(&mut self, place: &Place, path: &str, message: &str) -> Option<Node> {
        self.problems.push(Problem::error(place, path, message));
        None
    }

    /// The last place before an offset where a key of that name stands, or where the same header does: of
    /// two equal headers the tree keeps only the second.
    fn earlier(&self, table: &Table, key: &str, before: usize) -> Option<Place> {
        let limit = self.lines.place(before);
        let mut above: Vec<&str> = self.lines.text.lines().take(limit.line as usize).map(header).collect();
        if let Some(own) = above.pop().filter(|line| line.starts_with('[')) {
            let line = above.iter().position(|line| *line == own)?;
            return Some(Place { line: u32::try_from(line + 1).ok()?, column: 1, ..limit });
        }
        let mut best = None;
        collect(table, key.trim_matches(['"', '\'']), &mut |place| {
            if *place < limit && best.as_ref().is_none_or(|found| place > found) {
                best = Some(place.clone());
            }
        });
        best
    }
}

/// A header without what may stand around it.
fn header(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn collect(table: &Table, key: &str, found: &mut impl FnMut(&Place)) {
    for (name, entry) in table {
        if name == key {
            found(&entry.key);
        }
        match &entry.node.value {
            Value::Table(below) => collect(below, key, found),
            Value::List(items) => {
                for item in items {
                    if let Value::Table(below) = &item.value {
                        collect(below, key, found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// `flow.orders` and `source` make `flow.orders.source`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Turns offsets into lines and columns.
pub(crate) struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &Arc<str>, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.clone(), text, starts }
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let characters = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: self.file.clone(), line: number(line), column: number(characters + 1) }
    }
}
