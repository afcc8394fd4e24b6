//! The addresses of data connections, as servers and Waybill state them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What EPRT says of an address: `|1|192.0.2.1|50000|` (RFC 2428, 2).
pub(crate) fn extended_argument(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

/// What PORT says of an address: six numbers. `None` for IPv6, which it cannot carry.
pub(crate) fn active_argument(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let ([a, b, c, d], [high, low]) = (ip.octets(), address.port().to_be_bytes());
    Some(format!("{a},{b},{c},{d},{high},{low}"))
}

/// The port in an answer to EPSV: `(|||port|)`, where any character may stand for the bar (RFC 2428, 3).
pub(crate) fn extended(text: &[u8]) -> Option<u16> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let inner = text.get(open + 1..)?;
    let [first, second, third, rest @ ..] = inner else { return None };
    if first != second || second != third || first.is_ascii_digit() {
        return None;
    }
    let end = rest.iter().position(|byte| byte == first)?;
    let port: u16 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    (port != 0).then_some(port)
}

/// Address and port in an answer to PASV: six numbers with commas, with or without brackets around them (RFC 1123,
/// 4.1.2.6).
pub(crate) fn passive(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
    text.split(|byte| !is_part(byte)).find_map(|run| {
        let mut numbers = run
            .split(|byte| *byte == b',')
            .map(|digits| std::str::from_utf8(digits).ok()?.parse::<u8>().ok());
        let mut next = || numbers.next()?;
        let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        let port = u16::from_be_bytes([next()?, next()?]);
        (numbers.next().is_none() && port != 0).then_some((address, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_written() {
        let four: SocketAddr = "192.0.2.1:50000".parse().unwrap();
        assert_eq!(extended_argument(four), "|1|192.0.2.1|50000|");
        assert_eq!(active_argument(four).as_deref(), Some("192,0,2,1,195,80"));
        let six: SocketAddr = "[2001:db8::1]:1024".parse().unwrap();
        assert_eq!(extended_argument(six), "|2|2001:db8::1|1024|");
        assert_eq!(active_argument(six), None);
    }

    #[test]
    fn ports_of_epsv_are_read() {
        assert_eq!(extended(b"Entering Extended Passive Mode (|||6446|)"), Some(6446));
        assert_eq!(extended(b"ok (!!!50000!)"), Some(50_000));
        for wrong in ["", "(||6446|)", "(|||6446", "(|||70000|)", "(|||0|)", "(1116446 1)"] {
            assert_eq!(extended(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_of_pasv_are_read() {
        let read = Some((Ipv4Addr::new(10, 0, 0, 7), 195 * 256 + 80));
        assert_eq!(passive(b"Entering Passive Mode (10,0,0,7,195,80)."), read);
        assert_eq!(passive(b"Entering Passive Mode 10,0,0,7,195,80"), read);
        for wrong in ["", "(10,0,0,7,195)", "(10,0,0,7,195,80,1)", "(10,0,0,256,1,1)", "(1,2,3,4,0,0)"] {
            assert_eq!(passive(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
