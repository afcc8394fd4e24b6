//! The suite that every folder passes, over real servers: ProFTPD, pure-ftpd and pyftpdlib, which have MLSD, and vsftpd, which
//! has not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Build, Server, World};
use testkit::conformance::{Place, all};

async fn conforms(server: Server, endpoint: Build) {
    let server = Arc::new(server);
    let world = World::new(server.definitions());
    let folder = world.folder(&endpoint.done());
    let has_tls = !server.field("tls").is_empty();
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let (base, beside) = (format!("files/in-{number}"), format!("files/beside-{number}"));
        server.make(&format!("in-{number}"));
        let place = Place::new(Arc::clone(&folder), base.as_str(), beside.as_str()).connected().resuming();
        Place {
            carries: |name| !name.iter().any(|byte| matches!(byte, b'\n' | 255)),
            // pure-ftpd shows an underscore in the stead of some characters, and refuses a backslash.
            keeps: match server.field("server") {
                "pureftpd" => |name| {
                    !name.ends_with(b" ")
                        && !name.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\')
                },
                _ => |_| true,
            },
            // pyftpdlib reads and writes names as UTF-8.
            any_bytes: server.field("server") != "pyftpdlib",
            long_listing: if has_tls { 300 } else { 1_000 },
            by_the_minute: server.field("server") == "vsftpd",
            ..place
        }
    })
    .await;
    drop(folder);
    world.settled().await;
    let opened = world.records.opened.lock().unwrap();
    let controls: Vec<_> = opened.iter().filter(|opened| opened.record.control.is_none()).collect();
    let data = opened.iter().filter_map(|opened| opened.record.control);
    assert!(data.count() > 0);
    for opened in opened.iter() {
        let Some(control) = opened.record.control else { continue };
        assert!(controls.iter().any(|opened| opened.record.id == control), "{opened:?}");
        assert_eq!(opened.record.purpose, model::Purpose::Data);
        assert_eq!(opened.record.endpoint.as_deref(), Some("acme"));
    }
    let closed = world.records.closed.lock().unwrap();
    // Under TLS a transfer that the server refuses, or that is left, ends in the middle of TLS, and ProFTPD then closes the
    // control connection too.
    let failed: Vec<_> = closed.iter().filter(|closed| closed.failed && !has_tls).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proftpd_conforms() {
    let server = Server::start("proftpd", &[]);
    let endpoint = server.endpoint();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vsftpd_conforms() {
    let server = Server::start("vsftpd", &[]);
    let endpoint = server.endpoint();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proftpd_conforms_under_tls() {
    let server = Server::start("proftpd", &["--tls", "explicit"]);
    let endpoint = server.explicit();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vsftpd_conforms_under_tls() {
    let server = Server::start("vsftpd", &["--tls", "implicit"]);
    let endpoint = server.implicit();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pureftpd_conforms() {
    let server = Server::start("pureftpd", &[]);
    let endpoint = server.endpoint();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pureftpd_conforms_under_tls() {
    let server = Server::start("pureftpd", &["--tls", "explicit"]);
    let endpoint = server.explicit();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pyftpdlib_conforms() {
    let server = Server::start("pyftpdlib", &[]);
    let endpoint = server.endpoint();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pyftpdlib_conforms_under_tls() {
    let server = Server::start("pyftpdlib", &["--tls", "explicit"]);
    let endpoint = server.explicit();
    conforms(server, endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proftpd_conforms_over_active_connections() {
    let server = Server::start("proftpd", &[]);
    let endpoint = server.endpoint().set("data_connection", "active");
    conforms(server, endpoint).await;
}
