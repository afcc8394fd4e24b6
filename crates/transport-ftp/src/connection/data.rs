//! Data connections: opened for each listing and file, on record as parts of their control connection.

use super::signs_of_life::{LastReply, SignsOfLife};
use super::{Connection, SHORT};
use crate::error::Fault;
use crate::protocol::reply::Reply;
use bytes::BytesMut;
use futures::future::{Either, select};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result};
use net::{PoolLease, Stream};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Read from a data connection at a time; half of what a reader may hold.
pub(crate) const CHUNK: usize = transport::folder::READER_BUFFERS / 2;

/// With less room than for a record of TLS (RFC 8446, 5.1) a buffer is made anew.
const LEAST_ROOM: usize = 16 * 1024;

/// A listing or a file under way. If it is dropped before its end, the data connection is closed and the server's last
/// answer read in the background, so that the control connection can be used again.
pub(crate) struct Transfer {
    lease: Option<PoolLease<Connection>>,
    data: Option<Stream>,
    /// Whether the server's last answer was read.
    is_over: bool,
    is_listing: bool,
    timeout: Option<Duration>,
    /// While it runs, where the endpoint asks for them.
    signs: Option<SignsOfLife>,
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
        let prepared = connection.prepare_data().await?;
        if offset > 0 {
            let reply = connection.ask("REST", offset.to_string().as_bytes()).await?;
            if !reply.wants_more() {
                return Err(Fault::Refused(reply));
            }
        }
        let mut exchange = connection.exchange().await?;
        let (data, reply) = connection.start(&mut exchange, prepared, verb, argument).await?;
        data.handle().request();
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
        let signs = if is_over { None } else { SignsOfLife::start(&lease) };
        let is_listing = matches!(verb, "MLSD" | "LIST");
        Ok(Self { lease: Some(lease), data: Some(data), is_over, is_listing, timeout, signs })
    }

    /// The data connection; `None` once its end was reached.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.data.as_ref().map(Stream::id)
    }

    /// Reads the next bytes, at most [`CHUNK`], into an empty buffer whose room is used again; none at the end of the data.
    ///
    /// # Errors
    /// The data connection broke, or nothing came for the endpoint's timeout.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> Result<BytesMut, Fault> {
        let Some(data) = &mut self.data else { return Ok(BytesMut::new()) };
        if buffer.capacity() < LEAST_ROOM {
            buffer.reserve(CHUNK);
        }
        let read = timed(self.timeout, data.read_buf(buffer)).await;
        self.explained(read).await?;
        Ok(buffer.split())
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
        let reply = read_last(lease, self.signs.take()).await;
        self.is_over = true;
        match reply? {
            reply if reply.is_done() => Ok(()),
            // It tells nothing of the transfer.
            reply if reply.code == 421 => {
                let said = String::from_utf8_lossy(&reply.said()).into_owned();
                Err(Fault::Lost(format!("the server closes the connection: {said}")))
            }
            // No last answer: what follows it, if anything does, must not be taken for the next command's.
            reply if reply.is_preliminary() => {
                lease.retire("the server ended a transfer without a last answer");
                Err(Fault::Refused(reply))
            }
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
                // Others tell no more than that it broke: pure-ftpd says 451 or 150 then.
                Ok(Err(Fault::Refused(reply))) if reply.code > 299 && reply.code != 451 => {
                    return Err(Fault::Refused(reply));
                }
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
async fn read_last(connection: &Connection, signs: Option<SignsOfLife>) -> Result<Reply, Fault> {
    let others = match signs {
        Some(signs) => signs.end().await,
        None => 0,
    };
    let mut exchange = connection.exchange().await?;
    let mut last = LastReply::default();
    for number in 0..=others {
        // A server that answers none of the signs of life has said all.
        let is_known = last.is_known();
        let reply = match is_known {
            false => exchange.reply().await,
            true => match tokio::time::timeout(SHORT, exchange.reply()).await {
                Ok(reply) => reply,
                Err(_) => {
                    exchange.lose("the server did not answer NOOP");
                    break;
                }
            },
        };
        match reply {
            Ok(reply) if number == others => {
                exchange.answered(&reply);
                last.add(reply);
            }
            Ok(reply) => last.add(reply),
            Err(_) if is_known => break,
            Err(fault) => return Err(fault),
        }
    }
    last.reply().ok_or_else(|| Fault::Lost("the server did not answer".to_owned()))
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
        let signs = self.signs.take();
        let Some(lease) = self.lease.take().filter(|_| !self.is_over) else { return };
        if self.is_listing {
            // pure-ftpd sends what is left of it with the next listing.
            return lease.retire("a listing was left before its end");
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // An answer that does not come in time loses the connection, as the exchange is then dropped.
        runtime.spawn(async move { tokio::time::timeout(SHORT, read_last(&lease, signs)).await.is_ok() });
    }
}
