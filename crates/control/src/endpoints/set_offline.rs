//! Setting an endpoint offline by hand.

use crate::suspensions::reason;
use crate::{Caller, Control};
use model::{Permission, Result, Suspension, SuspensionKind};
use serde::{Deserialize, Serialize};

/// An endpoint to be set offline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetOffline {
    /// Its name.
    pub endpoint: String,
    /// Why, for whoever finds it offline: one line of at most 500 characters.
    pub reason: String,
}

impl Control {
    /// Sets an endpoint offline on every node until a person sets it online, whatever restarts and revisions there are:
    /// it is not polled, nothing is delivered to it, and no source is settled there. Its files wait in order. What is
    /// running ends as it will.
    ///
    /// # Errors
    /// The caller may not operate endpoints; `NotFound`; `AlreadyExists` when it is set offline already;
    /// `ConfigInvalid` without a reason; the database failed.
    pub async fn set_endpoint_offline(&self, caller: &Caller, request: &SetOffline) -> Result<Suspension> {
        const OPERATION: &str = "set an endpoint offline";
        caller.require(Permission::OperateFlows)?;
        let reason = reason(OPERATION, &request.reason)?;
        self.find_endpoint(OPERATION, &request.endpoint).await?;
        self.suspend(caller, SuspensionKind::Endpoint, &request.endpoint, reason).await
    }
}
