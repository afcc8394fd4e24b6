//! The list of known hosts that all nodes share: endpoints that say nothing else trust by it, as it is at each connection.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::definition::{Definitions, Endpoint};
use model::{ErrorKind, HostKeyStanding, Step};
use std::collections::BTreeSet;
use std::sync::Arc;
use support::{Build, Sshd, World, list};
use testkit::fake::MemoryHostKeys;
use transport::Transport;

/// An endpoint that trusts by the list.
fn listed(server: &Sshd) -> Build {
    server.endpoint().set("host_key", "")
}

/// A world of its own: a pool tells a refusal again for some seconds to whoever asks next.
fn world(hosts: &Arc<MemoryHostKeys>) -> World {
    let mut world = World::new();
    world.services.host_keys = Arc::clone(hosts) as Arc<dyn transport::HostKeyList>;
    world
}

fn key(server: &Sshd, kind: &str) -> String {
    server.field(&format!("host_keys.{kind}.public")).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_as_soon_as_a_line_names_it_and_no_longer_than_that() {
    let server = Sshd::start();
    let hosts = Arc::new(MemoryHostKeys::default());
    let world = world(&hosts);
    let folder = world.folder(&listed(&server).done());
    let error = list(&folder, "").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.failed_step()),
        (ErrorKind::TrustFailed, Some(Step::HostKey)),
        "{error:?}"
    );
    let words = error.chain();
    let shown = server.field("fingerprint");
    for part in ["host key unknown", "nothing for this host", "nothing was sent", "known-host add", shown] {
        assert!(words.contains(part), "{part}: {words}");
    }
    // The key waits for a person's decision, whole.
    let [offered] = &hosts.kept()[..] else { panic!("{:?}", hosts.kept()) };
    assert_eq!((offered.host.as_str(), offered.port), ("127.0.0.1", server.port()));
    assert_eq!((offered.standing, offered.endpoint.as_str()), (HostKeyStanding::Unknown, "acme"));
    assert_eq!(offered.fingerprint, *shown);
    assert_eq!(offered.line(), format!("[127.0.0.1]:{} {}", server.port(), key(&server, "ed25519")));

    let world = self::world(&hosts);
    let folder = world.folder(&listed(&server).done());
    hosts.set(&["other ssh-ed25519 nonsense", &format!("getafix,127.0.0.1 {}", key(&server, "ed25519"))]);
    list(&folder, "").await.unwrap();
    list(&folder, "").await.unwrap();
    let made = || world.records.opened.lock().unwrap().len();
    let before = made();
    // Another host's line changes nothing here: the connection stays.
    hosts.set(&[
        &format!("getafix,127.0.0.1 {}", key(&server, "ed25519")),
        &format!("b {}", key(&server, "rsa")),
    ]);
    list(&folder, "").await.unwrap();
    assert_eq!(made(), before);
    // Without its line the open connection is used no more, and no new one is made.
    hosts.set(&[]);
    let error = list(&folder, "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrustFailed, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_and_waits_and_a_revoked_one_does_not_wait() {
    let server = Sshd::start();
    let another = Sshd::start();
    let hosts = Arc::new(MemoryHostKeys::default());
    let world = world(&hosts);
    let folder = world.folder(&listed(&server).done());
    hosts.set(&[&format!("127.0.0.1 {}", key(&another, "ed25519"))]);
    let words = list(&folder, "").await.unwrap_err().chain();
    for part in ["host key changed", server.field("fingerprint"), another.field("fingerprint")] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(hosts.kept().last().unwrap().standing, HostKeyStanding::Changed);
    let kept = hosts.kept().len();
    hosts.set(&[&format!("@revoked * {}", key(&server, "ed25519"))]);
    let world = self::world(&hosts);
    let words = list(&world.folder(&listed(&server).done()), "").await.unwrap_err().chain();
    assert!(words.contains("host key revoked"), "{words}");
    assert_eq!(hosts.kept().len(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_types_in_the_list_are_asked_for_first() {
    let server = Sshd::start();
    let hosts = Arc::new(MemoryHostKeys::default());
    let world = world(&hosts);
    for kind in ["rsa", "ecdsa", "ed25519"] {
        hosts.set(&[&format!("getafix,127.0.0.1 {}", key(&server, kind))]);
        list(&world.folder(&listed(&server).done()), "").await.unwrap_or_else(|e| panic!("{kind}: {e:?}"));
    }
    // An endpoint that says whom it trusts does not look in the list.
    hosts.set(&[&format!("@revoked * {}", key(&server, "ed25519"))]);
    list(&world.folder(&server.endpoint().done()), "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_hosts_are_trusted_by_the_list_too() {
    let (jump, server) = (Sshd::start(), Sshd::start());
    let bastion = Arc::new(Endpoint { name: "bastion".into(), ..Endpoint::clone(&listed(&jump).done()) });
    let mut definitions = Definitions::default();
    definitions.endpoints.insert("bastion".into(), Arc::clone(&bastion));
    let hosts = Arc::new(MemoryHostKeys::default());
    let new = || world(&hosts).defining(definitions.clone());
    let endpoint = listed(&server).set("jump", "bastion").done();
    let through = format!("[127.0.0.1]:{} {}", server.port(), key(&server, "ed25519"));
    hosts.set(&[&through]);
    let world = new();
    let error = list(&world.folder(&endpoint), "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrustFailed, "{error:?}");
    let waiting = hosts.kept();
    assert_eq!((waiting[0].endpoint.as_str(), waiting[0].port), ("bastion", jump.port()));
    hosts.set(&[&through, &waiting[0].line()]);
    let world = new();
    let folder = world.folder(&endpoint);
    list(&folder, "").await.unwrap();
    hosts.set(&[&waiting[0].line()]);
    assert_eq!(list(&folder, "").await.unwrap_err().kind(), ErrorKind::TrustFailed);
    assert_eq!(hosts.kept().last().unwrap().line(), through);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_for_a_key_of_each_type_and_for_nothing_else() {
    let server = Sshd::start();
    let hosts = Arc::new(MemoryHostKeys::default());
    let world = world(&hosts);
    hosts.set(&[&format!("127.0.0.1 {}", key(&server, "rsa"))]);
    // Nothing is known of the server but its address.
    let url = format!("sftp://127.0.0.1:{}/", server.port());
    let bare = Arc::new(Endpoint::bare("scan", &url, &transport_sftp::SPEC).unwrap());
    let shown = world.transport.shown_host_keys(&bare, &world.services).unwrap().await.unwrap();
    let found: BTreeSet<String> =
        shown.iter().map(|shown| format!("{} {} {}", shown.key_type, shown.key, shown.standing)).collect();
    let expected = [("rsa", "known"), ("ecdsa", "unknown"), ("ed25519", "unknown")];
    let expected = expected.map(|(kind, standing)| format!("{} {standing}", key(&server, kind)));
    assert_eq!(found, BTreeSet::from(expected));
    assert!(hosts.kept().is_empty(), "asking is no attempt to connect");
    world.settled().await;
    let closed = world.records.closed.lock().unwrap().clone();
    assert_eq!(closed.len(), world.records.opened.lock().unwrap().len());
    assert!(!server.log().contains("userauth"), "{}", server.log());

    let nobody = Arc::new(Endpoint::bare("scan", "sftp://127.0.0.1:1/", &transport_sftp::SPEC).unwrap());
    let error = world.transport.shown_host_keys(&nobody, &world.services).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
}
