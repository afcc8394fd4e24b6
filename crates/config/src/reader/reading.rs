//! Reads values by their declared kinds.

use crate::context::Context;
use crate::problem::Place;
use crate::reader::{Reader, Text};
use crate::reference::{Use, is_reference};
use crate::secrets::kept;
use crate::tree::{Node, Value as Written, join};
use model::Secret;
use model::schema::{Kind, PublicMaterial, Value};
use std::collections::BTreeMap;

/// Reads a value of a kind. `None` with a problem told.
pub(crate) fn read(context: &Context<'_>, node: &Node, key: &str, kind: Kind) -> Option<Value> {
    match (&node.value, kind) {
        (_, Kind::OneOf(kinds)) => read_one_of(context, node, key, kinds),
        (_, Kind::List(kind)) => read_list(context, node, key, *kind),
        (_, Kind::Public(PublicMaterial::HostKeys)) => {
            let texts = list_of(context, node, key, kind);
            Some(Value::List(texts.into_iter().map(|text| Value::Text(text.value)).collect()))
        }
        (_, Kind::Table(group)) => {
            let reader = Reader::open(context, &node.place, node, key.to_owned(), group)?;
            reader.values(group.fields).map(Value::Table)
        }
        (Written::Opened(written), Kind::Secret) => {
            // It stands in no file, whatever the place says.
            let place = Place::whole(&node.place.file);
            let text = context.resolve(written, &place, key, Use::Secret)?;
            Some(Value::Secret(Secret::new(text)))
        }
        (written, Kind::Secret) if let Some(id) = kept(written) => {
            context.unknown(&node.place, key, id.is_some());
            None
        }
        (Written::Table(table), Kind::Map(kind)) => {
            let mut map = BTreeMap::new();
            for (name, entry) in table {
                map.insert(name.clone(), read(context, &entry.node, &join(key, name), *kind)?);
            }
            Some(Value::Map(map))
        }
        // Only a reference can bring a number as text: a document has numbers of its own.
        (Written::Text(text), Kind::Bool | Kind::Off | Kind::Integer { .. }) if !is_reference(text) => {
            wrong(context, node, key, kind)
        }
        (Written::Text(written) | Written::Word(written), _) if !matches!(kind, Kind::Map(_)) => {
            read_text(context, node, key, kind, written)
        }
        (Written::Integer(number), Kind::Integer { .. } | Kind::Size) => {
            parsed(context, node, key, kind, &number.to_string(), None)
        }
        (Written::Bool(value), Kind::Bool) | (Written::Bool(value @ false), Kind::Off) => {
            Some(Value::Bool(*value))
        }
        _ => wrong(context, node, key, kind),
    }
}

fn wrong(context: &Context<'_>, node: &Node, key: &str, kind: Kind) -> Option<Value> {
    let hint = match (&node.value, kind) {
        (Written::Integer(number), Kind::Duration) => format!("; write \"{number}s\""),
        (Written::Integer(_) | Written::Bool(_), kind)
            if kind.takes_text() && !matches!(kind, Kind::Secret) =>
        {
            "; write it in quotes".into()
        }
        (Written::Text(_), Kind::Bool | Kind::Off | Kind::Integer { .. }) => {
            "; write it without quotes".into()
        }
        _ => String::new(),
    };
    let message = format!("must be {}, not {}{hint}", kind.describe(), node.value.describe());
    context.error(&node.place, key, message);
    None
}

fn read_text(context: &Context<'_>, node: &Node, key: &str, kind: Kind, written: &str) -> Option<Value> {
    let text = context.resolve(written, &node.place, key, Use::from(kind))?;
    if matches!(kind, Kind::Secret) {
        return Some(Value::Secret(Secret::new(text)));
    }
    let value = parsed(context, node, key, kind, &text, Some(written))?;
    context.is_defined(kind, &text, written, &node.place, key).then_some(value)
}

fn parsed(
    context: &Context<'_>,
    node: &Node,
    key: &str,
    kind: Kind,
    text: &str,
    written: Option<&str>,
) -> Option<Value> {
    Value::parse(kind, text)
        .map_err(|message| {
            // The text may come from a variable, and is not to be shown then.
            let message = match written.filter(|written| is_reference(written)) {
                Some(written) => {
                    format!("must be {}, but the value of {written:?} is not", kind.describe())
                }
                None => message,
            };
            context.error(&node.place, key, message);
        })
        .ok()
}

