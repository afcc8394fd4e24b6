//! When a running gateway polls: within windows, by cron, not on days off; and what the command line says of it.

use chrono::{TimeDelta, Timelike, Utc};
use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(90);

/// A flow from `in/NAME` to `out/NAME`, with what its source says besides.
fn flow(root: &Path, name: &str, times: &str) -> String {
    let root = root.display();
    format!(
        "[endpoint.{name}-in]\ntransport = \"file\"\nurl = \"file://{root}/in/{name}\"\n\
         [endpoint.{name}-out]\ntransport = \"file\"\nurl = \"file://{root}/out/{name}\"\n\
         [flow.{name}]\nsource = {{ endpoint = \"{name}-in\", stable_for = \"0s\", after = \"delete\", \
         error_directory = \"{root}/bad\", {times} }}\ndestination = {{ endpoint = \"{name}-out\" }}\n"
    )
}

fn waybill(gateway: &Gateway, arguments: &[&str]) -> String {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    assert!(status.success(), "{arguments:?}: {out}{error}");
    out
}

#[test]
fn flows_poll_by_their_schedules_on_sqlite() {
    flows_poll_by_their_schedules(None);
}

#[test]
fn flows_poll_by_their_schedules_on_postgres() {
    flows_poll_by_their_schedules(Some(&fresh_database("schedules")));
}

fn flows_poll_by_their_schedules(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bad")).unwrap();
    // Closed for hours, whatever the time of day is.
    let (from, to) = (Utc::now() + TimeDelta::hours(3), Utc::now() + TimeDelta::hours(4));
    let time = |at: chrono::DateTime<Utc>| format!("{:02}:{:02}", at.hour(), at.minute());
    let night = format!("every = \"1s\", between = {{ from = \"{}\", to = \"{}\" }}", time(from), time(to));
    let today = [-1, 0, 1].map(|days| format!("\"{}\"", (Utc::now() + TimeDelta::days(days)).date_naive()));
    let flows = [
        ("often", "cron = \"* * * * *\", time_zone = \"Europe/Berlin\"".to_owned()),
        ("night", night),
        ("off", "every = \"1s\", not_on = \"holidays\"".to_owned()),
    ];
    let mut text = format!("[calendar.holidays]\ndays_off = [{}]\n", today.join(", "));
    for (name, times) in &flows {
        fs::create_dir_all(root.path().join("in").join(name)).unwrap();
        fs::create_dir_all(root.path().join("out").join(name)).unwrap();
        fs::write(root.path().join("in").join(name).join("1.edi"), name).unwrap();
        text += &flow(root.path(), name, times);
    }
    let mut gateway = GatewayBuilder::new(root.path(), "n1").database(database).build();
    gateway.define("flows.toml", &text);
    gateway.start();

    let arrived = |name: &str, file: &str| root.path().join("out").join(name).join(file).is_file();
    eventually(&format!("the next full minute\n{}", gateway.log()), PATIENCE, || {
        arrived("often", "1.edi").then_some(())
    });
    // Two times of `often` are far more polls of the others, if there were any.
    fs::write(root.path().join("in/often/2.edi"), "2").unwrap();
    eventually("the minute after", PATIENCE, || arrived("often", "2.edi").then_some(()));
    assert!(!arrived("night", "1.edi") && !arrived("off", "1.edi"), "{}", gateway.log());

    let often = waybill(&gateway, &["flow", "show", "often"]);
    assert!(often.contains("polls cron \"* * * * *\" (Europe/Berlin); the next poll begins 20"), "{often}");
    let night = waybill(&gateway, &["flow", "show", "night"]);
    let shown = format!(
        "polls every 1s between {} and {} (UTC); no poll begins now, because it is outside",
        time(from),
        time(to)
    );
    assert!(night.contains(&shown), "{night}");
    let off = waybill(&gateway, &["flow", "run", "off", "--dry-run"]);
    assert!(
        off.contains("would take 1 file now")
            && off.contains("no poll begins now, because today is a day off"),
        "{off}"
    );
    let list = gateway.json(&["flow", "list"]);
    let polls: Vec<_> =
        list.as_array().unwrap().iter().map(|flow| (&flow["name"], &flow["polls"]["closed"])).collect();
    let expected = [("night", Some("outside_windows")), ("off", Some("day_off")), ("often", None)];
    assert!(
        polls
            .iter()
            .zip(expected)
            .all(|((name, closed), (wanted, why))| **name == wanted && closed.as_str() == why),
        "{list}"
    );

    // A person's run is not bound to them.
    let ran = gateway.json(&["flow", "run", "night"]);
    assert_eq!(ran["report"]["taken"], 1, "{ran}");
    eventually("night", PATIENCE, || arrived("night", "1.edi").then_some(()));
}

/// A flow that polls once an hour takes a file as soon as it is there, and one that is not to be woken does not.
#[test]
fn a_file_that_arrives_in_a_local_directory_is_polled_at_once() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bad")).unwrap();
    let mut text = String::new();
    for name in ["awake", "asleep"] {
        fs::create_dir_all(root.path().join("in").join(name)).unwrap();
        fs::create_dir_all(root.path().join("out").join(name)).unwrap();
        fs::write(root.path().join("in").join(name).join("first.edi"), name).unwrap();
        text += &flow(root.path(), name, "every = \"1h\"");
    }
    text = text.replace("[endpoint.asleep-in]", "[endpoint.asleep-in]\nwake_up = \"none\"");
    let mut gateway = GatewayBuilder::new(root.path(), "n1").build();
    gateway.define("flows.toml", &text);
    gateway.start();
    let is_out = |path: &str| root.path().join("out").join(path).exists();
    eventually("both are polled once", PATIENCE, || {
        (is_out("awake/first.edi") && is_out("asleep/first.edi")).then_some(())
    });
    for number in 1..=3 {
        for name in ["awake", "asleep"] {
            fs::write(root.path().join("in").join(name).join(format!("{number}.edi")), name).unwrap();
        }
        eventually("it is taken", PATIENCE, || is_out(&format!("awake/{number}.edi")).then_some(()));
    }
    assert!(!is_out("asleep/1.edi"));
}
