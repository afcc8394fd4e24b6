//! A hand that reaches into a gateway's database behind its back.

use crate::Gateway;
use std::process::Command;

const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
const SQLITE: &str = "import sqlite3, sys\n\
    with sqlite3.connect(sys.argv[1], timeout=20) as c: c.executescript(sys.argv[2])";

/// Runs statements with the database's own tools: on PostgreSQL at a URL, else on the gateway's SQLite file.
pub fn tamper(gateway: &Gateway, url: Option<&str>, sql: &str) {
    let mut command;
    match url {
        Some(url) => {
            command = Command::new(PSQL);
            command.args(["-qAtXw", "-v", "ON_ERROR_STOP=1", "-c", sql, url]);
        }
        None => {
            command = Command::new("/usr/bin/python3");
            command.args(["-c", SQLITE]).arg(gateway.directory().join("state/waybill.db")).arg(sql);
        }
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Rows that a statement finds on PostgreSQL, their columns separated by `|`.
pub fn query(url: &str, sql: &str) -> Vec<String> {
    let found =
        Command::new(PSQL).args(["-qAtXw", "-v", "ON_ERROR_STOP=1", "-c", sql, url]).output().unwrap();
    assert!(found.status.success(), "{sql}: {}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}
