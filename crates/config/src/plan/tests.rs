use super::*;
use crate::Documents;
use crate::check::fixture::catalogue;
use crate::export::{export, export_one};

const BASE: &str = r#"# The partners' folders
[credential.acme]
username = "u"
password = "${file:/run/acme}"

[endpoint.in]
transport = "sftp"
url = "sftp://acme.example/out"
credential = "acme"
host_key = "x"
timeout = "30s"

[endpoint.out]
transport = "file"
url = "file:///srv/out"
"#;

const FLOWS: &str = r#"[flow.orders]
source = { endpoint = "in", every = "60s", after = "keep" }
[[flow.orders.destination]]
endpoint = "out"
[[flow.orders.destination]]
endpoint = "out"
name = "second"
"#;

struct World {
    definitions: Vec<StoredDefinition>,
    files: Vec<StoredFile>,
}

fn world(origin: &str, files: &[(&str, &str)]) -> World {
    let (documents, problems) = Documents::parse(files.iter().map(|(name, text)| (*name, text.as_bytes())));
    assert!(problems.is_empty(), "{problems:?}");
    World {
        definitions: documents.definitions(origin),
        files: documents.texts(origin, Facts::new(&catalogue())),
    }
}

impl World {
    fn side(&self) -> Side<'_> {
        Side { definitions: &self.definitions, files: &self.files }
    }

    /// As the store does it.
    fn changed(&self, changes: &Changes) -> Self {
        let gone = |d: &StoredDefinition| {
            changes.removed.contains(&(d.section.clone(), d.name.clone()))
                || changes.put.iter().any(|put| put.key() == d.key())
        };
        let gone_file = |f: &StoredFile| {
            changes.files_removed.contains(&(f.origin.clone(), f.file.clone()))
                || changes.files_put.iter().any(|put| put.origin == f.origin && put.file == f.file)
        };
        let mut definitions: Vec<_> = self.definitions.iter().filter(|d| !gone(d)).cloned().collect();
        definitions.extend(changes.put.iter().cloned());
        definitions.sort_by_key(StoredDefinition::key);
        let mut files: Vec<_> = self.files.iter().filter(|f| !gone_file(f)).cloned().collect();
        files.extend(changes.files_put.iter().cloned());
        files.sort_by(|a, b| (&a.origin, &a.file).cmp(&(&b.origin, &b.file)));
        Self { definitions, files }
    }
}

fn plan(current: &World, new: &World, origin: &str) -> (Plan, Changes) {
    let catalogue = catalogue();
    let origin = Origin { name: origin, take_over: false, is_named: false };
    Plan::of_directory(7, current.side(), new.side(), origin, Facts::new(&catalogue))
}

fn start() -> World {
    world("/defs", &[("base.toml", BASE), ("flows.toml", FLOWS)])
}

#[test]
fn the_same_directory_changes_nothing() {
    let (plan, changes) = plan(&start(), &start(), "/defs");
    assert!(plan.is_empty() && changes == Changes::default(), "{plan:?}");
    assert_eq!(plan.to_string(), "No change.");
}

#[test]
fn one_changed_field_is_one_changed_definition() {
    let flows = FLOWS.replace("60s", "30s").replace("name = \"second\"", "name = \"third\"");
    let new = world("/defs", &[("base.toml", BASE), ("flows.toml", &flows)]);
    let (plan, changes) = plan(&start(), &new, "/defs");
    assert_eq!(changes.put.len(), 1);
    assert_eq!(
        plan.to_string(),
        "~ flow.orders (flows.toml)\n    destination[2].name: \"second\" -> \"third\"\n    source.every: \"60s\" -> \"30s\"\n\
         0 removed, 1 changed, 0 added."
    );
    assert_eq!(plan.summary(), "1 changed: flow.orders");
    let after = start().changed(&changes);
    assert_eq!((after.definitions, after.files), (new.definitions, new.files));
}

#[test]
fn a_line_above_the_others_changes_only_its_own_definition() {
    let base = format!("[endpoint.first]\ntransport = \"file\"\nurl = \"file:///srv/first\"\n{BASE}");
    let (plan, changes) =
        plan(&start(), &world("/defs", &[("base.toml", &base), ("flows.toml", FLOWS)]), "/defs");
    assert_eq!((changes.put.len(), plan.added.len(), plan.changed.len()), (1, 1, 0));
}

