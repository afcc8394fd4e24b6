//! Definitions that change while a gateway runs: plan, apply, roll back, export, SIGHUP.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::pair::events;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run, waybill};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    root: tempfile::TempDir,
    gateway: Gateway,
}

/// A gateway that runs, its own directory of definitions empty.
fn world(database: Option<&str>, settings: &str) -> World {
    let root = tempfile::tempdir().unwrap();
    for name in ["in", "out", "bad", "more"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root.path(), "n1").database(database).settings(settings).build();
    gateway.start();
    World { root, gateway }
}

impl World {
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.root.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn waybill(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.gateway.config();
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend(arguments);
        let (status, out, error) = run(&all);
        (status.code().unwrap(), out + &error)
    }

    fn in_directory(&self, command: &str, directory: &Path, more: &[&str]) -> (i32, String) {
        let mut all = vec![command, directory.to_str().unwrap()];
        all.extend(more);
        self.waybill(&all)
    }

    /// Waits until the gateway has a revision in force.
    fn follows(&self, revision: i64) {
        let wanted = format!("waybill_revision_in_force{{node=\"n1\"}} {revision}");
        eventually(&format!("revision {revision} in force\n{}", self.gateway.log()), PATIENCE, || {
            self.gateway.metrics().contains(&wanted).then_some(())
        });
    }

    fn arrives(&self, name: &str) {
        let path = self.root.path().join(name);
        eventually(&format!("{name}\n{}", self.gateway.log()), PATIENCE, || path.is_file().then_some(()));
    }

