//! Files that are verified by a checksum that the server computes: ProFTPD's `mod_digest`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{Server, World, noise};
use testkit::through::Attempt;
use transport::folder::Verify;

/// Delivers a file of this name; answers how it was verified.
async fn verified(extra: &[&str], name: &str) -> String {
    let options: Vec<&str> = extra.iter().flat_map(|line| ["--extra", line]).collect();
    let server = Server::start("proftpd", &options);
    server.make("out");
    let world = World::new(server.definitions());
    let folder = world.folder(&server.endpoint().done());
    let content = noise(300_007);
    let mut attempt = Attempt::into("files/out");
    attempt.options.verify = Verify::Checksum;
    let receipt = attempt.deliver(&folder, name, &content, &world.services).await.unwrap();
    assert!(std::fs::read(server.files().join("out").join(name)).unwrap() == content);
    receipt["verified_by"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_checksum_that_the_server_computes_is_used() {
    let module = "LoadModule mod_digest.c";
    for (algorithms, name, words) in [
        (None, "a.edi", "computed the file's SHA-256"),
        (None, "a b.edi", "computed the file's SHA-256"),
        (Some("DigestAlgorithms sha512 md5"), "a.edi", "computed the file's SHA-512"),
        (Some("DigestAlgorithms sha1 md5"), "a.edi", "computed the file's SHA-1"),
        (Some("DigestAlgorithms md5"), "a.edi", "computed the file's MD5"),
        (Some("DigestAlgorithms crc32"), "a.edi", "read back"),
        (Some("DigestEngine off"), "a.edi", "read back"),
    ] {
        let extra: Vec<&str> = [module].into_iter().chain(algorithms).collect();
        let said = verified(&extra, name).await;
        assert!(said.contains(words), "{algorithms:?} {name}: {said}");
    }
    assert!(verified(&[], "a.edi").await.contains("read back"));
}
