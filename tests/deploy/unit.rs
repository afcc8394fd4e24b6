//! The systemd unit, by systemd's own checks.

use crate::{done, ran, shipped, unit_lines};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use suites::waybill;
use tempfile::TempDir;

/// The unit as it is shipped, with a binary that exists here.
fn unit(change: impl Fn(String) -> String) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(shipped("systemd/waybill.service")).unwrap();
    let text =
        change(text.replace("ExecStart=/usr/bin/waybill", &format!("ExecStart={}", waybill().display())));
    let path = directory.path().join("waybill.service");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn verify(unit: &PathBuf) -> (i32, String) {
    ran(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit))
}

#[test]
fn systemd_understands_every_line() {
    let (_directory, sound) = unit(|text| text);
    assert_eq!(verify(&sound), (0, String::new()));
    // The check would say so.
    let (_directory, wrong) = unit(|text| text.replace("ProtectSystem=strict", "ProtectSystem=strictly"));
    let (_, told) = verify(&wrong);
    assert!(told.contains("Failed to parse protect system value"), "{told}");
}

#[test]
fn it_is_exposed_little() {
    // In tenths, from 0 to 100; systemd calls up to 2.0 "OK", its best word but one.
    let security = |unit: &PathBuf| {
        let mut analyze = Command::new("systemd-analyze");
        ran(analyze.args(["security", "--offline=true", "--no-pager", "--threshold=16"]).arg(unit))
    };
    let (_directory, sound) = unit(|text| text);
    let (code, told) = security(&sound);
    assert_eq!(code, 0, "{told}");
    let (_directory, open) =
        unit(|text| text.replace("ProtectSystem=strict", "").replace("NoNewPrivileges=yes", ""));
    let (code, told) = security(&open);
    assert_ne!(code, 0, "{told}");
}

#[test]
fn unit_and_settings_name_the_same_places() {
    let settings = fs::read_to_string(shipped("waybill.toml")).unwrap();
    let has = |line: &str| assert!(settings.contains(line), "deploy/waybill.toml lacks {line}");
    assert_eq!(unit_lines("StateDirectory"), ["waybill"]);
    has("state_directory = \"/var/lib/waybill\"");
    assert_eq!(unit_lines("ReadWritePaths"), ["-/srv/waybill"]);
    has("files = [\"/srv/waybill\"]");
    assert_eq!(unit_lines("LoadCredential"), ["secret:/etc/waybill/credentials"]);
    has("secrets = [\"/etc/waybill\", \"/run/credentials/waybill.service\"]");
    has("${file:/run/credentials/waybill.service/secret_database}");
}

#[test]
fn a_password_of_the_database_comes_from_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().display().to_string();
    fs::write(directory.path().join("secret_database"), "p%25ss\n").unwrap();
    let settings = fs::read_to_string(shipped("waybill.toml")).unwrap();
    let settings = settings.replace("#url = ", "url = ").replace("/run/credentials/waybill.service", &own);
    let settings = settings.replace("/var/lib/waybill", &own);
    let path = directory.path().join("waybill.toml");
    fs::write(&path, settings).unwrap();
    fs::create_dir(directory.path().join("definitions")).unwrap();
    let mut of_none = Command::new(waybill());
    of_none
        .arg("--config")
        .arg(&path)
        .args(["validate", "--definitions"])
        .arg(directory.path().join("definitions"));
    done(&mut of_none);
    fs::remove_file(directory.path().join("secret_database")).unwrap();
    let (code, told) = ran(&mut of_none);
    assert!(code == 1 && told.contains("secret_database"), "{code} {told}");
}
