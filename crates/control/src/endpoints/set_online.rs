//! Setting an endpoint online by hand.

use crate::suspensions::reason;
use crate::{Caller, Control};
use model::{Permission, Result, Suspension, SuspensionKind};
use serde::{Deserialize, Serialize};

/// An endpoint to be set online.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetOnline {
    /// Its name. It may be an endpoint that is no longer defined.
    pub endpoint: String,
    /// Why: one line of at most 500 characters.
    pub reason: Option<String>,
}

impl Control {
    /// Lets an endpoint be tried again on every node: one that a person set offline, and one that is offline after
    /// failures. Answers the suspension that is ended; `None` when nobody had set it offline.
    ///
    /// # Errors
    /// The caller may not operate endpoints; `NotFound`; the database failed.
    pub async fn set_endpoint_online(
        &self,
        caller: &Caller,
        request: &SetOnline,
    ) -> Result<Option<Suspension>> {
        const OPERATION: &str = "set an endpoint online";
        caller.require(Permission::OperateFlows)?;
        let reason = request.reason.as_deref().map(|text| reason(OPERATION, text)).transpose()?;
        let suspensions = self.0.store.suspensions().await?;
        let is_offline = suspensions
            .iter()
            .any(|found| found.kind == SuspensionKind::Endpoint && found.name == request.endpoint);
        if !is_offline {
            self.find_endpoint(OPERATION, &request.endpoint).await?;
        }
        self.end_suspension(caller, SuspensionKind::Endpoint, &request.endpoint, reason).await
    }
}
