//! A small Debian in a directory of its own. Root alone can make one.

use crate::{done, ran};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use suites::repository;
use tempfile::TempDir;

/// A root directory as a new machine has it; removed when dropped.
pub(crate) struct Debian {
    directory: TempDir,
}

impl Debian {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("waybill-debian-").tempdir().unwrap();
        let debian = repository().join("target/servers/debian-root.tar");
        done(
            Command::new("tar")
                .arg("--extract")
                .arg("--file")
                .arg(debian)
                .arg("--directory")
                .arg(directory.path()),
        );
        Self { directory }
    }

    /// The path of this file outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, inside: &str, text: &[u8]) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A command inside, of root's or of another user.
    pub(crate) fn command(&self, user: Option<&str>, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        if let Some(user) = user {
            command.arg(format!("--userspec={user}:{user}"));
        }
        command.arg(self.directory.path()).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
        command
    }

    /// Runs one as root that must succeed: what it wrote.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        done(&mut self.command(None, words))
    }

    /// Runs one as this user: exit code, and what it wrote.
    pub(crate) fn ran(&self, user: &str, words: &[&str]) -> (i32, String) {
        ran(&mut self.command(Some(user), words))
    }

    /// Puts a package into it by its own dpkg.
    pub(crate) fn install(&self, package: &Path) -> String {
        std::fs::copy(package, self.path("/tmp/waybill.deb")).unwrap();
        self.done(&["dpkg", "--install", "/tmp/waybill.deb"])
    }
}

/// The package of the quick build.
pub(crate) fn package() -> PathBuf {
    let script = repository().join("deploy/package.sh");
    let mut build = Command::new(script);
    // What this test's own runner has set would make cargo build everything again, and again for the next build outside.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_runner = ["CARGO_PKG_", "CARGO_MANIFEST_", "NEXTEST", "LD_LIBRARY_PATH"];
        if of_runner.iter().any(|begin| text.starts_with(begin)) {
            build.env_remove(&name);
        }
    }
    let built = build.args(["--profile", "dev"]).stdin(Stdio::null()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let path = String::from_utf8(built.stdout).unwrap();
    repository().join(path.trim())
}
