//! Steps of flows, as people see them: what is delivered, the waybill, the dry run, and files that cannot be converted.

use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::pair::{files_in, put};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than all buffers of a step.
const LINES: usize = 40_000;

#[test]
fn files_are_converted_between_folders_on_sqlite() {
    files_are_converted_between_folders(None);
}

#[test]
fn files_are_converted_between_folders_on_postgres() {
    files_are_converted_between_folders(Some(&fresh_database("steps")));
}

fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    assert!(status.success(), "{arguments:?}: {out} {error}");
    out
}

fn definitions(root: &Path, from: &str) -> String {
    let root = root.display();
    let endpoint =
        |name: &str| format!("[endpoint.{name}]\ntransport = \"file\"\nurl = \"file://{root}/{name}\"\n");
    let endpoints: String =
        ["dock", "hall", "mainframe", "strict"].iter().map(|name| endpoint(name)).collect();
    format!(
        r#"{endpoints}
[flow.orders]
steps = [{{ convert_charset = {{ from = "{from}", to = "UTF-8" }} }}]
source = {{ endpoint = "dock", mask = "*", every = "1s", stable_for = "0s", after = "delete", settle = "after_delivery", error_directory = "{root}/bad" }}
[[flow.orders.destination]]
endpoint = "hall"
[[flow.orders.destination]]
endpoint = "mainframe"
steps = [{{ convert_charset = {{ to = "IBM1140" }} }}]
"#
    )
}

fn files_are_converted_between_folders(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["dock", "hall", "mainframe", "strict", "bad"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut gateway =
        GatewayBuilder::new(root, "n1").database(database).settings("[audit]\nseal_every = \"1s\"").build();
    gateway.define("all.toml", &definitions(root, "windows-1252"));
    gateway.start();
    let session = gateway.first_login();
    // UTF-8 that is cut at every place of a buffer, and what no set but windows-1252 has at these bytes.
    let line = b"10 \x80 f\xfcr caf\xe9\n";
    put(&root.join("dock"), b"po.edi", &line.repeat(LINES));
    let done = gateway.wait_for("completed", 1, PATIENCE);
    let text = "10 € für café\n".repeat(LINES);
    assert_eq!(files_in(&root.join("hall")), [("po.edi".to_owned(), text.clone().into_bytes())]);
    let there = files_in(&root.join("mainframe"));
    // Of IBM1140: '€' is 9f, a line break 25.
    assert_eq!(there[0].1, b"\xf1\xf0\x40\x9f\x40\x86\xdc\x99\x40\x83\x81\x86\x51\x25".repeat(LINES));
    eventually("the source is settled", PATIENCE, || files_in(&root.join("dock")).is_empty().then_some(()));

    let id = done[0]["id"].as_str().unwrap();
    let shown = gateway.json(&["transfer", "show", id]);
    let steps = shown["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{shown}");
    assert_eq!(steps[0]["step"], "convert_charset from windows-1252 to UTF-8");
    assert_eq!(steps[0]["parent"]["sha256"], shown["sha256"]);
    assert_eq!((&steps[0]["parent"]["bytes"], &steps[0]["bytes"]), (&shown["bytes"], &text.len().into()));
    assert_eq!(steps[1]["parent"]["payload"], steps[0]["payload"]);
    let to = |name: &str| {
        shown["deliveries"].as_array().unwrap().iter().find(|one| one["destination"] == name).unwrap()["payload"].clone()
    };
    assert_eq!((to("hall"), to("mainframe")), (steps[0]["payload"].clone(), steps[1]["payload"].clone()));
    let printed = command(&gateway, &["transfer", "show", id]);
    let sha256 = |at: usize| steps[at]["sha256"].as_str().unwrap();
    for words in [
        "convert_charset from windows-1252 to UTF-8 at ",
        &format!("of {} bytes, SHA-256 {}", line.len() * LINES, shown["sha256"].as_str().unwrap()),
        &format!("made {} bytes, SHA-256 {}", text.len(), sha256(0)),
    ] {
        assert!(printed.contains(words), "{words}\n{printed}");
    }
    let page = gateway.page(&format!("/transfers/{id}"), &session);
    for words in [
        "Made by convert_charset from windows-1252 to UTF-8",
        sha256(0),
        sha256(1),
        "What convert_charset from UTF-8 to IBM1140 made",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    let flow = command(&gateway, &["flow", "show", "orders"]);
    assert!(flow.contains("does step convert_charset"), "{flow}");
    let looked = command(&gateway, &["flow", "run", "orders", "--dry-run"]);
    assert!(looked.contains("step: convert_charset from windows-1252 to UTF-8"), "{looked}");
    assert!(
        looked.contains("step for destination mainframe: convert_charset from UTF-8 to IBM1140"),
        "{looked}"
    );

    what_cannot_be_converted_is_put_aside_and_sent_when_the_flow_is_corrected(root, &mut gateway);
}

fn what_cannot_be_converted_is_put_aside_and_sent_when_the_flow_is_corrected(
    root: &Path,
    gateway: &mut Gateway,
) {
    assert!(gateway.stop().success());
    gateway.define("all.toml", &definitions(root, "UTF-8"));
    gateway.start();
    put(&root.join("dock"), b"bad.edi", b"line\ncaf\xe9 \n");
    let failed = gateway.wait_for("failed", 1, PATIENCE);
    let id = failed[0]["id"].as_str().unwrap();
    let shown = gateway.json(&["transfer", "show", id]);
    let error = shown["deliveries"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("line 2, column 4, offset 8, bytes e9") && error.contains("correct `from`"),
        "{error}"
    );
    let aside = eventually("the file and its cause", PATIENCE, || {
        let files = files_in(&root.join("bad"));
        (files.len() == 2).then_some(files)
    });
    assert!(aside.iter().any(|(_, bytes)| bytes == b"line\ncaf\xe9 \n"), "{aside:?}");
    assert!(
        aside.iter().any(|(name, bytes)| name.ends_with(".error.json")
            && String::from_utf8_lossy(bytes).contains("offset 8")),
        "{aside:?}"
    );
    assert!(!root.join("hall/bad.edi").exists() && !root.join("mainframe/bad.edi").exists());
    assert!(gateway.stop().success());
    gateway.define("all.toml", &definitions(root, "ISO-8859-1"));
    gateway.start();
    command(gateway, &["transfer", "retry", id, "--reason", "the partner writes ISO-8859-1"]);
    gateway.wait_for("completed", 2, PATIENCE);
    assert_eq!(fs::read(root.join("hall/bad.edi")).unwrap(), "line\ncafé \n".as_bytes());
    assert_eq!(
        fs::read(root.join("mainframe/bad.edi")).unwrap(),
        b"\x93\x89\x95\x85\x25\x83\x81\x86\x51\x40\x25"
    );
    assert!(gateway.stop().success());
    let said = gateway.json(&["audit", "verify", "--records"]);
    assert_eq!(said["holds"], true, "{said}");
}
