use super::{RoomOfFlow, StagingRoom};
use model::{IdentityRule, OfferIdentity};
use staging::{Disk, Staging};
use std::path::Path;
use std::sync::Arc;
use testkit::forgetful::ForgetfulDisk;

fn file(name: &str, size: u64) -> OfferIdentity {
    OfferIdentity {
        flow: "orders".into(),
        endpoint: "in".into(),
        path: name.into(),
        size: Some(size),
        modified: None,
        version: None,
        rule: IdentityRule::default(),
    }
}

#[test]
fn a_poll_asks_once_whether_staging_is_there_however_many_files_wait() {
    let disk = ForgetfulDisk::new();
    let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
    let staging = Staging::open(Path::new("/staging"), Arc::new(disk.clone()), settings).unwrap();
    disk.set_capacity(Some(100));
    disk.create(Path::new("/filler"), 0o600).unwrap().write_at(&[0; 90], 0).unwrap();
    let room = Arc::new(StagingRoom::new(staging));
    let flow = Arc::new(RoomOfFlow::default());
    let poll = room.of_poll(&flow, false);
    assert!(poll.has_room(&file("small", 5)));
    assert!(!poll.has_room(&file("a", 50)));
    // From the next call on the disk answers nothing: who asks again takes the area to be missing, and offers the file.
    disk.fail_after(0);
    disk.sync_dir(Path::new("/")).unwrap_err();
    assert!(!poll.has_room(&file("b", 50)));
    assert!(room.of_poll(&flow, false).has_room(&file("c", 50)));
}
