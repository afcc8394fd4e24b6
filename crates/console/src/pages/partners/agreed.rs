//! What was agreed with a partner, as it is in force: every field with its value, given or default.

use crate::web::facts::Fact;
use model::schema::{Value, Values, duration_text};

/// The fields of a table by their paths.
pub(super) fn fields(side: &Values) -> Vec<Fact> {
    let mut found = Vec::new();
    add(&mut found, "", side);
    found
}

fn add(found: &mut Vec<Fact>, path: &str, table: &Values) {
    for (name, value) in table.iter() {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Table(inner) => add(found, &path, inner),
            value => found.push(Fact::new(&path, text(value))),
        }
    }
}

/// A value as a document has it, without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Secret(_) => "set, not shown".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Duration(duration) => duration_text(*duration),
        Value::Size(bytes) => crate::web::format::size_text(*bytes),
        Value::Time(at) => at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Value::List(items) => match items.as_slice() {
            [] => "none".to_owned(),
            items => items.iter().map(text).collect::<Vec<_>>().join(", "),
        },
        // An item of a list, such as a certificate with the time in which it is used.
        Value::Table(table) => {
            let fields = table.iter().map(|(name, value)| match name {
                "name" => text(value),
                name => format!("{name} {}", text(value)),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Map(map) => {
            map.iter().map(|(key, value)| format!("{key} {}", text(value))).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fields_of_inner_tables_are_shown_with_their_paths() {
        let text = |text: &str| Value::Text(text.to_owned());
        let one =
            Values::of([("name", text("globex-2027")), ("from", Value::Time(model::Timestamp::UNIX_EPOCH))]);
        let side = Values::of([
            ("id", text("GLOBEX")),
            ("certificates", Value::List(vec![text("globex-2026"), Value::Table(one)])),
            ("mdn", Value::Table(Values::of([("deadline", Value::Duration(Duration::from_secs(86_400)))]))),
            ("legacy", Value::Bool(false)),
        ]);
        let shown: Vec<String> =
            fields(&side).into_iter().map(|fact| format!("{}={}", fact.name, fact.value)).collect();
        assert_eq!(
            shown,
            [
                "certificates=globex-2026, from 1970-01-01 00:00:00 UTC globex-2027",
                "id=GLOBEX",
                "legacy=no",
                "mdn.deadline=1d",
            ]
        );
    }
}
