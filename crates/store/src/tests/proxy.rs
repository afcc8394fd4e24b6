//! A relay before the database that misbehaves at a COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the next COMMIT, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The server never sees it; both connections are cut.
    CutBefore,
    /// The server answers, and the connection is cut before the client reads it.
    CutAfter,
    /// The server answers, the client hears nothing, and the connection stays.
    Swallow,
}

pub(super) struct Proxy {
    port: u16,
    armed: Arc<AtomicBool>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "what is tested is the database's own connection")]
    pub(super) async fn before(url: &str, fault: Fault) -> Self {
        let server = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let flag = armed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(relay(client, server, fault, flag.clone()));
            }
        });
        Self { port, armed }
    }

    /// The URL that leads through it.
    pub(super) fn url(&self, url: &str) -> String {
        let (head, tail) = url.split_once('@').unwrap();
        let (_, database) = tail.split_once('/').unwrap();
        format!("{head}@127.0.0.1:{}/{database}", self.port)
    }

    /// The next COMMIT gets it.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, fault: Fault, armed: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut deaf = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let commit = up[..count].windows(7).any(|bytes| bytes == b"COMMIT\0");
                if commit && armed.swap(false, Ordering::SeqCst) {
                    match fault {
                        Fault::CutBefore => return,
                        Fault::CutAfter => {
                            server.write_all(&up[..count]).await.unwrap();
                            let _ = server.read(&mut down).await;
                            return;
                        }
                        Fault::Swallow => deaf = true,
                    }
                }
                if server.write_all(&up[..count]).await.is_err() { return; }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if !deaf && client.write_all(&down[..count]).await.is_err() { return; }
            }
        }
    }
}
