//! The house rules that the compiler does not check: who may import whom, and what each room keeps out.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// The rooms, and which other rooms each may import (design of the house, `docs/architecture.md`).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("transport", &["model"]),
    ("net", &["model"]),
    ("staging", &["model"]),
    ("smime", &[]),
    ("transport-file", &["model", "net", "transport"]),
    ("transport-sftp", &["model", "net", "transport"]),
    ("transport-as2", &["model", "net", "smime", "transport"]),
    ("store", &["model"]),
    ("engine", &["model", "staging", "store", "transport"]),
    ("config", &["model"]),
    ("console", &["config", "engine", "model", "net", "store"]),
    ("testkit", &["model", "net", "staging", "transport"]),
];

/// Libraries that belong to one room alone.
const BELONGS_TO: &[(&str, &[&str])] =
    &[("sqlx", &["store"]), ("askama", &["console"]), ("russh", &["transport-sftp"]), ("hyper", &["net"])];

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
fn coverage_names_every_file_it_points_to() {
    let page = std::fs::read_to_string(suites::repository().join("docs/coverage.md")).unwrap();
    for path in page
        .split(['`', ' ', ',', '(', ')'])
        .filter(|word| word.starts_with("tests/") || word.starts_with("crates/"))
    {
        let path = path.split("::").next().unwrap().trim_end_matches('.');
        assert!(
            suites::repository().join(path).exists(),
            "docs/coverage.md points to {path}, which is not there"
        );
    }
}
