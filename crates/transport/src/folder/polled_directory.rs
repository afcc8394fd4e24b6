//! The directory below the endpoint's that a flow polls, which may be another one each day.

use model::definition::PollSource;
use model::schedule::TimeZone;
use model::schema::{Findings, Value, Values};
use model::{DirectoryTemplate, Error, ErrorKind, RemotePath, Result, Timestamp};

/// A directory below the endpoint's. A dated one stands for those of the present day and of some days before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolledDirectory {
    /// Its name, with the field `{date}`.
    pub template: DirectoryTemplate,
    /// The clock of its dates.
    pub zone: TimeZone,
    /// How many days before the present one are polled too.
    pub past_days: u32,
}

impl PolledDirectory {
    /// Reads the option `directory`; `None` if it is not given, or cannot be used.
    pub(super) fn of(poll: &PollSource) -> Option<Self> {
        let template = parse(poll.options.text("directory")?).ok()?;
        let past_days = poll.options.integer("past_days").and_then(|days| u32::try_from(days).ok());
        Some(Self { template, zone: poll.schedule.zone, past_days: past_days.unwrap_or_default() })
    }

    pub(super) fn write(&self, values: Values) -> Values {
        values
            .with("directory", Value::Text(self.template.as_str().to_owned()))
            .with("past_days", Value::Integer(self.past_days.into()))
    }

    /// The directories that are polled at a moment, that of the present day first.
    ///
    /// # Errors
    /// `ConfigInvalid`: it is not a path, which is refused when definitions are checked.
    pub(super) fn paths(&self, base: &RemotePath, now: Timestamp) -> Result<Vec<RemotePath>> {
        let days = self.template.days(now, self.zone, self.past_days).map_err(|why| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a directory")
                .with("directory", self.template.as_str())
                .advice(why)
        })?;
        Ok(days.iter().map(|directory| base.join(directory)).collect())
    }
}

/// Reads a directory below the endpoint's.
fn parse(text: &str) -> Result<DirectoryTemplate, String> {
    let template = DirectoryTemplate::parse_polled(text)?;
    if template.changes_within_a_day() {
        return Err("names several directories within one day; use the year, the month and the day, as {date:%Y/%m/%d}".into());
    }
    match template.directory(Timestamp::UNIX_EPOCH, TimeZone::default(), "")?.is_absolute() {
        true => Err("must be a directory below the endpoint's, so it cannot begin with '/'".into()),
        false => Ok(template),
    }
}

/// Checks the directory that a flow polls.
pub(super) fn check(poll: &PollSource, findings: &mut Findings<'_>) {
    let Some(text) = poll.options.text("directory") else { return };
    findings.accept("directory", parse(text));
}
