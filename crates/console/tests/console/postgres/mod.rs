//! A fresh database on a real PostgreSQL server, which ends with this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use uuid::Uuid;

/// The URL of a new database.
pub(crate) fn database() -> String {
    database_on(server())
}

/// A server of its own, that a test may do with what it likes.
pub(crate) struct Server {
    dir: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self { dir: start() }
    }

    pub(crate) fn database(&self) -> String {
        database_on(&self.dir)
    }

    /// All of it stands still: connections are taken, nobody answers.
    pub(crate) fn pause(&self) {
        assert!(script().arg("pause").arg(&self.dir).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(script().arg("kill").arg(&self.dir).stdout(Stdio::null()).status());
    }
}

fn database_on(server: &Path) -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    let output = script().arg("database").arg(server).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs statements beside Waybill; answers their rows.
pub(crate) fn sql(url: &str, statements: &str) -> String {
    let output = Command::new("/usr/lib/postgresql/15/bin/psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--command",
            statements,
        ])
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/postgres.sh"))
}

fn server() -> &'static PathBuf {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("waybill-console-{}", Uuid::new_v4().simple()));
    let started = script()
        .arg("start")
        .arg(&dir)
        .args(["--owner-pid", &std::process::id().to_string(), "--temporary"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    dir
}
