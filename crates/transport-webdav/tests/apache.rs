//! What Apache with mod_dav answers, and what Waybill makes of it: logins, connections, capacity, locks.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::definition::{CertificateDefinition, Definitions, Endpoint, KeyDefinition};
use model::schema::{Value, Values};
use model::{ErrorKind, Retry, Secret};
use std::sync::Arc;
use support::{DavServer, World, list, read, write};
use testkit::fake::Known;
use transport::folder::{After, FolderSource, FolderSourceOptions, Published};
use transport::{Discovery, Source};

#[tokio::test(flavor = "multi_thread")]
async fn requests_one_after_another_share_connections() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    for number in 0..10 {
        let (temporary, name) = (format!("/.{number}.a"), format!("/{number}"));
        write(&folder, &temporary, name.as_bytes()).await.unwrap();
        let published =
            folder.publish(&temporary.as_str().into(), &name.as_str().into(), false).await.unwrap();
        assert_eq!(published, Published::Published);
        assert_eq!(read(&folder, &name, 0).await.unwrap(), name.as_bytes());
    }
    assert_eq!(list(&folder, "/").await.unwrap().len(), 10);
    // An answer's last byte is read a moment before its connection is free: a request in that moment opens another.
    assert!(world.opened() <= 3, "{} connections", world.opened());
    let requests = server.requests();
    // The parent once; then PUT, PROPFIND, MOVE, GET for each; then the listing.
    assert_eq!(requests.len(), 42, "{requests:#?}");
    let number = |line: &String| line.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(requests.iter().map(number).max().unwrap() >= 13, "{requests:#?}");
}

