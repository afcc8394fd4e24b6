//! Reads a table by its declared fields: unknown keys, missing ones, wrong kinds, references.

mod reading;

use crate::context::{Context, suggestion};
use crate::problem::Place;
use crate::tree::{Entry, Node, Table, Value as Written, join};
use model::Secret;
use model::schema::{Field, Group, Kind, Rule, Value, Values};
use std::borrow::Cow;
use std::time::Duration;

pub(crate) use reading::text_of;
use reading::{list_of, read};

/// A table with its declaration. Every problem goes to the context; a getter whose value is wrong
/// answers as if the key were left out, so that the rest is still checked.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) place: &'a Place,
    pub(crate) path: String,
    table: &'a Table,
    fields: Cow<'static, [Field]>,
    complete: bool,
}

static NOTHING: Table = Table::new();

/// What a table is read by.
pub(crate) struct Declared {
    pub(crate) fields: Cow<'static, [Field]>,
    pub(crate) rules: Cow<'static, [Rule]>,
}

impl From<&'static Group> for Declared {
    fn from(group: &'static Group) -> Self {
        Self { fields: Cow::Borrowed(group.fields), rules: Cow::Borrowed(group.rules) }
    }
}

impl Declared {
    /// The fields of several groups.
    pub(crate) fn joined<'g>(groups: impl IntoIterator<Item = &'g Group>) -> Self {
        let groups: Vec<&Group> = groups.into_iter().collect();
        let (fields, rules) = model::schema::joined(&groups);
        Self { fields: Cow::Owned(fields), rules: Cow::Owned(rules) }
    }
}

/// A text with its references resolved.
pub(crate) struct Text<'a> {
    pub(crate) value: String,
    /// As written: what messages show, since the value may come from a secret file.
    pub(crate) written: &'a str,
    pub(crate) place: &'a Place,
}

impl<'a> Reader<'a> {
    /// Opens a table: unknown keys, missing required ones and broken rules are problems.
    pub(crate) fn open(
        context: &'a Context<'a>,
        place: &'a Place,
        node: &'a Node,
        path: String,
        declared: impl Into<Declared>,
    ) -> Option<Self> {
        let Written::Table(table) = &node.value else {
            context.error(&node.place, &path, format!("must be a table, not {}", node.value.describe()));
            return None;
        };
        Some(Self::of(context, place, table, path, declared))
    }

    /// As [`Reader::open`], passing over keys that are not declared: for a table whose other fields cannot be known.
    pub(crate) fn open_leniently(
        context: &'a Context<'a>,
        place: &'a Place,
        node: &'a Node,
        path: String,
        declared: impl Into<Declared>,
    ) -> Option<Self> {
        match &node.value {
            Written::Table(table) => Some(Self::of_known(context, place, table, path, declared.into())),
            _ => Self::open(context, place, node, path, declared),
        }
    }

    pub(crate) fn of(
        context: &'a Context<'a>,
        place: &'a Place,
        table: &'a Table,
        path: String,
        declared: impl Into<Declared>,
    ) -> Self {
        let declared = declared.into();
        for (name, entry) in table {
            if !declared.fields.iter().any(|field| field.name == name) {
                let names = declared.fields.iter().map(|field| field.name);
                context.error(&entry.key, &path, format!("unknown key '{name}'{}", suggestion(name, names)));
            }
        }
        Self::of_known(context, place, table, path, declared)
    }

    fn of_known(
        context: &'a Context<'a>,
        place: &'a Place,
        table: &'a Table,
        path: String,
        Declared { fields, rules }: Declared,
    ) -> Self {
        let errors = context.error_count();
        for field in fields.iter().filter(|field| field.required && !table.contains_key(field.name)) {
            context.error(
                place,
                &path,
                format!("'{}' is missing: {}", field.name, first_sentence(field.doc)),
            );
        }
        let mut reader = Self { context, place, path, table, fields, complete: true };
        for rule in rules.iter() {
            reader.hold(*rule);
        }
        reader.complete = context.error_count() == errors;
        reader
    }

