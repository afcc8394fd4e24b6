use super::*;
use crate::either::on;
use crate::testing::{TestStore, at, both};
use model::{
    AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionId, ConnectionOpened, Direction, EventKind,
    PeerText, Protocol, Purpose, Security,
};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use uuid::Uuid;

fn node() -> NodeName {
    "n1".parse().unwrap()
}

fn open(directory: &Path, started: i64) -> Journal {
    Journal::open(JournalSettings::new(directory), node(), at(started)).unwrap()
}

fn opened(id: u128) -> ConnectionOpened {
    ConnectionOpened {
        id: ConnectionId::new(Uuid::from_u128(id)),
        at: at(id as i64),
        node: node(),
        direction: Direction::Outbound,
        protocol: Protocol::Sftp,
        purpose: Purpose::Poll,
        endpoint: Some("acme".into()),
        host: Some(PeerText::from("sftp.acme.example:22\0")),
        remote: Some("192.0.2.1:22".parse().unwrap()),
        local: Some("192.0.2.9:40000".parse().unwrap()),
        proxy: None,
        control: None,
        through: None,
        security: Security::Ssh {
            host_key_type: "ssh-ed25519".into(),
            host_key: "SHA256:x".into(),
            kex: "\0".into(),
            cipher: "aes256-gcm@openssh.com".into(),
            mac: String::new(),
            server: PeerText::from("SSH-2.0-OpenSSH"),
        },
    }
}

fn closed(id: u128) -> ConnectionClosed {
    ConnectionClosed {
        id: ConnectionId::new(Uuid::from_u128(id)),
        at: at(id as i64 + 500),
        bytes_in: 10,
        bytes_out: 20,
        duration: Duration::from_micros(500),
        requests: 3,
        reason: PeerText::from("done"),
        failed: false,
    }
}

#[derive(sqlx::FromRow, Debug, PartialEq)]
struct Row {
    id: Uuid,
    endpoint: Option<String>,
    closed: bool,
    reason: Option<String>,
    bytes_in: Option<i64>,
}

async fn rows(store: &crate::Store) -> Vec<Row> {
    on!(store.pool(), c => sqlx::query_as(
        "SELECT id, endpoint, closed_at IS NOT NULL AS closed, reason, bytes_in FROM connections ORDER BY id",
    ).fetch_all(c).await)
    .unwrap()
}

async fn events(store: &crate::Store) -> Vec<(String, Option<String>, Option<Uuid>)> {
    on!(store.pool(), c => sqlx::query_as(
        "SELECT kind, endpoint, connection_id FROM audit_events ORDER BY at, id",
    ).fetch_all(c).await)
    .unwrap()
}

