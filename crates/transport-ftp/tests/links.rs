//! Links that a server shows as directories.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use support::{Server, World};
use testkit::defined;
use testkit::fake::Known;
use transport::folder::{After, FolderSource, FolderSourceOptions};
use transport::{Discovery, Source};

#[tokio::test(flavor = "multi_thread")]
async fn links_back_give_no_file_twice_on_any_server() {
    for server in ["pyftpdlib", "proftpd", "vsftpd", "pureftpd"] {
        let server = Server::start(server, &[]);
        server.make("in");
        server.make("in/sub");
        for name in ["in/a.edi", "in/sub/b.edi"] {
            std::fs::write(server.files().join(name), "content").unwrap();
        }
        symlink(".", server.files().join("in/l1")).unwrap();
        symlink(".", server.files().join("in/l2")).unwrap();
        symlink("..", server.files().join("in/sub/l3")).unwrap();
        let world = World::new(server.definitions());
        let poll = defined::polling(defined::poll("acme", After::Keep), |polling| polling.recursive = true);
        let flow = Arc::new(defined::flow("flow", poll));
        let options = FolderSourceOptions { flow, endpoint: "acme".into(), directory: "files/in".into() };
        let folder = world.folder(&server.endpoint().done());
        let source = FolderSource::new(folder, options, world.services.clone()).unwrap();
        let known = Arc::new(Known::default());
        let offers = source.discover(Discovery::first(Arc::clone(&known) as _)).await.unwrap();
        let offers: Vec<_> = offers.collect().await;
        let mut found: Vec<_> =
            offers.into_iter().map(|offer| offer.unwrap().identity.path.to_text()).collect();
        found.sort();
        assert_eq!(found, ["files/in/a.edi", "files/in/sub/b.edi"], "{}", server.field("server"));
        assert_eq!(known.skipped()[&model::SkipReason::Link], 3, "{}", server.field("server"));
        assert_eq!(known.complete_listings(), 1);
    }
}
