//! Requests that another server on the way may interpret differently (request smuggling): if it sees the end of a
//! request elsewhere, a client can hide a second request from it; if it sees another host, its rules are bypassed.
//! Such requests are answered with 400 (RFC 9112, section 3.2).
//!
//! The library does the rest (section 6.3): it refuses two different lengths, a length that is not a number, a coding
//! that does not end with `chunked` or is in HTTP/1.0, white space before a colon, and malformed header lines; with
//! both a length and a coding, the coding is used, and the connection ends with the answer.

use ::http::header::HOST;
use ::http::{HeaderValue, Request, Version};

/// Why a request is refused; `None` if it is well-formed.
pub(super) fn malformed<B>(request: &Request<B>) -> Option<&'static str> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Some("The request has more than one Host header.\n"),
        (Some(host), None) if !is_host(host) => {
            return Some("The request's Host header is not a valid host.\n");
        }
        // HTTP/1.0 has no Host.
        (None, _) if request.version() >= Version::HTTP_11 => {
            return Some("The request has no Host header.\n");
        }
        _ => {}
    }
    None
}

/// Whether it is a host with or without a port (RFC 9110, section 7.2), or empty, as for a target without a host.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    let port = match text.rsplit_once(']') {
        Some((_, rest)) => rest,
        None => text.find(':').map_or("", |at| &text[at..]),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    text.bytes().all(of_host) && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: Version, headers: &[(&'static str, &str)]) -> Option<&'static str> {
        let mut request = Request::builder().version(version).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        malformed(&request.body(()).unwrap())
    }

    #[test]
    fn one_host_or_none_in_http_1_0() {
        for host in ["a.example", "a.example:80", "", "[::1]", "[::1]:80", "10.0.0.1:", "a_b-c.example", "x"]
        {
            assert_eq!(judged(Version::HTTP_11, &[("host", host)]), None, "{host}");
        }
        for host in ["a b", "a/b", "a@b", "a:b", "[::1]x", "a, b", "http://a", "a:80:80", "a\\b", "a?b", "ä"]
        {
            assert!(judged(Version::HTTP_11, &[("host", host)]).is_some(), "{host}");
        }
        assert!(judged(Version::HTTP_11, &[]).is_some());
        assert_eq!(judged(Version::HTTP_10, &[]), None);
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(judged(version, &[("host", "a"), ("host", "a")]).is_some());
        }
    }
}
