//! F4: a copy into an archive on another file system lies there under a temporary name until it is complete, wherever it is
//! cut off. The other file system is a small one in memory, mounted in a namespace of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use futures::StreamExt;
use model::{Offer, OfferId, OfferState, Outcome, RemotePath, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use testkit::conformance::Interlude;
use testkit::defined;
use testkit::fake::{Known, services};
use transport::folder::{After, FolderSource, FolderSourceOptions};
use transport::{Discovery, FoundOffer, Settled, Source};
use transport_file::LocalFolder;
use uuid::Uuid;

/// Set in the process that runs in the namespace.
const INSIDE: &str = "WAYBILL_TEST_MOUNTS";

/// In the process that is killed while it settles: the directory that both places are below.
const SETTLING: &str = "WAYBILL_TEST_SETTLING";

/// Bytes of the file; the other file system holds one copy and a half.
const LENGTH: usize = 2 << 20;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|n| ((n as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Runs a test of this program once more in a mount namespace; true in the process that is in it.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{test} failed in its mount namespace: {status}");
    false
}

/// A polled directory, and an archive on another file system.
struct Ground {
    root: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["in", "archive"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let archive = root.path().join("archive");
        let mut command = Command::new("mount");
        let mounted = command.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&archive).status();
        assert!(mounted.unwrap().success());
        Self { root }
    }

    fn put(&self) {
        fs::write(self.root.path().join("in/a.edi"), content()).unwrap();
    }

    /// The names of both directories that are not temporary ones, and those that are.
    fn names(&self) -> (Vec<String>, Vec<String>) {
        let in_one = |name: &str| {
            let entries = fs::read_dir(self.root.path().join(name)).unwrap();
            let below = name.to_owned();
            entries.map(move |entry| format!("{below}/{}", entry.unwrap().file_name().to_str().unwrap()))
        };
        let mut names: Vec<String> = in_one("in").chain(in_one("archive")).collect();
        names.sort();
        names.into_iter().partition(|name| !(name.contains("/.") && name.ends_with(".a")))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.root.path().join(name)).unwrap()
    }

    /// Checks that the file is in the archive alone, and whole.
    fn is_archived(&self, play: &str) {
        assert_eq!(self.names(), (vec!["archive/a.edi".to_owned()], vec![]), "{play}");
        assert!(self.read("archive/a.edi") == content(), "{play}: another content");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.root.path().join("archive")).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn source(root: &Path) -> FolderSource {
    let (from, to) = (root.join("in"), root.join("archive"));
    let after = After::Archive { directory: to.to_str().unwrap().into(), timestamp: false };
    let poll =
        defined::polling(defined::poll("place", after), |polling| polling.stable_for = Default::default());
    let options = FolderSourceOptions {
        flow: Arc::new(defined::flow("flow", poll)),
        endpoint: "place".into(),
        directory: RemotePath::default(),
    };
    let local = LocalFolder::new(path(&from), vec![path(&from), path(&to)]);
    FolderSource::new(Arc::new(local), options, services(Arc::new(Interlude::default()))).unwrap()
}

async fn found(source: &FolderSource) -> Vec<FoundOffer> {
    let discovery = Discovery::first(Arc::new(Known::default()));
    source.discover(discovery).await.unwrap().map(Result::unwrap).collect().await
}

async fn offer(source: &FolderSource) -> Offer {
    let mut found = found(source).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let FoundOffer { identity, source_data } = found.remove(0);
    Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity,
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data,
    }
}

/// Settles in another process, begun by `before`; whether it was killed.
fn is_killed_settling(ground: &Ground, before: &[OsString]) -> bool {
    let mut words = before.iter().cloned();
    let program: PathBuf = words.next().unwrap().into();
    let output = Command::new(program)
        .args(words)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "settles_for_another_process", "--nocapture"])
        .env(SETTLING, ground.root.path())
        .output()
        .expect("strace and prlimit are installed");
    let is_killed = output.status.signal().is_some();
    assert!(is_killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_killed
}