    /// Two folders and a flow between them, with a comment.
    fn flow(&self, out: &str, more: &str) -> String {
        let root = self.root.path().display();
        format!(
            "# From the dock to the warehouse\n\
             [endpoint.dock]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
             [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{root}/{out}\"\n\
             [flow.orders]   # every second\n\
             source = {{ endpoint = \"dock\", mask = \"*\", every = \"1s\", stable_for = \"0s\", after = \"delete\", \
             error_directory = \"{root}/bad\" }}\n\
             [[flow.orders.destination]]\nendpoint = \"warehouse\"\n{more}"
        )
    }
}

#[test]
fn changed_beside_a_running_gateway_on_sqlite() {
    changed_beside_a_running_gateway(None);
}

#[test]
fn changed_beside_a_running_gateway_on_postgres() {
    changed_beside_a_running_gateway(Some(&fresh_database("revisions")));
}

fn changed_beside_a_running_gateway(database: Option<&str>) {
    let world = world(database, "");
    let one = world.directory("one");
    fs::write(one.join("flow.toml"), world.flow("out", "")).unwrap();

    // What would change is shown, and nothing is changed by looking.
    let (code, text) = world.in_directory("plan", &one, &[]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("+ flow.orders (flow.toml)") && text.contains("0 removed, 0 changed, 3 added."),
        "{text}"
    );
    assert_eq!(world.waybill(&["revisions"]), (0, "no revision yet\n".to_owned()));

    let (code, text) = world.in_directory("apply", &one, &["--base", "0"]);
    assert!(code == 0 && text.contains("Revision 1 is stored"), "{code} {text}");
    world.follows(1);
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
    let (code, text) = world.in_directory("plan", &one, &[]);
    assert_eq!((code, text.as_str()), (0, "No change.\n"));

    // The destination goes elsewhere while the gateway runs.
    fs::write(one.join("flow.toml"), world.flow("more", "")).unwrap();
    let (code, text) = world.in_directory("plan", &one, &[]);
    assert!(
        code == 3 && text.contains("~ endpoint.warehouse") && text.contains("    url: \""),
        "{code} {text}"
    );
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    world.follows(2);
    fs::write(world.root.path().join("in/b"), "b").unwrap();
    world.arrives("more/b");

    // Who looked at revision 1 is told what the other one changed.
    fs::write(one.join("flow.toml"), world.flow("out", "retry = { attempts = 3 }\n")).unwrap();
    let (code, text) = world.in_directory("apply", &one, &["--base", "1"]);
    assert!(
        code == 2 && text.contains("revision 2 is in force") && text.contains("~ endpoint.warehouse"),
        "{code} {text}"
    );
    let answer = world.gateway.json(&["apply", one.to_str().unwrap(), "--base", "1"]);
    assert_eq!((&answer["outcome"], &answer["in_force"]), (&"stale".into(), &2.into()), "{answer}");

    // Another directory may add, but not change what came from this one.
    let two = world.directory("two");
    fs::write(two.join("x.toml"), world.flow("out", "")).unwrap();
    let (code, text) = world.in_directory("apply", &two, &[]);
    assert!(code == 2 && text.contains("conflict: flow.orders: it belongs to"), "{code} {text}");
    let root = world.root.path().display();
    fs::write(
        two.join("x.toml"),
        format!("[endpoint.extra]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n"),
    )
    .unwrap();
    assert_eq!(world.in_directory("apply", &two, &[]).0, 0);
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    world.follows(4);

    // Back to the first: the other directory's endpoint goes as well, as it was not there then.
    let (code, text) = world.waybill(&["rollback", "1"]);
    assert!(code == 0 && text.contains("- endpoint.extra"), "{code} {text}");
    world.follows(5);
    fs::write(world.root.path().join("in/c"), "c").unwrap();
    world.arrives("out/c");
    let (code, text) = world.waybill(&["revisions"]);
    assert!(code == 0 && text.contains("back to revision 1: 1 removed, 1 changed: endpoint.extra"), "{text}");
    let (_, text) = world.waybill(&["revisions", "2"]);
    assert!(text.starts_with("Revision 2 of ") && text.contains("~ endpoint.warehouse"), "{text}");
    let shown = world.gateway.json(&["revisions", "2"]);
    assert_eq!(shown["changes"]["changed"][0]["fields"][0]["field"], "url", "{shown}");

    // What is exported is what was applied, byte for byte; applied again it changes nothing.
    let export = world.root.path().join("export");
    let (code, text) = world.in_directory("export", &export, &[]);
    assert!(code == 0, "{text}");
    assert_eq!(fs::read_to_string(export.join("flow.toml")).unwrap(), world.flow("out", ""));
    assert_eq!(world.in_directory("plan", &export, &[]), (0, "No change.\n".to_owned()));
    assert_eq!(world.in_directory("export", &export, &[]).0, 1, "does not overwrite files");
    let one_object = world.root.path().join("object");
    let (code, text) = world.in_directory("export", &one_object, &["--object", "flow.orders"]);
    assert!(code == 0 && text.contains("flow.orders.toml"), "{text}");
    assert_eq!(world.in_directory("plan", &one_object, &[]), (0, "No change.\n".to_owned()));

    // All of it is on record, by whom.
    let applied = events(&world.gateway, "definitions.applied");
    assert_eq!(applied.len(), 5, "{applied:?}");
    assert!(applied.iter().all(|event| event["actor"].as_str().unwrap().starts_with("cli:")), "{applied:?}");
    let (code, text) = world.waybill(&["audit", "verify", "--records"]);
    assert!(code == 0, "{text}");
}

#[test]
fn sighup_applies_the_directory_again() {
    let world = world(None, "");
    world.gateway.define("flow.toml", &world.flow("out", ""));
    world.gateway.signal("HUP");
    world.follows(1);
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
    // What is wrong is said, and what is in force goes on.
    world.gateway.define("flow.toml", &world.flow("out", "nonsense = 1\n"));
    world.gateway.signal("HUP");
    eventually("an error in the log", PATIENCE, || {
        world.gateway.log().contains("the definitions in force stay unchanged").then_some(())
    });
    fs::write(world.root.path().join("in/b"), "b").unwrap();
    world.arrives("out/b");
    // An empty directory is more likely one that is being replaced than the wish to remove everything.
    fs::remove_file(world.gateway.directory().join("definitions/flow.toml")).unwrap();
    world.gateway.signal("HUP");
    eventually("the empty directory in the log", PATIENCE, || {
        world.gateway.log().contains("--allow-empty").then_some(())
    });
    let directory = world.gateway.directory().join("definitions");
    assert_eq!(world.in_directory("apply", &directory, &["--allow-empty"]).0, 0);
    world.follows(2);
}

#[test]
fn a_revision_that_a_node_cannot_use_stays_out_of_force_there() {
    let world = world(None, "");
    let config = world.gateway.config();
    let text =
        fs::read_to_string(&config).unwrap().replace("[roots]\n", "[roots]\nvariables = [\"PLACE\"]\n");
    fs::write(&config, text).unwrap();
    let World { root, mut gateway } = world;
    assert!(gateway.stop().success());
    gateway.start();
    let world = World { root, gateway };
    let one = world.directory("one");
    fs::write(one.join("flow.toml"), world.flow("out", "")).unwrap();
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    world.follows(1);

    // Where it is applied the variable is set; where it should come into force it is not.
    fs::write(one.join("flow.toml"), world.flow("${env:PLACE}", "")).unwrap();
    let applied = Command::new(waybill())
        .args(["--config", config.to_str().unwrap(), "apply", one.to_str().unwrap()])
        .env("PLACE", "more")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    world.gateway.wait_until_not_ready("revision 2 cannot be used on this node");
    let refused = &events(&world.gateway, "definitions.refused")[0];
    let detail: &Value = &refused["detail"];
    assert_eq!((&detail["revision"], &detail["in_force"]), (&2.into(), &1.into()), "{refused}");
    assert!(detail["error"].as_str().unwrap().contains("the variable PLACE is not set"), "{refused}");
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
    world.follows(1);
    // The next revision is one that it can use.
    assert_eq!(world.waybill(&["rollback", "1"]).0, 0);
    world.follows(3);
    world.gateway.wait_until_ready();
}

#[test]
fn definitions_are_applied_before_the_first_start() {
    let root = tempfile::tempdir().unwrap();
    for name in ["in", "out", "bad"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let gateway = GatewayBuilder::new(root.path(), "n1").build();
    let mut world = World { root, gateway };
    let one = world.directory("one");
    fs::write(one.join("flow.toml"), world.flow("out", "")).unwrap();
    let (code, text) = world.in_directory("plan", &one, &[]);
    assert!(code == 3 && text.contains("+ flow.orders"), "{text}");
    let (code, text) = world.in_directory("apply", &one, &[]);
    assert!(code == 0, "{text}");
    world.gateway.start();
    world.follows(1);
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
}

#[test]
fn listeners_follow_a_revision_and_other_flows_go_on() {
    let world = world(None, "");
    let http = world.gateway.http;
    let directory = world.directory("definitions");
    let keys = world.directory("keys");
    for name in ["acme", "globex"] {
        suites::KeyPair::make(&keys, name);
    }
    let parties = suites::pair::parties(&keys, ("acme", "ACME"), ("globex", "GLOBEX"));
    fs::write(directory.join("parties.toml"), parties).unwrap();
    fs::write(directory.join("flow.toml"), world.flow("out", "")).unwrap();
    let listener = |rest: &str| {
        let text = format!("[listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\n{rest}\n");
        fs::write(directory.join("listener.toml"), text).unwrap();
    };
    // AS2 refuses what is no POST by 405; a path that nobody listens at is not found.
    let status = |path: &str| suites::get(http, path).map_or(0, |(status, _)| status);
    let apply = |revision: i64| {
        let (code, text) = world.in_directory("apply", &directory, &[]);
        assert_eq!(code, 0, "{text}");
        world.follows(revision);
    };
    listener("");
    apply(1);
    eventually("the listener", PATIENCE, || (status("/as2") == 405).then_some(()));
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
    let started = |log: &str| log.matches("receiving AS2").count();
    assert_eq!(started(&world.gateway.log()), 1);

    // Another path: the old one is gone, the flow goes on.
    listener("path = \"/in\"");
    apply(2);
    eventually("the new path", PATIENCE, || (status("/in") == 405).then_some(()));
    assert_ne!(status("/as2"), 405);
    fs::write(world.root.path().join("in/b"), "b").unwrap();
    world.arrives("out/b");

    // What does not concern it leaves it alone.
    fs::write(directory.join("flow.toml"), world.flow("more", "")).unwrap();
    apply(3);
    fs::write(world.root.path().join("in/c"), "c").unwrap();
    world.arrives("more/c");
    assert_eq!(started(&world.gateway.log()), 2);

    // Without it nobody listens.
    fs::remove_file(directory.join("listener.toml")).unwrap();
    apply(4);
    eventually("no listener", PATIENCE, || suites::get(http, "/in").is_none().then_some(()));
}

#[test]
fn what_is_in_force_is_told_again_when_it_could_not_be_put_on_record_on_sqlite() {
    what_is_in_force_is_told_again(None);
}

#[test]
fn what_is_in_force_is_told_again_when_it_could_not_be_put_on_record_on_postgres() {
    what_is_in_force_is_told_again(Some(&fresh_database("told_again")));
}

fn what_is_in_force_is_told_again(database: Option<&str>) {
    let world = world(database, "");
    let one = world.directory("one");
    fs::write(one.join("flow.toml"), world.flow("out", "")).unwrap();
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    world.follows(1);
    let change = |sql: &str| suites::tamper(&world.gateway, database, sql);
    change("ALTER TABLE node_revisions RENAME TO out_of_reach");
    fs::write(one.join("flow.toml"), world.flow("more", "")).unwrap();
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    eventually("a report that failed", PATIENCE, || {
        world.gateway.log().contains("is not on record yet; it is tried again").then_some(())
    });
    // It is in force all the same.
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("more/a");
    change("ALTER TABLE out_of_reach RENAME TO node_revisions");
    world.follows(2);
    let told = events(&world.gateway, "definitions.in_force");
    let revisions: Vec<&Value> = told.iter().map(|event| &event["detail"]["revision"]).collect();
    assert_eq!(revisions, [2, 1], "newest first, each once");
}

#[test]
fn a_listener_whose_port_is_taken_is_down_and_the_rest_of_its_revision_is_in_force() {
    let world = world(None, "");
    let taken = std::net::TcpListener::bind(("127.0.0.1", world.gateway.http)).unwrap();
    let one = world.directory("one");
    let keys = world.directory("keys");
    for name in ["acme", "globex"] {
        suites::KeyPair::make(&keys, name);
    }
    let parties = suites::pair::parties(&keys, ("acme", "ACME"), ("globex", "GLOBEX"));
    let listener = "[listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\n";
    fs::write(one.join("all.toml"), world.flow("out", "") + &parties + listener).unwrap();
    assert_eq!(world.in_directory("apply", &one, &[]).0, 0);
    world.follows(1);
    world.gateway.wait_until_not_ready("listener as2 is down");
    fs::write(world.root.path().join("in/a"), "a").unwrap();
    world.arrives("out/a");
    drop(taken);
    world.gateway.wait_until_ready();
}

#[test]
fn a_listener_whose_new_certificate_cannot_be_used_goes_on_with_the_old_one() {
    let root = tempfile::tempdir().unwrap();
    let tls = root.path().join("tls");
    for name in ["localhost", "next", "acme", "globex"] {
        suites::KeyPair::make(&tls, name);
    }
    let settings = format!(
        "[listen.http.partners.tls]\ncertificate = \"{tls}/localhost.cert.pem\"\nprivate_key = \"{tls}/localhost.key.pem\"\n",
        tls = tls.display()
    );
    fs::create_dir(root.path().join("out")).unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "n1").settings(&settings).build();
    gateway.start();
    let world = World { root, gateway };
    let one = world.directory("one");
    let parties = suites::pair::parties(&tls, ("acme", "ACME"), ("globex", "GLOBEX"));
    let apply = |key: &str, certificate: &str| {
        let key = format!(
            "[key.as2-tls]\nprivate_key = \"${{file:{tls}/{key}.key.pem}}\"\ncertificate = \"${{file:{tls}/{certificate}.cert.pem}}\"\n\
             [listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\ncertificate = \"as2-tls\"\n",
            tls = tls.display(),
        );
        fs::write(one.join("all.toml"), parties.clone() + &key).unwrap();
        world.in_directory("apply", &one, &[])
    };
    let shown = || {
        let port = format!("127.0.0.1:{}", world.gateway.http);
        let client = Command::new("openssl")
            .args(["s_client", "-connect", &port, "-servername", "next"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&client.stdout)
            .lines()
            .find(|line| line.contains("subject="))
            .map(str::to_owned)
    };
    let (code, text) = apply("next", "next");
    assert_eq!(code, 0, "{text}");
    world.follows(1);
    eventually("its certificate", PATIENCE, || shown().filter(|subject| subject.contains("next")));

    // Of another key: refused before anything is stored.
    let (code, text) = apply("next", "localhost");
    assert!(code == 2 && text.contains("key.as2-tls"), "{code} {text}");
    // Out of date: whatever else is in the revision is in force, and this listener as it was.
    suites::KeyPair::make_valid(&tls, "expired", -10, -5);
    let (code, text) = apply("expired", "expired");
    assert_eq!(code, 0, "{text}");
    world.follows(2);
    world.gateway.wait_until_not_ready("listener as2 goes on under its old definition");
    assert!(world.gateway.readiness().unwrap().1.contains("it has expired: renew it"));
    assert!(shown().unwrap().contains("next"));
    let event = &events(&world.gateway, "listener.failed")[0];
    assert_eq!(event["detail"]["in_force"], "the definition before", "{event}");
    let (code, text) = apply("next", "next");
    assert_eq!(code, 0, "{text}");
    world.follows(3);
    world.gateway.wait_until_ready();
}
