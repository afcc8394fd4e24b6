//! Files that are verified by a checksum that the server computes: ProFTPD's `mod_sftp` has `check-file`, OpenSSH has not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;
use support::{Build, Sshd, World, noise};
use testkit::server::Server;
use testkit::through::Attempt;
use transport::folder::Verify;

/// Delivers a file; answers how it was verified.
async fn delivered(endpoint: Build, directory: &str, name: &str) -> model::Result<String> {
    let world = World::new();
    let folder = world.folder(&endpoint.done());
    let mut attempt = Attempt::into(directory);
    attempt.options.verify = Verify::Checksum;
    let receipt = attempt.deliver(&folder, name, &noise(300_007), &world.services).await?;
    Ok(receipt["verified_by"].as_str().unwrap().to_owned())
}

async fn verified(endpoint: Build, directory: &str) -> String {
    delivered(endpoint, directory, "a b.edi").await.unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_command_at_the_server_computes_the_checksum_where_there_is_no_check_file() {
    let server = Sshd::start();
    for command in ["sha256sum", "openssl dgst -sha256 -r"] {
        for name in ["-it's $(touch x) `a`;.edi", "line\nbreak\\.edi"] {
            let name = format!("{}{name}", command.len());
            let endpoint = server.endpoint().set("checksum_command", command);
            let said = delivered(endpoint, "", &name).await.unwrap();
            assert!(said.contains("the server computed the file's SHA-256"), "{command} {name}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_command_gives_no_sha256_the_file_is_read_back() {
    let server = Sshd::start();
    for (command, name) in [("false", "a.edi"), ("sha512sum", "b.edi"), ("no-such-program", "c.edi")] {
        let endpoint = server.endpoint().set("checksum_command", command);
        let said = delivered(endpoint, "", name).await.unwrap();
        assert!(said.contains("read back"), "{command}: {said}");
    }
    // An account that may transfer files and nothing else.
    let server = Sshd::with(&["ForceCommand internal-sftp"]);
    let endpoint = server.endpoint().set("checksum_command", "sha256sum");
    let said = delivered(endpoint, server.files().to_str().unwrap(), "d.edi").await.unwrap();
    assert!(said.contains("read back"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sum_fails_the_delivery() {
    let server = Sshd::start();
    let zeros = format!("echo {}", "0".repeat(64));
    let error = delivered(server.endpoint().set("checksum_command", &zeros), "", "a.edi").await.unwrap_err();
    assert_eq!(error.kind(), model::ErrorKind::IntegrityFailed, "{error}");
    assert!(std::fs::read_dir(server.files()).unwrap().next().is_none(), "nothing is left there");
}
