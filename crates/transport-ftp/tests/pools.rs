//! Endpoints of one FTP server and account share its connections.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::future::join_all;
use model::Purpose;
use model::definition::Endpoint;
use std::sync::Arc;
use support::{Server, World};
use testkit::through::take;

const FOLDERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn forty_folders_of_one_account_are_polled_over_four_connections_that_stay_open() {
    for server in ["vsftpd", "proftpd"] {
        let server = Server::start(server, &[]);
        let endpoint = |number: usize| -> Arc<Endpoint> {
            server.make(&format!("partner-{number}"));
            let name = format!("partner-{number}/order.edi");
            std::fs::write(server.files().join(name), format!("order {number}")).unwrap();
            let url = format!("ftp://127.0.0.1:{}/files/partner-{number}", server.port());
            server.endpoint().url(&url).done()
        };
        let endpoints: Vec<_> = (0..FOLDERS).map(endpoint).collect();
        let world = World::new(server.definitions());
        let opened = || {
            let opened = world.records.opened.lock().unwrap();
            opened.iter().filter(|opened| opened.record.purpose != Purpose::Data).count()
        };
        let poll = async |number: usize| {
            let folder = world.folder(&endpoints[number]);
            let (read, _) = take(&folder, &format!("files/partner-{number}"), &world.services).await.unwrap();
            assert_eq!(read, format!("order {number}").into_bytes());
        };
        join_all((0..FOLDERS).map(poll)).await;
        let first = opened();
        assert!((1..=4).contains(&first), "{first} connections");
        // The next round needs no login.
        join_all((0..FOLDERS).map(poll)).await;
        assert_eq!(opened(), first);
        assert!(world.records.failed.lock().unwrap().is_empty());
    }
}
