//! TLS: explicit and implicit, with the session of the control connection resumed, as ProFTPD and vsftpd require.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Purpose, Retry, Security};
use support::{Build, Server, World, list, noise, read, write};
use transport::folder::FolderUse;

/// Uploads, downloads and lists more than once, over one connection, under TLS.
async fn goes_round(server: &Server, endpoint: Build) {
    let world = World::new(server.definitions());
    let folder = world.folder(&endpoint.done());
    let content = noise(3_000_000);
    for number in 0..4 {
        let name = format!("files/{number}.bin");
        assert_eq!(write(&folder, &name, &content).await.unwrap(), 3_000_000);
        assert!(read(&folder, &name, 0).await.unwrap() == content);
    }
    assert!(read(&folder, "files/3.bin", 2_999_990).await.unwrap() == content[2_999_990..]);
    assert_eq!(list(&folder, "files").await.unwrap().len(), 4);
    drop(folder);
    world.settled().await;
    let opened = world.records.opened.lock().unwrap();
    assert!(opened.len() >= 10, "{}", opened.len());
    for opened in opened.iter() {
        assert!(matches!(opened.record.security, Security::Tls { .. }), "{opened:?}");
    }
    let closed = world.records.closed.lock().unwrap();
    assert!(closed.iter().all(|closed| !closed.failed), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_under_both_versions_of_tls_with_both_servers() {
    for name in ["proftpd", "vsftpd"] {
        for (mode, version) in [("explicit", "1.2"), ("explicit", "1.3"), ("implicit", "1.3")] {
            let server = Server::start(name, &["--tls", mode]);
            let endpoint = if mode == "explicit" { server.explicit() } else { server.implicit() };
            goes_round(&server, endpoint.tls("min", version).tls("max", version)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate() {
    let server = Server::start("proftpd", &["--tls", "explicit", "--client-certificate"]);
    goes_round(&server, server.explicit().tls("client_key", "client")).await;
    let world = World::new(server.definitions());
    let folder = world.folder(&server.explicit().done());
    assert!(list(&folder, "").await.is_err(), "a client without a certificate was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_is_sent_no_password() {
    let server = Server::start("proftpd", &["--tls", "explicit"]);
    let world = World::new(server.definitions());
    let wrong = format!("sha256:{}", "00".repeat(32));
    let folder = world.folder(&server.explicit().trusting("pins", &wrong).done());
    let error = list(&folder, "").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent), "{error}");
    assert!(error.connection().is_some());
    assert!(!server.system_log().contains("acme"), "{}", server.system_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_session_reuse_the_servers_refuse_data_and_say_why() {
    for name in ["proftpd", "vsftpd"] {
        let server = Server::start(name, &["--tls", "explicit"]);
        let world = World::new(server.definitions());
        let folder = world.folder(&server.explicit().set("session_reuse", "false").done());
        let error = list(&folder, "files").await.unwrap_err();
        assert!(error.peer_said().is_some(), "{name}: {error}");
        assert!(error.connection().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_in_the_clear_only_when_asked_for() {
    let server = Server::start("vsftpd", &["--tls", "explicit", "--extra", "force_anon_data_ssl=NO"]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.explicit().set("data_protection", "false").done());
    write(&folder, "files/a", b"content").await.unwrap();
    assert_eq!(read(&folder, "files/a", 0).await.unwrap(), b"content");
    drop(folder);
    world.settled().await;
    for opened in world.records.opened.lock().unwrap().iter() {
        let is_data = opened.record.purpose == Purpose::Data;
        assert_eq!(matches!(opened.record.security, Security::None), is_data, "{opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_gets_no_password() {
    let server = Server::start("vsftpd", &[]);
    let world = World::new(server.definitions());
    let folder = world.folder(&server.explicit().done());
    let error = list(&folder, "").await.unwrap_err();
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent), "{error}");
    assert!(!server.system_log().contains("\"USER "), "{}", server.system_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_an_endpoint_shows_tls_and_login() {
    let server = Server::start("proftpd", &["--tls", "explicit"]);
    let world = World::new(server.definitions());
    let folder = world
        .transport
        .folder(&server.explicit().done(), FolderUse::of(Purpose::Test), &world.services)
        .unwrap();
    let mut probe = model::Probe::default();
    assert!(folder.probe(&mut probe).await.is_some(), "{probe:?}");
    let steps: Vec<_> = probe.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [model::Step::Name, model::Step::Tcp, model::Step::Tls, model::Step::Login]);
}

/// CCC: the login and all data under TLS, commands in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn commands_go_on_in_the_clear_where_the_endpoint_says_so() {
    let server = Server::start("proftpd", &["--tls", "explicit", "--extra", "TLSRequired auth+data"]);
    for version in ["1.2", "1.3"] {
        let world = World::new(server.definitions());
        let endpoint = server.explicit().tls("min", version).tls("max", version);
        let folder = world.folder(&endpoint.set("clear_command_channel", "true").done());
        let content = noise(1_000_000);
        assert_eq!(write(&folder, "files/a.bin", &content).await.unwrap(), 1_000_000);
        assert!(read(&folder, "files/a.bin", 0).await.unwrap() == content);
        assert_eq!(list(&folder, "files").await.unwrap().len(), 1);
        folder.remove(&"files/a.bin".into()).await.unwrap();
        drop(folder);
        world.settled().await;
        let opened = world.records.opened.lock().unwrap();
        let (control, data): (Vec<_>, Vec<_>) =
            opened.iter().partition(|opened| opened.record.control.is_none());
        assert!(
            control.iter().all(|opened| opened.weakened == ["commands in the clear after the login (CCC)"])
        );
        assert!(data.len() >= 3 && data.iter().all(|opened| opened.weakened.is_empty()));
        assert!(
            opened.iter().all(|opened| matches!(opened.record.security, Security::Tls { .. })),
            "{opened:?}"
        );
        let closed = world.records.closed.lock().unwrap();
        assert!(closed.iter().all(|closed| !closed.failed), "{closed:?}");
    }
    // A server that keeps to TLS says so for good.
    let server = Server::start("vsftpd", &["--tls", "explicit"]);
    let world = World::new(server.definitions());
    let endpoint = server.explicit().set("clear_command_channel", "true").done();
    let error = list(&world.folder(&endpoint), "files").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent, "{error}");
    assert!(error.to_string().contains("clear_command_channel"), "{error}");
}
