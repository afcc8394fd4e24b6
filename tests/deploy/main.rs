//! What is shipped: the Debian package, installed and removed in a root directory of its own; the systemd unit, the container
//! files; and the backup page, carried out as it stands.

#![allow(clippy::disallowed_methods, reason = "tests read whole files and start programs")]

mod backup;
mod container;
mod package;
mod running;
mod throwaway;
mod unit;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use suites::repository;

/// Runs a program to its end: exit code, and what it wrote to standard output and error, one after the other.
fn ran(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().unwrap_or(-1), text)
}

/// The same of a program that must succeed: what it wrote.
fn done(command: &mut Command) -> String {
    let (code, text) = ran(command);
    assert_eq!(code, 0, "{command:?}: {text}");
    text
}

/// A program that `tests/servers/prepare.sh` installed from PyPI.
fn checker(name: &str) -> Command {
    Command::new(repository().join("target/servers/venv/bin").join(name))
}

/// A file of `deploy/`.
fn shipped(name: &str) -> PathBuf {
    repository().join("deploy").join(name)
}

/// What stands behind `NAME=` in a unit, line by line.
fn unit_lines(name: &str) -> Vec<String> {
    let unit = std::fs::read_to_string(shipped("systemd/waybill.service")).unwrap();
    let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}
