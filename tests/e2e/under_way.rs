//! Revisions that come while much is under way: it ends as it began, and nothing is lost or comes twice.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use suites::pair::events;
use suites::{Gateway, GatewayBuilder, KeyPair, Server, eventually, fresh_database, run};
use testkit::ledger::{Balance, Ledger};
use testkit::proxy::{Behaviour, FaultProxy};

const PATIENCE: Duration = Duration::from_secs(120);

fn apply(gateway: &Gateway, directory: &Path, revision: i64) {
    let config = gateway.config();
    let (status, out, error) =
        run(&["--config", config.to_str().unwrap(), "apply", directory.to_str().unwrap()]);
    assert!(status.success(), "{out} {error}");
    let wanted = format!("waybill_revision_in_force{{node=\"n1\"}} {revision}");
    eventually(&format!("revision {revision}\n{}", gateway.log()), PATIENCE, || {
        gateway.metrics().contains(&wanted).then_some(())
    });
}

#[test]
fn while_64_large_transfers_run_and_a_poller_stages_on_sqlite() {
    while_64_large_transfers_run_and_a_poller_stages(None);
}

#[test]
fn while_64_large_transfers_run_and_a_poller_stages_on_postgres() {
    while_64_large_transfers_run_and_a_poller_stages(Some(&fresh_database("under_way")));
}

/// Large files at each of two SFTP endpoints: as many as one may have under way.
const LARGE: usize = 32;
const LARGE_BYTES: usize = 2 << 20;
const REVISIONS: usize = 10;

fn while_64_large_transfers_run_and_a_poller_stages(database: Option<&str>) {
    let sshd = Server::start("sshd", &[]);
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for name in ["in-1", "in-2", "in-3", "out", "more", "bad", "defs", "beside"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::copy(sshd.text("key"), root.join("ssh")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], sshd.port()));
    let proxy = runtime.block_on(FaultProxy::before(server)).unwrap();
    let mut gateway = GatewayBuilder::new(root, "n1")
        .database(database)
        .settings("[limits]\ndeliveries = 64\nstagings = 8\n")
        .build();
    gateway.start();

    let folder = sshd.text("folder");
    let mut fixed = String::new();
    for n in 1..=2 {
        fixed.push_str(&format!(
            "[endpoint.dock-{n}]\ntransport = \"file\"\nurl = \"file://{root}/in-{n}\"\n\
             [endpoint.far-{n}]\ntransport = \"sftp\"\nurl = \"sftp://127.0.0.1:{port}/{folder}\"\n\
             username = \"{user}\"\nprivate_key = \"${{file:{root}/ssh}}\"\nhost_key = \"{fingerprint}\"\n\
             [flow.large-{n}]\nsource = {{ endpoint = \"dock-{n}\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
             after = \"delete\", error_directory = \"{root}/bad\" }}\n\
             [[flow.large-{n}.destination]]\nendpoint = \"far-{n}\"\n",
            root = root.display(),
            port = proxy.address().port(),
            user = sshd.text("user"),
            fingerprint = sshd.text("fingerprint"),
        ));
    }
    let define = |round: usize| {
        let out = if round.is_multiple_of(2) { "out" } else { "more" };
        let small = format!(
            "[endpoint.dock-3]\ntransport = \"file\"\nurl = \"file://{root}/in-3\"\n\
             [endpoint.near]\ntransport = \"file\"\nurl = \"file://{root}/{out}\"\n\
             [flow.small]\ntitle = \"{round}\"\n\
             source = {{ endpoint = \"dock-3\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
             after = \"delete\", error_directory = \"{root}/bad\" }}\n\
             [[flow.small.destination]]\nendpoint = \"near\"\n",
            root = root.display(),
        );
        fs::write(root.join("defs/all.toml"), fixed.clone() + &small).unwrap();
    };
    define(0);
    apply(&gateway, &root.join("defs"), 1);

    // Slow enough that all of them are under way until the last revision is in force.
    runtime.block_on(proxy.set(Behaviour::Slow(64 << 10))).unwrap();
    let mut ledger = Ledger::new();
    let mut give = |to: &str, name: &str, bytes: &[u8]| {
        ledger.give(name, bytes);
        fs::write(root.join("beside").join(name), bytes).unwrap();
        fs::rename(root.join("beside").join(name), root.join(to).join(name)).unwrap();
    };
    for n in 0..2 * LARGE {
        let bytes: Vec<u8> = (0..LARGE_BYTES).map(|at| (at * (n + 3) / 7) as u8).collect();
        give(if n < LARGE { "in-1" } else { "in-2" }, &format!("large-{n}"), &bytes);
    }
    eventually("64 deliveries under way", PATIENCE, || {
        gateway.metrics().contains("waybill_deliveries{state=\"sending\"} 64").then_some(())
    });
    for round in 1..=REVISIONS {
        for n in 0..8 {
            give("in-3", &format!("small-{round}-{n}"), format!("{round} {n}").as_bytes());
        }
        define(round);
        apply(&gateway, &root.join("defs"), 1 + round as i64);
    }
    let under_way = gateway.json(&["transfer", "list", "--state", "delivering", "--limit", "1000"]);
    let large = |transfer: &&serde_json::Value| transfer["file_name"].as_str().unwrap().starts_with("large-");
    assert_eq!(under_way.as_array().unwrap().iter().filter(large).count(), 2 * LARGE);
    runtime.block_on(proxy.set(Behaviour::Pass)).unwrap();
    let count = 2 * LARGE + 8 * REVISIONS;
    let done = gateway.wait_for("completed", count, PATIENCE);
    for directory in [Path::new(folder), &root.join("out"), &root.join("more")] {
        ledger.collect(directory, |name| !name.starts_with("large-") && !name.starts_with("small-")).unwrap();
    }
    assert_eq!(ledger.arrived().len(), count);
    assert_eq!(ledger.balance(), Balance::default());
    // Nobody cut off what no revision had changed.
    for transfer in done.iter().filter(large) {
        let shown = gateway.json(&["transfer", "show", transfer["id"].as_str().unwrap()]);
        assert_eq!(shown["deliveries"][0]["attempts"].as_array().unwrap().len(), 1, "{shown}");
    }
    assert!(events(&gateway, "delivery.retrying").is_empty());
    let config = gateway.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}

