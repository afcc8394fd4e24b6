//! The PROXY protocol, versions 1 and 2: a header that a load balancer writes before the client's first byte
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). It is never guessed: an address expects it by its
//! settings, and then every connection must begin with it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its line break.
const LONGEST_LINE: usize = 107;
/// The longest version 2 header accepted here, in bytes: addresses, and what proxies add (TLS, names).
const LONGEST_REST: usize = 4096;

/// Reads exactly the header. `None`: the connection is the proxy's own, for example a health check, or the proxy does
/// not know its client.
///
/// # Errors
/// There is no valid header.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // The shortest header of either version is longer.
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    if &begin == SIGNATURE {
        return read_binary(stream).await;
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(wrong("it does not begin with a PROXY header"));
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(wrong("the PROXY header's line has no end"));
        }
        line.push(stream.read_u8().await?);
    }
    read_line(&line[..line.len() - 2]).ok_or_else(|| wrong("the PROXY header's line is invalid"))
}

/// Version 1. The inner `None` means that the proxy does not know the client.
fn read_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let port = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, target, from, to] => {
            let of_family = |text: &str| {
                let address: IpAddr = text.parse().ok()?;
                (address.is_ipv4() == (family == "TCP4")).then_some(address)
            };
            of_family(target)?;
            port(to)?;
            Some(Some(SocketAddr::new(of_family(source)?.to_canonical(), port(from)?)))
        }
        _ => None,
    }
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let [version, family] = [stream.read_u8().await?, stream.read_u8().await?];
    let length = usize::from(stream.read_u16().await?);
    if version >> 4 != 2 {
        return Err(wrong("the PROXY header has an unknown version"));
    }
    if length > LONGEST_REST {
        return Err(wrong("the PROXY header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    let short = || wrong("the PROXY header is too short for its addresses");
    let port = |at: usize| -> io::Result<u16> {
        let bytes = rest.get(at..at + 2).ok_or_else(short)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    match (version & 0xf, family) {
        // LOCAL: the proxy's own connection.
        (0, _) => Ok(None),
        (1, 0x11) => {
            let address: [u8; 4] = rest.get(..4).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            rest.get(..12).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(address).into(), port(8)?)))
        }
        (1, 0x21) => {
            let address: [u8; 16] = rest.get(..16).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            rest.get(..36).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(IpAddr::from(Ipv6Addr::from(address)).to_canonical(), port(32)?)))
        }
        // Neither TCP over IPv4 nor over IPv6: the client is unknown.
        (1, _) => Ok(None),
        _ => Err(wrong("the PROXY header has an unknown command")),
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes read, and those left for the client's protocol.
    async fn read_all(bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let mut left = bytes;
        let read = read(&mut left).await;
        (read.map(|client| client.map(|c| c.to_string())).map_err(|e| e.to_string()), left.to_vec())
    }

    fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &length, rest, b"GET / "].concat()
    }

    #[tokio::test]
    async fn lines_of_version_1() {
        for (line, wanted) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n", Some("203.0.113.9:56324")),
            ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", Some("[2001:db8::7]:1")),
            ("PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n", Some("203.0.113.9:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ff:ff::1 ff:ff::2 65535 65535\r\n", None),
        ] {
            let (read, left) = read_all(format!("{line}GET / ").as_bytes()).await;
            assert_eq!(read, Ok(wanted.map(str::to_owned)), "{line}");
            assert_eq!(left, b"GET / ", "{line}");
        }
        for line in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324\r\n",
            "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 070 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 70000 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n",
            "PROXY  TCP4 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n",
            "proxy TCP4 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203",
        ] {
            assert!(read_all(line.as_bytes()).await.0.is_err(), "{line}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 500]].concat();
        let (read, left) = read_all(&endless).await;
        assert!(read.unwrap_err().contains("has no end") && left.len() > 350);
    }

    #[tokio::test]
    async fn headers_of_version_2() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&7_u16.to_be_bytes());
        let with_extras = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (bytes, wanted) in [
            (binary(0x21, 0x11, &v4), Some("203.0.113.9:56324")),
            (binary(0x21, 0x11, &with_extras), Some("203.0.113.9:56324")),
            (binary(0x21, 0x21, &v6), Some("[2001:db8::7]:7")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let (read, left) = read_all(&bytes).await;
            assert_eq!(read, Ok(wanted.map(str::to_owned)), "{bytes:?}");
            assert_eq!(left, b"GET / ");
        }
        for bytes in [
            binary(0x11, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x11, &v4[..11]),
            binary(0x21, 0x21, &v6[..30]),
            binary(0x21, 0x11, &[0; 5000]),
            SIGNATURE.to_vec(),
        ] {
            assert!(read_all(&bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
