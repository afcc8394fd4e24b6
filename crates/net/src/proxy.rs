//! Going through a proxy: HTTP CONNECT (RFC 9110, section 9.3.6). SOCKS5 has its place beside it.

use crate::stream::Counted;
use base64::Engine as _;
use model::{Error, ErrorKind, Result, Retry, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How an endpoint's connections leave.
#[derive(Clone, Debug, Default)]
pub enum Proxy {
    /// Directly.
    #[default]
    Disabled,
    /// Through a tunnel that an HTTP proxy opens.
    HttpConnect(HttpConnect),
}

/// An HTTP proxy that tunnels.
#[derive(Clone, Debug)]
pub struct HttpConnect {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password, sent as Basic authentication.
    pub credentials: Option<(String, Secret<String>)>,
}

impl Proxy {
    /// The proxy as `host:port`, for the record.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Disabled => None,
            Self::HttpConnect(proxy) => Some(format!("{}:{}", proxy.host, proxy.port)),
        }
    }
}

/// Longest answer to CONNECT that is read, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Asks the proxy for a tunnel to `target` (`host:port`). The caller's deadline bounds it.
///
/// # Errors
/// `Unauthenticated` (407), `PermissionDenied` (403), `Unreachable` for what the proxy could not
/// reach, `Protocol` for what is no HTTP answer.
pub(crate) async fn connect(proxy: &HttpConnect, target: &str, socket: &mut Counted) -> Result<()> {
    let failed = |kind, retry| {
        Error::new(kind, retry, "open a tunnel through the proxy")
            .with("proxy", format!("{}:{}", proxy.host, proxy.port))
            .with("host", target)
    };
    let broke = |cause: std::io::Error| failed(ErrorKind::Unreachable, Retry::Transient).caused_by(cause);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let pair = Secret::new(format!("{user}:{}", password.reveal()));
        request.push_str("Proxy-Authorization: Basic ");
        base64::engine::general_purpose::STANDARD.encode_string(pair.reveal(), &mut request);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let request = Secret::new(request);
    socket.write_all(request.reveal().as_bytes()).await.map_err(broke)?;

    // Byte by byte: what follows the answer's head belongs to the tunnel and must stay in the socket.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == LONGEST_ANSWER {
            return Err(failed(ErrorKind::Protocol, Retry::Permanent).advice("the proxy's answer has no end"));
        }
        match socket.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(cause) => return Err(broke(cause)),
        }
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
    let (kind, retry, advice) = match status {
        Some(200..=299) => return Ok(()),
        Some(407) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "give the proxy's user and password, or correct them",
        ),
        Some(403 | 405) => (
            ErrorKind::PermissionDenied,
            Retry::Permanent,
            "ask for this host and port to be allowed on the proxy",
        ),
        Some(_) => (ErrorKind::Unreachable, Retry::Transient, "the proxy could not reach the host"),
        None => (ErrorKind::Protocol, Retry::Permanent, "this is no HTTP proxy: check its host and port"),
    };
    Err(failed(kind, retry).said(line).advice(advice))
}
