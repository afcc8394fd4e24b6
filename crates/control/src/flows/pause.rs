//! Pausing a flow.

use crate::suspensions::reason;
use crate::{Caller, Control};
use model::{Permission, Result, Suspension, SuspensionKind};
use serde::{Deserialize, Serialize};

/// A flow to be paused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PauseFlow {
    /// Its name.
    pub flow: String,
    /// Why, for whoever finds it paused: one line of at most 500 characters.
    pub reason: String,
}

impl Control {
    /// Pauses a flow on every node until a person resumes it, whatever restarts and revisions there are. It takes no new
    /// files: its source is not polled, and a message that it would receive is refused with an answer that asks the
    /// sender to come again. Deliveries of files that it has taken go on.
    ///
    /// # Errors
    /// The caller may not operate flows; `NotFound`; `AlreadyExists` when it is paused already; `ConfigInvalid` without
    /// a reason; the database failed.
    pub async fn pause_flow(&self, caller: &Caller, request: &PauseFlow) -> Result<Suspension> {
        const OPERATION: &str = "pause a flow";
        caller.require(Permission::OperateFlows)?;
        let reason = reason(OPERATION, &request.reason)?;
        self.find_flow(OPERATION, &request.flow).await?;
        self.suspend(caller, SuspensionKind::Flow, &request.flow, reason).await
    }
}