    /// Whether no required field is missing and no rule between fields is broken.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// What must hold between fields.
    fn hold(&self, rule: Rule) {
        match rule {
            Rule::ExactlyOne(names) | Rule::AtMostOne(names) => {
                let given: Vec<&str> =
                    names.iter().copied().filter(|name| self.table.contains_key(*name)).collect();
                if let [first, second, ..] = given[..] {
                    self.error(second, format!("cannot be used together with '{first}'; remove one of them"));
                } else if given.is_empty() && matches!(rule, Rule::ExactlyOne(_)) {
                    // A key that is declared says what it says; one that is not may be meant for one of these.
                    let unknown = self.table.keys().find(|key| self.field(key).is_none());
                    let hint = unknown
                        .map_or_else(String::new, |key| model::did_you_mean(key, names.iter().copied()));
                    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
                    self.context.error(
                        self.place,
                        &self.path,
                        format!("needs one of {}{hint}", names.join(", ")),
                    );
                }
            }
            Rule::Needs(name, with) => {
                if self.table.contains_key(name) && !self.table.contains_key(with) {
                    self.error(name, format!("needs '{with}' as well"));
                }
            }
            Rule::NeedsOneOf(name, others) => {
                if self.table.contains_key(name)
                    && !others.iter().any(|other| self.table.contains_key(*other))
                {
                    let others: Vec<String> = others.iter().map(|other| format!("'{other}'")).collect();
                    self.error(name, format!("needs one of {} as well", others.join(", ")));
                }
            }
        }
    }

    /// All fields with a value, given or by default. `None` if something in the table is wrong: then a
    /// problem was reported.
    pub(crate) fn values(&self, among: &[Field]) -> Option<Values> {
        let errors = self.context.error_count();
        let mut values = Values::default();
        for field in among {
            let value = match self.table.get(field.name) {
                Some(entry) => read(self.context, &entry.node, &self.key(field.name), field.kind),
                None => Values::default_of(field).unwrap_or_else(|message| {
                    self.error(field.name, message);
                    None
                }),
            };
            if let Some(value) = value {
                values.set(field, value);
            }
        }
        (self.context.error_count() == errors).then_some(values)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&'a Entry> {
        debug_assert!(self.fields.iter().any(|field| field.name == name), "{name} is not declared");
        self.table.get(name)
    }

