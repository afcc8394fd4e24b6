//! A JSON Schema of definitions for editors, made from the declarations that documents are checked by.
//!
//! An editor sees one file, and no values of variables: the schema takes every document that [`Documents::check`]
//! takes, and refuses unknown keys, wrong kinds and words, and what fields of one table say against each other. Whether
//! names are defined, and which transport an endpoint in another file has, it cannot know: a source or destination may
//! have the fields of every transport.
//!
//! [`Documents::check`]: crate::Documents::check

use crate::catalogue::Catalogue;
use crate::sections::{DESTINATION, POLLED, RECEIVED, SOURCE};
use model::PublicMaterial;
use model::schema::{Field, Group, Kind, Rule, Section, SectionSpec, TransportSpec, joined};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// What a name must look like.
const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
/// A text with a reference in it, whose value an editor cannot know.
const REFERENCE: &str = r"\$\{";

/// The schema (JSON Schema, draft 2020-12). The same declarations make the same schema.
#[must_use]
pub fn json_schema(catalogue: &Catalogue) -> Json {
    let sections = catalogue.sections().map(|spec| {
        let named = json!({
            "type": "object",
            "description": spec.doc,
            "patternProperties": { NAME: definition(catalogue, &spec) },
            "additionalProperties": false,
        });
        (spec.section.as_str().to_owned(), named)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Definitions of Waybill",
        "type": "object",
        "properties": sections.collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

/// One definition of a kind.
fn definition(catalogue: &Catalogue, spec: &SectionSpec) -> Json {
    let own =
        |pick: fn(&TransportSpec) -> &'static [&'static Group]| by_transport(catalogue, spec.group, pick);
    match spec.section {
        Section::ENDPOINT => own(|transport| transport.endpoint),
        Section::LISTENER => own(|transport| transport.listener),
        Section::PARTNER => sides(catalogue, spec.group, |transport| transport.partner),
        Section::IDENTITY => sides(catalogue, spec.group, |transport| transport.identity),
        Section::FLOW => flow(catalogue, spec.group),
        _ => table(spec.group.fields, spec.group.rules),
    }
}

/// A definition whose fields depend on its transport.
fn by_transport(
    catalogue: &Catalogue,
    common: &Group,
    pick: fn(&TransportSpec) -> &'static [&'static Group],
) -> Json {
    let names: Vec<&str> = catalogue.names().collect();
    let cases: Vec<Json> = catalogue
        .iter()
        .map(|transport| {
            let groups: Vec<&Group> = std::iter::once(common).chain(pick(transport).iter().copied()).collect();
            let (fields, rules) = joined(&groups);
            json!({
                "if": { "properties": { "transport": { "const": transport.name } }, "required": ["transport"] },
                "then": table(&fields, &rules),
            })
        })
        .collect();
    json!({
        "type": "object",
        "required": ["transport"],
        "properties": { "transport": { "enum": names } },
        "allOf": cases,
    })
}

/// A definition with a table for each transport that declares one.
fn sides(catalogue: &Catalogue, common: &Group, pick: fn(&TransportSpec) -> Option<&'static Group>) -> Json {
    let mut fields = common.fields.to_vec();
    fields.extend(catalogue.iter().filter_map(|transport| {
        Some(Field::optional(transport.name, Kind::Table(pick(transport)?), transport.doc))
    }));
    table(&fields, common.rules)
}

fn flow(catalogue: &Catalogue, group: &Group) -> Json {
    let mut flow = table(group.fields, group.rules);
    let every = |common: &[&'static Group], pick: fn(&TransportSpec) -> Vec<&'static Group>| {
        let own = catalogue.iter().flat_map(pick);
        let groups: Vec<&Group> = common.iter().copied().chain(own).collect();
        // Rules of one transport are none of another's.
        table(
            &joined(&groups).0.iter().map(|field| Field { required: false, ..*field }).collect::<Vec<_>>(),
            &[],
        )
    };
    let source =
        every(&[&SOURCE, &POLLED, &RECEIVED], |transport| [transport.source, transport.received].concat());
    let destination = every(&[&DESTINATION], |transport| transport.destination.to_vec());
    flow["properties"]["source"] = source;
    flow["properties"]["destination"] =
        json!({ "anyOf": [destination, { "type": "array", "items": destination }] });
    flow
}

/// A table of declared fields.
fn table(fields: &[Field], rules: &[Rule]) -> Json {
    let mut forms: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for field in fields {
        let mut schema = of_kind(field.kind);
        schema["description"] = field.doc.into();
        let known = forms.entry(field.name).or_default();
        if !known.contains(&schema) {
            known.push(schema);
        }
    }
    let properties: Map<String, Json> = forms
        .into_iter()
        .map(|(name, mut forms)| {
            let schema = if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) };
            (name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = required.into();
    }
    let rules: Vec<Json> = rules.iter().map(|rule| of_rule(*rule)).collect();
    if !rules.is_empty() {
        table["allOf"] = rules.into();
    }
    table
}

fn of_rule(rule: Rule) -> Json {
    let given =
        |names: &[&str]| -> Vec<Json> { names.iter().map(|name| json!({ "required": [name] })).collect() };
    match rule {
        Rule::ExactlyOne(names) => json!({ "oneOf": given(names) }),
        Rule::AtMostOne(names) => {
            let pairs = names.iter().enumerate().flat_map(|(at, first)| {
                names[at + 1..].iter().map(move |second| json!({ "not": { "required": [first, second] } }))
            });
            json!({ "allOf": pairs.collect::<Vec<_>>() })
        }
        Rule::Needs(name, with) => json!({ "dependentRequired": { name: [with] } }),
        Rule::NeedsOneOf(name, others) => json!({ "dependentSchemas": { name: { "anyOf": given(others) } } }),
    }
}

fn of_kind(kind: Kind) -> Json {
    let reference = || json!({ "type": "string", "pattern": REFERENCE });
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") });
    match kind {
        Kind::Secret => json!({ "anyOf": [{ "type": "string" }, {
            "type": "object", "properties": { "kept": { "const": true } }, "required": ["kept"],
            "additionalProperties": false,
        }] }),
        Kind::Public(PublicMaterial::HostKeys) => of_kind(Kind::List(&Kind::Text)),
        Kind::Bool => json!({ "anyOf": [{ "type": "boolean" }, reference()] }),
        Kind::Off => json!({ "anyOf": [{ "const": false }, reference()] }),
        Kind::Integer { min, max } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, reference()] })
        }
        Kind::Duration => pattern("^[0-9]+(ms|s|m|h|d)$"),
        Kind::Size => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, pattern("^[0-9]+(B|KiB|MiB|GiB|TiB)?$")] })
        }
        Kind::Bandwidth => pattern("^[0-9]+(B|KiB|MiB|GiB|TiB)?/s$"),
        Kind::Time => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"),
        Kind::Choice(words) => json!({ "anyOf": [{ "enum": words }, reference()] }),
        Kind::NameOf(sections) => {
            let words: Vec<&str> = sections.iter().map(|section| section.as_str()).collect();
            pattern(&format!("^({}):", words.join("|")))
        }
        Kind::List(kind) => {
            let item = of_kind(*kind);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Kind::Table(group) => table(group.fields, group.rules),
        Kind::Map(kind) => json!({ "type": "object", "additionalProperties": of_kind(*kind) }),
        Kind::OneOf(kinds) => {
            json!({ "anyOf": kinds.iter().map(|kind| of_kind(*kind)).collect::<Vec<_>>() })
        }
        Kind::Text
        | Kind::Public(_)
        | Kind::Url
        | Kind::Template
        | Kind::Directory
        | Kind::LocalDirectory
        | Kind::Name(_)
        | Kind::Server => json!({ "type": "string" }),
    }
}
