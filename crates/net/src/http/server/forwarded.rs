//! The client of a request that came through reverse proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Such a header is believed as far as trusted proxies wrote it: read from its end, the first address that is not a
//! trusted proxy's is the client. The client may have written what comes before. The header of any other peer is
//! ignored.

use crate::Network;
use ::http::HeaderMap;
use ::http::header::{FORWARDED, HeaderName};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which header the trusted proxies write. A header that they do not write is passed on as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ForwardedHeader {
    /// Whichever exists. A request with both, naming different clients, is refused.
    #[default]
    Either,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `Forwarded` alone.
    Forwarded,
}

/// The trusted reverse proxies. None by default.
#[derive(Clone, Default, Debug)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Vec<Network>,
    /// The header that they write.
    pub header: ForwardedHeader,
}

/// The client of a request, from the proxies' headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Client {
    /// It is the peer of the connection.
    Peer,
    /// It came through trusted proxies; its port is 0 if they do not report it.
    Behind(SocketAddr),
    /// It cannot be determined: two headers name two clients, one of which the client may have invented, or a header
    /// cannot be read. If the proxy's address were used instead, a client could hide behind it.
    Unclear(&'static str),
}

impl TrustedProxies {
    /// Whether an address is a trusted proxy's.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The client of a request that `peer` sent.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        if !self.trusts(peer.ip()) {
            return Client::Peer;
        }
        let reads = |wanted, name: &HeaderName| {
            (self.header == ForwardedHeader::Either || self.header == wanted) && headers.contains_key(name)
        };
        let modern = match reads(ForwardedHeader::Forwarded, &FORWARDED).then(|| forwarded_hops(headers)) {
            None => None,
            Some(Some(hops)) => Some(self.last_untrusted(&hops)),
            Some(None) => {
                return Client::Unclear("The header Forwarded cannot be read (RFC 7239, section 4)");
            }
        };
        let common = reads(ForwardedHeader::XForwardedFor, &X_FORWARDED_FOR)
            .then(|| self.last_untrusted(&listed_hops(headers)));
        match (modern, common) {
            (None, None) => Client::Peer,
            (Some(only), None) | (None, Some(only)) => only.map_or(Client::Peer, Client::Behind),
            (Some(one), Some(other)) if one.map(|a| a.ip()) == other.map(|a| a.ip()) => {
                one.map_or(Client::Peer, Client::Behind)
            }
            (Some(_), Some(_)) => {
                Client::Unclear("The headers Forwarded and X-Forwarded-For name different clients")
            }
        }
    }

    /// From the end, skipping trusted addresses. Stops at an entry that is not an address, because its writer hides
    /// or lies.
    fn last_untrusted(&self, hops: &[Option<SocketAddr>]) -> Option<SocketAddr> {
        let mut last = None;
        for hop in hops.iter().rev() {
            let Some(address) = hop else { return last };
            last = Some(*address);
            if !self.trusts(address.ip()) {
                return last;
            }
        }
        last
    }
}

/// The hops of all `X-Forwarded-For` lines, in order; `None` for an entry that is not an address. Split as bytes: the
/// part that a client wrote, before its proxy's own entry, may be in any character set.
fn listed_hops(headers: &HeaderMap) -> Vec<Option<SocketAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|hop| std::str::from_utf8(hop).ok().and_then(|hop| read_node(hop.trim())))
        .collect()
}

/// The hops of all `Forwarded` lines, in order; `None` if one of the lines is malformed: after a quote that does not
/// end, it is unknown which part the proxy wrote.
fn forwarded_hops(headers: &HeaderMap) -> Option<Vec<Option<SocketAddr>>> {
    let mut hops = Vec::new();
    for line in headers.get_all(FORWARDED) {
        hops.extend(read_forwarded(line.to_str().ok()?)?);
    }
    Some(hops)
}

