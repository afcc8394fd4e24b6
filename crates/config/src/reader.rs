//! Reads a table by its declared fields: unknown keys, missing ones, wrong kinds, references.

use crate::context::{Context, suggestion};
use crate::field::{Field, FieldKind};
use crate::problem::Place;
use crate::reference::{Use, is_reference};
use crate::tree::{Entry, Node, Table, Value, join};
use model::{OptionKind, OptionValue, PublicMaterial, Secret};
use std::time::Duration;

/// A table with its declaration. Every problem goes to the context; a getter whose value is wrong
/// answers as if the key were left out, so that the rest is still checked.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) place: &'a Place,
    pub(crate) path: String,
    table: &'a Table,
    fields: &'static [Field],
}

static NOTHING: Table = Table::new();

/// A text with its references resolved.
pub(crate) struct Text<'a> {
    pub(crate) value: String,
    /// As written: what messages show, since the value may come from a secret file.
    pub(crate) written: &'a str,
    pub(crate) place: &'a Place,
}

impl<'a> Reader<'a> {
    /// Opens a table: unknown keys and missing required ones are problems.
    pub(crate) fn open(
        context: &'a Context<'a>,
        place: &'a Place,
        node: &'a Node,
        path: String,
        fields: &'static [Field],
    ) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            context.error(&node.place, &path, format!("takes a table, not {}", node.value.describe()));
            return None;
        };
        Some(Self::of(context, place, table, path, fields))
    }

    pub(crate) fn of(
        context: &'a Context<'a>,
        place: &'a Place,
        table: &'a Table,
        path: String,
        fields: &'static [Field],
    ) -> Self {
        for (name, entry) in table {
            if !fields.iter().any(|field| field.name == name) {
                let names = fields.iter().map(|field| field.name);
                context.error(&entry.key, &path, format!("unknown key '{name}'{}", suggestion(name, names)));
            }
        }
        for field in fields.iter().filter(|field| field.required && !table.contains_key(field.name)) {
            context.error(
                place,
                &path,
                format!("'{}' is missing: {}", field.name, first_sentence(field.doc)),
            );
        }
        Self { context, place, path, table, fields }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&'a Entry> {
        debug_assert!(self.fields.iter().any(|field| field.name == name), "{name} is not declared");
        self.table.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    pub(crate) fn key(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// An error at a field, or at the table when the field is left out.
    pub(crate) fn error(&self, name: &str, message: impl Into<String>) {
        self.context.error(self.place_of(name), &self.key(name), message);
    }

    pub(crate) fn warning(&self, name: &str, message: impl Into<String>) {
        self.context.warning(self.place_of(name), &self.key(name), message);
    }

    pub(crate) fn place_of(&self, name: &str) -> &'a Place {
        self.entry(name).map_or(self.place, |entry| &entry.node.place)
    }

    /// A table below, when it is there.
    pub(crate) fn child(&self, name: &str) -> Option<Self> {
        let (FieldKind::Table(fields), Some(entry)) = (self.kind(name)?, self.entry(name)) else {
            return None;
        };
        Self::open(self.context, &entry.key, &entry.node, self.key(name), fields)
    }

    /// A table below; an empty one when it is left out.
    pub(crate) fn section(&self, name: &str) -> Self {
        self.child(name).unwrap_or_else(|| {
            let fields = if let Some(FieldKind::Table(fields)) = self.kind(name) { fields } else { &[] };
            let (context, place) = (self.context, self.place);
            Self { context, place, path: self.key(name), table: &NOTHING, fields }
        })
    }

    /// The tables of a list.
    pub(crate) fn children(&self, name: &str) -> Vec<Self> {
        let (Some(FieldKind::Tables(fields)), Some(entry)) = (self.kind(name), self.entry(name)) else {
            return Vec::new();
        };
        let key = self.key(name);
        let Value::List(items) = &entry.node.value else {
            self.error(name, format!("takes tables, written [[{key}]], not {}", entry.node.value.describe()));
            return Vec::new();
        };
        let open = |(at, item): (usize, &'a Node)| {
            Self::open(self.context, &item.place, item, format!("{key}[{}]", at + 1), fields)
        };
        items.iter().enumerate().filter_map(open).collect()
    }

    /// The tables below by the names that a person chose.
    pub(crate) fn named(&self, name: &str) -> Vec<(&'a str, Self)> {
        let (Some(FieldKind::Named(fields)), Some(entry)) = (self.kind(name), self.entry(name)) else {
            return Vec::new();
        };
        let key = self.key(name);
        let Value::Table(tables) = &entry.node.value else {
            self.error(name, format!("takes tables, written [{key}.NAME]"));
            return Vec::new();
        };
        let open = |(name, entry): (&'a String, &'a Entry)| {
            let reader = Self::open(self.context, &entry.key, &entry.node, join(&key, name), fields)?;
            Some((name.as_str(), reader))
        };
        tables.iter().filter_map(open).collect()
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn kind(&self, name: &str) -> Option<FieldKind> {
        self.field(name).map(|field| field.kind)
    }

    /// The value of a scalar or list, or its default.
    pub(crate) fn value(&self, name: &str) -> Option<OptionValue> {
        let field = self.field(name)?;
        let FieldKind::Value(kind) = field.kind else { return None };
        self.entry(name)
            .and_then(|entry| value_of(self.context, &entry.node, &self.key(name), kind))
            .or_else(|| OptionValue::parse(kind, field.default?).ok())
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Some(OptionValue::Duration(duration)) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(OptionValue::Size(bytes)) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(OptionValue::Integer(number)) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(OptionValue::Bool(true)))
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Secret<String>> {
        match self.value(name) {
            Some(OptionValue::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// One of the words that the field declares.
    pub(crate) fn word<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.value(name) {
            Some(OptionValue::Text(word)) => parse(&word),
            _ => None,
        }
    }

    /// A text that is there.
    pub(crate) fn text(&self, name: &str) -> Option<Text<'a>> {
        let entry = self.entry(name)?;
        let kind = match self.kind(name) {
            Some(FieldKind::Value(kind @ OptionKind::Public(_))) => kind,
            _ => OptionKind::Text,
        };
        text_of(self.context, &entry.node, &self.key(name), kind)
    }

    /// A text, or its default.
    pub(crate) fn text_or_default(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn list(&self, name: &str) -> Vec<Text<'a>> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        list_of(self.context, &entry.node, &self.key(name), OptionKind::Text)
    }
}

/// Reads a value of a kind.
pub(crate) fn value_of(
    context: &Context<'_>,
    node: &Node,
    key: &str,
    kind: OptionKind,
) -> Option<OptionValue> {
    let wrong = |context: &Context<'_>| {
        let hint = match (&node.value, kind) {
            (Value::Integer(number), OptionKind::Duration) => format!("; write \"{number}s\""),
            (Value::Integer(_) | Value::Bool(_), OptionKind::Text | OptionKind::Choice(_)) => {
                "; write it in quotes".into()
            }
            (Value::Text(_), OptionKind::Bool | OptionKind::Integer { .. }) => {
                "; write it without quotes".into()
            }
            _ => String::new(),
        };
        let message = format!("takes {}, not {}{hint}", kind.describe(), node.value.describe());
        context.error(&node.place, key, message);
        None
    };
    match (&node.value, kind) {
        (_, OptionKind::List | OptionKind::Public(PublicMaterial::HostKeys)) => {
            let list = list_of(context, node, key, kind);
            Some(OptionValue::List(list.into_iter().map(|text| text.value).collect()))
        }
        // Only a reference can bring a number as text: a document has numbers of its own.
        (Value::Text(text), OptionKind::Bool | OptionKind::Integer { .. }) if !is_reference(text) => {
            wrong(context)
        }
        (Value::Text(written) | Value::Word(written), _) => {
            let text = context.resolve(written, &node.place, key, Use::from(kind))?;
            if kind == OptionKind::Secret {
                return Some(OptionValue::Secret(Secret::new(text)));
            }
            match OptionValue::parse(kind, &text) {
                Ok(value) => Some(value),
                // The text may come from a file or variable, and is not to be shown then.
                Err(_) if is_reference(written) => {
                    let message =
                        format!("takes {}; what {written:?} stands for does not fit", kind.describe());
                    context.error(&node.place, key, message);
                    None
                }
                Err(message) => {
                    context.error(&node.place, key, message);
                    None
                }
            }
        }
        (Value::Integer(number), OptionKind::Integer { .. } | OptionKind::Size) => {
            match OptionValue::parse(kind, &number.to_string()) {
                Ok(value) => Some(value),
                Err(message) => {
                    context.error(&node.place, key, message);
                    None
                }
            }
        }
        (Value::Bool(value), OptionKind::Bool) => Some(OptionValue::Bool(*value)),
        _ => wrong(context),
    }
}

fn text_of<'a>(context: &Context<'_>, node: &'a Node, key: &str, kind: OptionKind) -> Option<Text<'a>> {
    match &node.value {
        Value::Text(written) | Value::Word(written) => {
            let value = context.resolve(written, &node.place, key, Use::from(kind))?;
            Some(Text { value, written, place: &node.place })
        }
        _ => {
            value_of(context, node, key, OptionKind::Text);
            None
        }
    }
}

/// The texts of a list: its own, or those of a single text, each of the kind.
fn list_of<'a>(context: &Context<'_>, node: &'a Node, key: &str, kind: OptionKind) -> Vec<Text<'a>> {
    // What a list's kind says of its texts.
    let kind = if let OptionKind::Public(_) = kind { kind } else { OptionKind::Text };
    match &node.value {
        Value::List(items) => {
            let item = |item: &'a Node| match item.value {
                // A list in a list would be read as one more list.
                Value::List(_) => {
                    context.error(&item.place, key, "takes texts in its list, not a list");
                    None
                }
                _ => text_of(context, item, key, kind),
            };
            items.iter().filter_map(item).collect()
        }
        // A variable holds one line: its parts are set apart by commas.
        Value::Word(words) => words
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| Text { value: word.to_owned(), written: word, place: &node.place })
            .collect(),
        Value::Text(_) => text_of(context, node, key, kind).into_iter().collect(),
        other => {
            context.error(&node.place, key, format!("takes a list of texts, not {}", other.describe()));
            Vec::new()
        }
    }
}

/// A field's documentation up to its first full stop.
fn first_sentence(doc: &str) -> &str {
    doc.find(". ").map_or(doc.trim_end_matches('.'), |at| &doc[..at])
}
