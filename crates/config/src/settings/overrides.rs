//! `WAYBILL__SECTION__KEY` over `section.key`.

use crate::problem::{Place, Problem};
use crate::tree::{Entry, Node, Table, Value};

const PREFIX: &str = "WAYBILL__";

/// Puts variables into the tree of the file, each with its own name as its place. Whether the key
/// exists is for the reader to say, with the nearest name.
pub(super) fn apply(
    table: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) {
    let mut ours: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // In the order of their names, so that two that clash do so the same way each time.
    ours.sort();
    for (name, value) in ours {
        let place = Place::whole(&name.as_str().into());
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        if path.iter().any(String::is_empty) {
            problems.push(Problem::error(&place, "", "write WAYBILL__SECTION__KEY"));
            continue;
        }
        if insert(table, &path, &place, value).is_none() {
            problems.push(Problem::error(
                &place,
                "",
                "is not a setting: a part of the name before the last '__' is not a table",
            ));
        }
    }
}

fn insert(table: &mut Table, path: &[String], place: &Place, value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let node = |value| Node { place: place.clone(), value };
    if rest.is_empty() {
        table.insert(first.clone(), Entry { key: place.clone(), node: node(Value::Word(value)) });
        return Some(());
    }
    let entry = table
        .entry(first.clone())
        .or_insert_with(|| Entry { key: place.clone(), node: node(Value::Table(Table::new())) });
    match &mut entry.node.value {
        Value::Table(below) => insert(below, rest, place, value),
        _ => None,
    }
}
