//! Flows: which there are, and what a person does to them.

mod dry_run;
mod list;
mod pause;
mod resume;
mod run;

pub use dry_run::{DryRunAnswer, DryRunFile, DryRunFlow, DryRunStep};
pub use list::{FlowDetail, FlowList, FlowSourceDetail};
pub use pause::PauseFlow;
pub use resume::ResumeFlow;
pub use run::{FlowRunAnswer, RunFlow};

use crate::suspensions::find_defined;
use crate::{Caller, Control};
use model::{Result, Suspension, SuspensionKind};

impl Control {
    /// Refuses a name that is no flow in force.
    async fn find_flow(&self, operation: &'static str, name: &str) -> Result<()> {
        let state = self.0.store.current_definitions().await?;
        find_defined(operation, SuspensionKind::Flow, name, &state.definitions)
    }

    /// A flow as the list shows it.
    ///
    /// # Errors
    /// The caller may not see flows; `NotFound`; the database failed.
    pub async fn flow(&self, caller: &Caller, name: &str) -> Result<FlowDetail> {
        let list = self.flows(caller).await?;
        match list.flows.into_iter().find(|flow| flow.name == name) {
            Some(flow) => Ok(flow),
            None => {
                self.find_flow("find the flow", name).await?;
                Err(model::Error::permanent(model::ErrorKind::NotFound, "find the flow").with("flow", name))
            }
        }
    }
}

/// Of suspensions, that of a name.
fn of_name(suspensions: &[Suspension], name: &str) -> Option<Suspension> {
    suspensions.iter().find(|suspension| suspension.name == name).cloned()
}
