//! Symbolic links that lead out of the polled directory or back into it, at OpenSSH.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::SkipReason;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use support::{Sshd, World};
use testkit::defined;
use testkit::fake::Known;
use transport::folder::After;
use transport::{Discovery, Transport};

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_out_or_in_circles_are_not_followed() {
    let server = Sshd::start();
    let files = server.files();
    for directory in ["in", "in/sub", "elsewhere"] {
        std::fs::create_dir(files.join(directory)).unwrap();
    }
    for name in ["in/a.edi", "in/sub/b.edi", "elsewhere/c.edi"] {
        std::fs::write(files.join(name), "content").unwrap();
    }
    for (target, link) in
        [(".", "in/l1"), ("..", "in/sub/l2"), ("../elsewhere", "in/out"), ("../elsewhere/c.edi", "in/c.edi")]
    {
        symlink(target, files.join(link)).unwrap();
    }
    let world = World::new();
    let poll = defined::polling(defined::poll("acme", After::Keep), |polling| polling.recursive = true);
    let flow = Arc::new(defined::flow("flow", poll));
    let url = format!("sftp://127.0.0.1:{}/in", server.port());
    let endpoint = server.endpoint().url(&url).done();
    let source = world.transport.source(endpoint, flow, world.services.clone()).unwrap();
    let known = Arc::new(Known::default());
    let offers = source.discover(Discovery::first(Arc::clone(&known) as _)).await.unwrap();
    let offers: Vec<_> = offers.collect().await;
    let mut found: Vec<_> =
        offers.into_iter().map(|offer| offer.unwrap().identity.path.file_name().to_vec()).collect();
    found.sort();
    assert_eq!(found, [&b"a.edi"[..], b"b.edi"]);
    assert_eq!(known.skipped()[&SkipReason::Link], 4);
    assert_eq!(known.complete_listings(), 1);
}
