//! What verification found.

use super::copies::CopiedSeal;
use crate::seal::{SealAlarm, SealMark, TrustedKeys};
use model::{EventKind, Sha256, Timestamp};
use std::fmt;
use uuid::Uuid;

/// What to verify, and against what.
#[derive(Clone, Default)]
pub struct VerifyOptions {
    /// Public keys whose seals are believed.
    pub trusted: TrustedKeys,
    /// First seal to look at; the first of all when absent.
    pub from: Option<i64>,
    /// Last seal to look at; the newest when absent.
    pub to: Option<i64>,
    /// Seals known from a copy that was kept elsewhere, as number and digest. The newest seals, removed
    /// together with their events, leave a shorter trail that is good in itself: only a seal known from
    /// outside shows that it was longer.
    pub expected: Vec<(i64, Sha256)>,
    /// The lines of copies of the seals, in the order of writing; what a signed record gave up may be among them.
    pub copies: Vec<CopiedSeal>,
    /// What a node noted in its state directory.
    pub mark: Option<SealMark>,
}

/// One thing that is not as it was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Seals are missing from the sequence, first and last.
    SealsMissing {
        /// First missing.
        first: i64,
        /// Last missing.
        last: i64,
    },
    /// A seal does not follow the one before it.
    ChainBroken {
        /// The seal.
        seal: i64,
    },
    /// A seal's range does not begin where the one before it ends.
    RangeBroken {
        /// The seal.
        seal: i64,
    },
    /// A seal's fields are not those its digest was taken over.
    SealAltered {
        /// The seal.
        seal: i64,
    },
    /// The signature is not by the key that the seal names.
    SignatureInvalid {
        /// The seal.
        seal: i64,
        /// The key it names.
        key: String,
    },
    /// The seal names a key that is not trusted.
    KeyUnknown {
        /// The seal.
        seal: i64,
        /// The key it names.
        key: String,
    },
    /// The list of a seal's events was altered. With `events_intact` the events themselves still have
    /// the digest that was sealed; without, they can no longer be told apart one by one.
    MembersAltered {
        /// The seal.
        seal: i64,
        /// Whether the events are as sealed.
        events_intact: bool,
    },
    /// An event that was sealed is gone.
    EventMissing {
        /// The seal.
        seal: i64,
        /// The event.
        event: Uuid,
    },
    /// An event is not what was sealed.
    EventChanged {
        /// The seal.
        seal: i64,
        /// The event.
        event: Uuid,
        /// What is stored now.
        stored: String,
    },
    /// An event stands at another place in the order than when it was sealed.
    EventMoved {
        /// The seal.
        seal: i64,
        /// The event.
        event: Uuid,
    },
    /// An event lies in a sealed range and was not there when it was sealed.
    EventAdded {
        /// The seal whose range it lies in; `None` before the first.
        seal: Option<i64>,
        /// The event.
        event: Uuid,
        /// What is stored.
        stored: String,
    },
    /// An event lies where none can have been written yet: no seal would ever take it.
    EventWithoutSeal {
        /// The event.
        event: Uuid,
        /// What is stored.
        stored: String,
    },
    /// The database function or default that assigns positions to events was replaced: no seal would cover
    /// the events that it places.
    PositionsAltered {
        /// What it is now.
        found: String,
    },
    /// A signed record (of removed events, a trusted key, or a restored database) is not signed by a trusted
    /// key, or cannot be read; what it says was not believed.
    RecordInvalid {
        /// The event that holds it.
        event: Uuid,
        /// What it speaks of.
        kind: EventKind,
    },
    /// A row does not match the events that made it.
    Row {
        /// Its table.
        table: &'static str,
        /// The row.
        row: String,
        /// What disagrees.
        what: String,
    },
    /// This node has raised an alarm.
    Alarm(SealAlarm),
    /// The events of a seal that this node was about to make are not those that it had read.
    PendingDiffers {
        /// The seal's number.
        seal: i64,
    },
    /// A seal that is known from outside is not there.
    ExpectedMissing {
        /// The seal.
        seal: i64,
    },
    /// A seal that is known from outside has another digest.
    ExpectedDiffers {
        /// The seal.
        seal: i64,
        /// The digest it has here.
        found: Sha256,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SealsMissing { first, last } if first == last => write!(f, "seal {first} is missing"),
            Self::SealsMissing { first, last } => write!(f, "seals {first} to {last} are missing"),
            Self::ChainBroken { seal } => write!(f, "seal {seal} does not follow the seal before it"),
            Self::RangeBroken { seal } => {
                write!(f, "seal {seal} does not begin where the seal before it ends")
            }
            Self::SealAltered { seal } => {
                write!(f, "seal {seal} was altered: its digest does not match its content")
            }
            Self::SignatureInvalid { seal, key } => {
                write!(f, "seal {seal} is not signed by key {key}, which it names")
            }
            Self::KeyUnknown { seal, key } => {
                write!(f, "seal {seal} is signed by key {key}, which is not trusted")
            }
            Self::MembersAltered { seal, events_intact: true } => {
                write!(f, "the list of events in seal {seal} was altered; the events are as sealed")
            }
            Self::MembersAltered { seal, events_intact: false } => write!(
                f,
                "the list of events in seal {seal} was altered, and the events are not as sealed; it cannot be said which of them"
            ),
            Self::EventMissing { seal, event } => write!(f, "event {event} of seal {seal} is missing"),
            Self::EventChanged { seal, event, stored } => {
                write!(f, "event {event} of seal {seal} was changed; stored now: {stored}")
            }
            Self::EventMoved { seal, event } => {
                write!(f, "event {event} of seal {seal} was moved in the order")
            }
            Self::EventAdded { seal: Some(seal), event, stored } => {
                write!(f, "event {event} was added to the range of seal {seal} afterwards: {stored}")
            }
            Self::EventAdded { seal: None, event, stored } => {
                write!(f, "event {event} was added before the first seal: {stored}")
            }
            Self::EventWithoutSeal { event, stored } => {
                write!(
                    f,
                    "event {event} has a position that Waybill has not assigned yet, so no seal covers it: \
                    {stored}"
                )
            }
            Self::PositionsAltered { found } => {
                write!(
                    f,
                    "the database function or default that assigns positions to events was replaced: {found}"
                )
            }
            Self::RecordInvalid { event, kind } => {
                write!(f, "the record {event} ({kind}) is not signed by a trusted key")
            }
            Self::Alarm(alarm) => {
                let what = if alarm.stops_sealing() {
                    "this node has refused to seal"
                } else {
                    "this node could not seal events"
                };
                write!(f, "{what} since {}: {}", alarm.since.format("%Y-%m-%d %H:%M:%SZ"), alarm.what)
            }
            Self::Row { table, row, what } => write!(f, "{table} {row}: {what}"),
            Self::PendingDiffers { seal } => {
                write!(f, "the events that this node was about to put under seal {seal} were changed")
            }
            Self::ExpectedMissing { seal } => {
                write!(
                    f,
                    "seal {seal}, which is known from outside the database, is missing: the end of the trail was removed"
                )
            }
            Self::ExpectedDiffers { seal, found } => {
                write!(
                    f,
                    "seal {seal} has the digest {found}, which differs from the one known from outside the database"
                )
            }
        }
    }
}

