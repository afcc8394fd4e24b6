//! A file system whose files can share blocks (xfs with reflinks), made in a file and mounted in a mount namespace of the test's
//! own, so that nothing stays mounted. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what went wrong")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Set in the process that runs in the namespace.
const INSIDE: &str = "WAYBILL_TEST_MOUNTS";

/// Runs a test of this program once more in a mount namespace; true in the process that is in it. `test` is its whole name, with
/// its modules.
///
/// # Panics
/// The test failed there.
#[must_use]
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap());
    let status = again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{test} failed in its mount namespace: {status}");
    false
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (tests/servers/prepare.sh): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The file system; unmounted when dropped.
pub struct Xfs {
    directory: TempDir,
}

impl Xfs {
    /// Makes and mounts one of this size; less than 300 MiB are refused.
    ///
    /// # Panics
    /// It cannot be made or mounted.
    #[must_use]
    pub fn new(mebibytes: u64) -> Self {
        let xfs = Self { directory: tempfile::tempdir().unwrap() };
        File::create(xfs.image()).unwrap().set_len(mebibytes << 20).unwrap();
        std::fs::create_dir(xfs.path()).unwrap();
        run("mkfs.xfs", &[Path::new("-q"), Path::new("-m"), Path::new("reflink=1"), &xfs.image()]);
        xfs.mount();
        xfs
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) {
        run("mount", &[Path::new("-o"), Path::new("loop"), &self.image(), &self.path()]);
    }

    /// From now on nothing more is written to the medium, its own journal included, as when power fails.
    ///
    /// # Panics
    /// The system refuses.
    pub fn lose_power(&self) {
        run("xfs_io", &[Path::new("-x"), Path::new("-c"), Path::new("shutdown"), &self.path()]);
    }

    /// Mounts it again, when no file of it is open any more.
    ///
    /// # Panics
    /// The system refuses.
    pub fn mount_again(&self) {
        run("umount", &[&self.path()]);
        self.mount();
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        // The namespace's end does the same.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}

/// Whether all of a file's bytes lie in blocks that another file has as well.
///
/// # Panics
/// The file is empty, or its file system does not tell.
#[must_use]
pub fn is_shared(file: &Path) -> bool {
    let output = Command::new("filefrag").arg("-v").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let extents: Vec<&str> = text.lines().filter(|line| line.contains("..")).collect();
    assert!(output.status.success() && !extents.is_empty(), "{text}");
    extents.iter().all(|extent| extent.contains("shared"))
}
