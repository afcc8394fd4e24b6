//! GnuPG in a home of its own, and what the tests make and read messages with.

// Each test binary uses its own share of this.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgp_mime::{Body, Keys, OwnKey, PartnerKey, ReadOptions, Report, is_armoured, read_message};
use smime::{Digest, Entity, Headers, Part, PartReceiver, Payload, Wrapping};

/// A GnuPG home that ends with the test, its agent with it.
pub struct Gpg(tempfile::TempDir);

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

impl Gpg {
    pub fn new() -> Gpg {
        // Short, as the agent's socket is in it.
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Gpg(home)
    }

    /// Runs gpg with input; its output where it succeeds.
    pub fn try_run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--trust-model", "always"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg (Debian: gnupg)");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writing = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _ = writing.join();
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        self.try_run(arguments, input).unwrap_or_else(|error| panic!("gpg {arguments:?}: {error}"))
    }

    /// Makes a key with a subkey to encrypt for.
    pub fn generate(&self, user: &str, algorithms: (&str, &str), passphrase: &str) {
        let (sign, encrypt) = algorithms;
        self.run(&["--passphrase", passphrase, "--quick-generate-key", user, sign, "sign,cert", "2y"], b"");
        let listed = self.run(&["--with-colons", "--list-keys", user], b"");
        let listed = String::from_utf8(listed).unwrap();
        let fingerprint = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
        let fingerprint = fingerprint.split(':').nth(9).unwrap();
        self.run(&["--passphrase", passphrase, "--quick-add-key", fingerprint, encrypt, "encr", "1y"], b"");
    }

    pub fn public(&self, user: &str) -> String {
        String::from_utf8(self.run(&["--armor", "--export", user], b"")).unwrap()
    }

    pub fn private(&self, user: &str, passphrase: &str) -> String {
        let arguments = ["--passphrase", passphrase, "--armor", "--export-secret-keys", user];
        String::from_utf8(self.run(&arguments, b"")).unwrap()
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

/// A key pair of the oracle's, read.
pub struct Pair {
    pub own: Arc<OwnKey>,
    pub public: Arc<PartnerKey>,
}

pub fn pair(gpg: &Gpg, user: &str, passphrase: &str) -> Pair {
    let own = OwnKey::read(&gpg.private(user, passphrase), Some(passphrase)).unwrap();
    let public = PartnerKey::read(&gpg.public(user)).unwrap();
    assert_eq!(own.fingerprint(), public.fingerprint());
    let locked = gpg.private(user, passphrase);
    let half = PartnerKey::of_private(&locked).unwrap();
    assert_eq!((half.fingerprint(), half.validity()), (public.fingerprint(), public.validity()));
    assert!(is_armoured(&locked) && is_armoured(&half.to_armoured().unwrap()));
    assert_eq!(PartnerKey::read(&half.to_armoured().unwrap()).unwrap().fingerprint(), public.fingerprint());
    assert!(passphrase.is_empty() || OwnKey::read(&locked, Some("another")).is_err());
    Pair { own: Arc::new(own), public: Arc::new(public) }
}

/// A day from now: the keys were made a moment ago, and are valid for a year.
pub fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}

pub const CONTENT: &[u8] = b"UNB+UNOA:1+ACME+GLOBEX'\nUNZ+0+1'\r\n-----BEGIN\r\n";
pub const HEAD: &[u8] = b"Content-Type: application/edifact\r\nContent-Transfer-Encoding: binary\r\n\r\n";

pub fn entity(content: &'static [u8]) -> Entity<Body> {
    let headers = Headers::new()
        .with("Content-Type", "application/edifact")
        .and_then(|headers| headers.with("Content-Transfer-Encoding", "binary"))
        .unwrap();
    Entity::new(headers, Box::new(Payload::new(content, content.len() as u64)))
}

/// The whole entity that [`entity`] is.
pub fn whole(content: &[u8]) -> Vec<u8> {
    [HEAD, content].concat()
}

/// The header fields of a multipart with the boundary `b1`.
pub fn multipart(essence: &str) -> Headers {
    Headers::new().with("Content-Type", format!("{essence}; boundary=\"b1\"")).unwrap()
}

/// A signed entity, with the header fields of the whole.
pub fn signed_with(entity: &[u8], signature: &[u8]) -> (Headers, Vec<u8>) {
    let body = [
        b"--b1\r\n",
        entity,
        b"\r\n--b1\r\nContent-Type: application/pgp-signature\r\n\r\n",
        signature,
        b"\r\n--b1--\r\n",
    ]
    .concat();
    (multipart("multipart/signed; protocol=\"application/pgp-signature\""), body)
}

/// An object that holds an entity, with the header fields of the whole.
pub fn encrypted_as(object: &[u8]) -> (Headers, Vec<u8>) {
    let body = [
        b"--b1\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b1\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
        object,
        b"\r\n--b1--\r\n",
    ]
    .concat();
    (multipart("multipart/encrypted; protocol=\"application/pgp-encrypted\""), body)
}

pub fn written(entity: Entity<Body>) -> (Headers, Vec<u8>) {
    let (headers, mut body) = entity.into_parts();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    (headers, bytes)
}

#[derive(Default)]
pub struct Keep {
    pub content: Vec<u8>,
    pub wrappings: Vec<Wrapping>,
}

impl PartReceiver for Keep {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> io::Result<()> {
        self.wrappings = wrappings.to_vec();
        Ok(())
    }

    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(&mut self.content))
    }
}

pub fn options() -> ReadOptions {
    ReadOptions { valid_at: Some(tomorrow()), ..ReadOptions::default() }
}

pub fn read(
    headers: &Headers,
    body: &[u8],
    decrypt: &[&OwnKey],
    verify: &[&PartnerKey],
    options: &ReadOptions,
) -> smime::Result<(Report, Keep)> {
    let mut keep = Keep::default();
    let keys = Keys { decrypt, verify, ..Keys::default() };
    let report = read_message(headers, body, keys, options, &mut keep)?;
    Ok((report, keep))
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    openssl::sha::sha256(bytes).to_vec()
}

/// What stands between two texts.
pub fn between(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let start = text.find(from).unwrap();
    let end = text[start..].find(to).unwrap() + start + to.len();
    text[start..end].as_bytes().to_vec()
}

pub fn digest() -> Digest {
    Digest::Sha256
}