/// Reads by the form that the value's shape fits.
fn read_one_of(context: &Context<'_>, node: &Node, key: &str, kinds: &'static [Kind]) -> Option<Value> {
    let fits = |kind: &&Kind| match &node.value {
        Written::Table(_)
            if kept(&node.value).is_some() && kinds.iter().any(|kind| matches!(kind, Kind::Secret)) =>
        {
            matches!(kind, Kind::Secret)
        }
        Written::Table(_) => matches!(kind, Kind::Table(_) | Kind::Map(_)),
        Written::Opened(_) => matches!(kind, Kind::Secret),
        Written::List(_) => matches!(kind, Kind::List(_)),
        Written::Bool(value) => matches!(kind, Kind::Bool) || matches!(kind, Kind::Off) && !value,
        Written::Integer(_) => matches!(kind, Kind::Integer { .. } | Kind::Size),
        Written::Text(_) | Written::Word(_) => kind.takes_text(),
    };
    // A list takes one alone as well, of any shape; only its own shape prefers it.
    let in_list = |kind: &&Kind| match kind {
        Kind::List(Kind::Table(_)) => matches!(node.value, Written::Table(_)),
        Kind::List(Kind::OneOf(kinds)) => {
            matches!(node.value, Written::Table(_)) && kinds.iter().any(|kind| matches!(kind, Kind::Table(_)))
        }
        _ => false,
    };
    let mut forms: Vec<Kind> = kinds.iter().filter(fits).copied().collect();
    if forms.is_empty() {
        forms = kinds.iter().filter(in_list).copied().collect();
    }
    if let (Written::Text(word), Some(Kind::Table(_))) = (&node.value, table_with(kinds, &node.value)) {
        let message = format!("'{word}' needs a value: write {{ {word} = … }}");
        context.error(&node.place, key, message);
        return None;
    }
    match (&forms[..], &node.value) {
        ([], _) => wrong(context, node, key, Kind::OneOf(kinds)),
        ([form], _) => read(context, node, key, *form),
        // What may be a secret is read as one: it is shown nowhere then.
        (forms, Written::Text(_) | Written::Word(_))
            if forms.iter().any(|kind| matches!(kind, Kind::Secret)) =>
        {
            read(context, node, key, Kind::Secret)
        }
        (forms, Written::Text(written) | Written::Word(written)) => {
            let text = context.resolve(written, &node.place, key, Use::Plain)?;
            let plain = |kind: &&Kind| !matches!(kind, Kind::Name(_) | Kind::NameOf(_));
            if let Some(value) = forms.iter().filter(plain).find_map(|kind| Value::parse(*kind, &text).ok()) {
                return Some(value);
            }
            match forms.iter().find(|kind| !plain(kind)) {
                Some(name) => read(context, node, key, *name),
                None => parsed(context, node, key, Kind::OneOf(kinds), &text, Some(written)),
            }
        }
        (forms, _) => read(context, node, key, forms[0]),
    }
}

/// The form that is a table with a field of the word that is written.
fn table_with(kinds: &'static [Kind], value: &Written) -> Option<Kind> {
    let Written::Text(word) = value else { return None };
    let has = |kind: &&Kind| match kind {
        Kind::Table(group) => group.fields.iter().any(|field| field.name == word),
        _ => false,
    };
    kinds.iter().find(has).copied()
}

/// The values of a list, or one alone.
fn read_list(context: &Context<'_>, node: &Node, key: &str, kind: Kind) -> Option<Value> {
    let nodes: Vec<&Node> = match &node.value {
        Written::List(items) => items.iter().collect(),
        // A variable holds one line: its parts are set apart by commas.
        Written::Word(words) if kind.takes_text() => {
            let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
            return words
                .map(|word| parsed(context, node, key, kind, word, None))
                .collect::<Option<_>>()
                .map(Value::List);
        }
        Written::Text(_) | Written::Word(_) | Written::Opened(_) if kind.takes_text() => vec![node],
        Written::Table(_) if !matches!(kind, Kind::Text | Kind::Name(_)) => vec![node],
        other => {
            let message = format!("must be {}, not {}", Kind::List(&Kind::Text).describe(), other.describe());
            let message =
                if matches!(kind, Kind::Text) { message } else { format!("must be {}", kind.describe()) };
            context.error(&node.place, key, message);
            return None;
        }
    };
    let mut values: Vec<Value> = Vec::new();
    let mut whole = true;
    for (at, item) in nodes.into_iter().enumerate() {
        let of_tables = matches!(item.value, Written::Table(_));
        let key = if of_tables { format!("{key}[{}]", at + 1) } else { key.to_owned() };
        if matches!(item.value, Written::List(_)) && !matches!(kind, Kind::List(_)) {
            // A list in a list would be read as one more list.
            context.error(
                &item.place,
                &key,
                format!("must be a list of {} without lists inside", plural(kind)),
            );
            whole = false;
            continue;
        }
        match read(context, item, &key, kind) {
            Some(value) if matches!(kind, Kind::Name(_)) && values.contains(&value) => {
                if let Written::Text(written) = &item.value {
                    context.error(&item.place, &key, format!("names '{written}' twice"));
                }
                whole = false;
            }
            Some(value) => values.push(value),
            None => whole = false,
        }
    }
    whole.then_some(Value::List(values))
}

fn plural(kind: Kind) -> String {
    if let Kind::Text = kind { "texts".to_owned() } else { kind.describe() }
}

/// A text that is there.
pub(crate) fn text_of<'a>(context: &Context<'_>, node: &'a Node, key: &str, kind: Kind) -> Option<Text<'a>> {
    match &node.value {
        Written::Text(written) | Written::Word(written) => {
            let value = context.resolve(written, &node.place, key, Use::from(kind))?;
            Some(Text { value, written, place: &node.place })
        }
        _ => {
            wrong(context, node, key, Kind::Text);
            None
        }
    }
}

/// The texts of a list: its own, or those of a single text, each of the kind.
pub(crate) fn list_of<'a>(context: &Context<'_>, node: &'a Node, key: &str, kind: Kind) -> Vec<Text<'a>> {
    // What a list's kind says of its texts.
    let kind = if let Kind::Public(_) = kind { kind } else { Kind::Text };
    match &node.value {
        Written::List(items) => {
            let item = |item: &'a Node| match item.value {
                // A list in a list would be read as one more list.
                Written::List(_) => {
                    context.error(&item.place, key, "must be a list of texts without lists inside");
                    None
                }
                _ => text_of(context, item, key, kind),
            };
            items.iter().filter_map(item).collect()
        }
        // A variable holds one line: its parts are set apart by commas.
        Written::Word(words) => words
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| Text { value: word.to_owned(), written: word, place: &node.place })
            .collect(),
        Written::Text(_) => text_of(context, node, key, kind).into_iter().collect(),
        other => {
            context.error(&node.place, key, format!("must be a list of texts, not {}", other.describe()));
            Vec::new()
        }
    }
}
