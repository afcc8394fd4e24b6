//! SOCKS5 (RFC 1928) with user name and password (RFC 1929). Host names are sent unresolved: the proxy resolves them.

use super::{Target, failed, hung_up};
use crate::stream::Counted;
use model::{Error, ErrorKind, Proxy, Result, Retry};
use std::net::{IpAddr, SocketAddr};
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

/// Longest host name that a request can hold, in bytes (RFC 1928, section 5).
const LONGEST_NAME: usize = 255;

/// # Errors
/// As [`super::open_tunnel`].
pub(super) async fn open_tunnel(proxy: &Proxy, target: Target<'_>, socket: &mut Counted) -> Result<()> {
    let address = match target.host.parse::<IpAddr>() {
        Ok(address) => TargetAddr::Ip(SocketAddr::new(address, target.port)),
        Err(_) if target.host.len() > LONGEST_NAME => {
            let error = failed(proxy, target, ErrorKind::ConfigInvalid, Retry::Permanent);
            return Err(error.advice("the host's name is longer than SOCKS5 allows (255 bytes)"));
        }
        Err(_) => TargetAddr::Domain(target.host.into(), target.port),
    };
    let opened = match &proxy.credentials {
        None => Socks5Stream::connect_with_socket(socket, address).await,
        Some((user, password)) => {
            let password = password.reveal();
            Socks5Stream::connect_with_password_and_socket(socket, address, user, password).await
        }
    };
    opened.map(drop).map_err(|error| explain(proxy, target, error))
}

fn explain(proxy: &Proxy, target: Target<'_>, error: tokio_socks::Error) -> Error {
    use tokio_socks::Error as Socks;
    let (kind, retry, advice) = match error {
        Socks::Io(cause) => return hung_up(proxy, target, cause),
        Socks::NoAcceptableAuthMethods | Socks::AuthorizationRequired if proxy.credentials.is_none() => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the proxy asks for a login: set its 'username' and 'password'",
        ),
        Socks::NoAcceptableAuthMethods | Socks::AuthorizationRequired => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the proxy accepts neither a user and password nor connections without login: ask its operator",
        ),
        Socks::PasswordAuthFailure(_) => (
            ErrorKind::Unauthenticated,
            Retry::Permanent,
            "the proxy does not accept this user and password: correct them",
        ),
        Socks::ConnectionNotAllowedByRuleset => (
            ErrorKind::PermissionDenied,
            Retry::Permanent,
            "the proxy does not allow this connection: ask its operator to allow this host and port",
        ),
        Socks::GeneralSocksServerFailure
        | Socks::NetworkUnreachable
        | Socks::HostUnreachable
        | Socks::ConnectionRefused
        | Socks::TtlExpired => (
            ErrorKind::Unreachable,
            Retry::Transient,
            "the proxy could not reach the host: check the host's name and port; the proxy's log shows the \
            cause",
        ),
        Socks::CommandNotSupported | Socks::AddressTypeNotSupported => (
            ErrorKind::Unsupported,
            Retry::Permanent,
            "the proxy does not support this request; perhaps it supports IPv4 addresses only, or no CONNECT",
        ),
        Socks::InvalidTargetAddress(_) | Socks::InvalidAuthValues(_) => {
            (ErrorKind::ConfigInvalid, Retry::Permanent, "SOCKS5 cannot transmit this value: correct it")
        }
        _ => (
            ErrorKind::Protocol,
            Retry::Permanent,
            "the answer is not that of a SOCKS5 proxy: check the proxy's host, port and kind",
        ),
    };
    failed(proxy, target, kind, retry).said(error.to_string()).advice(advice)
}
