//! Definitions that move from a test gateway to a production gateway.

use std::fs;
use std::path::Path;
use suites::{Gateway, GatewayBuilder, run};

fn gateway(root: &Path, name: &str) -> Gateway {
    let own = root.join(name);
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("password"), format!("the password of {name}\n")).unwrap();
    GatewayBuilder::new(root, name).build()
}

fn command(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out + &error)
}

/// An endpoint with a login, and a flow that polls it.
fn documents(root: &Path, name: &str, user: &str, credential: &str, every: &str) -> String {
    let own = root.join(name).display().to_string();
    format!(
        "[credential.{credential}]\nusername = \"{user}\"\npassword = \"${{file:{own}/password}}\"\n\
         [endpoint.acme]\ntransport = \"sftp\"\nurl = \"sftp://acme.example/out\"\ncredential = \"{credential}\"\n\
         node = \"{name}\"\nhost_key = \"SHA256:{key}\"\ntimeout = \"20s\"\n\
         [endpoint.out]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
         [flow.orders]\nsource = {{ endpoint = \"acme\", every = \"{every}\", after = {{ archive = \"done-{name}\" }} }}\n\
         [[flow.orders.destination]]\nendpoint = \"out\"\n",
        key = "A".repeat(43),
        root = root.display(),
    )
}

#[test]
fn an_import_keeps_the_targets_logins_and_takes_the_environments_values() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (test, production) = (gateway(root, "test"), gateway(root, "production"));
    let (from, there, export) = (root.join("from"), root.join("there"), root.join("export"));
    for directory in [&from, &there] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(from.join("all.toml"), documents(root, "test", "tester", "acme-test", "30s")).unwrap();
    fs::write(there.join("all.toml"), documents(root, "production", "waybill", "acme", "60s")).unwrap();
    let (code, text) = command(&test, &["apply", from.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = command(&production, &["apply", there.to_str().unwrap(), "--origin", "edi"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = command(&test, &["export", export.to_str().unwrap(), "--object", "flow.orders"]);
    assert_eq!(code, 0, "{text}");

    // The overlay may say where this environment archives and which node polls, and nothing else.
    let overlay = root.join("overlay.toml");
    let overlay_path = overlay.to_str().unwrap();
    let import = [
        "apply",
        export.to_str().unwrap(),
        "--origin",
        "edi",
        "--keep-credentials",
        "--overlay",
        overlay_path,
    ];
    fs::write(&overlay, "[flow.orders]\nretention = \"1d\"\n[endpoint.none]\nnode = \"x\"\n").unwrap();
    let (code, text) = command(&production, &import);
    assert!(
        code == 2 && text.contains("conflict: flow.orders.retention: an overlay may not set this field"),
        "{text}"
    );
    assert!(text.contains("conflict: endpoint.none: the overlay names it"), "{text}");
    fs::write(
        &overlay,
        "[endpoint.acme]\nnode = \"production\"\n[flow.orders.source.after]\narchive = \"done-production\"\n",
    )
    .unwrap();
    let (code, text) = command(&production, &[&["plan"], &import[1..]].concat());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("source.every: \"60s\" -> \"30s\""), "{text}");
    for kept in ["tester", "acme-test", "credential: ", "node: ", "archive: ", "- credential"] {
        assert!(!text.contains(kept), "{kept} should stay: {text}");
    }
    assert!(text.contains("endpoint.acme: keeps its login of this gateway: credential"), "{text}");
    let (code, text) = command(&production, &import);
    assert_eq!(code, 0, "{text}");
    // Applied once, there is nothing left to do; and the next export says what is in force.
    let (code, text) = command(&production, &[&["plan"], &import[1..]].concat());
    assert_eq!(code, 0, "{text}");
    let back = root.join("back");
    let (code, text) = command(&production, &["export", back.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    let all: String =
        fs::read_dir(&back).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(
        all.contains("[credential.acme]") && !all.contains("acme-test") && !all.contains("tester"),
        "{all}"
    );
    let (code, text) = command(&production, &["plan", back.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_login_that_is_not_there_is_a_conflict_that_is_listed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let production = gateway(root, "production");
    let from = root.join("from");
    fs::create_dir(&from).unwrap();
    let text = documents(root, "production", "u", "acme", "30s");
    let without =
        text.split_once("[endpoint.acme]").map(|(_, rest)| format!("[endpoint.acme]{rest}")).unwrap();
    fs::write(from.join("all.toml"), without).unwrap();
    let (code, text) = command(&production, &["apply", from.to_str().unwrap(), "--keep-credentials"]);
    assert!(
        code == 2 && text.contains("conflict: endpoint.acme.credential: refers to credential 'acme'"),
        "{text}"
    );
    // Nothing is in force until it is there.
    let (_, text) = command(&production, &["revisions"]);
    assert!(text.contains("no revision yet"), "{text}");
    let login = "[credential.acme]\nusername = \"u\"\npassword = { kept = true }\n";
    fs::write(from.join("login.toml"), login).unwrap();
    let (code, text) = command(&production, &["apply", from.to_str().unwrap(), "--keep-credentials"]);
    assert!(code == 2 && text.contains("no secret is stored for this field"), "{text}");
}
