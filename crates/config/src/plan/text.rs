//! A plan for people to read: removals first, then changes, then additions.

use super::{Conflict, FieldChange, Plan};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for removed in &self.removed {
            writeln!(f, "- {}{}", removed.definition, in_file(&removed.file))?;
        }
        for changed in &self.changed {
            writeln!(f, "~ {}{}", changed.definition, in_file(&changed.file))?;
            if let Some(origin) = &changed.origin_before {
                writeln!(f, "    taken over from {origin}")?;
            }
            if let Some(file) = &changed.file_before {
                writeln!(f, "    moved from {}", if file.is_empty() { "the console" } else { file })?;
            }
            for field in &changed.fields {
                writeln!(f, "    {field}")?;
            }
        }
        for added in &self.added {
            writeln!(f, "+ {}{}", added.definition, in_file(&added.file))?;
        }
        for file in &self.layout {
            writeln!(f, "  {file}: only comments or layout change")?;
        }
        for conflict in &self.conflicts {
            writeln!(f, "{conflict}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}: {}", warning.definition, warning.message)?;
        }
        if self.is_empty() {
            return f.write_str("No change.");
        }
        let counts =
            [(self.removed.len(), "removed"), (self.changed.len(), "changed"), (self.added.len(), "added")];
        let counts: Vec<String> = counts.iter().map(|(count, word)| format!("{count} {word}")).collect();
        write!(f, "{}", counts.join(", "))?;
        match self.conflicts.len() {
            0 => f.write_str("."),
            1 => f.write_str(". This cannot be applied because of 1 conflict."),
            many => write!(f, ". This cannot be applied because of {many} conflicts."),
        }
    }
}

fn in_file(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!(" ({file})") }
}

fn join(definition: &str, field: &str) -> String {
    if field.is_empty() { definition.to_owned() } else { format!("{definition}.{field}") }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conflict: ")?;
        match join(&self.definition, &self.field).as_str() {
            "" => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        let hidden = |secret: bool| secret.then_some("(secret)");
        let before = self.before.as_deref().or(hidden(self.secret_before));
        let after = self.after.as_deref().or(hidden(self.secret_after));
        match (before, after) {
            _ if self.secret_before && self.secret_after => f.write_str("the secret changes"),
            (None, _) if self.secret_after => f.write_str("the secret is added"),
            (_, None) if self.secret_before => f.write_str("the secret is taken out"),
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
            (None, Some(after)) => write!(f, "added {after}"),
            (Some(before), None) => write!(f, "removed, was {before}"),
            (None, None) => Ok(()),
        }
    }
}
