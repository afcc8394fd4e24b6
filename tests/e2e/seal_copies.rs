//! Copies of the seals: an append-only file, and a syslog server that takes them over TCP.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use suites::pair::PATIENCE;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run, tamper};

/// Takes what is sent to it, connection by connection.
struct Syslog {
    port: u16,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Syslog {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(vec![]));
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut text = String::new();
                stream.unwrap().read_to_string(&mut text).unwrap();
                kept.lock().unwrap().push(text);
            }
        });
        Self { port, taken }
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

fn waybill(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out, error)
}

/// The digests that a copy has of a seal.
fn digests(lines: &str, seal: i64) -> Vec<String> {
    let parsed = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_seal = parsed.filter(|line| line["seq"] == seal);
    of_seal.map(|line| line["digest"].as_str().unwrap().to_owned()).collect()
}

fn copies_follow_a_restored_database(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let syslog = Syslog::start();
    let settings = format!(
        "[audit]\nseal_every = \"1s\"\nseal_file = \"seals.jsonl\"\nseal_syslog = \"tcp://127.0.0.1:{}\"",
        syslog.port
    );
    let mut gateway = GatewayBuilder::new(root.path(), "acme").database(database).settings(&settings).build();
    let file = gateway.directory().join("seals.jsonl");
    let copy = || fs::read_to_string(&file).unwrap_or_default();
    gateway.start();
    eventually("a copy at the syslog server", PATIENCE, || (!syslog.taken().is_empty()).then_some(()));
    // Each connection is an event, which is sealed in its turn: that alone opens no further one.
    let mut before = 0;
    eventually("an end of connections", PATIENCE, || {
        std::thread::sleep(std::time::Duration::from_secs(4));
        let now = syslog.taken().len();
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    for _ in 0..3 {
        assert!(gateway.stop().success());
        gateway.start();
    }
    eventually("six seals in the file", PATIENCE, || (!digests(&copy(), 6).is_empty()).then_some(()));
    assert!(gateway.stop().success());

    // A copy that a full disk cut off in the middle of a line, and an older backup of the database.
    let old = digests(&copy(), 4);
    assert_eq!(old.len(), 1, "{}", copy());
    fs::write(&file, format!("{}{{\"digest\":\"12", copy())).unwrap();
    tamper(
        &gateway,
        database,
        "DELETE FROM audit_events WHERE position >= (SELECT to_position FROM audit_seals WHERE seq = 3); \
         DELETE FROM audit_seals WHERE seq > 3",
    );
    gateway.start();
    let against =
        |gateway: &Gateway| waybill(gateway, &["audit", "verify", "--seals", file.to_str().unwrap()]);
    eventually("the alarm", PATIENCE, || {
        let (code, out, _) = against(&gateway);
        (code == 2 && out.contains("has refused to seal")).then_some(())
    });
    assert_eq!(digests(&copy(), 4), old, "nothing is copied meanwhile");
    let (code, out, error) = waybill(&gateway, &["audit", "accept-restored", "--reason", "backup of Monday"]);
    assert_eq!(code, 0, "{out} {error}");
    let both = eventually("the seal that was made again", PATIENCE, || {
        let found = digests(&copy(), 4);
        (found.len() == 2).then_some(found)
    });
    assert_eq!(both[0], old[0]);
    eventually("it arrives at the syslog server too", PATIENCE, || {
        syslog.taken().iter().any(|text| text.contains(&both[1])).then_some(())
    });
    let (code, out, error) = against(&gateway);
    assert!(
        code == 0 && out.contains("were discarded") && out.contains("not a complete seal"),
        "{code} {out} {error}"
    );

    // Without the record nothing explains what the copy has.
    let kind = "UPDATE audit_events SET kind = 'audit.alarm' WHERE kind = 'audit.restored'";
    tamper(&gateway, database, kind);
    let (code, out, _) = against(&gateway);
    assert!(code == 2 && out.contains("seal 4 has the digest"), "{code} {out}");
}

#[test]
fn copies_follow_a_restored_database_on_sqlite() {
    copies_follow_a_restored_database(None);
}

#[test]
fn copies_follow_a_restored_database_on_postgres() {
    copies_follow_a_restored_database(Some(&fresh_database("copies")));
}
