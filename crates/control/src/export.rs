//! The definitions as documents again, whole or one with all that it refers to.

use crate::{Caller, Control};
use config::ExportedFile;
use model::{Permission, Result};
use serde::{Deserialize, Serialize};

/// What to export.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExportRequest {
    /// One definition, such as `flow.orders`, with all that it refers to; everything unless given.
    pub object: Option<String>,
    /// The revision; the newest unless given.
    pub revision: Option<i64>,
}

impl Control {
    /// Exports definitions. No secret is among them: references stay references, stored ones are
    /// `{ kept = true }`.
    ///
    /// # Errors
    /// The caller may not see definitions; `NotFound`; the database failed.
    pub async fn export(&self, caller: &Caller, request: &ExportRequest) -> Result<Vec<ExportedFile>> {
        caller.require(Permission::ViewDefinitions)?;
        let stored = match request.revision {
            Some(number) => {
                self.find(number, "export a revision").await?;
                self.stored(number).await?
            }
            None => self.current().await?,
        };
        match &request.object {
            Some(object) => Ok(vec![config::export_one(&stored.definitions, object, self.facts())?]),
            None => config::export(stored.side(), self.facts()),
        }
    }
}
