//! Archiving where the server does not rename: an archive on another file system.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::Outcome;
use model::definition::After;
use std::sync::Arc;
use support::{Sshd, World, flow, noise, offer, partner};
use testkit::fake::Known;
use testkit::sftp::{Op, SftpServer, Switch};
use transport::{Discovery, Settled, Source, Transport};

async fn first(source: &Arc<dyn Source>) -> model::Offer {
    let discovery = Discovery { known: Arc::new(Known::default()) };
    offer(&source.discover(discovery).await.unwrap().next().await.unwrap().unwrap())
}

/// `/dev/shm` is a file system of its own on every Linux.
#[tokio::test(flavor = "multi_thread")]
async fn openssh_archives_to_another_file_system() {
    let server = Sshd::start();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let content = noise(400_003);
    let found = server.files().join("a.edi");
    std::fs::write(&found, &content).unwrap();
    let an_hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&found).unwrap().set_modified(an_hour_ago).unwrap();
    let world = World::new();
    let directory = elsewhere.path().join("done").to_str().unwrap().to_owned();
    let flow = flow(After::Archive { directory, timestamp: false });
    let source = world.transport.source(server.endpoint().done(), flow, world.services.clone()).unwrap();
    let offer = first(&source).await;
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert_eq!(std::fs::read(elsewhere.path().join("done/a.edi")).unwrap(), content);
    assert!(!server.files().join("a.edi").exists());
    let left: Vec<_> = std::fs::read_dir(elsewhere.path().join("done")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // Again, as after a crash before it was recorded.
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_copied_either_the_refusal_says_what_is_likely() {
    let server = SftpServer::start().unwrap();
    server.put("a.edi", b"content");
    server.switch("done/*", Switch::Status(Op::Rename, 4, "Failure"));
    server.switch("done/*", Switch::Status(Op::OpenWrite, 3, "Permission denied"));
    let world = World::new();
    let flow = flow(After::Archive { directory: "/done".into(), timestamp: false });
    let source = world.transport.source(partner(&server, "").done(), flow, world.services.clone()).unwrap();
    let error = source.settle(&first(&source).await, Outcome::Taken).await.unwrap_err();
    let text = error.chain();
    for part in
        ["rename a file", "status 4", "copying it instead", "Permission denied", "another file system"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(server.names(""), ["a.edi", "done"]);
    assert!(server.names("done").is_empty());
}
