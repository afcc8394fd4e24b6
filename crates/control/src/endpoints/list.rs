//! The list of endpoints.

use crate::flow_document::FlowDocument;
use crate::{Caller, Control};
use config::Documents;
use model::schema::Section;
use model::{Permission, Result, StoredDefinition, Suspension, SuspensionKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use store::FailingEndpoint;

/// Which endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListEndpoints {
    /// Those of a directory of definitions; without it those in force.
    pub directory: Option<PathBuf>,
}

/// Endpoints by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointList {
    /// Those that are defined, and those that are set offline and not defined at the moment.
    pub endpoints: Vec<EndpointDetail>,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointDetail {
    /// Its name.
    pub name: String,
    /// Its transport; empty for one that is not defined.
    pub transport: String,
    /// What flows do with it.
    pub used_by: Vec<EndpointUse>,
    /// The endpoints that are reached over it (`jump`).
    pub leads_to: Vec<String>,
    /// Who set it offline, since when and why.
    pub offline: Option<Suspension>,
    /// The endpoint through which it is reached and which is set offline: it is not used either.
    pub reached_through: Option<Suspension>,
    /// The nodes on which it is offline after failures, since when, until when and why.
    pub failing: Vec<FailingEndpoint>,
}

/// What a flow does with an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointUse {
    /// The flow.
    pub flow: String,
    /// Whether it is its source; else a destination.
    pub source: bool,
}

impl Control {
    /// The endpoints by name, as their documents define them, with what people have done to them.
    ///
    /// # Errors
    /// The caller may not see endpoints; the database failed.
    pub async fn endpoints(&self, caller: &Caller, request: &ListEndpoints) -> Result<EndpointList> {
        caller.require(Permission::ViewTransfers)?;
        let definitions = match &request.directory {
            // Problems of other documents keep nobody from listing these.
            Some(directory) => Documents::read(directory).0.definitions(""),
            None => self.0.store.current_definitions().await?.definitions,
        };
        let suspensions = self.0.store.suspensions().await?;
        let offline: Vec<Suspension> =
            suspensions.into_iter().filter(|found| found.kind == SuspensionKind::Endpoint).collect();
        let failing = self.0.store.failing_endpoints((self.0.now)()).await?;
        let of = |section: Section| definitions.iter().filter(move |d| d.section == section.as_str());
        let mut endpoints: Vec<EndpointDetail> = of(Section::ENDPOINT)
            .map(|endpoint| EndpointDetail {
                name: endpoint.name.clone(),
                transport: transport(endpoint),
                used_by: of(Section::FLOW).flat_map(|flow| uses(flow, &endpoint.name)).collect(),
                leads_to: of(Section::ENDPOINT)
                    .filter(|other| self.ways(other).any(|way| way == endpoint.name))
                    .map(|other| other.name.clone())
                    .collect(),
                offline: offline.iter().find(|found| found.name == endpoint.name).cloned(),
                reached_through: self.offline_on_the_way(&definitions, &offline, &endpoint.name),
                failing: failing.iter().filter(|found| found.endpoint == endpoint.name).cloned().collect(),
            })
            .collect();
        let gone = offline.iter().filter(|found| endpoints.iter().all(|known| known.name != found.name));
        let gone: Vec<EndpointDetail> = gone
            .map(|found| EndpointDetail {
                name: found.name.clone(),
                transport: String::new(),
                used_by: Vec::new(),
                leads_to: Vec::new(),
                offline: Some(found.clone()),
                reached_through: None,
                failing: Vec::new(),
            })
            .collect();
        if request.directory.is_none() {
            endpoints.extend(gone);
        }
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(EndpointList { endpoints })
    }
}

impl Control {
    /// The endpoints through which another one is reached directly.
    fn ways<'a>(&self, endpoint: &'a StoredDefinition) -> impl Iterator<Item = &'a str> + use<'a> {
        let fields = self.0.catalogue.get(&transport(endpoint)).into_iter().flat_map(|spec| spec.ways());
        fields.filter_map(move |field| endpoint.document.get(field)?.as_str())
    }

    /// The suspension of an endpoint through which another one is reached, directly or through others.
    pub(crate) fn offline_on_the_way(
        &self,
        definitions: &[StoredDefinition],
        offline: &[Suspension],
        endpoint: &str,
    ) -> Option<Suspension> {
        if offline.is_empty() {
            return None;
        }
        let mut way = vec![endpoint];
        let mut at = 0;
        while let Some(name) = way.get(at).copied() {
            at += 1;
            let is_it =
                |found: &&StoredDefinition| found.section == Section::ENDPOINT.as_str() && found.name == name;
            let Some(found) = definitions.iter().find(is_it) else { continue };
            let new: Vec<&str> = self.ways(found).filter(|next| !way.contains(next)).collect();
            if let Some(suspension) = offline.iter().find(|found| new.contains(&found.name.as_str())) {
                return Some(suspension.clone());
            }
            way.extend(new);
        }
        None
    }
}

fn transport(endpoint: &StoredDefinition) -> String {
    endpoint.document.get("transport").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a flow does with an endpoint.
fn uses(flow: &StoredDefinition, endpoint: &str) -> Vec<EndpointUse> {
    let document = FlowDocument::of(flow);
    let as_source = (document.source("endpoint") == Some(endpoint)).then_some(true);
    let as_destination = document.destinations().contains(&endpoint).then_some(false);
    let uses = as_source.into_iter().chain(as_destination);
    uses.map(|source| EndpointUse { flow: flow.name.clone(), source }).collect()
}
