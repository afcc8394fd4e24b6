//! What an operator does to flows and endpoints beside a running gateway: pause, resume, offline, online.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::pair::{Pair, Terms, events};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(30);
/// Several polls of a flow that is polled each second.
const SOME_POLLS: Duration = Duration::from_secs(4);

struct World {
    root: tempfile::TempDir,
    gateway: Gateway,
}

fn flow(root: &Path) -> String {
    let root = root.display();
    format!(
        "[endpoint.dock]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
         [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
         [flow.orders]\nordered = true\n\
         source = {{ endpoint = \"dock\", mask = \"*\", every = \"1s\", stable_for = \"0s\", after = \"delete\", \
         order = \"name\", error_directory = \"{root}/bad\" }}\n\
         [[flow.orders.destination]]\nendpoint = \"warehouse\"\n"
    )
}

fn world(database: Option<&str>) -> World {
    let root = tempfile::tempdir().unwrap();
    for name in ["in", "out", "bad"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root.path(), "n1").database(database).build();
    gateway.define("flow.toml", &flow(root.path()));
    gateway.start();
    World { root, gateway }
}

fn waybill(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out + &error)
}

/// Waits until a gateway's own numbers say so, or say so no more.
fn follows(gateway: &Gateway, line: &str, is_there: bool) {
    eventually(&format!("{line}: {is_there}\n{}", gateway.log()), PATIENCE, || {
        (gateway.metrics().contains(line) == is_there).then_some(())
    });
}

const PAUSED: &str = "waybill_flow_paused{flow=\"orders\"} 1";
const OFFLINE: &str = "waybill_endpoint_set_offline{endpoint=\"warehouse\"} 1";

impl World {
    fn put(&self, name: &str) {
        fs::write(self.root.path().join("in").join(name), name).unwrap();
    }

    fn out(&self, name: &str) -> PathBuf {
        self.root.path().join("out").join(name)
    }

    fn arrives(&self, name: &str) {
        let path = self.out(name);
        eventually(&format!("{name}\n{}", self.gateway.log()), PATIENCE, || path.is_file().then_some(()));
    }

    /// Waits until the poll at the start is over: a run comes after it.
    fn was_polled(&self) {
        let ran = self.gateway.json(&["flow", "run", "orders"]);
        assert_eq!((&ran["outcome"], &ran["report"]["taken"]), (&"polled".into(), &0.into()), "{ran}");
    }

    fn stays(&self, name: &str) {
        std::thread::sleep(SOME_POLLS);
        assert!(self.root.path().join("in").join(name).is_file(), "{}", self.gateway.log());
    }
}

#[test]
fn a_flow_is_paused_and_resumed_on_sqlite() {
    a_flow_is_paused_and_resumed(None);
}

#[test]
fn a_flow_is_paused_and_resumed_on_postgres() {
    a_flow_is_paused_and_resumed(Some(&fresh_database("paused")));
}

fn a_flow_is_paused_and_resumed(database: Option<&str>) {
    let mut world = world(database);
    world.put("1");
    world.arrives("1");
    let (code, text) = waybill(&world.gateway, &["flow", "pause", "orders"]);
    assert!(code == 1 && text.contains("--reason"), "{code} {text}");
    let (code, text) = waybill(&world.gateway, &["flow", "pause", "orders", "--reason", "the partner moves"]);
    assert!(code == 0 && text.contains("flow orders is paused"), "{code} {text}");
    follows(&world.gateway, PAUSED, true);
    world.put("2");
    world.stays("2");
    let (code, text) = waybill(&world.gateway, &["flow", "pause", "orders", "--reason", "again"]);
    assert!(code == 1 && text.contains("the partner moves"), "{code} {text}");
    let list = world.gateway.json(&["flow", "list"]);
    assert_eq!(list[0]["paused"]["reason"], "the partner moves", "{list}");

    // Killed and started again, with a directory of definitions that is applied again: it stays paused.
    world.gateway.kill();
    let (_, text) = waybill(&world.gateway, &["flow", "show", "orders"]);
    assert!(text.contains("state: paused by "), "while no gateway runs: {text}");
    let changed = flow(world.root.path()).replace("ordered = true\n", "ordered = true\ntitle = \"Orders\"\n");
    world.gateway.define("flow.toml", &changed);
    world.gateway.start();
    follows(&world.gateway, PAUSED, true);
    world.stays("2");
    let (code, text) = waybill(&world.gateway, &["flow", "resume", "orders"]);
    assert!(code == 0 && text.contains("flow orders is resumed; it had been paused by "), "{code} {text}");
    world.arrives("2");
    follows(&world.gateway, PAUSED, false);
    let (code, text) = waybill(&world.gateway, &["flow", "resume", "orders"]);
    assert!(code == 1 && text.contains("it is not paused"), "{code} {text}");

    let paused = events(&world.gateway, "flow.paused");
    assert_eq!(paused.len(), 1);
    assert!(paused[0]["actor"].as_str().unwrap().starts_with("cli:"), "{paused:?}");
    assert_eq!(events(&world.gateway, "flow.resumed").len(), 1);
}

#[test]
fn an_endpoint_is_set_offline_and_online_on_sqlite() {
    an_endpoint_is_set_offline_and_online(None);
}

#[test]
fn an_endpoint_is_set_offline_and_online_on_postgres() {
    an_endpoint_is_set_offline_and_online(Some(&fresh_database("offline")));
}

fn an_endpoint_is_set_offline_and_online(database: Option<&str>) {
    let mut world = world(database);
    let offline = ["endpoint", "offline", "warehouse", "--reason", "inventory"];
    let (code, text) = waybill(&world.gateway, &offline);
    assert!(code == 0 && text.contains("endpoint warehouse is offline"), "{code} {text}");
    follows(&world.gateway, OFFLINE, true);
    for name in ["1", "2", "3"] {
        world.put(name);
    }
    eventually("all are taken", PATIENCE, || {
        (world.gateway.json(&["transfer", "list"]).as_array()?.len() == 3).then_some(())
    });
    world.gateway.kill();
    world.gateway.start();
    std::thread::sleep(SOME_POLLS);
    assert!(!world.out("1").exists(), "{}", world.gateway.log());
    assert!(events(&world.gateway, "delivery.attempted").is_empty(), "nothing is tried");
    let (_, text) = waybill(&world.gateway, &["endpoint", "list"]);
    assert!(text.contains("set offline by ") && text.contains("inventory"), "{text}");

    let (code, text) = waybill(&world.gateway, &["endpoint", "online", "warehouse"]);
    assert!(code == 0 && text.contains("endpoint warehouse is online"), "{code} {text}");
    world.gateway.wait_for("completed", 3, PATIENCE);
    let attempted = events(&world.gateway, "delivery.delivered");
    assert_eq!(attempted.len(), 3);
    let (code, text) = waybill(&world.gateway, &["endpoint", "online", "warehous"]);
    assert!(code == 1 && text.contains("did you mean 'warehouse'?"), "{code} {text}");
}

/// Two nodes of one database: what is said beside one holds on the other, also once one is killed.
#[test]
fn two_nodes_keep_a_flow_paused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["in", "out", "bad", "staging"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let database = fresh_database("two_paused");
    let staging = root.path().join("staging");
    let node = |name: &str| {
        let gateway =
            GatewayBuilder::new(root.path(), name).database(Some(&database)).staging(&staging).build();
        gateway.define("flow.toml", &flow(root.path()));
        gateway
    };
    let (mut one, mut two) = (node("n1"), node("n2"));
    one.start();
    two.spawn();
    let (code, text) = waybill(&one, &["flow", "pause", "orders", "--reason", "the partner moves"]);
    assert_eq!(code, 0, "{text}");
    follows(&one, PAUSED, true);
    two.wait_until_ready();
    follows(&two, PAUSED, true);
    fs::write(root.path().join("in/1"), "1").unwrap();
    one.kill();
    std::thread::sleep(SOME_POLLS);
    assert!(root.path().join("in/1").is_file());
    // Resumed while one of them is down: it learns of it when it starts.
    assert_eq!(waybill(&one, &["flow", "resume", "orders"]).0, 0);
    eventually(&format!("1\n{}", two.log()), PATIENCE, || root.path().join("out/1").is_file().then_some(()));
    one.start();
    follows(&one, PAUSED, false);
    // Asked for beside the one, run by whichever polls: once.
    let run = one.json(&["flow", "run", "orders"]);
    assert_eq!(run["outcome"], "polled", "{run}\n{}\n{}", one.log(), two.log());
    assert_eq!(events(&two, "flow.run").len(), 1);
    two.stop();
    one.stop();
}

/// A flow that is polled at the start, and then not for hours.
fn rarely(root: &Path) -> String {
    flow(root)
        .replace(
            "every = \"1s\", stable_for = \"0s\"",
            "every = \"12h\", stable_for = \"1s\", read_limit = 300",
        )
        .replace("mask = \"*\"", "mask = \"*.edi\"")
        .replace("[endpoint.dock]", "[endpoint.dock]\nwake_up = \"none\"")
}

#[test]
fn a_dry_run_and_a_run_agree_over_many_files_on_sqlite() {
    a_dry_run_and_a_run_agree_over_many_files(None);
}

#[test]
fn a_dry_run_and_a_run_agree_over_many_files_on_postgres() {
    a_dry_run_and_a_run_agree_over_many_files(Some(&fresh_database("dry_run")));
}

fn a_dry_run_and_a_run_agree_over_many_files(database: Option<&str>) {
    let mut world = world(database);
    world.gateway.stop();
    world
        .gateway
        .define("flow.toml", &rarely(world.root.path()).replace("after = \"delete\"", "after = \"keep\""));
    world.gateway.start();
    world.was_polled();
    // Files of every kind: 700 to take, and others that the mask, a suffix or their kind keeps out.
    for n in 0..700 {
        world.put(&format!("{n:04}.edi"));
    }
    for n in 0..150 {
        world.put(&format!("{n:04}.txt"));
        world.put(&format!("{n:04}.edi.a"));
    }
    fs::create_dir(world.root.path().join("in/directory.edi")).unwrap();
    std::os::unix::fs::symlink("0000.txt", world.root.path().join("in/link.edi")).unwrap();
    let count = |answer: &serde_json::Value, reason: &str| {
        let skipped = answer["skipped"].as_array().unwrap();
        let of_reason = skipped.iter().find(|count| count["reason"] == reason);
        of_reason.map_or(0, |count| count["files"].as_u64().unwrap())
    };
    let mut taken: Vec<String> = Vec::new();
    for round in 0..4 {
        let before = events(&world.gateway, "offer").len();
        let dry = world.gateway.json(&["flow", "run", "orders", "--dry-run"]);
        assert_eq!(events(&world.gateway, "offer").len(), before, "nothing is written");
        let files = dry["files"].as_array().unwrap();
        let takes: Vec<String> = files
            .iter()
            .filter(|file| file["left"].is_null())
            .map(|file| file["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
            .collect();
        assert_eq!(dry["takes"].as_u64().unwrap() as usize, takes.len());
        assert!(takes.is_sorted(), "in the order of processing");
        let run = world.gateway.json(&["flow", "run", "orders"]);
        assert_eq!((&run["outcome"], &run["node"]), (&"polled".into(), &"n1".into()), "{run}");
        let report = &run["report"];
        // The very same: what is taken, and what is left for which reason.
        assert_eq!(
            report["taken"].as_u64().unwrap() as usize,
            takes.len(),
            "round {round}: {run}\n{}",
            world.gateway.log()
        );
        for reason in ["mask", "temporary_name", "directory", "link", "read_limit", "changing", "gone"] {
            assert_eq!(count(&dry, reason), count(report, reason), "round {round}: {reason}: {run}");
        }
        let known = ["taken_already", "kept", "backed_off", "refused"].map(|reason| count(&dry, reason));
        assert_eq!(known.iter().sum::<u64>(), count(report, "known"), "round {round}: {run}");
        assert_eq!((count(&dry, "mask"), count(&dry, "directory"), count(&dry, "link")), (150, 1, 1));
        let expected = [300, 300, 100, 0][round];
        assert_eq!(takes.len(), expected, "round {round}");
        taken.extend(takes);
        let all = world.gateway.json(&["transfer", "list", "--limit", "1000"]);
        let mut names: Vec<String> =
            all.as_array().unwrap().iter().map(|t| t["file_name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, taken, "round {round}");
    }
    let looked = events(&world.gateway, "flow.dry_run");
    assert!(looked.len() == 4 && looked[0]["actor"].as_str().unwrap().starts_with("cli:"), "{looked:?}");
    let (code, text) = waybill(&world.gateway, &["flow", "run", "orders", "--dry-run"]);
    assert!(
        code == 0 && text.contains("mask            0000.txt") && text.contains("would take 0 files now"),
        "{text}"
    );
}

#[test]
fn a_flow_is_run_now_where_it_can_be() {
    let mut world = world(None);
    world.gateway.stop();
    world.gateway.define("flow.toml", &rarely(world.root.path()));
    world.gateway.start();
    world.was_polled();
    world.put("1.edi");
    let (code, text) = waybill(&world.gateway, &["flow", "run", "orders"]);
    assert!(
        code == 0 && text.contains("flow orders was run on node n1") && text.contains("taken: 1 file"),
        "{text}"
    );
    world.arrives("1.edi");
    let (code, text) = waybill(&world.gateway, &["flow", "run", "order"]);
    assert!(code == 1 && text.contains("did you mean 'orders'?"), "{code} {text}");
    assert_eq!(waybill(&world.gateway, &["flow", "pause", "orders", "--reason", "x"]).0, 0);
    let (code, text) = waybill(&world.gateway, &["flow", "run", "orders"]);
    assert!(code == 1 && text.contains("`waybill flow resume orders` resumes it"), "{code} {text}");
    // A dry run says what would come, and why it does not.
    let (code, text) = waybill(&world.gateway, &["flow", "run", "orders", "--dry-run"]);
    assert!(code == 0 && text.contains("No poll takes anything: flow orders is paused by "), "{code} {text}");
    assert_eq!(waybill(&world.gateway, &["flow", "resume", "orders"]).0, 0);
    // Killed in the middle of a run: begun again by the next process, for whoever still waits.
    world.gateway.kill();
    world.gateway.set_variable("WAYBILL_CRASH_AT", Some("run.begun:1"));
    world.gateway.start();
    world.put("2.edi");
    let config = world.gateway.config();
    let waiting = std::thread::spawn(move || {
        run(&["--config", config.to_str().unwrap(), "flow", "run", "orders", "--wait", "60s"])
    });
    eventually("the gateway is killed in the middle of the run", PATIENCE, || world.gateway.ended());
    world.gateway.set_variable("WAYBILL_CRASH_AT", None);
    world.gateway.start();
    let (status, out, error) = waiting.join().unwrap();
    assert!(status.success() && out.contains("flow orders was run on node n1"), "{out} {error}");
    world.arrives("2.edi");
    world.gateway.kill();
    let (code, text) = waybill(&world.gateway, &["flow", "run", "orders", "--wait", "1s"]);
    assert!(code == 2 && text.contains("no node began to run flow orders within 1 s"), "{code} {text}");
    let ran = events(&world.gateway, "flow.run");
    assert!(ran.iter().all(|event| event["actor"].as_str().unwrap().starts_with("cli:")), "{ran:?}");
}

/// A partner's messages for a paused flow are neither taken nor lost: the partner keeps them and sends them again.
#[test]
fn a_message_for_a_paused_flow_is_taken_once_the_flow_is_resumed() {
    let mut pair = Pair::new(&Terms::default());
    pair.start();
    assert_eq!(waybill(&pair.globex, &["flow", "pause", "inbound", "--reason", "inventory"]).0, 0);
    follows(&pair.globex, "waybill_flow_paused{flow=\"inbound\"} 1", true);
    fs::write(pair.folder().join("po.edi"), "UNB+UNOA").unwrap();
    eventually(&format!("Globex refuses it\n{}", pair.globex.log()), PATIENCE, || {
        let refused = events(&pair.globex, "message.refused");
        let reason = refused.first()?["detail"]["reason"].as_str()?.to_owned();
        reason.contains("flow inbound is paused by").then_some(())
    });
    // Acme is told to come again, and keeps it.
    eventually(&format!("Acme tries again\n{}", pair.acme.log()), PATIENCE, || {
        let retrying = pair.events("delivery.retrying");
        (retrying.first()?["detail"]["error"].as_str()?.contains("503")).then_some(())
    });
    assert!(pair.globex.json(&["transfer", "list"]).as_array().unwrap().is_empty());
    assert_eq!(waybill(&pair.globex, &["flow", "resume", "inbound"]).0, 0);
    pair.acme.wait_for("completed", 1, PATIENCE);
    assert_eq!(pair.wait_for_files(1), [("po.edi".to_owned(), b"UNB+UNOA".to_vec())]);
    assert_eq!(pair.globex.wait_for("completed", 1, PATIENCE).len(), 1, "once");
}
