//! A proxy before an FTP server: its control connections, and in front of each passive data connection another proxy.

use super::{Behaviour, Direction, FaultProxy};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The proxies of data connections so far, and what the next ones do.
#[derive(Default)]
struct Data {
    behaviour: Mutex<Option<Behaviour>>,
    proxies: Mutex<Vec<FaultProxy>>,
}

/// The proxy. It reads `EPSV` answers, so control connections must be in the clear.
pub struct FtpProxy {
    address: SocketAddr,
    data: Arc<Data>,
    task: JoinHandle<()>,
}

impl FtpProxy {
    /// Starts a proxy before a server of this machine, on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let data = Arc::new(Data::default());
        let shared = Arc::clone(&data);
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                sessions.spawn(async move { control(client, port, &shared).await.is_ok() });
            }
        });
        Ok(Self { address, data, task })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What data connections do that are opened from now on.
    pub fn set_data(&self, behaviour: Behaviour) {
        *self.data.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = Some(behaviour);
    }

    /// Bytes of all data connections that were passed on in a direction so far.
    #[must_use]
    pub fn data_bytes(&self, direction: Direction) -> u64 {
        let proxies = self.data.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        proxies.iter().map(|proxy| proxy.bytes(direction)).sum()
    }
}

impl Drop for FtpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes one control connection on.
async fn control(client: TcpStream, port: u16, data: &Data) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let commands = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answers = async {
        let mut from_server = BufReader::new(from_server);
        let mut line = Vec::new();
        while from_server.read_until(b'\n', &mut line).await? > 0 {
            if let Some(real) = extended_port(&line) {
                let proxy = FaultProxy::before((Ipv4Addr::LOCALHOST, real).into()).await?;
                let behaviour = *data.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
                proxy.set(behaviour.unwrap_or(Behaviour::Pass)).await?;
                line = format!("229 proxied (|||{}|)\r\n", proxy.address().port()).into_bytes();
                data.proxies.lock().unwrap_or_else(PoisonError::into_inner).push(proxy);
            }
            to_client.write_all(&line).await?;
            line.clear();
        }
        to_client.shutdown().await
    };
    tokio::try_join!(commands, answers).map(drop)
}

/// The port of `229 Entering Extended Passive Mode (|||50000|)`.
fn extended_port(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix("229 ")?;
    text.split('|').nth(3)?.parse().ok()
}
