//! Connections that the other side opens because it was asked to: active data connections of FTP.

use crate::connection::ConnectionHandle;
use crate::dial::DialRequest;
use crate::meter::Meter;
use crate::record::{Ending, Opened, Place};
use crate::stream::{Counted, Io, Stream};
use crate::{Net, socket};
use model::{
    ConnectionFailed, ConnectionId, ConnectionOpened, Direction, Error, ErrorKind, PeerText, Result, Security,
};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

/// Connections from other addresses that are refused before the wait ends with an error.
const FOREIGN: usize = 16;

/// A port that listens for one connection of one peer.
pub struct ExpectedConnection {
    net: Net,
    listener: TcpListener,
    local: SocketAddr,
    peer: IpAddr,
    request: DialRequest,
}

impl Net {
    /// Listens on `local` for one connection of `peer`, which is then asked to connect: on a free port of `ports`, or on any
    /// free one. Of the request count what belongs to the record, and its timeout and keep-alive.
    ///
    /// # Errors
    /// `Unsupported`: the request goes through a proxy, which lets nobody in. `Busy`: all ports are taken.
    /// `Unreachable`: this machine does not let the port be opened.
    pub fn expect(
        &self,
        request: &DialRequest,
        local: IpAddr,
        ports: Option<&RangeInclusive<u16>>,
        peer: IpAddr,
    ) -> Result<ExpectedConnection> {
        const OPERATION: &str = "listen for the server's connection";
        if self.proxy(&request.proxy).is_some() {
            return Err(Error::permanent(ErrorKind::Unsupported, OPERATION).advice(
                "the endpoint connects through a proxy, and a server cannot connect back through one",
            ));
        }
        let mut taken = None;
        for port in self.ports(ports) {
            match socket::listen(SocketAddr::new(local, port)) {
                Ok(listener) => {
                    let failed = |cause| Error::transient(ErrorKind::Unreachable, OPERATION).caused_by(cause);
                    let local = listener.local_addr().map_err(failed)?;
                    return Ok(ExpectedConnection {
                        net: self.clone(),
                        listener,
                        local,
                        peer,
                        request: request.clone(),
                    });
                }
                Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => taken = Some(cause),
                Err(cause) => {
                    return Err(Error::transient(ErrorKind::Unreachable, OPERATION)
                        .with("address", SocketAddr::new(local, port))
                        .caused_by(cause));
                }
            }
        }
        let error = Error::transient(ErrorKind::Busy, OPERATION)
            .with("address", local)
            .advice("every port of the range is taken: give the endpoint a larger one");
        Err(match taken {
            Some(cause) => error.caused_by(cause),
            None => error,
        })
    }

    /// The ports of a range from one in its middle on, so that connections at the same time seldom try the same.
    fn ports(&self, range: Option<&RangeInclusive<u16>>) -> Vec<u16> {
        let Some(range) = range else { return vec![0] };
        let mut ports: Vec<u16> = range.clone().collect();
        if let Some(last) = ports.len().checked_sub(1) {
            let bytes = self.new_id().into_bytes();
            let start = usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % (last + 1);
            ports.rotate_left(start);
        }
        ports
    }
}

impl ExpectedConnection {
    /// Where the peer is to connect.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the peer, no longer than the request's timeout. A connection from another address is recorded as failed
    /// and closed, and the wait goes on. The stream is recorded as those of [`Net::dial_deferred`] are.
    ///
    /// # Errors
    /// `Unreachable`: the peer did not connect in time. `PermissionDenied`: others did, many times. `Busy` (too many connections).
    pub async fn accept(self) -> Result<Stream> {
        const OPERATION: &str = "wait for the server's connection";
        let deadline = Instant::now() + self.request.timeout;
        let at = self.net.now();
        let began = Instant::now();
        let mut foreign = 0;
        let error = loop {
            let Ok(Some(place)) = timeout_at(deadline, self.net.recorder().place()).await else {
                return Err(Error::transient(ErrorKind::Busy, OPERATION).advice(
                    "the process has reached its limit of connections, or cannot record connections",
                ));
            };
            let (socket, remote) = match timeout_at(deadline, self.listener.accept()).await {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(cause)) => break Error::transient(ErrorKind::Unreachable, OPERATION).caused_by(cause),
                Err(_) => {
                    break Error::transient(ErrorKind::Unreachable, OPERATION)
                        .with("waited", format!("{:.1} s", self.request.timeout.as_secs_f64()))
                        .advice(
                            "the server did not connect: firewalls and address translation must let it connect to this \
                            address; else use data_connection = \"passive\"",
                        );
                }
            };
            let stream = self.recorded(socket, remote, place.taken());
            if remote.ip().to_canonical() == self.peer.to_canonical() {
                let handle = stream.handle();
                return match self.prepare(&stream) {
                    Ok(()) => Ok(stream),
                    Err(cause) => {
                        handle.fail(cause.to_string());
                        Err(Error::transient(ErrorKind::Unreachable, OPERATION)
                            .caused_by(cause)
                            .on_connection(handle.id()))
                    }
                };
            }
            stream.handle().fail(format!("refused: it did not come from the server, {}", self.peer));
            drop(stream);
            foreign += 1;
            if foreign == FOREIGN {
                break Error::transient(ErrorKind::PermissionDenied, OPERATION)
                    .with("from", remote)
                    .advice("others connect to this port; nothing was sent to them");
            }
        };
        let error = error.with("address", self.local).with("server", self.peer);
        let Ok(Some(place)) = timeout_at(deadline.max(Instant::now()), self.net.recorder().place()).await
        else {
            return Err(error);
        };
        let id = ConnectionId::new(self.net.new_id());
        place.taken().end(Ending::Failed(Box::new(ConnectionFailed {
            id,
            at,
            node: self.net.node().clone(),
            protocol: self.request.protocol,
            purpose: self.request.purpose,
            endpoint: self.request.endpoint.clone(),
            host: PeerText::new(self.local.to_string().as_bytes()),
            remote: None,
            proxy: None,
            duration: began.elapsed(),
            error: PeerText::new(error.chain().as_bytes()),
        })));
        Err(error.on_connection(id))
    }

    fn prepare(&self, stream: &Stream) -> std::io::Result<()> {
        match stream.socket() {
            Some(socket) => socket::prepare(socket, self.request.keep_alive),
            None => Ok(()),
        }
    }

    fn recorded(&self, socket: TcpStream, remote: SocketAddr, place: Place) -> Stream {
        let meter = Arc::new(Meter::default());
        let record = ConnectionOpened {
            id: ConnectionId::new(self.net.new_id()),
            at: self.net.now(),
            node: self.net.node().clone(),
            direction: Direction::Inbound,
            protocol: self.request.protocol,
            purpose: self.request.purpose,
            endpoint: self.request.endpoint.clone(),
            host: None,
            remote: Some(remote),
            local: Some(self.local),
            proxy: None,
            security: Security::None,
            control: self.request.control,
            through: None,
        };
        let (_, ender) = ConnectionHandle::new(
            Opened { record, weakened: Vec::new() },
            self.net.clock().clone(),
            self.net.recorder().log().clone(),
            meter.clone(),
            place,
        );
        Stream::new(Io::Plain(Counted::new(socket, meter)), ender)
    }
}
