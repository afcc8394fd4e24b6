//! A proxy: where it is, which protocol it speaks, who logs in to it.

use crate::Secret;
use std::fmt;
use url::{Host, Url};

/// What is spoken with a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxyProtocol {
    /// HTTP CONNECT (RFC 9110, section 9.3.6), with Basic authentication (RFC 7617).
    Http,
    /// SOCKS version 5 (RFC 1928), with user name and password (RFC 1929).
    Socks5,
}

impl ProxyProtocol {
    /// The scheme of a proxy's URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }

    /// Its usual port.
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 => 1080,
        }
    }
}

/// A proxy that outbound connections go through. `Display` and [`Proxy::address`] show no password.
#[derive(Clone, PartialEq, Debug)]
pub struct Proxy {
    /// What is spoken with it.
    pub protocol: ProxyProtocol,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password.
    pub credentials: Option<(String, Secret<String>)>,
}

/// Longest user name and password of SOCKS5, in bytes (RFC 1929, section 2).
const LONGEST_SOCKS5_WORD: usize = 255;

impl Proxy {
    /// Reads a proxy as settings and definitions write it: `http://HOST:PORT` or `socks5://HOST:PORT`.
    ///
    /// # Errors
    /// Says what is wrong, without the URL itself, which may hold a password.
    pub fn new(url: &str, credentials: Option<(String, Secret<String>)>) -> Result<Self, String> {
        const FORM: &str = "write http://HOST:PORT or socks5://HOST:PORT";
        let url = Url::parse(url).map_err(|error| format!("is not a URL: {error}; {FORM}"))?;
        let protocol = match url.scheme() {
            "http" => ProxyProtocol::Http,
            // curl's word for "the proxy resolves names", which is what Waybill always lets it do.
            "socks5" | "socks5h" => ProxyProtocol::Socks5,
            "https" => return Err(format!("TLS to the proxy itself is not supported; {FORM}")),
            other => return Err(format!("{other}:// is not a kind of proxy that Waybill supports; {FORM}")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("contains a user or password; write them as username and password".into());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("has text after the port; {FORM}"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return Err(format!("has no host; {FORM}")),
        };
        if let Some((user, password)) = &credentials {
            check_credentials(protocol, user, password.reveal())?;
        }
        Ok(Self { protocol, host, port: url.port().unwrap_or(protocol.port()), credentials })
    }

    /// Where it is, as `http://host:port` or `socks5://host:port`: for records and messages.
    #[must_use]
    pub fn address(&self) -> String {
        self.to_string()
    }
}

fn check_credentials(protocol: ProxyProtocol, user: &str, password: &str) -> Result<(), String> {
    match protocol {
        // RFC 7617, section 2: the first colon ends the user name.
        ProxyProtocol::Http if user.contains(':') => {
            Err("the user name of an HTTP proxy cannot contain ':'".into())
        }
        ProxyProtocol::Socks5
            if [user, password].iter().any(|word| !(1..=LONGEST_SOCKS5_WORD).contains(&word.len())) =>
        {
            Err("user name and password of a SOCKS5 proxy must have 1 to 255 bytes each".into())
        }
        _ if [user, password].iter().any(|word| word.chars().any(char::is_control)) => {
            Err("user name and password cannot contain line ends or other control characters".into())
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, host, port) = (self.protocol.as_str(), &self.host, self.port);
        if host.contains(':') {
            write!(f, "{protocol}://[{host}]:{port}")
        } else {
            write!(f, "{protocol}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Option<(String, Secret<String>)> {
        Some((user.to_owned(), Secret::new(password.to_owned())))
    }

    #[test]
    fn proxies_are_read_and_shown_without_their_passwords() {
        for (url, shown) in [
            ("http://proxy.acme.example:3128", "http://proxy.acme.example:3128"),
            ("http://proxy.acme.example/", "http://proxy.acme.example:80"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
            ("socks5h://proxy:9050", "socks5://proxy:9050"),
            ("socks5://[::1]:1081", "socks5://[::1]:1081"),
            ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
        ] {
            let proxy = Proxy::new(url, login("ada", "lovelace")).unwrap();
            assert_eq!(proxy.address(), shown);
            assert!(!format!("{proxy:?}{proxy}").contains("lovelace"));
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_showing_it() {
        for (url, why) in [
            ("https://proxy:3128", "TLS to the proxy"),
            ("ftp://proxy:21", "ftp:// is not a kind"),
            ("proxy:3128", "not a kind of proxy"),
            ("http://ada:lovelace@proxy:3128", "username and password"),
            ("http://proxy:3128/path", "after the port"),
            ("socks5://", "host"),
            ("", "not a URL"),
        ] {
            let error = Proxy::new(url, None).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
            assert!(!error.contains("lovelace"), "{error}");
        }
        assert!(Proxy::new("http://p", login("a:b", "c")).is_err());
        assert!(Proxy::new("http://p", login("a\r\n", "c")).is_err());
        assert!(Proxy::new("socks5://p", login("a", "")).is_err());
        assert!(Proxy::new("socks5://p", login("a", &"c".repeat(256))).is_err());
        assert!(Proxy::new("http://p", login("a", "")).is_ok());
    }
}
