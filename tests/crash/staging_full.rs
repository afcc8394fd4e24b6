//! The staging disk is full: nothing new is taken and the log says why, no message is acknowledged, and
//! when there is room again everything goes on by itself.

use crate::Database;
use crate::as2_kills::receiver;
use crate::as2_sender::{Answer, Letter};
use crate::books::Books;
use crate::kills::flow;
use crate::traffic::{Route, Traffic};
use crate::victim::tail;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use suites::Gateway;
use testkit::ledger::Ledger;

/// A user without rights of its own: `nobody`.
const NOBODY: u32 = 65_534;

/// Less room than `min_free`: Waybill stops before the disk is full.
#[test]
fn less_room_than_is_to_stay_free_on_sqlite() {
    run(Database::Sqlite, "16MiB", None);
}

#[test]
fn less_room_than_is_to_stay_free_on_postgres() {
    run(Database::Postgres, "16MiB", None);
}

/// No room at all, and nothing that stopped Waybill before: the write itself fails.
#[test]
fn no_room_at_all() {
    run(Database::Sqlite, "0B", None);
}

/// As it is run: by a user for whom a disk is full while there still are the blocks that are kept for root.
#[test]
fn less_room_than_is_to_stay_free_for_a_user_without_rights() {
    run(Database::Sqlite, "16MiB", Some(NOBODY));
}

#[test]
fn no_room_for_a_user_without_rights() {
    run(Database::Sqlite, "0B", Some(NOBODY));
}

/// A small file system of its own; unmounted when dropped.
struct Disk {
    at: PathBuf,
    user: Option<u32>,
}

impl Disk {
    /// In memory; for a user other than root one that keeps blocks for root, in a file beside it.
    fn mount(at: &Path, user: Option<u32>) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        if user.is_some() {
            let image = at.with_extension("ext4");
            fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
            let made = Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-m", "10"]).arg(&image).status();
            assert!(made.unwrap().success());
            mount.args(["-o", "loop"]).arg(image).arg(at);
        } else {
            mount.args(["-t", "tmpfs", "-o", "size=48m", "waybill-test"]).arg(at);
        }
        assert!(mount.status().unwrap().success(), "a file system of its own can only be mounted by root");
        Self { at: at.to_owned(), user }
    }

    /// Takes all the room there is for the user.
    fn fill(&self) {
        // What the file system kept for its own books comes free when they are written.
        for _ in 0..10 {
            let mut fill = Command::new("sh");
            fill.args(["-c", "exec cat /dev/zero 2>&- >>\"$0\""]).arg(self.at.join("filler"));
            if let Some(user) = self.user {
                fill.uid(user).gid(user);
            }
            assert!(!fill.status().unwrap().success(), "the disk has no end");
            assert!(Command::new("sync").arg("-f").arg(&self.at).status().unwrap().success());
            if self.blocks("%a") == 0 {
                break;
            }
        }
        assert!(self.blocks("%a") < 512, "the disk is not full: {}", self.blocks("%a"));
        assert_eq!(self.blocks("%f") > 0, self.user.is_some(), "blocks kept for root");
    }

    fn blocks(&self, which: &str) -> u64 {
        let told = Command::new("stat").args(["-f", "-c", which]).arg(&self.at).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
    }

    fn free(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

fn run(database: Database, min_free: &str, user: Option<u32>) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("full");
    let disk = Disk::mount(&root.path().join("disk"), user);
    let route = Route::make(root.path(), "fast", 16 << 10, 20);
    let inbound = root.path().join("inbound");
    fs::create_dir_all(&inbound).unwrap();
    let mut gateway = receiver(root.path(), url.as_deref(), &inbound);
    gateway.define("more.toml", &flow(&route, ""));
    let staging = disk.at.join("staging");
    gateway.set_variable("WAYBILL__STAGING__DIRECTORY", Some(staging.to_str().unwrap()));
    gateway.set_variable("WAYBILL__STAGING__MIN_FREE", Some(min_free));
    if let Some(user) = user {
        gateway.run_as(user);
        let mut give = Command::new("chown");
        give.args(["-R", &format!("{user}:{user}")]).arg(root.path());
        assert!(give.status().unwrap().success());
    }
    gateway.start();
    let traffic = Traffic::begin(root.path(), vec![route]);
    let log = |gateway: &Gateway| tail(gateway);
    let mut ledger = Ledger::new();
    let letter = |name: &str| {
        let content = name.as_bytes().repeat(1000);
        Letter::pack(root.path(), &root.path().join("keys"), name, content)
    };
    let patience = Duration::from_secs(10);

    traffic.flows(20, Duration::from_secs(20), &|| log(&gateway));
    let before = letter("before.txt");
    assert_eq!(before.post(gateway.http, patience), Answer::Positive, "{}", log(&gateway));
    ledger.give(&before.name, &before.content);

    disk.fill();
    // What is staged goes on; nothing new comes.
    std::thread::sleep(Duration::from_secs(5));
    let (given, arrived) = traffic.counts();
    assert!(given > arrived, "files went on through a full disk: {given} {arrived}");
    let books = Books { gateway: &gateway, url: url.as_deref() };
    assert_eq!(
        books.count("select count(*) from transfers where state <> 'completed'"),
        0,
        "{}",
        log(&gateway)
    );
    let warning = gateway
        .log()
        .lines()
        .filter(|line| line.contains("files wait at their source"))
        .map(str::to_owned)
        .next_back();
    let warning = warning.unwrap_or_else(|| panic!("no word of it\n{}", log(&gateway)));
    let events = books.count("select count(*) from audit_events where kind = 'flow.waits_for_room'");
    assert!(events > 0, "no audit event of it\n{}", log(&gateway));
    let late = letter("late.txt");
    let answer = late.post(gateway.http, patience);
    assert!(!matches!(answer, Answer::Positive | Answer::Refused), "{answer:?}\n{}", log(&gateway));
    std::thread::sleep(Duration::from_secs(2));
    // An empty file needs no room: where nothing is kept free it may come through.
    let came = traffic.counts().1 - arrived;
    assert!(
        came == 0 || min_free == "0B" && came < 3,
        "{came} files went on through a full disk\n{}",
        log(&gateway)
    );

    disk.free();
    traffic.flows(20, Duration::from_secs(45), &|| log(&gateway));
    assert_eq!(late.post(gateway.http, patience), Answer::Positive, "{}", log(&gateway));
    ledger.give(&late.name, &late.content);
    traffic.settle(Duration::from_secs(45), &|| log(&gateway));
    ledger.collect(&inbound, |name| name.starts_with('.')).unwrap();
    assert!(ledger.balance().is_exact(), "by AS2: {}\n{}", ledger.balance(), log(&gateway));
    let parts = fs::read_dir(staging.join("partial")).unwrap().count();
    assert_eq!(parts, 0, "parts of files that could not be staged are left\n{}", log(&gateway));
    Books { gateway: &gateway, url: url.as_deref() }.wait_until_settled();
    assert!(gateway.stop().success(), "{}", log(&gateway));
    let books = Books { gateway: &gateway, url: url.as_deref() };
    let (files, _) = traffic.counts();
    books.assert_complete(files + 2, &traffic.account());
    books.assert_audit();
    println!("{database:?}, {min_free}: {files} files; while full: {answer:?}; {warning}");
}
