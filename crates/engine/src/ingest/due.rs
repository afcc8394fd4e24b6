//! When the next poll of a flow is due on this node.

use chrono::TimeDelta;
use model::Timestamp;
use model::schedule::{Pace, Schedule};
use std::time::Duration;
use transport::Clock;

/// The longest wait after polls that failed permanently, unless the flow's interval is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The first wait after a poll of a flow with a cron expression that failed permanently.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait for a time of day in one part: the clock may be set in between.
const LONGEST_PART: Duration = Duration::from_secs(30);

/// How long a time that a cron expression named is made up when it could not be polled then: no node ran, or the one
/// that holds the source's lease died.
const MADE_UP_FOR: TimeDelta = TimeDelta::minutes(10);

/// The shortest time between the beginnings of two polls of which the later comes early.
const BETWEEN_EARLY: Duration = Duration::from_secs(1);

/// The wait before the source's lease is requested again for a time that another node may poll.
const ASK_FOR_LEASE: Duration = Duration::from_secs(30);

/// A moment by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    now: Timestamp,
    monotonic: Duration,
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self { now: clock.now(), monotonic: clock.monotonic() }
    }
}

/// When the next poll is due.
pub(super) struct Due<'a> {
    schedule: &'a Schedule,
    /// Nothing is polled before, by the monotonic clock.
    earliest: Duration,
    /// How long after its time a poll of a cron expression begins.
    spread: TimeDelta,
    /// The times that a cron expression names up to this one are done.
    done_until: Timestamp,
    /// How many polls in a row failed permanently.
    refusals: u32,
    /// When the last poll began, by the monotonic clock.
    last: Duration,
    /// When pending files are looked at again besides the schedule, by the monotonic clock.
    again: Option<Duration>,
}

impl<'a> Due<'a> {
    /// The first poll comes after `spread`; with a cron expression, each comes so long after its time, the first at its next
    /// time, or at once if a time has passed in the last ten minutes. So flows with the same times do not begin at once.
    pub(super) fn new(schedule: &'a Schedule, clock: &dyn Clock, spread: Duration) -> Self {
        let earliest = clock.monotonic() + schedule.interval().map_or(Duration::ZERO, |_| spread);
        let done_until = clock.now() - MADE_UP_FOR;
        let spread = in_micros(spread);
        Self { schedule, earliest, spread, done_until, refusals: 0, last: Duration::ZERO, again: None }
    }

    /// How long to wait before the poll, or before asking again; zero if it is due.
    pub(super) fn pause(&mut self, clock: &dyn Clock) -> Duration {
        let again = self.again.map(|again| again.saturating_sub(clock.monotonic()));
        let scheduled = self.pause_by_schedule(clock);
        again.map_or(scheduled, |again| again.min(scheduled))
    }

    /// Whether the poll that is due comes besides the schedule, to look at pending files again.
    pub(super) fn looks_again(&mut self, clock: &dyn Clock) -> bool {
        self.again.is_some_and(|again| again <= clock.monotonic()) && !self.pause_by_schedule(clock).is_zero()
    }

    /// Pending files are to be looked at again after this time, even if the schedule asks for no poll then: the poll that
    /// found them was in time.
    pub(super) fn look_again(&mut self, clock: &dyn Clock, after: Option<Duration>) {
        self.again = after.map(|after| clock.monotonic() + after);
    }

    fn pause_by_schedule(&mut self, clock: &dyn Clock) -> Duration {
        let Moment { now, monotonic } = Moment::now(clock);
        let wait = self.earliest.saturating_sub(monotonic);
        let next = match &self.schedule.pace {
            Pace::Every(_) if self.schedule.is_unrestricted() => return wait,
            Pace::Every(_) => self.schedule.next(now + in_micros(wait)),
            Pace::Cron(_) => {
                // By a clock that was ahead and has been put back, later times would count as done.
                self.done_until = self.done_until.min(now);
                // A time that has passed and cannot be made up any more is left out.
                let done_until = self.done_until.max(now - MADE_UP_FOR);
                let next = self.schedule.next(done_until + TimeDelta::microseconds(1));
                let next = match next {
                    Some(next) if next <= now && self.schedule.closed_at(now).is_some() => {
                        self.schedule.next(now)
                    }
                    next => next,
                };
                next.map(|next| next + self.spread)
            }
        };
        // The check of definitions refuses a flow that is never polled; its last window may have passed since.
        let until = next.map_or(LONGEST_PART, |next| (next - now).to_std().unwrap_or_default());
        until.max(wait).min(LONGEST_PART)
    }

    /// Whether a poll may come before its time because something arrived. One by a cron expression comes when that says;
    /// one after a failure when its wait is over.
    pub(super) fn may_come_early(&self) -> bool {
        matches!(self.schedule.pace, Pace::Every(_)) && self.refusals == 0
    }

    /// Something arrived: the next poll comes now, or a moment after the last one.
    pub(super) fn come_early(&mut self, clock: &dyn Clock) {
        let soon = clock.monotonic().max(self.last + BETWEEN_EARLY);
        self.earliest = self.earliest.min(soon);
    }

    /// A poll was made.
    pub(super) fn polled(&mut self, begun: Moment, refused: bool) {
        self.refusals = if refused { self.refusals.saturating_add(1) } else { 0 };
        self.skipped(begun);
    }

    /// A poll was due and nothing is to be made up.
    pub(super) fn skipped(&mut self, begun: Moment) {
        self.done_until = begun.now;
        self.last = begun.monotonic;
        let (base, at_least) = match (&self.schedule.pace, self.refusals) {
            (Pace::Every(interval), _) => (*interval, *interval),
            (Pace::Cron(_), 0) => (Duration::ZERO, Duration::ZERO),
            (Pace::Cron(_), _) => (FIRST_WAIT / 2, Duration::ZERO),
        };
        let grown = base.saturating_mul(1 << self.refusals.min(16)).min(LONGEST_WAIT).max(at_least);
        self.earliest = begun.monotonic + grown;
    }

    /// A poll was due, and another node holds the source's lease.
    pub(super) fn not_ours(&mut self, begun: Moment) {
        match &self.schedule.pace {
            Pace::Every(_) => self.skipped(begun),
            Pace::Cron(_) => {
                // The other node may end before it has polled.
                self.earliest = begun.monotonic + ASK_FOR_LEASE;
            }
        }
    }
}

fn in_micros(duration: Duration) -> TimeDelta {
    TimeDelta::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2))
}

#[cfg(test)]
mod tests;
