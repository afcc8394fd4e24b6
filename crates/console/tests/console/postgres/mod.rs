//! A fresh database on a real PostgreSQL server, which ends with this process.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use uuid::Uuid;

/// The URL of a new database.
pub(crate) fn database() -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    let output = script().arg("database").arg(server()).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/postgres.sh"))
}

fn server() -> &'static PathBuf {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("waybill-console-{}", Uuid::new_v4().simple()));
        let started = script()
            .arg("start")
            .arg(&dir)
            .args(["--owner-pid", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        dir
    })
}
