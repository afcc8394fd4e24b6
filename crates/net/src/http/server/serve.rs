//! One accepted connection from its handshake to its end.

use super::exchange::Exchange;
use super::forwarded::TrustedProxies;
use super::handler::PeerInfo;
use super::limits::ServerLimits;
use super::obs_fold::Unfold;
use super::open_connections::Slot;
use super::proxy_header;
use super::routes::Routes;
use super::watch::{Activity, Late};
use crate::connection::ConnectionHandle;
use crate::http::outcome::find;
use crate::meter::Meter;
use crate::record::{Opened, Place};
use crate::stream::{Counted, Io, Stream};
use crate::{Net, ServerTls, socket, tls};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{ConnectionId, ConnectionOpened, Direction, Security};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A socket that was just accepted, with everything it needs.
pub(super) struct Accepted {
    pub(super) net: Net,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) tls: Option<ServerTls>,
    pub(super) routes: Arc<Routes>,
    pub(super) stopping: CancellationToken,
    pub(super) socket: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) place: Place,
    pub(super) slot: Slot,
    pub(super) proxies: Arc<TrustedProxies>,
    /// Whether the connection must begin with a PROXY header.
    pub(super) proxy_protocol: bool,
}

/// Serves the connection until it ends or is closed.
pub(super) async fn serve(accepted: Accepted, cutting: CancellationToken) {
    let Accepted { net, limits, tls, routes, stopping, socket, remote, place, slot, proxies, proxy_protocol } =
        accepted;
    let (protocol, purpose) = routes.default_use();
    let local = socket.local_addr().ok().map(plain_address);
    let meter = Arc::new(Meter::within(slot.counts().bytes.clone()));
    let record = ConnectionOpened {
        id: ConnectionId::new(net.new_id()),
        at: net.now(),
        node: net.node().clone(),
        direction: Direction::Inbound,
        protocol,
        purpose,
        endpoint: None,
        host: None,
        remote: Some(remote),
        local,
        proxy: None,
        security: Security::None,
        control: None,
        through: None,
    };
    let opened = Opened { record, weakened: Vec::new() };
    let (handle, ender) = ConnectionHandle::new(
        opened,
        net.clock().clone(),
        net.recorder().log().clone(),
        meter.clone(),
        place,
    );
    if let Err(error) = socket::prepare(&socket, Some(socket::KEEP_ALIVE)) {
        handle.fail(format!("the socket's options cannot be set: {error}"));
        return;
    }
    let Some(local) = local else {
        handle.fail("the socket has no address");
        return;
    };
    let mut counted = Counted::new(socket, meter);
    let mut peer = PeerInfo { connection: handle.id(), remote, proxy: None, local, security: Security::None };
    if proxy_protocol {
        match introduced(&mut counted, remote, &proxies, &slot, limits.first_byte_timeout).await {
            Ok(None) => {}
            Ok(Some(client)) => {
                (peer.remote, peer.proxy) = (client, Some(remote));
                handle.came_through(remote, client);
            }
            Err(why) => {
                handle.fail(why);
                return;
            }
        }
    }
    let io = match protect(tls.as_ref(), counted, &handle, limits.handshake_timeout).await {
        Ok(io) => io,
        Err(error) => {
            handle.fail(error);
            return;
        }
    };
    peer.security = handle.security();
    let exchange =
        Arc::new(Exchange { handle, peer, routes, limits, proxies, slot, state: Activity::default() });
    run(Stream::new(io, ender), exchange, stopping, cutting).await;
}

/// The client from the proxy's header; `None` if it is the proxy's own connection.
async fn introduced(
    socket: &mut Counted,
    proxy: SocketAddr,
    proxies: &TrustedProxies,
    slot: &Slot,
    time: Duration,
) -> std::result::Result<Option<SocketAddr>, String> {
    if !proxies.trusts(proxy.ip()) {
        return Err(
            "this address accepts connections from trusted proxies only (listen.trusted_proxies)".to_owned()
        );
    }
    let client = match timeout(time, proxy_header::read(socket)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(format!("read the PROXY header: {error}")),
        Err(_) => return Err(format!("no PROXY header within {} s", time.as_secs_f64())),
    };
    if let Some(client) = client {
        slot.is_of(client).map_err(|full| full.reason().to_owned())?;
    }
    Ok(client)
}

/// Converts an IPv4 address that arrived on an IPv6 socket to IPv4.
pub(super) fn plain_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn protect(
    tls: Option<&ServerTls>,
    socket: Counted,
    handle: &ConnectionHandle,
    time: Duration,
) -> std::result::Result<Io, String> {
    let Some(tls) = tls else { return Ok(Io::Plain(socket)) };
    match timeout(time, tls::accept(tls, socket)).await {
        Ok(Ok((session, security, name))) => {
            handle.set_security(security);
            if let Some(name) = name {
                handle.asked_for(name.as_bytes());
            }
            Ok(Io::Tls(session))
        }
        Ok(Err(error)) => Err(error.chain()),
        Err(_) => Err(format!("no TLS handshake within {} s", time.as_secs_f64())),
    }
}

async fn run(
    stream: Stream,
    exchange: Arc<Exchange>,
    stopping: CancellationToken,
    cutting: CancellationToken,
) {
    let limits = exchange.limits.clone();
    let handle = exchange.handle.clone();
    let stream = Unfold::new(stream, limits.header_bytes);
    let folded = stream.folded();
    let service = {
        let exchange = exchange.clone();
        service_fn(move |request| {
            let (exchange, folded) = (exchange.clone(), folded.clone());
            async move { exchange.answer(request, &folded).await }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Both times are checked below, each by its own rule; this one counts them together.
        .header_read_timeout(limits.header_timeout + limits.idle_timeout)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(128 * 1024))
        .max_headers(limits.header_count)
        // See `Handler`: a client that has sent a whole request and closed its side still gets its answer. A browser
        // that closes its side has left the page: its request is cancelled.
        .half_close(!exchange.routes.are_pages())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut watch = pin!(exchange.watch());
    let mut stopped = pin!(stopping.cancelled_owned());
    let mut cut = pin!(cutting.cancelled_owned());
    let mut pushed_out = pin!(exchange.slot.must_leave().cancelled_owned());
    let (mut ending, mut leaving) = (false, false);
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    exchange.unread(&error).await;
                    if exchange.is_idle() && find::<std::io::Error>(&error).is_some() {
                        // All its requests had been answered, even if the client disconnects abruptly.
                        handle.closing(format!("ended by the peer while idle: {}", describe(&error)));
                    } else {
                        handle.fail(describe(&error));
                    }
                }
                return;
            }
            late = &mut watch => {
                match late {
                    Late::Idle => handle.closing("idle for too long"),
                    Late::Failed(why) => handle.fail(why),
                }
                return;
            }
            () = &mut stopped, if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
                handle.closing("the server stopped");
            }
            () = &mut pushed_out, if !leaving => {
                if exchange.is_waiting() {
                    handle.fail("closed while its request waited, to make room for another connection");
                    return;
                }
                handle.closing("closed while idle, to make room for another connection");
                if !exchange.is_at_work() {
                    return;
                }
                // Its next request came at the same moment: it still gets its answer.
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut cut => {
                handle.fail("closed because the server was stopping and its time was over");
                return;
            }
        }
    }
}

fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
