//! Real servers, started by the scripts in `tests/servers`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A running server; ended when dropped, and by its own watchdog when this process dies.
pub struct Server {
    script: PathBuf,
    directory: TempDir,
    /// How to reach it, as its script said.
    pub info: Value,
}

impl Server {
    /// Starts `tests/servers/NAME.sh` with options.
    pub fn start(name: &str, options: &[&str]) -> Self {
        let script = repository().join("tests/servers").join(format!("{name}.sh"));
        let directory = tempfile::Builder::new().prefix(&format!("waybill-{name}-")).tempdir().unwrap();
        let mut command = Command::new(&script);
        command
            .arg("start")
            .arg(directory.path())
            .args(["--owner-pid", &std::process::id().to_string()])
            .args(options);
        let info = call(&mut command);
        let info = serde_json::from_str(&info).unwrap_or_else(|e| panic!("{name}.sh said {info:?}: {e}"));
        Self { script, directory, info }
    }

    /// Runs another command of the script: `pause`, `resume`, `kill`, `restart` …
    pub fn command(&self, command: &str, more: &[&str]) -> String {
        call(Command::new(&self.script).arg(command).arg(self.directory.path()).args(more))
    }

    /// A text of what the script said.
    pub fn text(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.info))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        u16::try_from(self.info["port"].as_u64().unwrap()).unwrap()
    }

    /// Its main process.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.info["pid"].as_u64().unwrap()).unwrap()
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(
            Command::new(&self.script).arg("stop").arg(self.directory.path()).stdout(Stdio::null()).status(),
        );
    }
}

fn call(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success(),
        "{command:?} failed: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The URL of a fresh database on a PostgreSQL that all tests of this process share.
pub fn fresh_database(name: &str) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start("postgres", &[]));
    let unique = format!("{name}_{}_{}", std::process::id(), crate::free_port());
    server.command("database", &[&unique.to_lowercase().replace('-', "_")])
}
