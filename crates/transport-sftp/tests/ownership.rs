//! The owner of delivered files: set by numbers, or told in the receipt.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use support::{Build, Sshd, World, deliver, partner};
use testkit::sftp::{Op, SftpServer, Switch};

/// Delivers with this owner, and returns what the receipt says of one that was not set.
async fn owner_not_set(world: &World, build: Build, owner: &str) -> Option<String> {
    let build = build.set("owner", owner).set("overwrite", "replace");
    let receipt = deliver(world, build, &Arc::default(), 1, b"an order").await.unwrap();
    receipt.detail.get("owner_not_set").map(|why| why.as_str().unwrap().to_owned())
}

/// The tests run as root, and so does this server's user: it may give files away.
#[tokio::test(flavor = "multi_thread")]
async fn files_get_the_user_and_group_that_are_given() {
    let server = Sshd::start();
    std::fs::create_dir(server.files().join("out")).unwrap();
    let world = World::new();
    let url = format!("sftp://127.0.0.1:{}/{}", server.port(), server.files().join("out").display());
    std::fs::write(server.files().join("out/a.edi"), b"").unwrap();
    deliver(&world, server.endpoint().url(&url).set("overwrite", "replace"), &Arc::default(), 1, b"own")
        .await
        .unwrap();
    let own = std::fs::metadata(server.files().join("out/a.edi")).unwrap();
    for temporary in ["", "none"] {
        for (owner, user, group) in
            [("12345:54321", 12_345, 54_321), ("12346", 12_346, own.gid()), (":54322", own.uid(), 54_322)]
        {
            // One that is there keeps its group where it is written without a temporary name.
            std::fs::remove_file(server.files().join("out/a.edi")).unwrap();
            let build = server.endpoint().url(&url).set("permissions", "0640").set("temporary", temporary);
            assert_eq!(owner_not_set(&world, build, owner).await, None, "{owner}");
            let found = std::fs::metadata(server.files().join("out/a.edi")).unwrap();
            assert_eq!((found.uid(), found.gid()), (user, group), "{owner}");
            assert_eq!(found.mode() & 0o7777, 0o640, "{owner}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_not_set_is_in_the_receipt() {
    for (code, words) in [(8, "cannot"), (3, "does not let this user"), (4, "refused")] {
        let server = SftpServer::start().unwrap();
        std::fs::create_dir(server.at("out")).unwrap();
        server.switch("*", Switch::Status(Op::Setstat, code, "no"));
        let world = World::new();
        let why = owner_not_set(&world, partner(&server, "out"), "12345:54321").await.unwrap();
        assert!(why.contains(words) && why.contains("owner"), "{code}: {why}");
        assert_eq!(server.get("out/a.edi").unwrap(), b"an order");
    }
    // One half is to stay as it is, and the server does not say what it is.
    let server = SftpServer::start().unwrap();
    std::fs::create_dir(server.at("out")).unwrap();
    let world = World::new();
    let why = owner_not_set(&world, partner(&server, "out"), "12345").await.unwrap();
    assert!(why.contains("cannot set the owner"), "{why}");
    assert_eq!(server.count(Op::Setstat, "*"), 0);
}
