//! PostgreSQL stands still, or crashes, for a while, during traffic: nothing is acknowledged that is not
//! recorded, no connection is missing in the audit trail, and everything goes on by itself.

use crate::as2_kills::receiver;
use crate::as2_sender::{Answer, Letter};
use crate::books::Books;
use crate::kills::flow;
use crate::traffic::{Route, Traffic};
use crate::victim::tail;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use suites::{Gateway, Server};
use testkit::ledger::Ledger;

#[test]
fn the_database_stands_still() {
    run(|server, away| {
        server.command("pause", &[]);
        std::thread::sleep(away);
        server.command("resume", &[]);
    });
}

#[test]
fn the_database_crashes() {
    run(|server, away| {
        server.command("kill", &[]);
        std::thread::sleep(away);
        server.command("restart", &[]);
    });
}

/// Ends the partner's sending when dropped.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the partner saw.
#[derive(Default)]
struct PartnerView {
    connections: usize,
    positive: usize,
    while_away: Vec<Answer>,
}

fn run(outage: impl Fn(&Server, Duration)) {
    let away = Duration::from_secs(if crate::long() { 60 } else { 20 });
    let root = tempfile::tempdir().unwrap();
    let server = Server::start("postgres", &[]);
    let url = server.command("database", &["away"]);
    let fast = Route::make(root.path(), "fast", 64 << 10, 20);
    let inbound = root.path().join("inbound");
    std::fs::create_dir_all(&inbound).unwrap();
    let mut gateway = receiver(root.path(), Some(&url), &inbound);
    gateway.define("more.toml", &flow(&fast, ""));
    gateway.start();
    let traffic = Traffic::begin(root.path(), vec![fast]);
    let (ended, is_away) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut ledger = Ledger::new();
    let told = std::thread::scope(|scope| {
        let (port, root) = (gateway.http, root.path());
        let (ended, is_away) = (&ended, &is_away);
        let partner = scope.spawn(move || send(root, port, ended, is_away));
        // The partner ends also when this fails.
        let ends = EndsWith(ended);
        traffic.flows(20, Duration::from_secs(20), &|| tail(&gateway));
        is_away.store(true, Ordering::SeqCst);
        outage(&server, away);
        is_away.store(false, Ordering::SeqCst);
        // By itself: nobody restarts the gateway.
        traffic.flows(20, Duration::from_secs(40), &|| tail(&gateway));
        std::thread::sleep(Duration::from_secs(2));
        drop(ends);
        let (told, given) = partner.join().unwrap();
        given.iter().for_each(|letter: &Letter| ledger.give(&letter.name, &letter.content));
        told
    });
    traffic.settle(Duration::from_secs(60), &|| tail(&gateway));
    std::thread::sleep(Duration::from_secs(2));
    ledger.collect(&inbound, |name| name.starts_with('.')).unwrap();
    assert!(ledger.balance().is_exact(), "by AS2: {}\n{}", ledger.balance(), tail(&gateway));
    Books { gateway: &gateway, url: Some(&url) }.wait_until_settled();
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    check(&gateway, &url, &traffic, &told);
}

fn check(gateway: &Gateway, url: &str, traffic: &Traffic, told: &PartnerView) {
    let books = Books { gateway, url: Some(url) };
    let (files, _) = traffic.counts();
    books.assert_complete(files + told.positive, &traffic.account());
    books.assert_connections_closed();
    let report = books.assert_audit();
    let port = gateway.http;
    let recorded = books.count(&format!("select count(*) from connections where local like '%:{port}'"));
    assert_eq!(recorded, told.connections, "connections on record and connections made\n{}", tail(gateway));
    for kind in ["connection.opened", "connection.closed"] {
        let events = books.count(&format!(
            "select count(*) from audit_events e join connections c on c.id = e.connection_id \
             where e.kind = '{kind}' and c.local like '%:{port}'"
        ));
        assert_eq!(events, told.connections, "events {kind}\n{}", tail(gateway));
    }
    assert!(!told.while_away.is_empty(), "nothing was sent while the database was away");
    println!(
        "{files} files by folder, {} by AS2 over {} connections, answers while away {:?}, audit {report}",
        told.positive, told.connections, told.while_away
    );
}

/// Sends letter after letter, each until it is acknowledged.
fn send(
    root: &std::path::Path,
    port: u16,
    ended: &AtomicBool,
    is_away: &AtomicBool,
) -> (PartnerView, Vec<Letter>) {
    let (mut told, mut sent) = (PartnerView::default(), Vec::new());
    while !ended.load(Ordering::SeqCst) {
        let content = format!("letter {} {}", sent.len(), crate::random(u64::MAX)).into_bytes();
        let letter =
            Letter::pack(root, &root.join("keys"), &format!("letter-{:04}.txt", sent.len()), content);
        let begun = Instant::now();
        loop {
            let away_before = is_away.load(Ordering::SeqCst);
            let answer = letter.post(port, Duration::from_secs(5));
            told.connections += usize::from(answer != Answer::Refused);
            if away_before && is_away.load(Ordering::SeqCst) {
                told.while_away.push(answer.clone());
            }
            if answer == Answer::Positive {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(150),
                "{}: never acknowledged: {answer:?}",
                letter.name
            );
            std::thread::sleep(Duration::from_millis(300));
        }
        told.positive += 1;
        sent.push(letter);
    }
    (told, sent)
}
