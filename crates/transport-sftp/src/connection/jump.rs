//! Jump hosts: SSH servers over which others are reached (RFC 4254, section 7.2, direct-tcpip).
//!
//! A jump host is an endpoint of its own, verified and logged in to as such. Its connections are shared by all endpoints
//! behind it, each of whose connections is a channel there, with its own key exchange and login inside: the jump host sees
//! neither password nor data. Nothing is forwarded back.

use super::{Remote, Session};
use async_trait::async_trait;
use model::{Error, ErrorKind, Purpose, Result, Retry, Step};
use net::{ConnectionHandle, Connector, Pool, PoolLease, PooledConnection, Stream};
use russh::ChannelOpenFailure;
use russh::ChannelStream;
use russh::client::Msg;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Makes connections to a jump host.
pub(crate) struct JumpHost(pub(crate) Remote);

/// A connection to a jump host, logged in.
pub(crate) struct JumpConnection {
    session: Session,
    pub(super) host_key: String,
}

#[async_trait]
impl Connector for JumpHost {
    type Connection = JumpConnection;

    async fn connect(&self, purpose: Purpose, endpoint: &str) -> Result<JumpConnection> {
        let Self(remote) = self;
        let greeted = remote.greet(remote.reach(purpose, endpoint).await?).await?;
        let host_key = greeted.host_key.clone();
        let session = remote.authenticated(greeted).await?;
        Ok(JumpConnection { session, host_key })
    }
}

#[async_trait]
impl PooledConnection for JumpConnection {
    fn is_lost(&self) -> bool {
        self.session.ssh().is_none_or(russh::client::Handle::is_closed)
            || !self.session.ending.is_still_trusted()
    }

    async fn is_alive(&self) -> bool {
        match self.session.ssh() {
            Some(ssh) => ssh.send_ping().await.is_ok() && !self.is_lost(),
            None => false,
        }
    }

    fn lose(&self, why: &'static str) {
        self.session.ending.record.fail(why);
        self.session.ending.cut.cut();
    }

    fn closing(&self, reason: &'static str) {
        self.session.ending.record.closing(reason);
    }
}

impl JumpConnection {
    fn record(&self) -> ConnectionHandle {
        self.session.ending.record.clone()
    }

    /// Has the jump host connect.
    async fn open(lease: PoolLease<Self>, host: &str, port: u16) -> Result<JumpStream> {
        const OPERATION: &str = "open a connection through the jump host";
        lease.session.ending.record.request();
        let jump_host = lease.session.ending.target.host.clone();
        let named = |kind, retry| {
            let target =
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            Error::new(kind, retry, OPERATION)
                .at_step(Step::Jump)
                .with("host", target)
                .with("jump host", &jump_host)
        };
        let Some(ssh) = lease.session.ssh() else {
            return Err(named(ErrorKind::Unreachable, Retry::Transient));
        };
        let opened = ssh.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await;
        let channel = opened.map_err(|error| match &error {
            russh::Error::ChannelOpenFailure(reason) => match reason {
                ChannelOpenFailure::AdministrativelyProhibited => {
                    named(ErrorKind::PermissionDenied, Retry::Permanent).advice(
                        "the jump host does not allow it: ask its operator to permit this user connections to this host and \
                        port (in OpenSSH: AllowTcpForwarding, PermitOpen)",
                    )
                }
                ChannelOpenFailure::ResourceShortage => named(ErrorKind::Throttled, Retry::Transient),
                ChannelOpenFailure::UnknownChannelType => {
                    named(ErrorKind::Unsupported, Retry::Permanent)
                        .advice("the jump host cannot connect further: it is no jump host")
                }
                ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::Other { .. } => {
                    named(ErrorKind::Unreachable, Retry::Transient).advice(
                        "the jump host accepts us and does not reach the server: check the server's host and port as \
                        seen from the jump host, and that the server is running",
                    )
                }
            }
            .caused_by(error),
            _ => named(ErrorKind::Unreachable, Retry::Transient).caused_by(error),
        })?;
        Ok(JumpStream { channel: channel.into_stream(), _carrier: lease })
    }
}

/// A connection through a jump host; it keeps the one to the jump host in use.
struct JumpStream {
    // Closed before the connection below it is given back.
    channel: ChannelStream<Msg>,
    _carrier: PoolLease<JumpConnection>,
}

impl AsyncRead for JumpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_read(cx, buf)
    }
}

impl AsyncWrite for JumpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.channel).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}

impl Remote {
    /// A stream to the server, through its jump host if it has one, not yet recorded as opened.
    ///
    /// # Errors
    /// As [`net::Net::dial_deferred`]; those of the jump host name it.
    pub(super) async fn reach(&self, purpose: Purpose, endpoint: &str) -> Result<Stream> {
        let Some(jump) = &self.jump else {
            return self.net.dial_deferred(&self.request(purpose, endpoint)?).await;
        };
        let lease = jump.take().await.map_err(|error| self.jump_failed(jump, error))?;
        self.reach_through(lease, purpose, endpoint).await
    }

    /// A stream to the server over a connection to its jump host.
    pub(super) async fn reach_through(
        &self,
        lease: PoolLease<JumpConnection>,
        purpose: Purpose,
        endpoint: &str,
    ) -> Result<Stream> {
        let request = self.request(purpose, endpoint)?;
        let (host, port) = (&self.settings.host, self.settings.port);
        self.net.dial_over(&lease.record(), &request, JumpConnection::open(lease, host, port)).await
    }

    /// A connection to the jump host of its own, for a test.
    pub(super) async fn test_jump(&self, jump: &Pool<JumpHost>) -> Result<PoolLease<JumpConnection>> {
        let connector = jump.connector();
        match connector.connect(Purpose::Test, jump.endpoint()).await {
            Ok(connection) => {
                let limits = connector.0.settings.limits;
                let alone = Pool::new(Arc::clone(connector), jump.endpoint(), Purpose::Test, limits);
                Ok(alone.admit(connection))
            }
            Err(error) => Err(self.jump_failed(jump, error)),
        }
    }

    fn jump_failed(&self, jump: &Pool<JumpHost>, error: Error) -> Error {
        Error::new(error.kind(), error.retry(), "reach the server through its jump host")
            .at_step(Step::Jump)
            .with("host", self.settings.target())
            .with("jump host", jump.endpoint())
            .caused_by(error)
    }
}
