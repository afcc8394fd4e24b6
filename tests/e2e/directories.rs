//! Where files come from and go to by the date, and by what their flow says of them.

use chrono::{Days, Utc};
use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, within};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn arrives(gateway: &Gateway, path: &Path, content: &str) {
    let found = within(PATIENCE, || (fs::read_to_string(path).ok()? == content).then_some(()));
    assert!(found.is_some(), "{} is not there\n{}", path.display(), gateway.log());
}

#[test]
fn files_come_from_the_directories_of_the_last_days_and_go_to_that_of_today() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let day = |back| Utc::now().checked_sub_days(Days::new(back)).unwrap().format("%Y/%m/%d").to_string();
    for directory in ["in", "out"] {
        fs::create_dir(place.join(directory)).unwrap();
    }
    // One day more than is polled, as the test may run over midnight.
    for (back, content) in [(0, "today"), (1, "yesterday"), (5, "old")] {
        let directory = place.join("in").join(day(back));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{content}.edi")), content).unwrap();
    }
    let document = format!(
        r#"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[flow.dated]
source = {{ endpoint = "in", directory = "{{date:%Y/%m/%d}}", past_days = 2, every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/bad" }}
[[flow.dated.destination]]
endpoint = "out"
directory = "{{flow}}/{{received:%Y}}"
"#,
        root = place.display()
    );
    let mut gateway = GatewayBuilder::new(place, "node").build();
    gateway.define("flows.toml", &document);
    gateway.start();
    let out = place.join("out/dated").join(Utc::now().format("%Y").to_string());
    for content in ["today", "yesterday"] {
        arrives(&gateway, &out.join(format!("{content}.edi")), content);
    }
    let old = place.join("in").join(day(5)).join("old.edi");
    assert!(old.exists(), "it is older than is polled");
    gateway.stop();
}

#[test]
fn a_flow_says_by_metadata_where_its_files_go_under_the_names_of_their_archived_copies() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    for directory in ["in", "out", "elsewhere", "copies"] {
        fs::create_dir(place.join(directory)).unwrap();
    }
    fs::write(place.join("in/po.edi"), "ISA*00").unwrap();
    let document = format!(
        r#"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[flow.orders]
source = {{ endpoint = "in", every = "1s", stable_for = "0s", after = {{ archive = "{root}/done" }}, error_directory = "{root}/bad" }}
[flow.orders.metadata]
file_name = "{root}/elsewhere/{{flow}}/{{archive.name}}"
is_file_path = "true"
[[flow.orders.destination]]
endpoint = "out"
paths_below = ["{root}/elsewhere"]
"#,
        root = place.display()
    );
    let mut gateway = GatewayBuilder::new(place, "node").build();
    gateway.define("flows.toml", &document);
    gateway.start();
    let archived = within(PATIENCE, || {
        fs::read_dir(place.join("done")).ok()?.find_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            (!name.starts_with('.')).then_some(name)
        })
    });
    let archived = archived.unwrap();
    arrives(&gateway, &place.join("elsewhere/orders").join(&archived), "ISA*00");
    assert!(archived.starts_with("po-20"), "{archived}");
    let transfers = gateway.wait_for("completed", 1, PATIENCE);
    // `transfer show` tells what decided where the file went.
    let id = transfers[0]["id"].as_str().unwrap();
    let shown = gateway.json(&["transfer", "show", id]);
    let written = place.join("elsewhere/orders").join(&archived);
    assert_eq!(shown["metadata"]["file_name"], written.to_str().unwrap(), "{shown}");
    let config = gateway.config();
    let (status, text, error) = suites::run(&["--config", config.to_str().unwrap(), "transfer", "show", id]);
    assert!(status.success(), "{error}");
    assert!(text.contains("\n  metadata is_file_path: true\n"), "{text}");
    gateway.stop();
}
