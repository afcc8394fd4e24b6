//! Flows as earlier revisions had them, for the transfers that go through them.

use crate::Control;
use async_trait::async_trait;
use config::ProcessEnvironment;
use engine::{FlowAt, FlowHistory};
use model::schema::Section;
use model::{Error, ErrorKind, Result, StoredDefinition};

#[async_trait]
impl FlowHistory for Control {
    async fn flow(&self, name: &str, revision: i64) -> Result<Option<FlowAt>> {
        let store = &self.0.store;
        let Some(flow) = store.definition_at(revision, Section::FLOW.as_str(), name).await? else {
            return Ok(None);
        };
        // Only the flow's own secrets are opened: endpoints are used as they are in force.
        let documents = self.open_documents(std::slice::from_ref(&flow)).await?;
        let mut named: Vec<StoredDefinition> = Vec::new();
        for section in [Section::ENDPOINT, Section::LISTENER] {
            named.extend(store.definitions_of(revision, section.as_str()).await?);
        }
        let documents = documents.with(config::Documents::from_definitions(&named)?);
        let environment = ProcessEnvironment::at((self.0.now)());
        let read = documents.flow_alone(name, &self.0.catalogue, &self.0.settings.roots, &environment);
        match read {
            Ok((flow, transports)) => Ok(Some(FlowAt { flow, transports })),
            // Transient: what is missing may come back, and another node may have it.
            Err(problems) => {
                Err(Error::transient(ErrorKind::ConfigInvalid, "read a flow as a revision has it")
                    .with("flow", name)
                    .with("revision", revision)
                    .advice(format!(
                        "this machine lacks what the flow refers to: provide it, or run the command where the gateway \
                         runs. Found:\n{}",
                        config::Outline::of(&problems)
                    )))
            }
        }
    }
}
