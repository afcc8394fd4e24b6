//! Real servers, started by the scripts in `tests/servers`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what went wrong")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The repository's root.
///
/// # Panics
/// Never, in a checkout.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
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
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, options: &[&str]) -> Self {
        let script = repository().join("tests/servers").join(format!("{name}.sh"));
        let directory = tempfile::Builder::new().prefix(&format!("waybill-{name}-")).tempdir().unwrap();
        let mut command = Command::new(&script);
        command
            .arg("start")
            .arg(directory.path())
            // A server that tests share in a `static` is never dropped: its directory goes with this process.
            .args(["--owner-pid", &std::process::id().to_string(), "--temporary"])
            .args(options);
        let info = call(&mut command);
        let info = serde_json::from_str(&info).unwrap_or_else(|e| panic!("{name}.sh said {info:?}: {e}"));
        Self { script, directory, info }
    }

    /// Runs another command of the script: `pause`, `resume`, `kill`, `restart` …
    ///
    /// # Panics
    /// It fails.
    #[allow(clippy::must_use_candidate, reason = "most commands say nothing")]
    pub fn command(&self, command: &str, more: &[&str]) -> String {
        call(Command::new(&self.script).arg(command).arg(self.directory.path()).args(more))
    }

    /// A text of what the script said.
    ///
    /// # Panics
    /// There is none of that name.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.info))
    }

    /// Its port.
    ///
    /// # Panics
    /// The script named none.
    #[must_use]
    pub fn port(&self) -> u16 {
        u16::try_from(self.info["port"].as_u64().unwrap()).unwrap()
    }

    /// Its main process.
    ///
    /// # Panics
    /// The script named none.
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.info["pid"].as_u64().unwrap()).unwrap()
    }

    /// Its directory.
    #[must_use]
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
