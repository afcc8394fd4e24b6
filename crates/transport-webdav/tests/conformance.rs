//! The suite that every folder passes, over a real Apache with mod_dav.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Apache, World};
use testkit::conformance::{Place, all};

#[tokio::test(flavor = "multi_thread")]
async fn apache_conforms() {
    let server = Apache::start(&[]);
    let world = World::new();
    let folder = world.folder(&server.endpoint("", &[]));
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let base = format!("/in-{number}");
        folder.make_directory(&base.as_str().into()).await.unwrap();
        Place::new(Arc::clone(&folder), base.as_str(), format!("/beside-{number}").as_str()).connected()
    })
    .await;
}
