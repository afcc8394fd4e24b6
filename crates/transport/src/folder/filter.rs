//! Filters of a polled folder: by size, by age, and what happens to empty files.

use super::Entry;
use model::schema::{Field, Findings, Kind, Value, Values};
use model::{SkipReason, Timestamp, duration_text};
use std::time::Duration;

/// The smallest size of files that are read.
pub(super) const MIN_SIZE: Field = Field::optional(
    "min_size",
    Kind::Size,
    "The smallest size of files that the flow reads, such as `1` or `\"1KiB\"`; smaller files stay where they are. A \
    file of which the server does not state the size stays as well.",
);

/// The largest size of files that are read.
pub(super) const MAX_SIZE: Field = Field::optional(
    "max_size",
    Kind::Size,
    "The largest size of files that the flow reads; larger files stay where they are, as do those of which the \
    server does not state the size.",
);

/// The age from which files are read.
pub(super) const MIN_AGE: Field = Field::optional(
    "min_age",
    Kind::Duration,
    "How long ago a file must have been changed last before the flow reads it, by the server's modification time \
    and the clock of this machine. A file of which the server states no time stays where it is.",
);

/// The age up to which files are read.
pub(super) const MAX_AGE: Field = Field::optional(
    "max_age",
    Kind::Duration,
    "How long ago a file may have been changed last; older files stay where they are, as do those of which the server \
    states no time.",
);

/// What happens to empty files.
pub(super) const EMPTY: Field = Field::preset(
    "empty",
    Kind::Choice(Empty::WORDS),
    "take",
    "What happens to empty files, by the size in the listing: with `take` they are read as any other file, with \
    `leave` they stay where they are, and with `refuse` they are refused, with the audit event `offer.refused`, and \
    moved to the error directory if there is one. With `leave` and `refuse`, `min_size` applies to other files only.",
);

/// What happens to empty files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Empty {
    /// They are read as any other file.
    #[default]
    Take,
    /// They stay where they are.
    Leave,
    /// They are refused.
    Refuse,
}

impl Empty {
    const WORDS: &'static [&'static str] = &["take", "leave", "refuse"];

    fn of(options: &Values) -> Self {
        match options.text("empty") {
            Some("leave") => Self::Leave,
            Some("refuse") => Self::Refuse,
            _ => Self::Take,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Leave => "leave",
            Self::Refuse => "refuse",
        }
    }
}

/// Which files a flow reads, by their size and age. Both bounds are included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// The smallest size in bytes.
    pub min_size: Option<u64>,
    /// The largest size in bytes.
    pub max_size: Option<u64>,
    /// The youngest age.
    pub min_age: Option<Duration>,
    /// The oldest age.
    pub max_age: Option<Duration>,
    /// What happens to empty files.
    pub empty: Empty,
}

/// What a filter says about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is read.
    Take,
    /// It stays where it is.
    Leave(SkipReason),
    /// It is refused, because it is empty.
    RefuseEmpty,
}

impl Filter {
    pub(super) fn of(options: &Values) -> Self {
        Self {
            min_size: options.size("min_size"),
            max_size: options.size("max_size"),
            min_age: options.duration("min_age"),
            max_age: options.duration("max_age"),
            empty: Empty::of(options),
        }
    }

    /// Adds the filter to option values.
    pub(super) fn write(&self, values: Values) -> Values {
        let size = |bytes: Option<u64>| bytes.map(Value::Size);
        let age = |age: Option<Duration>| age.map(Value::Duration);
        let given = [
            ("min_size", size(self.min_size)),
            ("max_size", size(self.max_size)),
            ("min_age", age(self.min_age)),
            ("max_age", age(self.max_age)),
        ];
        let values = values.with("empty", Value::Text(self.empty.word().to_owned()));
        given.into_iter().fold(values, |values, (name, value)| match value {
            Some(value) => values.with(name, value),
            None => values,
        })
    }

    /// Reports bounds that no file keeps.
    pub(super) fn check(&self, ignore_times: bool, findings: &mut Findings<'_>) {
        if let (Some(min), Some(max)) = (self.min_size, self.max_size)
            && min > max
        {
            findings.error(
                "max_size",
                format!("is less than min_size ({min} bytes), so no file would ever be read"),
            );
        }
        if let (Some(min), Some(max)) = (self.min_age, self.max_age)
            && min > max
        {
            let min = duration_text(min);
            findings.error("max_age", format!("is less than min_age ({min}), so no file would ever be read"));
        }
        for (field, age) in [("min_age", self.min_age), ("max_age", self.max_age)] {
            if age.is_some() && ignore_times {
                findings.error(
                    field,
                    "cannot be used together with ignore_times = true: the age is known from the times",
                );
            }
        }
    }

