//! Files and test messages that a person sends at the command line, delivered by the running gateway, between two gateways; on
//! both databases.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use suites::pair::{PATIENCE, Pair, Terms, events, random};
use suites::{eventually, fresh_database};

/// Both gateways, running, without the polled folder: nothing moves but what is sent.
fn pair(database: Option<&str>) -> Pair {
    let mut pair = Pair::new(&Terms { database, ..Terms::default() });
    pair.start();
    pair
}

fn file(pair: &Pair, name: &str, bytes: &[u8]) -> PathBuf {
    let path = pair.root.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// How many files are in Acme's staging, finished or not.
fn staged(pair: &Pair) -> usize {
    fn count(directory: &std::path::Path) -> usize {
        let entries = fs::read_dir(directory).into_iter().flatten().map(Result::unwrap);
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    let directory = pair.acme.directory().join("state/staging");
    count(&directory.join("payloads")) + count(&directory.join("partial"))
}

fn a_file_is_sent_and_followed_until_its_receipt(database: Option<&str>) {
    let pair = pair(database);
    let bytes = random(300_000);
    let path = file(&pair, "order 7.edi", &bytes);
    let path = path.to_str().unwrap();
    let (code, out, error) = pair.command(&[
        "as2",
        "send",
        path,
        "--partner",
        "globex",
        "--name",
        "850_7.edi",
        "--subject",
        "Orders {7} for März",
        "--media-type",
        "application/x-orders",
        "--reason",
        "asked for by telephone",
    ]);
    assert_eq!(code, 0, "{out} {error}");
    assert!(out.contains("850_7.edi (292.9 KiB) is recorded as transfer "), "{out}");
    assert!(out.contains("delivered: automatic-action/MDN-sent-automatically; processed"), "{out}");
    assert_eq!(pair.wait_for_files(1), [("850_7.edi".to_owned(), bytes)]);
    // What was chosen for the message came with it.
    let received = pair.globex.wait_for("completed", 1, PATIENCE);
    let shown = pair.globex.json(&["transfer", "show", received[0]["id"].as_str().unwrap()]);
    assert_eq!(shown["metadata"]["as2_subject"], "Orders {7} for März", "{shown}");
    assert_eq!(shown["media_type"], "application/x-orders", "{shown}");
    // It is a transfer like others, by the person.
    let sent = pair.acme.wait_for("completed", 1, PATIENCE);
    assert_eq!((&sent[0]["kind"], &sent[0]["partner"]), (&"by_hand".into(), &"globex".into()));
    assert_eq!(sent[0]["flow"], "endpoint:globex-as2");
    let recorded = events(&pair.acme, "transfer.recorded");
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert!(recorded[0]["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:")), "{recorded:?}");
    assert_eq!(recorded[0]["detail"]["reason"], "asked for by telephone", "{recorded:?}");
    let (code, out, error) = pair.command(&["audit", "verify", "--records"]);
    assert_eq!(code, 0, "{out} {error}");
    // There is no flow to send it through again.
    let (code, _, error) = pair.command(&["transfer", "resubmit", sent[0]["id"].as_str().unwrap()]);
    assert!(code == 2 && error.contains("sent by hand"), "{code} {error}");
}

#[test]
fn a_file_is_sent_and_followed_until_its_receipt_on_sqlite() {
    a_file_is_sent_and_followed_until_its_receipt(None);
}

#[test]
fn a_file_is_sent_and_followed_until_its_receipt_on_postgres() {
    a_file_is_sent_and_followed_until_its_receipt(Some(&fresh_database("as2_send")));
}

#[test]
fn a_request_that_is_repeated_sends_nothing_twice_and_results_are_for_programs_too() {
    let pair = pair(None);
    let path = file(&pair, "a.edi", b"an order");
    let path = path.to_str().unwrap();
    let request = "0192f7a0-0000-7000-8000-0000000000a1";
    let send = ["as2", "send", path, "--partner", "globex", "--request", request];
    let (code, out, error) = pair.command(&[&send[..], &["--no-wait"]].concat());
    assert!(code == 0 && out.contains(request), "{out} {error}");
    pair.acme.wait_for("completed", 1, PATIENCE);
    let said = pair.acme.json(&send);
    assert_eq!((&said["transfer"], &said["recorded"]), (&request.into(), &false.into()), "{said}");
    assert_eq!(
        (&said["state"], &said["receipt"]["detail"]["mic_matched"]),
        (&"delivered".into(), &true.into())
    );
    assert_eq!(pair.wait_for_files(1).len(), 1);
    assert_eq!(events(&pair.acme, "transfer.recorded").len(), 1);
    // Another file under the same request is refused, also one of the same name and length.
    for (name, bytes) in [("b.edi", b"an order"), ("a.edi", b"no order")] {
        let other = file(&pair, name, bytes);
        let other = other.to_str().unwrap();
        let (code, _, error) =
            pair.command(&["as2", "send", other, "--partner", "globex", "--request", request]);
        assert!(code == 1 && error.contains("this request sent another file"), "{name}: {code} {error}");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is_staged() {
    let pair = pair(None);
    let path = file(&pair, "a.edi", b"an order");
    let path = path.to_str().unwrap();
    let before = staged(&pair);
    for (arguments, words) in [
        (&["as2", "send", path, "--partner", "globx"][..], "did you mean 'globex'?"),
        (&["as2", "send", path, "--endpoint", "acme-folder"][..], "another transport"),
        (&["as2", "send", path, "--partner", "globex", "--name", "in/a.edi"][..], "without slashes"),
        (&["as2", "send", "/no/such/file", "--partner", "globex"][..], "open the file"),
        (&["as2", "send", "/", "--partner", "globex", "--name", "x"][..], "name a file"),
        (&["as2", "ping", "initech"][..], "no partner has this name"),
    ] {
        let (code, out, error) = pair.command(arguments);
        assert!(code == 1 && error.contains(words), "{arguments:?}: {code} {out} {error}");
    }
    let (code, ..) = pair.command(&["endpoint", "offline", "globex-as2", "--reason", "the partner moves"]);
    assert_eq!(code, 0);
    let (code, _, error) = pair.command(&["as2", "send", path, "--partner", "globex"]);
    assert!(code == 1 && error.contains("`waybill endpoint online globex-as2`"), "{code} {error}");
    assert_eq!(staged(&pair), before);
    assert!(pair.acme.json(&["transfer", "list"]).as_array().unwrap().is_empty());
}

#[test]
fn a_command_that_is_killed_while_it_copies_leaves_nothing_recorded() {
    let pair = pair(None);
    let path = pair.root.path().join("large.bin");
    // Sparse: it takes no room, and some time to be read.
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let mut command = Command::new(suites::waybill());
    command.args(["--config", pair.acme.config().to_str().unwrap(), "as2", "send", path.to_str().unwrap()]);
    let before = staged(&pair);
    let mut child =
        command.args(["--partner", "globex"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the copy has begun", PATIENCE, || (staged(&pair) > before).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(pair.acme.json(&["transfer", "list"]).as_array().unwrap().is_empty());
    assert!(events(&pair.acme, "transfer.recorded").is_empty());
    // What is sent next goes as usual.
    let small = file(&pair, "a.edi", b"an order");
    let (code, out, error) = pair.command(&["as2", "send", small.to_str().unwrap(), "--partner", "globex"]);
    assert_eq!(code, 0, "{out} {error}");
}

fn steps(said: &Value) -> Vec<String> {
    let steps = said["way"]["steps"].as_array().unwrap();
    let words =
        |step: &Value| format!("{} {}", step["step"].as_str().unwrap(), step["standing"].as_str().unwrap());
    steps.iter().map(words).collect()
}

fn a_test_message_is_explained_step_by_step(database: Option<&str>) {
    let mut pair = pair(database);
    let (code, out, error) = pair.command(&["as2", "ping", "globex"]);
    assert_eq!(code, 0, "{out} {error}");
    for step in ["name", "tcp", "status", "receipt", "signature", "mic"] {
        let line = out.lines().find(|line| line.trim_start().starts_with(step)).unwrap_or_default();
        assert!(line.contains(" ok "), "{step}: {out}");
    }
    assert!(out.contains("HTTP status 200") && out.contains("globex has the test message"), "{out}");
    let found = pair.wait_for_files(1);
    let (name, content) = &found[0];
    assert!(name.starts_with("waybill-test-") && name.ends_with(".txt"), "{name}");
    assert!(content.starts_with(b"This is a TEST message of Waybill."), "{content:?}");
    let received = pair.globex.wait_for("completed", 1, PATIENCE);
    let shown = pair.globex.json(&["transfer", "show", received[0]["id"].as_str().unwrap()]);
    assert_eq!(shown["metadata"]["as2_subject"], "Waybill test message, please do not process");

    // Nothing listens there: tried once, and said where it failed.
    assert!(pair.globex.stop().success());
    let config = pair.acme.config();
    let (status, out, _) =
        suites::run(&["--config", config.to_str().unwrap(), "--output", "json", "as2", "ping", "globex"]);
    assert_eq!(status.code(), Some(2), "{out}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(steps(&said)[..3], ["name passed", "tcp failed", "status not_reached"], "{said}");
    assert_eq!((&said["way"]["state"], &said["way"]["passed"]), (&"failed".into(), &false.into()));
    assert!(
        said["way"]["steps"][1]["advice"].as_str().is_some_and(|words| words.contains("firewall")),
        "{said}"
    );
    let (code, out, _) = pair.command(&["as2", "ping", "globex"]);
    assert!(code == 2 && out.contains("what to do:") && out.contains("it is not tried again"), "{out}");
}

#[test]
fn a_test_message_is_explained_step_by_step_on_sqlite() {
    a_test_message_is_explained_step_by_step(None);
}

#[test]
fn a_test_message_is_explained_step_by_step_on_postgres() {
    a_test_message_is_explained_step_by_step(Some(&fresh_database("as2_ping")));
}

/// The partner has another certificate of ours, and we another one of it.
#[test]
fn keys_that_do_not_fit_are_named_on_both_sides_with_what_to_tell_the_partner() {
    let mut pair = Pair::new(&Terms::default());
    let keys = pair.root.path().join("keys");
    suites::KeyPair::make(&keys, "old");
    let text = fs::read_to_string(pair.globex.directory().join("definitions/globex.toml"));
    let text = text.unwrap_or_else(|_| String::new());
    assert!(text.contains("acme.cert.pem"), "the definitions of a gateway are elsewhere now: {text}");
    pair.globex.define("globex.toml", &text.replace("acme.cert.pem", "old.cert.pem"));
    pair.start();
    let (code, out, error) = pair.command(&["as2", "ping", "globex"]);
    assert_eq!(code, 2, "{out} {error}");
    assert!(
        out.contains("receipt") && out.contains("FAILED") && out.contains("authentication-failed"),
        "{out}"
    );
    assert!(
        out.contains("to tell the partner: Your system could not verify the signature of our AS2 message"),
        "{out}"
    );
    let refused = eventually("globex refused it", PATIENCE, || events(&pair.globex, "message.refused").pop());
    let detail = &refused["detail"];
    assert!(
        detail["tell_partner"]
            .as_str()
            .is_some_and(|words| words.contains("a certificate that we do not accept from you")),
        "{refused}"
    );
    // Nothing of it is in the answer to the sender.
    let failed = events(&pair.acme, "delivery.failed");
    assert!(!failed[0]["detail"]["error"].to_string().contains("do not accept from you"), "{failed:?}");
}

#[test]
fn presets_are_definitions_that_can_be_used() {
    let root = tempfile::tempdir().unwrap();
    let (status, out, _) = suites::run(&["as2", "preset"]);
    assert!(status.success() && out.contains("mendelson") && out.contains("libas2"), "{out}");
    let (status, out, _) = suites::run(&["as2", "preset", "old", "--name", "globex"]);
    assert!(status.success() && out.contains("[partner.globex.as2]"), "{out}");
    suites::KeyPair::make(root.path(), "globex");
    let certificate = format!(
        "[certificate.globex]\npem = \"${{file:{}}}\"\n",
        root.path().join("globex.cert.pem").display()
    );
    let directory = root.path().join("definitions");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("globex.toml"), format!("{out}{certificate}")).unwrap();
    let settings = root.path().join("waybill.toml");
    fs::write(&settings, format!("[roots]\nsecrets = [\"{}\"]\n", root.path().display())).unwrap();
    let (status, out, error) = suites::run(&[
        "--config",
        settings.to_str().unwrap(),
        "validate",
        "--definitions",
        directory.to_str().unwrap(),
    ]);
    assert!(status.success(), "{out} {error}");
    let (status, _, error) = suites::run(&["as2", "preset", "mendelsson"]);
    assert!(status.code() == Some(1) && error.contains("did you mean 'mendelson'?"), "{error}");
}
