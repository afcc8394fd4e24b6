use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin(pace: Pace, between: &[(&str, &str, &str)]) -> Schedule {
    let window = |(from, to, days): &(&str, &str, &str)| {
        Window::parse(from, to, days.split(',').filter(|day| !day.is_empty())).unwrap()
    };
    Schedule {
        pace,
        zone: TimeZone::parse("Europe/Berlin").unwrap(),
        between: between.iter().map(window).collect(),
        not_on: None,
    }
}

fn cron(text: &str) -> Pace {
    Pace::Cron(Cron::parse(text).unwrap())
}

const MINUTE: Pace = Pace::Every(Duration::from_secs(60));

fn off(days: &[&str], weekends: bool) -> Option<Arc<Calendar>> {
    let days_off = days.iter().map(|day| Calendar::parse_day(day).unwrap()).collect();
    Some(Arc::new(Calendar { name: "holidays".into(), days_off, weekends }))
}

/// The next times, each after the one before.
fn times(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let mut from = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(next) = schedule.next(from) else { break };
        found.push(schedule.zone.local(next).format("%a %d %H:%M %:z").to_string());
        from = next + TimeDelta::microseconds(1);
    }
    found
}

#[test]
fn an_interval_waits_for_the_next_window() {
    let office = berlin(MINUTE, &[("06:00", "20:00", "mon-fri")]);
    for (from, next) in [
        ("2026-11-26T04:59:59.999999Z", "2026-11-26T05:00:00Z"),
        ("2026-11-26T05:00:00Z", "2026-11-26T05:00:00Z"),
        ("2026-11-26T18:59:59Z", "2026-11-26T18:59:59Z"),
        ("2026-11-26T19:00:00Z", "2026-11-27T05:00:00Z"),
        // A Friday evening.
        ("2026-11-27T19:00:00Z", "2026-11-30T05:00:00Z"),
    ] {
        assert_eq!(office.next(at(from)), Some(at(next)), "{from}");
    }
    assert_eq!(office.closed_at(at("2026-11-26T19:00:00Z")), Some(Closed::OutsideWindows));
    assert_eq!(
        Schedule::every(Duration::from_secs(5)).next(at("2026-11-26T19:00:00Z")),
        Some(at("2026-11-26T19:00:00Z"))
    );
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let mut night = berlin(MINUTE, &[("22:00", "04:00", "fri")]);
    // Saturday, 02:00 and 05:00.
    assert_eq!(night.closed_at(at("2026-11-28T01:00:00Z")), None);
    assert_eq!(night.closed_at(at("2026-11-28T04:00:00Z")), Some(Closed::OutsideWindows));
    assert_eq!(times(&night, "2026-11-28T04:00:00Z", 1), ["Fri 04 22:00 +01:00"]);
    night.not_on = off(&["2026-11-28"], false);
    assert_eq!(night.closed_at(at("2026-11-28T01:00:00Z")), None, "the window began on the day before");
    night.not_on = off(&["2026-11-27"], false);
    assert_eq!(night.closed_at(at("2026-11-28T01:00:00Z")), Some(Closed::DayOff));
    assert_eq!(times(&night, "2026-11-27T12:00:00Z", 1), ["Fri 04 22:00 +01:00"]);
}

#[test]
fn days_off_and_weekends_are_left_out() {
    let mut daily = berlin(cron("30 7 * * *"), &[]);
    daily.not_on = off(&["2026-12-24", "2026-12-25"], true);
    assert_eq!(
        times(&daily, "2026-12-23T00:00:00Z", 3),
        ["Wed 23 07:30 +01:00", "Mon 28 07:30 +01:00", "Tue 29 07:30 +01:00"]
    );
    daily.pace = MINUTE;
    assert_eq!(daily.closed_at(at("2026-12-23T23:30:00Z")), Some(Closed::DayOff), "it is the 24th in Berlin");
    assert_eq!(times(&daily, "2026-12-23T23:30:00Z", 1), ["Mon 28 00:00 +01:00"]);
}

#[test]
fn cron_names_times_of_the_zone_within_windows() {
    let office = berlin(cron("*/20 5-21 * * MON-FRI"), &[("06:30", "07:10", ""), ("20:00", "24:00", "fri")]);
    assert_eq!(
        times(&office, "2026-11-26T00:00:00Z", 7),
        [
            "Thu 26 06:40 +01:00",
            "Thu 26 07:00 +01:00",
            "Fri 27 06:40 +01:00",
            "Fri 27 07:00 +01:00",
            "Fri 27 20:00 +01:00",
            "Fri 27 20:20 +01:00",
            "Fri 27 20:40 +01:00",
        ]
    );
    // As in crontab(5): the first of the month, and every Monday.
    assert_eq!(
        times(&berlin(cron("0 2 1 * MON"), &[]), "2026-11-26T00:00:00Z", 2),
        ["Mon 30 02:00 +01:00", "Tue 01 02:00 +01:00"]
    );
    assert_eq!(times(&berlin(cron("0 3 29 2 *"), &[]), "2026-11-26T00:00:00Z", 1), ["Tue 29 03:00 +01:00"]);
}

#[test]
fn what_never_comes_is_none() {
    assert_eq!(berlin(cron("0 3 * * *"), &[("06:00", "20:00", "")]).next(at("2026-11-26T00:00:00Z")), None);
    assert_eq!(berlin(cron("0 3 31 2 *"), &[]).next(at("2026-11-26T00:00:00Z")), None);
    let mut weekends = berlin(MINUTE, &[("06:00", "20:00", "sat,sun")]);
    weekends.not_on = off(&[], true);
    assert_eq!(weekends.next(at("2026-11-26T00:00:00Z")), None);
}

