//! Endpoints of one server and account share its connections, and a server that takes few at a time is not run over.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use model::definition::Endpoint;
use model::{ConnectionId, Purpose};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::{Build, Sshd, World, flow, read};
use testkit::fake::Known;
use tokio::io::AsyncReadExt;
use transport::folder::{After, FolderUse};
use transport::{Discovery, FoundOffer, Source, Transport};

/// OpenSSH's own default; the other tests' servers take more.
const DEFAULT: &str = "MaxStartups 10:30:100";

/// What sshd logs of a connection that it dropped because of `MaxStartups`.
const DROPPED: &str = "MaxStartups";

/// Makes directories with a file each, and an endpoint for each.
fn folders(server: &Sshd, count: usize, change: impl Fn(Build, usize) -> Build) -> Vec<Arc<Endpoint>> {
    let folder = server.files();
    let directories = (0..count).map(|number| {
        let directory = folder.join(format!("partner-{number}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("order.edi"), "an order").unwrap();
        let url = format!("sftp://127.0.0.1:{}/partner-{number}", server.port());
        change(server.endpoint().url(&url), number).done()
    });
    directories.collect()
}

/// Polls an endpoint, and reads what it offers: the connections that the files came over.
async fn poll(world: &World, endpoint: &Arc<Endpoint>) -> model::Result<BTreeSet<ConnectionId>> {
    let source = world.transport.source(Arc::clone(endpoint), flow(After::Delete), world.services.clone())?;
    let offers = source.discover(Discovery::first(Arc::new(Known::default()))).await?;
    let offers: Vec<FoundOffer> = offers.map(Result::unwrap).collect().await;
    let connections = try_join_all(offers.iter().map(|offer| open(&source, offer))).await?;
    for offer in &offers {
        source.settle(&support::offer(offer), model::Outcome::Taken).await?;
    }
    Ok(connections.into_iter().collect())
}

async fn open(source: &Arc<dyn Source>, offer: &FoundOffer) -> model::Result<ConnectionId> {
    let mut opened = source.open(offer).await?;
    let mut part = opened.parts.next().await.unwrap()?;
    let mut text = String::new();
    part.reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "an order");
    Ok(part.connection.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_folders_of_one_account_are_polled_over_four_connections_that_stay_open() {
    let server = Sshd::with(&[DEFAULT]);
    let endpoints = folders(&server, 80, |build, _| build);
    let world = World::new();
    let polled = join_all(endpoints.iter().map(|endpoint| poll(&world, endpoint))).await;
    let used: Vec<_> = polled.into_iter().map(Result::unwrap).collect();
    assert!(used.iter().all(|connections| connections.len() == 1), "a poll used several: {used:?}");
    let opened = world.records.opened.lock().unwrap().len();
    assert!((1..=4).contains(&opened), "{opened} connections");
    assert!(world.records.failed.lock().unwrap().is_empty());
    // The next round needs no login.
    for endpoint in &endpoints {
        poll(&world, endpoint).await.unwrap();
    }
    assert_eq!(world.records.opened.lock().unwrap().len(), opened);
    assert!(!server.log().contains(DROPPED), "{}", server.log());
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_accounts_of_one_default_server_log_in_without_being_dropped() {
    let server = Sshd::with(&[DEFAULT]);
    // Another timeout stands for another account: they share nothing.
    let endpoints = folders(&server, 80, |build, number| build.set("timeout", &format!("{}s", 60 + number)));
    let world = World::new();
    let polled = join_all(endpoints.iter().map(|endpoint| poll(&world, endpoint))).await;
    for result in polled {
        result.unwrap();
    }
    assert_eq!(world.records.opened.lock().unwrap().len(), 80);
    assert!(!server.log().contains(DROPPED), "{}", server.log());
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_one_login_at_a_time_is_asked_again() {
    // From the second connection on that is not logged in, each is dropped.
    let server = Sshd::with(&["MaxStartups 1:100:1"]);
    let endpoints = folders(&server, 4, |build, number| {
        build.set("timeout", &format!("{}s", 60 + number)).set("connect_retries", "10")
    });
    let world = World::new();
    let stranger = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let polled = tokio::spawn(async move {
        let polled = join_all(endpoints.iter().map(|endpoint| poll(&world, endpoint))).await;
        (world, polled)
    });
    // One that does not log in keeps all others out, until it goes.
    assert!(server.logged(DROPPED, 1), "{}", server.log());
    drop(stranger);
    let (world, polled) = tokio::time::timeout(Duration::from_secs(60), polled).await.unwrap().unwrap();
    for result in polled {
        result.unwrap();
    }
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_keeps_to_its_connection_however_many_files_it_reads() {
    let server = Sshd::start();
    let endpoints = folders(&server, 1, |build, _| build);
    for number in 0..30 {
        std::fs::write(server.files().join(format!("partner-0/{number}.edi")), "an order").unwrap();
    }
    let world = World::new();
    assert_eq!(poll(&world, &endpoints[0]).await.unwrap().len(), 1);
    // What delivers there has connections of its own.
    let opened = FolderUse::of(Purpose::Deliver);
    let folder = world.transport.folder(&endpoints[0], opened, &world.services).unwrap();
    std::fs::write(server.files().join("more"), "more").unwrap();
    assert_eq!(read(&folder, "more", 0).await.unwrap(), b"more");
    let purposes: Vec<_> =
        world.records.opened.lock().unwrap().iter().map(|opened| opened.record.purpose).collect();
    assert_eq!(purposes, [Purpose::Poll, Purpose::Deliver]);
}
