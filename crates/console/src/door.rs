//! How people come in: the first start's link, login and logout, sessions.

mod cookie;
pub(crate) mod first_start;
mod hasher;
pub(crate) mod login;
pub(crate) mod session;
mod throttle;

pub(crate) use cookie::{cookie, set_cookie};
pub(crate) use hasher::Hasher;
pub(crate) use session::Visitor;
pub(crate) use throttle::Throttle;

use http::Extensions;
use net::http::{PeerInfo, client_network};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who asks, for throttling and the audit trail.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<PeerInfo>().map(|peer| peer.remote)
}

/// The address that failures are counted for: of IPv6 the /64, which one person has whole.
fn counted(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| client_network(peer.ip()))
}

/// Where to go after a login: a path of this console, or its first page.
fn local_path(path: Option<&str>) -> &str {
    let local = |path: &&str| {
        path.len() <= 2048
            && path.starts_with('/')
            && !path[1..].starts_with(['/', '\\'])
            && path.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            && !path.starts_with("/login")
    };
    path.filter(local).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn a_login_leads_to_own_pages_only() {
        for own in ["/", "/transfers?state=failed", "/audit/x"] {
            assert_eq!(local_path(Some(own)), own);
        }
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/a\r\nb",
            "/é",
            "/login?next=/",
        ] {
            assert_eq!(local_path(Some(foreign)), "/", "{foreign}");
        }
        assert_eq!(local_path(Some(&format!("/{}", "a".repeat(3000)))), "/");
        assert_eq!(local_path(None), "/");
    }
}
