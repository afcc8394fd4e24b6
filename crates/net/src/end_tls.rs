//! TLS that ends in the middle of a connection, which goes on in the clear.

use crate::stream::{Counted, Io, Stream};
use model::{Error, ErrorKind, Result, Retry};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_openssl::SslStream;

const OPERATION: &str = "end TLS on a connection";

impl Stream {
    /// Ends TLS, as FTP does after the command CCC (RFC 4217, 12.3): both sides say that they end it, and what is sent from
    /// then on is not encrypted. Say so in the record beforehand ([`crate::ConnectionHandle::weaken`]).
    ///
    /// # Errors
    /// `Protocol`: the other side goes on with TLS. `Timeout` after `limit`, `Unreachable`; `Internal` if the connection has no TLS. The
    /// connection is closed then, and its end recorded as failed.
    pub async fn end_tls(self, limit: Duration) -> Result<Self> {
        let (io, ender) = self.into_parts();
        let handle = ender.handle().clone();
        let ended = match io {
            Io::Tls(session) => timeout(limit, end(session)).await.unwrap_or_else(|_| {
                Err(Error::transient(ErrorKind::Timeout, OPERATION)
                    .with("waited", format!("{:.1} s", limit.as_secs_f64()))
                    .advice("the server did not end TLS on its side"))
            }),
            Io::Plain(_) => Err(Error::permanent(ErrorKind::Internal, OPERATION)),
        };
        match ended {
            Ok(socket) => Ok(Self::new(Io::Plain(socket), ender)),
            Err(error) => {
                handle.fail(error.chain());
                Err(error.on_connection(handle.id()))
            }
        }
    }
}

/// Says that TLS ends, waits until the other side says it, and gives the socket back.
async fn end(mut session: Pin<Box<SslStream<Counted>>>) -> Result<Counted> {
    let lost = |error| Error::transient(ErrorKind::Unreachable, OPERATION).caused_by(error);
    // The TLS library would end the connection too.
    session.as_mut().get_pin_mut().get_mut().stay_open();
    session.shutdown().await.map_err(lost)?;
    match session.read(&mut [0]).await {
        Ok(0) => {}
        Ok(_) => {
            return Err(Error::new(ErrorKind::Protocol, Retry::Transient, OPERATION)
                .advice("the server sent more under TLS instead of ending it"));
        }
        Err(error) => return Err(lost(error)),
    }
    session
        .as_mut()
        .get_pin_mut()
        .get_mut()
        .take()
        .ok_or_else(|| Error::permanent(ErrorKind::Internal, OPERATION))
}
