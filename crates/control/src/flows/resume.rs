//! Resuming a paused flow.

use crate::suspensions::reason;
use crate::{Caller, Control};
use model::{ErrorKind, Permission, Result, Suspension, SuspensionKind};
use serde::{Deserialize, Serialize};

/// A flow to be resumed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResumeFlow {
    /// Its name. It may be a flow that is no longer defined.
    pub flow: String,
    /// Why: one line of at most 500 characters.
    pub reason: Option<String>,
}

impl Control {
    /// Resumes a paused flow: its source is polled at once, and what it receives is taken again. Answers what is ended.
    ///
    /// # Errors
    /// The caller may not operate flows; `NotFound` when it is not paused; the database failed.
    pub async fn resume_flow(&self, caller: &Caller, request: &ResumeFlow) -> Result<Suspension> {
        const OPERATION: &str = "resume a flow";
        caller.require(Permission::OperateFlows)?;
        let reason = request.reason.as_deref().map(|text| reason(OPERATION, text)).transpose()?;
        let ended = self.end_suspension(caller, SuspensionKind::Flow, &request.flow, reason).await;
        let not_paused = || {
            model::Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("flow", &request.flow)
                .advice("it is not paused: `waybill flow list` shows which flows are")
        };
        match ended {
            Ok(ended) => ended.ok_or_else(not_paused),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.find_flow(OPERATION, &request.flow).await?;
                Err(not_paused())
            }
            Err(error) => Err(error),
        }
    }
}