/// The `for` of each element (RFC 7239, section 4); `None` if the line is malformed.
fn read_forwarded(line: &str) -> Option<Vec<Option<SocketAddr>>> {
    let mut hops = Vec::new();
    for element in split_quoted(line, b',')? {
        let mut node = None;
        for pair in split_quoted(element, b';')? {
            let pair = pair.trim();
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("for") {
                // Twice in one element: ambiguous.
                if node.is_some() {
                    return None;
                }
                node = Some(read_node(&unquoted(value.trim())?));
            }
        }
        hops.push(node.flatten());
    }
    Some(hops)
}

/// Splits at a byte outside quotes; `None` if a quote does not end.
fn split_quoted(text: &str, at: u8) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == at && !quoted => {
                parts.push(&text[from..place]);
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (!quoted).then_some(parts)
}

fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

/// An address, with or without a port; IPv6 in brackets, or bare without a port. `unknown` and obfuscated names (RFC
/// 7239, section 6) are not addresses.
fn read_node(text: &str) -> Option<SocketAddr> {
    let plain = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(plain(address.into(), read_port(port)?));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(plain(address, 0));
    }
    let (address, _) = text.split_once(':')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    Some(plain(address.into(), read_port(&text[text.find(':')?..])?))
}

/// The part after an address: empty, or a colon and a port, which may be obfuscated (RFC 7239, section 6.3).
fn read_port(text: &str) -> Option<u16> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(0),
        Some(port) if port.starts_with('_') => Some(0),
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        TrustedProxies { networks, header }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        told(ForwardedHeader::Either, peer, lines)
    }

    fn told(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        match proxies(header).client(peer.parse().unwrap(), &headers(lines)) {
            Client::Peer => "peer".to_owned(),
            Client::Behind(address) => address.to_string(),
            Client::Unclear(why) => format!("unclear: {why}"),
        }
    }

    const PROXY: &str = "10.0.0.1:40000";
    const XFF: &str = "x-forwarded-for";

    #[test]
    fn the_last_address_that_is_not_trusted_counts() {
        for (value, wanted) in [
            ("203.0.113.9", "203.0.113.9:0"),
            (" 203.0.113.9 ", "203.0.113.9:0"),
            ("203.0.113.9:1234", "203.0.113.9:1234"),
            ("1.2.3.4, 203.0.113.9", "203.0.113.9:0"),
            ("1.2.3.4, 203.0.113.9, 10.9.9.9", "203.0.113.9:0"),
            ("1.2.3.4,203.0.113.9,fd00::5,10.9.9.9", "203.0.113.9:0"),
            ("2001:db8::7", "[2001:db8::7]:0"),
            ("[2001:db8::7]", "[2001:db8::7]:0"),
            ("[2001:db8::7]:443", "[2001:db8::7]:443"),
            ("::ffff:203.0.113.9", "203.0.113.9:0"),
            ("[::ffff:203.0.113.9]:5", "203.0.113.9:5"),
            // A trusted address in another form is still trusted.
            ("203.0.113.9, ::ffff:10.1.1.1", "203.0.113.9:0"),
            // All of them are trusted: the first is the origin.
            ("10.3.3.3, 10.2.2.2", "10.3.3.3:0"),
        ] {
            assert_eq!(client(PROXY, &[(XFF, value)]), wanted, "{value}");
        }
        assert_eq!(client("[::ffff:10.0.0.1]:1", &[(XFF, "203.0.113.9")]), "203.0.113.9:0");
        // Several lines are one list.
        assert_eq!(client(PROXY, &[(XFF, "1.2.3.4"), (XFF, "203.0.113.9")]), "203.0.113.9:0");
        assert_eq!(client(PROXY, &[(XFF, "203.0.113.9"), (XFF, "10.1.1.1")]), "203.0.113.9:0");
    }

    #[test]
    fn what_is_no_address_ends_the_search_and_strangers_are_not_asked() {
        for value in [
            "",
            "unknown",
            "garbage",
            "203.0.113.9:",
            "203.0.113.9:99999",
            "203.0.113.9:x",
            "[2001:db8::7",
            "[2001:db8::7]x",
            "[203.0.113.9]",
            "203.0.113.999",
            "fe80::1%eth0",
            "1.2.3.4, ",
            "_hidden",
            "1.2.3.4,,",
        ] {
            assert_eq!(client(PROXY, &[(XFF, value)]), "peer", "{value}");
        }
        // Behind a readable hop, the client is that hop.
        assert_eq!(client(PROXY, &[(XFF, "203.0.113.9, nonsense, 10.1.1.1")]), "10.1.1.1:0");
        for peer in ["203.0.113.1:5", "127.0.0.1:5", "[2001:db8::1]:5", "[fe80::1]:5"] {
            assert_eq!(
                client(peer, &[(XFF, "198.51.100.7"), ("forwarded", "for=198.51.100.7")]),
                "peer",
                "{peer}"
            );
        }
        let nobody = TrustedProxies::default();
        assert_eq!(nobody.client(PROXY.parse().unwrap(), &headers(&[(XFF, "1.2.3.4")])), Client::Peer);
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (value, wanted) in [
            ("for=203.0.113.9", "203.0.113.9:0"),
            ("For=\"203.0.113.9:47\";proto=https;by=10.0.0.1", "203.0.113.9:47"),
            ("proto=http;FOR=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
            ("for=\"[2001:db8::7]\"", "[2001:db8::7]:0"),
            ("for=192.0.2.43, for=\"203.0.113.9\", for=10.2.2.2", "203.0.113.9:0"),
            ("for=203.0.113.9;host=\"a,b;for=1.2.3.4\"", "203.0.113.9:0"),
            ("for=203.0.113.9:_port", "203.0.113.9:0"),
            ("for=\"203.0.113\\.9\"", "203.0.113.9:0"),
            ("for=203.0.113.9;", "203.0.113.9:0"),
            // No `for`, an obfuscated one, or malformed: unknown.
            ("proto=https", "peer"),
            ("for=unknown", "peer"),
            ("for=_hidden", "peer"),
            ("for=1.2.3.4, for=_secret, for=203.0.113.9", "203.0.113.9:0"),
            ("for=1.2.3.4, for=_secret, for=10.1.1.1", "10.1.1.1:0"),
        ] {
            assert_eq!(client(PROXY, &[("forwarded", value)]), wanted, "{value}");
        }
        // The client may have begun an unreadable part, to hide what its proxy added.
        for value in
            ["for=\"203.0.113.9", "for=203.0.113.9;for=1.2.3.4", "203.0.113.9", "for=\"x, for=203.0.113.9"]
        {
            let unclear = "unclear: The header Forwarded cannot be read (RFC 7239, section 4)";
            assert_eq!(client(PROXY, &[("forwarded", value)]), unclear, "{value}");
            assert_eq!(client("203.0.113.1:5", &[("forwarded", value)]), "peer", "{value}");
            let lists = told(ForwardedHeader::XForwardedFor, PROXY, &[("forwarded", value)]);
            assert_eq!(lists, "peer", "{value}");
        }
    }

    #[test]
    fn what_a_client_writes_before_its_proxy_hides_nothing() {
        let value = ::http::HeaderValue::from_bytes(b"\xff\xe4, caf\xe9,203.0.113.9").unwrap();
        let mut headers = HeaderMap::new();
        headers.append(XFF, value);
        let client = proxies(ForwardedHeader::Either).client(PROXY.parse().unwrap(), &headers);
        assert_eq!(client, Client::Behind("203.0.113.9:0".parse().unwrap()));
    }

    #[test]
    fn two_headers_must_agree_unless_it_is_said_which_one_counts() {
        let both = [("forwarded", "for=203.0.113.9"), (XFF, "203.0.113.9")];
        assert_eq!(client(PROXY, &both), "203.0.113.9:0");
        let differ = [("forwarded", "for=198.51.100.66"), (XFF, "203.0.113.9")];
        let unclear = "unclear: The headers Forwarded and X-Forwarded-For name different clients";
        assert_eq!(client(PROXY, &differ), unclear);
        assert_eq!(told(ForwardedHeader::XForwardedFor, PROXY, &differ), "203.0.113.9:0");
        assert_eq!(told(ForwardedHeader::Forwarded, PROXY, &differ), "198.51.100.66:0");
        assert_eq!(told(ForwardedHeader::Forwarded, PROXY, &[(XFF, "203.0.113.9")]), "peer");
    }
}
