//! The system calls that committing makes, as the kernel saw them, in their order.

use crate::{id, open, path_of, stage};
use std::fs;
use std::path::Path;
use std::process::Command;

const TRACED: &str = "WAYBILL_TEST_TRACED_ROOT";

#[test]
fn file_sync_then_rename_then_directory_sync_in_the_kernels_eyes() {
    let directory = tempfile::tempdir().unwrap();
    let (root, log) = (directory.path().join("staging"), directory.path().join("trace"));
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "4096",
            "-e",
            "trace=fdatasync,fsync,rename,renameat,renameat2,link,linkat,openat",
        ])
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "trace::traced_child"])
        .env(TRACED, &root)
        .output()
        .expect("strace is installed by the test set-up, and this test needs it");
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));

    let log = fs::read_to_string(log).unwrap();
    let part = root.join("partial").join(id(1).to_string());
    let committed = root.join(path_of(id(1)));
    let (part, committed) = (part.to_str().unwrap(), committed.to_str().unwrap());
    let fan = Path::new(committed).parent().unwrap().to_str().unwrap();
    let place = |call: &str, of: &[&str]| {
        let hit = |line: &&str| {
            line.contains(call) && line.ends_with("= 0") && of.iter().all(|text| line.contains(text))
        };
        let found: Vec<_> = log.lines().enumerate().filter(|(_, line)| hit(line)).collect();
        assert_eq!(found.len(), 1, "{call} {of:?} in\n{log}");
        found[0].0
    };
    let file_sync = place("fdatasync(", &[&format!("<{part}>")]);
    let rename = place("renameat2(", &[part, committed, "RENAME_NOREPLACE"]);
    let dir_sync = place("fsync(", &[&format!("<{fan}>")]);
    assert!(file_sync < rename && rename < dir_sync, "{file_sync} {rename} {dir_sync} in\n{log}");
    // The names above it were synced before anything was taken in.
    for directory in [root.as_path(), &root.join("payloads"), root.parent().unwrap()] {
        let synced = format!("<{}>", directory.display());
        let at = log.lines().position(|line| line.contains("fsync(") && line.contains(&synced));
        assert!(at.is_some_and(|at| at < file_sync), "{synced} in\n{log}");
    }
}

#[test]
fn traced_child() {
    let Some(root) = std::env::var_os(TRACED) else { return };
    stage(&open(Path::new(&root)), id(1), &[1; 25_000]);
}
