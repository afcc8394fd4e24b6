//! The console over a store with plausible data, to look at: `cargo run -p waybill-console --example
//! preview -- 8499`. Prints the session's cookie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

#[path = "../tests/console/support/mod.rs"]
#[allow(dead_code)]
mod support;

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, header};
use model::{
    AuditEvent, ConnectionClosed, EventId, EventKind, Protocol, Purpose, RemotePath, Result, Timestamp,
};
use net::http::{HttpServers, ListenSpec, Route, ServerLimits, TowerHandler};
use net::{ConnectionFailed, ConnectionLog, Net, NetSettings, Opened};
use std::sync::Arc;
use std::time::Duration;
use support::{Filler, Way, World};
use tower::ServiceExt as _;
use uuid::Uuid;

#[tokio::main]
async fn main() {
    let port: u16 = std::env::args().nth(1).map_or(8499, |port| port.parse().unwrap());
    let world = World::open(None, now(), true).await;
    let filler = fill(&world).await;
    let router = world.console.router();
    let base = format!("http://127.0.0.1:{port}");
    let link = world.console.first_start_link(&base).await.unwrap().unwrap();
    let path = link.strip_prefix(&base).unwrap();
    let form = "user=ada&password=correct-horse-battery&again=correct-horse-battery";
    let request = Request::post(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    println!("{base} {}", cookie.split(';').next().unwrap());
    let settings = NetSettings::new("acme-1".parse().unwrap(), Arc::new(now), Arc::new(Uuid::now_v7));
    let servers = HttpServers::new(&Net::new(settings, Arc::new(Unrecorded)), ServerLimits::default());
    let listen = ListenSpec::plain("console", ([127, 0, 0, 1], port).into());
    let route = Route {
        host: None,
        path: "/".into(),
        protocol: Protocol::Http,
        purpose: Purpose::Console,
        endpoint: None,
        certificate: None,
    };
    let _served = servers.route(&listen, route, Arc::new(TowerHandler::new(router))).unwrap();
    // Something happens while one looks.
    for number in 1.. {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let name = format!("850_{:05}.edi", 42_000 + number);
        filler.transfer(name.as_str().into(), "orders", Way::Completed, world.now(), None).await;
    }
}

/// Connections to look at pages are of no interest.
struct Unrecorded;

#[async_trait]
impl ConnectionLog for Unrecorded {
    async fn opened(&self, _: Opened) -> Result<()> {
        Ok(())
    }

    async fn closed(&self, _: ConnectionClosed) -> Result<()> {
        Ok(())
    }

    async fn failed(&self, _: ConnectionFailed) -> Result<()> {
        Ok(())
    }
}

#[allow(clippy::disallowed_methods)] // The beginning of time for all that is shown here.
fn now() -> Timestamp {
    let now = Timestamp::from(std::time::SystemTime::now());
    Timestamp::from_timestamp_micros(now.timestamp_micros()).unwrap()
}

async fn fill(world: &World) -> Filler {
    let now = world.now();
    let connections = world.connections(60).await;
    let filler = Filler::new(&world.store, now - Duration::from_secs(2 * 86_400)).await;
    for number in 0..420_u32 {
        let at = now - Duration::from_secs(u64::from(420 - number) * 190 + u64::from(number * number % 900));
        let way = match number {
            418 => Way::Pending,
            400 => Way::Held,
            417 => Way::Awaiting,
            415 => Way::Sending,
            n if n % 67 == 11 => Way::PartlyFailed,
            n if n % 53 == 8 => Way::Failed,
            n if n % 101 == 17 => Way::Retrying,
            _ => Way::Completed,
        };
        let flow = ["orders", "invoices", "inbound", "statements-monthly"][(number % 7 / 2) as usize];
        let name = match number {
            419 => RemotePath::from_bytes(b"caf\xe9 <script>alert(1)</script> \"quoted\"\xe2\x80\xaefdp.exe\0.edi".to_vec()),
            416 => "A-very-long-file-name-that-a-partner-thought-useful-with-2026-11-20-and-many-other-words-in-it-final-v2.csv".into(),
            n => format!("{}_{:05}.{}", ["850", "810", "856", "STMT"][(n % 4) as usize], 41_200 + n, ["edi", "x12", "xml"][(n % 3) as usize]).as_str().into(),
        };
        let connection = connections.get(number as usize % 60).copied();
        filler.transfer(name, flow, way, at, connection).await;
    }
    let event = |kind, age| {
        AuditEvent::new(
            EventId::new(Uuid::now_v7()),
            now - Duration::from_secs(age),
            "acme-1".parse().unwrap(),
            kind,
        )
    };
    world
        .store
        .append_events(vec![
            event(EventKind::NodeStarted, 80_000).detail("version", "0.1.0"),
            event(EventKind::PollFailed, 900)
                .flow("orders")
                .endpoint("acme-sftp")
                .peer_detail("error", "list /outgoing at sftp.acme.example:22: timed out after 30 s"),
            event(EventKind::EndpointOffline, 700)
                .endpoint("initech-as2")
                .detail("until", "2026-11-20T14:55:00Z"),
            event(EventKind::LoginFailed, 300)
                .peer_detail("user", "root")
                .detail("why", "wrong user name or password"),
        ])
        .await
        .unwrap();
    filler
}