/// Checks what lies there after a kill, then settles once more.
async fn recovers(ground: &Ground, offer: &Offer, play: &str) {
    let (finals, temporary) = ground.names();
    for name in &finals {
        assert!(ground.read(name) == content(), "{play}: {name} is not whole");
    }
    let is_whole = |name: &String| ground.read(name) == content();
    assert!(!finals.is_empty() || temporary.iter().any(is_whole), "{play}: no whole file: {temporary:?}");
    // No poll of the archive takes what is unfinished, whatever suffix it ignores and whatever its mask.
    let polled = defined::polling(defined::poll("archive", After::Keep), |polling| {
        polling.temporary_suffix = "_tmp".into();
        polling.stable_for = Default::default();
    });
    let archive = path(&ground.root.path().join("archive"));
    let options = FolderSourceOptions {
        flow: Arc::new(defined::flow("taker", polled)),
        endpoint: "archive".into(),
        directory: RemotePath::default(),
    };
    let local = Arc::new(LocalFolder::new(archive.clone(), vec![archive]));
    let taker = FolderSource::new(local, options, services(Arc::new(Interlude::default()))).unwrap();
    let taken = found(&taker).await.len();
    let archived = finals.iter().filter(|name| name.starts_with("archive/")).count();
    assert_eq!(taken, archived, "{play}: {finals:?}, {temporary:?}");

    let source = source(ground.root.path());
    assert_eq!(source.settle(offer, Outcome::Taken).await.unwrap(), Settled::Done, "{play}");
    ground.is_archived(play);
    fs::remove_file(ground.root.path().join("archive/a.edi")).unwrap();
}

#[tokio::test]
async fn settles_for_another_process() {
    let Some(root) = std::env::var_os(SETTLING) else { return };
    let source = source(Path::new(&root));
    let offer = offer(&source).await;
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn wherever_it_is_killed_only_a_whole_copy_has_the_final_name() {
    if !is_inside("wherever_it_is_killed_only_a_whole_copy_has_the_final_name") {
        return;
    }
    let ground = Ground::new();
    let mut kills = 0;
    for call in ["copy_file_range", "sendfile", "utimensat", "fsync", "renameat2", "unlinkat"] {
        for number in 1.. {
            ground.put();
            let offer = offer(&source(ground.root.path())).await;
            let log = ground.root.path().join("strace");
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let words = ["strace", "-f", "-e", &format!("trace={call}"), "-e", &inject, "-o"].map(Into::into);
            let words: Vec<OsString> = words.into_iter().chain([log.into_os_string()]).collect();
            let play = format!("{call} {number}");
            if !is_killed_settling(&ground, &words) {
                ground.is_archived(&play);
                fs::remove_file(ground.root.path().join("archive/a.edi")).unwrap();
                break;
            }
            kills += 1;
            recovers(&ground, &offer, &play).await;
        }
    }
    // A sync of the copy and of directories, renames, the removal of the original: at least.
    assert!(kills >= 8, "{kills} kills");
}

/// The limit on the size of files kills the process in the middle of the copy.
#[tokio::test]
async fn a_half_written_copy_has_a_temporary_name() {
    if !is_inside("a_half_written_copy_has_a_temporary_name") {
        return;
    }
    let ground = Ground::new();
    ground.put();
    let offer = offer(&source(ground.root.path())).await;
    let half = format!("--fsize={}", LENGTH / 2);
    assert!(is_killed_settling(&ground, &["prlimit".into(), "--core=0".into(), half.into()]));
    let (finals, temporary) = ground.names();
    assert_eq!(finals, ["in/a.edi"]);
    let [left] = &temporary[..] else { panic!("{temporary:?}") };
    assert_eq!(ground.read(left), content()[..LENGTH / 2], "{left}");
    recovers(&ground, &offer, "cut in the middle").await;
}

/// The other file system is full in the middle of the copy: nothing of it stays, and the original does.
#[tokio::test]
async fn where_the_other_file_system_is_full_nothing_stays() {
    if !is_inside("where_the_other_file_system_is_full_nothing_stays") {
        return;
    }
    let ground = Ground::new();
    ground.put();
    let (source, filler) = (source(ground.root.path()), ground.root.path().join("archive/filler"));
    let offer = offer(&source).await;
    fs::write(&filler, vec![1; LENGTH]).unwrap();
    let error = source.settle(&offer, Outcome::Taken).await.unwrap_err();
    assert_eq!(error.kind(), model::ErrorKind::StorageFull, "{}", error.chain());
    assert_eq!(ground.names(), (vec!["archive/filler".to_owned(), "in/a.edi".to_owned()], vec![]));
    fs::remove_file(&filler).unwrap();
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    ground.is_archived("there is room again");
}
