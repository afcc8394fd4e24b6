//! The console as a browser meets it: requests in, pages out, over a real store.

#![allow(clippy::unwrap_used, clippy::panic)] // What goes wrong here fails a test.

mod access;
mod browser;

mod downloads;
mod exchange;
mod known_hosts;
mod leaving;
mod login;
mod overview;
mod pages;
mod partners;
mod postgres;
mod replies;
#[allow(dead_code)] // The preview fills a store in more ways.
mod support;

use browser::Browser;
use http::StatusCode;
use model::{EventKind, Timestamp};
use store::{EventFilter, Page};
use support::World;

const PASSWORD: &str = "correct-horse-battery";

fn start() -> Timestamp {
    Timestamp::from_timestamp_micros(1_795_183_800_000_000).unwrap()
}

async fn world() -> World {
    World::open(None, start(), false).await
}

/// A world with a user who is logged in.
async fn inside() -> (World, Browser) {
    let world = world().await;
    let browser = enter(&world).await;
    (world, browser)
}

async fn enter(world: &World) -> Browser {
    let mut browser = Browser::new(&world.console);
    let link = world.console.first_start_link("http://gateway:8420").await.unwrap().unwrap();
    let path = link.strip_prefix("http://gateway:8420").unwrap();
    let answer = browser.post(path, &[("user", "ada"), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/");
    browser
}

async fn kinds(world: &World, kind: EventKind) -> usize {
    let filter = EventFilter { kind: Some(kind.as_str().into()), ..EventFilter::default() };
    world.store.events(&filter, Page::first(100)).await.unwrap().rows.len()
}
