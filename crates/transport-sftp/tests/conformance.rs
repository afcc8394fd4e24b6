//! The suite that every folder passes, over a real OpenSSH server.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Sshd, World, partner};
use testkit::conformance::{Place, all};
use testkit::sftp::SftpServer;

async fn conforms(lines: &[&str]) {
    let server = Arc::new(Sshd::with(lines));
    let world = World::new();
    let folder = world.folder(&server.endpoint().done());
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let base = server.files().join(format!("in-{number}"));
        std::fs::create_dir(&base).unwrap();
        let beside = server.files().join(format!("beside-{number}"));
        // Absolute, as sftp-server begins elsewhere than internal-sftp.
        Place::new(Arc::clone(&folder), base.to_str().unwrap(), beside.to_str().unwrap())
            .connected()
            .resuming()
    })
    .await;
    drop(folder);
    world.settled().await;
    assert!(world.records.closed.lock().unwrap().iter().all(|closed| !closed.failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_sftp_conforms() {
    conforms(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_server_conforms() {
    conforms(&["Subsystem sftp /usr/lib/openssh/sftp-server"]).await;
}

/// Another server, whose root is its folder. `change` says what it cannot do.
async fn other_conforms(server: &str, change: fn(Place) -> Place) {
    let server = Arc::new(Sshd::other(server));
    let world = World::new();
    let folder = world.folder(&server.by_password().done());
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir(server.files().join(format!("in-{number}"))).unwrap();
        let (base, beside) = (format!("in-{number}"), format!("beside-{number}"));
        change(Place::new(Arc::clone(&folder), base.as_str(), beside.as_str()).connected())
    })
    .await;
    drop(folder);
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncssh_conforms() {
    other_conforms("asyncssh", |place| Place { long_listing: 1_000, ..place }).await;
}

/// It reads names as UTF-8 alone.
#[tokio::test(flavor = "multi_thread")]
async fn paramiko_conforms() {
    other_conforms("paramiko", |place| Place { long_listing: 1_000, any_bytes: false, ..place }).await;
}

/// A server that offers nothing beyond version 3, as many of partners do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_extensions_conforms() {
    let server = SftpServer::start().unwrap();
    let world = World::new();
    let folder = world.folder(&partner(&server, "").done());
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir(server.at(&format!("in-{number}"))).unwrap();
        let (base, beside) = (format!("in-{number}"), format!("beside-{number}"));
        Place::new(Arc::clone(&folder), base.as_str(), beside.as_str()).connected().resuming()
    })
    .await;
}
