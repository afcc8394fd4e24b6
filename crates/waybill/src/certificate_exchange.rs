//! Answers partners that propose certificates, sends announcements of ours, and shows on this node's overview what waits for a
//! person. Every node does it; each step is recorded once.

use crate::process::ClockAndRandom;
use crate::revisions::Revisions;
use async_trait::async_trait;
use console::{ActiveProblem, ProblemKind};
use control::{Caller, ProposalDetail};
use engine::{Maintenance, StagedPayloads};
use model::{Error, ProposalState, Result, Severity, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it looks for what is to be done.
const EVERY: Duration = Duration::from_secs(5);

/// Messages about certificates, on this node.
pub(crate) struct CertificateExchange {
    revisions: Arc<Revisions>,
    payloads: StagedPayloads,
    ambient: ClockAndRandom,
    /// What waits for a person, as it was found last.
    waiting: Mutex<Vec<ProposalDetail>>,
    /// What failed the last time: it is logged when it changes.
    failed: Mutex<Vec<String>>,
}

impl CertificateExchange {
    pub(crate) fn new(revisions: Arc<Revisions>, payloads: StagedPayloads, ambient: ClockAndRandom) -> Self {
        Self { revisions, payloads, ambient, waiting: Mutex::default(), failed: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<ProposalDetail>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what failed and did not fail the last time.
    fn log(&self, failed: Vec<String>) {
        let mut before = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for error in failed.iter().filter(|error| !before.contains(error)) {
            tracing::warn!(
                error,
                "what is to be done about certificates of partners failed; it is tried again"
            );
        }
        *before = failed;
    }

    /// For the overview: a row for each proposal that waits for a person.
    pub(crate) fn problems(&self) -> Vec<ActiveProblem> {
        let now = self.ambient.clock.now();
        self.waiting().iter().map(|detail| problem(detail, now)).collect()
    }
}

fn problem(detail: &ProposalDetail, now: Timestamp) -> ActiveProblem {
    let proposal = &detail.proposal;
    let subjects: Vec<&str> = proposal.certificates.iter().map(|one| one.subject.as_str()).collect();
    let until = proposal.respond_by();
    let why = match until {
        Some(until) => {
            format!(
                "{}; the partner wants an answer by {}.",
                subjects.join(", "),
                until.format("%Y-%m-%d %H:%M UTC")
            )
        }
        None => format!("{}.", subjects.join(", ")),
    };
    let severity = if until.is_some_and(|until| until < now) { Severity::Error } else { Severity::Warning };
    let (what, advice) = match proposal.state {
        ProposalState::Agreed => (
            format!("Certificates of partner {} are accepted and not in force", proposal.partner),
            "Write them into the definitions and apply them: the page of certificates says what to write.",
        ),
        _ => (
            format!("Partner {} proposes new certificates", proposal.partner),
            "Compare the fingerprints with the partner by telephone, then accept or reject them on the page of certificates.",
        ),
    };
    ActiveProblem::new(ProblemKind::Certificate, severity, &proposal.id.to_string(), what)
        .why(why)
        .advice(advice)
        .page("/certificates")
}

#[async_trait]
impl Maintenance for CertificateExchange {
    fn name(&self) -> &'static str {
        "messages about certificates"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn run(&self) -> Result<()> {
        let definitions = self.revisions.in_force();
        let control = self.revisions.control();
        let failed = control.carry_on_exchanges(&definitions, &self.payloads).await?;
        self.log(failed.iter().map(Error::chain).collect());
        let found = control.waiting_proposals(&Caller::system(), &definitions).await?;
        *self.waiting() = found;
        Ok(())
    }
}
