//! A server that refuses a taken name: a file is replaced in steps, and wherever these are cut off, one file is there in
//! the end, and nothing beside it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{MAY_REMAIN, PUBLISHING};
use support::script::{Script, Scripted, Upset};
use support::{Build, World};
use testkit::through::Attempt;
use transport::folder::Overwrite;

fn replacing(number: u32, first: &Attempt) -> Attempt {
    let mut attempt = Attempt { number, log: first.log.clone(), ..Attempt::into("out") };
    attempt.options.overwrite = Overwrite::Replace;
    attempt
}

async fn server(upset: Option<Upset>) -> Scripted {
    let server = Scripted::start(Script { replaces_nothing: true, upset, ..Script::default() }).await;
    server.put(b"/out/a.edi", b"earlier");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_replacement_is_cut_off_the_next_attempt_ends_it() {
    let mut cuts = 0;
    for verb in ["RNFR", "RNTO", "DELE"] {
        for is_done in [false, true] {
            for number in 1.. {
                let play = format!("{verb} {number} {is_done}");
                let server = server(Some(Upset { verb, number, is_done, is_silent: false })).await;
                let world = World::new(model::definition::Definitions::default());
                let folder = world.folder(&Build::at(server.port).set("timeout", "2s").done());
                let attempt = replacing(1, &Attempt::into("out"));
                let first = attempt.deliver(&folder, "a.edi", b"later", &world.services).await;
                let is_used = server.count(verb) >= number;
                server.calm();
                if first.is_err() {
                    let note = attempt.log.notes()[PUBLISHING][MAY_REMAIN].to_string();
                    // If the delivery is cancelled now, its event names what remains.
                    for name in server.names().iter().filter(|name| *name != "/out/a.edi") {
                        assert!(
                            note.contains(name.trim_start_matches('/')),
                            "{play}: {name} is not in {note}"
                        );
                    }
                    let second = replacing(2, &attempt);
                    second.deliver(&folder, "a.edi", b"later", &world.services).await.unwrap();
                }
                assert_eq!(server.names(), ["/out/a.edi"], "{play}: {first:?}");
                assert_eq!(server.content(b"/out/a.edi").unwrap(), b"later", "{play}");
                assert_eq!(server.count("STOR"), 1, "{play}: it was sent twice");
                if !is_used {
                    break;
                }
                cuts += 1;
            }
        }
    }
    // Three renames of two commands each, and the removal of the old file, before and after: at least.
    assert!(cuts >= 14, "{cuts} cuts");
}

/// The new file was published and collected; the old one, which the cut left, is not shown once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_does_not_come_back_when_the_new_one_is_collected() {
    let server = server(None).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).done());
    server.files.lock().unwrap().clear();
    server.put(b"/out/.old.a", b"earlier");
    folder.settle_replaced(&"out/.a".into(), &"out/a.edi".into(), true).await.unwrap();
    assert_eq!(server.names(), Vec::<String>::new());
    // Not published: it is renamed back.
    server.put(b"/out/.old.a", b"earlier");
    folder.settle_replaced(&"out/.a".into(), &"out/a.edi".into(), false).await.unwrap();
    assert_eq!(server.names(), ["/out/a.edi"]);
    // Somebody else's file has the name: it is left alone, and the error says where the old one is.
    server.put(b"/out/.old.a", b"earlier still");
    let error = folder.settle_replaced(&"out/.a".into(), &"out/a.edi".into(), false).await.unwrap_err();
    assert!(error.to_string().contains("/.old.a"), "{error}");
    assert_eq!(server.content(b"/out/a.edi").unwrap(), b"earlier");
}

/// The last attempt fails between the steps: the replaced file is renamed back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_to_be_replaced_comes_back_when_the_delivery_is_given_up() {
    // The old file is renamed, then the connection ends.
    let upset = Upset { verb: "RNTO", number: 2, is_done: true, is_silent: false };
    let server = server(Some(upset)).await;
    let world = World::new(model::definition::Definitions::default());
    let folder = world.folder(&Build::at(server.port).done());
    server.put(b"/out/.a", b"later");
    let published = folder.publish(&"out/.a".into(), &"out/a.edi".into(), true).await;
    assert!(matches!(published, Ok(transport::folder::Published::Unknown)), "{published:?}");
    assert_eq!(server.names(), ["/out/.a", "/out/.old.a"]);
    server.calm();
    folder.remove(&"out/.a".into()).await.unwrap();
    folder.settle_replaced(&"out/.a".into(), &"out/a.edi".into(), false).await.unwrap();
    assert_eq!(server.names(), ["/out/a.edi"]);
    assert_eq!(server.content(b"/out/a.edi").unwrap(), b"earlier");
}
