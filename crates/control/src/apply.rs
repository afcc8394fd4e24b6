//! Putting a directory of definitions in force.

use crate::prepare::{Prepared, Stored};
use crate::{Caller, Control, PlanAnswer, PlanRequest};
use config::{Changes, Plan, Problem};
use model::definition::Definitions;
use model::{EventKind, Permission, Result, RevisionKind};
use serde::Serialize;
use std::fmt;
use store::NewRevision;

/// Tries against other nodes that make revisions at the same moment.
const TRIES: u32 = 20;

/// A directory to be put in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Apply {
    /// The directory, and how it is compared.
    pub plan: PlanRequest,
    /// The revision that the person looked at. Another one in force refuses the request.
    pub base: Option<i64>,
}

/// What became of a request to change the definitions.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Applied {
    /// A new revision is in force. Nodes follow within seconds.
    Made {
        /// Its number.
        revision: i64,
        /// What it changed.
        plan: Plan,
        /// What a person should know of the documents.
        problems: Vec<Problem>,
        /// The definitions as they are now; `None` while a stored secret of another origin cannot be decrypted, which
        /// the plan's warnings tell.
        #[serde(skip)]
        definitions: Option<Box<Definitions>>,
    },
    /// Everything was in force already.
    Unchanged {
        /// The revision in force.
        revision: i64,
        /// What a person should know of the documents.
        problems: Vec<Problem>,
        /// The definitions in force; `None` while a stored secret cannot be decrypted.
        #[serde(skip)]
        definitions: Option<Box<Definitions>>,
    },
    /// The documents have errors. Nothing changed.
    Invalid {
        /// The errors and warnings.
        problems: Vec<Problem>,
    },
    /// Something is in the way. Nothing changed.
    Conflicts {
        /// The difference, with its conflicts.
        plan: Plan,
        /// What is wrong with the documents besides.
        problems: Vec<Problem>,
    },
    /// Someone else made a revision since the base. Nothing changed.
    Stale {
        /// The revision that the request was made against.
        base: i64,
        /// The revision in force.
        in_force: i64,
        /// What was changed since the base.
        meanwhile: Plan,
    },
}

impl Control {
    /// Puts a directory in force as a new revision, unless it is in force already. Another revision that was made at
    /// the same moment is no obstacle, unless both touch the same definitions.
    ///
    /// # Errors
    /// The caller may not change definitions, or not reuse secrets; there is no such base; the database failed.
    pub async fn apply(&self, caller: &Caller, request: &Apply) -> Result<Applied> {
        caller.require(Permission::ChangeDefinitions)?;
        if request.plan.reuse_secrets {
            caller.require(Permission::ManageSecrets)?;
        }
        let id = (self.0.ids)();
        let mut tries = 0;
        let mut first: Option<Stored> = None;
        loop {
            let current = self.current().await?;
            if let Some(base) = request.base.filter(|base| *base != current.number) {
                return self.stale(base, &current).await;
            }
            let prepared = self.prepare(&current, &request.plan).await?;
            let is_valid = prepared.is_valid();
            let Prepared { plan, changes, secrets, problems, reused, definitions } = prepared;
            if !plan.conflicts.is_empty() {
                return Ok(Applied::Conflicts { plan, problems });
            }
            if !is_valid {
                return Ok(Applied::Invalid { problems });
            }
            let definitions = definitions.map(Box::new);
            if plan.is_empty() {
                return Ok(Applied::Unchanged { revision: current.number, problems, definitions });
            }
            if let Some(first) = &first {
                let (meanwhile, _) = Plan::between(first.number, first.side(), current.side(), self.facts());
                if plan.meets(&meanwhile) {
                    return Ok(Applied::Stale { base: first.number, in_force: current.number, meanwhile });
                }
            }
            let source = Some(plan.origin.clone());
            let mut new = self.revision(caller, RevisionKind::Apply, source, &plan, changes);
            if reused > 0 {
                let applied = self.event(EventKind::DefinitionsApplied).detail("secrets_reused", reused);
                new.events = vec![applied];
            }
            engine::crash_point("apply.before");
            let made = self.0.store.apply_revision(NewRevision { id, secrets, ..new }).await?;
            engine::crash_point("apply.after");
            match made {
                store::Applied::Made(revision) => {
                    return Ok(Applied::Made { revision, plan, problems, definitions });
                }
                // Compared again with what the other one made.
                store::Applied::Stale(_) if tries < TRIES => {
                    tries += 1;
                    first.get_or_insert(current);
                }
                store::Applied::Stale(_) => return self.stale(current.number, &self.current().await?).await,
            }
        }
    }

    /// A revision that carries out a plan.
    pub(crate) fn revision(
        &self,
        caller: &Caller,
        kind: RevisionKind,
        source: Option<String>,
        plan: &Plan,
        changes: Changes,
    ) -> NewRevision {
        NewRevision {
            id: (self.0.ids)(),
            base: plan.base,
            at: (self.0.now)(),
            author: caller.actor.clone(),
            kind,
            source,
            summary: plan.summary(),
            put: changes.put,
            removed: changes.removed,
            files_put: changes.files_put,
            files_removed: changes.files_removed,
            secrets: store::NewSecrets::default(),
            events: vec![self.event(EventKind::DefinitionsApplied)],
        }
    }

    pub(crate) async fn stale(&self, base: i64, current: &Stored) -> Result<Applied> {
        if base != 0 {
            self.find(base, "compare with the revision that the request was made against").await?;
        }
        let before = self.stored(base).await?;
        let (meanwhile, _) = Plan::between(base, before.side(), current.side(), self.facts());
        Ok(Applied::Stale { base, in_force: current.number, meanwhile })
    }
}

impl Applied {
    /// Whether the definitions asked for are in force.
    #[must_use]
    pub const fn is_in_force(&self) -> bool {
        matches!(self, Self::Made { .. } | Self::Unchanged { .. })
    }
}

/// For people.
impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |f: &mut fmt::Formatter<'_>, problems: &[Problem]| {
            if problems.is_empty() { Ok(()) } else { writeln!(f, "{}", config::Outline::of(problems)) }
        };
        match self {
            Self::Made { revision, plan, problems, .. } => {
                told(f, problems)?;
                write!(
                    f,
                    "{plan}\nRevision {revision} is stored; running nodes put it in force within seconds."
                )
            }
            Self::Unchanged { revision, problems, .. } => {
                told(f, problems)?;
                write!(f, "No change: revision {revision} has the same definitions.")
            }
            Self::Invalid { problems } => {
                told(f, problems)?;
                f.write_str("The definitions have errors: nothing was changed.")
            }
            Self::Conflicts { plan, problems } => {
                let (plan, problems) = (plan.clone(), problems.clone());
                write!(f, "{}\nNothing was changed.", PlanAnswer { valid: false, plan, problems })
            }
            Self::Stale { base, in_force, meanwhile } => write!(
                f,
                "Nothing was changed: the request was made against revision {base}, but revision {in_force} is in \
                 force. Since then this was changed:\n{meanwhile}\nLook at the new plan, then apply again."
            ),
        }
    }
}
