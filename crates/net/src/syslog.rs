//! Messages to a syslog server: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587, octet counting) or this machine's own
//! socket. Each call is a recorded connection like any other.

use crate::record::{Ending, Opened};
use crate::{DialRequest, Net, ProxyChoice};
use model::{
    ConnectionClosed, ConnectionId, ConnectionOpened, Direction, Error, ErrorKind, NodeName, PeerText,
    Protocol, Purpose, Result, Security, SyslogTarget, Timestamp,
};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::{Instant, timeout};

/// Facility 13 (log audit), severity 5 (notice): RFC 5424, 6.2.1.
const PRIORITY: u8 = 13 * 8 + 5;
/// The time for everything together.
const WITHIN: Duration = Duration::from_secs(10);

/// Formats one message of RFC 5424: `id` is a word that names its subject; the text must be one line.
#[must_use]
pub fn syslog_message(at: Timestamp, node: &NodeName, id: &str, text: &str) -> String {
    let time = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    format!("<{PRIORITY}>1 {time} {node} waybill {} {id} - {text}", std::process::id())
}

/// A connected socket.
enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(bytes).await,
            Self::Unix(socket) => socket.send(bytes).await,
        }
    }
}

impl Net {
    /// Sends messages ([`syslog_message`]) in order.
    ///
    /// # Errors
    /// As [`Net::dial`]; or the socket did not accept the messages. Some may have been sent.
    pub async fn send_syslog(&self, target: &SyslogTarget, messages: &[String]) -> Result<()> {
        let sending = async {
            match target {
                SyslogTarget::Tcp(host, port) => self.send_stream(host, *port, messages).await,
                SyslogTarget::Udp(host, port) => self.send_udp(host, *port, messages).await,
                SyslogTarget::Unix(path) => {
                    let failed = |error| failed(&path.display().to_string(), error);
                    let socket = UnixDatagram::unbound().map_err(failed)?;
                    socket.connect(path).map_err(failed)?;
                    let name = path.display().to_string();
                    self.recorded(&name, (None, None), messages, &Datagrams::Unix(socket)).await
                }
            }
        };
        timeout(WITHIN, sending).await.map_err(|_| {
            Error::transient(ErrorKind::Timeout, "send syslog messages").with("to", format!("{target:?}"))
        })?
    }

    async fn send_stream(&self, host: &str, port: u16, messages: &[String]) -> Result<()> {
        let request = DialRequest {
            endpoint: None,
            protocol: Protocol::Syslog,
            purpose: Purpose::Audit,
            host: host.to_owned(),
            port,
            tls: None,
            proxy: ProxyChoice::Disabled,
            timeout: WITHIN,
            keep_alive: Some(crate::socket::KEEP_ALIVE),
            control: None,
        };
        let mut stream = self.dial(&request).await?;
        let failed = |error| failed(&format!("{host}:{port}"), error);
        for message in messages {
            let framed = format!("{} {message}", message.len());
            stream.write_all(framed.as_bytes()).await.map_err(failed)?;
        }
        stream.shutdown().await.map_err(failed)?;
        // The server closes its side after it has read everything; its answer, if any, is ignored.
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.map_err(failed)? > 0 {}
        Ok(())
    }

    async fn send_udp(&self, host: &str, port: u16, messages: &[String]) -> Result<()> {
        let name = format!("{host}:{port}");
        let failed = |error| failed(&name, error);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = self.resolver().resolve(bare, port).await.map_err(failed)?;
        let allowed = addresses.iter().find(|address| self.egress().forbids(address.ip()).is_none());
        let Some(address) = allowed else {
            return Err(Error::permanent(ErrorKind::PermissionDenied, "send syslog messages")
                .with("to", &name)
                .advice("its addresses are not allowed: to allow them, change [egress] in waybill.toml"));
        };
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        let places = (Some(*address), socket.local_addr().ok());
        self.recorded(&name, places, messages, &Datagrams::Udp(socket)).await
    }