#[test]
fn comments_alone_are_told_and_kept() {
    let base = format!("{BASE}# The end\n");
    let new = world("/defs", &[("base.toml", &base), ("flows.toml", FLOWS)]);
    let (plan, changes) = plan(&start(), &new, "/defs");
    assert_eq!(
        (plan.layout.as_slice(), changes.put.len(), changes.files_put.len()),
        (&["base.toml".to_owned()][..], 0, 1)
    );
    assert!(
        !plan.is_empty() && plan.to_string().contains("base.toml: only comments or layout change"),
        "{plan}"
    );
}

#[test]
fn a_directory_removes_only_what_came_from_it() {
    let other =
        world("/other", &[("o.toml", "[endpoint.other]\ntransport = \"file\"\nurl = \"file:///srv/o\"\n")]);
    let mut current = start();
    current.definitions.extend(other.definitions);
    current.files.extend(other.files);
    let (plan, changes) = plan(&current, &world("/defs", &[("base.toml", BASE)]), "/defs");
    assert_eq!(plan.removed.iter().map(|r| r.definition.as_str()).collect::<Vec<_>>(), ["flow.orders"]);
    assert_eq!(changes.files_removed, [("/defs".to_owned(), "flows.toml".to_owned())]);
    assert!(plan.to_string().starts_with("- flow.orders (flows.toml)\n"), "{plan}");
}

#[test]
fn what_belongs_to_another_is_a_conflict_until_it_is_taken_over() {
    let flows = FLOWS.replace("60s", "30s");
    let new = world("/new", &[("base.toml", BASE), ("flows.toml", &flows)]);
    let current = start();
    let (refused, _) = plan(&current, &new, "/new");
    assert_eq!(refused.conflicts.len(), 4, "{refused:?}");
    assert!(
        refused.conflicts[0].message.contains("/defs")
            && refused.conflicts[0].message.contains("--take-over")
    );
    let catalogue = catalogue();
    let origin = Origin { name: "/new", take_over: true, is_named: false };
    let (taken, changes) = Plan::of_directory(7, current.side(), new.side(), origin, Facts::new(&catalogue));
    assert!(taken.conflicts.is_empty() && taken.changed.len() == 4, "{taken:?}");
    assert_eq!(taken.changed[0].origin_before.as_deref(), Some("/defs"));
    let after = current.changed(&changes);
    assert_eq!((after.definitions, after.files), (new.definitions, new.files));
}

#[test]
fn an_export_comes_back_byte_for_byte_and_changes_nothing() {
    let mut current = start();
    current.definitions.push(StoredDefinition {
        section: "endpoint".into(),
        name: "edited".into(),
        origin: model::EDITED.into(),
        file: String::new(),
        position: 0,
        document: serde_json::json!({"transport": "sftp", "url": "sftp://h/a.b", "password": {"kept": "x"}, "host_key": "k\n\"'"}),
    });
    let files = export(current.side(), Facts::new(&catalogue())).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["base.toml", "endpoint.toml", "flows.toml"]);
    assert_eq!((files[0].text.as_str(), files[2].text.as_str()), (BASE, FLOWS));
    assert!(
        files[1].text.contains("kept = true") && !files[1].text.contains("kept = \"x\""),
        "{}",
        files[1].text
    );
    let given: Vec<(&str, &str)> =
        files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    let mut back = world("/elsewhere", &given);
    // What `{ kept = true }` stands for is put in before the comparison.
    for definition in &mut back.definitions {
        if definition.name == "edited" {
            definition.document["password"] = serde_json::json!({"kept": "x"});
        }
    }
    let (plan, changes) = plan(&current, &back, "/elsewhere");
    assert!(plan.is_empty() && changes == Changes::default(), "{plan}");
}

