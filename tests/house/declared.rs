//! No field is declared that nothing reads: each declared name stands, as a text of its own, somewhere in the code
//! that is no declaration.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAKERS: [&str; 3] = ["Field::required(", "Field::optional(", "Field::preset("];

/// The sources of the product, without tests and what tests are made with.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                walk(&path, found);
            } else if name.ends_with(".rs")
                && !["tests.rs", "fixture.rs", "testing.rs"].contains(&name.as_str())
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(suites::repository().join("crates")).unwrap() {
        let crate_directory = entry.unwrap().path();
        if crate_directory.file_name().is_some_and(|name| name != "testkit") {
            walk(&crate_directory.join("src"), &mut found);
        }
    }
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The text up to its tests, its declarations and rules taken out; the names declared go into the list.
fn without_declarations(text: &str, declared: &mut Vec<String>) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut rest = String::new();
    let mut at = 0;
    while at < text.len() {
        let next = MAKERS
            .iter()
            .chain(&["Rule::"])
            .filter_map(|maker| text[at..].find(maker).map(|found| (found, *maker)));
        let Some((found, maker)) = next.min() else {
            rest.push_str(&text[at..]);
            break;
        };
        rest.push_str(&text[at..at + found]);
        at += found + maker.len();
        if maker == "Rule::" {
            at += text[at..].find(')').map_or(0, |end| end + 1);
            continue;
        }
        let argument = text[at..].trim_start();
        if let Some((name, _)) = argument.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            declared.push(name.to_owned());
            at += text[at..].find('"').unwrap() + name.len() + 2;
        }
    }
    rest
}

/// The names of a set of sources that are declared and not read, with where they are declared.
fn unread(sources: &[(PathBuf, String)]) -> BTreeMap<String, PathBuf> {
    let (mut names, mut code) = (BTreeMap::new(), String::new());
    for (path, text) in sources {
        let mut declared = Vec::new();
        code.push_str(&without_declarations(text, &mut declared));
        names.extend(declared.into_iter().map(|name| (name, path.clone())));
    }
    names.retain(|name, _| !code.contains(&format!("\"{name}\"")));
    names
}

#[test]
fn every_declared_field_is_read() {
    let sources = sources();
    let mut all = Vec::new();
    for (_, text) in &sources {
        without_declarations(text, &mut all);
    }
    assert!(
        all.len() > 100 && all.iter().any(|name| name == "host_key"),
        "declarations are found: {}",
        all.len()
    );
    let unread = unread(&sources);
    assert!(unread.is_empty(), "declared, and read by nothing: {unread:#?}");
}

#[test]
fn a_field_that_nothing_reads_is_found() {
    let declaration =
        "Field::preset(\n  \"shared\", Kind::Bool, \"false\", \"Doc.\")\nRule::Needs(\"shared\", \"claim\")";
    let found = |code: &str| {
        unread(&[("a.rs".into(), format!("{declaration}{code}"))]).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(found("let x = 1;"), ["shared"]);
    assert_eq!(found("options.bool(\"shared\")"), Vec::<String>::new());
    assert_eq!(found("#[cfg(test)] options.bool(\"shared\")"), ["shared"]);
}
