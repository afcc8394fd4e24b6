//! Folder transports look alike: the same files, in the same roles, as `docs/adding-a-transport.md` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each folder transport has.
const FILES: &[&str] = &["error.rs", "folder.rs", "lib.rs", "options.rs"];

/// What else may lie at the top: what its protocol is made of, and tests.
const FURTHER: &[&str] = &["protocol.rs", "tests.rs"];

/// The names in a directory: files, and directories that are no file's own parts.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| path.is_dir() && path.with_extension("rs").exists();
    let names = entries.filter(|path| !is_part(path));
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn check(directory: &Path, dials: bool) {
    let mut found = names(directory);
    // The example of the page is a test, whose first file has another name.
    if found.remove("main.rs") {
        found.insert("lib.rs".to_owned());
    }
    let mut expected: BTreeSet<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    if dials {
        expected.insert("connection.rs".to_owned());
    }
    let missing: Vec<_> = expected.difference(&found).collect();
    let foreign: Vec<_> =
        found.difference(&expected).filter(|name| !FURTHER.contains(&name.as_str())).collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "{}: missing {missing:?}, in no role {foreign:?}; see docs/adding-a-transport.md",
        directory.display()
    );
}

#[test]
fn folder_transports_have_the_same_files() {
    let crates = suites::repository().join("crates");
    let mut checked = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(lib) = fs::read_to_string(directory.join("src/lib.rs")) else { continue };
        if name.starts_with("transport-") && lib.contains("impl FolderProtocol for") {
            let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
            check(&directory.join("src"), manifest.contains("\nnet.workspace"));
            checked.push(name);
        }
    }
    assert!(checked.len() >= 2, "{checked:?}");
    check(&crates.join("testkit/tests/shelf"), true);
}
