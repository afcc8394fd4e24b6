//! The reference page, made from the declarations that documents are checked by.

use crate::catalogue::{Catalogue, TransportSpec};
use crate::check::{ARCHIVE, MOVE, fields_of};
use crate::field::{Field, FieldKind, Section};
use crate::settings::SETTINGS;
use model::{OptionKind, OptionSpec};
use std::fmt::Write as _;

/// Settings, definitions and transports as Markdown. The same declarations make the same text.
#[must_use]
pub fn reference_markdown(catalogue: &Catalogue) -> String {
    let mut page = String::from(
        "# Reference\n\nMade by `waybill reference` from the declarations in the code. Durations are a whole number with `ms`, `s`, `m`, \
         `h` or `d`; sizes are bytes, or with `KiB`, `MiB`, `GiB`, `TiB`.\n\n## Settings: `waybill.toml`\n\nA \
         variable `WAYBILL__SECTION__KEY` takes the place of `section.key`; lists in variables are set apart by \
         commas. Relative paths are relative to the file.\n",
    );
    tables(&mut page, "", SETTINGS);
    page.push_str(
        "\n## Definitions\n\nThe `*.toml` files of one directory, in any number. `${env:NAME}`, \
         `${env:NAME:-default}` and `${file:/path}` stand for values kept elsewhere, as far as `roots` in \
         `waybill.toml` allows; `$${` writes `${` itself. A field that holds a secret takes nothing but such references \
         (unless `secrets.allow_inline`). `${file:…}` goes into those fields, and into those for certificates and host \
         keys if the file holds that: every other field is shown in lists and messages.\n",
    );
    for section in Section::ALL {
        tables(&mut page, &format!("{}.NAME", section.as_str()), fields_of(section));
    }
    page.push_str("\n### `after = { archive = … }` of a source\n\n");
    rows(&mut page, ARCHIVE);
    page.push_str("\n### `after = { move = … }` of a source\n\n");
    rows(&mut page, MOVE);
    page.push_str("\n## Transports\n");
    for transport in catalogue.iter() {
        describe(&mut page, transport);
    }
    page
}

/// A table's own keys, then those of the tables below it.
fn tables(page: &mut String, path: &str, fields: &'static [Field]) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let list = path.ends_with("destination");
    let heading = match (path, list) {
        ("", _) => "Top level".to_owned(),
        (path, false) => format!("`[{path}]`"),
        (path, true) => format!("`[[{path}]]`"),
    };
    let _ = write!(page, "\n### {heading}\n\n");
    rows(page, fields);
    for field in fields {
        match field.kind {
            FieldKind::Table(fields) | FieldKind::Tables(fields) => tables(page, &below(field.name), fields),
            FieldKind::Named(fields) => tables(page, &below(&format!("{}.NAME", field.name)), fields),
            _ => {}
        }
    }
}

const HEAD: &str = "| key | holds | default | |\n|---|---|---|---|\n";

fn rows(page: &mut String, fields: &[Field]) {
    page.push_str(HEAD);
    for field in fields {
        row(page, field.name, &holds(field.kind), field.default, field.required, field.doc);
    }
}

fn row(page: &mut String, name: &str, holds: &str, default: Option<&str>, required: bool, doc: &str) {
    let default = match default {
        Some(value) => format!("`{}`", cell(value)),
        None if required => "required".to_owned(),
        None => String::new(),
    };
    let _ = writeln!(page, "| `{name}` | {} | {default} | {} |", cell(holds), cell(doc));
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn holds(kind: FieldKind) -> String {
    match kind {
        FieldKind::Value(OptionKind::List) => "a text or a list of texts".into(),
        FieldKind::Value(kind) => kind.describe(),
        FieldKind::Name(section) => format!("the name of a {}", section.as_str()),
        FieldKind::Names(section) => format!("names of {}s", section.as_str()),
        FieldKind::Table(_) => "a table".into(),
        FieldKind::Tables(_) => "tables".into(),
        FieldKind::Named(_) => "tables by name".into(),
        FieldKind::After => "a word or a table".into(),
        FieldKind::Options => "a table; see the transport".into(),
    }
}

fn describe(page: &mut String, transport: &TransportSpec) {
    let _ = write!(page, "\n### `transport = \"{}\"`\n\n", transport.name);
    let roles = [
        (transport.roles.source, "a flow may poll it"),
        (transport.roles.destination, "a flow may deliver to it"),
        (transport.roles.listener, "a flow may receive by it"),
        (transport.partnership, "an endpoint needs `partner` and `identity`"),
    ];
    let roles: Vec<&str> = roles.iter().filter(|(has, _)| *has).map(|(_, words)| *words).collect();
    let schemes: Vec<String> = transport.schemes.iter().map(|scheme| format!("`{scheme}:`")).collect();
    let url = if schemes.is_empty() { "none".into() } else { schemes.join(", ") };
    let _ = writeln!(page, "URL: {url}. Use: {}.\n", roles.join("; "));
    if transport.options.is_empty() {
        page.push_str("It has no options.\n");
        return;
    }
    page.push_str(HEAD);
    for OptionSpec { name, kind, default, required, doc } in transport.options {
        row(page, name, &holds(FieldKind::Value(*kind)), *default, *required, doc);
    }
}
