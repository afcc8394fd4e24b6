//! HTTP CONNECT (RFC 9110, section 9.3.6).

use super::{Target, failed, hung_up};
use crate::stream::Counted;
use base64::Engine as _;
use model::{Error, ErrorKind, Proxy, Result, Retry, Secret};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024;

/// The limits for reading an answer that is not HTTP: bytes and time.
const LONGEST_GREETING: usize = 256;
const GREETING_WITHIN: Duration = Duration::from_millis(500);

/// Header fields in which proxies report why they could not reach a host: RFC 9209's, and Squid's own.
const REASONS: [&str; 2] = ["proxy-status", "x-squid-error"];

/// # Errors
/// As [`super::open_tunnel`].
pub(super) async fn open_tunnel(proxy: &Proxy, target: Target<'_>, socket: &mut Counted) -> Result<()> {
    let request = request(proxy, target.text);
    let sent = socket.write_all(request.reveal().as_bytes()).await;
    sent.map_err(|cause| hung_up(proxy, target, cause))?;
    // Byte by byte: what follows the answer's head belongs to the tunnel and must stay in the socket.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_ANSWER {
            let error = failed(proxy, target, ErrorKind::Protocol, Retry::Permanent);
            return Err(error.advice("the proxy's answer is too long: check the proxy's host and port"));
        }
        head.push(socket.read_u8().await.map_err(|cause| hung_up(proxy, target, cause))?);
        if !could_be_http(&head) {
            // The first line of such a greeting says most.
            let line = async {
                while head.len() < LONGEST_GREETING && head.last() != Some(&b'\n') {
                    let Ok(byte) = socket.read_u8().await else { break };
                    head.push(byte);
                }
            };
            let _ = tokio::time::timeout(GREETING_WITHIN, line).await;
            return Err(no_proxy(proxy, target, head.trim_ascii_end()));
        }
    }
    judge(proxy, target, &head)
}

fn request(proxy: &Proxy, target: &str) -> Secret<String> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let pair = Secret::new(format!("{user}:{}", password.reveal()));
        request.push_str("Proxy-Authorization: Basic ");
        base64::engine::general_purpose::STANDARD.encode_string(pair.reveal(), &mut request);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    Secret::new(request)
}

/// A server of another protocol sends a greeting or another answer: its end is not awaited.
fn could_be_http(head: &[u8]) -> bool {
    let begins = b"HTTP/1.";
    head.iter().zip(begins).all(|(is, wanted)| is == wanted)
}

fn no_proxy(proxy: &Proxy, target: Target<'_>, head: &[u8]) -> Error {
    failed(proxy, target, ErrorKind::Protocol, Retry::Permanent)
        .said(head)
        .advice("the answer is not that of an HTTP proxy: check the proxy's host, port and kind")
}

fn judge(proxy: &Proxy, target: Target<'_>, head: &[u8]) -> Result<()> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok())
        .ok_or_else(|| no_proxy(proxy, target, line))?;
    let (kind, retry, advice) = match status {
        200..=299 => return Ok(()),
        407 => (ErrorKind::Unauthenticated, Retry::Permanent, login_advice(proxy, head)),
        403 | 405 => (
            ErrorKind::PermissionDenied,
            Retry::Permanent,
            "the proxy does not allow this connection: ask its operator to allow CONNECT to this host and \
            port"
                .into(),
        ),
        502..=504 => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the proxy could not reach the host: check the host's name and port; the proxy's log shows the \
            cause"
                .into(),
        ),
        400..=499 => (
            ErrorKind::Rejected,
            Retry::Permanent,
            "the proxy refused the request: see its answer and its log".into(),
        ),
        _ => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the proxy did not open a tunnel: see its answer and its log".into(),
        ),
    };
    let mut said = line.to_vec();
    for reason in
        fields(head).filter(|(name, _)| REASONS.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)))
    {
        said.extend_from_slice(b"; ");
        said.extend_from_slice(reason.1.as_bytes());
    }
    Err(failed(proxy, target, kind, retry).said(said).advice(advice))
}

fn login_advice(proxy: &Proxy, head: &[u8]) -> String {
    let asked: Vec<String> = fields(head)
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split([' ', ',']).next().map(str::to_owned))
        .collect();
    if !asked.is_empty() && !asked.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        let asked = model::PeerText::new(asked.join(", ").as_bytes());
        return format!(
            "the proxy asks for a login with {asked}, but Waybill supports Basic authentication only"
        );
    }
    match proxy.credentials {
        None => "the proxy asks for a user and password: set its 'username' and 'password'".into(),
        Some(_) => "the proxy does not accept this user and password: correct them".into(),
    }
}

/// The header fields of an answer, as far as they can be read.
fn fields(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    head.split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| std::str::from_utf8(line).ok()?.trim_end().split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
}
