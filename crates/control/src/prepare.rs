//! What plan and apply have in common: the difference of a directory to what is in force, checked as a whole.

use crate::{Control, PlanRequest};
use config::{Changes, Conflict, Documents, Facts, Origin, Plan, Problem, Side};
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
    /// Stored secrets that go to an address that they were not given for, as an administrator allows.
    pub(crate) reused: usize,
    /// All definitions as they would be; `None` with an error among the problems, or while a stored secret cannot be
    /// opened.
    pub(crate) definitions: Option<Definitions>,
}

impl Prepared {
    /// Whether the documents have no error.
    pub(crate) fn is_valid(&self) -> bool {
        !any_error(&self.problems)
    }
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
        if !self.0.master_keys.is_empty() {
            problems.append(&mut documents.secrets_in_comments(self.facts()));
        }
        let origin = request.origin();
        let mut new = documents.definitions(&origin);
        let mut conflicts = self.refuse_ids(&mut new);
        conflicts.extend(emptied(&new, &current.definitions, request, &problems));
        let mut import = self.import(&mut new, &current.definitions, request)?;
        problems.append(&mut import.problems);
        conflicts.append(&mut import.conflicts);
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
        let mut hidden = self.hide_secrets(&mut new, current, &opened).await?;
        conflicts.append(&mut hidden.conflicts);
        hidden.kept.append(&mut import.kept);
        let here: BTreeSet<(&str, &str)> =
            new.iter().map(|d| (d.section.as_str(), d.name.as_str())).collect();
        // The others' definitions stay: what the directory names may be there, and names must not meet.
        let is_other = |definition: &&StoredDefinition| {
            definition.origin != origin
                && !here.contains(&(definition.section.as_str(), definition.name.as_str()))
        };
        let others: Vec<&StoredDefinition> = current.definitions.iter().filter(is_other).collect();
        let mut disclosures =
            self.disclosures(&current.definitions, (&new, &others), &hidden.kept, request.reuse_secrets);
        conflicts.append(&mut disclosures.conflicts);
        let whole = documents.without(is_altered).with(Documents::from_definitions(&altered)?);
        let whole = whole.with(Documents::from_definitions(others.iter().copied())?);
        let whole = self.put_kept(whole, current, &opened);
        let side = Side { definitions: &new, files: &texts };
        let (mut plan, changes) = Plan::of_directory(
            current.number,
            current.side(),
            side,
            Origin { name: &origin, take_over: request.take_over, is_named: request.origin.is_some() },
            self.facts(),
        );
        plan.conflicts.append(&mut conflicts);
        let reused = disclosures.notices.len();
        plan.warnings.append(&mut disclosures.notices);
        plan.warnings.append(&mut import.notices);
        plan.warnings.append(&mut self.unopened(&others, &opened));
        let (definitions, mut found) = self.check(&whole);
        problems.append(&mut found);
        problems.sort();
        let definitions = definitions.filter(|_| !any_error(&problems));
        Ok(Prepared { plan, changes, secrets: hidden.secrets, problems, reused, definitions })
    }
}

/// A directory that holds nothing while definitions came from it: more likely one that is not mounted, or being
/// replaced, than the wish to remove everything.
fn emptied(
    new: &[StoredDefinition],
    current: &[StoredDefinition],
    request: &PlanRequest,
    problems: &[Problem],
) -> Option<Conflict> {
    let origin = request.origin();
    let count = current.iter().filter(|definition| definition.origin == origin).count();
    let is_emptied = new.is_empty() && count > 0 && !request.allow_empty && !any_error(problems);
    is_emptied.then(|| Conflict {
        definition: String::new(),
        field: String::new(),
        message: format!(
            "{} holds no definition, and {count} came from it: --allow-empty removes them all",
            request.directory.display()
        ),
    })
}

fn any_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == config::Severity::Error)
}
