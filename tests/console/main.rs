//! The console in a real browser: Chromium, driven by the scripts beside this file, before gateways that
//! move real files. Pictures of the pages are left in `target/tmp/console`.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::pair::{PATIENCE, Pair, Terms, put, random};
use suites::{Gateway, GatewayBuilder, eventually, free_port, repository};

#[test]
fn a_new_gateway_lets_its_first_user_in_and_says_what_will_be_there() {
    let root = tempfile::tempdir().unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "new").build();
    gateway.start();
    browse("first_start.mjs", &gateway, json!({}));
}

#[test]
fn every_page_shows_real_transfers() {
    let pair = busy_pair();
    let more = json!({ "globex": first_start(&pair.globex) });
    browse("pages.mjs", &pair.acme, more);
}

#[test]
fn filters_find_and_pages_keep_themselves_current() {
    let pair = busy_pair();
    let more = json!({ "folder": pair.folder() });
    browse("working.mjs", &pair.acme, more);
}

#[test]
fn a_host_key_that_a_server_showed_is_compared_and_added() {
    let mut pair = Pair::new(&Terms::default());
    let document = pair.acme_document(&Terms::default());
    let listed: String = document
        .lines()
        .filter(|line| !line.starts_with("host_key"))
        .map(|line| format!("{line}\n"))
        .collect();
    pair.acme.define("acme.toml", &listed);
    put(&pair.folder(), b"850_1.edi", &random(700));
    pair.start();
    pair.wait_for_event("poll.failed", "orders");
    let another = suites::Server::start("sshd", &[]);
    let more = json!({
        "fingerprint": pair.sshd.text("fingerprint"),
        "key": pair.sshd.info["host_keys"]["ed25519"]["public"],
        "another": another.info["host_keys"]["ed25519"]["public"],
    });
    browse("known_hosts.mjs", &pair.acme, more);
    pair.acme.wait_for("completed", 1, PATIENCE);
}

#[test]
fn the_first_link_leads_where_people_reach_the_console() {
    let root = tempfile::tempdir().unwrap();
    let url = "https://waybill.acme.example";
    let mut gateway =
        GatewayBuilder::new(root.path(), "behind").variable("WAYBILL__LISTEN__CONSOLE_URL", url).build();
    gateway.start();
    eventually("the link is in the log", PATIENCE, || {
        gateway.log().contains(&format!("link={url}/setup/")).then_some(())
    });
    assert!(gateway.log().contains(&format!("console={url}/")), "{}", gateway.log());
}

/// Acme and Globex, with transfers in every state that one can look at: delivered, failed, partly failed,
/// to be tried again.
fn busy_pair() -> Pair {
    let mut pair = Pair::new(&Terms::default());
    let document = unreachable_partner(pair.root.path());
    pair.acme.define("more.toml", &document);
    let folder = pair.folder();
    let names = ["850_41207.edi", "Bestellung Größe & <b>fett.edi", "with 'quotes' \"and\" spaces.x12"];
    for (place, name) in names.iter().enumerate() {
        put(&folder, name.as_bytes(), &random(700 * (place + 1) * (place + 1)));
    }
    put(&folder, format!("{}.csv", "A-NAME-THAT-MWMW-THOUGHT-USEFUL-@@-".repeat(5)).as_bytes(), b"1;2\n");
    put(&folder, b"caf\xe9 \xe2\x80\xaefdp.exe\x1b[2J.edi", b"UNA:+.? '");
    let source = |name: &str| pair.root.path().join("out").join(name);
    for (flow, file) in [("invoices", "810_1.inv"), ("statements", "STMT_9.xml"), ("copies", "both.edi")] {
        std::fs::create_dir_all(source(flow)).unwrap();
        put(&source(flow), file.as_bytes(), file.as_bytes());
    }
    pair.start();
    pair.acme.wait_for("completed", 5, PATIENCE);
    pair.acme.wait_for("failed", 1, PATIENCE);
    pair.acme.wait_for("partly_failed", 1, PATIENCE);
    pair.wait_for_event("delivery.retrying", "statements");
    pair
}

/// Flows to a partner that does not listen: one gives up at once, one tries again after an hour, and one
/// delivers to a folder besides.
fn unreachable_partner(root: &Path) -> String {
    let mut document = format!(
        "[endpoint.initech-as2]\ntransport = \"as2\"\npartner = \"globex\"\nidentity = \"acme\"\n\
         url = \"http://127.0.0.1:{}/as2\"\n\
         [endpoint.archive]\ntransport = \"file\"\nurl = \"file://{}\"\n",
        free_port(),
        root.join("archive").display()
    );
    std::fs::create_dir_all(root.join("archive")).unwrap();
    let destinations = |attempts: u32, first: &str| {
        format!(
            "endpoint = \"initech-as2\"\nretry = {{ attempts = {attempts}, first = \"{first}\", longest = \"1h\" }}\n"
        )
    };
    for (flow, attempts, first, besides) in [
        ("invoices", 1, "1s", ""),
        ("statements", 9, "1h", ""),
        ("copies", 1, "1s", "[[flow.copies.destination]]\nendpoint = \"archive\"\n"),
    ] {
        let folder = root.join("out").join(flow);
        document.push_str(&format!(
            "[endpoint.{flow}-out]\ntransport = \"file\"\nurl = \"file://{folder}\"\n\
             [flow.{flow}]\nsource = {{ endpoint = \"{flow}-out\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
             after = \"delete\", error_directory = \"{folder}-bad\" }}\n\
             [[flow.{flow}.destination]]\n{}{besides}",
            destinations(attempts, first),
            folder = folder.display(),
        ));
    }
    document
}

/// The one-time link in a gateway's log.
fn first_start(gateway: &Gateway) -> String {
    eventually("the first start's link is in the log", Duration::from_secs(30), || {
        let log = gateway.log();
        let (_, rest) = log.split_once("/setup/")?;
        let token: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
        Some(format!("http://127.0.0.1:{}/setup/{token}", gateway.console))
    })
}

/// Runs a script of this directory before a gateway's console.
fn browse(script: &str, gateway: &Gateway, more: Value) {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut told = json!({
        "base": format!("http://127.0.0.1:{}", gateway.console),
        "link": first_start(gateway),
        "pictures": pictures,
        "packages": repository().join("target/servers/node"),
    });
    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let output = Command::new("node")
        .arg("--test-reporter=spec")
        .arg(repository().join("tests/console").join(script))
        .env("WAYBILL_CONSOLE", told.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("node runs the browser suite; tests/servers/prepare.sh installs it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}: {}\n{said}\n--- the gateway's log\n{}",
        output.status,
        gateway.log()
    );
    println!("{said}");
}
