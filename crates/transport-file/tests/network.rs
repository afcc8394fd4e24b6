//! The suite that every folder passes, over a network file system (sshfs), and a directory that is mounted below itself. Each
//! test runs in a mount namespace of its own, so that nothing stays mounted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failed expectation is how it speaks"
)]

use futures::StreamExt;
use model::RemotePath;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::conformance::{Place, all};
use testkit::defined;
use testkit::fake::{Known, services};
use testkit::server::Server;
use testkit::xfs::is_inside;
use transport::folder::{After, FolderSource, FolderSourceOptions};
use transport::{Discovery, Source};
use transport_file::LocalFolder;

fn path(path: &Path) -> RemotePath {
    RemotePath::from_bytes(path.as_os_str().as_bytes())
}

/// The files of an SSH server, mounted here.
struct Mounted {
    sshfs: Child,
    at: tempfile::TempDir,
    _server: Server,
}

impl Mounted {
    fn new() -> Self {
        let server = Server::start("sshd", &[]);
        let at = tempfile::tempdir().unwrap();
        let text = |name: &str| server.text(name).to_owned();
        // As docs/file.md asks for: nothing that other machines change is kept in a cache.
        let options = format!(
            "IdentityFile={},UserKnownHostsFile={},IdentitiesOnly=yes,dir_cache=no,attr_timeout=0,entry_timeout=0",
            text("key"),
            server.info["known_hosts"]["port"].as_str().unwrap()
        );
        let sshfs = Command::new("sshfs")
            .args(["-f", "-p", &server.port().to_string(), "-o", &options])
            .arg(format!("{}@127.0.0.1:{}", text("user"), text("folder")))
            .arg(at.path())
            .spawn()
            .expect("sshfs is installed by tests/servers/prepare.sh");
        let begun = Instant::now();
        while !std::fs::read_to_string("/proc/self/mounts").unwrap().contains(at.path().to_str().unwrap()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the mount did not appear");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { sshfs, at, _server: server }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.at.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the mount stays");
        drop(self.sshfs.kill());
        drop(self.sshfs.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_file_system_conforms() {
    if !is_inside("a_network_file_system_conforms") {
        return;
    }
    let (mounted, number) = (Mounted::new(), AtomicUsize::new(0));
    let root = mounted.at.path().to_owned();
    all(|| async {
        let place: PathBuf = root.join(number.fetch_add(1, Ordering::Relaxed).to_string());
        let (directory, beside) = (place.join("in"), place.join("beside"));
        std::fs::create_dir_all(&directory).unwrap();
        let folder = LocalFolder::new(path(&directory), vec![path(&place)]);
        Place::new(Arc::new(folder), path(&directory), path(&beside)).resuming()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_mounted_below_itself_ends() {
    if !is_inside("a_directory_that_is_mounted_below_itself_ends") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("in");
    std::fs::create_dir_all(directory.join("loop")).unwrap();
    std::fs::write(directory.join("a.edi"), "ISA").unwrap();
    // Each mount shows the one before, so that the tree goes on below itself.
    for _ in 0..2 {
        let deepest = directory.join("loop");
        let bound = Command::new("mount").arg("--rbind").args([&directory, &deepest]).status().unwrap();
        assert!(bound.success());
    }
    let folder = Arc::new(LocalFolder::new(path(&directory), vec![path(root.path())]));
    let poll = defined::polling(defined::poll("in", After::Keep), |polling| polling.recursive = true);
    let options = FolderSourceOptions {
        flow: Arc::new(defined::flow("flow", poll)),
        endpoint: "in".into(),
        directory: path(&directory),
    };
    let source =
        FolderSource::new(folder, options, services(Arc::new(testkit::clock::FixedClock::default())))
            .unwrap();
    let found: Vec<_> =
        source.discover(Discovery::first(Arc::new(Known::default()))).await.unwrap().collect().await;
    assert!((1..=64).contains(&found.len()), "{}", found.len());
}
