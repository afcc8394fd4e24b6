//! Places that take files without showing them: no look, no rename, or gone as soon as they are closed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{Claim, ConnectionId, DeliveryId, ErrorKind, Receipt, Result, Retry};
use std::sync::Arc;
use support::{Build, World, noise, partner};
use testkit::fake::{BytesPayload, MemoryLog};
use testkit::sftp::{Op, ReportedIn, SftpServer, Switch};
use transport::{Deliver, DeliveryLog, Probe, Sent};
use uuid::Uuid;

struct Scene {
    server: SftpServer,
    world: World,
    log: Arc<MemoryLog>,
    content: Vec<u8>,
}

impl Scene {
    fn new(switches: &[Switch]) -> Self {
        let server = SftpServer::start().unwrap();
        std::fs::create_dir(server.at("out")).unwrap();
        for switch in switches {
            server.switch("out/*", switch.clone());
        }
        Self { server, world: World::new(), log: Arc::default(), content: noise(300_001) }
    }

    fn endpoint(&self) -> Build {
        partner(&self.server, "out")
    }

    async fn attempt(&self, endpoint: Build, attempt: u32) -> Result<Receipt> {
        self.attempt_of(endpoint, attempt, false).await
    }

    async fn attempt_of(&self, endpoint: Build, attempt: u32, is_last: bool) -> Result<Receipt> {
        let node = self.world.services.node.clone();
        let destination = self.world.destination(endpoint);
        let sent = destination.deliver(Deliver {
            attachments: Vec::new(),
            claim: Claim { delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)), node, epoch: 1, attempt },
            payload: BytesPayload::shared("a.edi", self.content.as_slice()),
            file_name: "a.edi".into(),
            received: model::Timestamp::UNIX_EPOCH,
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: false,
            is_last,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        });
        match sent.await? {
            Sent::Delivered { receipt, .. } => {
                assert!(self.is_recorded(receipt.connection.unwrap()), "{receipt:?}");
                Ok(receipt)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn probe(&self, endpoint: Build) -> Probe {
        self.world.destination(endpoint).probe().await
    }

    fn is_recorded(&self, connection: ConnectionId) -> bool {
        self.world.records.opened.lock().unwrap().iter().any(|opened| opened.record.id == connection)
    }

    fn uploads(&self) -> usize {
        self.server.count(Op::OpenWrite, "out/*")
    }
}

fn verified_by(receipt: &Receipt) -> &str {
    receipt.detail["verified_by"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_look_the_open_file_or_its_acknowledgement_is_evidence() {
    for code in [3, 4, 8] {
        let scene = Scene::new(&[Switch::Status(Op::Stat, code, "no")]);
        let receipt = scene.attempt(scene.endpoint(), 1).await.unwrap();
        assert_eq!(verified_by(&receipt), "size before closing");
        assert_eq!(scene.server.names("out"), ["a.edi"]);
        assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);

        let scene =
            Scene::new(&[Switch::Status(Op::Stat, code, "no"), Switch::Status(Op::Fstat, code, "no")]);
        let receipt = scene.attempt(scene.endpoint(), 1).await.unwrap();
        assert!(verified_by(&receipt).starts_with("every write was acknowledged"), "{receipt:?}");
        assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);
    }
    let scene = Scene::new(&[]);
    assert_eq!(verified_by(&scene.attempt(scene.endpoint(), 1).await.unwrap()), "size after closing");
}

/// A size that is told late keeps nothing from being delivered once every write was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_told_late_is_a_remark() {
    let late = |place| Switch::SizeIs(place, 0);
    let hidden = Switch::Status(Op::Stat, 3, "no");
    for direct in ["", "none"] {
        for (switches, remark) in [
            // The look after closing tells the right size, or what is read there is whole, or nobody may look.
            (vec![late(ReportedIn::FSTAT)], "size after closing"),
            (
                vec![late(ReportedIn::EVERYWHERE)],
                "the end of the file was read after closing; the server reports a wrong size of 0 bytes",
            ),
            (
                vec![late(ReportedIn::FSTAT), hidden.clone()],
                "every write was acknowledged; the server reported another size, 0 bytes",
            ),
            (
                vec![Switch::SizeOff(ReportedIn::FSTAT, 7), hidden.clone()],
                "every write was acknowledged; the server reported another size, 300008 bytes",
            ),
        ] {
            let scene = Scene::new(&switches);
            let receipt = scene.attempt(scene.endpoint().set("temporary", direct), 1).await.unwrap();
            assert_eq!(verified_by(&receipt), remark, "{direct} {switches:?}");
            assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);
            assert_eq!((scene.server.names("out").len(), scene.uploads()), (1, 1));
        }
        // The look sets out with the request to close: it comes too early, and nobody may read.
        let scene = Scene::new(&[Switch::Status(Op::OpenRead, 3, "no")]);
        scene.server.switch_times("out/*", 1, late(ReportedIn::STAT));
        let receipt = scene.attempt(scene.endpoint().set("temporary", direct), 1).await;
        // Without a temporary name the first look is the one that finds the name free: it tells no size.
        assert_eq!((verified_by(&receipt.unwrap()), scene.uploads()), ("size after closing", 1));
    }
    // Taken as soon as it is closed: it was delivered under its own name, and is not sent again under a temporary one.
    for stat in [None, Some(Switch::MissingIs(4, "Failure")), Some(Switch::MissingIs(3, "no"))] {
        let scene = || {
            let scene = Scene::new(&[Switch::MovedWhenWritten("taken/a.edi"), late(ReportedIn::FSTAT)]);
            stat.iter().for_each(|switch| scene.server.switch("out/*", switch.clone()));
            scene
        };
        let direct = scene();
        let receipt = direct.attempt(direct.endpoint().set("temporary", "none"), 1).await.unwrap();
        assert_eq!(
            verified_by(&receipt),
            "every write was acknowledged; the server reported another size, 0 bytes"
        );
        assert_eq!(direct.server.get("taken/a.edi").unwrap(), direct.content);
        let temporary = scene();
        let error = temporary.attempt(temporary.endpoint(), 1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Permanent, "{stat:?} {error}");
        assert!(error.to_string().contains("temporary = \"none\""), "{error}");
        assert_eq!(temporary.uploads(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_taken_under_its_temporary_name_is_not_sent_again_and_the_error_says_what_helps() {
    for further in [None, Some(Switch::Status(Op::Stat, 3, "no")), Some(Switch::MissingIs(4, "Failure"))] {
        let scene = Scene::new(&[Switch::GoneWhenWritten]);
        if let Some(switch) = further {
            scene.server.switch("out/*", switch);
        }
        let error = scene.attempt(scene.endpoint(), 1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Permanent, "{error}");
        assert!(error.to_string().contains("temporary = \"none\""), "{error}");
        assert!(scene.is_recorded(error.connection().unwrap()), "{error}");
        assert_eq!(scene.uploads(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_temporary_names_a_drop_box_has_the_file_under_its_own() {
    for further in [None, Some(Op::Stat), Some(Op::Rename)] {
        let scene = Scene::new(&[Switch::MovedWhenWritten("taken/a.edi")]);
        if let Some(op) = further {
            scene.server.switch("out/*", Switch::Status(op, 3, "no"));
        }
        let receipt = scene.attempt(scene.endpoint().set("temporary", "none"), 1).await.unwrap();
        assert_eq!((verified_by(&receipt), receipt.summary.as_str()), ("size before closing", "out/a.edi"));
        assert_eq!(scene.server.get("taken/a.edi").unwrap(), scene.content);
        assert!(scene.server.names("out").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_renaming_is_refused_nothing_stays_and_the_error_says_what_helps() {
    let answers = [
        (3, "no"),
        (8, ""),
        (5, "Bad message"),
        (4, "Failure"),
        (4, ""),
        (4, "Permission denied"),
        (4, "Operation not supported"),
        (99, "?"),
    ];
    for (code, words) in answers {
        for op in [Op::Rename, Op::PosixRename] {
            for hides in [false, true] {
                // Where posix-rename is refused, a plain rename is tried.
                let scene = Scene::new(&[op, Op::Rename].map(|op| Switch::Status(op, code, words)));
                if hides {
                    scene.server.switch("out/*", Switch::Status(Op::Stat, 3, "no"));
                }
                let (op, case) = (op, format!("{code} {words} {op:?} {hides}"));
                scene.server.greeting(|greeting| greeting.extensions = vec!["posix-rename@openssh.com"]);
                let renaming =
                    || scene.endpoint().set("overwrite", if op == Op::Rename { "refuse" } else { "replace" });
                let error = scene.attempt(renaming(), 1).await.unwrap_err();
                assert!(error.to_string().contains("temporary = \"none\""), "{case}: {error}");
                // An answer that may have any reason is worth another try, of the bytes that are there.
                if error.retry() != Retry::Permanent {
                    assert_eq!(
                        (error.retry(), scene.server.names("out").len()),
                        (Retry::Transient, 1),
                        "{case}"
                    );
                    let error = scene.attempt_of(renaming(), 2, true).await.unwrap_err();
                    assert!(error.to_string().contains("temporary = \"none\""), "{case}: {error}");
                }
                assert_eq!((scene.server.names("out").len(), scene.uploads()), (0, 1), "{case}");
                let receipt = scene.attempt(renaming().set("temporary", "none"), 3).await.unwrap();
                assert_eq!(receipt.summary, "out/a.edi", "{case}");
                assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content, "{case}");
                assert_eq!(scene.server.names("out"), ["a.edi"], "{case}");
            }
        }
        let scene = Scene::new(&[Switch::Status(Op::Rename, code, words)]);
        let probe = scene.probe(scene.endpoint()).await;
        let error = probe.steps.last().unwrap().result.as_ref().unwrap_err();
        assert!(error.to_string().contains("temporary = \"none\""), "{error}");
        assert!(scene.server.names("out").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_is_done_and_answered_as_failed_is_done() {
    for code in [4, 99] {
        let scene = Scene::new(&[Switch::StatusAfter(Op::Rename, code, "Failure")]);
        scene.attempt(scene.endpoint(), 1).await.unwrap();
        assert_eq!(scene.server.names("out"), ["a.edi"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_treated_as_asked_without_temporary_names_too() {
    for show in [true, false] {
        let scene = Scene::new(&[]);
        scene.server.put("out/a.edi", b"earlier");
        if !show {
            scene.server.switch("out/*", Switch::Status(Op::Stat, 3, "no"));
        }
        let direct = || scene.endpoint().set("temporary", "none");
        let error = scene.attempt(direct(), 1).await.unwrap_err();
        assert_eq!(scene.server.get("out/a.edi").unwrap(), b"earlier");
        if show {
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::AlreadyExists, Retry::Permanent),
                "{error}"
            );
            let receipt = scene.attempt(direct().set("overwrite", "rename"), 2).await.unwrap();
            assert_eq!(receipt.summary, "out/a-2.edi");
        }
        let other = Scene { log: Arc::default(), ..scene };
        let direct = other.endpoint().set("temporary", "none").set("overwrite", "replace");
        other.attempt(direct, 3).await.unwrap();
        assert_eq!(other.server.get("out/a.edi").unwrap(), other.content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_found_out_without_temporary_names() {
    // Cut off while writing: what lies there is ours, and is written anew.
    let scene = Scene::new(&[]);
    let direct = || scene.endpoint().set("temporary", "none");
    scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::Write));
    assert_ne!(scene.attempt(direct(), 1).await.unwrap_err().retry(), Retry::Permanent);
    let receipt = scene.attempt(direct(), 2).await.unwrap();
    assert_eq!((verified_by(&receipt), scene.uploads()), ("size after closing", 2));
    assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);

    // Cut off while it was made, before or after: the empty file there is ours.
    for cut in [Switch::CutAfter(Op::OpenWrite), Switch::CutBefore(Op::OpenWrite)] {
        for overwrite in ["refuse", "rename", "replace"] {
            for (further, length) in [(None, 300_001), (Some(Switch::NoSize(ReportedIn::STAT)), 5), (None, 0)]
            {
                let scene = Scene { content: noise(length), ..Scene::new(&[]) };
                further.iter().for_each(|switch| scene.server.switch("out/*", switch.clone()));
                let direct = || scene.endpoint().set("temporary", "none").set("overwrite", overwrite);
                scene.server.switch_times("out/*", 1, cut.clone());
                assert_ne!(scene.attempt(direct(), 1).await.unwrap_err().retry(), Retry::Permanent);
                scene.attempt(direct(), 2).await.unwrap();
                assert_eq!(scene.server.names("out"), ["a.edi"], "{cut:?} {overwrite}");
                assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content, "{cut:?} {overwrite}");
            }
        }
    }
    // What somebody else put there meanwhile is not ours, nor what was there before.
    for (before, meanwhile) in [(None, Some(b"theirs")), (Some(b"theirs"), None)] {
        let scene = Scene::new(&[]);
        let direct = || scene.endpoint().set("temporary", "none");
        before.iter().for_each(|content| scene.server.put("out/a.edi", *content));
        if before.is_none() {
            scene.server.switch_times("out/*", 1, Switch::CutBefore(Op::OpenWrite));
        }
        scene.attempt(direct(), 1).await.unwrap_err();
        meanwhile.iter().for_each(|content| scene.server.put("out/a.edi", *content));
        let error = scene.attempt(direct(), 2).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent), "{error}");
        assert_eq!(scene.server.get("out/a.edi").unwrap(), b"theirs");
    }
    // Where nobody may look, nothing is written over; the error says what to look for.
    let scene = Scene::new(&[Switch::Status(Op::Stat, 3, "no")]);
    let direct = || scene.endpoint().set("temporary", "none");
    scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::OpenWrite));
    scene.attempt(direct(), 1).await.unwrap_err();
    let error = scene.attempt(direct(), 2).await.unwrap_err();
    assert!(error.to_string().contains("overwrite"), "{error}");

    // Cut off while closing: it was whole, so it was delivered, taken or not, shown or not.
    for switch in [
        None,
        Some(Switch::GoneWhenWritten),
        Some(Switch::Status(Op::Stat, 3, "no")),
        Some(Switch::SizeIs(ReportedIn::EVERYWHERE, 0)),
    ] {
        let scene = Scene::new(&[]);
        let direct = || scene.endpoint().set("temporary", "none");
        scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::CloseWrite));
        if let Some(switch) = switch {
            scene.server.switch("out/*", switch);
        }
        assert_eq!(scene.attempt(direct(), 1).await.unwrap_err().retry(), Retry::Ambiguous);
        scene.attempt(direct(), 2).await.unwrap();
        assert_eq!(scene.uploads(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_whose_answer_was_lost_is_found_out_where_nobody_may_look() {
    let scene = Scene::new(&[Switch::Status(Op::Stat, 3, "no")]);
    scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::Rename));
    let first = scene.attempt(scene.endpoint(), 1).await;
    if first.is_err() {
        scene.attempt(scene.endpoint(), 2).await.unwrap();
    }
    assert_eq!((scene.uploads(), scene.server.get("out/a.edi").unwrap()), (1, scene.content.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_gives_nothing_to_a_drop_box() {
    let scene = Scene::new(&[Switch::GoneWhenWritten]);
    let probe = scene.probe(scene.endpoint().set("temporary", "none")).await;
    assert!(probe.passed(), "{probe:?}");
    assert_eq!(scene.uploads(), 0);
    // With temporary names it finds out that they do not do here.
    let probe = scene.probe(scene.endpoint()).await;
    let error = probe.steps.last().unwrap().result.as_ref().unwrap_err();
    assert!(error.to_string().contains("temporary = \"none\""), "{error}");
}

/// A size that is told late proves neither that a file is empty, nor that it is not whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_told_late_is_no_proof_after_a_cut() {
    let late = Switch::SizeIs(ReportedIn::STAT, 0);
    for overwrite in ["refuse", "rename"] {
        // The name was noted and not made; then somebody else made it.
        for length in [1, 4000] {
            let scene = Scene::new(std::slice::from_ref(&late));
            let direct = || scene.endpoint().set("temporary", "none").set("overwrite", overwrite);
            scene.server.switch_times("out/*", 1, Switch::CutBefore(Op::OpenWrite));
            scene.attempt(direct(), 1).await.unwrap_err();
            scene.server.put("out/a.edi", &noise(length));
            let second = scene.attempt(direct(), 2).await;
            assert!(scene.server.get("out/a.edi").unwrap() == noise(length), "{overwrite} {length}");
            match overwrite {
                "refuse" => assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists),
                _ => assert_eq!(second.unwrap().summary, "out/a-2.edi"),
            }
        }
        // Every byte was acknowledged, and the answer to the closing was lost; nobody may read.
        for stated in [0, 7] {
            let scene = Scene::new(&[Switch::Status(Op::OpenRead, 3, "no")]);
            let direct = || scene.endpoint().set("temporary", "none").set("overwrite", overwrite);
            scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::CloseWrite));
            assert_eq!(scene.attempt(direct(), 1).await.unwrap_err().retry(), Retry::Ambiguous);
            scene.server.switch("out/a.edi", Switch::SizeIs(ReportedIn::STAT, stated));
            for attempt in [2, 3] {
                let error = scene.attempt_of(direct(), attempt, attempt == 3).await.unwrap_err();
                assert_eq!(error.retry(), Retry::Ambiguous, "{overwrite} {stated} {error}");
                assert!(error.to_string().contains("checks again"), "{error}");
            }
            assert_eq!((scene.server.names("out"), scene.uploads()), (vec!["a.edi".to_owned()], 1));
            // Counted at last.
            scene.server.unswitch("out/a.edi");
            let receipt = scene.attempt(direct(), 4).await.unwrap();
            assert_eq!((receipt.summary.as_str(), scene.uploads()), ("out/a.edi", 1), "{overwrite} {stated}");
        }
    }
}
