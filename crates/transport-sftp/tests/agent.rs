//! Logging in with the keys of an SSH agent: OpenSSH's own, and one in front of it that refuses or hangs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::definition::{Definitions, Endpoint};
use model::{AuditEvent, Error, ErrorKind, EventKind, Retry};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Build, Sshd, World, list, read_text};
use tempfile::TempDir;
use testkit::fake::MemoryAudit;

/// An ssh-agent of this test's own, with its keys' files beside its socket.
struct Agent {
    directory: TempDir,
    process: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            // Whoever is asked to confirm says no.
            .envs([("SSH_ASKPASS", "/bin/false"), ("DISPLAY", ":none")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { directory, process };
        let began = Instant::now();
        while UnixStream::connect(agent.socket()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "ssh-agent does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("agent.sock")
    }

    /// Gives it a key, as `ssh-add` does with these options.
    fn add(&self, key: impl AsRef<Path>, options: &[&str]) {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", self.socket()).arg("-q").args(options).arg(key.as_ref());
        let output = add.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a key that no server knows.
    fn make(&self, name: &str, key_type: &str) -> PathBuf {
        let path = self.path(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", name, "-t", key_type, "-f"]).arg(&path);
        assert!(keygen.status().unwrap().success());
        path
    }
}

/// The fingerprint of a key's file, as `ssh-add -l` shows it.
fn fingerprint(key: impl AsRef<Path>) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(key.as_ref()).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// A world whose endpoints may use the agent, and what it puts on record.
fn world(socket: &Path) -> (World, Arc<MemoryAudit>) {
    let audit = Arc::new(MemoryAudit::default());
    let mut world = World::new().with_agent(socket);
    world.services.audit = Arc::clone(&audit) as _;
    (world, audit)
}

fn by_agent(server: &Sshd, keys: &[&str]) -> Build {
    server.endpoint().set("private_key", "").list("agent", keys).set("connect_retries", "0")
}

async fn logs_in(world: &World, build: Build) -> model::Result<()> {
    list(&world.folder(&build.done()), "").await.map(drop)
}

async fn fails(world: &World, build: Build, (kind, retry): (ErrorKind, Retry), words: &[&str]) -> Error {
    let error = logs_in(world, build).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error:?}");
    for words in words {
        assert!(error.chain().contains(words), "{words} in {}", error.chain());
    }
    error
}

const REFUSED: (ErrorKind, Retry) = (ErrorKind::Unauthenticated, Retry::Permanent);
const UNUSABLE: (ErrorKind, Retry) = (ErrorKind::Unreachable, Retry::Transient);
const SILENT: (ErrorKind, Retry) = (ErrorKind::Timeout, Retry::Transient);

/// What was recorded of keys that were used: fingerprint and certificate.
fn used(audit: &MemoryAudit) -> Vec<(String, Option<String>)> {
    let text =
        |event: &AuditEvent, key: &str| event.detail.get(key).map(|value| value.as_str().unwrap().to_owned());
    let events = audit.events().into_iter().filter(|event| event.kind == EventKind::AgentKeyUsed);
    events.map(|event| (text(&event, "fingerprint").unwrap(), text(&event, "certificate"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_log_in_by_the_agent_and_the_audit_says_which() {
    let server = Sshd::with(&["LogLevel DEBUG2"]);
    for key in ["key", "key_ecdsa", "key_rsa"] {
        let agent = Agent::start();
        let (world, audit) = world(&agent.socket());
        agent.add(server.field(key), &[]);
        let named = fingerprint(server.field(key));
        let line = format!("256 {named} client (ED25519)");
        let public = read_text(format!("{}.pub", server.field(key)));
        for word in [&named, "any", line.as_str(), public.as_str()] {
            logs_in(&world, by_agent(&server, &[word]))
                .await
                .unwrap_or_else(|e| panic!("{key} {word}: {e:?}"));
        }
        assert_eq!(used(&audit), vec![(named.clone(), None); 4], "{key}");
        let event = audit.events().remove(0);
        let opened = world.records.opened.lock().unwrap()[0].record.clone();
        assert_eq!((event.connection, event.endpoint.as_deref()), (Some(opened.id), Some("acme")));
        assert_eq!(event.detail["login"], server.field("user"));
        assert_eq!(event.peer.unwrap(), format!("127.0.0.1:{}", server.port()));
        assert!(server.logged(&named, 4), "{}", server.log());
    }
    // A signature by SHA-1 is refused by this server; and no agent was forwarded.
    assert!(server.log().contains("rsa-sha2-512"), "{}", server.log());
    assert!(!server.log().contains("auth-agent"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_the_agent_is_offered_before_its_key() {
    let agent = Agent::start();
    let authority = agent.make("authority", "ed25519");
    let line = format!("TrustedUserCAKeys {}.pub", authority.display());
    let server = Sshd::with(&[&line, "AuthorizedKeysFile none"]);
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        let (world, audit) = world(&agent.socket());
        let key = agent.make(key_type, key_type);
        let mut keygen = Command::new("ssh-keygen");
        keygen.arg("-q").arg("-s").arg(&authority).args(["-I", key_type, "-n", server.field("user")]);
        assert!(keygen.arg(agent.path(&format!("{key_type}.pub"))).status().unwrap().success());
        // ssh-add adds the certificate beside the key, and the key with it.
        agent.add(&key, &[]);
        let named = fingerprint(&key);
        logs_in(&world, by_agent(&server, &[&named])).await.unwrap_or_else(|e| panic!("{key_type}: {e:?}"));
        assert_eq!(used(&audit), [(named, Some(key_type.to_owned()))]);
    }
    assert_eq!(server.log().matches("Failed publickey").count(), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_three_keys_are_offered_and_a_named_one_alone() {
    let server = Sshd::with(&["MaxAuthTries 4", "LogLevel DEBUG1"]);
    let agent = Agent::start();
    for number in 0..5 {
        agent.add(agent.make(&format!("other{number}"), "ed25519"), &[]);
    }
    agent.add(server.field("key"), &[]);
    let (world, audit) = world(&agent.socket());
    let words =
        ["authentication failed", "agent's key SHA256:", "3 more of the agent's keys were not offered"];
    fails(&world, by_agent(&server, &["any"]), REFUSED, &words).await;
    let offered = || server.log().matches("test pkalg").count();
    assert_eq!((offered(), used(&audit)), (3, Vec::new()));
    let named = fingerprint(server.field("key"));
    logs_in(&world, by_agent(&server, &[&named])).await.unwrap();
    assert_eq!(used(&audit), [(named, None)]);
    // A password comes after the keys.
    let both = by_agent(&server, &["any"]).set("password", server.field("password"));
    let error = fails(&world, both.user("nobody-of-this-name"), REFUSED, &["password"]).await;
    assert!(!error.chain().contains(server.field("password")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_some_hosts_only_is_used_there_alone() {
    let server = Sshd::start();
    let key = server.field("key");
    let public = |name: &str| read_text(Path::new(key).with_file_name(name));
    for (host_key, allowed) in [("host_ed25519.pub", true), ("stranger.pub", false)] {
        let agent = Agent::start();
        let hosts = agent.path("hosts");
        fs::write(&hosts, format!("server.example {}", public(host_key))).unwrap();
        agent.add(key, &["-H", hosts.to_str().unwrap(), "-h", "server.example"]);
        let (world, audit) = world(&agent.socket());
        if allowed {
            logs_in(&world, by_agent(&server, &["any"])).await.unwrap();
            assert_eq!(used(&audit), [(fingerprint(key), None)]);
        } else {
            fails(&world, by_agent(&server, &["any"]), UNUSABLE, &["does not have the key"]).await;
            assert_eq!(server.log().matches("Accepted publickey").count(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_or_has_no_key_says_so() {
    let server = Sshd::start();
    let agent = Agent::start();
    let (nowhere, _) = world(&agent.path("nothing.sock"));
    let words = ["the agent cannot be reached", "nothing.sock", "ssh_agent in [roots]"];
    fails(&nowhere, by_agent(&server, &["any"]), UNUSABLE, &words).await;
    let (world, audit) = world(&agent.socket());
    let words = ["does not have the key", "it has no key", "ssh-add", "agent.sock"];
    fails(&world, by_agent(&server, &["any"]), UNUSABLE, &words).await;
    agent.add(server.field("key_stranger"), &[]);
    let (named, held) = (fingerprint(server.field("key")), fingerprint(server.field("key_stranger")));
    fails(&world, by_agent(&server, &[&named]), UNUSABLE, &["does not have the key", &named, &held]).await;
    // It is asked anew at each login.
    agent.add(server.field("key"), &[]);
    logs_in(&world, by_agent(&server, &[&named])).await.unwrap();
    assert_eq!(used(&audit), [(named, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_refuses_to_sign_is_told_from_a_server_that_refuses_the_key() {
    let server = Sshd::start();
    let agent = Agent::start();
    // Nobody confirms.
    agent.add(server.field("key"), &["-c"]);
    let (world, audit) = world(&agent.socket());
    let named = fingerprint(server.field("key"));
    fails(&world, by_agent(&server, &["any"]), UNUSABLE, &["the agent refused to sign", &named, "confirm"])
        .await;
    let stranger = Agent::start();
    stranger.add(server.field("key_stranger"), &[]);
    let (other, _) = self::world(&stranger.socket());
    fails(&other, by_agent(&server, &["any"]), REFUSED, &["authentication failed"]).await;
    assert_eq!(used(&audit), []);
}

/// Requests of the agents' protocol (draft-miller-ssh-agent).
const LIST: u8 = 11;
const SIGN: u8 = 13;

fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn send(stream: &mut UnixStream, body: &[u8]) -> Option<()> {
    stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).ok()?;
    stream.write_all(body).ok()
}

/// An agent in front of the real one that answers requests of one kind with these bytes instead, or never. Its thread ends
/// with the test's process.
fn in_front_of(agent: &Agent, kind: u8, answer: Option<Vec<u8>>) -> PathBuf {
    let (socket, real) = (agent.path(&format!("front{kind}-{}.sock", answer.is_some())), agent.socket());
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut real) = (client.unwrap(), UnixStream::connect(&real).unwrap());
            let answer = answer.clone();
            std::thread::spawn(move || -> Option<()> {
                loop {
                    let request = frame(&mut client)?;
                    if request.first() != Some(&kind) {
                        send(&mut real, &request)?;
                        send(&mut client, &frame(&mut real)?)?;
                        continue;
                    }
                    match &answer {
                        Some(bytes) => client.write_all(bytes).ok()?,
                        // Until the client has had enough.
                        None => drop(frame(&mut client)?),
                    }
                }
            });
        }
    });
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_or_talks_nonsense_keeps_nobody_for_long() {
    let server = Sshd::start();
    let agent = Agent::start();
    agent.add(server.field("key"), &[]);
    // Half of the login's time is the agent's.
    let hanging = || by_agent(&server, &["any"]).set("timeout", "2s");
    for kind in [LIST, SIGN] {
        let (world, audit) = world(&in_front_of(&agent, kind, None));
        fails(&world, hanging(), SILENT, &["the agent did not answer", "1.0 s"]).await;
        assert_eq!(used(&audit), []);
    }
    // More than an agent may say, what is no list, and what is no signature.
    let (world, _) = world(&in_front_of(&agent, LIST, Some(vec![0xff; 8])));
    fails(&world, hanging(), UNUSABLE, &["the agent's answer cannot be used"]).await;
    let (world, _) = self::world(&in_front_of(&agent, SIGN, Some(vec![0, 0, 0, 5, 14, 0, 0, 0, 1])));
    fails(&world, hanging(), UNUSABLE, &["the agent's answer cannot be used"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_and_the_server_behind_it_are_both_logged_in_to_by_the_agent() {
    let (jump, server) = (Sshd::start(), Sshd::start());
    let agent = Agent::start();
    agent.add(jump.field("key"), &[]);
    agent.add(server.field("key"), &[]);
    let (inner, outer) = (fingerprint(server.field("key")), fingerprint(jump.field("key")));
    let bastion = by_agent(&jump, &[&outer]).done();
    let bastion = Arc::new(Endpoint { name: "bastion".into(), ..Endpoint::clone(&bastion) });
    let mut definitions = Definitions::default();
    definitions.endpoints.insert("bastion".into(), bastion);
    let (world, audit) = world(&agent.socket());
    let world = world.defining(definitions);
    logs_in(&world, by_agent(&server, &[&inner]).set("jump", "bastion")).await.unwrap();
    assert_eq!(used(&audit), [(outer, None), (inner, None)]);
    for sshd in [&jump, &server] {
        assert!(!sshd.log().contains("auth-agent"), "{}", sshd.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_waybill_toml_does_not_allow_is_refused_when_definitions_are_checked() {
    let server = Sshd::start();
    let agent = Agent::start();
    agent.add(server.field("key"), &[]);
    let endpoint = by_agent(&server, &["any"]).done();
    let found = World::new().found(&endpoint);
    assert!(
        matches!(&found[..], [line] if line.starts_with("agent: ") && line.contains("[roots]")),
        "{found:?}"
    );
    let invalid = (ErrorKind::ConfigInvalid, Retry::Permanent);
    fails(&World::new(), by_agent(&server, &["any"]), invalid, &["ssh_agent in [roots]"]).await;
    let (allowed, _) = world(&agent.socket());
    assert!(allowed.found(&endpoint).is_empty());
}
