//! Data connections: opened for each listing and file, on record as parts of their control connection.

use super::exchange::Exchange;
use super::{Connection, SHORT};
use crate::error::Fault;
use crate::protocol::address;
use crate::protocol::reply::Reply;
use futures::future::{Either, select};
use model::{Error, ErrorKind, RemotePath, Result, Security};
use net::{PoolLease, Stream};
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A listing or a file under way. If it is dropped before its end, the data connection is closed and the server's last
/// answer read in the background, so that the control connection can be used again.
pub(crate) struct Transfer {
    lease: Option<PoolLease<Connection>>,
    data: Option<Stream>,
    /// Whether the server's last answer was read.
    is_over: bool,
    timeout: Option<Duration>,
}

impl Connection {
    /// Opens a data connection that the server listens for. Where it goes is decided here, not by the server, unless the
    /// endpoint says otherwise: a server could make Waybill connect to others' ports (RFC 2577, 3).
    async fn open_data(&self) -> Result<Stream, Fault> {
        let mut request = self.data.clone();
        if self.record.proxy().is_none()
            && let Some(remote) = self.record.remote()
        {
            // The host's name may lead to another of its addresses.
            request.host = remote.ip().to_string();
        }
        if !self.prefers_stated_address() {
            let reply = self.ask("EPSV", b"").await?;
            if reply.is_done() {
                let port = address::extended(reply.text())
                    .ok_or_else(|| Fault::Malformed("the answer to EPSV has no port", reply.said()))?;
                request.port = port;
                return self.dial(&request).await;
            }
            if reply.code / 100 != 5 {
                return Err(Fault::Refused(reply));
            }
            self.no_extended.store(true, Ordering::Relaxed);
        }
        let reply = self.ask("PASV", b"").await?;
        if !reply.is_done() {
            return Err(Fault::Refused(reply));
        }
        let (stated, port) = address::passive(reply.text())
            .ok_or_else(|| Fault::Malformed("the answer to PASV has no address", reply.said()))?;
        request.port = port;
        if self.settings.follow_stated_address {
            request.host = stated.to_string();
        } else if request.host != stated.to_string() {
            tracing::debug!(host = %self.target.host, %stated, "PASV states another address; the server's own is used");
        }
        self.dial(&request).await
    }

    async fn dial(&self, request: &net::DialRequest) -> Result<Stream, Fault> {
        self.net.dial_deferred(request).await.map_err(|error| Fault::Data(Box::new(error)))
    }
}

impl Transfer {
    /// Begins the transfer of a path.
    ///
    /// # Errors
    /// As [`Self::begin`]; FTP cannot carry the path.
    pub(crate) async fn of_path(
        lease: &PoolLease<Connection>,
        verb: &str,
        path: &RemotePath,
        offset: u64,
    ) -> Result<Self, Fault> {
        let argument = lease.argument(path)?;
        Self::begin(lease.clone(), verb, &argument, offset).await
    }

    /// Opens a data connection, sends the command that uses it, and waits until the server begins.
    ///
    /// # Errors
    /// The server refused it, or the data connection failed.
    pub(crate) async fn begin(
        lease: PoolLease<Connection>,
        verb: &str,
        argument: &[u8],
        offset: u64,
    ) -> Result<Self, Fault> {
        let connection = &*lease;
        let timeout = connection.settings.connecting.timeout;
        let data = connection.open_data().await?;
        if offset > 0 {
            let reply = connection.ask("REST", offset.to_string().as_bytes()).await?;
            if !reply.wants_more() {
                return Err(Fault::Refused(reply));
            }
        }
        data.handle().request();
        let mut exchange = connection.exchange().await?;
        let (data, reply) = match &connection.tls {
            None => {
                let recorded = data.established(Security::None).await;
                recorded.map_err(|error| Fault::Data(Box::new(error)))?;
                exchange.send(verb, argument).await?;
                (data, exchange.reply().await?)
            }
            Some(tls) => {
                exchange.send(verb, argument).await?;
                let session = connection.settings.reuse_session.then_some(&tls.session);
                let host = &connection.settings.host;
                let shaking = data.start_tls(&tls.profile, host, session, connection.data.timeout);
                shake(&mut exchange, shaking).await?
            }
        };
        let is_over = !reply.is_preliminary();
        if is_over {
            exchange.over(&reply)
        } else {
            exchange.goes_on()
        }
        if is_over && !reply.is_done() {
            data.handle().closing("the server refused the transfer");
            return Err(Fault::Refused(reply));
        }
        Ok(Self { lease: Some(lease), data: Some(data), is_over, timeout })
    }

