//! Who lets us in, and how it is told when nobody does.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, with servers of its own")]

mod support;

use futures::future::join_all;
use model::definition::{Credential, Definitions, KeyDefinition};
use model::{Error, ErrorKind, Retry, Secret, Security};
use std::process::Command;
use std::sync::Arc;
use support::{Build, Sshd, World, list, read_text};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

async fn refused(world: &World, build: Build) -> Error {
    // Each server here answers once.
    list(&world.folder(&build.set("connect_retries", "0").done()), "").await.unwrap_err()
}

fn is(error: &Error, kind: ErrorKind, retry: Retry, parts: &[&str]) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error:?}");
    let text = error.chain();
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_logs_in_and_the_record_tells_how() {
    let server = Sshd::start();
    let world = World::new();
    let passphrase = server.field("passphrase");
    for (key, passphrase) in [("key", ""), ("key_ecdsa", ""), ("key_rsa", ""), ("key_encrypted", passphrase)]
    {
        let build = server.endpoint().set("private_key", &read_text(server.field(key)));
        let endpoint = build.set("passphrase", passphrase).done();
        list(&world.folder(&endpoint), "").await.unwrap_or_else(|e| panic!("{key}: {e:?}"));
    }
    world.settled().await;
    let opened = world.records.opened.lock().unwrap();
    assert_eq!(opened.len(), 4);
    let Security::Ssh { host_key_type, host_key, kex, cipher, mac, server: line } =
        &opened[0].record.security
    else {
        panic!("{:?}", opened[0])
    };
    assert_eq!((host_key_type.as_str(), host_key.as_str()), ("ssh-ed25519", server.field("fingerprint")));
    assert_eq!((cipher.as_str(), mac.as_str()), ("aes256-gcm@openssh.com", ""));
    assert!(kex.contains("25519") && line.as_str().starts_with("SSH-2.0-OpenSSH"), "{kex} {line}");
    let closed = world.records.closed.lock().unwrap();
    assert!(closed.iter().all(|end| !end.failed && end.requests == 1 && end.bytes_in > 0), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_pem_log_in_encrypted_too() {
    let server = Sshd::start();
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    for (key, form, passphrase) in [
        ("key_rsa", "PEM", ""),
        ("key_rsa", "PEM", "secret"),
        ("key_rsa", "PKCS8", "secret"),
        ("key_ecdsa", "PEM", ""),
        ("key_ecdsa", "PEM", "secret"),
        ("key_ecdsa", "PKCS8", ""),
    ] {
        let file = directory.path().join("key");
        std::fs::copy(server.field(key), &file).unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-p", "-m", form, "-P", "", "-N", passphrase, "-f"]).arg(&file);
        assert!(keygen.status().unwrap().success());
        let text = read_text(&file);
        assert!(!text.contains("OPENSSH"));
        let endpoint = server.endpoint().set("private_key", &text).set("passphrase", passphrase).done();
        let listed = list(&world.folder(&endpoint), "").await;
        listed.unwrap_or_else(|e| panic!("{key} as {form} ({passphrase}): {e:?}"));
    }
    let wrong = server
        .endpoint()
        .set("private_key", &read_text(server.field("key_encrypted")))
        .set("passphrase", "another");
    is(&refused(&world, wrong).await, ErrorKind::ConfigInvalid, Retry::Permanent, &["passphrase"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_named_credentials_and_keys_log_in() {
    let server = Sshd::start();
    let (user, password) = (server.field("password_user"), server.field("password"));
    let world = World::new();
    let by_password = server.endpoint().set("private_key", "").set("password", password).user(user).done();
    list(&world.folder(&by_password), "").await.unwrap();

    let mut definitions = Definitions::default();
    definitions.credentials.insert(
        "acme".into(),
        Arc::new(Credential {
            name: "acme".into(),
            username: user.into(),
            password: Secret::new(password.into()),
        }),
    );
    definitions.keys.insert(
        "ours".into(),
        Arc::new(KeyDefinition {
            name: "ours".into(),
            private_key: Secret::new(read_text(server.field("key_encrypted"))),
            passphrase: Some(Secret::new(server.field("passphrase").into())),
            certificate: None,
        }),
    );
    let world = World::new().defining(definitions);
    let named = server.endpoint().set("private_key", "").set("credential", "acme").user("").done();
    list(&world.folder(&named), "").await.unwrap();
    let key = server.endpoint().set("private_key", "").set("key", "ours").done();
    list(&world.folder(&key), "").await.unwrap();
    let missing = server.endpoint().set("private_key", "").set("key", "theirs");
    is(&refused(&world, missing).await, ErrorKind::ConfigInvalid, Retry::Permanent, &["theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once_and_for_good() {
    let server = Sshd::start();
    let user = server.field("password_user");
    let world = World::new();
    let build = server.endpoint().set("private_key", "").set("password", "wrong").user(user);
    let error = refused(&world, build).await;
    let target = format!("127.0.0.1:{}", server.port());
    let parts = ["authentication failed", user, &target, "publickey, password"];
    is(&error, ErrorKind::Unauthenticated, Retry::Permanent, &parts);
    assert!(!error.chain().contains("wrong"), "{error:?}");
    assert!(server.logged("Failed password", 1));
    world.settled().await;
    assert_eq!(server.log().matches("Failed password").count(), 1);
    assert_eq!(world.records.opened.lock().unwrap().len(), 1);
    let closed = world.records.closed.lock().unwrap();
    assert!(closed[0].failed && closed[0].reason.as_str().contains("authentication failed"), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once_for_all_who_wait() {
    let server = Sshd::start();
    let world = World::new();
    let build = server.endpoint().set("private_key", "").set("password", "wrong");
    let folder = world.folder(&build.user(server.field("password_user")).done());
    let waiting = join_all((0..32).map(|_| list(&folder, ""))).await;
    for listed in waiting {
        let error = listed.unwrap_err();
        is(&error, ErrorKind::Unauthenticated, Retry::Permanent, &["authentication failed"]);
    }
    world.settled().await;
    assert_eq!(world.records.opened.lock().unwrap().len(), 1);
    assert!(server.logged("Failed password", 1));
    assert_eq!(server.log().matches("Failed password").count(), 1);
}

#[tokio::test]
async fn a_silent_server_keeps_all_who_wait_no_longer_than_one() {
    let server = Sshd::start();
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let connections = || std::iter::from_fn(|| silent.accept().ok()).count();
    let port = silent.local_addr().unwrap().port();
    let folder = world.folder(&server.endpoint().port(port).set("timeout", "1s").done());
    for listed in join_all((0..32).map(|_| list(&folder, ""))).await {
        is(&listed.unwrap_err(), ErrorKind::Timeout, Retry::Transient, &["complete the SSH handshake"]);
    }
    assert_eq!(connections(), 1);
    // Who comes later tries again.
    is(&list(&folder, "").await.unwrap_err(), ErrorKind::Timeout, Retry::Transient, &[]);
    assert_eq!(connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_connection_lives_a_refusal_of_another_is_not_provoked_again() {
    let server = Sshd::start();
    let world = World::new();
    std::fs::write(server.files().join("a"), "content").unwrap();
    let folder = world.folder(&server.endpoint().done());
    // As many uses as make a connection busy.
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(folder.read(&"a".into(), 0).await.unwrap());
    }
    assert_eq!(world.records.opened.lock().unwrap().len(), 1);
    let config = read_text(server.field("config"));
    let keys = config.lines().find_map(|line| line.strip_prefix("AuthorizedKeysFile ")).unwrap();
    std::fs::write(keys, "").unwrap();
    for _ in 0..4 {
        list(&folder, "").await.unwrap();
    }
    for listed in join_all((0..8).map(|_| list(&folder, ""))).await {
        listed.unwrap();
    }
    assert_eq!(world.records.opened.lock().unwrap().len(), 2);
    drop((readers, folder));
    world.settled().await;
    let closed = world.records.closed.lock().unwrap();
    assert_eq!(closed.iter().filter(|end| end.failed).count(), 1, "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_let_in_is_for_good_and_a_password_comes_after_it() {
    let server = Sshd::start();
    let world = World::new();
    let stranger = read_text(server.field("key_stranger"));
    let error = refused(&world, server.endpoint().set("private_key", &stranger)).await;
    is(&error, ErrorKind::Unauthenticated, Retry::Permanent, &["private key SHA256:", "publickey"]);
    let both = server
        .endpoint()
        .set("private_key", &stranger)
        .set("password", server.field("password"))
        .user(server.field("password_user"));
    list(&world.folder(&both.done()), "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_want_key_and_password() {
    let server = Sshd::with(&["AuthenticationMethods publickey,password"]);
    let world = World::new();
    let endpoint =
        server.endpoint().set("password", server.field("password")).user(server.field("password_user"));
    list(&world.folder(&endpoint.done()), "").await.unwrap();
    let error = refused(&world, server.endpoint().user(server.field("password_user"))).await;
    is(&error, ErrorKind::Unauthenticated, Retry::Permanent, &["server offers password"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_old_algorithms_are_named_and_refused() {
    let server = Sshd::with(&["KexAlgorithms diffie-hellman-group14-sha1"]);
    let error = refused(&World::new(), server.endpoint()).await;
    is(&error, ErrorKind::Unsupported, Retry::Permanent, &["Kex", "diffie-hellman-group14-sha1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ciphers_work_and_are_recorded() {
    for (line, cipher, mac) in [
        ("Ciphers aes128-ctr", "aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
        ("Ciphers chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com", ""),
    ] {
        let server = Sshd::with(&[line]);
        let world = World::new();
        std::fs::write(server.files().join("a"), "content").unwrap();
        let folder = world.folder(&server.endpoint().done());
        assert_eq!(support::read(&folder, "a", 0).await.unwrap(), b"content");
        let opened = world.records.opened.lock().unwrap();
        let Security::Ssh { cipher: used, mac: with, .. } = &opened[0].record.security else { panic!() };
        assert_eq!((used.as_str(), with.as_str()), (cipher, mac));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_no_server_is_transient_and_says_which() {
    let server = Sshd::start();
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let build = server.endpoint().port(port).set("timeout", "300ms");
    let error = refused(&world, build).await;
    is(&error, ErrorKind::Timeout, Retry::Transient, &["complete the SSH handshake", "0.3 s"]);
    drop(silent);
    let error = refused(&world, server.endpoint().port(port)).await;
    is(&error, ErrorKind::Unreachable, Retry::Transient, &["refused"]);

    for (says, kind, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ErrorKind::Unreachable, "HTTP/1.1 400 Bad Request"),
        (b"Not allowed at this time\r\n", ErrorKind::Throttled, "Not allowed at this time"),
        (b"", ErrorKind::Unreachable, "did not complete"),
    ] {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = other.local_addr().unwrap().port();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = other.accept().await.unwrap();
            stream.write_all(says).await.unwrap();
            stream.shutdown().await.unwrap();
            // Read on, so that the end is no reset.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        let error = refused(&world, server.endpoint().port(port)).await;
        is(&error, kind, Retry::Transient, &[part]);
        answering.abort();
    }
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sftp_says_so() {
    for (line, kind, part) in [
        ("Subsystem sftp /bin/false", ErrorKind::Unreachable, "ended with status 1"),
        ("ForceCommand echo Welcome to this server, dear client", ErrorKind::Protocol, "no SFTP"),
    ] {
        let server = Sshd::with(&[line]);
        let error = refused(&World::new(), server.endpoint()).await;
        assert_eq!(error.retry(), Retry::Transient, "{error:?}");
        let text = error.chain();
        assert!(error.kind() == kind || text.contains("malformed"), "{error:?}");
        assert!(text.contains(part) || text.contains("malformed"), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_a_timeout() {
    let server = Sshd::start();
    let world = World::new();
    let folder = world.folder(&server.endpoint().set("timeout", "500ms").done());
    list(&folder, "").await.unwrap();
    server.pause();
    let error = list(&folder, "").await.unwrap_err();
    is(&error, ErrorKind::Timeout, Retry::Transient, &["0.5 s"]);
    server.resume();
    list(&folder, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_is_found_before_anybody_logs_in() {
    let server = Sshd::start();
    let world = World::new();
    let encrypted = read_text(server.field("key_encrypted"));
    let plain = read_text(server.field("key"));
    let cut: String =
        plain.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| format!("{line}\n")).collect();
    for (key, passphrase, words) in [
        (&encrypted, "not it", "cannot be decrypted with this passphrase"),
        (&encrypted, "", "set its passphrase"),
        (&cut, "", "complete"),
    ] {
        let endpoint = server.endpoint().set("private_key", key).set("passphrase", passphrase).done();
        let found = world.found(&endpoint);
        assert!(
            matches!(&found[..], [line] if line.starts_with("private_key: ") && line.contains(words)),
            "{words}: {found:?}"
        );
    }
    let public = read_text(server.field("key").to_owned() + ".pub");
    let endpoint = server.endpoint().set("private_key", &format!("{plain}{public}")).done();
    assert_eq!(world.found(&endpoint), [""; 0]);
    list(&world.folder(&endpoint), "").await.unwrap();
}

/// The account that logs in by password, at a server with these lines.
fn by_password(server: &Sshd) -> Build {
    let user = server.field("password_user");
    server.endpoint().user(user).set("private_key", "").set("password", server.field("password"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_the_password_gets_it_once() {
    let server = Sshd::with(&["KbdInteractiveAuthentication yes", "PasswordAuthentication no", "UsePAM yes"]);
    let world = World::new();
    list(&world.folder(&by_password(&server).done()), "").await.unwrap();
    let error = refused(&world, by_password(&server).set("password", "wrong")).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Permanent), "{error:?}");
    assert!(server.logged("Failed keyboard-interactive/pam", 1));
    assert_eq!(server.log().matches("Failed keyboard-interactive/pam").count(), 1, "{}", server.log());
    // The endpoint may leave a method out.
    let error =
        refused(&world, by_password(&server).list("authentication", &["publickey", "password"])).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_given_to_one_method_only() {
    let server = Sshd::with(&["KbdInteractiveAuthentication yes", "UsePAM yes"]);
    let error = refused(&World::new(), by_password(&server).set("password", "wrong")).await;
    is(&error, ErrorKind::Unauthenticated, Retry::Permanent, &["tried", "password"]);
    assert!(server.logged("Failed password", 1));
    assert!(!server.log().contains("Failed keyboard-interactive"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_key_and_password_gets_both_in_its_order() {
    for methods in ["publickey,password", "password,publickey"] {
        let server = Sshd::with(&[&format!("AuthenticationMethods {methods}")]);
        let world = World::new();
        let key = read_text(server.field("key"));
        let both = || by_password(&server).set("private_key", &key);
        list(&world.folder(&both().done()), "").await.unwrap_or_else(|e| panic!("{methods}: {e:?}"));
        let error = refused(&world, both().set("password", "")).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{methods}: {error:?}");
    }
}