#[test]
fn one_definition_is_exported_with_all_that_it_names() {
    let current = start();
    let catalogue = catalogue();
    let facts = Facts::new(&catalogue);
    let file = export_one(&current.definitions, "flow.orders", facts).unwrap();
    let back = world("/x", &[(&file.name, &file.text)]);
    assert_eq!(
        back.definitions.iter().map(StoredDefinition::key).collect::<Vec<_>>(),
        ["credential.acme", "endpoint.in", "endpoint.out", "flow.orders"]
    );
    let (plan, _) = plan(&current, &back, "/x");
    assert!(plan.is_empty(), "{plan}");
    let error = export_one(&current.definitions, "flow.order", facts).unwrap_err().to_string();
    assert!(error.contains("flow.orders"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let with = |password: &str, more: &str| {
        let base = BASE.replace("\"${file:/run/acme}\"", password).replace("timeout = \"30s\"", more);
        world("/defs", &[("base.toml", &base), ("flows.toml", FLOWS)])
    };
    let old = with("\"hunter2\"", "password = \"tr0ub4dor\"");
    let new = with("\"${env:P}\"", "password = \"correcthorse\"\nprivate_key = \"batterystaple\"");
    let (changed, _) = plan(&old, &new, "/defs");
    let (text, json) = (changed.to_string(), serde_json::to_string(&changed).unwrap());
    for secret in ["hunter2", "tr0ub4dor", "correcthorse", "batterystaple"] {
        assert!(!text.contains(secret) && !json.contains(secret), "{text}\n{json}");
    }
    assert!(text.contains("password: the secret changes"), "{text}");
    assert!(text.contains("private_key: the secret is added"), "{text}");
    assert!(text.contains("password: (secret) -> \"${env:P}\""), "{text}");
    // A whole table that comes new, and goes.
    let without = world(
        "/defs",
        &[("base.toml", &BASE.replace("host_key = \"x\"\ntimeout = \"30s\"", "")), ("flows.toml", FLOWS)],
    );
    for (before, after) in [(&old, &without), (&without, &old)] {
        let (plan, _) = plan(before, after, "/defs");
        assert!(!plan.to_string().contains("tr0ub4dor"), "{plan}");
    }
}

#[test]
fn kept_files_that_will_be_taken_again_are_told_before() {
    let renamed = FLOWS.replace("flow.orders", "flow.purchases");
    let (plan_renamed, _) =
        plan(&start(), &world("/defs", &[("base.toml", BASE), ("flows.toml", &renamed)]), "/defs");
    assert!(
        plan_renamed.to_string().contains("it looks like flow orders under another name"),
        "{plan_renamed}"
    );
    let (base, flows) = (BASE.replace("endpoint.in", "endpoint.acme"), FLOWS.replace("\"in\"", "\"acme\""));
    let (plan_endpoint, _) =
        plan(&start(), &world("/defs", &[("base.toml", &base), ("flows.toml", &flows)]), "/defs");
    assert!(plan_endpoint.to_string().contains("polls endpoint acme instead of in"), "{plan_endpoint}");
    let timeless = FLOWS.replace("after = \"keep\"", "after = \"keep\", ignore_times = true");
    let (told, _) =
        plan(&start(), &world("/defs", &[("base.toml", BASE), ("flows.toml", &timeless)]), "/defs");
    assert!(told.to_string().contains("its ignore_times changes"), "{told}");
    let deleting = FLOWS.replace("\"keep\"", "\"delete\"");
    let start = world("/defs", &[("base.toml", BASE), ("flows.toml", &deleting)]);
    let renamed = deleting.replace("flow.orders", "flow.purchases");
    let (quiet, _) = plan(&start, &world("/defs", &[("base.toml", BASE), ("flows.toml", &renamed)]), "/defs");
    assert!(quiet.warnings.is_empty(), "{quiet}");
}

#[test]
fn a_file_that_is_renamed_moves_its_definitions() {
    let new = world("/defs", &[("base.toml", BASE), ("orders.toml", FLOWS)]);
    let (plan, changes) = plan(&start(), &new, "/defs");
    assert_eq!(plan.changed[0].file_before.as_deref(), Some("flows.toml"));
    assert!(plan.layout.is_empty(), "{plan:?}");
    let after = start().changed(&changes);
    assert_eq!((after.definitions, after.files), (new.definitions, new.files));
}

#[test]
fn thousands_of_flows_that_keep_may_change_their_names_at_once() {
    // As definitions alone: what reading and writing so many costs is no matter of the comparison.
    let all = |word: &str| -> World {
        let definition = |section: &str, name: String, document: serde_json::Value| StoredDefinition {
            section: section.to_owned(),
            name,
            origin: "/defs".to_owned(),
            file: "all.toml".to_owned(),
            position: 0,
            document,
        };
        let definitions = (0..10_000).map(|n| {
            let document = serde_json::json!({
                "source": {"endpoint": format!("{word}{n}"), "after": "keep"},
                "destination": [{"endpoint": format!("out{n}")}],
            });
            definition("flow", format!("{word}{n}"), document)
        });
        World { definitions: definitions.collect(), files: Vec::new() }
    };
    let (renamed, _) = plan(&all("k"), &all("j"), "/defs");
    assert_eq!(
        (renamed.added.len(), renamed.removed.len(), renamed.warnings.len()),
        (10_000, 10_000, 10_000)
    );
    assert!(renamed.warnings[7].message.contains("it looks like flow k"), "{:?}", renamed.warnings[7]);
}
