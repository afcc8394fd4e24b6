//! A server that does not answer one command: whatever was asked for ends by the timeout and says what was tried, and
//! nothing is lost or doubled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use bytes::Bytes;
use model::definition::Definitions;
use model::{Error, ErrorKind, Result, Retry};
use std::sync::Arc;
use support::script::{Script, Scripted, Upset};
use support::{Build, World, list, read};
use testkit::through::Attempt;
use transport::folder::{Folder, FolderUse, Overwrite, Verify};

/// A server without MLST and MLSD.
const PLAIN: &[(&str, &str)] = &[("FEAT", "500 what?\r\n")];

/// What is asked of a folder.
#[derive(Clone, Copy, Debug)]
enum Act {
    List,
    Stat,
    Read(u64),
    Write,
    Append,
    Resume,
    Permissions,
    SetTime,
    Checksum,
    MakeDirectory,
}

async fn act(folder: &Arc<dyn Folder>, act: Act) -> Result<()> {
    let path = "in/a".into();
    match act {
        Act::List => list(folder, "in").await.map(drop),
        Act::Stat => folder.stat(&path).await.map(drop),
        Act::Read(offset) => read(folder, "in/a", offset).await.map(drop).map_err(|error| {
            let error = error.into_inner().unwrap();
            *error.downcast::<Error>().unwrap()
        }),
        Act::Write | Act::Permissions => {
            // ALLO is asked where the length is known.
            let mut upload = folder.begin_write(&"in/b".into(), Some(7)).await?;
            upload.write(Bytes::from_static(b"content")).await?;
            upload.finish().await.map(drop)
        }
        Act::Append => folder.append(&path, 7).await?.unwrap().finish().await.map(drop),
        Act::Resume => folder.resume_write(&path, 3, None).await.map(drop),
        Act::SetTime => folder.set_modified(&path, model::Timestamp::UNIX_EPOCH).await,
        Act::Checksum => folder.checksum(&path).await.map(drop),
        Act::MakeDirectory => folder.make_directory(&"in/new".into()).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_that_is_not_answered_is_a_timeout_that_says_what_was_tried() {
    let no_epsv: &[(&str, &str)] = &[("EPSV", "500 what?\r\n")];
    let no_eprt: &[(&str, &str)] = &[("EPRT", "500 what?\r\n")];
    let no_cwd: &[(&str, &str)] = &[("CWD", "550 no such directory\r\n")];
    let mut unclear = Vec::new();
    let no_hash: &[(&str, &str)] = &[("HASH", "500 what?\r\n")];
    let none: &[(&str, &str)] = &[];
    let hashing = " HASH SHA-256\r\n XSHA256\r\n";
    let active = ("data_connection", "active");
    let nothing = ("timeout", "1s");
    for (verb, what, answers, set, words) in [
        ("AUTH", Act::Stat, none, ("security", "explicit"), "begin the FTP dialogue"),
        ("USER", Act::Stat, none, nothing, "log in"),
        ("PASS", Act::Stat, none, nothing, "log in"),
        ("FEAT", Act::Stat, none, nothing, "prepare the connection"),
        ("TYPE", Act::Stat, none, nothing, "prepare the connection"),
        ("OPTS", Act::Stat, none, nothing, "prepare the connection"),
        ("PWD", Act::Stat, none, nothing, "prepare the connection"),
        ("EPSV", Act::List, none, nothing, "list a directory"),
        ("PASV", Act::List, no_epsv, nothing, "list a directory"),
        ("EPRT", Act::List, none, active, "list a directory"),
        ("PORT", Act::List, no_eprt, active, "list a directory"),
        ("MLSD", Act::List, none, nothing, "list a directory"),
        ("CWD", Act::List, PLAIN, nothing, "list a directory"),
        ("LIST", Act::List, PLAIN, nothing, "list a directory"),
        ("MLST", Act::Stat, none, nothing, "look at a file"),
        ("SIZE", Act::Stat, PLAIN, nothing, "look at a file"),
        ("STAT", Act::Stat, PLAIN, nothing, "look at a file"),
        ("RETR", Act::Read(0), none, nothing, "open a file to read it"),
        ("REST", Act::Read(3), none, nothing, "open a file to read it"),
        ("ALLO", Act::Write, none, ("allocate", "true"), "create a file"),
        ("STOR", Act::Write, none, nothing, "create a file"),
        ("APPE", Act::Append, none, nothing, "create a file"),
        ("REST", Act::Resume, none, nothing, "go on with a file"),
        ("SITE", Act::Permissions, none, nothing, "write a file"),
        ("MFMT", Act::SetTime, none, nothing, "set the time of a file"),
        ("OPTS HASH", Act::Checksum, none, nothing, "compute the checksum of a file"),
        ("HASH", Act::Checksum, none, nothing, "compute the checksum of a file"),
        ("XSHA256", Act::Checksum, no_hash, nothing, "compute the checksum of a file"),
        ("CWD", Act::MakeDirectory, none, nothing, "make a directory"),
        ("MKD", Act::MakeDirectory, no_cwd, nothing, "make a directory"),
    ] {
        let play = format!("{verb}, {what:?}");
        // The second OPTS is that of the checksum, MLST has the first.
        let (verb, number) = if verb == "OPTS HASH" { ("OPTS", 2) } else { (verb, 0) };
        let features: &'static str = match what {
            Act::Checksum => Box::leak(hashing.to_owned().into_boxed_str()),
            Act::SetTime => " MFMT\r\n",
            _ => "",
        };
        let answers: &'static [(&str, &str)] = Box::leak(answers.to_vec().into_boxed_slice());
        let upset = Some(Upset { verb, number, is_done: false, is_silent: true });
        let server = Scripted::start(Script { upset, answers, features, ..Script::default() }).await;
        server.put(b"/in/a", b"content");
        let world = World::new(Definitions::default());
        let mut build = Build::at(server.port).set("timeout", "1s").set("connect_retries", "0");
        build = build.set(set.0, set.1);
        let mut use_of = FolderUse::of(model::Purpose::Deliver);
        if matches!(what, Act::Permissions) {
            use_of.permissions = Some(0o640);
        }
        let folder = world.transport.folder(&build.done(), use_of, &world.services).unwrap();
        let Err(error) = act(&folder, what).await else { panic!("{play}: done, {:?}", server.said()) };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{play}: {error}");
        assert_ne!(error.retry(), Retry::Permanent, "{play}: {error}");
        let text = error.chain();
        if !(text.contains(words) && text.contains("127.0.0.1")) {
            unclear.push(format!("{play}: {text}"));
        }
        // Once the server answers again, it is done.
        server.calm();
        if verb == "AUTH" {
            // This server has no TLS to go on with.
            continue;
        }
        act(&folder, what).await.unwrap_or_else(|error| panic!("{play}, again: {error}"));
    }
    assert!(unclear.is_empty(), "{unclear:#?}");
}

/// A whole delivery, with one command that is not answered, whether or not it was carried out.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_delivery_meets_silence_one_whole_file_arrives() {
    let mut plays = Vec::new();
    for verb in ["USER", "PWD", "EPSV", "STOR", "MLST", "XSHA256", "RETR", "RNFR", "RNTO", "DELE"] {
        for is_done in [false, true] {
            for number in 1..=4 {
                plays.push(tokio::spawn(delivered(Upset { verb, number, is_done, is_silent: true })));
            }
        }
    }
    let mut silences = 0;
    for play in plays {
        silences += u32::from(play.await.unwrap());
    }
    assert!(silences >= 24, "{silences} silences");
}

