//! Putting the definitions of an earlier revision in force again, as a new revision.

use crate::apply::Applied;
use crate::{Caller, Control};
use config::{Plan, Severity};
use model::{Permission, Result, RevisionKind};
use serde::{Deserialize, Serialize};

/// A revision to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RollBack {
    /// Its number.
    pub to: i64,
    /// The revision that the person looked at. Another one in force refuses the request.
    pub base: Option<i64>,
}

impl Control {
    /// Goes back to an earlier revision. What came after it stays in the list.
    ///
    /// # Errors
    /// The caller may not change definitions; `NotFound`; the database failed.
    pub async fn roll_back(&self, caller: &Caller, request: RollBack) -> Result<Applied> {
        caller.require(Permission::ChangeDefinitions)?;
        self.find(request.to, "roll back to a revision").await?;
        let (current, target) = (self.current().await?, self.stored(request.to).await?);
        if let Some(base) = request.base.filter(|base| *base != current.number) {
            return self.stale(base, &current).await;
        }
        let (found, problems) = self.check(&self.open_documents(&target.definitions).await?);
        let Some(definitions) = found.map(Box::new).map(Some) else {
            return Ok(Applied::Invalid { problems });
        };
        let problems: Vec<_> = problems.into_iter().filter(|p| p.severity == Severity::Warning).collect();
        let (plan, changes) = Plan::between(current.number, current.side(), target.side(), self.facts());
        if plan.is_empty() {
            return Ok(Applied::Unchanged { revision: current.number, problems, definitions });
        }
        let mut new = self.revision(caller, RevisionKind::Rollback, None, &plan, changes);
        new.summary = format!("roll back to revision {}: {}", request.to, new.summary);
        match self.0.store.apply_revision(new).await? {
            store::Applied::Made(revision) => Ok(Applied::Made { revision, plan, problems, definitions }),
            store::Applied::Stale(_) => self.stale(current.number, &self.current().await?).await,
        }
    }
}
