//! The server is always verified, and one that is not trusted learns nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry, Security};
use support::{Build, Sshd, World, list, read_text};

fn trusting(server: &Sshd, known_hosts: &str) -> Build {
    server.endpoint().set("host_key", "").set("known_hosts", known_hosts)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_known_hosts_is_trusted() {
    let server = Sshd::start();
    let world = World::new();
    for form in ["plain", "port", "hashed_plain", "hashed_port"] {
        let text = read_text(server.field(&format!("known_hosts.{form}")));
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("sftp://{host}:{}", server.port());
            let endpoint = trusting(&server, &text).url(&url).done();
            list(&world.folder(&endpoint), "").await.unwrap_or_else(|e| panic!("{form} {host}: {e:?}"));
        }
    }
    // By address, where the endpoint names the host.
    let key = server.field("host_keys.ed25519.public");
    let by_address = trusting(&server, &format!("127.0.0.1 {key}\n"));
    let endpoint = by_address.url(&format!("sftp://localhost:{}", server.port())).done();
    list(&world.folder(&endpoint), "").await.unwrap();
}

/// A host by its IPv6 address, whose lines are compressed or written out, with several keys and several names to a line.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_ipv6_is_found_in_every_spelling() {
    let server = Sshd::with(&["ListenAddress ::1"]);
    let world = World::new();
    let port = server.port();
    let key = |kind: &str| server.field(&format!("host_keys.{kind}.public")).to_owned();
    let rsa = key("rsa");
    for name in
        ["::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001", "getafix,::1,172.22.52.130"]
    {
        for line in [name.to_owned(), format!("[{}]:{port}", name.split(',').nth(1).unwrap_or(name))] {
            let text = format!("{line} {rsa}\n{line} {}\n", key("ed25519"));
            let endpoint = trusting(&server, &text).url(&format!("sftp://[::1]:{port}")).done();
            list(&world.folder(&endpoint), "").await.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
    let text = format!("::2,getafix {rsa}\n");
    let endpoint = trusting(&server, &text).url(&format!("sftp://[::1]:{port}")).done();
    let error = list(&world.folder(&endpoint), "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrustFailed, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_types_on_file_are_asked_for_first() {
    let server = Sshd::start();
    let world = World::new();
    for (kind, key_type) in [("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256"), ("ed25519", "ssh-ed25519")]
    {
        let key = server.field(&format!("host_keys.{kind}.public")).to_owned();
        let fingerprint = server.field(&format!("host_keys.{kind}.fingerprint")).to_owned();
        let on_file = trusting(&server, &format!("127.0.0.1 {key}\n"));
        let pinned = server.endpoint().set("host_key", &format!("{key_type} {fingerprint}"));
        let whole = server.endpoint().set("host_key", &key);
        for build in [on_file, pinned, whole] {
            list(&world.folder(&build.done()), "").await.unwrap();
            let opened = world.records.opened.lock().unwrap();
            let Security::Ssh { host_key_type, host_key, .. } = &opened.last().unwrap().record.security
            else {
                panic!()
            };
            assert_eq!((host_key_type.as_str(), host_key), (key_type, &fingerprint));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_is_sent_nothing() {
    let server = Sshd::with(&["LogLevel DEBUG1"]);
    let world = World::new();
    let shown = server.field("fingerprint").to_owned();
    let other = server.field("host_keys.rsa.fingerprint").to_owned();
    let wrong = read_text(server.field("known_hosts.wrong"));
    let rsa = format!("[127.0.0.1]:{} ssh-dss AAAAB3NzaC1kc3M=\n", server.port());
    let elsewhere = format!("elsewhere.example {}\n", server.field("host_keys.ed25519.public"));
    let revoked = read_text(server.field("known_hosts.plain"))
        + &format!("@revoked * {}\n", server.field("host_keys.ed25519.public"));
    let target = format!("127.0.0.1:{}", server.port());
    for (build, parts) in [
        (server.endpoint().set("host_key", &other), vec!["host key changed", &other]),
        (trusting(&server, &wrong), vec!["host key changed", "(line 1)"]),
        (trusting(&server, &rsa), vec!["host key unknown", "ssh-dss SHA256:"]),
        (trusting(&server, &elsewhere), vec!["host key unknown", "nothing for this host"]),
        (trusting(&server, &revoked), vec!["host key revoked", "line"]),
    ] {
        let error = list(&world.folder(&build.done()), "").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent), "{error:?}");
        let text = error.to_string();
        let common = [shown.as_str(), target.as_str(), "address 127.0.0.1", "nothing was sent"];
        for part in parts.into_iter().chain(common) {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    world.settled().await;
    // The key exchange was made, and nothing came after it: not even the wish to log in.
    assert!(server.logged("SSH2_MSG_KEXINIT received", 5));
    let log = server.log();
    for words in ["userauth-request", "Accepted", "Failed", "Authentications"] {
        assert!(!log.contains(words), "{words} in {log}");
    }
    let opened = world.records.opened.lock().unwrap();
    assert_eq!(opened.len(), 5);
    assert!(opened.iter().all(|opened| matches!(
        &opened.record.security,
        Security::Ssh { host_key, server, .. } if *host_key == shown && server.as_str().starts_with("SSH-2.0-OpenSSH")
    )));
    let closed = world.records.closed.lock().unwrap();
    assert!(
        closed.iter().all(|closed| closed.failed && closed.reason.as_str().contains("host key")),
        "{closed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_that_ssh_keygen_shows_is_a_pin() {
    let server = Sshd::start();
    let world = World::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("host.pub");
        std::fs::write(&file, server.field(&format!("host_keys.{kind}.public"))).unwrap();
        let shown = std::process::Command::new("ssh-keygen").arg("-lf").arg(&file).output().unwrap().stdout;
        let endpoint = server.endpoint().set("host_key", &String::from_utf8(shown).unwrap()).done();
        list(&world.folder(&endpoint), "").await.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_line_of_another_host_does_no_harm() {
    let server = Sshd::start();
    let world = World::new();
    let good = read_text(server.field("known_hosts.plain"));
    let build = || trusting(&server, &format!("other.example ssh-ed25519 nonsense!\n{good}"));
    list(&world.folder(&build().done()), "").await.unwrap();
    let probe = world.destination(build()).probe().await;
    let seen: Vec<_> = probe.steps.iter().map(|step| format!("{:?}", step.result)).collect();
    assert!(
        seen.iter().any(|text| text.contains("known_hosts line 1") && text.contains("ignored")),
        "{seen:?}"
    );
    // One that may revoke this host's key refuses it.
    let endpoint = trusting(&server, &format!("{good}@revoked * ssh-ed25519 nonsense!\n")).done();
    let found = world.found(&endpoint);
    assert!(
        matches!(&found[..], [line] if line.starts_with("known_hosts: ") && line.contains("the key is not base64")),
        "{found:?}"
    );
}
