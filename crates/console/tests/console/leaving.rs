//! A reader who leaves: over a real socket, as a browser does whose page is closed.

use super::{enter, start};
use crate::postgres;
use crate::support::World;
use async_trait::async_trait;
use model::{ConnectionClosed, ConnectionFailed, Protocol, Purpose, Result};
use net::http::{HttpServers, ListenSpec, Route, ServerLimits, TowerHandler};
use net::{ConnectionLog, Net, NetSettings, Opened};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

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

/// A thousand million rows behind the trail's name: looking through them would take all of a search's time.
const MANY: &str = "INSERT INTO audit_events (id, at, node, kind, severity, actor, detail) \
    SELECT gen_random_uuid(), '2026-11-20T14:00:00Z', 'n1', 'poll.failed', 'info', 'system', '{\"a\": 1}' \
    FROM generate_series(1, 1000); ALTER TABLE audit_events RENAME TO stored; \
    CREATE VIEW audit_events AS SELECT s.id, s.at, s.node, s.kind, s.severity, s.actor, s.flow, s.endpoint, \
    s.partner, s.transfer_id, s.delivery_id, s.connection_id, s.peer, s.detail || b.detail || c.detail AS detail \
    FROM stored s, stored b, stored c";
const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
    AND state = 'active' AND query LIKE '%FROM audit_events%' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_ends_in_the_database_when_its_reader_leaves() {
    let url = postgres::database();
    let world = World::open(Some(url.clone()), start(), false).await;
    let browser = enter(&world).await;
    postgres::sql(&url, MANY);
    let now = world.now();
    let settings = NetSettings::new("acme-1".parse().unwrap(), Arc::new(move || now), Arc::new(Uuid::now_v7));
    let servers = HttpServers::new(&Net::new(settings, Arc::new(Unrecorded)), ServerLimits::default());
    let listen = ListenSpec::plain("console", ([127, 0, 0, 1], 0).into());
    let route = Route {
        host: None,
        path: "/".into(),
        protocol: Protocol::Http,
        purpose: Purpose::Console,
        endpoint: None,
        certificate: None,
    };
    let served = servers.route(&listen, route, Arc::new(TowerHandler::new(world.console.router()))).unwrap();
    let mut socket = tokio::net::TcpStream::connect(served.local_addr()).await.unwrap();
    let request = format!(
        "GET /audit?text=nobody+says+so HTTP/1.1\r\nHost: gateway:8420\r\nCookie: {}\r\n\r\n",
        browser.cookies()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    until(&url, true).await;
    drop(socket);
    until(&url, false).await;
}

/// Waits until the search runs, or does not run any more: well before it would end by itself.
async fn until(url: &str, runs: bool) {
    for _ in 0..80 {
        if (postgres::sql(url, RUNNING).trim() != "0") == runs {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("whether the search runs: not {runs} after 8 s");
}
