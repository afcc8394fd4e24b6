//! A server that does not answer one request: whatever was asked for ends by the timeout and says what was tried, and
//! nothing is lost or doubled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use futures::StreamExt;
use model::{Error, ErrorKind, Outcome, Result, Retry};
use std::sync::Arc;
use support::{Build, World, deliver, flow, list, offer, partner, read, write};
use testkit::fake::{Known, MemoryLog};
use testkit::sftp::{Op, SftpServer, Switch};
use tokio::io::AsyncReadExt;
use transport::folder::{After, Folder, FolderUse};
use transport::{Discovery, Source, Transport};

const EXTENSIONS: [&str; 4] =
    ["posix-rename@openssh.com", "fsync@openssh.com", "statvfs@openssh.com", "limits@openssh.com"];

/// What is asked of a folder.
#[derive(Clone, Copy, Debug)]
enum Act {
    List,
    Stat,
    Absolute,
    Read,
    Write,
    WriteLarge,
    Permissions,
    Rename,
    Remove,
    MakeDirectory,
}

async fn act(folder: &Arc<dyn Folder>, act: Act) -> Result<()> {
    match act {
        Act::List => list(folder, "in").await.map(drop),
        Act::Stat => folder.stat(&"in/a".into()).await.map(drop),
        Act::Absolute => folder.absolute(&"in/a".into()).await.map(drop),
        Act::Read => read(folder, "in/a", 0).await.map(drop).map_err(|error| {
            let error = error.into_inner().unwrap();
            *error.downcast::<Error>().unwrap()
        }),
        Act::Write | Act::Permissions => write(folder, "in/b", b"content").await.map(drop),
        Act::WriteLarge => folder.begin_write(&"in/b".into(), Some(8 << 20)).await.map(drop),
        Act::Rename => folder.rename(&"in/a".into(), &"in/c".into()).await,
        Act::Remove => folder.remove(&"in/a".into()).await,
        Act::MakeDirectory => folder.make_directory(&"in/new".into()).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_that_is_not_answered_is_a_timeout_that_says_what_was_tried() {
    for (op, what, words) in [
        (Op::Limits, Act::Stat, ""),
        (Op::Realpath, Act::Absolute, ""),
        (Op::Opendir, Act::List, "list a directory"),
        (Op::Readdir, Act::List, "list a directory"),
        (Op::Stat, Act::Stat, "look at a"),
        (Op::OpenRead, Act::Read, "a file"),
        (Op::Read, Act::Read, "read a file"),
        (Op::Statvfs, Act::WriteLarge, "ask for the free space"),
        (Op::OpenWrite, Act::Write, "create a file"),
        (Op::Write, Act::Write, "write a file"),
        (Op::Setstat, Act::Permissions, "set a file's permissions"),
        (Op::Fstat, Act::Write, "check the size of a written file"),
        (Op::Fsync, Act::Write, "sync a file to the server's disk"),
        (Op::CloseWrite, Act::Write, "close a written file"),
        (Op::Stat, Act::Write, "check the size of a written file"),
        (Op::Rename, Act::Rename, "rename a file"),
        (Op::Remove, Act::Remove, "file"),
        (Op::Mkdir, Act::MakeDirectory, "directory"),
    ] {
        let play = format!("{op:?}, {what:?}");
        let server = SftpServer::start().unwrap();
        server.greeting(|greeting| {
            greeting.extensions = EXTENSIONS.to_vec();
            greeting.free = 1 << 30;
        });
        server.put("in/a", b"content");
        server.switch("*", Switch::SilentBefore(op));
        let world = World::new();
        let endpoint = partner(&server, "").set("timeout", "1s").set("connect_retries", "0").done();
        let mut use_of = FolderUse::of(model::Purpose::Deliver);
        use_of.permissions = matches!(what, Act::Permissions).then_some(0o640);
        let folder = world.transport.folder(&endpoint, use_of, &world.services).unwrap();
        let Err(error) = act(&folder, what).await else { panic!("{play}: done") };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{play}: {error}");
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        let text = error.chain();
        assert!(text.contains(words) && text.contains("127.0.0.1"), "{play}: {text}");
        // Once the server answers again, it is done.
        server.unswitch("*");
        act(&folder, what).await.unwrap_or_else(|error| panic!("{play}, again: {error}"));
    }
}

const CONTENT: &[u8] = b"UNB+UNOA:1";

/// A whole delivery, with one request that is not answered, whether or not it was carried out.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_delivery_meets_silence_one_whole_file_arrives() {
    let mut plays = Vec::new();
    for op in [
        Op::Limits,
        Op::OpenWrite,
        Op::Write,
        Op::Setstat,
        Op::Fstat,
        Op::Fsync,
        Op::CloseWrite,
        Op::Stat,
        Op::PosixRename,
        Op::Rename,
        Op::Remove,
        Op::Mkdir,
    ] {
        for (silent, has_extensions) in [
            (Switch::SilentBefore(op), true),
            (Switch::SilentAfter(op), true),
            (Switch::SilentBefore(op), false),
            (Switch::SilentAfter(op), false),
        ] {
            plays.push(tokio::spawn(delivered(op, silent, has_extensions)));
        }
    }
    let mut silences = 0;
    for play in plays {
        silences += u32::from(play.await.unwrap());
    }
    assert!(silences >= 30, "{silences} silences");
}

/// Whether the server fell silent.
async fn delivered(op: Op, silent: Switch, has_extensions: bool) -> bool {
    let play = format!("{silent:?} {has_extensions}");
    let server = SftpServer::start().unwrap();
    if has_extensions {
        server.greeting(|greeting| greeting.extensions = EXTENSIONS.to_vec());
    }
    let is_new = op == Op::Mkdir;
    if !is_new {
        server.put("out/a.edi", b"earlier");
    }
    server.switch_times("*", 1, silent);
    let world = World::new();
    let build = || -> Build {
        let build = partner(&server, "out").set("timeout", "1s").set("connect_retries", "0");
        let build = build.set("overwrite", "replace").set("permissions", "0640");
        if is_new { build.set("create_directories", "true") } else { build }
    };
    let log = Arc::new(MemoryLog::default());
    let first = deliver(&world, build(), &log, 1, CONTENT).await;
    let is_used = server.count(op, "*") > 0;
    if let Err(error) = &first {
        assert!(is_used, "{play}: {error}");
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        deliver(&world, build(), &log, 2, CONTENT).await.unwrap();
    }
    assert_eq!(server.names("out"), ["a.edi"], "{play}: {first:?}");
    assert_eq!(server.get("out/a.edi").unwrap(), CONTENT, "{play}");
    is_used
}

/// A whole poll, with one request that is not answered, whether or not it was carried out.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_poll_meets_silence_the_file_is_read_and_archived_once() {
    let mut plays = Vec::new();
    for op in
        [Op::Opendir, Op::Readdir, Op::Stat, Op::Fstat, Op::OpenRead, Op::Read, Op::CloseRead, Op::Rename]
    {
        for silent in [Switch::SilentBefore(op), Switch::SilentAfter(op)] {
            plays.push(tokio::spawn(polled(op, silent)));
        }
    }
    let mut silences = 0;
    for play in plays {
        silences += u32::from(play.await.unwrap());
    }
    assert!(silences >= 12, "{silences} silences");
}

