//! Places that take files without showing them: no look, no rename, or gone as soon as they are closed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use model::{Claim, ConnectionId, DeliveryId, ErrorKind, Receipt, Result, Retry};
use std::sync::Arc;
use support::{Build, World, noise, partner};
use testkit::fake::{BytesPayload, MemoryLog};
use testkit::sftp::{Op, SftpServer, Switch};
use transport::{Deliver, DeliveryLog, Sent, Transport};
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
        let services = self.world.services.clone();
        let node = services.node.clone();
        let destination = self.world.transport.destination(endpoint.done(), services).unwrap();
        let sent = destination.deliver(Deliver {
            claim: Claim { delivery: DeliveryId::new(Uuid::from_u128(0x0192_7000)), node, epoch: 1, attempt },
            payload: BytesPayload::shared("a.edi", self.content.as_slice()),
            file_name: "a.edi".into(),
            flow: "flow".into(),
            partner: None,
            notes: self.log.notes(),
            interrupted: attempt > 1,
            log: Arc::clone(&self.log) as Arc<dyn DeliveryLog>,
        });
        match sent.await? {
            Sent::Delivered { receipt, .. } => {
                let named = receipt.detail["connection"].as_str().unwrap();
                assert!(self.is_recorded(named.parse().unwrap()), "{receipt:?}");
                Ok(receipt)
            }
            other => panic!("{other:?}"),
        }
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
        assert!(verified_by(&receipt).starts_with("acknowledged writes"), "{receipt:?}");
        assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);
    }
    let scene = Scene::new(&[]);
    assert_eq!(verified_by(&scene.attempt(scene.endpoint(), 1).await.unwrap()), "size after closing");
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
        assert!(error.to_string().contains("temporary_name = false"), "{error}");
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
        let receipt = scene.attempt(scene.endpoint().set("temporary_name", "false"), 1).await.unwrap();
        assert_eq!((verified_by(&receipt), receipt.summary.as_str()), ("size before closing", "out/a.edi"));
        assert_eq!(scene.server.get("taken/a.edi").unwrap(), scene.content);
        assert!(scene.server.names("out").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_renaming_is_refused_nothing_stays_and_the_error_says_what_helps() {
    for code in [3, 8] {
        let scene = Scene::new(&[Switch::Status(Op::Rename, code, "no")]);
        let error = scene.attempt(scene.endpoint(), 1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Permanent, "{error}");
        assert!(error.to_string().contains("temporary_name = false"), "{error}");
        assert!(scene.server.names("out").is_empty(), "{:?}", scene.server.names("out"));
        let receipt = scene.attempt(scene.endpoint().set("temporary_name", "false"), 2).await.unwrap();
        assert_eq!(verified_by(&receipt), "size after closing");
        assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);
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
        let direct = || scene.endpoint().set("temporary_name", "false");
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
        let direct = other.endpoint().set("temporary_name", "false").set("overwrite", "replace");
        other.attempt(direct, 3).await.unwrap();
        assert_eq!(other.server.get("out/a.edi").unwrap(), other.content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_found_out_without_temporary_names() {
    // Cut off while writing: what lies there is ours, and is written anew.
    let scene = Scene::new(&[]);
    let direct = || scene.endpoint().set("temporary_name", "false");
    scene.server.switch_times("out/*", 1, Switch::CutAfter(Op::Write));
    assert_ne!(scene.attempt(direct(), 1).await.unwrap_err().retry(), Retry::Permanent);
    let receipt = scene.attempt(direct(), 2).await.unwrap();
    assert_eq!((verified_by(&receipt), scene.uploads()), ("size after closing", 2));
    assert_eq!(scene.server.get("out/a.edi").unwrap(), scene.content);

    // Cut off while closing: it was whole, so it was delivered, taken or not, shown or not.
    for switch in [None, Some(Switch::GoneWhenWritten), Some(Switch::Status(Op::Stat, 3, "no"))] {
        let scene = Scene::new(&[]);
        let direct = || scene.endpoint().set("temporary_name", "false");
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
    let endpoint = scene.endpoint().set("temporary_name", "false").done();
    let probe =
        scene.world.transport.destination(endpoint, scene.world.services.clone()).unwrap().probe().await;
    assert!(probe.passed(), "{probe:?}");
    assert_eq!(scene.uploads(), 0);
}
