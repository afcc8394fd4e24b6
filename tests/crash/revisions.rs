//! Revisions that are killed in the middle: the old definitions are in force or the new ones, never half of them.

use crate::Database;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, run, waybill};
use testkit::crash::CRASH_AT;

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

    // The gateway itself, while it follows: what it starts with is what is stored.
    gateway.kill();
    gateway.start();
    let config = gateway.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}
