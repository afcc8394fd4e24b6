//! A relay before PostgreSQL that holds the answer to one commit back; or loses it, and is then away for
//! long enough that the store cannot find out what became of it.

#![expect(
    clippy::disallowed_methods,
    reason = "it stands where the network would, not where a transport does"
)]

use crate::database;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Longer than the store of a scene waits for a database that is away.
const AWAY: Duration = Duration::from_millis(1500);

pub(crate) struct Relay {
    url: String,
    state: Arc<State>,
}

struct State {
    /// What must be in the transaction whose commit gets no answer yet.
    marker: &'static str,
    /// What lets the answer through that is held back; `None` when it is lost.
    held: Option<Notify>,
    /// Whether being away cuts the other connections too.
    cuts: bool,
    /// Whether the server never sees the commit.
    swallows: bool,
    armed: AtomicBool,
    struck: AtomicBool,
    away_since: Mutex<Option<Instant>>,
}

impl State {
    fn is_away(&self) -> bool {
        self.away_since.lock().unwrap().is_some_and(|since| since.elapsed() < AWAY)
    }
}

impl Relay {
    /// Loses the answer to the first commit of a transaction with this text, once it is armed.
    pub(crate) async fn losing(marker: &'static str) -> Self {
        Self::before_postgres(marker, None, false, false).await
    }

    /// The same, and no other connection goes through as long as the database is away.
    pub(crate) async fn cutting(marker: &'static str) -> Self {
        Self::before_postgres(marker, None, true, false).await
    }

    /// The same, and the server never sees the commit.
    pub(crate) async fn swallowing(marker: &'static str) -> Self {
        Self::before_postgres(marker, None, true, true).await
    }

    /// Holds the answer to the first commit of a transaction with this text back, once it is armed.
    pub(crate) async fn holding(marker: &'static str) -> Self {
        Self::before_postgres(marker, Some(Notify::new()), false, false).await
    }

    async fn before_postgres(marker: &'static str, held: Option<Notify>, cuts: bool, swallows: bool) -> Self {
        let url = database::postgres();
        let (head, tail) = url.split_once('@').unwrap();
        let (server, database) = tail.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            marker,
            held,
            cuts,
            swallows,
            armed: AtomicBool::new(false),
            struck: AtomicBool::new(false),
            away_since: Mutex::new(None),
        });
        let relay = Self { url: format!("{head}@127.0.0.1:{port}/{database}"), state: Arc::clone(&state) };
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !state.is_away() {
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(pass(client, server, Arc::clone(&state)));
                }
            }
        });
        relay
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn arm(&self) {
        self.state.armed.store(true, Ordering::SeqCst);
    }

    /// Whether new connections are refused, as of a database that is away.
    pub(crate) fn is_away(&self) -> bool {
        self.state.is_away()
    }

    /// Whether the answer was lost, or is held back.
    pub(crate) fn has_struck(&self) -> bool {
        self.state.struck.load(Ordering::SeqCst)
    }

    /// Lets the answer through that is held back.
    pub(crate) fn release(&self) {
        self.state.held.as_ref().unwrap().notify_one();
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn pass(mut client: TcpStream, mut server: TcpStream, state: Arc<State>) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut marked = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                if state.cuts && state.is_away() { return; }
                marked |= holds(&up[..count], state.marker);
                if holds(&up[..count], "COMMIT\0") && std::mem::take(&mut marked)
                    && state.armed.swap(false, Ordering::SeqCst)
                {
                    let Some(held) = &state.held else {
                        *state.away_since.lock().unwrap() = Some(Instant::now());
                        state.struck.store(true, Ordering::SeqCst);
                        if state.swallows { return; }
                        server.write_all(&up[..count]).await.unwrap();
                        let _ = server.read(&mut down).await;
                        return;
                    };
                    server.write_all(&up[..count]).await.unwrap();
                    let answer = server.read(&mut down).await.unwrap();
                    state.struck.store(true, Ordering::SeqCst);
                    held.notified().await;
                    if client.write_all(&down[..answer]).await.is_err() { return; }
                    continue;
                }
                if server.write_all(&up[..count]).await.is_err() { return; }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&down[..count]).await.is_err() { return; }
            }
        }
    }
}
