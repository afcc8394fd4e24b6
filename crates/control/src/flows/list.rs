//! The list of flows.

use crate::flow_document::{FlowDocument, calendars};
use crate::flows::of_name;
use crate::{Caller, Control, PollTimes};
use model::schema::Section;
use model::{Permission, Result, StoredDefinition, Suspension, SuspensionKind};
use serde::Serialize;
use store::{ClaimsLeft, FailingPoll, MissingFiles, WaitingForRoom};

/// Flows by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FlowList {
    /// Those that are defined, and those that are paused and not defined at the moment.
    pub flows: Vec<FlowDetail>,
}

/// A flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FlowDetail {
    /// Its name.
    pub name: String,
    /// Its title for people, as its document has it.
    pub title: Option<String>,
    /// Whether it is in the definitions in force. One that is not and is listed is paused, and stays so when it is
    /// defined again.
    pub defined: bool,
    /// What its document says; not for references to variables, which are `false`.
    pub enabled: bool,
    /// Where its files come from.
    pub source: Option<FlowSourceDetail>,
    /// What it asks of the metadata of what it receives, one text for each key: `form_application: ORDERS*`.
    pub conditions: Vec<String>,
    /// The endpoints that it delivers to, without that which only what failed goes to.
    pub destinations: Vec<String>,
    /// The kinds of the steps that are done to its files for every destination.
    pub steps: Vec<String>,
    /// What takes the files that could not be delivered: one of its destinations, or another flow.
    pub on_failure: Option<String>,
    /// Who paused it, since when and why.
    pub paused: Option<Suspension>,
    /// Its source's endpoint was set offline: nothing is polled.
    pub source_offline: Option<Suspension>,
    /// The node that polls its source, if one does.
    pub polled_by: Option<String>,
    /// That its last poll failed, and why.
    pub failing: Option<FailingPoll>,
    /// Files that wait at its source until staging has room for them.
    pub waiting_for_room: Option<WaitingForRoom>,
    /// Files at its source whose claims were left behind.
    pub claims_left: Option<ClaimsLeft>,
    /// Files that it expected and that have not come.
    pub missing: Option<MissingFiles>,
    /// When its source is polled; `None` for a listener, and where references to variables decide it.
    pub polls: Option<PollTimes>,
}

impl FlowDetail {
    /// Whether its source is an endpoint that is polled.
    #[must_use]
    pub const fn is_polled(&self) -> bool {
        matches!(self.source, Some(FlowSourceDetail::Endpoint(_)))
    }
}

/// Where a flow's files come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowSourceDetail {
    /// An endpoint that is polled.
    Endpoint(String),
    /// A listener.
    Listener(String),
}

impl FlowSourceDetail {
    /// The name of the endpoint or listener.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Endpoint(name) | Self::Listener(name) => name,
        }
    }
}

impl Control {
    /// The flows by name, as their documents define them, with what people have done to them.
    ///
    /// # Errors
    /// The caller may not see flows; the database failed.
    pub async fn flows(&self, caller: &Caller) -> Result<FlowList> {
        caller.require(Permission::ViewTransfers)?;
        let definitions = self.0.store.current_definitions().await?.definitions;
        let suspensions = self.0.store.suspensions().await?;
        let (paused, offline): (Vec<_>, Vec<_>) =
            suspensions.into_iter().partition(|suspension| suspension.kind == SuspensionKind::Flow);
        let now = (self.0.now)();
        let polled = self.0.store.polled_sources(now).await?;
        let missing = self.0.store.missing_files().await?;
        let failing = self.0.store.failing_polls().await?;
        let waiting = self.0.store.waiting_for_room().await?;
        let left = self.0.store.claims_left().await?;
        let calendars = calendars(&definitions);
        let defined = definitions.iter().filter(|definition| definition.section == Section::FLOW.as_str());
        let mut flows: Vec<FlowDetail> = defined
            .map(|definition| {
                let mut flow = flow(definition);
                flow.paused = of_name(&paused, &flow.name);
                if let Some(FlowSourceDetail::Endpoint(endpoint)) = &flow.source {
                    flow.source_offline = of_name(&offline, endpoint)
                        .or_else(|| self.offline_on_the_way(&definitions, &offline, endpoint));
                }
                let schedule = FlowDocument::of(definition).schedule(&calendars);
                flow.polls =
                    schedule.map(|schedule| PollTimes::of(&schedule, now)).filter(|_| flow.is_polled());
                flow.missing = missing.iter().find(|missing| missing.flow == flow.name).cloned();
                let failing = failing.iter().find(|failing| failing.flow == flow.name);
                flow.failing = failing.filter(|_| flow.enabled && flow.is_polled()).cloned();
                let waiting = waiting.iter().find(|waiting| waiting.flow == flow.name);
                flow.waiting_for_room = waiting.filter(|_| flow.enabled && flow.is_polled()).cloned();
                let left = left.iter().find(|left| left.flow == flow.name);
                flow.claims_left = left.filter(|_| flow.enabled && flow.is_polled()).cloned();
                flow.polled_by = polled.get(&flow.name).map(ToString::to_string);
                flow
            })
            .collect();
        let gone = paused.iter().filter(|paused| flows.iter().all(|flow| flow.name != paused.name));
        let gone: Vec<FlowDetail> = gone.map(|paused| undefined(paused.clone())).collect();
        flows.extend(gone);
        flows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(FlowList { flows })
    }
}

fn flow(definition: &StoredDefinition) -> FlowDetail {
    let document = FlowDocument::of(definition);
    let named = |field: &str| document.source(field).map(str::to_owned);
    let listener = || Some(FlowSourceDetail::Listener(named("listener")?));
    FlowDetail {
        name: definition.name.clone(),
        title: document.title().map(str::to_owned),
        defined: true,
        enabled: document.enabled(),
        source: named("endpoint").map(FlowSourceDetail::Endpoint).or_else(listener),
        conditions: document.conditions(),
        destinations: document.usual_destinations().into_iter().map(str::to_owned).collect(),
        steps: document.steps().into_iter().map(str::to_owned).collect(),
        on_failure: document.on_failure().map(str::to_owned),
        paused: None,
        source_offline: None,
        polled_by: None,
        failing: None,
        waiting_for_room: None,
        claims_left: None,
        missing: None,
        polls: None,
    }
}

fn undefined(paused: Suspension) -> FlowDetail {
    FlowDetail {
        name: paused.name.clone(),
        title: None,
        defined: false,
        enabled: false,
        source: None,
        conditions: Vec::new(),
        destinations: Vec::new(),
        steps: Vec::new(),
        on_failure: None,
        paused: Some(paused),
        source_offline: None,
        polled_by: None,
        failing: None,
        waiting_for_room: None,
        claims_left: None,
        missing: None,
        polls: None,
    }
}