/// What verification did and found.
#[derive(Clone, Default, Debug)]
pub struct VerifyReport {
    /// Seals looked at.
    pub seals: u64,
    /// Events whose hash was computed and compared.
    pub events: u64,
    /// Events that retention removed, by signed record.
    pub removed: u64,
    /// Events written since the newest seal.
    pub unsealed: u64,
    /// Number and digest of the newest seal looked at: what to keep elsewhere.
    pub newest: Option<(i64, Sha256)>,
    /// What is not as it was sealed; at most [`VerifyReport::KEPT`] of them.
    pub findings: Vec<Finding>,
    /// Keys that are trusted because a trusted key confirmed them.
    pub vouched: Vec<String>,
    /// Seals known from outside that an administrator gave up, by signed record, with a restored database.
    pub given_up: u64,
    /// Those among [`VerifyOptions::expected`] that count as given up by their number alone, with the time of the record: one
    /// that was made after that time is gone without leave.
    pub by_number: Vec<(i64, Timestamp)>,
    /// Seals and signed records with unknown keys, accepted in a signed record: nothing proves that a node created
    /// them.
    pub accepted: u64,
    /// Those keys.
    pub accepted_keys: Vec<String>,
    /// Findings beyond those kept.
    pub more_findings: u64,
}

impl VerifyReport {
    /// Most findings that a report names one by one.
    pub const KEPT: usize = 10_000;

    /// Whether all is as it was sealed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether seals are not those that are known from outside the database: what an attack and the
    /// restoration of an older database have in common.
    #[must_use]
    pub fn is_behind_note(&self) -> bool {
        self.findings.iter().any(|finding| match finding {
            Finding::Alarm(alarm) => alarm.stops_sealing(),
            Finding::ExpectedMissing { .. } | Finding::ExpectedDiffers { .. } => true,
            _ => false,
        })
    }

    /// Whether nothing was found but that events cannot be sealed.
    #[must_use]
    pub fn is_only_unsealed(&self) -> bool {
        let only = |finding: &Finding| matches!(finding, Finding::Alarm(alarm) if !alarm.stops_sealing());
        !self.holds() && self.more_findings == 0 && self.findings.iter().all(only)
    }

    pub(crate) fn alarm_of(&mut self, mark: &SealMark) {
        if let Some(alarm) = &mark.alarm {
            self.find(Finding::Alarm(alarm.clone()));
        }
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        if self.findings.len() < Self::KEPT {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}