#[test]
fn where_the_clock_is_put_forward_a_fixed_time_comes_right_after_the_gap() {
    // On 29 March 2026, 02:00 is followed by 03:00.
    assert_eq!(
        times(&berlin(cron("30 2 * * *"), &[]), "2026-03-28T12:00:00Z", 2),
        ["Sun 29 03:00 +02:00", "Mon 30 02:30 +02:00"]
    );
    assert_eq!(
        times(&berlin(cron("*/30 * * * *"), &[]), "2026-03-29T00:20:00Z", 3),
        ["Sun 29 01:30 +01:00", "Sun 29 03:00 +02:00", "Sun 29 03:30 +02:00"]
    );
    assert_eq!(
        times(&berlin(MINUTE, &[("02:30", "03:30", "")]), "2026-03-29T00:20:00Z", 1),
        ["Sun 29 03:00 +02:00"]
    );
    // A window that lies in the gap does not exist on that day.
    assert_eq!(
        times(&berlin(MINUTE, &[("02:10", "02:50", "")]), "2026-03-29T00:20:00Z", 1),
        ["Mon 30 02:10 +02:00"]
    );
}

#[test]
fn where_the_clock_is_put_back_a_fixed_time_comes_once_and_a_window_twice() {
    // On 25 October 2026, 03:00 is followed by 02:00.
    assert_eq!(
        times(&berlin(cron("30 2 * * *"), &[]), "2026-10-24T12:00:00Z", 2),
        ["Sun 25 02:30 +02:00", "Mon 26 02:30 +01:00"]
    );
    assert_eq!(
        times(&berlin(cron("*/30 * * * *"), &[]), "2026-10-24T23:50:00Z", 5),
        [
            "Sun 25 02:00 +02:00",
            "Sun 25 02:30 +02:00",
            "Sun 25 02:00 +01:00",
            "Sun 25 02:30 +01:00",
            "Sun 25 03:00 +01:00"
        ]
    );
    let short = berlin(MINUTE, &[("02:10", "02:20", "")]);
    assert_eq!(times(&short, "2026-10-24T12:00:00Z", 1), ["Sun 25 02:10 +02:00"]);
    assert_eq!(times(&short, "2026-10-25T00:30:00Z", 1), ["Sun 25 02:10 +01:00"]);
}

#[test]
fn mistakes_say_how_it_is_written() {
    let told = |result: Result<Window, WindowError>| {
        let error = result.unwrap_err();
        format!("{}: {}", error.field, error.message)
    };
    assert!(told(Window::parse("6:00", "20:00", [])).starts_with("from: \"6:00\" is not a time of day"));
    assert!(told(Window::parse("24:00", "20:00", [])).starts_with("from:"));
    assert!(told(Window::parse("06:00", "20:60", [])).starts_with("to:"));
    assert!(told(Window::parse("06:00", "06:00", [])).contains("no length"));
    assert!(told(Window::parse("06:00", "20:00", ["mon-fry"])).contains("\"mon-fri\""));
    for wrong in ["* * * *", "61 * * * *", "* * * * * *", "", "every day"] {
        assert!(Cron::parse(wrong).unwrap_err().contains("five fields"), "{wrong}");
    }
    assert_eq!(
        TimeZone::parse("europe/berlin").unwrap_err(),
        "\"europe/berlin\" is written \"Europe/Berlin\""
    );
    assert!(TimeZone::parse("Europe/Berlyn").unwrap_err().contains("Europe/Berlin"));
    for wrong in ["2026-2-1", "2026-02-30", "25.12.2026", "+2026-12-25"] {
        assert!(Calendar::parse_day(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_schedule_is_told_in_words() {
    let mut schedule = berlin(cron("*/5 * * * *"), &[("06:00", "20:00", "mon-fri"), ("22:00", "24:00", "")]);
    schedule.not_on = off(&[], true);
    assert_eq!(
        schedule.to_string(),
        "cron \"*/5 * * * *\" between 06:00 and 20:00 on mon, tue, wed, thu, fri, 22:00 and 24:00, not on the days off of \
         calendar holidays (Europe/Berlin)"
    );
    assert_eq!(Schedule::every(Duration::from_secs(60)).to_string(), "every 1m");
}

proptest! {
    #[test]
    fn the_next_moment_is_open_and_nothing_before_it_is(
        start in 0_i64..700 * 1440, from in 0_u32..1440, to in 0_u32..1440, day in 0_usize..7, weekends: bool,
    ) {
        prop_assume!(from != to);
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = Window::parse(&time(from), &time(to), [["mon", "tue", "wed", "thu", "fri", "sat", "sun"][day]]).unwrap();
        let schedule = Schedule { between: vec![window], not_on: off(&[], weekends), ..berlin(MINUTE, &[]) };
        let start = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
        match schedule.next(start) {
            None => prop_assert!(weekends && day >= 5),
            Some(next) => {
                prop_assert_eq!(schedule.closed_at(next), None);
                let mut earlier = start;
                while earlier < next {
                    prop_assert!(schedule.closed_at(earlier).is_some(), "{} is open", earlier);
                    earlier += TimeDelta::minutes(1);
                }
            }
        }
    }
}