    /// Whether any text in the table contains these words.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        fn within(value: &Written, words: &str) -> bool {
            match value {
                Written::Text(text) | Written::Word(text) => text.contains(words),
                Written::List(items) => items.iter().any(|item| within(&item.value, words)),
                Written::Table(table) => table.values().any(|entry| within(&entry.node.value, words)),
                Written::Opened(_) | Written::Integer(_) | Written::Bool(_) => false,
            }
        }
        self.table.values().any(|entry| within(&entry.node.value, words))
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
        let (Kind::Table(group), Some(entry)) = (self.kind(name)?, self.entry(name)) else {
            return None;
        };
        Self::open(self.context, &entry.key, &entry.node, self.key(name), group)
    }

    /// A table below; an empty one when it is left out.
    pub(crate) fn section(&self, name: &str) -> Self {
        self.child(name).unwrap_or_else(|| {
            let fields = if let Some(Kind::Table(group)) = self.kind(name) { group.fields } else { &[] };
            let (context, place, path) = (self.context, self.place, self.key(name));
            Self { context, place, path, table: &NOTHING, fields: Cow::Borrowed(fields), complete: true }
        })
    }

    /// The nodes of a list of tables; one alone needs no brackets.
    pub(crate) fn items(&self, name: &str) -> Vec<(&'a Node, String)> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        let key = self.key(name);
        match &entry.node.value {
            Written::List(items) => {
                items.iter().enumerate().map(|(at, item)| (item, format!("{key}[{}]", at + 1))).collect()
            }
            Written::Table(_) => vec![(&entry.node, key)],
            other => {
                self.error(name, format!("must be tables, written [[{key}]], not {}", other.describe()));
                Vec::new()
            }
        }
    }

    /// The tables of a list; one alone needs no brackets.
    pub(crate) fn tables(&self, name: &str) -> Vec<Self> {
        let Some(Kind::List(Kind::Table(group))) = self.kind(name) else { return Vec::new() };
        let open = |(node, key): (&'a Node, String)| Self::open(self.context, &node.place, node, key, *group);
        self.items(name).into_iter().filter_map(open).collect()
    }

    /// The tables below by the names that a person chose.
    pub(crate) fn named(&self, name: &str) -> Vec<(&'a str, Self)> {
        let (Some(Kind::Map(Kind::Table(group))), Some(entry)) = (self.kind(name), self.entry(name)) else {
            return Vec::new();
        };
        let key = self.key(name);
        let Written::Table(tables) = &entry.node.value else {
            self.error(name, format!("must be tables, written [{key}.NAME]"));
            return Vec::new();
        };
        let open = |(name, entry): (&'a String, &'a Entry)| {
            let reader = Self::open(self.context, &entry.key, &entry.node, join(&key, name), *group)?;
            Some((name.as_str(), reader))
        };
        tables.iter().filter_map(open).collect()
    }

    /// The texts of a table by the keys that a person chose.
    pub(crate) fn texts_by_key(&self, name: &str) -> Vec<(&'a str, Text<'a>)> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        let key = self.key(name);
        let Written::Table(table) = &entry.node.value else {
            self.error(name, format!("must be a table, written [{key}]"));
            return Vec::new();
        };
        let read = |(name, entry): (&'a String, &'a Entry)| {
            let text = text_of(self.context, &entry.node, &join(&key, name), Kind::Text)?;
            Some((name.as_str(), text))
        };
        table.iter().filter_map(read).collect()
    }

    /// The lists of texts of a table by the keys that a person chose; a single text is a list of one. `None` with a problem told.
    pub(crate) fn lists_by_key(&self, name: &str) -> Option<Vec<(&'a str, Vec<Text<'a>>)>> {
        let Some(entry) = self.entry(name) else { return Some(Vec::new()) };
        let key = self.key(name);
        let Written::Table(table) = &entry.node.value else {
            self.error(name, format!("must be a table, written [{key}]"));
            return None;
        };
        let errors = self.context.error_count();
        let read = |(name, entry): (&'a String, &'a Entry)| {
            (name.as_str(), list_of(self.context, &entry.node, &join(&key, name), Kind::Text))
        };
        let lists = table.iter().map(read).collect();
        (self.context.error_count() == errors).then_some(lists)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.field(name).map(|field| field.kind)
    }

    /// The value of a field, or its default.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        let field = self.field(name)?;
        self.entry(name)
            .and_then(|entry| read(self.context, &entry.node, &self.key(name), field.kind))
            .or_else(|| Value::parse(field.kind, field.default?).ok())
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Some(Value::Duration(duration)) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Size(bytes)) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Integer(number)) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Secret<String>> {
        match self.value(name) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// One of the words that the field declares.
    pub(crate) fn word<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.value(name) {
            Some(Value::Text(word)) => parse(&word),
            _ => None,
        }
    }

    /// A text that is there.
    pub(crate) fn text(&self, name: &str) -> Option<Text<'a>> {
        let entry = self.entry(name)?;
        let kind = match self.kind(name) {
            Some(kind @ Kind::Public(_)) => kind,
            _ => Kind::Text,
        };
        text_of(self.context, &entry.node, &self.key(name), kind)
    }

    /// A text, or its default.
    pub(crate) fn text_or_default(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn list(&self, name: &str) -> Vec<Text<'a>> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        list_of(self.context, &entry.node, &self.key(name), Kind::Text)
    }
}

/// A field's documentation up to its first full stop.
fn first_sentence(doc: &str) -> &str {
    doc.find(". ").map_or(doc.trim_end_matches('.'), |at| &doc[..at])
}
