//! Time stamps over seals, checked again: with the authority's certificates and nothing else.

use crate::timestamps::read_certificates;
use config::Settings;
use model::{Result, Timestamp};
use serde_json::{Value, json};
use smime::{TimestampAuthorities, TimestampProof};
use std::path::{Path, PathBuf};
use store::{Store, Timestamped};

/// Read in one go.
const PAGE: i64 = 100;
/// Findings that are told one by one.
const FINDINGS: usize = 100;

/// What checking the time stamps gave.
#[derive(Default)]
pub(super) struct Stamps {
    authorities: Option<TimestampAuthorities>,
    found: u64,
    pub(super) findings: Vec<String>,
    pub(super) more_findings: u64,
    /// Seal with its proof.
    newest: Option<(i64, TimestampProof)>,
}

impl Stamps {
    /// The authority's certificates from the file named, or from the settings.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn new(settings: &Settings, named: Option<&Path>) -> Result<Self> {
        let path = named.map(PathBuf::from).or_else(|| settings.audit.timestamp_certificates.clone());
        let authorities = path.map(|path| read_certificates(&path)).transpose()?;
        Ok(Self { authorities, ..Self::default() })
    }

    /// Checks those in the database.
    pub(super) async fn check_all(&mut self, store: &Store) -> Result<()> {
        let mut next = 0;
        loop {
            let page = store.timestamps_from(next, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            next = last.seal.saturating_add(1);
            page.iter().for_each(|stamped| self.check(stamped));
        }
    }

    pub(super) fn check(&mut self, stamped: &Timestamped) {
        self.found += 1;
        let seal = stamped.seal;
        let Some(digest) = &stamped.digest else {
            return self.find(format!("seal {seal} has a time stamp and is missing"));
        };
        let Some(authorities) = &self.authorities else { return };
        match authorities.check(&stamped.token, &digest.0) {
            Ok(proof) if self.newest.as_ref().is_none_or(|(newest, _)| *newest <= seal) => {
                self.newest = Some((seal, proof));
            }
            Ok(_) => {}
            Err(error) => self.find(format!("the time stamp of seal {seal} is not valid: {error}")),
        }
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "found": self.found,
            "checked": self.authorities.is_some(),
            "newest": self.newest.as_ref().map(|(seal, proof)| json!({
                "seal": seal, "at": Timestamp::from(proof.at), "authority": proof.authority, "serial": proof.serial,
            })),
        })
    }

    /// What there is to say; nothing when there are none.
    pub(super) fn line(&self) -> Option<String> {
        if self.found == 0 {
            return None;
        }
        if self.authorities.is_none() {
            return Some(format!(
                "{} time stamps were not checked: give the authority's certificates with \
                --timestamp-certificates",
                self.found
            ));
        }
        let wrong = self.findings.len() as u64 + self.more_findings;
        let proven = self.newest.as_ref().map_or_else(
            || "none of them proves a time".to_owned(),
            |(seal, proof)| {
                let at = Timestamp::from(proof.at).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                format!(
                    "seal {seal} and all seals before it existed at {at}, according to {}",
                    proof.authority
                )
            },
        );
        Some(format!("{} time stamps, {wrong} of them wrong: {proven}", self.found))
    }
}
