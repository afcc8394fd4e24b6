//! A server whose disk is full in the middle of a file: nothing of it stays, and the error says so (W4: permanent, until a
//! person made room). Apache over a small file system.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry};
use support::{DavServer, World};
use testkit::mounts::{SmallDisk, is_inside};
use testkit::through::Attempt;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_mid_file_keeps_nothing_of_it() {
    if !is_inside("a_disk_that_is_full_in_mid_file_keeps_nothing_of_it") {
        return;
    }
    let server = DavServer::apache(&[]);
    let small = server.files().join("small");
    std::fs::create_dir(&small).unwrap();
    let _disk = SmallDisk::over(&small, "3m");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&small).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".DAV").collect()
    };
    let world = World::new();
    let content = vec![7; 2 << 20];
    for lock in ["false", "true"] {
        let folder = world.folder(&server.endpoint("", &[("lock", lock), ("connections", "2")]));
        std::fs::write(small.join("filler"), vec![1; 2 << 20]).unwrap();
        let mut attempt = Attempt::into("/small");
        let error = attempt.deliver(&folder, "a.edi", &content, &world.services).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::StorageFull, Retry::Transient), "{error}");
        let text = error.to_string();
        assert!(text.contains("507") && text.contains("make room there"), "{text}");
        assert_eq!(names(), ["filler"], "{lock}: {error}");
        std::fs::remove_file(small.join("filler")).unwrap();
        attempt.number = 2;
        attempt.deliver(&folder, "a.edi", &content, &world.services).await.unwrap();
        assert_eq!(names(), ["a.edi"], "{lock}");
        assert!(std::fs::read(small.join("a.edi")).unwrap() == content);
        std::fs::remove_file(small.join("a.edi")).unwrap();
    }
}
