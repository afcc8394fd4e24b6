//! The audit alarm of a node: its causes, and how long a node waits before it raises the alarm.

use super::{bound_json, bound_of};
use crate::seal::Bound;
use chrono::{DateTime, TimeDelta};
use model::Timestamp;
use serde_json::{Value, json};

/// The number of successive runs without sealing after which an alarm is raised.
const RUNS: u32 = 5;
/// The shortest time for which events are unsealed before an alarm is raised: a long transaction is normal.
const UNSEALED: TimeDelta = TimeDelta::minutes(10);

/// The cause of an alarm, which also decides what ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlarmCause {
    /// The trail differs from what was sealed. Ends when an administrator accepts it as it is.
    Altered,
    /// Seals are signed with this unknown key. Ends when the key is trusted, or as above.
    UnknownKey(String),
    /// Events are not sealed. Ends when they are sealed.
    Unsealed,
}

/// Why a node raises the alarm, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealAlarm {
    /// Since when.
    pub since: Timestamp,
    /// What was found.
    pub what: String,
    /// What it is about.
    pub cause: AlarmCause,
}

impl SealAlarm {
    /// Whether sealing stops as long as it lasts.
    #[must_use]
    pub fn stops_sealing(&self) -> bool {
        self.cause != AlarmCause::Unsealed
    }

    /// In a few words.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self.cause {
            AlarmCause::Altered => "the audit trail is not the one that was sealed",
            AlarmCause::UnknownKey(_) => "seals are signed with an unknown key",
            AlarmCause::Unsealed => "some events cannot be sealed",
        }
    }

    /// What a person can do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self.cause {
            AlarmCause::Altered => {
                "find out who changed the database: `waybill audit verify` shows what was changed. If you \
                restored an older backup on purpose: `waybill audit accept-restored --reason TEXT`"
            }
            AlarmCause::UnknownKey(_) => {
                "if the key belongs to another node, run `waybill audit trust FILE` with that node's \
                seal.key.pub. If it was a key of this installation and is lost: `waybill audit \
                accept-restored --reason TEXT`. If it is neither, find out who wrote to the database"
            }
            AlarmCause::Unsealed => {
                "a transaction of the database server has been open since before these events: find it in \
                 pg_stat_activity (backend_xid) or pg_prepared_xacts, and end it"
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let (cause, key) = match &self.cause {
            AlarmCause::Altered => ("altered", None),
            AlarmCause::UnknownKey(key) => ("unknown_key", Some(key)),
            AlarmCause::Unsealed => ("unsealed", None),
        };
        json!({ "since": self.since.timestamp_micros(), "what": self.what, "cause": cause, "key": key })
    }

    pub(super) fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            since: time(value)?,
            what: value.get("what")?.as_str()?.to_owned(),
            cause: match value.get("cause")?.as_str()? {
                "altered" => AlarmCause::Altered,
                "unknown_key" => AlarmCause::UnknownKey(value.get("key")?.as_str()?.to_owned()),
                "unsealed" => AlarmCause::Unsealed,
                _ => return None,
            },
        })
    }
}

/// What prevents events from being sealed, over several runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealingBlocked {
    /// Since when.
    pub since: Timestamp,
    /// The number of runs that found it.
    pub runs: u32,
    /// The event that has waited longest, if events wait; `None` if the reason is a seal with an unknown key.
    pub oldest: Option<Bound>,
}

impl SealingBlocked {
    /// One more run; if another event waits, it is counted anew.
    pub(crate) fn again(before: Option<&Self>, oldest: Option<Bound>, now: Timestamp) -> Self {
        match before.filter(|before| before.oldest == oldest) {
            Some(before) => Self { runs: before.runs.saturating_add(1), ..before.clone() },
            None => Self { since: now, runs: 1, oldest },
        }
    }

    /// Whether it has lasted long enough for an alarm.
    pub(crate) fn is_alarming(&self, now: Timestamp) -> bool {
        self.runs >= RUNS && (self.oldest.is_none() || now - self.since >= UNSEALED)
    }

    pub(super) fn json(&self) -> Value {
        let (since, oldest) = (self.since.timestamp_micros(), self.oldest.map(bound_json));
        json!({ "since": since, "runs": self.runs, "oldest": oldest })
    }

    pub(super) fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            since: time(value)?,
            runs: u32::try_from(value.get("runs")?.as_u64()?).ok()?,
            oldest: match value.get("oldest")? {
                Value::Null => None,
                oldest => Some(bound_of(oldest)?),
            },
        })
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(value.get("since")?.as_i64()?)
}
