//! `waybill validate`: a directory of definitions, checked and reported.

use crate::catalogue::Catalogue;
use crate::check::Checked;
use crate::context::suggestion;
use crate::documents::Documents;
use crate::environment::Environment;
use crate::outline::Outline;
use crate::problem::{Place, Problem, Severity};
use crate::settings::Settings;
use model::definition::Definitions;
use model::schema::{Kind, Section, Subject};
use serde_json::{Value as Json, json};
use std::fmt;
use std::path::{Path, PathBuf};

/// What was found in a directory.
#[derive(Clone, Debug)]
pub struct Report {
    /// The documents as read.
    pub documents: Documents,
    /// The definitions, when nothing is wrong with them and no secret in them is known only to the database.
    pub definitions: Option<Definitions>,
    /// Problems by file and line.
    pub problems: Vec<Problem>,
}

/// Reads and checks a directory of definitions. Opens no connection.
#[must_use]
pub fn validate(
    directory: &Path,
    settings: &Settings,
    catalogue: &Catalogue,
    environment: &dyn Environment,
) -> Report {
    let (documents, mut problems) = Documents::read(directory);
    let (definitions, mut found) = documents.examine(settings, catalogue, environment);
    problems.append(&mut found);
    problems.sort();
    let definitions = definitions.filter(|_| !crate::problem::any_error(&problems));
    Report { documents, definitions, problems }
}

/// Warnings about directories of `roots.files` that this machine does not have.
#[must_use]
pub fn missing_roots(settings: &Settings) -> Vec<Problem> {
    let place = Place { file: "waybill.toml".into(), line: 0, column: 0 };
    let is_missing = |root: &&PathBuf| {
        std::fs::metadata(root).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let warning = |root: &PathBuf| {
        let message = format!(
            "the directory {} does not exist on this machine: endpoints and archives below it fail until it is created, or \
             its file system is mounted",
            root.display()
        );
        Problem::new(Severity::Warning, &place, "roots.files", message)
    };
    settings.roots.files.iter().filter(is_missing).map(warning).collect()
}

impl Documents {
    /// As [`Documents::check`], against all settings of a node: also whether it has the servers that listeners name.
    #[must_use]
    pub fn examine(
        &self,
        settings: &Settings,
        catalogue: &Catalogue,
        environment: &dyn Environment,
    ) -> (Option<Definitions>, Vec<Problem>) {
        let Checked { definitions, complete, mut problems } =
            self.check_all(catalogue, &settings.roots, environment);
        if let Some(definitions) = &definitions {
            problems.append(&mut without_server(self, definitions, settings, catalogue));
            problems.sort();
        }
        let definitions = definitions.filter(|_| complete && !crate::problem::any_error(&problems));
        (definitions, problems)
    }
}

/// Listeners at HTTP servers that these settings do not have, or that do no TLS and are to show a certificate.
fn without_server(
    documents: &Documents,
    definitions: &Definitions,
    settings: &Settings,
    catalogue: &Catalogue,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for listener in definitions.listeners.values() {
        let Some(spec) = catalogue.get(&listener.transport) else { continue };
        let at = |field: &str, message: String| {
            let subject = Subject { section: Section::LISTENER, name: listener.name.clone() };
            let (place, path) = documents.find(&subject, &field.into());
            Problem::error(&place, &format!("listener.{}.{path}", listener.name), message)
        };
        let fields = spec.listener.iter().flat_map(|group| group.fields);
        for field in fields.filter(|field| matches!(field.kind, Kind::Server)) {
            let Some(name) = listener.options.text(field.name) else { continue };
            if let Some(server) = settings.listen.http.get(name) {
                let keys = spec.listener.iter().flat_map(|group| group.fields);
                let keys = keys.filter(|key| matches!(key.kind, Kind::Name(Section::KEY)));
                for key in
                    keys.filter(|key| server.tls.is_none() && listener.options.text(key.name).is_some())
                {
                    let message = format!(
                        "cannot be shown: [listen.http.{name}] in waybill.toml does no TLS; give the server a tls table, or \
                         take this out"
                    );
                    problems.push(at(key.name, message));
                }
            }
            if !settings.listen.http.contains_key(name) {
                let near = suggestion(name, settings.listen.http.keys().map(String::as_str));
                let message = format!(
                    "waybill.toml has no [listen.http.{name}]{near}; the administrator of this machine sets \
                    there which addresses Waybill listens on"
                );
                problems.push(at(field.name, message));
            }
        }
    }
    problems
}

impl Report {
    /// Whether nothing is wrong with the documents.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !crate::problem::any_error(&self.problems)
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// One line: what was read, and what was found.
    #[must_use]
    pub fn summary(&self) -> String {
        let (definitions, files) = self.documents.count();
        format!(
            "{} in {}: {}, {}",
            counted(definitions, "definition"),
            counted(files, "file"),
            counted(self.count(Severity::Error), "error"),
            counted(self.count(Severity::Warning), "warning"),
        )
    }

    /// For programs: `valid`, `definitions`, `files`, `errors`, `warnings`, and `problems` with `file`,
    /// `line`, `column`, `severity`, `key` and `message` each.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let (definitions, files) = self.documents.count();
        json!({
            "valid": self.is_valid(),
            "definitions": definitions,
            "files": files,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.problems,
        })
    }
}

/// For people: the problems in outline, then the summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.problems.is_empty() {
            writeln!(f, "{}", Outline::of(&self.problems))?;
        }
        f.write_str(&self.summary())
    }
}

fn counted(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests;
