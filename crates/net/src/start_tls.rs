//! TLS that begins in the middle of a connection.

use crate::dialling::Dialling;
use crate::stream::{Io, Stream};
use crate::tls::{self, TlsProfile, TlsSession};
use model::{ErrorKind, Result, Retry, Step};
use std::time::Duration;
use tokio::time::timeout;

impl Stream {
    /// Begins TLS on a connection that has none yet, as FTP and mail do after a command. Call
    /// [`ConnectionHandle::established`] afterwards, with the handle's [`ConnectionHandle::security`]. `host` is the name
    /// that the certificate must have, unless the profile names another. With `session`, the newest session kept there
    /// is offered to the server, and this connection's sessions are kept there.
    ///
    /// # Errors
    /// As [`crate::Net::dial`]; `Timeout` after `limit`; `Internal` if the connection has TLS already. The connection is
    /// closed then, and its end recorded as failed.
    pub async fn start_tls(
        self,
        profile: &TlsProfile,
        host: &str,
        session: Option<&TlsSession>,
        limit: Duration,
    ) -> Result<Self> {
        let (io, ender) = self.into_parts();
        let handle = ender.handle().clone();
        let shaken = match io {
            Io::Plain(socket) => {
                timeout(limit, tls::handshake(profile, host, session, socket)).await.unwrap_or_else(|_| {
                    Err(Dialling::Tls
                        .error(ErrorKind::Timeout, Retry::Transient)
                        .with("waited", format!("{:.1} s", limit.as_secs_f64()))
                        .advice("the server did not finish the TLS handshake in time"))
                })
            }
            Io::Tls(_) => Err(Dialling::Tls.error(ErrorKind::Internal, Retry::Permanent)),
        };
        match shaken {
            Ok((session, security)) => {
                handle.set_security(security);
                handle.weaken(profile.weakened());
                Ok(Self::new(Io::Tls(session), ender))
            }
            Err(error) => {
                let error = error.at_step(Step::Tls).with("host", host);
                let error = match handle.remote() {
                    Some(remote) => error.with("address", remote),
                    None => error,
                };
                handle.fail(error.chain());
                Err(error.on_connection(handle.id()))
            }
        }
    }
}
