//! Which directories a template names: for checks of flows that write where they, or others, poll.

use super::DirectoryTemplate;
use crate::RemotePath;
use crate::schedule::TimeZone;
use chrono::{NaiveDate, NaiveTime, TimeDelta};

/// The years whose days are tried. The first is a leap year.
const FIRST_YEAR: i32 = 2000;
const LAST_YEAR: i32 = 2099;

/// The leap year of the examples: not over yet.
const EXAMPLE_YEAR: i32 = 2096;

/// Between two examples: each is in another month, at another day and hour.
const EXAMPLE_EVERY: TimeDelta = TimeDelta::hours(31 * 24 + 2);

impl DirectoryTemplate {
    /// What it names for a flow: its directory, or, of one with a date, those of a moment in each month of a year.
    #[must_use]
    pub fn examples(&self, flow: &str) -> Vec<RemotePath> {
        let Some(begin) = NaiveDate::from_ymd_opt(EXAMPLE_YEAR, 1, 1) else { return Vec::new() };
        let begin = begin.and_time(NaiveTime::MIN).and_utc();
        let moments = if self.is_dated() { 12 } else { 1 };
        let at = (0..moments).map(|number| begin + EXAMPLE_EVERY * number);
        at.filter_map(|at| self.directory(at, TimeZone::default(), flow).ok()).collect()
    }

    /// The last day of this century on which it names a directory; `None` if no day does. For templates that name one
    /// directory a day.
    #[must_use]
    pub fn last_day(&self, directory: &RemotePath) -> Option<NaiveDate> {
        self.last_day_of(&directory.parts().collect::<Vec<_>>())
    }

    /// The same for a directory or one above it.
    #[must_use]
    pub fn last_day_above(&self, directory: &RemotePath) -> Option<NaiveDate> {
        let depth = self.on(NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1)?)?.parts().count();
        self.last_day_of(&directory.parts().take(depth).collect::<Vec<_>>())
    }

    fn last_day_of(&self, directory: &[&[u8]]) -> Option<NaiveDate> {
        // Most directories differ from it at a glance; the days of a century are many.
        if !self.has_fixed_parts_of(directory)? || !self.has_shape_of(directory)? {
            return None;
        }
        let names =
            |day: &NaiveDate| self.on(*day).is_some_and(|named| named.parts().eq(directory.iter().copied()));
        let mut day = NaiveDate::from_ymd_opt(LAST_YEAR, 12, 31)?;
        let first = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1)?;
        while !names(&day) {
            day = day.pred_opt().filter(|day| *day >= first)?;
        }
        Some(day)
    }

    /// What it names on a day.
    fn on(&self, day: NaiveDate) -> Option<RemotePath> {
        let noon = day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12);
        self.directory(noon, TimeZone::default(), "").ok()
    }

    /// Whether a directory has those parts that are the same on two days which have nothing in common but the century.
    fn has_fixed_parts_of(&self, directory: &[&[u8]]) -> Option<bool> {
        let one = self.on(NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1)?)?;
        let other = self.on(NaiveDate::from_ymd_opt(LAST_YEAR, 12, 29)?)?;
        let mut parts = one.parts().zip(other.parts()).zip(directory);
        let is_same = parts.all(|((one, other), own)| one != other || one == *own);
        Some(is_same && one.parts().count() == directory.len())
    }

    /// Whether a directory looks like the one of a day of the first year, whatever its digits are.
    fn has_shape_of(&self, directory: &[&[u8]]) -> Option<bool> {
        let first = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1)?;
        let own = shape(directory.iter().copied());
        let days = first.iter_days().take(366);
        Some(days.filter_map(|day| self.on(day)).any(|named| shape(named.parts()) == own))
    }
}

/// The parts of a path with each digit as 0.
fn shape<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let zero = |byte: &u8| if byte.is_ascii_digit() { b'0' } else { *byte };
    parts.map(|part| part.iter().map(zero).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> Option<NaiveDate> {
        (!text.is_empty()).then(|| text.parse().unwrap())
    }

    #[test]
    fn a_directory_is_named_on_days_whose_date_it_has() {
        for (template, directory, last) in [
            ("{date}", "2026-05-17", "2026-05-17"),
            ("{date}", "2026-02-30", ""),
            ("{date}", "out", ""),
            ("{date}", "2026-05-17/x", ""),
            ("{date}", "", ""),
            ("in/{date:%Y/%m}", "in/2026/05", "2026-05-31"),
            ("in/{date:%Y/%m}", "in/2026/13", ""),
            ("in/{date:%Y/%m}", "out/2026/05", ""),
            ("./in//{date:%d}/x", "in/31/x", "2099-12-31"),
            ("in/{date:%d}/x", "in/32/x", ""),
            ("in/{date:%d}/x", "in/31/y", ""),
            ("{date:%-d-%b}", "1-Feb", "2099-02-01"),
            ("{date:%-d-%b}", "30-Feb", ""),
            ("{date:%A}", "Monday", "2099-12-28"),
            ("{date:%A}", "monday", ""),
            ("caf%E9-{date:%Y}", "caf%E9-2044", "2044-12-31"),
            ("in", "in", "2099-12-31"),
        ] {
            let template = DirectoryTemplate::parse_polled(template).unwrap();
            let directory = RemotePath::from_text(directory).unwrap();
            assert_eq!(template.last_day(&directory), day(last), "{template:?} {directory}");
        }
        let template = DirectoryTemplate::parse_polled("in/{date}").unwrap();
        for (directory, last) in
            [("in/2026-05-17/a/b", "2026-05-17"), ("in/2026-05-17", "2026-05-17"), ("in", ""), ("in/a", "")]
        {
            assert_eq!(template.last_day_above(&directory.into()), day(last), "{directory}");
        }
    }

    #[test]
    fn examples_are_those_of_many_months_and_days_or_the_only_one() {
        let examples = |template: &str| {
            let examples = DirectoryTemplate::parse(template).unwrap().examples("orders");
            examples.iter().map(RemotePath::to_text).collect::<Vec<_>>()
        };
        assert_eq!(examples("{flow}/x"), ["orders/x"]);
        let dated = examples("{flow}/{received:%m-%d-%H}");
        assert_eq!(
            (dated.len(), dated[0].as_str(), dated[11].as_str()),
            (12, "orders/01-01-00", "orders/12-07-22")
        );
        let months: std::collections::BTreeSet<_> = examples("{received:%m}").into_iter().collect();
        assert_eq!(months.len(), 12);
    }

    proptest! {
        // A case may try all days of the century.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn each_day_is_found_by_its_own_directory(days in 0_u64..36_525, format in "(%[YmdyjaAbB]|x|/|-){1,6}") {
            let text = format!("in/{{date:{format}}}");
            if let Ok(template) = DirectoryTemplate::parse_polled(&text) {
                let first = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).unwrap();
                let day = first + chrono::Days::new(days);
                let directory = template.on(day).unwrap();
                let last = template.last_day(&directory).unwrap();
                prop_assert!(last >= day && template.on(last).unwrap().parts().eq(directory.parts()));
            }
        }
    }
}
