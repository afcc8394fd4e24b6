//! Secrets in comments: the text of a file is stored and exported with them.

use crate::documents::{Document, Documents};
use crate::facts::Facts;
use crate::problem::{Place, Problem};
use crate::reference::is_only_references;
use crate::tree::Lines;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// Shortest secret that is looked for, in bytes: a shorter one stands in many words.
const SHORTEST: usize = 4;
/// Shortest line of a secret with several lines that is looked for.
const SHORTEST_LINE: usize = 16;

impl Documents {
    /// Comments that hold the text of a secret that stands in the same file, and comments that look like one. Not
    /// one word of them is in the problems.
    #[must_use]
    pub fn secrets_in_comments(&self, facts: Facts<'_>) -> Vec<Problem> {
        let fields = facts.secret_names();
        self.files.iter().flat_map(|document| in_document(document, facts, &fields)).collect()
    }
}

fn in_document(document: &Document, facts: Facts<'_>, fields: &BTreeSet<&str>) -> Vec<Problem> {
    let text = &*document.text;
    let Ok(root) = DeTable::parse(text) else { return Vec::new() };
    let mut found = Found::default();
    found.table(root.get_ref());
    let secrets = literals(root.get_ref(), facts);
    let lines = Lines::new(&document.shown, text);
    let mut problems = Vec::new();
    for comment in comments(text, &mut found.values) {
        let Some(words) = text.get(comment.clone()) else { continue };
        let place: Place = lines.place(comment.start);
        if secrets.iter().any(|secret| words.contains(secret.as_str())) {
            let message =
                "the comment holds the text of a secret, and comments are stored as they are: take it out";
            problems.push(Problem::error(&place, "", message));
        } else if looks_like_secret(words, fields) {
            let message = "the comment looks like a secret that was in use, and comments are stored as they are: take \
                           it out if it is one";
            problems.push(Problem::warning(&place, "", message));
        }
    }
    problems
}

/// Everything of a text that is no comment and may hold a `#`: keys and values.
#[derive(Default)]
struct Found {
    values: Vec<Range<usize>>,
}

impl Found {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.values.push(key.span());
            self.value(value);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(inner) => self.table(inner),
            DeValue::Array(items) => items.iter().for_each(|item| self.value(item)),
            _ => self.values.push(value.span()),
        }
    }
}

/// The literal secrets, and the long lines of those that have several.
fn literals(root: &DeTable<'_>, facts: Facts<'_>) -> Vec<Zeroizing<String>> {
    let mut secrets = Vec::new();
    crate::secrets::each_literal(root, facts, |text, _| {
        let parts = text.lines().map(str::trim);
        let shortest = if text.trim().contains('\n') { SHORTEST_LINE } else { SHORTEST };
        let long = parts.filter(|part| part.len() >= shortest && !part.starts_with("-----"));
        secrets.extend(long.map(|part| Zeroizing::new(part.to_owned())));
    });
    secrets
}

/// The comments of a text that is TOML: from a `#` outside of keys and values to the end of its line.
fn comments<'t>(text: &'t str, values: &'t mut [Range<usize>]) -> impl Iterator<Item = Range<usize>> + 't {
    values.sort_by_key(|span| span.start);
    let mut at = 0;
    let mut next = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.find('#')?;
            while values.get(next).is_some_and(|span| span.end <= start) {
                next += 1;
            }
            if let Some(span) = values.get(next).filter(|span| span.contains(&start)) {
                at = span.end;
                continue;
            }
            let end = text.get(start..)?.find('\n').map_or(text.len(), |length| start + length);
            at = end;
            return Some(start..end);
        }
    })
}

/// Whether a comment assigns text to a field for secrets: `# password = "…"`.
fn looks_like_secret(comment: &str, fields: &BTreeSet<&str>) -> bool {
    let line = comment.trim_start_matches('#');
    let Ok(root) = DeTable::parse(line) else { return false };
    root.get_ref().iter().any(|(key, value)| {
        let literal =
            value.get_ref().as_str().is_some_and(|text| !text.is_empty() && !is_only_references(text));
        literal && fields.contains(&**key.get_ref())
    })
}
