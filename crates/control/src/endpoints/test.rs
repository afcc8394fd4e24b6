//! Testing an endpoint step by step.

use crate::suspensions::find_among;
use crate::{Caller, Control};
use engine::{Trial, TrialRole, Tried};
use model::{Error, EventKind, OfferedHostKey, Permission, Result, Severity, Step, SuspensionKind};
use serde::{Deserialize, Serialize};

/// An endpoint to be tested.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestEndpoint {
    /// Its name.
    pub endpoint: String,
}

/// What a test showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointTest {
    /// The endpoint.
    pub endpoint: String,
    /// Whether every step passed.
    pub passed: bool,
    /// The steps in order, of each role that a flow gives the endpoint; of a role, the first failed one is the last.
    pub steps: Vec<EndpointTestStep>,
    /// Host keys that were shown during the test, by the endpoint's server or its jump host, and that are not on file in the list
    /// of known hosts.
    pub offered_host_keys: Vec<OfferedHostKey>,
}

/// One step of a test.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointTestStep {
    /// As what the endpoint was tested.
    pub role: EndpointRole,
    /// At which address, of an endpoint that has several.
    pub address: Option<String>,
    /// What was tried.
    pub step: Step,
    /// Whether it succeeded.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// What was seen, or why it failed.
    pub words: String,
    /// What kind of error it is, of a step that failed.
    pub error_kind: Option<&'static str>,
}

/// What a flow has an endpoint for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointRole {
    /// Its files come from there.
    Source,
    /// Its files go there.
    Destination,
    /// No flow: other endpoints are reached over it.
    JumpHost,
}

impl EndpointRole {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::JumpHost => "jump host",
        }
    }
}

impl Control {
    /// Tries every step of reaching an endpoint, in each role that a flow gives it, or as a jump host, on record. What is written there is
    /// removed. An endpoint that is offline is tested all the same.
    ///
    /// # Errors
    /// The caller may not operate endpoints; `NotFound`; the database failed. A step that fails is no error.
    pub async fn test_endpoint(
        &self,
        caller: &Caller,
        trial: &Trial,
        request: &TestEndpoint,
    ) -> Result<EndpointTest> {
        caller.require(Permission::OperateFlows)?;
        let name = &request.endpoint;
        let definitions = trial.definitions();
        let names = definitions.endpoints.keys().map(String::as_str);
        find_among("test an endpoint", SuspensionKind::Endpoint, name, names)?;
        let began = (self.0.now)();
        let probes = trial.test(name).await?;
        let passed = probes.iter().all(|tried| tried.probe.passed());
        let mut steps = Vec::new();
        let mut failed = None;
        for Tried { role, address, probe } in &probes {
            let role = match role {
                TrialRole::Source => EndpointRole::Source,
                TrialRole::Destination => EndpointRole::Destination,
                TrialRole::JumpHost => EndpointRole::JumpHost,
            };
            for step in &probe.steps {
                let error = step.result.as_ref().err();
                if let Some(error) = error {
                    failed.get_or_insert((step.step, error));
                }
                steps.push(EndpointTestStep {
                    role,
                    address: address.clone(),
                    step: step.step,
                    passed: step.result.is_ok(),
                    millis: u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX),
                    words: step.result.as_ref().map_or_else(Error::chain, Clone::clone),
                    error_kind: error.map(|error| error.kind().as_str()),
                });
            }
        }
        let event = self.event(EventKind::EndpointTested).by(caller.actor.clone()).endpoint(name);
        let event = match failed {
            None => event.detail("outcome", "every step passed"),
            Some((step, error)) => {
                let event = event.detail("outcome", format!("step {step} failed"));
                event.error(error).severity(Severity::Warning)
            }
        };
        self.0.store.append_events(vec![event]).await?;
        let mut offered_host_keys =
            if passed { Vec::new() } else { self.0.store.offered_host_keys().await? };
        offered_host_keys.retain(|key| key.at >= began);
        Ok(EndpointTest { endpoint: name.clone(), passed, steps, offered_host_keys })
    }
}
