//! Several deliveries at once into directories that are missing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::future::join_all;
use model::{Claim, DeliveryId};
use std::sync::Arc;
use support::{Server, World};
use testkit::fake::{BytesPayload, MemoryLog};
use transport::folder::{FolderDestination, WriteOptions};
use transport::{Deliver, DeliveryLog, Destination};
use uuid::Uuid;

/// Deliveries at once, each over a connection of its own.
const AT_ONCE: u128 = 8;

/// Directories that are created.
const ROUNDS: u128 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_at_once_make_a_missing_directory_together() {
    for server in ["vsftpd", "proftpd"] {
        let server = Server::start(server, &[]);
        let world = World::new(server.definitions());
        let folder = world.folder(&server.endpoint().set("connections", "8").done());
        for round in 0..ROUNDS {
            let options = WriteOptions {
                create_directories: true,
                temporary_directory: Some(format!("files/work-{round}/deep").as_str().into()),
                ..WriteOptions::new("acme", format!("files/out-{round}").as_str().into())
            };
            let destination =
                FolderDestination::new(Arc::clone(&folder), options, world.services.clone()).unwrap();
            let deliveries = (0..AT_ONCE).map(|number| {
                let log: Arc<dyn DeliveryLog> = Arc::new(MemoryLog::default());
                let delivery = DeliveryId::new(Uuid::from_u128(round * AT_ONCE + number));
                let name = format!("{number}.edi");
                destination.deliver(Deliver {
                    attachments: Vec::new(),
                    claim: Claim { delivery, node: world.services.node.clone(), epoch: 1, attempt: 1 },
                    payload: BytesPayload::shared(name.as_str(), *b"content"),
                    file_name: name.as_str().into(),
                    received: model::Timestamp::UNIX_EPOCH,
                    flow: "flow".into(),
                    partner: None,
                    notes: Default::default(),
                    interrupted: false,
                    is_last: false,
                    log,
                })
            });
            for sent in join_all(deliveries).await {
                sent.unwrap();
            }
            let written = std::fs::read_dir(server.files().join(format!("out-{round}"))).unwrap();
            assert_eq!(written.count() as u128, AT_ONCE);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_time_are_taken() {
    for name in ["proftpd", "vsftpd"] {
        let server = Server::start(name, &[]);
        server.make("in");
        let world = World::new(server.definitions());
        let folder = world.folder(&server.endpoint().done());
        let files = server.files().join("in");
        testkit::through::files_of_any_time_are_taken(&folder, "files/in", &files, &world.services).await;
    }
}
