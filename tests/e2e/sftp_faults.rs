//! A server that is not who it should be, not there, or gone in the middle; files that change or cannot be
//! read.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use suites::eventually;
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put, random};
use testkit::proxy::{Behaviour, FaultProxy};

/// A proxy before a pair's sshd, its gateways defined to go through it.
struct Proxied {
    runtime: tokio::runtime::Runtime,
    proxy: FaultProxy,
    pair: Pair,
}

impl Proxied {
    fn new(source: Option<&str>) -> Self {
        let pair = Pair::new(&Terms::default());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = SocketAddr::from(([127, 0, 0, 1], pair.sshd.port()));
        let proxy = runtime.block_on(FaultProxy::before(server)).unwrap();
        let mut terms = Terms { port: Some(proxy.address().port()), ..Terms::default() };
        if let Some(source) = source {
            terms.source = source;
        }
        pair.acme.define("acme.toml", &pair.acme_document(&terms));
        Self { runtime, proxy, pair }
    }

    fn set(&self, behaviour: Behaviour) {
        self.runtime.block_on(self.proxy.set(behaviour)).unwrap();
    }
}

fn server_log(pair: &Pair) -> String {
    fs::read_to_string(pair.sshd.text("log")).unwrap()
}

#[test]
fn with_another_host_key_nothing_is_sent_and_both_fingerprints_are_named() {
    let mut pair = Pair::new(&Terms::default());
    let ours = pair.sshd.info["host_keys"]["rsa"]["fingerprint"].as_str().unwrap().to_owned();
    let login = pair.usual_login().replace(pair.sshd.text("fingerprint"), &ours);
    pair.acme.define("acme.toml", &pair.acme_document(&Terms { login: Some(&login), ..Terms::default() }));
    let path = put(&pair.folder(), b"secret.edi", b"not for strangers");
    pair.start();
    let event = pair.wait_for_event("poll.failed", "trust_failed").to_string();
    let shown = pair.sshd.text("fingerprint");
    assert!(event.contains(&ours) && event.contains(shown), "both fingerprints should be named: {event}");
    assert!(event.contains("permanent"), "{event}");
    assert!(pair.acme.stop().success());
    let log = server_log(&pair);
    assert!(log.contains("Connection from 127.0.0.1"), "{log}");
    for sign in ["authenticating", "Failed ", "Accepted ", "Postponed ", "Invalid user"] {
        assert!(!log.contains(sign), "a login was tried ({sign}):\n{log}");
    }
    assert!(path.exists());
}

fn with_password(pair: &Pair, password: &str) -> String {
    let login = pair.password_login(password);
    pair.acme_document(&Terms { login: Some(&login), ..Terms::default() })
}

fn passwords_tried(pair: &Pair) -> usize {
    server_log(pair).matches("Failed password").count()
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut pair = Pair::new(&Terms::default());
    pair.acme.define("acme.toml", &with_password(&pair, "certainly wrong"));
    pair.acme.start();
    pair.wait_for_event("poll.failed", "unauthenticated");
    assert_eq!(passwords_tried(&pair), 1, "{}", server_log(&pair));
}

#[test]
fn after_a_wrong_password_the_server_is_left_alone() {
    let mut pair = Pair::new(&Terms::default());
    pair.acme.define("acme.toml", &with_password(&pair, "certainly wrong"));
    pair.start();
    let event = pair.wait_for_event("poll.failed", "unauthenticated").to_string();
    assert!(event.contains("permanent") && !event.contains("certainly wrong"), "{event}");
    // Several polls would have been due by the end of this.
    let tried = passwords_tried(&pair);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(passwords_tried(&pair), tried, "{}", server_log(&pair));
    assert_eq!(events(&pair.acme, "poll.failed").len(), 1);
    assert_eq!(events(&pair.acme, "endpoint.offline").len(), 1);
    assert!(!pair.acme.log().contains("certainly wrong"));

    // The right one, after a start with new definitions.
    pair.acme.define("acme.toml", &with_password(&pair, pair.sshd.text("password")));
    put(&pair.folder(), b"now.edi", b"now");
    assert!(pair.acme.stop().success());
    pair.acme.start();
    pair.wait_for_files(1);
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let mut pair = Pair::new(&Terms::default());
    pair.sshd.command("kill", &[]);
    pair.start();
    let event = pair.wait_for_event("poll.failed", "unreachable").to_string();
    assert!(event.contains("transient"), "{event}");
    pair.sshd.command("restart", &[]);
    put(&pair.folder(), b"late.edi", b"late");
    pair.wait_for_files(1);
    // And once more, with a connection that was open.
    pair.sshd.command("kill", &[]);
    pair.wait_for_event("poll.failed", "unreachable");
    pair.sshd.command("restart", &[]);
    put(&pair.folder(), b"later.edi", b"later");
    pair.wait_for_files(2);
}

