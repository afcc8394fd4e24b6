//! The house rules that the compiler does not check: who may import whom, and what each room keeps out.

mod declared;
mod modules;
mod plain_words;
mod transports;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The rooms, and which other rooms each may import (design of the house, `docs/architecture.md`).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("transport", &["model"]),
    ("net", &["model"]),
    ("staging", &["model"]),
    ("smime", &[]),
    ("pgp-mime", &["smime"]),
    ("transport-file", &["model", "net", "transport"]),
    ("transport-sftp", &["model", "net", "transport"]),
    ("transport-ftp", &["model", "net", "transport"]),
    ("transport-webdav", &["model", "net", "transport"]),
    ("transport-as2", &["model", "net", "pgp-mime", "smime", "transport"]),
    ("steps", &["model"]),
    ("store", &["model"]),
    ("engine", &["model", "staging", "steps", "store", "transport"]),
    ("config", &["model", "steps"]),
    ("control", &["config", "engine", "model", "pgp-mime", "smime", "store"]),
    ("console", &["config", "control", "engine", "model", "net", "store"]),
    ("testkit", &["model", "net", "staging", "transport"]),
    ("fuzz-targets", &["model", "pgp-mime", "smime", "transport-as2"]),
];

/// Libraries that belong to one room alone.
const BELONGS_TO: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("askama", &["console"]),
    ("russh", &["testkit", "transport-sftp"]),
    ("hyper", &["net"]),
    ("pgp", &["fuzz-targets", "pgp-mime"]),
    ("quick-xml", &["transport-as2", "transport-webdav"]),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(suites::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// A room's dependencies by name, those for its tests left out.
fn imports(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .filter(|d| d["kind"].as_str() != Some("dev"))
        .map(|d| d["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn rooms_import_only_what_they_may() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut seen = 0;
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let room = name.strip_prefix("waybill-").unwrap_or(name);
        let Some(allowed) = rules.get(room) else {
            assert!(
                ["waybill", "tests"].contains(&room),
                "{room} is no room of the house: add it to the rules and to docs/architecture.md"
            );
            continue;
        };
        seen += 1;
        for import in imports(&package).iter().filter_map(|name| name.strip_prefix("waybill-")) {
            assert!(allowed.contains(&import), "{room} imports {import}; it may import {allowed:?}");
        }
    }
    assert_eq!(seen, MAY_IMPORT.len(), "a room of the rules is not there");
}

#[test]
fn libraries_stay_in_their_rooms() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let room = name.strip_prefix("waybill-").unwrap_or(name);
        for (library, rooms) in BELONGS_TO {
            let uses = imports(&package).iter().any(|import| import == library);
            assert!(!uses || rooms.contains(&room), "{room} uses {library}, which belongs to {rooms:?}");
        }
    }
}

#[test]
fn only_what_belongs_there_is_at_the_top() {
    let expected = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "config",
        "crates",
        "deploy",
        "docs",
        "migrations",
        "tests",
    ];
    let output = Command::new("git").args(["ls-files"]).current_dir(suites::repository()).output().unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    for file in files.lines() {
        let top = file.split('/').next().unwrap();
        assert!(
            top.starts_with('.') || expected.contains(&top),
            "{top} is not part of the visible top level"
        );
    }
}

#[test]
fn coverage_points_to_tests_that_are_there() {
    let page = std::fs::read_to_string(suites::repository().join("docs/coverage.md")).unwrap();
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let tests = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for word in line
            .split(['`', ' ', ',', '(', ')'])
            .filter(|word| word.starts_with("tests/") || word.starts_with("crates/"))
        {
            let path = suites::repository().join(word.trim_end_matches('.'));
            assert!(path.exists(), "docs/coverage.md points to {word}, which is not there");
            if tests.contains(word) {
                assert!(holds_tests(&path), "docs/coverage.md names {word} as a test; it holds none");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the page's form has changed: {seen} tests seen");
}

/// Whether a file holds a test, or the modules of a `main.rs` or `tests.rs` do, or files of a directory.
fn holds_tests(path: &Path) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).unwrap().any(|entry| holds_tests(&entry.unwrap().path()));
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return false;
    }
    let text = std::fs::read_to_string(path).unwrap();
    let marks = ["#[test]", "#[tokio::test", "both! {", "both!("];
    if text.lines().any(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark))) {
        return true;
    }
    match path.file_name().unwrap().to_str().unwrap() {
        "main.rs" => std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .any(|below| below != path && holds_tests(&below)),
        _ => path.with_extension("").is_dir() && holds_tests(&path.with_extension("")),
    }
}

#[test]
fn the_schema_of_definitions_is_what_the_code_declares() {
    let schema =
        std::fs::read_to_string(suites::repository().join("config/definitions.schema.json")).unwrap();
    let (status, made, error) = suites::run(&["reference", "--schema"]);
    assert!(status.success(), "{error}");
    assert!(
        made == schema,
        "config/definitions.schema.json is not current: write it anew with `waybill reference --schema`"
    );
}

#[test]
fn the_reference_page_is_what_the_code_declares() {
    let page = std::fs::read_to_string(suites::repository().join("docs/reference.md")).unwrap();
    let (status, made, error) = suites::run(&["reference"]);
    assert!(status.success(), "{error}");
    assert!(made == page, "docs/reference.md is not current: write it anew with `waybill reference`");
}

/// Sockets and clocks are used through `net` and `transport::Clock` alone (`.clippy.toml`); tests may use them by themselves, so the
/// lint is off for all that does not say it.
#[test]
fn every_room_but_the_testkit_checks_for_methods_that_are_not_allowed() {
    const CHECKED: &str = "#![cfg_attr(not(test), warn(clippy::disallowed_methods))]";
    for room in std::fs::read_dir(suites::repository().join("crates")).unwrap() {
        let root = room.unwrap().path().join("src/lib.rs");
        let text = std::fs::read_to_string(&root).unwrap();
        let is_testkit = root.ends_with("testkit/src/lib.rs");
        assert_eq!(text.lines().any(|line| line == CHECKED), !is_testkit, "{}", root.display());
    }
}