/// The body of a long message: 1 GiB, of pieces that are made as they are sent.
const BODY: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

#[test]
fn while_a_listener_receives_a_gibibyte() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for name in ["old", "new", "defs"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let keys = root.join("keys");
    for name in ["acme", "globex"] {
        KeyPair::make(&keys, name);
    }
    let mut gateway = GatewayBuilder::new(root, "n1").build();
    gateway.start();
    let define = |path: &str, place: &str, largest: &str| {
        let parties = suites::pair::parties(&keys, ("globex", "GLOBEX"), ("acme", "ACME"));
        let security = format!(
            "[partner.acme.as2.receive]\nsecurity = \"none\"\nlargest = \"{largest}\"\n\
             [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{root}/{place}\"\n\
             [listener.as2]\ntransport = \"as2\"\nserver = \"partners\"\npath = \"{path}\"\n\
             [flow.{place}]\nsource = {{ listener = \"as2\", partner = \"acme\", mask = \"*\" }}\n\
             [[flow.{place}.destination]]\nendpoint = \"warehouse\"\nprefix = \"{place}-\"\n",
            root = root.display()
        );
        fs::write(root.join("defs/all.toml"), parties + &security).unwrap();
    };
    define("/as2", "old", "2GiB");
    apply(&gateway, &root.join("defs"), 1);
    let http = gateway.http;
    let status = |path: &str| suites::get(http, path).map_or(0, |(status, _)| status);
    eventually("the listener", PATIENCE, || (status("/as2") == 405).then_some(()));

    let mut socket = TcpStream::connect(("127.0.0.1", http)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /as2 HTTP/1.1\r\nHost: globex\r\nAS2-Version: 1.2\r\nAS2-From: ACME\r\nAS2-To: GLOBEX\r\n\
         Message-ID: <long@under-way>\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=\"long.bin\"\r\nDisposition-Notification-To: acme\r\n\
         Content-Length: {BODY}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let piece: Vec<u8> = (0..PIECE).map(|at| (at * 7 / 3) as u8).collect();
    let mut hash = openssl::sha::Sha256::new();
    let mut send = |pieces: u64| {
        for _ in 0..pieces {
            hash.update(&piece);
            socket.write_all(&piece).unwrap();
        }
    };
    send(64);
    // Elsewhere, for another flow, and no longer as large.
    define("/in", "new", "1KiB");
    apply(&gateway, &root.join("defs"), 2);
    eventually(&format!("the new path\n{}", gateway.log()), PATIENCE, || {
        (status("/in") == 405).then_some(())
    });
    assert_ne!(status("/as2"), 405);
    send(BODY / PIECE as u64 - 64);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains("processed") {
        let read = socket.read(&mut buffer).unwrap();
        assert!(read > 0, "{}\n{}", String::from_utf8_lossy(&answer), gateway.log());
        answer.extend_from_slice(&buffer[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let peak = peak_of_memory(gateway.pid());
    assert!(peak < 256 << 10, "{peak} KiB of memory: the body was held");
    let done = gateway.wait_for("completed", 1, PATIENCE);
    let digest: String = hash.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&done[0]["flow"], &done[0]["sha256"]), (&"old".into(), &digest.into()), "{done:?}");
    assert_eq!(done[0]["revision"], 1);
    // Its endpoint is the one in force, and what is written there is what the flow said that took it.
    assert_eq!(fs::metadata(root.join("new/old-long.bin")).unwrap().len(), BODY);
}

/// The most resident memory that a process had, in KiB.
fn peak_of_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_nodes_that_apply_at_once_and_follow() {
    let database = fresh_database("at_once");
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let node = |name: &str| {
        GatewayBuilder::new(root, name).database(Some(&database)).staging(&root.join("staging")).build()
    };
    let mut nodes = [node("n1"), node("n2")];
    for node in &mut nodes {
        node.start();
    }
    let directories = [root.join("definitions-one"), root.join("definitions-two")];
    for directory in &directories {
        fs::create_dir(directory).unwrap();
    }
    for round in 0..6 {
        for (directory, name) in directories.iter().zip(["one", "two"]) {
            let text = format!(
                "[endpoint.{name}]\ntransport = \"file\"\nurl = \"file://{}/{name}/{round}\"\n",
                root.display()
            );
            fs::write(directory.join("all.toml"), text).unwrap();
        }
        let answers: Vec<(i32, String)> = std::thread::scope(|scope| {
            let run = |(node, directory): (&Gateway, &std::path::PathBuf)| {
                let config = node.config();
                let base = round.to_string();
                let command = [
                    "--config",
                    config.to_str().unwrap(),
                    "apply",
                    directory.to_str().unwrap(),
                    "--base",
                    &base,
                ];
                let (status, out, error) = run(&command);
                (status.code().unwrap(), out + &error)
            };
            let both: Vec<_> =
                nodes.iter().zip(&directories).map(|pair| scope.spawn(move || run(pair))).collect();
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let made = answers.iter().filter(|(code, _)| *code == 0).count();
        assert_eq!(made, 1, "{answers:?}");
        let told = &answers.iter().find(|(code, _)| *code != 0).unwrap().1;
        let wanted = format!("revision {} is in force", round + 1);
        assert!(told.contains(&wanted) && told.contains(&format!("against revision {round}")), "{told}");
        let begun = std::time::Instant::now();
        for name in ["n1", "n2"] {
            let wanted = format!("waybill_revision_in_force{{node=\"{name}\"}} {}", round + 1);
            eventually(&format!("{wanted}\n{}", nodes[0].log()), PATIENCE, || {
                nodes[0].metrics().contains(&wanted).then_some(())
            });
        }
        println!("revision {} is in force on both after {:?}", round + 1, begun.elapsed());
    }
    let in_force = events(&nodes[0], "definitions.in_force");
    assert_eq!(in_force.len(), 12, "{in_force:?}");
}
