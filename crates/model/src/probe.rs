//! The test of an endpoint, step by step.

use crate::{Error, Result, Step};
use std::time::Duration;

/// The steps that were tried, in order; the first that failed is the last.
#[derive(Debug, Default)]
pub struct Probe {
    /// The steps.
    pub steps: Vec<ProbeStep>,
}

/// One step of a test.
#[derive(Debug)]
pub struct ProbeStep {
    /// What was tried.
    pub step: Step,
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

    /// Adds a step. Answers what it gave, `None` where it failed; `seen` says for people what that is.
    pub fn add<T>(
        &mut self,
        step: Step,
        took: Duration,
        result: Result<T>,
        seen: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (result, value) = match result {
            Ok(value) => (Ok(seen(&value)), Some(value)),
            Err(error) => (Err(error), None),
        };
        self.steps.push(ProbeStep { step, took, result });
        value
    }

    /// Adds a step that passed and took no time of its own.
    pub fn note(&mut self, step: Step, seen: impl Into<String>) {
        self.steps.push(ProbeStep { step, took: Duration::ZERO, result: Ok(seen.into()) });
    }
}
