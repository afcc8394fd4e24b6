//! What a person does beside a gateway: test an endpoint, send a failed transfer again, stop and start.

use serde_json::Value;
use std::time::{Duration, Instant};
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put, random};
use suites::{eventually, run};

/// Tests an endpoint of Acme's definitions: exit code and what was said.
fn endpoint_test(pair: &Pair, name: &str) -> (i32, Value) {
    let config = pair.acme.config();
    let directory = pair.acme.directory().join("definitions");
    let (status, out, error) = run(&[
        "--config",
        config.to_str().unwrap(),
        "--output",
        "json",
        "endpoint",
        "test",
        name,
        "--definitions",
        directory.to_str().unwrap(),
    ]);
    (status.code().unwrap(), serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {error}")))
}

/// The steps of a test, of which so many failed.
fn steps(said: &Value, failed: usize) -> &[Value] {
    let steps = said["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter(|step| step["passed"] == false).count(), failed, "{said}");
    assert_eq!(said["passed"], failed == 0, "{said}");
    steps
}

#[test]
fn testing_an_endpoint_shows_each_step_and_the_one_that_fails() {
    let mut pair = Pair::new(&Terms::default());
    let (code, said) = endpoint_test(&pair, "acme-folder");
    assert_eq!((code, &said["endpoint"]), (0, &"acme-folder".into()), "{said}");
    assert!(steps(&said, 0).len() >= 2, "{said}");
    assert!(steps(&said, 0).iter().all(|step| step["role"] == "source"), "{said}");
    assert!(said.to_string().contains(pair.sshd.text("fingerprint")), "the host key is not shown: {said}");

    // The partner is away, then there.
    let (code, said) = endpoint_test(&pair, "globex-as2");
    assert_eq!((code, steps(&said, 1).is_empty()), (2, false));
    pair.globex.start();
    let (code, said) = endpoint_test(&pair, "globex-as2");
    assert_eq!((code, steps(&said, 0).is_empty()), (0, false));

    pair.sshd.command("kill", &[]);
    let (code, said) = endpoint_test(&pair, "acme-folder");
    assert_eq!((code, steps(&said, 1).is_empty()), (2, false));
    // What was tried is on record, too.
    let connections = pair.acme.connections();
    assert!(connections.iter().any(|c| c.purpose == Some(model::Purpose::Test)), "{connections:?}");
    let (config, definitions) = (pair.acme.config(), pair.acme.directory().join("definitions"));
    let test = ["--config", config.to_str().unwrap(), "endpoint", "test", "nobody"];
    let (status, _, error) = run(&[&test[..], &["--definitions", definitions.to_str().unwrap()]].concat());
    assert!(!status.success() && error.contains("nobody"), "{error}");
    // A test stores no revision: without a directory there is nothing in the database to look in.
    let (status, _, error) = run(&test);
    assert!(!status.success() && error.contains("--definitions"), "{error}");
    // A test that could not begin leaves no journal behind.
    let state = pair.acme.directory().join("state");
    let names =
        std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("journal-")).collect();
    assert!(left.is_empty(), "{left:?}");
    // For people, the role is said as well.
    let (_, out, _) =
        run(&[&test[..4], &["globex-as2", "--definitions", definitions.to_str().unwrap()]].concat());
    assert!(out.contains("globex-as2 as a destination:"), "{out}");
}

#[test]
fn a_command_that_cannot_run_ends_with_1_and_help_with_0() {
    for (arguments, code) in [
        (&["--help"] as &[&str], 0),
        (&["--version"], 0),
        (&["help", "audit"], 0),
        (&["audit", "verify", "--help"], 0),
        (&[], 1),
        (&["nonsense"], 1),
        (&["transfer", "list", "--limit", "none"], 1),
        (&["transfer", "show", "no-id"], 1),
        (&["as2", "pack"], 1),
        (&["audit", "verify", "--expect", "17"], 1),
    ] {
        let (status, out, error) = run(arguments);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {out} {error}");
        assert_eq!((out.is_empty(), error.is_empty()), (code == 1, code == 0), "{arguments:?}");
    }
}

#[test]
fn a_failed_transfer_is_sent_again_by_a_person() {
    let mut pair =
        Pair::new(&Terms { retry: r#"attempts = 1, first = "1s", longest = "1s""#, ..Terms::default() });
    put(&pair.folder(), b"again.edi", b"once more");
    pair.acme.start();
    let failed = pair.acme.wait_for("failed", 1, PATIENCE);
    let id = failed[0]["id"].as_str().unwrap();
    pair.globex.start();
    let said = pair.acme.json(&["transfer", "retry", id]);
    assert_eq!((&said["done"], &said["transfers"][0]["deliveries"]), (&1.into(), &1.into()), "{said}");
    pair.acme.wait_for("completed", 1, PATIENCE);
    assert_eq!(pair.wait_for_files(1), [("again.edi".to_owned(), b"once more".to_vec())]);
    let shown = pair.acme.json(&["transfer", "show", id]);
    assert_eq!(shown["deliveries"][0]["attempts"].as_array().unwrap().len(), 2, "{shown}");
    // Who did it is on record.
    let event = &events(&pair.acme, "delivery.requeued")[0];
    assert!(
        event["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:")) || event["actor"].is_object(),
        "{event}"
    );
    // A transfer that is completed has nothing to send again.
    let (status, out, error) =
        run(&["--config", pair.acme.config().to_str().unwrap(), "transfer", "retry", id]);
    assert_eq!(status.code(), Some(2), "{out} {error}");
    assert!(out.is_empty() && error.contains("none of its deliveries has failed"), "{out} {error}");
}

#[test]
fn a_gateway_that_is_told_to_stop_ends_in_order_and_goes_on_later() {
    let mut pair = Pair::new(&Terms::default());
    pair.start();
    let samples: Vec<(String, Vec<u8>)> =
        (0..20).map(|n| (format!("{n:02}.bin"), random(2_000_000))).collect();
    for (name, bytes) in &samples {
        put(&pair.folder(), name.as_bytes(), bytes);
    }
    eventually("some have arrived", PATIENCE, || (!files_in(&pair.warehouse()).is_empty()).then_some(()));
    let begun = Instant::now();
    assert!(pair.acme.stop().success(), "{}", pair.acme.log());
    assert!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
    assert!(events(&pair.acme, "node.stopped").len() == 1);
    assert!(pair.acme.connections().iter().all(|connection| connection.closed_at.is_some()));
    pair.acme.start();
    let arrived = pair.wait_for_files(samples.len());
    assert!(
        arrived == samples,
        "other files arrived: {:?}",
        arrived.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    assert_eq!(pair.acme.wait_for("completed", samples.len(), PATIENCE).len(), samples.len());
    assert_eq!(pair.acme.json(&["audit", "verify"])["holds"], true);
}

/// A name as a partner might choose it: what follows the name looks like the next field of a line.
const ODD: &str = "a b flow=other actor=cli:root, \"x\".edi";

#[test]
fn file_names_are_quoted_in_logs_and_lists() {
    let mut pair = Pair::new(&Terms::default());
    put(&pair.folder(), ODD.as_bytes(), b"an order");
    put(&pair.folder(), b"plain.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 2, PATIENCE);
    assert!(pair.acme.stop().success());
    let quoted = r#""a b flow=other actor=cli:root, \"x\".edi""#;
    let log = pair.acme.log();
    assert!(log.contains(&format!("file={quoted}")), "{log}");
    assert!(log.contains("file=plain.edi"), "{log}");
    let config = pair.acme.config();
    let say = |command: &[&str]| {
        let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], command].concat());
        assert!(status.success(), "{out} {error}");
        out
    };
    let list = say(&["transfer", "list"]);
    assert!(list.contains(quoted) && list.contains("  plain.edi\n"), "{list}");
    let events = say(&["audit", "search"]);
    assert!(events.contains(&format!("={quoted}")) && !events.contains("=a b"), "{events}");
    let ids = pair.acme.json(&["transfer", "list"]);
    for transfer in ids.as_array().unwrap() {
        let shown = say(&["transfer", "show", transfer["id"].as_str().unwrap()]);
        let name = if transfer["file_name"] == "plain.edi" { "plain.edi" } else { quoted };
        assert!(shown.starts_with(&format!("{name}  completed  ")), "{shown}");
    }
    // Programs read the name itself.
    assert!(ids.as_array().unwrap().iter().any(|transfer| transfer["file_name"] == ODD), "{ids}");
}

/// Runs a command whose reader leaves after a few bytes: exit code and what went to standard error.
fn left_early(arguments: &[&str]) -> (i32, String) {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let mut command = Command::new(suites::waybill());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut begun = [0];
    child.stdout.take().unwrap().read_exact(&mut begun).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let mut pair = Pair::new(&Terms::default());
    for number in 0..40 {
        put(&pair.folder(), format!("{number}.edi").as_bytes(), b"an order");
    }
    pair.start();
    pair.acme.wait_for("completed", 40, PATIENCE);
    assert!(pair.acme.stop().success());
    // More than a pipe holds, so that writing goes on after the reader left.
    let mut many = String::new();
    for number in 0..3000 {
        many.push_str(&format!("[flow.f{number}]\nsorce = {}\n", "x".repeat(300)));
    }
    let broken = pair.root.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("x.toml"), many).unwrap();
    let (config, broken) = (pair.acme.config(), broken.display().to_string());
    let config = ["--config", config.to_str().unwrap()];
    for (command, codes) in [
        (&["audit", "search", "--limit", "1000"][..], &[0][..]),
        (&["--output", "json", "audit", "search", "--limit", "1000"], &[0]),
        (&["--output", "json", "transfer", "list", "--limit", "1000"], &[0]),
        (&["audit", "export-seals"], &[0]),
        (&["reference"], &[0]),
        // Their codes say what they found, whoever reads.
        (&["--output", "json", "validate", "--definitions", &broken], &[2]),
        (&["audit", "verify"], &[0, 141]),
    ] {
        let (code, error) = left_early(&[&config[..], command].concat());
        assert!(codes.contains(&code), "{command:?}: {code} {error}");
        assert!(!error.contains("write the result") && !error.contains("panicked"), "{command:?}: {error}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(suites::waybill())
        .args(config)
        .args(["audit", "search"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("could not write the result"), "{error}");
}

#[test]
fn a_wrong_name_is_answered_with_the_nearest_and_how_to_list_all() {
    let pair = Pair::new(&Terms::default());
    let mut many = String::new();
    for number in 0..300 {
        many.push_str(&format!(
            "[endpoint.folder-{number}]\ntransport = \"file\"\nurl = \"file://{}/{number}\"\n",
            pair.root.path().display()
        ));
    }
    pair.acme.define("many.toml", &many);
    let (config, directory) = (pair.acme.config(), pair.acme.directory().join("definitions"));
    let say = |command: &[&str]| {
        let definitions = ["--definitions", directory.to_str().unwrap()];
        let (status, out, error) =
            run(&[&["--config", config.to_str().unwrap()], command, &definitions].concat());
        (status.code().unwrap(), out, error)
    };
    let (code, out, error) = say(&["endpoint", "test", "NOPE"]);
    assert!(code == 1 && out.is_empty() && error.len() < 300, "{code} {out} {error}");
    assert!(error.contains("`waybill endpoint list` shows all 302"), "{error}");
    let (_, _, error) = say(&["endpoint", "test", "acme-foldr"]);
    assert!(error.contains("did you mean 'acme-folder'") && error.len() < 400, "{error}");
    let (code, out, error) = say(&["endpoint", "list"]);
    assert_eq!((code, out.lines().count()), (0, 303), "{out} {error}");
    assert!(out.contains("orders (source)") && out.contains("orders (destination)"), "{out}");
}

#[test]
fn validate_tells_a_mistake_made_a_thousand_times_a_few_times() {
    let pair = Pair::new(&Terms::default());
    let mut many = String::new();
    for number in 0..1022 {
        many.push_str(&format!("[certificate.p{number}]\npem = \"${{file:/etc/keys/{number}.pem}}\"\n"));
    }
    pair.acme.define("many.toml", &many);
    let (config, directory) = (pair.acme.config(), pair.acme.directory().join("definitions"));
    let say = |output: &str| {
        let (config, directory) = (config.to_str().unwrap(), directory.to_str().unwrap());
        run(&["--config", config, "--output", output, "validate", "--definitions", directory])
    };
    let (status, out, _) = say("text");
    assert!(status.code() == Some(2) && out.lines().count() < 12, "{out}");
    assert!(out.contains("… and 1017 more errors like this: certificate.*.pem: "), "{out}");
    assert!(out.contains("1022 errors"), "{out}");
    let (_, out, _) = say("json");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        said["problems"].as_array().unwrap().len(),
        1022 + said["warnings"].as_u64().unwrap() as usize
    );
}
