//! The suite that every folder passes, over real servers: Apache with mod_dav, nginx with dav-ext, wsgidav.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{DavServer, World};
use testkit::conformance::{Place, all};

async fn conforms(server: DavServer, set: &[(&str, &str)]) {
    let name = server.text("server").to_owned();
    let world = World::new();
    let folder = world.folder(&server.endpoint("", set));
    let number = AtomicU32::new(0);
    all(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let base = format!("/in-{number}");
        folder.make_directory(&base.as_str().into()).await.unwrap();
        let place = Place::new(Arc::clone(&folder), base.as_str(), format!("/beside-{number}").as_str());
        Place {
            keeps: match name.as_str() {
                // It lists no name that begins with a dot.
                "nginx" => |name| !name.starts_with(b"."),
                // A MOVE gives a file its name up to these characters only, and without those.
                "wsgidav" => |name| {
                    !name.iter().any(|byte| matches!(byte, b'?' | b'#' | b';') || byte.is_ascii_control())
                },
                _ => |_| true,
            },
            // A PUT that is broken off may open its file after the DELETE.
            leaves_parts: name == "wsgidav",
            // It reads and writes names as UTF-8.
            any_bytes: name != "wsgidav",
            // With locks a file is five requests.
            long_listing: if set.is_empty() { 5_000 } else { 200 },
            ..place.connected()
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_conforms() {
    conforms(DavServer::apache(&[]), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_conforms_with_locks() {
    conforms(DavServer::apache(&[]), &[("lock", "true")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_conforms() {
    conforms(DavServer::other("nginx"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_conforms_with_locks() {
    conforms(DavServer::other("nginx"), &[("lock", "true")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wsgidav_conforms() {
    conforms(DavServer::other("wsgidav"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wsgidav_conforms_with_locks() {
    conforms(DavServer::other("wsgidav"), &[("lock", "true")]).await;
}
