//! The definitions of a directory, to be used without being put in force.

use crate::Control;
use config::Documents;
use model::definition::Definitions;
use model::{Error, ErrorKind, Result};
use std::path::Path;

impl Control {
    /// The definitions of a directory alone, checked, with the stored secrets that `{ kept = true }` stands for: as for
    /// `apply`, none for another address than it was given for.
    ///
    /// # Errors
    /// `ConfigInvalid` with every problem; the database failed.
    pub async fn definitions_of(&self, directory: &Path) -> Result<Definitions> {
        let refused = |text: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "use the definitions")
                .advice(format!("correct them; `waybill validate` shows the same:\n{text}"))
        };
        let (documents, mut problems) = Documents::read(directory);
        let mut new = documents.definitions("");
        let mut conflicts = self.refuse_ids(&mut new);
        let current = self.current().await?;
        let opened = self.open_secrets(&current.definitions).await?;
        let mut hidden = self.hide_secrets(&mut new, &current, &opened).await?;
        conflicts.append(&mut hidden.conflicts);
        conflicts
            .append(&mut self.disclosures(&current.definitions, (&new, &[]), &hidden.kept, false).conflicts);
        if !conflicts.is_empty() {
            let lines: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
            return Err(refused(lines.join("\n")));
        }
        let (definitions, mut found) = self.check(&self.put_kept(documents, &current, &opened));
        problems.append(&mut found);
        problems.sort();
        let whole = problems.iter().all(|problem| problem.severity == config::Severity::Warning);
        definitions.filter(|_| whole).ok_or_else(|| refused(config::Outline::of(&problems).to_string()))
    }
}
