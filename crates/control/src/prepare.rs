//! What plan and apply have in common: the difference of a directory to what is in force, checked as a whole.

use crate::{Control, PlanRequest};
use config::{Changes, Documents, Facts, Plan, Problem, Side};
use model::definition::Definitions;
use model::{Result, StoredDefinition, StoredFile};
use std::collections::BTreeSet;
use store::NewSecrets;

/// A directory, compared and checked.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) changes: Changes,
    pub(crate) secrets: NewSecrets,
    pub(crate) problems: Vec<Problem>,
    /// All definitions as they would be; `None` with an error among the problems.
    pub(crate) definitions: Option<Definitions>,
}

/// What the database has at a revision.
pub(crate) struct Stored {
    pub(crate) number: i64,
    pub(crate) definitions: Vec<StoredDefinition>,
    pub(crate) files: Vec<StoredFile>,
}

impl Stored {
    pub(crate) fn side(&self) -> Side<'_> {
        Side { definitions: &self.definitions, files: &self.files }
    }
}

impl Control {
    /// The newest revision's definitions and files.
    pub(crate) async fn current(&self) -> Result<Stored> {
        self.stored(self.0.store.current_revision_number().await?).await
    }

    pub(crate) async fn stored(&self, number: i64) -> Result<Stored> {
        Ok(Stored {
            number,
            definitions: self.0.store.definitions_at(number).await?.definitions,
            files: self.0.store.definition_files_at(number).await?,
        })
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts::new(&self.0.catalogue)
    }

    /// Compares and checks a directory.
    pub(crate) async fn prepare(&self, current: &Stored, request: &PlanRequest) -> Result<Prepared> {
        let (documents, mut problems) = Documents::read(&request.directory);
        let origin = request.origin();
        let mut new = documents.definitions(&origin);
        let mut import = self.import(&mut new, &current.definitions, request)?;
        problems.append(&mut import.problems);
        let opened = self.open_secrets(&current.definitions).await?;
        // As they would be used: what the import changed is no longer what the files say.
        let is_altered =
            |section: &str, name: &str| import.altered.contains(&(section.to_owned(), name.to_owned()));
        let altered: Vec<StoredDefinition> =
            new.iter().filter(|d| is_altered(&d.section, &d.name)).cloned().collect();
        let altered_files: BTreeSet<String> = documents
            .definitions(&origin)
            .into_iter()
            .filter(|d| is_altered(&d.section, &d.name))
            .map(|d| d.file)
            .collect();
        let texts: Vec<StoredFile> = documents
            .texts(&origin, self.facts())
            .into_iter()
            .filter(|text| !altered_files.contains(&text.file))
            .collect();
        let here: BTreeSet<(&str, &str)> =
            new.iter().map(|d| (d.section.as_str(), d.name.as_str())).collect();
        // The others' definitions stay: what the directory names may be there, and names must not meet.
        let others = current.definitions.iter().filter(|definition| {
            definition.origin != origin
                && !here.contains(&(definition.section.as_str(), definition.name.as_str()))
        });
        let others = Documents::from_definitions(others)?;
        let whole = documents.without(is_altered).with(Documents::from_definitions(&altered)?).with(others);
        let whole = self.put_kept(whole, current, &opened);
        let hidden = self.hide_secrets(&mut new, current, &opened)?;
        let side = Side { definitions: &new, files: &texts };
        let (mut plan, changes) = Plan::of_directory(
            current.number,
            current.side(),
            side,
            &origin,
            request.take_over,
            self.facts(),
        );
        plan.conflicts.extend(import.conflicts);
        plan.conflicts.extend(hidden.conflicts);
        let (definitions, mut found) = self.check(&whole);
        problems.append(&mut found);
        problems.sort();
        let definitions = definitions
            .filter(|_| problems.iter().all(|problem| problem.severity != config::Severity::Error));
        Ok(Prepared { plan, changes, secrets: hidden.secrets, problems, definitions })
    }
}
