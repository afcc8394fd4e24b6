//! The reference page, made from the declarations that documents are checked by.

use crate::catalogue::Catalogue;
use crate::sections::{POLLED, RECEIVED, SOURCE};
use crate::settings::SETTINGS;
use model::schema::{Field, Group, Kind, Rule, Section, TransportSpec};
use std::fmt::Write as _;

/// Settings, definitions and transports as Markdown. The same declarations make the same text.
#[must_use]
pub fn reference_markdown(catalogue: &Catalogue) -> String {
    let mut page = String::from(
        "# Reference\n\nMade by `waybill reference` from the declarations in the code. Durations are a whole number with `ms`, `s`, `m`, \
         `h` or `d`; sizes are bytes, or with `KiB`, `MiB`, `GiB`, `TiB`. Fields marked *per environment* may be replaced by an overlay \
         when definitions are moved to another gateway.\n\n## Settings: `waybill.toml`\n\nA \
         variable `WAYBILL__SECTION__KEY` takes the place of `section.key`; lists in variables are set apart by \
         commas. Relative paths are relative to the file.\n",
    );
    tables(&mut page, "", "", &[&SETTINGS]);
    page.push_str(
        "\n## Definitions\n\nThe `*.toml` files of one directory, in any number. `${env:NAME}`, \
         `${env:NAME:-default}` and `${file:/path}` stand for values kept elsewhere, as far as `roots` in \
         `waybill.toml` allows; `$${` writes `${` itself. A field that holds a secret takes nothing but such references \
         (unless `secrets.master_key` is set: then the database keeps what is written encrypted, and `{ kept = true }` \
         stands for it). `${file:…}` goes into those fields, and into those for certificates and host keys if the file \
         holds that: every other field is shown in lists and messages.\n\nWhat a transport adds to endpoints, sources, \
         destinations, listeners, partners and identities is below, with the transport.\n",
    );
    for spec in catalogue.sections() {
        let header = format!("{}.NAME", spec.section);
        tables(&mut page, &header, spec.doc, &[spec.group]);
        if spec.section == Section::FLOW {
            tables(&mut page, "flow.NAME.source", "", &[&SOURCE, &POLLED, &RECEIVED]);
        }
    }
    page.push_str("\n## Transports\n");
    for transport in catalogue.iter() {
        describe(&mut page, transport);
    }
    page
}

/// A table's own keys, then those of the tables below it.
fn tables(page: &mut String, path: &str, doc: &str, groups: &[&Group]) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let heading = match path {
        "" => "Top level".to_owned(),
        path if path.ends_with("destination") => format!("`[[{path}]]`"),
        path => format!("`[{path}]`"),
    };
    let _ = write!(page, "\n### {heading}\n\n");
    if !doc.is_empty() {
        let _ = write!(page, "{doc}\n\n");
    }
    rows(page, groups);
    for field in groups.iter().flat_map(|group| group.fields) {
        // A source's own table follows with all that it may hold.
        if path == "flow.NAME" && field.name == "source" {
            continue;
        }
        nested(page, &below(field.name), field.kind);
    }
}

/// The tables that a field may hold.
fn nested(page: &mut String, path: &str, kind: Kind) {
    match kind {
        Kind::Table(group) => tables(page, path, "", &[group]),
        Kind::List(kind) => nested(page, path, *kind),
        Kind::Map(Kind::Table(group)) => tables(page, &format!("{path}.NAME"), "", &[group]),
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| nested(page, path, *kind)),
        _ => {}
    }
}

const HEAD: &str = "| key | holds | default | |\n|---|---|---|---|\n";

fn rows(page: &mut String, groups: &[&Group]) {
    page.push_str(HEAD);
    for field in groups.iter().flat_map(|group| group.fields) {
        row(page, field);
    }
    for rule in groups.iter().flat_map(|group| group.rules) {
        let list = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let _ = match rule {
            Rule::ExactlyOne(names) => write!(page, "\nExactly one of {} is given.\n", list(names)),
            Rule::AtMostOne(names) => write!(page, "\nAt most one of {} is given.\n", list(names)),
            Rule::Needs(name, with) => write!(page, "\n`{name}` is given only together with `{with}`.\n"),
        };
    }
}