    /// What the filter says about a file that a listing shows.
    pub(super) fn judge(&self, entry: &Entry, now: Timestamp) -> Verdict {
        match (self.empty, entry.size) {
            (Empty::Leave, Some(0)) => return Verdict::Leave(SkipReason::Empty),
            (Empty::Refuse, Some(0)) => return Verdict::RefuseEmpty,
            _ => {}
        }
        let by_size = match entry.size {
            Some(size) if self.min_size.is_some_and(|min| size < min) => Some(SkipReason::TooSmall),
            Some(size) if self.max_size.is_some_and(|max| size > max) => Some(SkipReason::TooLarge),
            None if self.min_size.is_some() || self.max_size.is_some() => Some(SkipReason::Unstated),
            _ => None,
        };
        // A time in the future is no age.
        let age = entry.modified.map(|modified| (now - modified).to_std().unwrap_or_default());
        let by_age = match age {
            Some(age) if self.min_age.is_some_and(|min| age < min) => Some(SkipReason::TooYoung),
            Some(age) if self.max_age.is_some_and(|max| age > max) => Some(SkipReason::TooOld),
            None if self.min_age.is_some() || self.max_age.is_some() => Some(SkipReason::Unstated),
            _ => None,
        };
        by_size.or(by_age).map_or(Verdict::Take, Verdict::Leave)
    }
}

#[cfg(test)]
mod tests {
    use super::super::EntryKind;
    use super::*;

    fn entry(size: Option<u64>, seconds_ago: Option<i64>) -> (Entry, Timestamp) {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let modified = seconds_ago.map(|ago| now - chrono::TimeDelta::seconds(ago));
        let kind = EntryKind::File;
        (Entry { path: "a".into(), kind, size, modified, version: None, changed: None }, now)
    }

    #[test]
    fn sizes_and_ages_have_bounds_that_are_included() {
        let filter = Filter {
            min_size: Some(10),
            max_size: Some(20),
            min_age: Some(Duration::from_secs(60)),
            max_age: Some(Duration::from_secs(120)),
            empty: Empty::Take,
        };
        for (size, ago, expected) in [
            (Some(10), Some(60), None),
            (Some(20), Some(120), None),
            (Some(9), Some(60), Some(SkipReason::TooSmall)),
            (Some(0), Some(60), Some(SkipReason::TooSmall)),
            (Some(21), Some(60), Some(SkipReason::TooLarge)),
            (Some(15), Some(59), Some(SkipReason::TooYoung)),
            (Some(15), Some(-3600), Some(SkipReason::TooYoung)),
            (Some(15), Some(121), Some(SkipReason::TooOld)),
            (None, Some(60), Some(SkipReason::Unstated)),
            (Some(15), None, Some(SkipReason::Unstated)),
        ] {
            let (entry, now) = entry(size, ago);
            let expected = expected.map_or(Verdict::Take, Verdict::Leave);
            assert_eq!(filter.judge(&entry, now), expected, "{size:?} {ago:?}");
        }
        let (unstated, now) = entry(None, None);
        assert_eq!(Filter::default().judge(&unstated, now), Verdict::Take);
    }

    #[test]
    fn empty_files_are_judged_as_such_before_their_size() {
        let (empty, now) = entry(Some(0), Some(0));
        let filter = |empty, min_size| Filter { empty, min_size, ..Filter::default() };
        assert_eq!(filter(Empty::Take, None).judge(&empty, now), Verdict::Take);
        assert_eq!(filter(Empty::Leave, None).judge(&empty, now), Verdict::Leave(SkipReason::Empty));
        assert_eq!(filter(Empty::Refuse, Some(1)).judge(&empty, now), Verdict::RefuseEmpty);
        let (unstated, now) = entry(None, Some(0));
        assert_eq!(filter(Empty::Refuse, None).judge(&unstated, now), Verdict::Take);
    }

    #[test]
    fn a_filter_survives_its_option_values() {
        let filter = Filter {
            min_size: Some(1),
            max_size: None,
            min_age: Some(Duration::from_secs(5)),
            max_age: Some(Duration::from_secs(6)),
            empty: Empty::Refuse,
        };
        assert_eq!(Filter::of(&filter.write(Values::default())), filter);
        assert_eq!(Filter::of(&Values::default()), Filter::default());
    }
}
