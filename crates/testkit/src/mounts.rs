//! Small file systems, mounted in a mount namespace of a test's own: what a full disk does, without filling the machine's.
//! Tests that use them run as root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test is made with says by panicking what went wrong"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the process that runs in the namespace.
const INSIDE: &str = "WAYBILL_TEST_MOUNTS";

/// Runs a test of this program once more in a mount namespace; true in the process that is in it.
///
/// # Panics
/// The test failed there.
#[must_use]
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{test} failed in its mount namespace: {}\n{said}", output.status);
    // A name that fits none runs none, and is a success too.
    assert!(said.contains("test result: ok. 1 passed"), "no test has the name {test}: {said}");
    false
}

/// A file system in memory over a directory; gone with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size, as of `mount` (`3m`), that everybody may write to.
    ///
    /// # Panics
    /// It cannot be mounted.
    #[must_use]
    pub fn over(directory: &Path, size: &str) -> Self {
        let mut command = Command::new("mount");
        let options = format!("size={size},mode=0777");
        let mounted = command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory).status();
        assert!(mounted.unwrap().success(), "mount a tmpfs over {}", directory.display());
        Self(directory.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A server may still be in it; it ends with the namespace.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn a_test_of_that_name_runs_inside() {
        if is_inside("mounts::tests::a_test_of_that_name_runs_inside") {
            assert!(std::env::var_os(super::INSIDE).is_some());
        }
    }

    #[test]
    #[should_panic = "no test has the name mounts::tests::renamed"]
    fn a_name_that_no_test_has_is_no_success() {
        let _ = is_inside("mounts::tests::renamed");
    }
}