    /// Sends datagrams, with the record of a connection around them.
    async fn recorded(
        &self,
        host: &str,
        (remote, local): (Option<SocketAddr>, Option<SocketAddr>),
        messages: &[String],
        socket: &Datagrams,
    ) -> Result<()> {
        let place =
            self.recorder().place().await.ok_or_else(|| {
                Error::transient(ErrorKind::Throttled, "send syslog messages").with("to", host)
            })?;
        let (id, since) = (ConnectionId::new(self.new_id()), Instant::now());
        let record = ConnectionOpened {
            id,
            at: self.now(),
            node: self.node().clone(),
            direction: Direction::Outbound,
            protocol: Protocol::Syslog,
            purpose: Purpose::Audit,
            endpoint: None,
            host: Some(PeerText::from(host)),
            remote,
            local,
            proxy: None,
            security: Security::None,
            control: None,
            through: None,
        };
        self.recorder().log().opened(Opened { record, weakened: vec![] }).await?;
        let mut sent = (0, 0);
        let mut result = Ok(());
        for message in messages {
            match socket.send(message.as_bytes()).await {
                Ok(bytes) => sent = (sent.0 + 1, sent.1 + bytes as u64),
                Err(error) => {
                    result = Err(failed(host, error));
                    break;
                }
            }
        }
        let reason = result.as_ref().err().map_or_else(|| "sent".to_owned(), Error::chain);
        place.end(Ending::Closed(ConnectionClosed {
            id,
            at: self.now(),
            bytes_in: 0,
            bytes_out: sent.1,
            duration: since.elapsed(),
            requests: sent.0,
            reason: PeerText::from(reason.as_str()),
            failed: result.is_err(),
        }));
        result
    }
}

fn failed(to: &str, error: io::Error) -> Error {
    Error::transient(ErrorKind::Unreachable, "send syslog messages").with("to", to).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ConnectionLog;
    use crate::{EgressRules, NetSettings};
    use async_trait::async_trait;
    use model::ConnectionFailed;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;

    /// Keeps what is recorded.
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    #[async_trait]
    impl ConnectionLog for Log {
        async fn opened(&self, opened: Opened) -> Result<()> {
            self.0.lock().unwrap().push(format!("opened {}", opened.record.protocol));
            Ok(())
        }
        async fn closed(&self, closed: ConnectionClosed) -> Result<()> {
            self.0.lock().unwrap().push(format!("closed {}", closed.failed));
            Ok(())
        }
        async fn failed(&self, _: ConnectionFailed) -> Result<()> {
            self.0.lock().unwrap().push("failed".into());
            Ok(())
        }
    }

    fn net(log: &Arc<Log>, allow_loopback: bool) -> Net {
        let now = Arc::new(|| Timestamp::UNIX_EPOCH);
        let mut settings = NetSettings::new("n1".parse().unwrap(), now, Arc::new(uuid::Uuid::now_v7));
        settings.egress = EgressRules { allow_loopback, allow: vec![] };
        Net::new(settings, Arc::clone(log) as Arc<dyn ConnectionLog>)
    }

    fn messages() -> Vec<String> {
        let node = "n1".parse().unwrap();
        ["{\"seq\":1}", "{\"seq\":2}"]
            .map(|text| syslog_message(Timestamp::UNIX_EPOCH, &node, "seal", text))
            .to_vec()
    }

    #[test]
    fn a_message_has_the_form_of_rfc_5424() {
        let pid = std::process::id();
        assert_eq!(
            messages()[0],
            format!("<109>1 1970-01-01T00:00:00.000000Z n1 waybill {pid} seal - {{\"seq\":1}}")
        );
    }

    #[tokio::test]
    async fn messages_arrive_by_each_way_and_are_on_record() {
        let log = Arc::new(Log::default());
        let net = net(&log, true);

        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = udp.local_addr().unwrap().port();
        net.send_syslog(&SyslogTarget::Udp("127.0.0.1".into(), port), &messages()).await.unwrap();
        let mut bytes = [0; 2048];
        for message in messages() {
            let length = udp.recv(&mut bytes).await.unwrap();
            assert_eq!(&bytes[..length], message.as_bytes());
        }

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let unix = UnixDatagram::bind(&path).unwrap();
        net.send_syslog(&SyslogTarget::Unix(path), &messages()).await.unwrap();
        let length = unix.recv(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..length], messages()[0].as_bytes());

        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let mut text = String::new();
            tcp.accept().await.unwrap().0.read_to_string(&mut text).await.unwrap();
            text
        });
        net.send_syslog(&SyslogTarget::Tcp("127.0.0.1".into(), port), &messages()).await.unwrap();
        let framed: String = messages().iter().map(|m| format!("{} {m}", m.len())).collect();
        assert_eq!(server.await.unwrap(), framed);

        net.drain(Duration::from_secs(5)).await;
        let log = log.0.lock().unwrap();
        assert_eq!(log.iter().filter(|line| *line == "opened syslog").count(), 3, "{log:?}");
        assert_eq!(log.iter().filter(|line| *line == "closed false").count(), 3, "{log:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_an_error() {
        let log = Arc::new(Log::default());
        let gone = SyslogTarget::Unix("/nonexistent/log".into());
        assert!(net(&log, true).send_syslog(&gone, &messages()).await.is_err());
        let forbidden = SyslogTarget::Udp("127.0.0.1".into(), 514);
        let error = net(&log, false).send_syslog(&forbidden, &messages()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}
