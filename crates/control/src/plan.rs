//! What would change if a directory were applied.

use crate::{Caller, Control};
use config::{Notice, Plan, Problem, Severity};
use model::schema::Section;
use model::{Permission, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A directory that is compared with the definitions in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The directory, as the person names it.
    pub directory: PathBuf,
    /// What its definitions are said to come from; the directory's absolute path unless given.
    pub origin: Option<String>,
    /// Whether definitions of other origins become this one's instead of being conflicts.
    pub take_over: bool,
    /// Whether definitions that are here already keep their logins: user names, credentials, keys.
    pub keep_credentials: bool,
    /// Whether stored secrets may be shown to addresses that they were not given for: for administrators.
    #[serde(default)]
    pub reuse_secrets: bool,
    /// Whether a directory without definitions removes all that came from it.
    #[serde(default)]
    pub allow_empty: bool,
    /// A document whose fields take the place of the directory's: only such as differ between environments.
    pub overlay: Option<PathBuf>,
}

impl PlanRequest {
    /// Where the definitions come from.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin.clone().unwrap_or_else(|| {
            let path = self.directory.canonicalize().or_else(|_| std::path::absolute(&self.directory));
            path.unwrap_or_else(|_| self.directory.clone()).display().to_string()
        })
    }
}

/// What would change, and what is wrong with the documents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlanAnswer {
    /// Whether it can be applied.
    pub valid: bool,
    /// The difference.
    pub plan: Plan,
    /// What is wrong with the documents, and what a person should know.
    pub problems: Vec<Problem>,
}

impl Control {
    /// Compares a directory with what is in force. Changes nothing.
    ///
    /// # Errors
    /// The caller may not see definitions; the database failed.
    pub async fn plan(&self, caller: &Caller, request: &PlanRequest) -> Result<PlanAnswer> {
        caller.require(Permission::ViewDefinitions)?;
        let mut prepared = self.prepare(&self.current().await?, request).await?;
        self.warn_of_unfinished(&mut prepared.plan).await?;
        let valid = prepared.is_valid() && prepared.plan.conflicts.is_empty();
        Ok(PlanAnswer { valid, plan: prepared.plan, problems: prepared.problems })
    }
}

impl Control {
    /// Says how many deliveries to endpoints that would be removed are not finished.
    async fn warn_of_unfinished(&self, plan: &mut Plan) -> Result<()> {
        let prefix = format!("{}.", Section::ENDPOINT.as_str());
        let removed = plan.removed.iter().map(|removed| removed.definition.clone());
        let removed: Vec<String> = removed.filter(|name| name.starts_with(&prefix)).collect();
        if removed.is_empty() {
            return Ok(());
        }
        let unfinished = self.0.store.unfinished_deliveries().await?;
        for definition in removed {
            let count = unfinished.get(&definition[prefix.len()..]).copied().unwrap_or(0);
            let message = match count {
                0 => continue,
                1 => "1 delivery to it is not finished, and cannot be sent once the endpoint is removed"
                    .to_owned(),
                many => format!(
                    "{many} deliveries to it are not finished, and cannot be sent once the endpoint is removed"
                ),
            };
            plan.warnings.push(Notice { definition, message });
        }
        Ok(())
    }
}

/// For people: the problems in outline, then the difference.
impl fmt::Display for PlanAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.problems.is_empty() {
            writeln!(f, "{}", config::Outline::of(&self.problems))?;
        }
        if self.problems.iter().any(|problem| problem.severity == Severity::Error) {
            // What a file with errors lacks would be told as removed.
            for conflict in &self.plan.conflicts {
                writeln!(f, "{conflict}")?;
            }
            return f.write_str("The definitions have errors: nothing can be applied.");
        }
        write!(f, "{}", self.plan)
    }
}
