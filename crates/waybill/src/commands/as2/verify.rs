//! `waybill as2 verify`: checks an evidence package offline, with nothing but what is in it and what its reader knows.

mod message;
mod package;
mod signature;
mod signer;
mod trail;

use self::package::Package;
use self::trail::Trail;
use crate::cli::{Output, VerifyEvidence};
use crate::commands::{FOUND_WRONG, write};
use model::{PeerText, Result};
use serde_json::{Value, json};
use std::process::ExitCode;

/// What became of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Holds,
    Fails,
    /// What is needed for it is not there, or its reader must judge.
    Open,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "FAILS",
            Self::Open => "open",
        }
    }
}

/// One check with what it found.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    /// What was checked.
    what: &'static str,
    outcome: Outcome,
    /// What was found, in words.
    found: String,
}

impl Check {
    /// What was found may hold text from the package: nothing in it begins a line or moves the cursor.
    fn new(what: &'static str, outcome: Outcome, found: &str) -> Self {
        Self { what, outcome, found: PeerText::from(found).as_str().to_owned() }
    }

    fn holds(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Holds, &found.into())
    }

    fn fails(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Fails, &found.into())
    }

    fn open(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Open, &found.into())
    }

    fn is(what: &'static str, holds: bool, found: impl Into<String>) -> Self {
        if holds { Self::holds(what, found) } else { Self::fails(what, found) }
    }

    fn json(&self) -> Value {
        json!({ "check": self.what, "outcome": self.outcome.word().to_lowercase(), "found": self.found })
    }
}

pub(super) fn verify_file(wanted: &VerifyEvidence, output: Output) -> Result<ExitCode> {
    let mut package = Package::open(wanted)?;
    let mut checks = package.files()?;
    let trail = Trail::read(&mut package)?;
    checks.extend(message::checks(&mut package, &trail)?);
    checks.extend(trail.checks(&mut package)?);
    let fails = checks.iter().filter(|check| check.outcome == Outcome::Fails).count();
    let written = match output {
        Output::Json => write::json(&json!({
            "evidence": package.manifest.evidence,
            "message": package.manifest.message,
            "holds": fails == 0,
            "checks": checks.iter().map(Check::json).collect::<Vec<_>>(),
        })),
        Output::Text => text(&package, &checks, fails),
    };
    write::as_far_as_read(written)?;
    Ok(if fails == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

fn text(package: &Package, checks: &[Check], fails: usize) -> Result<()> {
    for line in package.about() {
        write::line(line)?;
    }
    for check in checks {
        write::line(format_args!("{:<6} {}: {}", check.outcome.word(), check.what, check.found))?;
    }
    match fails {
        0 => write::line("Nothing contradicts this evidence. What is open is yours to judge."),
        1 => write::line("One check fails: this evidence does not prove the message."),
        more => write::line(format_args!("{more} checks fail: this evidence does not prove the message.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_package_begins_no_line() {
        for check in
            [Check::holds("x", "a\nholds y"), Check::open("x", "a\r\u{1b}[2K"), Check::fails("x", "\n")]
        {
            assert!(!check.found.chars().any(char::is_control), "{check:?}");
        }
        assert_eq!(Check::is("x", false, "a").outcome, Outcome::Fails);
    }
}
