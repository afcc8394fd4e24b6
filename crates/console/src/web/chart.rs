//! Bars by hour, drawn as SVG by the server, with a table that says the same.

use crate::web::format::grouped;
use askama::filters::HtmlSafe;
use chrono::{DurationRound, TimeDelta};
use model::Timestamp;
use std::fmt;
use store::HourCount;

const HOURS: usize = 24;
/// The picture's own units.
const WIDTH: usize = 480;
const HEIGHT: usize = 96;
const STEP: usize = WIDTH / HOURS;
const BAR: usize = 14;

/// Transfers of the last 24 hours.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// When each hour begins.
    hours: [(Timestamp, HourCount); HOURS],
}

/// A line of the table.
pub(crate) struct ChartLine {
    pub(crate) from: crate::web::format::Moment,
    pub(crate) recorded: u64,
    pub(crate) failed: u64,
}

impl Chart {
    /// Adds up hours, the present one last.
    pub(crate) fn day<'a>(now: Timestamp, flows: impl IntoIterator<Item = &'a [HourCount; HOURS]>) -> Self {
        let last = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
        let mut hours = [(last, HourCount::default()); HOURS];
        for (back, (from, _)) in hours.iter_mut().rev().enumerate() {
            *from = last - TimeDelta::hours(i64::try_from(back).unwrap_or(0));
        }
        for flow in flows {
            for ((_, sum), hour) in hours.iter_mut().zip(flow) {
                sum.recorded += hour.recorded;
                sum.failed += hour.failed;
            }
        }
        Self { hours }
    }

    pub(crate) fn recorded(&self) -> String {
        grouped(self.hours.iter().map(|(_, hour)| hour.recorded).sum())
    }

    pub(crate) fn failed(&self) -> u64 {
        self.hours.iter().map(|(_, hour)| hour.failed).sum()
    }

    fn most(&self) -> u64 {
        self.hours.iter().map(|(_, hour)| hour.recorded).max().unwrap_or(0)
    }

    /// How high an hour's bars are: all of it, and of this what failed.
    fn heights(&self, hour: &HourCount) -> (u64, u64) {
        // A single failure among thousands is still seen.
        let room = (HEIGHT - 4) as u64;
        let height = |count: u64| if count == 0 { 0 } else { (count * room / self.most().max(1)).max(3) };
        (height(hour.recorded), height(hour.failed).min(height(hour.recorded)))
    }

    pub(crate) fn lines(&self) -> Vec<ChartLine> {
        self.hours
            .iter()
            .rev()
            .map(|(from, hour)| ChartLine {
                from: crate::web::format::Moment(*from),
                recorded: hour.recorded,
                failed: hour.failed,
            })
            .collect()
    }
}

/// The same, small and light, for a list with many of them.
pub(crate) struct Spark(Chart);

impl Spark {
    pub(crate) fn day(now: Timestamp, hours: &[HourCount; HOURS]) -> Self {
        Self(Chart::day(now, [hours]))
    }
}

impl HtmlSafe for Spark {}

impl fmt::Display for Spark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chart = &self.0;
        let base = HEIGHT - 1;
        let (recorded, failed) = (chart.recorded(), grouped(chart.failed()));
        write!(
            f,
            "<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' \
             aria-label='Transfers per hour: {recorded} in the last 24 hours, {failed} failed'><path class='axis' d='M0 {base}H{WIDTH}'/>",
        )?;
        for (class, of_bar) in [("bar", false), ("bar bad", true)] {
            let mut path = String::new();
            for (place, (_, hour)) in chart.hours.iter().enumerate() {
                let (all, bad) = chart.heights(hour);
                let (low, height) = if of_bar { (0, bad) } else { (bad, all - bad) };
                if height > 0 {
                    let x = place * STEP + (STEP - BAR) / 2;
                    path.push_str(&format!("M{x} {}v-{height}h{BAR}v{height}z", base as u64 - low));
                }
            }
            if !path.is_empty() {
                write!(f, "<path class='{class}' d='{path}'/>")?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Chart {}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most();
        write!(
            f,
            "<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' \
             aria-label='Transfers by hour: {} in the last 24 hours, {} of them failed; at most {} in one hour'>\
             <line class='axis' x1='0' y1='{base}' x2='{WIDTH}' y2='{base}'/>",
            self.recorded(),
            grouped(self.failed()),
            grouped(most),
            base = HEIGHT - 1,
        )?;
        for (place, (from, hour)) in self.hours.iter().enumerate() {
            if hour.recorded == 0 {
                continue;
            }
            let (all, bad) = self.heights(hour);
            let x = place * STEP + (STEP - BAR) / 2;
            let base = (HEIGHT - 1) as u64;
            write!(
                f,
                "<g><title>{} UTC: {} recorded, {} failed</title><rect class='bar' x='{x}' y='{}' width='{BAR}' height='{}'/>",
                from.format("%H:%M"),
                grouped(hour.recorded),
                grouped(hour.failed),
                base - all,
                all - bad,
            )?;
            if bad > 0 {
                write!(f, "<rect class='bar bad' x='{x}' y='{}' width='{BAR}' height='{bad}'/>", base - bad)?;
            }
            f.write_str("</g>")?;
        }
        f.write_str("</svg>")
    }
}