both! {
    connections_arrive_once_however_often_they_are_shipped(store) {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 0);
        for id in 1..=3 {
            journal.append(JournalEntry::Opened(opened(id))).await.unwrap();
        }
        journal.append(JournalEntry::Closed(closed(1))).await.unwrap();
        let failed = AuditEvent::new(
            connection_event_id(closed(9).id, "failed"), at(9), node(), EventKind::ConnectionFailed);
        journal.append(JournalEntry::Event(failed)).await.unwrap();
        assert_eq!(journal.ship_pending(&store, at(50)).await.unwrap(), 5);
        assert_eq!(journal.ship_pending(&store, at(50)).await.unwrap(), 0);
        assert_eq!(journal.stats().backlog_bytes, 0);
        // Closed in a later batch than opened; and everything again, as after a lost mark.
        journal.append(JournalEntry::Closed(closed(2))).await.unwrap();
        journal.ship_pending(&store, at(50)).await.unwrap();
        let (all_rows, all_events) = (rows(&store).await, events(&store).await);
        drop(journal);
        std::fs::remove_file(dir.path().join("shipped")).ok();
        let journal = reopen(dir.path(), 0).await;
        assert_eq!(journal.ship_pending(&store, at(60)).await.unwrap(), 6);
        assert_eq!(rows(&store).await, all_rows);
        assert_eq!(events(&store).await, all_events);
        assert_eq!(all_events.len(), 6);
        assert!(all_events.iter().filter(|e| e.0 == "connection.closed").all(|e| e.1.as_deref() == Some("acme")));
        assert_eq!(all_rows.iter().filter(|row| row.closed).count(), 2);
    }

    a_dial_that_failed_is_a_row_and_an_event(store) {
        use crate::{ConnectionFilter, Page};
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 0);
        let failed = ConnectionFailed {
            id: ConnectionId::new(Uuid::from_u128(7)),
            at: at(7),
            node: node(),
            protocol: Protocol::As2,
            purpose: Purpose::Deliver,
            endpoint: Some("globex".into()),
            host: PeerText::from("as2.globex.example:443"),
            remote: Some("192.0.2.1:443".parse().unwrap()),
            proxy: Some("proxy.example:3128".into()),
            duration: Duration::from_millis(1500),
            error: PeerText::from("connect: unreachable; the host refused"),
        };
        journal.append(JournalEntry::Opened(opened(1))).await.unwrap();
        for _ in 0..2 {
            journal.append(JournalEntry::Failed(failed.clone())).await.unwrap();
            journal.ship_pending(&store, at(50)).await.unwrap();
        }
        let filter = ConnectionFilter { failed: Some(true), ..ConnectionFilter::default() };
        let found = store.connections(&filter, Page::first(10)).await.unwrap().rows;
        let [row] = &found[..] else { panic!("{found:?}") };
        assert_eq!((row.id, row.opened_at), (failed.id, at(7)));
        assert_eq!(row.closed_at, Some(at(7) + chrono::TimeDelta::milliseconds(1500)));
        assert_eq!((row.direction, row.protocol), (Some(Direction::Outbound), Some(Protocol::As2)));
        assert_eq!(row.endpoint.as_deref(), Some("globex"));
        assert_eq!((row.host.as_deref(), row.remote.as_deref()), (Some("as2.globex.example:443"), Some("192.0.2.1:443")));
        assert_eq!((row.proxy.as_deref(), row.security.as_ref()), (Some("proxy.example:3128"), None));
        assert_eq!(row.reason.as_deref(), Some("connect: unreachable; the host refused"));
        assert_eq!((row.bytes_out, row.requests, row.duration), (Some(0), Some(0), Some(failed.duration)));
        let of_it: Vec<_> = events(&store).await.into_iter().filter(|event| event.0 == "connection.failed").collect();
        assert_eq!(of_it, [("connection.failed".to_owned(), Some("globex".to_owned()), Some(failed.id.uuid()))]);
        // Neither up nor for another node to end.
        let live = ConnectionFilter { live: Some(true), ..ConnectionFilter::default() };
        assert_eq!(store.connections(&live, Page::first(10)).await.unwrap().rows.len(), 1);
    }

    what_a_silent_node_had_open_is_lost_sight_of_and_not_closed(store) {
        use crate::tests::fixture::{INSTANCE, after, now};
        let term = Duration::from_millis(300);
        store.acquire_node(&node(), term, now(), INSTANCE).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let started = after(now(), -1000);
        let journal = Journal::open(JournalSettings::new(dir.path()), node(), started).unwrap();
        for id in 1..=3 {
            journal.append(JournalEntry::Opened(opened(id))).await.unwrap();
        }
        journal.append(JournalEntry::Closed(closed(1))).await.unwrap();
        journal.ship_pending(&store, at(50)).await.unwrap();
        // While it lives, and while nobody has fenced it, they are its own.
        let other: NodeName = "n2".parse().unwrap();
        let lose = async |by: &NodeName| store.lose_connections_of_lapsed_nodes(now(), by).await.unwrap();
        assert_eq!(lose(&other).await, 0);
        tokio::time::sleep(term + Duration::from_millis(100)).await;
        assert_eq!(lose(&other).await, 0);
        assert_eq!(store.fence_expired(&other, now()).await.unwrap().len(), 1);
        // A database that was away fences nodes that live: whoever asks is no dead one.
        assert_eq!(lose(&node()).await, 0);
        assert_eq!(lose(&other).await, 2);
        assert_eq!(lose(&other).await, 0);
        let kinds = async || {
            let mut kinds: Vec<String> = events(&store).await.into_iter().map(|event| event.0).collect();
            kinds.retain(|kind| kind.starts_with("connection."));
            kinds.sort();
            kinds
        };
        let opened = ["connection.opened"; 3].map(str::to_owned);
        let before = kinds().await;
        assert_eq!(before[..3], ["connection.closed", "connection.lost", "connection.lost"].map(str::to_owned));
        assert_eq!(before[3..], opened, "nothing is recorded as closed that nobody saw closing");
        let live = async |live| {
            let filter = crate::ConnectionFilter { live: Some(live), ..Default::default() };
            store.connections(&filter, crate::Page::first(9)).await.unwrap().rows
        };
        assert_eq!(live(true).await.len(), 0, "what is lost sight of does not count as live");
        assert_eq!(live(false).await.iter().filter(|row| row.lost_at.is_some()).count(), 2);
        // It lived after all: it tells one's end, once, and that the other is still up.
        journal.append(JournalEntry::Closed(closed(2))).await.unwrap();
        journal.ship_pending(&store, at(20_000_000)).await.unwrap();
        assert_eq!(rows(&store).await[1].reason.as_deref(), Some("done"));
        assert_eq!(live(true).await.iter().map(|row| row.id.uuid().as_u128()).collect::<Vec<_>>(), [3]);
        assert_eq!(kinds().await.iter().filter(|kind| *kind == "connection.closed").count(), 2);
        assert_eq!(kinds().await.iter().filter(|kind| *kind == "connection.still_open").count(), 1);
        // Lost sight of again, and this time its process is dead: its next one knows that, and says it.
        assert_eq!(lose(&other).await, 1);
        drop(journal);
        let settings = JournalSettings::new(dir.path());
        let next = loop {
            // The thread of the dead one lets go of the lock a moment later.
            if let Ok(journal) = Journal::open(settings.clone(), node(), now()) { break journal; }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        next.ship_pending(&store, now()).await.unwrap();
        assert_eq!(rows(&store).await[2].reason.as_deref(), Some(PROCESS_ENDED));
        assert_eq!(kinds().await.iter().filter(|kind| *kind == "connection.closed").count(), 3);
    }

    past_connections_go_with_the_audit_trail(store) {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 0);
        for id in 1..=3 {
            journal.append(JournalEntry::Opened(opened(id))).await.unwrap();
        }
        for id in 1..=2 {
            journal.append(JournalEntry::Closed(closed(id))).await.unwrap();
        }
        journal.ship_pending(&store, at(50)).await.unwrap();
        let key = crate::SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        // A month goes only when all of it is sealed.
        store.seal_all(at(60), &key).await;
        let remove = async |days| {
            let before = at(0) + chrono::TimeDelta::days(days);
            store.remove_audit_before(before, before, &node(), &key, Uuid::now_v7).await.unwrap();
            rows(&store).await.into_iter().map(|row| row.id.as_u128()).collect::<Vec<_>>()
        };
        // They are of the first of November: the month goes whole. One that is up stays.
        assert_eq!(remove(29).await, [1, 2, 3]);
        assert_eq!(remove(30).await, [3]);
    }

    an_end_may_come_before_its_beginning(store) {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), 0);
        journal.append(JournalEntry::Closed(closed(1))).await.unwrap();
        journal.ship_pending(&store, at(50)).await.unwrap();
        assert_eq!(rows(&store).await[0].endpoint, None);
        journal.append(JournalEntry::Opened(opened(1))).await.unwrap();
        journal.ship_pending(&store, at(50)).await.unwrap();
        let row = rows(&store).await.pop().unwrap();
        assert_eq!((row.endpoint.as_deref(), row.closed, row.bytes_in), (Some("acme"), true, Some(10)));
        // Both in one batch, in the wrong order.
        journal.append(JournalEntry::Closed(closed(2))).await.unwrap();
        journal.append(JournalEntry::Opened(opened(2))).await.unwrap();
        journal.ship_pending(&store, at(50)).await.unwrap();
        assert!(rows(&store).await.iter().all(|row| row.closed && row.endpoint.is_some()));
    }

    what_a_dead_process_left_open_is_closed_unless_it_lives(store) {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), 100);
        for id in 1..=600 {
            first.append(JournalEntry::Opened(opened(id))).await.unwrap();
        }
        first.ship_pending(&store, at(50)).await.unwrap();
        // In its journal, not in the database yet.
        first.append(JournalEntry::Closed(closed(2))).await.unwrap();
        drop(first);
        let second = reopen(dir.path(), 200).await;
        second.append(JournalEntry::Opened(opened(1000))).await.unwrap();
        second.ship_pending(&store, at(300)).await.unwrap();
        let all = rows(&store).await;
        let ended = |id: u128| all.iter().find(|row| row.id.as_u128() == id).unwrap().reason.clone();
        assert_eq!(ended(1).as_deref(), Some(PROCESS_ENDED));
        assert_eq!(ended(2).as_deref(), Some("done"), "its own words were in the journal");
        assert_eq!(ended(1000), None, "this process's own is up");
        assert_eq!(all.iter().filter(|row| row.reason.as_deref() == Some(PROCESS_ENDED)).count(), 599);
        // One that was believed dead tells its own end after all.
        second.append(JournalEntry::Closed(closed(3))).await.unwrap();
        second.ship_pending(&store, at(300)).await.unwrap();
        assert_eq!(rows(&store).await[2].reason.as_deref(), Some("done"));
        assert_eq!(store.end_connections(&node(), at(1000), at(2000)).await.unwrap(), 1);
        assert_eq!(store.end_connections(&node(), at(1000), at(2001)).await.unwrap(), 0);
    }

    hundred_thousand_entries_go_through_little_memory(store) {
        let dir = tempfile::tempdir().unwrap();
        let settings = JournalSettings { segment_bytes: 1 << 20, ..JournalSettings::new(dir.path()) };
        let journal = Journal::open(settings, node(), at(0)).unwrap();
        let before = resident();
        let count = if store.url.starts_with("sqlite:") { 100_000 } else { 20_000 };
        let began = std::time::Instant::now();
        for first in (0..count / 2).step_by(500) {
            let appends = (first..first + 500).flat_map(|id| {
                let mut small = opened(id as u128 + 1);
                small.security = Security::None;
                [JournalEntry::Opened(small), JournalEntry::Closed(closed(id as u128 + 1))]
            });
            for done in futures::future::join_all(appends.map(|entry| journal.append(entry))).await {
                done.unwrap();
            }
        }
        let appended = began.elapsed();
        assert!(segment::list(dir.path()).unwrap().len() > 3);
        assert_eq!(journal.ship_pending(&store, at(0)).await.unwrap(), count);
        println!(
            "{count} entries: appended in {appended:?}, shipped in {:?}, memory +{} KiB",
            began.elapsed() - appended, resident().saturating_sub(before)
        );
        assert_eq!(segment::list(dir.path()).unwrap().len(), 1, "shipped segments are gone");
        assert_eq!(journal.stats().shipped, count);
        assert_eq!(rows(&store).await.len() as u64, count / 2);
    }
}