/// Whether the server fell silent.
async fn polled(op: Op, silent: Switch) -> bool {
    let play = format!("{silent:?}");
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", CONTENT);
    server.switch_times("*", 1, silent);
    let world = World::new();
    let after = After::Archive { directory: "done".into(), timestamp: false };
    let endpoint = partner(&server, "in").set("timeout", "1s").set("connect_retries", "0").done();
    let source = world.transport.source(endpoint, flow(after), world.services.clone()).unwrap();
    let mut found = None;
    for _ in 0..3 {
        if let Ok(read) = taken(&*source, &play).await {
            found = Some(read);
            break;
        }
        assert!(server.names("done").is_empty(), "{play}: archived before it was read");
    }
    let (read, offer) = found.unwrap_or_else(|| panic!("{play}: never read"));
    assert_eq!(read, CONTENT, "{play}");
    let mut settled = source.settle(&offer, Outcome::Taken).await;
    for _ in 0..2 {
        let Err(error) = &settled else { break };
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        settled = source.settle(&offer, Outcome::Taken).await;
    }
    settled.unwrap_or_else(|error| panic!("{play}: {error}"));
    support::is_archived(&server, CONTENT, &play);
    server.count(op, "*") > 0
}

/// Finds the file and reads it to its end.
async fn taken(source: &dyn Source, play: &str) -> Result<(Vec<u8>, model::Offer)> {
    let discovery = Discovery::first(Arc::new(Known::default()));
    let mut offers = source.discover(discovery).await?;
    let found = offers.next().await.unwrap_or_else(|| panic!("{play}: an empty listing"))?;
    drop(offers);
    let mut opened = source.open(&found).await?;
    let mut part = opened.parts.next().await.unwrap()?;
    let mut content = Vec::new();
    part.reader.read_to_end(&mut content).await.map_err(|error| {
        let error = error.into_inner().unwrap();
        *error.downcast::<Error>().unwrap()
    })?;
    let mut offer = offer(&found);
    support::note_content(&mut offer, &content);
    Ok((content, offer))
}
