//! Step-by-step test of an endpoint.

use model::Error;
use std::time::Duration;

/// The steps that were tried, in order; the first failed one is the last.
#[derive(Debug, Default)]
pub struct Probe {
    /// The steps.
    pub steps: Vec<ProbeStep>,
}

/// One step of a test.
#[derive(Debug)]
pub struct ProbeStep {
    /// What was tried: `name`, `tcp`, `host key`, `login`, `list`, `pass over`, `open`, `write`, `publish`, `delete`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was seen, or why it failed.
    pub result: Result<String, Error>,
}

impl Probe {
    /// Whether every step passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.result.is_ok())
    }
}