/// Apache lists no links, though it follows them where they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn links_back_to_the_polled_directory_give_no_file_twice() {
    let server = DavServer::apache(&[]);
    for name in ["a.edi", "b.edi"] {
        std::fs::write(server.files().join(name), "content").unwrap();
    }
    let world = World::new();
    let poll = || {
        let poll = testkit::defined::polling(testkit::defined::poll("acme", After::Keep), |poll| {
            poll.recursive = true
        });
        let flow = Arc::new(testkit::defined::flow("flow", poll));
        let options = FolderSourceOptions { flow, endpoint: "acme".into(), directory: "/".into() };
        let folder = world.folder(&server.endpoint("", &[]));
        let source = FolderSource::new(folder, options, world.services.clone()).unwrap();
        async move { source.discover(Discovery::first(Arc::new(Known::default()))).await }
    };
    let found: Vec<_> = poll().await.unwrap().collect().await;
    assert_eq!(found.len(), 2);
    for link in ["l1", "l2"] {
        std::os::unix::fs::symlink(".", server.files().join(link)).unwrap();
    }
    let found: Vec<_> = poll().await.unwrap().collect().await;
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_once_in_the_server_s_words() {
    for authentication in ["basic", "digest"] {
        let server = DavServer::apache(&["--authentication", authentication]);
        let world = World::new();
        let set = [("password", "hunter2"), ("authentication", authentication)];
        let folder = world.folder(&server.endpoint("", &set));
        let error = folder.stat(&"/a".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Permanent), "{error}");
        assert!(error.to_string().contains("401 Unauthorized") && error.connection().is_some(), "{error}");
        assert!(!error.chain().contains("hunter2"), "{error}");
        // Digest asks first what is to be answered.
        let tries = if authentication == "digest" { 2 } else { 1 };
        assert_eq!(server.requests().len(), tries);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sent_as_bearer_and_a_server_that_wants_another_login_refuses_it() {
    let server = DavServer::apache(&[
        "--authentication",
        "none",
        "--extra",
        "<If \"%{HTTP:Authorization} != 'Bearer s3same'\">\nRequire all denied\n</If>",
    ]);
    let world = World::new();
    let with = |token| support::endpoint(server.text("url"), &[("token", token)]);
    assert!(list(&world.folder(&with("s3same")), "/").await.unwrap().is_empty());
    let error = list(&world.folder(&with("other")), "/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

/// The server's own certificate, as an authority and as ours.
fn material(server: &DavServer) -> Definitions {
    let certificate = server.text("certificate");
    let pem = std::fs::read_to_string(certificate).unwrap();
    let private_key = std::fs::read_to_string(certificate.replace("certificate.pem", "key.pem")).unwrap();
    let key = KeyDefinition {
        name: "ours".into(),
        private_key: Secret::new(private_key),
        passphrase: None,
        certificate: Some(pem.clone()),
    };
    let mut definitions = Definitions::default();
    definitions
        .certificates
        .insert("dav".into(), Arc::new(CertificateDefinition { name: "dav".into(), pem }));
    definitions.keys.insert("ours".into(), Arc::new(key));
    definitions
}

/// The endpoint, with tables that are no text.
fn with(endpoint: &Endpoint, tables: &[(&'static str, &'static str, Value)]) -> Arc<Endpoint> {
    let mut endpoint = endpoint.clone();
    for (table, field, value) in tables {
        let whole = Values::of([(*field, value.clone())]);
        endpoint.options = endpoint.options.with(table, Value::Table(whole));
    }
    Arc::new(endpoint)
}

fn authority() -> (&'static str, &'static str, Value) {
    ("trust", "authorities", Value::List(vec![Value::Text("dav".into())]))
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_trusted_by_its_authority_alone() {
    let server = DavServer::apache(&["--tls"]);
    let world = World::new().defining(material(&server));
    let error = list(&world.folder(&server.endpoint("", &[])), "/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrustFailed, "{error}");
    let trusted = world.folder(&with(&server.endpoint("", &[]), &[authority()]));
    write(&trusted, "/a", b"content").await.unwrap();
    assert_eq!(read(&trusted, "/a", 3).await.unwrap(), b"tent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_lets_in_and_none_does_not() {
    let verify = "SSLVerifyClient require\nSSLCACertificateFile ../certificate.pem";
    let server = DavServer::apache(&["--tls", "--authentication", "none", "--extra", verify]);
    let world = World::new().defining(material(&server));
    let bare = support::endpoint(server.text("url"), &[]);
    let error = list(&world.folder(&with(&bare, &[authority()])), "/").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Permanent), "{error}");
    let certified = support::endpoint(server.text("url"), &[("authentication", "certificate")]);
    let key = ("tls", "client_key", Value::Text("ours".into()));
    let folder = world.folder(&with(&certified, &[authority(), key]));
    write(&folder, "/a", b"content").await.unwrap();
    assert_eq!(list(&folder, "/").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_locked_is_tried_again() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    let locking = world.folder(&server.endpoint("", &[("lock", "true"), ("connections", "2")]));
    write(&folder, "/a", b"first").await.unwrap();
    let mut held = locking.begin_write(&"/a".into(), Some(3)).await.unwrap();
    for result in [
        write(&folder, "/a", b"other").await.map(drop),
        folder.rename(&"/a".into(), &"/b".into()).await,
        folder.remove(&"/a".into()).await,
    ] {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Transient), "{error}");
        assert!(error.to_string().contains("423 Locked"), "{error}");
    }
    held.write(bytes::Bytes::from_static(b"abc")).await.unwrap();
    held.finish().await.unwrap();
    assert_eq!(read(&folder, "/a", 0).await.unwrap(), b"abc");
    folder.remove(&"/a".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_locks_says_what_helps() {
    let server = DavServer::apache(&[
        "--extra",
        "<Location />\n<Limit LOCK>\nRequire all denied\n</Limit>\n</Location>",
    ]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[("lock", "true")]));
    let error = folder.begin_write(&"/a".into(), Some(1)).await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated), "{error}");
    assert!(error.to_string().contains("lock a file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_deleted_for_a_file() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    folder.make_directory(&"/orders".into()).await.unwrap();
    write(&folder, "/orders/a", b"a").await.unwrap();
    assert_eq!(folder.remove(&"/orders".into()).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(read(&folder, "/orders/a", 0).await.unwrap(), b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_for_sharepoint_is_refused_before_it_is_sent() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[("server", "sharepoint")]));
    for length in [Some(0), None] {
        let error = match folder.begin_write(&"/a".into(), length).await {
            Ok(upload) => upload.finish().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{error}");
        assert!(error.to_string().contains("empty") && error.to_string().contains("SharePoint"), "{error}");
    }
    assert!(list(&folder, "/").await.unwrap().is_empty());
    write(&folder, "/Order+ 1.EDI", b"x").await.unwrap();
    assert_eq!(list(&folder, "/").await.unwrap()[0].path, "Order+ 1.EDI".into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_of_an_endpoint_tells_each_step() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let mut probe = model::Probe::default();
    let folder = world.folder(&server.endpoint("", &[])).probe(&mut probe).await;
    let steps: Vec<_> = probe.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [model::Step::Name, model::Step::Tcp, model::Step::Login]);
    assert!(list(&folder.unwrap(), "/").await.unwrap().is_empty());
    let mut probe = model::Probe::default();
    let folder = world.folder(&server.endpoint("missing", &[])).probe(&mut probe).await;
    let last = probe.steps.last().unwrap();
    assert!(folder.is_none() && last.result.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_replaced_by_a_file() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    folder.make_directory(&"/orders".into()).await.unwrap();
    write(&folder, "/orders/a", b"a").await.unwrap();
    write(&folder, "/.b.a", b"b").await.unwrap();
    let error = folder.publish(&"/.b.a".into(), &"/orders".into(), true).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Permanent), "{error}");
    assert_eq!(read(&folder, "/orders/a", 0).await.unwrap(), b"a");
}

/// A request of another client, over a connection of its own; its answer.
fn another(server: &DavServer, request: &str, body: &str) -> String {
    use base64::Engine;
    use std::io::{Read, Write};
    let address = server.text("url").trim_start_matches("dav://").to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let login = format!("{}:{}", server.text("user"), server.text("password"));
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let (head, length) = (request.replace('\n', "\r\n"), body.len());
    let text = format!(
        "{head}\r\nHost: {address}\r\nAuthorization: Basic {login}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_edits_is_not_replaced_and_the_error_says_who() {
    const LOCK: &str = "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/>\
        </D:locktype><D:owner>anna at the desk</D:owner></D:lockinfo>";
    for lock in ["true", "false"] {
        let server = DavServer::apache(&[]);
        let world = World::new();
        let folder = world.folder(&server.endpoint("", &[("lock", lock), ("connections", "2")]));
        write(&folder, "/a.edi", b"earlier").await.unwrap();
        let locked = another(&server, "LOCK /a.edi HTTP/1.1\nDepth: 0\nTimeout: Second-600", LOCK);
        assert!(locked.starts_with("HTTP/1.1 200"), "{locked}");
        let head = locked.lines().find_map(|line| line.strip_prefix("Lock-Token: ")).unwrap();
        let mut attempt = testkit::through::Attempt::into("/");
        attempt.options.overwrite = transport::folder::Overwrite::Replace;
        let error = attempt.deliver(&folder, "a.edi", b"later", &world.services).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Rejected, Retry::Transient), "{error}");
        let text = error.to_string();
        assert!(text.contains("423 Locked") && text.contains("anna at the desk"), "{lock}: {text}");
        assert_eq!(read(&folder, "/a.edi", 0).await.unwrap(), b"earlier");
        let unlocked = another(&server, &format!("UNLOCK /a.edi HTTP/1.1\nLock-Token: {}", head.trim()), "");
        assert!(unlocked.starts_with("HTTP/1.1 204"), "{unlocked}");
        attempt.number = 2;
        attempt.deliver(&folder, "a.edi", b"later", &world.services).await.unwrap();
        assert_eq!(read(&folder, "/a.edi", 0).await.unwrap(), b"later");
        let requests = server.requests();
        let puts = requests.iter().filter(|line| line.contains(" PUT /.a.edi")).count();
        assert_eq!(puts, 1, "{lock}: it was sent twice: {requests:#?}");
        let target = requests.iter().filter(|line| line.contains(" 200 LOCK /a.edi")).count();
        // That of the other client; and ours around the MOVE, and around the first file.
        assert_eq!(target, if lock == "true" { 3 } else { 1 }, "{requests:#?}");
        // No lock is left behind.
        assert!(list(&folder, "/").await.unwrap().len() == 1);
        let plain = world.folder(&server.endpoint("", &[]));
        write(&plain, "/a.edi", b"by hand").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_time_are_taken() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    testkit::through::files_of_any_time_are_taken(&folder, "/", &server.files(), &world.services).await;
}

/// A file that is replaced after it was looked at is not deleted in the other's stead; Apache tells by the version.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_version_that_was_seen_is_deleted() {
    let server = DavServer::apache(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    // Older than a moment, as Apache's versions of newer files are weak.
    let put = |bytes: &[u8], seconds: u64| {
        let file = std::fs::File::create(server.files().join("a.edi")).unwrap();
        std::io::Write::write_all(&mut &file, bytes).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    };
    put(b"content", 1_700_000_000);
    let seen = folder.stat(&"/a.edi".into()).await.unwrap().version;
    assert!(seen.is_some());
    put(b"CONTENT", 1_700_000_100);
    assert!(!folder.remove_version(&"/a.edi".into(), seen.as_deref()).await.unwrap());
    assert_eq!(read(&folder, "/a.edi", 0).await.unwrap(), b"CONTENT");
    let now = folder.stat(&"/a.edi".into()).await.unwrap().version;
    assert!(folder.remove_version(&"/a.edi".into(), now.as_deref()).await.unwrap());
    let gone = folder.remove_version(&"/a.edi".into(), now.as_deref()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    let deleted = |status: &str| {
        let line = format!(" {status} DELETE /a.edi");
        server.requests().iter().filter(|request| request.contains(&line)).count()
    };
    assert_eq!((deleted("412"), deleted("204"), deleted("404")), (1, 1, 1), "{:?}", server.requests());
}