#[test]
fn a_file_whose_connection_is_cut_in_the_middle_arrives_whole() {
    let retried = r#"mask = "*", every = "1s", stable_for = "0s", after = "delete", retry = { first = "1s", longest = "2s" }"#;
    let mut proxied = Proxied::new(Some(retried));
    proxied.set(cut_after(2 * 1024 * 1024));
    let bytes = random(5 * 1024 * 1024);
    put(&proxied.pair.folder(), b"cut.bin", &bytes);
    proxied.pair.start();
    // Each connection is cut, and the next one goes on at the byte that was reached.
    let arrived = proxied.pair.wait_for_files(1);
    assert!(arrived[0].1 == bytes, "it arrived with other bytes");
    assert_eq!(proxied.pair.acme.wait_for("completed", 1, PATIENCE).len(), 1);
    assert!(proxied.pair.acme.stop().success());
    let ends = proxied.pair.acme.connections();
    let cut = ends.iter().filter(|connection| connection.failed == Some(true)).count();
    assert!(cut >= 2, "too few connections ended with an error: {ends:?}");
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_tried_again() {
    let mut proxied = Proxied::new(None);
    let login = format!("{}\ntimeout = \"2s\"", proxied.pair.usual_login());
    let terms = Terms { login: Some(&login), port: Some(proxied.proxy.address().port()), ..Terms::default() };
    proxied.pair.acme.define("acme.toml", &proxied.pair.acme_document(&terms));
    proxied.set(Behaviour::BlackHole);
    put(&proxied.pair.folder(), b"silent.edi", b"in the end");
    proxied.pair.start();
    let event = proxied.pair.wait_for_event("poll.failed", "timeout").to_string();
    assert!(event.contains("transient"), "{event}");
    proxied.set(Behaviour::Pass);
    assert_eq!(proxied.pair.wait_for_files(1), [("silent.edi".to_owned(), b"in the end".to_vec())]);
}

fn cut_after(after: u64) -> Behaviour {
    Behaviour::Cut { direction: testkit::proxy::Direction::Down, after, how: testkit::proxy::Ending::Reset }
}

#[test]
fn a_file_replaced_while_it_is_read_is_not_mixed() {
    let mut proxied = Proxied::new(None);
    let (old, new) = (vec![b'o'; 3_000_000], vec![b'n'; 2_000_000]);
    put(&proxied.pair.folder(), b"report.bin", &old);
    proxied.set(Behaviour::Slow(1_000_000));
    proxied.pair.start();
    eventually("the reading has begun", PATIENCE, || {
        (proxied.proxy.bytes(testkit::proxy::Direction::Down) > 700_000).then_some(())
    });
    put(&proxied.pair.folder(), b"report.bin", &new);
    proxied.set(Behaviour::Pass);
    let arrived = eventually("the new one arrives", PATIENCE, || {
        let found = files_in(&proxied.pair.warehouse());
        found.iter().any(|(_, bytes)| *bytes == new).then_some(found)
    });
    assert!(arrived.iter().all(|(_, bytes)| *bytes == old || *bytes == new), "something mixed arrived");
    eventually("the folder is empty", PATIENCE, || files_in(&proxied.pair.folder()).is_empty().then_some(()));
}

#[test]
fn a_file_replaced_before_it_is_deleted_is_not_destroyed() {
    let source =
        r#"mask = "*", every = "1s", stable_for = "0s", settle = "after_delivery", after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    put(&pair.folder(), b"price.edi", b"old prices");
    // The partner is away: the file is ours, and lies there still.
    pair.acme.start();
    eventually("the old one is recorded", PATIENCE, || {
        (events(&pair.acme, "transfer.recorded").len() == 1).then_some(())
    });
    put(&pair.folder(), b"price.edi", b"new prices, longer");
    pair.globex.start();
    let contents = eventually("both have arrived", PATIENCE, || {
        let found: Vec<Vec<u8>> = files_in(&pair.warehouse()).into_iter().map(|(_, bytes)| bytes).collect();
        (found.len() == 2).then_some(found)
    });
    assert!(contents.contains(&b"old prices".to_vec()) && contents.contains(&b"new prices, longer".to_vec()));
    eventually("the folder is empty", PATIENCE, || files_in(&pair.folder()).is_empty().then_some(()));
    assert_eq!(pair.acme.wait_for("completed", 2, PATIENCE).len(), 2);
}

#[test]
fn a_file_that_can_never_be_opened_does_not_starve_the_others() {
    let source =
        r#"mask = "*", every = "1s", stable_for = "0s", read_limit = 1, order = "name", after = "delete""#;
    let pair = Pair::new(&Terms::default());
    // The account without a shell: root could read everything.
    let login = pair.password_login(pair.sshd.text("password"));
    let mut pair = pair;
    pair.acme
        .define("acme.toml", &pair.acme_document(&Terms { login: Some(&login), source, ..Terms::default() }));
    let locked = put(&pair.folder(), b"a-locked.edi", b"for nobody");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    std::os::unix::fs::symlink("/nowhere", pair.folder().join("b-dangling.edi")).unwrap();
    for number in 0..4 {
        put(&pair.folder(), format!("c-{number}.edi").as_bytes(), b"fine");
    }
    pair.start();
    pair.wait_for_files(4);
    let event = pair.wait_for_event("offer.backed_off", "a-locked.edi").to_string();
    assert!(event.contains("permission_denied"), "{event}");
    assert_eq!(pair.acme.wait_for("completed", 4, PATIENCE).len(), 4);
    // Mended, it is taken by itself once its wait is over.
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(locked.exists());
}
