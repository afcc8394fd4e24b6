//! How data connections come to be: Waybill connects to the server (passive), or the server to Waybill (active).

use super::exchange::Exchange;
use super::{Connection, SHORT};
use crate::error::Fault;
use crate::protocol::address;
use crate::protocol::reply::Reply;
use futures::future::{Either, select};
use model::{Error, ErrorKind, Result, Security};
use net::{ExpectedConnection, Stream};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;

/// What a transfer begins with, before its command is sent.
pub(super) enum Prepared {
    Open(Stream),
    /// The server connects when it has the command.
    Expected(ExpectedConnection),
}

impl Connection {
    /// Agrees with the server on a data connection.
    ///
    /// # Errors
    /// The server refused it, or it could not be opened.
    pub(super) async fn prepare_data(&self) -> Result<Prepared, Fault> {
        if self.settings.is_active {
            self.expect_data().await.map(Prepared::Expected)
        } else {
            self.open_data().await.map(Prepared::Open)
        }
    }

    /// Listens, and tells the server where (RFC 959, 4.1.2; RFC 2428, 2). Connections from other addresses are refused,
    /// as they could take the place of the server's (RFC 2577, 5).
    async fn expect_data(&self) -> Result<ExpectedConnection, Fault> {
        let failed = |error: Error| Fault::Data(Box::new(error));
        let (Some(local), Some(remote)) = (self.record.local(), self.record.remote()) else {
            let advice = "the address of the control connection is not known";
            return Err(failed(
                Error::transient(ErrorKind::Unreachable, "open a data connection").advice(advice),
            ));
        };
        let ports = self.settings.active_ports.as_ref();
        let expected = self.net.expect(&self.data, local.ip(), ports, remote.ip()).map_err(failed)?;
        // Behind address translation the server knows another address of this machine.
        let outside = self.settings.active_address.unwrap_or(expected.local().ip());
        let stated = SocketAddr::new(outside, expected.local().port());
        if !self.no_extended.load(Ordering::Relaxed) {
            let argument = address::extended_argument(stated);
            let reply = self.ask("EPRT", argument.as_bytes()).await?;
            if reply.is_done() {
                return Ok(expected);
            }
            if reply.code / 100 != 5 {
                return Err(Fault::Refused(reply));
            }
            let Some(argument) = address::active_argument(stated) else {
                return Err(Fault::Refused(reply));
            };
            self.no_extended.store(true, Ordering::Relaxed);
            return self.ask_for_port(expected, &argument).await;
        }
        match address::active_argument(stated) {
            Some(argument) => self.ask_for_port(expected, &argument).await,
            None => Err(Fault::Lost("EPRT was refused, and PORT carries no IPv6".to_owned())),
        }
    }

    async fn ask_for_port(
        &self,
        expected: ExpectedConnection,
        argument: &str,
    ) -> Result<ExpectedConnection, Fault> {
        match self.ask("PORT", argument.as_bytes()).await? {
            reply if reply.is_done() => Ok(expected),
            reply => Err(Fault::Refused(reply)),
        }
    }

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

    /// Sends a transfer's command, and waits until the server has answered and the data connection is there, protected
    /// and on record. The answer may be the last one already.
    ///
    /// # Errors
    /// The server refused it, or the data connection failed.
    pub(super) async fn start(
        &self,
        exchange: &mut Exchange<'_>,
        prepared: Prepared,
        verb: &str,
        argument: &[u8],
    ) -> Result<(Stream, Reply), Fault> {
        let tls = self.tls.as_ref();
        if let (Prepared::Open(data), None) = (&prepared, tls) {
            recorded(data, Security::None).await?;
        }
        exchange.send(verb, argument).await?;
        let establishing = async {
            let data = match prepared {
                Prepared::Open(data) => data,
                Prepared::Expected(expected) => expected.accept().await?,
            };
            let Some(tls) = tls else { return Ok(data) };
            // The one who logged in begins TLS, whoever opened the connection (RFC 4217, 7).
            let session = self.settings.reuse_session.then_some(&tls.session);
            data.start_tls(&tls.profile, &self.settings.host, session, self.data.timeout).await
        };
        let (data, reply) = both(exchange, establishing).await?;
        recorded(&data, data.handle().security()).await?;
        Ok((data, reply))
    }
}

async fn recorded(data: &Stream, security: Security) -> Result<(), Fault> {
    data.established(security).await.map_err(|error| Fault::Data(Box::new(error)))
}

/// The data connection and the server's answer, which come in either order. Where the server says more before the
/// connection is there, the last answer counts.
async fn both(
    exchange: &mut Exchange<'_>,
    establishing: impl Future<Output = Result<Stream>>,
) -> Result<(Stream, Reply), Fault> {
    let mut establishing = pin!(establishing);
    let mut answer = None;
    let established = loop {
        let next = {
            let answering = pin!(exchange.reply());
            match select(establishing.as_mut(), answering).await {
                Either::Left((established, _)) => break established,
                Either::Right((Ok(reply), _)) => reply,
                // The transfer was announced, and may go on: how it ended is found out by looking.
                Either::Right((Err(_), _)) if answer.is_some() => break establishing.await,
                Either::Right((Err(fault), _)) => return Err(fault),
            }
        };
        if next.code / 100 > 3 {
            return Err(over(exchange, next));
        }
        let is_last = !next.is_preliminary();
        answer = Some(next);
        if is_last {
            break establishing.await;
        }
    };
    match (established, answer) {
        (Ok(data), Some(reply)) => Ok((data, reply)),
        (Ok(data), None) => match exchange.reply().await? {
            reply if reply.code / 100 > 3 => {
                data.handle().closing("the server refused the transfer");
                Err(over(exchange, reply))
            }
            reply => Ok((data, reply)),
        },
        (Err(error), answer) => Err(refused_or(error, answer, exchange).await),
    }
}

/// A refusal leaves the control connection usable.
fn over(exchange: &mut Exchange<'_>, reply: Reply) -> Fault {
    exchange.answered(&reply);
    Fault::Refused(reply)
}

/// Why the data connection failed, in the server's own words if it has some.
async fn refused_or(error: Error, mut answer: Option<Reply>, exchange: &mut Exchange<'_>) -> Fault {
    // It may announce the transfer, and then say why there is none.
    for _ in 0..2 {
        if answer.as_ref().is_none_or(Reply::is_preliminary) {
            let Ok(Ok(next)) = tokio::time::timeout(SHORT, exchange.reply()).await else { break };
            answer = Some(next);
        }
    }
    match answer {
        Some(reply) if reply.code / 100 > 3 => over(exchange, reply),
        _ => Fault::Data(Box::new(error)),
    }
}
