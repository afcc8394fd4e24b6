use super::*;
use model::schedule::{Cron, TimeZone, Window};
use testkit::clock::FixedClock;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(text: &str) -> Schedule {
    Schedule {
        pace: Pace::Cron(Cron::parse(text).unwrap()),
        zone: TimeZone::parse("Europe/Berlin").unwrap(),
        ..Schedule::every(Duration::ZERO)
    }
}

/// Lets time pass in the parts in which it is waited for, until a poll is due.
fn wait(due: &mut Due<'_>, clock: &FixedClock) -> Timestamp {
    for _ in 0..100_000 {
        let pause = due.pause(clock);
        if pause.is_zero() {
            return clock.now();
        }
        assert!(pause <= LONGEST_PART);
        clock.advance(pause);
    }
    panic!("no poll is due");
}

/// Waits for a poll and makes it, which takes this long.
fn poll(due: &mut Due<'_>, clock: &FixedClock, seconds: u64) -> Timestamp {
    let begun = wait(due, clock);
    let moment = Moment::now(clock);
    clock.advance(Duration::from_secs(seconds));
    due.polled(moment, false);
    begun
}

#[test]
fn cron_polls_at_its_times_and_makes_up_once_for_those_that_pass_meanwhile() {
    let schedule = cron("*/5 * * * *");
    let clock = FixedClock::at(at("2026-11-26T09:00:30Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:00:30Z"), "09:00 has just passed");
    assert_eq!(poll(&mut due, &clock, 8 * 60), at("2026-11-26T09:05:00Z"));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:13:00Z"), "09:10 passed during the poll");
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:15:00Z"));
}

#[test]
fn a_time_that_passed_long_ago_is_left_out() {
    let schedule = cron("0 2 * * *");
    let clock = FixedClock::at(at("2026-11-26T01:10:01Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    assert_eq!(poll(&mut due, &clock, 3 * 86_400 + 3_600), at("2026-11-27T01:00:00Z"));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-12-01T01:00:00Z"));
}

#[test]
fn a_time_that_another_node_did_not_poll_is_polled_here_within_ten_minutes() {
    let schedule = cron("0 2 * * *");
    let clock = FixedClock::at(at("2026-11-26T00:00:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    let first = wait(&mut due, &clock);
    assert_eq!(first, at("2026-11-26T01:00:00Z"));
    due.not_ours(Moment::now(&clock));
    assert_eq!(wait(&mut due, &clock) - first, TimeDelta::seconds(30), "the lease is requested again");
    let mut asked = 0;
    while clock.now() - first < TimeDelta::hours(1) {
        due.not_ours(Moment::now(&clock));
        wait(&mut due, &clock);
        asked += 1;
    }
    assert!((15..=25).contains(&asked), "{asked}");
    assert_eq!(clock.now(), at("2026-11-27T01:00:00Z"));
}

#[test]
fn an_interval_goes_on_within_windows_only() {
    let window = Window::parse("06:00", "20:00", ["mon-fri"]).unwrap();
    let schedule = Schedule { between: vec![window], ..Schedule::every(Duration::from_secs(60)) };
    // A Friday.
    let clock = FixedClock::at(at("2026-11-27T19:58:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    let polls: Vec<String> = (0..4).map(|_| poll(&mut due, &clock, 1).to_rfc3339()).collect();
    assert_eq!(
        polls,
        [
            "2026-11-27T19:58:00+00:00",
            "2026-11-27T19:59:00+00:00",
            "2026-11-30T06:00:00+00:00",
            "2026-11-30T06:01:00+00:00"
        ]
    );
}

#[test]
fn a_time_is_not_made_up_outside_the_windows() {
    let window = Window::parse("06:00", "07:02", []).unwrap();
    let schedule = Schedule { between: vec![window], zone: TimeZone::default(), ..cron("*/30 * * * *") };
    let clock = FixedClock::at(at("2026-11-26T06:29:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    assert_eq!(poll(&mut due, &clock, 34 * 60), at("2026-11-26T06:30:00Z"));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-27T06:00:00Z"));
}

#[test]
fn a_clock_that_was_ahead_stops_no_polls() {
    let schedule = cron("*/5 * * * *");
    let clock = FixedClock::at(at("2036-11-26T09:00:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    assert_eq!(poll(&mut due, &clock, 1), at("2036-11-26T09:00:00Z"));
    clock.set(at("2026-11-26T09:02:00Z"));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:05:00Z"));
}

#[test]
fn permanent_failures_make_the_waits_grow() {
    let schedule = cron("* * * * *");
    let clock = FixedClock::at(at("2026-11-26T09:00:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    let mut begun = Vec::new();
    for _ in 0..9 {
        begun.push(wait(&mut due, &clock));
        due.polled(Moment::now(&clock), true);
    }
    let gaps: Vec<i64> = begun.windows(2).map(|pair| (pair[1] - pair[0]).num_seconds()).collect();
    assert_eq!(gaps, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
}

#[test]
fn polls_of_many_flows_with_the_same_times_are_spread() {
    let schedule = cron("* * * * *");
    let clock = FixedClock::at(at("2026-11-26T09:00:30Z"));
    let mut due = Due::new(&schedule, &clock, Duration::from_secs(3));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:00:30Z"), "09:00 has passed");
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:01:03Z"));
    assert_eq!(poll(&mut due, &clock, 1), at("2026-11-26T09:02:03Z"), "once for each time");
}

#[test]
fn files_are_looked_at_again_besides_the_schedule() {
    let often = Schedule::every(Duration::from_secs(20));
    let daily = cron("0 2 * * *");
    for (schedule, next) in [(&often, "2026-11-26T01:00:20Z"), (&daily, "2026-11-27T01:00:00Z")] {
        let clock = FixedClock::at(at("2026-11-26T01:00:00Z"));
        let mut due = Due::new(schedule, &clock, Duration::ZERO);
        wait(&mut due, &clock);
        assert!(!due.looks_again(&clock), "the schedule's own poll");
        due.polled(Moment::now(&clock), false);
        due.look_again(&clock, Some(Duration::from_secs(5)));
        assert_eq!(wait(&mut due, &clock), at("2026-11-26T01:00:05Z"));
        assert!(due.looks_again(&clock));
        due.look_again(&clock, None);
        assert_eq!(wait(&mut due, &clock), at(next), "the schedule goes on as it was");
        assert!(!due.looks_again(&clock));
    }
}

#[test]
fn a_poll_of_the_schedule_that_comes_first_looks_again_as_well() {
    let schedule = Schedule::every(Duration::from_secs(10));
    let clock = FixedClock::at(at("2026-11-26T01:00:00Z"));
    let mut due = Due::new(&schedule, &clock, Duration::ZERO);
    poll(&mut due, &clock, 0);
    due.look_again(&clock, Some(Duration::from_secs(30)));
    assert_eq!(wait(&mut due, &clock), at("2026-11-26T01:00:10Z"));
    assert!(!due.looks_again(&clock));
}