/// Whether the server fell silent.
async fn delivered(upset: Upset) -> bool {
    const CONTENT: &[u8] = b"UNB+UNOA:1";
    let script =
        Script { upset: Some(upset), features: " XSHA256\r\n", replaces_nothing: true, ..Script::default() };
    let server = Scripted::start(script).await;
    server.put(b"/out/a.edi", b"earlier");
    let world = World::new(Definitions::default());
    let folder =
        world.folder(&Build::at(server.port).set("timeout", "1s").set("connect_retries", "0").done());
    let mut attempt = Attempt::into("out");
    attempt.options.overwrite = Overwrite::Replace;
    attempt.options.verify = Verify::Checksum;
    let first = attempt.deliver(&folder, "a.edi", CONTENT, &world.services).await;
    let is_used = server.count(upset.verb) >= upset.number;
    if let Err(error) = &first {
        assert!(is_used, "{upset:?}: {error}");
        assert_ne!(error.retry(), Retry::Permanent, "{upset:?}: {error}");
        server.calm();
        let mut second = Attempt { number: 2, log: attempt.log.clone(), ..Attempt::into("out") };
        second.options = attempt.options.clone();
        second.deliver(&folder, "a.edi", CONTENT, &world.services).await.unwrap();
    }
    assert_eq!(server.names(), ["/out/a.edi"], "{upset:?}: {first:?}");
    assert_eq!(server.content(b"/out/a.edi").unwrap(), CONTENT, "{upset:?}");
    is_used
}
