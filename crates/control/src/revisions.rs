//! The list of revisions, and what one changed.

use crate::{Caller, Control};
use config::Plan;
use model::{Error, ErrorKind, Permission, Result, Timestamp};
use serde::Serialize;
use store::Revision;

/// One revision in the list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RevisionLine {
    /// From 1, without holes.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it, as audit events say it.
    pub author: String,
    /// How: apply, edit or rollback.
    pub how: &'static str,
    /// The directory it came from.
    pub source: Option<String>,
    /// What it changed, in a line.
    pub summary: String,
}

/// One revision with what it changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RevisionDetail {
    /// The revision.
    #[serde(flatten)]
    pub line: RevisionLine,
    /// The difference to the revision before.
    pub changes: Plan,
}

impl From<Revision> for RevisionLine {
    fn from(revision: Revision) -> Self {
        Self {
            number: revision.number,
            at: revision.at,
            author: revision.author.to_text(),
            how: revision.kind.as_str(),
            source: revision.source,
            summary: revision.summary,
        }
    }
}

impl Control {
    /// Revisions, newest first, those before number `before` when given.
    ///
    /// # Errors
    /// The caller may not see definitions; the database failed.
    pub async fn revisions(
        &self,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<RevisionLine>> {
        caller.require(Permission::ViewDefinitions)?;
        let list = self.0.store.revisions(before, limit).await?;
        Ok(list.into_iter().map(RevisionLine::from).collect())
    }

    /// One revision and what it changed.
    ///
    /// # Errors
    /// The caller may not see definitions; `NotFound`; the database failed.
    pub async fn show_revision(&self, caller: &Caller, number: i64) -> Result<RevisionDetail> {
        caller.require(Permission::ViewDefinitions)?;
        let revision = self.find(number, "show a revision").await?;
        let (before, after) = (self.stored(number - 1).await?, self.stored(number).await?);
        let (changes, _) = Plan::between(number - 1, before.side(), after.side(), self.facts());
        Ok(RevisionDetail { line: revision.into(), changes })
    }

    pub(crate) async fn find(&self, number: i64, operation: &'static str) -> Result<Revision> {
        self.0.store.revision(number).await?.ok_or_else(|| {
            let advice = if number < 1 {
                "the first revision is 1; to take out all that came from a directory, apply it without definitions, \
                 with --allow-empty"
            } else {
                "there is no such revision; `waybill revisions` lists them"
            };
            Error::permanent(ErrorKind::NotFound, operation).with("revision", number).advice(advice)
        })
    }
}
