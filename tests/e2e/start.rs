//! Starts with a directory of definitions: one that cannot be applied, and one with an origin and an overlay.

use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

fn flow(root: &Path, node: &str) -> String {
    let root = root.display();
    format!(
        "[endpoint.dock]\ntransport = \"file\"\nurl = \"file://{root}/in\"\nnode = \"{node}\"\n\
         [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
         [flow.orders]\nsource = {{ endpoint = \"dock\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
         after = \"delete\", error_directory = \"{root}/bad\" }}\n\
         [[flow.orders.destination]]\nendpoint = \"warehouse\"\n"
    )
}

fn moves(root: &Path, name: &str) {
    fs::write(root.join("in").join(name), name).unwrap();
    let out = root.join("out").join(name);
    eventually(name, Duration::from_secs(30), || out.is_file().then_some(()));
}

fn command(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out + &error)
}

fn stored_revision_goes_on(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["in", "out", "bad"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root, "n1").database(database).build();
    let text = flow(root, "n1");
    gateway.define("all.toml", &text.replace("after", "aftre"));
    // Nothing is stored yet: it does not start.
    gateway.spawn();
    eventually("the end", Duration::from_secs(60), || gateway.ended());
    assert!(gateway.log().contains("aftre"), "{}", gateway.log());
    gateway.define("all.toml", &text);
    gateway.start();
    moves(root, "first");
    assert!(gateway.stop().success());
    // Documents with an error, and a directory that is not mounted.
    gateway.define("all.toml", &text.replace("after", "aftre"));
    gateway.spawn();
    gateway.wait_until_not_ready("the directory of definitions cannot be applied");
    moves(root, "second");
    let events = gateway.json(&["audit", "search", "--kind", "definitions.refused"]);
    assert!(events.to_string().contains("aftre"), "{events}");
    gateway.define("all.toml", &text);
    gateway.signal("HUP");
    gateway.wait_until_ready();
    assert!(gateway.stop().success());
    fs::remove_file(gateway.directory().join("definitions/all.toml")).unwrap();
    gateway.spawn();
    gateway.wait_until_not_ready("--allow-empty");
    moves(root, "third");
    assert_eq!(gateway.json(&["revisions"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_that_cannot_be_applied_leaves_the_stored_revision_in_force_on_sqlite() {
    stored_revision_goes_on(None);
}

#[test]
fn a_directory_that_cannot_be_applied_leaves_the_stored_revision_in_force_on_postgresql() {
    stored_revision_goes_on(Some(&fresh_database("start")));
}

#[test]
fn a_start_takes_the_origin_and_the_overlay_of_what_was_applied() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["in", "out", "bad"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root, "n1").build();
    let overlay = root.join("overlay.toml");
    fs::write(&overlay, "[endpoint.dock]\nnode = \"n1\"\n").unwrap();
    gateway.define("all.toml", &flow(root, "test"));
    let directory = gateway.directory().join("definitions");
    let how = ["--origin", "edi", "--overlay", overlay.to_str().unwrap()];
    let first = [&["apply", directory.to_str().unwrap()], &how[..]].concat();
    let (code, text) = command(&gateway, &[&["plan"], &first[1..]].concat());
    // Before the first start and the first apply, with the line that applies it.
    assert!(code == 3 && text.contains("Compared with revision 0."), "{text}");
    let line = text.lines().last().unwrap().strip_prefix("waybill ").unwrap().to_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let (code, text) = command(&gateway, &words);
    assert_eq!(code, 0, "{line}: {text}");
    gateway.serve_with(&how);
    gateway.start();
    moves(root, "first");
    gateway.signal("HUP");
    moves(root, "second");
    assert_eq!(gateway.json(&["revisions"]).as_array().unwrap().len(), 1, "{}", gateway.log());
}
