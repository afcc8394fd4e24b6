//! Which algorithms are offered, and what a server gets that has only old ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{ErrorKind, Retry, Security};
use support::{Build, Sshd, World, list, noise, read, write};

async fn lists(world: &World, build: Build) -> model::Result<()> {
    list(&world.folder(&build.set("connect_retries", "0").done()), "").await.map(drop)
}

/// What the last connection's record says: key exchange, cipher, MAC, and what was weakened.
fn last(world: &World) -> (String, String, String, Vec<&'static str>) {
    let opened = world.records.opened.lock().unwrap();
    let opened = opened.last().unwrap();
    let Security::Ssh { kex, cipher, mac, .. } = &opened.record.security else { panic!("{opened:?}") };
    (kex.clone(), cipher.clone(), mac.clone(), opened.weakened.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_offered_in_its_order_and_falls_back_through_it() {
    let server = Sshd::with(&["Ciphers aes128-ctr,aes256-ctr,aes256-gcm@openssh.com"]);
    let world = World::new();
    let named = |ciphers: &[&str]| {
        let build = server.endpoint().list("ciphers", ciphers).set("macs", "hmac-sha2-512");
        build.set("key_exchange", "ecdh-sha2-nistp384")
    };
    lists(&world, named(&["aes256-ctr", "aes128-ctr"])).await.unwrap();
    let seen = last(&world);
    let expected = ("ecdh-sha2-nistp384".into(), "aes256-ctr".into(), "hmac-sha2-512".into(), Vec::new());
    assert_eq!(seen, expected);
    // The server has not the first.
    lists(&world, named(&["aes192-ctr", "aes128-ctr"])).await.unwrap();
    assert_eq!(last(&world).1, "aes128-ctr");
    lists(&world, named(&["aes192-ctr", "auto"])).await.unwrap();
    assert_eq!(last(&world).1, "aes256-gcm@openssh.com");
    let error = lists(&world, named(&["aes192-ctr"])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent));
    let text = error.chain();
    assert!(text.contains("aes192-ctr") && text.contains("aes128-ctr"), "{text}");
    // The key types on file come first; a list without them is the endpoint's own choice.
    let pinned = server.field("host_keys.rsa.fingerprint").to_owned();
    let rsa = server.endpoint().set("host_key", &format!("ssh-rsa {pinned}"));
    lists(&world, rsa.list("host_key_algorithms", &["ssh-ed25519", "rsa-sha2-256"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_old_algorithms_alone_is_used_where_that_is_allowed_and_the_record_says_so() {
    for (line, weak) in [
        ("Ciphers 3des-cbc", "3des-cbc"),
        ("Ciphers aes128-cbc", "aes128-cbc"),
        ("MACs hmac-sha1", "hmac-sha1"),
        ("KexAlgorithms diffie-hellman-group14-sha1", "diffie-hellman-group14-sha1"),
        ("KexAlgorithms diffie-hellman-group1-sha1", "diffie-hellman-group1-sha1"),
        ("KexAlgorithms diffie-hellman-group-exchange-sha1", "diffie-hellman-group-exchange-sha1"),
        ("HostKeyAlgorithms ssh-rsa", "ssh-rsa"),
    ] {
        // Of others the server has the ones that everybody has.
        let ciphers = if weak == "hmac-sha1" { "Ciphers aes256-ctr" } else { "Compression no" };
        let server = Sshd::with(&[line, ciphers]);
        let world = World::new();
        let rsa = format!("ssh-rsa {}", server.field("host_keys.rsa.fingerprint"));
        let build = || {
            let build = server.endpoint();
            if weak == "ssh-rsa" { build.set("host_key", &rsa) } else { build }
        };
        let error = lists(&world, build()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{line}: {error:?}");
        assert!(error.chain().contains("legacy"), "{line}: {error}");
        let folder = world.folder(&build().set("legacy", "true").done());
        let content = noise(300_000);
        write(&folder, "file", &content).await.unwrap_or_else(|e| panic!("{line}: {e:?}"));
        assert!(read(&folder, "file", 0).await.unwrap() == content, "{line}");
        assert_eq!(last(&world).3, [weak], "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fips_only_approved_algorithms_are_offered() {
    let world = World::new();
    let server = Sshd::start();
    lists(&world, server.endpoint().set("fips", "true")).await.unwrap();
    let (kex, cipher, ..) = last(&world);
    assert_eq!((kex.as_str(), cipher.as_str()), ("ecdh-sha2-nistp256", "aes256-gcm@openssh.com"));
    for line in ["Ciphers chacha20-poly1305@openssh.com", "KexAlgorithms curve25519-sha256"] {
        let server = Sshd::with(&[line]);
        lists(&world, server.endpoint()).await.unwrap();
        let error = lists(&world, server.endpoint().set("fips", "true")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.chain().contains("approved"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_compressed_where_that_is_asked_for() {
    let server = Sshd::with(&["LogLevel DEBUG1"]);
    let text = "the same line again\n".repeat(100_000);
    for (asked, compressed) in
        [(&[][..], false), (&["zlib@openssh.com"], true), (&["zlib", "zlib@openssh.com"], true)]
    {
        let world = World::new();
        let folder = world.folder(&server.endpoint().list("compression", asked).done());
        write(&folder, "text", text.as_bytes()).await.unwrap();
        assert!(read(&folder, "text", 0).await.unwrap() == text.as_bytes());
        drop(folder);
        world.settled().await;
        let closed = world.records.closed.lock().unwrap();
        let (sent, size) = (closed[0].bytes_out, text.len() as u64);
        assert_eq!(sent < size / 10, compressed, "{asked:?}: {sent} of {size}");
    }
    // OpenSSH's server has no zlib before the login: a list without anything else is refused, and says why.
    let error = lists(&World::new(), server.endpoint().set("compression", "zlib")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[test]
fn names_that_are_not_known_or_not_allowed_are_refused_when_definitions_are_checked() {
    let found = |name: &str, value: &str| {
        let build = Build::new("sftp://h".into(), "u").set("password", "p");
        let build = build.set("host_key", &format!("SHA256:{}", "A".repeat(43))).set(name, value);
        testkit::defined::findings(|findings| {
            transport::folder::FolderProtocol::place(
                &transport_sftp::Sftp::new(tokio_net()),
                &build.done(),
                findings,
            );
        })
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    for (name, value, words) in [
        ("ciphers", "aes256-gcm", "aes256-gcm@openssh.com"),
        ("macs", "hmac-sha1", "legacy = true"),
        ("key_exchange", "diffie-hellman-group1-sha1", "legacy = true"),
        ("host_key_algorithms", "ssh-dss", "1024 bits"),
    ] {
        let found = found(name, value);
        assert!(matches!(&found[..], [one] if one.contains(words) && one.contains(name)), "{found:?}");
    }
    assert_eq!(found("ciphers", "auto"), [""; 0]);
}

fn tokio_net() -> net::Net {
    World::new().net
}