/// Opens what another `Journal` has just let go of; its thread may still be at its last write.
async fn reopen(directory: &Path, started: i64) -> Journal {
    loop {
        match Journal::open(JournalSettings::new(directory), node(), at(started)) {
            Ok(journal) => return journal,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_wait_for_a_database_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = TestStore::sqlite().await;
    store.close().await;
    let settings = JournalSettings { cap_bytes: 3000, ..JournalSettings::new(dir.path()) };
    let journal = Journal::open(settings, node(), at(0)).unwrap();
    let mut taken = 0;
    let refused = loop {
        match journal.append(JournalEntry::Closed(closed(taken + 1))).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(taken > 5);
    assert_eq!((journal.stats().refused, journal.stats().appended), (1, taken as u64));
    assert!(journal.ship_pending(&store, at(0)).await.is_err());
    // Back: everything that was taken arrives, and there is room again.
    let back = TestStore::sqlite().await;
    let shipping = journal.ship(&back, || at(0), async {
        // There is room once the shipped segments are removed, a moment after their rows are there.
        while rows(&back).await.len() < taken as usize || journal.stats().backlog_bytes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    shipping.await;
    journal.append(JournalEntry::Closed(closed(5000))).await.unwrap();
    journal.flush().await.unwrap();
}

#[tokio::test]
async fn a_torn_end_is_cut_at_every_byte_and_damage_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 0);
    for id in 1..=3 {
        journal.append(JournalEntry::Closed(closed(id))).await.unwrap();
    }
    drop(journal);
    let path = segment::path(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for cut in last..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let torn = segment::cut_torn_end(&path).unwrap();
        assert_eq!(torn as usize, cut - last);
        assert_eq!(std::fs::metadata(&path).unwrap().len() as usize, last);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(segment::cut_torn_end(&path).unwrap(), 0);
    // A byte in the middle: the line is set aside, the others arrive.
    let mut damaged = whole.clone();
    damaged[last - 40] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let store = TestStore::sqlite().await;
    let journal = reopen(dir.path(), 1).await;
    assert_eq!(journal.ship_pending(&store, at(0)).await.unwrap(), 2);
    assert_eq!((journal.stats().damaged, rows(&store).await.len()), (1, 2));
    let aside = std::fs::read(dir.path().join("damaged")).unwrap();
    assert!(damaged.windows(aside.len()).any(|window| window == aside), "word for word");
}

#[tokio::test]
async fn two_processes_do_not_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let _held = open(dir.path(), 0);
    let error = Journal::open(JournalSettings::new(dir.path()), node(), at(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// Not a test of its own: what the next one starts and kills.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os("WAYBILL_TEST_JOURNAL") else { return };
    let journal = open(Path::new(&directory), 7);
    for id in 1.. {
        journal.append(JournalEntry::Opened(opened(id))).await.unwrap();
        println!("appended {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_outlives_a_kill() {
    use std::io::{BufRead as _, BufReader};
    for round in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::child_that_writes_until_it_is_killed", "--nocapture"])
            .env("WAYBILL_TEST_JOURNAL", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = 0;
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, id)) = line.trim().split_once("appended ") {
                acknowledged = id.parse::<u64>().unwrap();
            }
            line.clear();
            if acknowledged == 50 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = TestStore::sqlite().await;
        let journal = reopen(dir.path(), 8).await;
        journal.ship_pending(&store, at(0)).await.unwrap();
        let arrived = rows(&store).await;
        assert!(
            acknowledged > 0 && arrived.len() as u64 >= acknowledged,
            "{} of {acknowledged}",
            arrived.len()
        );
        assert!(arrived.iter().all(|row| row.reason.as_deref() == Some(PROCESS_ENDED)));
    }
}

/// The next segment cannot be made, as on a disk that is full: the caller is told, and what comes after
/// is taken again.
#[tokio::test]
async fn a_failed_write_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 1, ..JournalSettings::new(dir.path()) };
    let journal = Journal::open(settings, node(), at(0)).unwrap();
    journal.append(JournalEntry::Closed(closed(1))).await.unwrap();
    let in_the_way = segment::path(dir.path(), 2);
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(journal.append(JournalEntry::Closed(closed(2))).await.is_err());
    assert_eq!((journal.stats().refused, journal.stats().appended), (1, 1));
    std::fs::remove_dir(&in_the_way).unwrap();
    journal.append(JournalEntry::Closed(closed(3))).await.unwrap();
    let store = TestStore::sqlite().await;
    assert_eq!(journal.ship_pending(&store, at(0)).await.unwrap(), 2);
}

/// Not a test of its own: what the next one starts where files cannot grow beyond 4 KiB.
#[tokio::test]
async fn child_that_writes_until_the_disk_is_full() {
    let Some(directory) = std::env::var_os("WAYBILL_TEST_SMALL_DISK") else { return };
    let journal = open(Path::new(&directory), 7);
    let mut taken = 0;
    let error = loop {
        match journal.append(JournalEntry::Closed(closed(taken + 1))).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("could not write the connection journal"), "{error}");
    assert_eq!((u128::from(journal.stats().appended), journal.stats().refused), (taken, 1));
    println!("taken {taken} end");
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_no_half_entry() {
    let dir = tempfile::tempdir().unwrap();
    // The limit makes the write end in the middle, as a full disk does; its signal is ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::child_that_writes_until_the_disk_is_full", "--nocapture"])
        .env("WAYBILL_TEST_SMALL_DISK", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let taken = text.split_once("taken ").unwrap().1.split_once(" end").unwrap().0.parse::<u64>().unwrap();
    assert!(taken > 3);
    assert_eq!(segment::cut_torn_end(&segment::path(dir.path(), 1)).unwrap(), 0, "taken back by the writer");
    let store = TestStore::sqlite().await;
    let journal = reopen(dir.path(), 8).await;
    assert_eq!(journal.ship_pending(&store, at(0)).await.unwrap(), taken);
}
