//! Values that fit their declarations.

use super::{Field, Kind};
use crate::{Secret, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// A value that fits its [`Kind`].
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Text: also a choice, a URL, a template, a directory, a name.
    Text(String),
    /// A secret.
    Secret(Secret<String>),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A duration.
    Duration(Duration),
    /// A number of bytes, or of bytes per second.
    Size(u64),
    /// A moment.
    Time(Timestamp),
    /// A list.
    List(Vec<Value>),
    /// A table of declared fields.
    Table(Values),
    /// Values by keys that a person chose.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The text, when it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The table, when it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Values> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// The values of a list; a single value is a list of one.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { std::slice::from_ref(self) }
    }
}

/// The fields of one table: those given, and the defaults of those that were not.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Values(BTreeMap<&'static str, Value>);

static NOTHING: Values = Values(BTreeMap::new());

impl Values {
    /// What a table holds when nothing is written in it.
    ///
    /// # Errors
    /// A default that does not fit its own kind: a mistake in the declaration, found by its test.
    pub fn defaults(fields: &[Field]) -> Result<Self, String> {
        let mut values = Self::default();
        for field in fields {
            if let Some(value) = Self::default_of(field)? {
                values.set(field, value);
            }
        }
        Ok(values)
    }

    /// What a field holds when it is left out; of a table without required fields, or one form of which is such a table,
    /// the defaults of its fields.
    ///
    /// # Errors
    /// As [`Values::defaults`].
    pub fn default_of(field: &Field) -> Result<Option<Value>, String> {
        if let Some(text) = field.default {
            let value = Value::parse(field.kind, text)
                .map_err(|message| format!("the default of '{}' {message}", field.name))?;
            return Ok(Some(value));
        }
        let group = match field.kind {
            Kind::Table(group) => Some(group),
            Kind::OneOf(kinds) => kinds.iter().find_map(|kind| match kind {
                Kind::Table(group) => Some(*group),
                _ => None,
            }),
            _ => None,
        };
        match group.filter(|group| group.has_defaults()) {
            Some(group) => Self::defaults(group.fields).map(|values| Some(Value::Table(values))),
            None => Ok(None),
        }
    }

    /// Values that a program makes instead of a document; each must fit its declaration.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The same with a field set, or set otherwise.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.insert(name, value);
        self
    }

    /// The same without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Sets a value that was checked against its declaration.
    pub fn set(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name, value);
    }

    /// A field's value, given or by default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All fields with a value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// A text, choice, URL, template, directory or name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// A secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Secret<String>> {
        match self.get(name) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// True or false; false when there is no value.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// A duration; `None` when left out or zero ("none").
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Some(Value::Duration(duration)) if !duration.is_zero() => Some(*duration),
            _ => None,
        }
    }

    /// A number of bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Size(bytes)) => Some(*bytes),
            _ => None,
        }
    }

    /// A moment.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        match self.get(name) {
            Some(Value::Time(time)) => Some(*time),
            _ => None,
        }
    }

    /// The values of a list; empty when left out. A single value is a list of one.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.get(name).map_or(&[], Value::items)
    }

    /// The texts of a list; empty when left out.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(Value::as_text)
    }

    /// A table below; an empty one when it is left out and has no defaults.
    #[must_use]
    pub fn table(&self, name: &str) -> &Self {
        self.get(name).and_then(Value::as_table).unwrap_or(&NOTHING)
    }

    /// The values by their keys; `None` when left out.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&BTreeMap<String, Value>> {
        match self.get(name) {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        }
    }
}
