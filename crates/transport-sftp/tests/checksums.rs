//! Files that are verified by a checksum that the server computes: ProFTPD's `mod_sftp` has `check-file`, OpenSSH has not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;
use support::{Build, Sshd, World, noise};
use testkit::server::Server;
use testkit::through::Attempt;
use transport::folder::Verify;

/// Delivers a file; answers how it was verified.
async fn verified(endpoint: Build, directory: &str) -> String {
    let world = World::new();
    let folder = world.folder(&endpoint.done());
    let mut attempt = Attempt::into(directory);
    attempt.options.verify = Verify::Checksum;
    let receipt = attempt.deliver(&folder, "a b.edi", &noise(300_007), &world.services).await.unwrap();
    receipt["verified_by"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_check_file_computes_the_checksum() {
    let server = Server::start("ftp", &["--server", "proftpd-sftp"]);
    let keys = Path::new(server.text("certificate")).with_file_name("host.pub");
    let endpoint = Build::new(format!("sftp://127.0.0.1:{}", server.port()), server.text("user"))
        .set("password", server.text("password"))
        .set("host_key", support::read_text(keys).trim());
    let said = verified(endpoint, "files").await;
    assert!(said.contains("the server computed the file's SHA-256"), "{said}");
    let written = Path::new(server.text("folder")).join("a b.edi");
    assert!(std::fs::read(written).unwrap() == noise(300_007));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_check_file_the_file_is_read_back() {
    let server = Sshd::start();
    let said = verified(server.endpoint(), "").await;
    assert!(said.contains("read back"), "{said}");
}