fn row(page: &mut String, field: &Field) {
    let default = match field.default {
        Some(value) => format!("`{}`", cell(value)),
        None if field.required => "required".to_owned(),
        None => String::new(),
    };
    let place = if field.per_environment { " *Per environment.*" } else { "" };
    let _ = writeln!(
        page,
        "| `{}` | {} | {default} | {}{place} |",
        field.name,
        cell(&holds(field.kind)),
        cell(field.doc)
    );
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn holds(kind: Kind) -> String {
    match kind {
        Kind::List(Kind::Text) => "a text or a list of texts".into(),
        Kind::List(Kind::Table(_)) => "tables".into(),
        Kind::Table(_) => "a table".into(),
        Kind::OneOf(kinds) => {
            let forms: Vec<String> = kinds.iter().map(|kind| holds(*kind)).collect();
            forms.join(", or ")
        }
        kind => kind.describe(),
    }
}

fn describe(page: &mut String, transport: &TransportSpec) {
    let name = transport.name;
    let _ = write!(page, "\n### `transport = \"{name}\"`\n\n{}\n\n", transport.doc);
    let roles = [
        (transport.roles.source, "a flow may poll its endpoints"),
        (transport.roles.destination, "a flow may deliver to its endpoints"),
        (transport.roles.listener, "a flow may receive by its listeners"),
    ];
    let roles: Vec<&str> = roles.iter().filter(|(has, _)| *has).map(|(_, words)| *words).collect();
    let schemes: Vec<String> = transport.schemes.iter().map(|scheme| format!("`{}:`", scheme.name)).collect();
    let url = if schemes.is_empty() { "none".into() } else { schemes.join(", ") };
    let several = if transport.several_urls { ", one or several" } else { "" };
    let _ = writeln!(page, "URL: {url}{several}. Use: {}.", roles.join("; "));
    let places = [
        ("endpoint.NAME".to_owned(), transport.endpoint),
        ("flow.NAME.source".to_owned(), transport.source),
        ("flow.NAME.destination".to_owned(), transport.destination),
        ("listener.NAME".to_owned(), transport.listener),
        ("flow.NAME.source".to_owned(), transport.received),
    ];
    for (path, groups) in places.iter().filter(|(_, groups)| !groups.is_empty()) {
        let heading = match path.as_str() {
            "flow.NAME.destination" => format!("`[[{path}]]`"),
            path => format!("`[{path}]`"),
        };
        let which = match path.as_str() {
            "endpoint.NAME" | "listener.NAME" => format!(" with `transport = \"{name}\"`"),
            _ if groups.as_ptr() == transport.received.as_ptr() => format!(" from a listener of {name}"),
            _ => format!(" with an endpoint of {name}"),
        };
        let _ = write!(page, "\n#### {heading}{which}\n\n");
        rows(page, groups);
        for field in groups.iter().flat_map(|group| group.fields) {
            below(page, &format!("{path}.{}", field.name), field.kind);
        }
    }
    let sides = [("partner", transport.partner), ("identity", transport.identity)];
    for (section, group) in sides.iter().filter_map(|(section, group)| Some((section, (*group)?))) {
        let path = format!("{section}.NAME.{name}");
        let _ = write!(page, "\n#### `[{path}]`\n\n");
        rows(page, &[group]);
        for field in group.fields {
            below(page, &format!("{path}.{}", field.name), field.kind);
        }
    }
}

/// The tables below a transport's own fields, one heading lower.
fn below(page: &mut String, path: &str, kind: Kind) {
    let mut text = String::new();
    nested(&mut text, path, kind);
    page.push_str(&text.replace("\n### ", "\n##### "));
}
