//! Revisions that are killed in the middle: the old definitions are in force or the new ones, never half of them.

use crate::Database;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually, run, waybill};
use testkit::crash::CRASH_AT;
use testkit::ledger::{Balance, Ledger};

/// Endpoints of a directory: enough that a revision takes many statements.
const ENDPOINTS: usize = 2500;

fn write(directory: &Path, root: &Path, round: usize) {
    let text: String = (0..ENDPOINTS)
        .map(|n| {
            format!(
                "[endpoint.e{n}]\ntransport = \"file\"\nurl = \"file://{}/{round}/{n}\"\n",
                root.display()
            )
        })
        .collect();
    fs::write(directory.join("all.toml"), text).unwrap();
}

fn apply(gateway: &Gateway, directory: &Path) -> Command {
    let mut command = Command::new(waybill());
    command.arg("--config").arg(gateway.config()).arg("apply").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Which round is in force: every endpoint is of the same.
fn round(gateway: &Gateway, root: &Path) -> Option<usize> {
    let export = root.join("export");
    drop(fs::remove_dir_all(&export));
    let (config, to) = (gateway.config(), export.display().to_string());
    let (status, _, error) = run(&["--config", config.to_str().unwrap(), "export", &to]);
    assert!(status.success(), "{error}");
    let text = fs::read_to_string(export.join("all.toml")).ok()?;
    let mut rounds = text.lines().filter(|line| line.starts_with("url")).map(|line| {
        let path = line.strip_prefix(&format!("url = \"file://{}/", root.display())).unwrap();
        path.split('/').next().unwrap().parse::<usize>().unwrap()
    });
    let first = rounds.next()?;
    assert!(rounds.all(|other| other == first), "half of a revision is in force");
    assert_eq!(text.matches("[endpoint.").count(), ENDPOINTS);
    Some(first)
}

#[test]
fn an_apply_that_is_killed_on_sqlite() {
    killed(Database::Sqlite);
}

#[test]
fn an_apply_that_is_killed_on_postgres() {
    killed(Database::Postgres);
}

fn killed(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let url = database.url("revisions");
    let mut gateway = GatewayBuilder::new(root, "n1").database(url.as_deref()).build();
    gateway.start();
    let directory = root.join("defs");
    fs::create_dir(&directory).unwrap();
    assert_eq!(round(&gateway, root), None);

    // At the points: nothing before the commit, everything after it.
    write(&directory, root, 1);
    let status = apply(&gateway, &directory).env(CRASH_AT, "apply.before:1").status().unwrap();
    assert!(!status.success());
    assert_eq!(round(&gateway, root), None);
    let status = apply(&gateway, &directory).env(CRASH_AT, "apply.after:1").status().unwrap();
    assert!(!status.success());
    assert_eq!(round(&gateway, root), Some(1));

    // At any moment of it, then as a person would go on: again.
    let mut last = 1;
    for number in 2..10 {
        write(&directory, root, number);
        let mut child = apply(&gateway, &directory).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(200 + crate::random(900)));
        drop(child.kill());
        child.wait().unwrap();
        let found = round(&gateway, root).unwrap();
        assert!(found == last || found == number, "{found} is neither {last} nor {number}");
        last = found;
    }
    write(&directory, root, 99);
    assert!(apply(&gateway, &directory).status().unwrap().success());
    assert_eq!(round(&gateway, root), Some(99));

    let config = gateway.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}

#[test]
fn a_gateway_that_is_killed_while_it_follows_on_sqlite() {
    killed_while_it_follows(Database::Sqlite);
}

#[test]
fn a_gateway_that_is_killed_while_it_follows_on_postgres() {
    killed_while_it_follows(Database::Postgres);
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Flows that all deliver into the directory of a round.
const FLOWS: usize = 20;

fn flows(root: &Path, round: usize) -> String {
    let root = root.display();
    (0..FLOWS)
        .map(|n| {
            format!(
                "[endpoint.dock-{n}]\ntransport = \"file\"\nurl = \"file://{root}/in/{n}\"\n\
                 [endpoint.store-{n}]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
                 [flow.f-{n}]\nsource = {{ endpoint = \"dock-{n}\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
                 after = \"delete\", error_directory = \"{root}/bad\" }}\n\
                 [[flow.f-{n}.destination]]\nendpoint = \"store-{n}\"\nsuffix = \".{round}\"\n"
            )
        })
        .collect()
}

fn killed_while_it_follows(database: Database) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for name in ["out", "bad", "beside"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    for n in 0..FLOWS {
        fs::create_dir_all(root.join(format!("in/{n}"))).unwrap();
    }
    let url = database.url("following");
    let mut gateway = GatewayBuilder::new(root, "n1").database(url.as_deref()).build();
    let own = gateway.directory().join("definitions");
    let mut ledger = Ledger::new();
    // It puts definitions in force once at its start, and the second time when it follows; by a command that makes the
    // revision, or by a signal upon which it makes it itself.
    let follows = ["follow.before", "follow.in_force", "follow.reported"].map(|point| (point, 2, false));
    let applies = [("follow.in_force", 2, true), ("apply.after", 1, true), ("apply.before", 1, true)];
    let random = [("", 0, false); 4];
    let rounds: Vec<_> = follows.into_iter().chain(applies).chain(random).collect();
    for (round, (point, count, by_signal)) in rounds.iter().enumerate() {
        let at = (!point.is_empty()).then(|| format!("{point}:{count}"));
        gateway.set_variable(CRASH_AT, at.as_deref());
        gateway.start();
        for n in 0..FLOWS {
            let name = format!("{round}-{n}");
            fs::write(root.join("beside").join(&name), name.as_bytes()).unwrap();
            fs::rename(root.join("beside").join(&name), root.join(format!("in/{n}")).join(&name)).unwrap();
            ledger.give(&name, name.as_bytes());
        }
        gateway.define("flows.toml", &flows(root, round));
        if *by_signal {
            gateway.signal("HUP");
        } else {
            assert!(apply(&gateway, &own).status().unwrap().success());
        }
        if at.is_some() {
            let log = gateway.log();
            eventually(&format!("its end at {point}\n{log}"), PATIENCE, || gateway.ended());
        } else {
            std::thread::sleep(Duration::from_millis(crate::random(1500)));
            gateway.kill();
        }
    }
    gateway.set_variable(CRASH_AT, None);
    gateway.start();
    let count = FLOWS * rounds.len();
    let done = gateway.wait_for("completed", count, PATIENCE);
    let metrics = gateway.metrics();
    let newest = metrics.lines().find_map(|line| line.strip_prefix("waybill_revision ")).unwrap();
    assert!(metrics.contains(&format!("waybill_revision_in_force{{node=\"n1\"}} {newest}")), "{metrics}");
    // What went through one revision was written as one round says, by whichever flow.
    let mut written = BTreeMap::new();
    for file in fs::read_dir(root.join("out")).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        let (name, round) = name.rsplit_once('.').unwrap();
        ledger.arrive(name, &fs::read(file.path()).unwrap());
        written.insert(name.to_owned(), round.to_owned());
    }
    assert_eq!(ledger.balance(), Balance::default());
    let mut rounds = BTreeMap::new();
    for transfer in &done {
        let round = &written[transfer["file_name"].as_str().unwrap()];
        let of_revision = rounds.entry(transfer["revision"].as_i64().unwrap()).or_insert(round);
        assert_eq!(*of_revision, round, "half of revision {} was in force", transfer["revision"]);
    }
    let config = gateway.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}
