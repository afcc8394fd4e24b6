//! Endpoints of one WebDAV server and account share its connections.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::future::join_all;
use support::{DavServer, World};
use testkit::through::take;

const FOLDERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn forty_folders_of_one_account_are_polled_over_few_connections_that_stay_open() {
    let server = DavServer::apache(&[]);
    let endpoint = |number: usize| {
        let directory = server.files().join(format!("partner-{number}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("order.edi"), format!("order {number}")).unwrap();
        server.endpoint(&format!("partner-{number}"), &[("connections", "4")])
    };
    let endpoints: Vec<_> = (0..FOLDERS).map(endpoint).collect();
    let world = World::new();
    let poll = async |number: usize| {
        let folder = world.folder(&endpoints[number]);
        let (read, _) = take(&folder, &format!("/partner-{number}"), &world.services).await.unwrap();
        assert_eq!(read, format!("order {number}").into_bytes());
    };
    join_all((0..FOLDERS).map(poll)).await;
    let first = world.opened();
    // Four requests at a time. For one of them a connection may be begun just when another one comes free.
    assert!((1..=8).contains(&first), "{first} connections");
    join_all((0..FOLDERS).map(poll)).await;
    let second = world.opened() - first;
    assert!(second <= 4, "{second} more connections");
    assert!(world.records.failed.lock().unwrap().is_empty());
}
