//! The test of an endpoint, step by step.

use crate::connection::words;
use crate::{Error, Result};
use std::time::Duration;

words! {
    /// A step of a test.
    Step {
        /// The host's address is found.
        Name = "name",
        /// The proxy is reached, and opens a tunnel to the host.
        Proxy = "proxy",
        /// A TCP connection is made.
        Tcp = "tcp",
        /// TLS is agreed on, and the server's certificate trusted.
        Tls = "tls",
        /// The SSH key exchange is done, and the server's host key trusted.
        HostKey = "host key",
        /// The server lets us in.
        Login = "login",
        /// The directory is listed.
        List = "list",
        /// What the flow ignores of the listing, and why.
        Ignored = "ignored",
        /// The first file that would be taken is opened.
        Open = "open",
        /// A file is written.
        Write = "write",
        /// It gets its name.
        Publish = "publish",
        /// It is deleted.
        Delete = "delete",
        /// Keys and certificates are there and valid.
        Keys = "keys",
        /// The server is reached, with all that the transport does before it sends anything.
        Connection = "connection",
        /// The server answers a harmless question.
        Answer = "answer",
    }
}

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
