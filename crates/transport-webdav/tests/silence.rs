//! A server that does not answer one request: whatever was asked for ends by the timeout and says what was tried, and
//! nothing is lost or doubled. Apache, with a proxy before it that lets one request fall silent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{Error, ErrorKind, Result, Retry};
use std::sync::Arc;
use support::{DavServer, Silence, SilentProxy, World, list, read, write};
use testkit::through::Attempt;
use transport::folder::{Folder, Overwrite};

/// What is asked of a folder.
#[derive(Clone, Copy, Debug)]
enum Act {
    List,
    Stat,
    Read,
    Write,
    Rename,
    Remove,
    MakeDirectory,
}

async fn act(folder: &Arc<dyn Folder>, act: Act, at: &str) -> Result<()> {
    let file = format!("{at}/a");
    match act {
        Act::List => list(folder, at).await.map(drop),
        Act::Stat => folder.stat(&file.as_str().into()).await.map(drop),
        Act::Read => read(folder, &file, 0).await.map(drop).map_err(|error| {
            let error = error.into_inner().unwrap();
            *error.downcast::<Error>().unwrap()
        }),
        Act::Write => write(folder, &format!("{at}/b"), b"content").await.map(drop),
        Act::Rename => folder.rename(&file.as_str().into(), &format!("{at}/c").as_str().into()).await,
        Act::Remove => folder.remove(&file.as_str().into()).await,
        Act::MakeDirectory => folder.make_directory(&format!("{at}/new").as_str().into()).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_that_is_not_answered_is_a_timeout_that_says_what_was_tried() {
    let server = DavServer::apache(&[]);
    let plain = World::new().folder(&server.endpoint("", &[]));
    for (number, (method, what, words)) in [
        ("PROPFIND", Act::List, "list a directory"),
        ("PROPFIND", Act::Stat, "look at a file"),
        ("GET", Act::Read, "read a file"),
        ("PROPFIND", Act::Write, "look at a file"),
        ("LOCK", Act::Write, "lock a file"),
        ("PUT", Act::Write, "write a file"),
        ("MOVE", Act::Rename, "rename a file"),
        ("DELETE", Act::Remove, "delete a file"),
        ("MKCOL", Act::MakeDirectory, "make a directory"),
    ]
    .into_iter()
    .enumerate()
    {
        let play = format!("{method}, {what:?}");
        let at = format!("/{number}");
        plain.make_directory(&at.as_str().into()).await.unwrap();
        write(&plain, &format!("{at}/a"), b"content").await.unwrap();
        let proxy = SilentProxy::before(&server, Silence { method, after: 0, is_done: false });
        let world = World::new();
        let lock = if method == "LOCK" { "true" } else { "false" };
        let folder = world.folder(&proxy.endpoint(&server, &[("timeout", "1s"), ("lock", lock)]));
        let Err(error) = act(&folder, what, &at).await else { panic!("{play}: done") };
        assert!(proxy.is_used(), "{play}: {error}");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{play}: {error}");
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        let text = error.chain();
        assert!(text.contains(words) && text.contains("127.0.0.1"), "{play}: {text}");
        act(&folder, what, &at).await.unwrap_or_else(|error| panic!("{play}, again: {error}"));
    }
}

/// A whole delivery that replaces a file under locks, with one request that is not answered, whether or not the server
/// got it.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_delivery_meets_silence_one_whole_file_arrives() {
    let server = Arc::new(DavServer::apache(&[]));
    let mut plays = Vec::new();
    for method in ["PROPFIND", "MKCOL", "LOCK", "PUT", "UNLOCK", "MOVE"] {
        for is_done in [false, true] {
            for after in 0..3 {
                // A lock on the file itself that nobody knows of ends by itself, after two minutes.
                if method == "LOCK" && is_done && after > 0 {
                    continue;
                }
                plays.push((plays.len(), Silence { method, after, is_done }));
            }
        }
    }
    let mut silences = 0;
    for few in plays.chunks(8) {
        let few = few
            .iter()
            .cloned()
            .map(|(number, silence)| tokio::spawn(delivered(Arc::clone(&server), number, silence)));
        for play in few.collect::<Vec<_>>() {
            silences += u32::from(play.await.unwrap());
        }
    }
    assert!(silences >= 16, "{silences} silences");
}

/// Whether the server fell silent.
async fn delivered(server: Arc<DavServer>, number: usize, silence: Silence) -> bool {
    const CONTENT: &[u8] = b"UNB+UNOA:1";
    let play = format!("{number}: {silence:?}");
    let at = format!("/out-{number}");
    let is_new = silence.method == "MKCOL";
    if !is_new {
        let plain = World::new().folder(&server.endpoint("", &[]));
        plain.make_directory(&at.as_str().into()).await.unwrap();
        write(&plain, &format!("{at}/a.edi"), b"earlier").await.unwrap();
    }
    let proxy = SilentProxy::before(&server, silence);
    let world = World::new();
    let set = [("timeout", "2s"), ("lock", "true"), ("connections", "2")];
    let folder = world.folder(&proxy.endpoint(&server, &set));
    let mut attempt = Attempt::into(&at);
    attempt.options.overwrite = Overwrite::Replace;
    attempt.options.create_directories = is_new;
    let first = attempt.deliver(&folder, "a.edi", CONTENT, &world.services).await;
    let is_used = proxy.is_used();
    proxy.calm();
    if let Err(error) = &first {
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        attempt.number = 2;
        let mut again = attempt.deliver(&folder, "a.edi", CONTENT, &world.services).await;
        // Apache loses locks that several clients take at the same moment: such a file is tried once more.
        while attempt.number < 6
            && again.as_ref().is_err_and(|again| again.to_string().contains("no longer knows the lock"))
        {
            attempt.number += 1;
            again = attempt.deliver(&folder, "a.edi", CONTENT, &world.services).await;
        }
        again.unwrap_or_else(|again| panic!("{play}: {error}, then {again}"));
    }
    let files = server.files().join(&at[1..]);
    let mut names: Vec<String> = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".DAV")
        .collect();
    names.sort();
    assert_eq!(names, ["a.edi"], "{play}: {first:?}");
    assert_eq!(std::fs::read(files.join("a.edi")).unwrap(), CONTENT, "{play}");
    is_used
}
