//! Certificates of OpenSSH: a server's, vouched for by an authority on file, and ours for logging in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{Error, ErrorKind, Security};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Build, Sshd, World, list, read_text};
use tempfile::TempDir;

/// Keys and what an authority signed.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        for name in ["authority", "other"] {
            keys.make(name, "ed25519");
        }
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, name: &str, key_type: &str) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", name, "-t", key_type, "-f"]).arg(self.path(name));
        assert!(keygen.status().unwrap().success());
    }

    fn text(&self, name: &str) -> String {
        read_text(self.path(name))
    }

    /// Signs a key, as `ssh-keygen` does with these options.
    fn sign(&self, authority: &str, key: &str, options: &[&str]) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.arg("-q").arg("-s").arg(self.path(authority)).args(["-I", key]).args(options);
        assert!(keygen.arg(self.path(&format!("{key}.pub"))).status().unwrap().success());
    }

    /// A server that shows a host key with a certificate that is signed so.
    fn server(&self, authority: &str, options: &[&str], extra: &[&str]) -> Sshd {
        drop(std::fs::remove_file(self.path("host")));
        drop(std::fs::remove_file(self.path("host.pub")));
        self.make("host", "ed25519");
        self.sign(authority, "host", options);
        let line = |option: &str, path: &Path| format!("{option} {}", path.display());
        let key = line("HostKey", &self.path("host"));
        let certificate = line("HostCertificate", &self.path("host-cert.pub"));
        Sshd::with(&[&[key.as_str(), certificate.as_str()], extra].concat())
    }

    fn authority_line(&self, hosts: &str) -> String {
        format!("@cert-authority {hosts} {}", self.text("authority.pub"))
    }
}

fn trusting(server: &Sshd, known_hosts: &str) -> Build {
    server.endpoint().set("host_key", "").set("known_hosts", known_hosts)
}

async fn lists(world: &World, build: Build) -> model::Result<()> {
    list(&world.folder(&build.done()), "").await.map(drop)
}

/// The time of a world's clock is in March 2026.
const VALID: [&str; 5] = ["-h", "-V", "20200101:20400101", "-n", "127.0.0.1,partner.example"];

fn refused(result: model::Result<()>, words: &str) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrustFailed, "{error:?}");
    assert!(error.chain().contains(words), "{words} in {}", error.chain());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_certificate_of_an_authority_on_file_is_trusted() {
    let (keys, world) = (Keys::new(), World::new());
    let server = keys.server("authority", &VALID, &[]);
    for hosts in ["127.0.0.1", "*", "127.0.0.*"] {
        lists(&world, trusting(&server, &keys.authority_line(hosts))).await.unwrap();
    }
    let opened = world.records.opened.lock().unwrap();
    let Security::Ssh { host_key_type, .. } = &opened[0].record.security else { panic!() };
    assert_eq!(host_key_type, "ssh-ed25519-cert-v01@openssh.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_certificate_that_does_not_fit_is_refused_with_its_reason() {
    let (keys, world) = (Keys::new(), World::new());
    let known = keys.authority_line("*");
    for (options, words) in [
        (&["-h", "-V", "20200101:20210101", "-n", "127.0.0.1"][..], "it expired at 20"),
        (&["-h", "-V", "20390101:20400101", "-n", "127.0.0.1"], "it is valid only from 203"),
        (&["-h", "-n", "other.example"], "it is for other.example, not for 127.0.0.1"),
        (&["-h"], "it is for no host"),
    ] {
        let server = keys.server("authority", options, &["LogLevel DEBUG1"]);
        let error = refused(lists(&world, trusting(&server, &known)).await, words);
        assert!(error.chain().contains("host certificate refused"), "{error}");
        assert!(!server.log().contains("userauth-request"), "it was sent a user name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_a_revoked_one_and_one_for_another_host_do_not_count() {
    let (keys, world) = (Keys::new(), World::new());
    let server = keys.server("other", &VALID, &[]);
    refused(lists(&world, trusting(&server, &keys.authority_line("*"))).await, "host key unknown");
    // Its plain key is on file as well.
    let plain = format!("{}127.0.0.1 {}", keys.authority_line("*"), keys.text("host.pub"));
    lists(&world, trusting(&server, &plain)).await.unwrap();

    let server = keys.server("authority", &VALID, &[]);
    let elsewhere = keys.authority_line("partner.example");
    refused(lists(&world, trusting(&server, &elsewhere)).await, "host key unknown");
    for revoked in ["authority.pub", "host.pub"] {
        let known = format!("{}@revoked * {}", keys.authority_line("*"), keys.text(revoked));
        refused(lists(&world, trusting(&server, &known)).await, "@revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_signs_with_sha1_is_refused() {
    let (keys, world) = (Keys::new(), World::new());
    keys.make("old", "rsa");
    let server = keys.server("old", &[&VALID[..], &["-t", "rsa-sha2-256"]].concat(), &[]);
    let known = format!("@cert-authority * {}", keys.text("old.pub"));
    lists(&world, trusting(&server, &known)).await.unwrap();
    let server =
        keys.server("old", &[&VALID[..], &["-t", "ssh-rsa"]].concat(), &["CASignatureAlgorithms +ssh-rsa"]);
    refused(lists(&world, trusting(&server, &known)).await, "ssh-rsa");
}

/// A server that lets in by the authority's certificates alone.
fn trusts_users(keys: &Keys) -> Sshd {
    let line = format!("TrustedUserCAKeys {}", keys.path("authority.pub").display());
    Sshd::with(&[&line, "AuthorizedKeysFile none"])
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_log_in_by_their_certificate() {
    let (keys, world) = (Keys::new(), World::new());
    let server = trusts_users(&keys);
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        keys.make(key_type, key_type);
        keys.sign("authority", key_type, &["-n", server.field("user")]);
        let build = server.endpoint().set("private_key", &keys.text(key_type));
        let plain = lists(&world, server.endpoint().set("private_key", &keys.text(key_type))).await;
        assert_eq!(plain.unwrap_err().kind(), ErrorKind::Unauthenticated, "{key_type}");
        let build = build.set("certificate", &keys.text(&format!("{key_type}-cert.pub")));
        lists(&world, build).await.unwrap_or_else(|e| panic!("{key_type}: {e:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_certificate_that_does_not_fit_is_told() {
    let (keys, world) = (Keys::new(), World::new());
    let server = trusts_users(&keys);
    keys.make("key", "ed25519");
    for (options, words) in [
        (&["-n", "somebody-else"][..], "it is for somebody-else"),
        (&["-n", server.field("user"), "-V", "20200101:20210101"], "it expired at 20"),
    ] {
        keys.sign("authority", "key", options);
        let build = server.endpoint().set("private_key", &keys.text("key"));
        let error = lists(&world, build.set("certificate", &keys.text("key-cert.pub"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.chain().contains(words), "{words} in {}", error.chain());
    }
    // What is no user's certificate is found when definitions are checked.
    keys.sign("authority", "key", &["-h", "-n", "h"]);
    for (text, words) in
        [(keys.text("key-cert.pub"), "is a host's"), (keys.text("key.pub"), "not an OpenSSH certificate")]
    {
        let build = server.endpoint().set("private_key", &keys.text("key")).set("certificate", &text);
        let found = world.found(&build.done());
        assert!(matches!(&found[..], [one, ..] if one.contains(words)), "{found:?}");
    }
}
