//! Warns of certificates that end: by events, each threshold once over all nodes, and on this node's overview.

use crate::process::ClockAndRandom;
use crate::revisions::Revisions;
use async_trait::async_trait;
use console::{ActiveProblem, ProblemKind};
use control::{Caller, EndingCertificate};
use engine::Maintenance;
use model::definition::Definitions;
use model::{Result, Severity, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often definitions that are new are looked for.
const LOOK: Duration = Duration::from_secs(30);
/// After so many minutes the same definitions are looked at again.
const AGAIN_MINUTES: i64 = 60;

/// The certificates of this node's definitions that end soon.
pub(crate) struct CertificateEnds {
    revisions: Arc<Revisions>,
    ambient: ClockAndRandom,
    seen: Mutex<Option<Seen>>,
}

/// What was found last, in which definitions and when.
struct Seen {
    definitions: Arc<Definitions>,
    at: Timestamp,
    ending: Vec<EndingCertificate>,
}

impl CertificateEnds {
    pub(crate) fn new(revisions: Arc<Revisions>, ambient: ClockAndRandom) -> Self {
        Self { revisions, ambient, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the overview: a row for each.
    pub(crate) fn problems(&self) -> Vec<ActiveProblem> {
        let now = self.ambient.clock.now();
        self.seen().iter().flat_map(|seen| &seen.ending).map(|ending| problem(ending, now)).collect()
    }
}

fn problem(ending: &EndingCertificate, now: Timestamp) -> ActiveProblem {
    let (facts, holder) = (&ending.detail.facts, ending.detail.holder());
    let days = (facts.not_after - now).num_days();
    let (severity, what) = match days {
        _ if facts.not_after < now => (Severity::Error, format!("The certificate {holder} has expired")),
        0 => (Severity::Warning, format!("The certificate {holder} ends today")),
        1 => (Severity::Warning, format!("The certificate {holder} ends in 1 day")),
        days => (Severity::Warning, format!("The certificate {holder} ends in {days} days")),
    };
    let day = facts.not_after.format("%Y-%m-%d %H:%M UTC");
    ActiveProblem::new(ProblemKind::Certificate, severity, &facts.sha256, what)
        .why(format!("{}, valid until {day}, is used by {}.", facts.subject, ending.uses()))
        .advice(match ending.detail.section.as_str() {
            "certificate" => "Ask its owner for the next one, import it, and name it beside this one.",
            _ => "Make or request the next one, name it beside this one, and give it to those who verify it.",
        })
        .page("/certificates")
}

#[async_trait]
impl Maintenance for CertificateEnds {
    fn name(&self) -> &'static str {
        "ends of certificates"
    }

    fn every(&self) -> Duration {
        LOOK
    }

    async fn run(&self) -> Result<()> {
        let (definitions, now) = (self.revisions.in_force(), self.ambient.clock.now());
        let is_known = self.seen().as_ref().is_some_and(|seen| {
            Arc::ptr_eq(&seen.definitions, &definitions) && (now - seen.at).num_minutes() < AGAIN_MINUTES
        });
        if is_known {
            return Ok(());
        }
        let control = self.revisions.control();
        let list = control.certificates_of(&Caller::system(), &definitions).await?;
        for problem in &list.problems {
            tracing::warn!(problem, "a certificate cannot be checked for its end");
        }
        let ending = list.ending(now);
        control.warn_of_ends(&ending).await?;
        *self.seen() = Some(Seen { definitions, at: now, ending });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::CertificateFacts;
    use control::CertificateDetail;

    #[test]
    fn a_row_says_when_it_ends_and_what_uses_it() {
        let end = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let facts = CertificateFacts {
            subject: "CN=Acme".to_owned(),
            issuer: "CN=Acme".to_owned(),
            self_signed: true,
            serial: "1".to_owned(),
            sha256: "ab12".to_owned(),
            sha1: "cd34".to_owned(),
            not_before: end,
            not_after: end,
            key: "RSA 3072".to_owned(),
            signature: String::new(),
            uses: Vec::new(),
            names: Vec::new(),
        };
        let detail = CertificateDetail {
            section: "listen.http".to_owned(),
            name: "partners".to_owned(),
            position: 0,
            facts,
            pem: String::new(),
            used_by: Vec::new(),
        };
        let ending = EndingCertificate { detail, threshold: 7 };
        for (hours, severity, words) in [
            (6 * 24, "Warning", "listen.http.partners ends in 6 days"),
            (24, "Warning", "ends in 1 day"),
            (1, "Warning", "ends today"),
            (-1, "Error", "has expired"),
        ] {
            let row = format!("{:?}", problem(&ending, end - chrono::TimeDelta::hours(hours)));
            assert!(row.contains(words) && row.contains(&format!("severity: {severity}")), "{row}");
            assert!(row.contains("is used by listen.http.partners."), "{row}");
        }
    }
}
