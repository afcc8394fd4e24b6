//! Files that are appended to one, and files whose names have a running number, with the gateway killed between any two steps
//! of that: each is there in the end, once and whole.

use crate::Database;
use crate::kills::{flow, gateway};
use crate::kills_over_servers::FtpRoutes;
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The size before is noted, then it is asked whether the node still may act; the second note says that all is there.
const APPENDING: [(&str, u64); 8] = [
    ("deliver.claimed", 1),
    ("deliver.noting", 1),
    ("deliver.noted", 1),
    ("deliver.before_act", 1),
    ("deliver.noting", 2),
    ("deliver.noted", 2),
    ("deliver.sent", 1),
    ("finish.before", 1),
];

const NUMBERING: [(&str, u64); 6] = [
    ("record.before", 1),
    ("record.after", 1),
    ("deliver.claimed", 1),
    ("deliver.noted", 1),
    ("deliver.sent", 1),
    ("finish.before", 1),
];

#[test]
fn kills_while_files_are_appended_on_sqlite() {
    append(Database::Sqlite, false);
}

#[test]
fn kills_while_files_are_appended_on_postgres() {
    append(Database::Postgres, false);
}

#[test]
fn kills_while_files_are_appended_over_ftp_on_sqlite() {
    append(Database::Sqlite, true);
}

#[test]
fn kills_while_files_are_appended_over_ftp_on_postgres() {
    append(Database::Postgres, true);
}

#[test]
fn kills_while_names_are_numbered_on_sqlite() {
    number(Database::Sqlite);
}

#[test]
fn kills_while_names_are_numbered_on_postgres() {
    number(Database::Postgres);
}

/// Gives a file before each death. Answers what was given, and the names and contents of what is there in the end.
fn run(
    database: Database,
    deaths: &[(&'static str, u64)],
    destination: &str,
    is_over_ftp: bool,
) -> (Vec<Vec<u8>>, BTreeMap<String, Vec<u8>>) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("naming");
    let mut route = Route::make(root.path(), "naming", 0, 0);
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let flow = flow(&route, "ordered = true");
    let endpoint = "endpoint = \"naming-out\"\n";
    let mut named = flow.replacen(endpoint, &format!("{endpoint}{destination}\n"), 1);
    assert_ne!(named, flow);
    // The server ends with the test.
    let server = is_over_ftp.then(|| FtpRoutes::start(root.path()));
    if let Some(server) = &server {
        named = server.take_over("out", &mut route, &named);
    }
    gateway.define("naming.toml", &named);
    let mut given = Vec::new();
    for (at, (point, count)) in deaths.iter().enumerate() {
        let (name, content) =
            (format!("{at:02}.edi"), vec![b'a' + u8::try_from(at).unwrap(); 10 + at * 70_000]);
        fs::write(root.path().join(&name), &content).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        given.push(content);
        let died = start_and_die(&mut gateway, Death::At(point, *count));
        assert!(died, "never came to {point} for time {count}\n{}", tail(&gateway));
    }
    gateway.start();
    gateway.wait_for("completed", given.len(), Duration::from_secs(60));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    let there = fs::read_dir(&route.out).unwrap().map(|entry| entry.unwrap());
    let there = there
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    (given, there)
}

fn append(database: Database, is_over_ftp: bool) {
    let destination = "file_name = \"all.edi\"\noverwrite = \"append\"";
    let (given, there) = run(database, &APPENDING, destination, is_over_ftp);
    let names: Vec<_> = there.keys().collect();
    assert_eq!(names, ["all.edi"]);
    assert!(there["all.edi"] == given.concat(), "each file is there once, in its order");
}

fn number(database: Database) {
    let (given, there) = run(database, &NUMBERING, "file_name = \"{counter:4}{ext}\"", false);
    // Numbers may be left out, and the files of one flow come in their order.
    let contents: Vec<_> = there.values().cloned().collect();
    assert!(contents == given, "each file is there once: {:?}", there.keys());
    assert!(there.keys().all(|name| name.len() == 8 && name.ends_with(".edi")), "{:?}", there.keys());
}
