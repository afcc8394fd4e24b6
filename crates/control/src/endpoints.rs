//! Endpoints: which there are, and what a person does to them.

mod list;
mod set_offline;
mod set_online;
mod test;

pub use list::{EndpointDetail, EndpointList, EndpointUse, ListEndpoints};
pub use set_offline::SetOffline;
pub use set_online::SetOnline;
pub use test::{EndpointRole, EndpointTest, EndpointTestStep, TestEndpoint};

use crate::Control;
use crate::suspensions::find_defined;
use model::{Result, SuspensionKind};

impl Control {
    /// Refuses a name that is no endpoint in force.
    async fn find_endpoint(&self, operation: &'static str, name: &str) -> Result<()> {
        let state = self.0.store.current_definitions().await?;
        find_defined(operation, SuspensionKind::Endpoint, name, &state.definitions)
    }
}