    /// Reads the next bytes; 0 at the end of the data.
    ///
    /// # Errors
    /// The data connection broke, or nothing came for the endpoint's timeout.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let Some(data) = &mut self.data else { return Ok(0) };
        let read = timed(self.timeout, data.read(buffer)).await;
        self.explained(read).await
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// The data connection broke, or the server took nothing for the endpoint's timeout.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let Some(data) = &mut self.data else {
                return Err(Fault::Lost("the transfer is over".to_owned()));
            };
            let written = match timed(self.timeout, data.write(bytes)).await {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            let count = self.explained(written).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Sends what is still buffered.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) async fn flush(&mut self) -> Result<(), Fault> {
        let Some(data) = &mut self.data else { return Ok(()) };
        let flushed = timed(self.timeout, data.flush()).await;
        self.explained(flushed).await
    }

    /// Ends a download: its data is at its end; the server says whether that was all.
    ///
    /// # Errors
    /// It was not, or no answer came.
    pub(crate) async fn received(mut self) -> Result<PoolLease<Connection>, Fault> {
        self.data = None;
        if !self.is_over {
            self.last_reply().await?;
        }
        self.taken()
    }

    /// Ends an upload, and waits until the server has confirmed it.
    ///
    /// # Errors
    /// It did not.
    pub(crate) async fn sent(mut self) -> Result<PoolLease<Connection>, Fault> {
        let Some(mut data) = self.data.take() else { return self.taken() };
        let closed = timed(self.timeout, data.shutdown()).await;
        if let Err(error) = closed {
            self.data = Some(data);
            self.explained::<()>(Err(error)).await?;
            return self.taken();
        }
        if !self.is_over {
            // A socket that is closed with unread bytes (tickets of TLS 1.3) is reset, and the server may lose what it has
            // not read yet: they are read until it has answered.
            let mut rest = [0; 1024];
            let draining = pin!(async {
                while matches!(data.read(&mut rest).await, Ok(count) if count > 0) {}
                std::future::pending::<()>().await;
            });
            let answering = pin!(self.last_reply());
            if let Either::Left((answer, _)) = select(answering, draining).await {
                answer?;
            }
        }
        drop(data);
        self.taken()
    }

    /// Ends an upload that is given up, and frees the connection.
    ///
    /// # Errors
    /// The control connection is lost.
    pub(crate) async fn give_up(mut self) -> Result<PoolLease<Connection>, Fault> {
        if let Some(data) = self.data.take() {
            data.handle().closing("the transfer was given up");
        }
        if !self.is_over {
            match self.last_reply().await {
                Ok(()) | Err(Fault::Refused(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        self.taken()
    }

    fn taken(mut self) -> Result<PoolLease<Connection>, Fault> {
        self.is_over = true;
        self.lease.take().ok_or_else(|| Fault::Lost("the transfer is over".to_owned()))
    }

    async fn last_reply(&mut self) -> Result<(), Fault> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let reply = read_last(lease).await;
        self.is_over = true;
        match reply? {
            reply if reply.is_done() => Ok(()),
            reply => Err(Fault::Refused(reply)),
        }
    }

    /// Where the data connection failed, the server's own words say why.
    async fn explained<T>(&mut self, result: io::Result<T>) -> Result<T, Fault> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if let Some(data) = self.data.take() {
            data.handle().fail(error.to_string());
        }
        if !self.is_over {
            match tokio::time::timeout(SHORT, self.last_reply()).await {
                Ok(Err(fault @ Fault::Refused(_))) => return Err(fault),
                _ => self.is_over = true,
            }
        }
        let kind =
            if error.kind() == io::ErrorKind::TimedOut { ErrorKind::Timeout } else { ErrorKind::Unreachable };
        let broken = Error::transient(kind, "use the data connection").caused_by(error);
        Err(Fault::Data(Box::new(broken)))
    }
}

/// The last answer of a transfer.
async fn read_last(connection: &Connection) -> Result<Reply, Fault> {
    let mut exchange = connection.exchange().await?;
    let reply = exchange.reply().await?;
    exchange.over(&reply);
    Ok(reply)
}

/// What came first.
enum First {
    Answer(Reply),
    Both(Stream, Reply),
    Failed(Error, Option<Result<Reply, Fault>>),
}

/// TLS on the data connection and the server's first answer, which come in either order.
async fn shake(
    exchange: &mut Exchange<'_>,
    shaking: impl Future<Output = Result<Stream>>,
) -> Result<(Stream, Reply), Fault> {
    let mut shaking = pin!(shaking);
    let first = {
        let answering = pin!(exchange.reply());
        match select(answering, shaking.as_mut()).await {
            Either::Left((reply, _)) => First::Answer(reply?),
            Either::Right((Ok(data), answering)) => First::Both(data, answering.await?),
            Either::Right((Err(error), answering)) => {
                First::Failed(error, tokio::time::timeout(SHORT, answering).await.ok())
            }
        }
    };
    let (data, reply) = match first {
        First::Both(data, reply) => (data, reply),
        First::Answer(reply) if reply.code / 100 > 3 => return Err(over(exchange, reply)),
        First::Answer(reply) => match shaking.await {
            Ok(data) => (data, reply),
            Err(error) => return Err(refused_or(error, Some(Ok(reply)), exchange).await),
        },
        First::Failed(error, waited) => return Err(refused_or(error, waited, exchange).await),
    };
    let handle = data.handle();
    handle.established(handle.security()).await.map_err(|error| Fault::Data(Box::new(error)))?;
    Ok((data, reply))
}

/// A refusal leaves the control connection usable.
fn over(exchange: &mut Exchange<'_>, reply: Reply) -> Fault {
    exchange.answered(&reply);
    Fault::Refused(reply)
}

/// Why TLS failed, in the server's own words if it has some.
async fn refused_or(error: Error, first: Option<Result<Reply, Fault>>, exchange: &mut Exchange<'_>) -> Fault {
    let last = match first {
        Some(Ok(reply)) if reply.is_preliminary() => {
            tokio::time::timeout(SHORT, exchange.reply()).await.ok().and_then(Result::ok)
        }
        Some(Ok(reply)) => Some(reply),
        _ => None,
    };
    match last {
        Some(reply) if reply.code / 100 > 3 => over(exchange, reply),
        _ => Fault::Data(Box::new(error)),
    }
}

async fn timed<T>(timeout: Option<Duration>, act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout {
        None => act.await,
        Some(timeout) => tokio::time::timeout(timeout, act).await.unwrap_or_else(|_| {
            let words = format!("no data moved for {:.1} s", timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        }),
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(data) = &self.data {
            data.handle().closing("the transfer was left before its end");
        }
        self.data = None;
        let Some(lease) = self.lease.take().filter(|_| !self.is_over) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // An answer that does not come in time loses the connection, as the exchange is then dropped.
        runtime.spawn(async move { tokio::time::timeout(SHORT, read_last(&lease)).await.is_ok() });
    }
}
