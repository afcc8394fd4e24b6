//! The steps of flows: streams that make one payload of another, between staging and delivery.
//!
//! Each kind of step is a module that declares its fields, reads them, and carries the step out; the list [`KINDS`]
//! names it. Documents, the reference page and the JSON Schema read the declaration; the engine, which stages what a
//! step writes, knows no kind by name. Bytes come from a staged payload and go into a new one.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod charset;
mod convert_charset;

use model::definition::StepDefinition;
use model::schema::{Field, Findings, Group, Kind, Rule, Section, Values};
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::io::{self, Read, Write};

/// A kind of step as data.
pub struct StepKind {
    /// Its key in `steps`.
    pub name: &'static str,
    /// What it does, for the reference page.
    pub doc: &'static str,
    /// Its fields.
    pub group: &'static Group,
    /// Makes the step of its fields. Mistakes are reported at their fields, whose paths begin at the kind's table.
    pub read: fn(&Values, &mut Findings<'_>) -> Option<Box<dyn PayloadStep>>,
}

/// A step, ready to be carried out on any number of payloads.
pub trait PayloadStep: Send + Sync {
    /// What it does, in one line.
    fn describe(&self) -> String;

    /// The media type of what it makes of a payload with this one.
    fn media_type(&self, before: &str) -> String {
        before.to_owned()
    }

    /// The size in bytes of the buffers that it holds while it runs.
    fn buffers(&self) -> usize;

    /// Reads a payload to its end and writes what it makes of it. Runs on a blocking thread. Returns what the audit
    /// trail should say of it beside sizes and checksums.
    ///
    /// # Errors
    /// Those of the two streams, by [`stream_error`]; permanent ones where the content cannot be processed.
    fn run(&self, input: &mut dyn Read, output: &mut dyn Write) -> Result<Map<String, Value>>;
}

/// All kinds of steps.
pub static KINDS: [StepKind; ALL.len()] = ALL;

const ALL: [StepKind; 1] = [convert_charset::KIND];

/// The names of all kinds.
const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].name;
        at += 1;
    }
    names
};

const FIELDS: [Field; ALL.len()] = {
    let mut fields = [const { Field::optional("", Kind::Bool, "") }; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        fields[at] = Field::optional(ALL[at].name, Kind::Table(ALL[at].group), ALL[at].doc);
        at += 1;
    }
    fields
};

/// The table of one step in a document: the kind, with its fields.
pub static STEP: Group = Group::of(&FIELDS).with(&[Rule::ExactlyOne(&NAMES)]);

/// The kind of a name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static StepKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The step of a definition that was checked.
///
/// # Errors
/// `ConfigInvalid`: this build does not know its kind, or its fields cannot be used.
pub fn step(definition: &StepDefinition) -> Result<Box<dyn PayloadStep>> {
    let unusable =
        || Error::permanent(ErrorKind::ConfigInvalid, "use a step of a flow").with("step", &definition.kind);
    let kind = kind(&definition.kind).ok_or_else(unusable)?;
    let mut found = Vec::new();
    let read = (kind.read)(&definition.options, &mut Findings::of(&mut found, Section::FLOW, ""));
    read.ok_or_else(|| match found.first() {
        Some(finding) => unusable().with("field", finding.path.to_string()).with("problem", &finding.message),
        None => unusable(),
    })
}

/// The error of one of a step's streams: the engine's own [`Error`] where the I/O error wraps one.
#[must_use]
pub fn stream_error(operation: &'static str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::local_io(operation, error),
    }
}

#[cfg(test)]
mod tests;
