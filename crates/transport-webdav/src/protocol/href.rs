//! Paths and the references (`href`) that servers answer with (RFC 4918, 8.3): absolute URLs or absolute paths,
//! percent-encoded.

use model::RemotePath;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// What is encoded in a path (RFC 3986, 3.3): everything but unreserved characters, sub-delims, ':' and '@'. So a plus
/// stays a plus.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The path of a request, from the server's root. A directory ends with a slash.
pub(crate) fn encode(path: &RemotePath, is_directory: bool) -> String {
    let mut encoded = String::new();
    for part in path.parts().filter(|part| !part.is_empty() && *part != b".") {
        encoded.push('/');
        encoded.extend(percent_encode(part, PATH));
    }
    if is_directory || encoded.is_empty() {
        encoded.push('/');
    }
    encoded
}

/// The parts of a path.
pub(crate) fn parts(path: &RemotePath) -> Vec<Vec<u8>> {
    path.parts().filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec).collect()
}

/// What an answer's reference means, seen from the directory that was asked for.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// The directory.
    Itself,
    /// An entry of this name in it.
    Entry(Vec<u8>),
    /// Another place or host, or no reference at all.
    Elsewhere,
}

/// Reads a reference in the listing of a directory on a host. With `ignore_case` the directory's path is compared
/// without regard to the case of ASCII letters; the name is kept as the server writes it.
pub(crate) fn read(href: &str, host: &str, directory: &[Vec<u8>], ignore_case: bool) -> Meaning {
    let Some(parts) = decode(href, host) else { return Meaning::Elsewhere };
    let same =
        |(one, other): (&Vec<u8>, &Vec<u8>)| one == other || ignore_case && one.eq_ignore_ascii_case(other);
    if parts.len() < directory.len() || !parts.iter().zip(directory).all(same) {
        return Meaning::Elsewhere;
    }
    match &parts[directory.len()..] {
        [] => Meaning::Itself,
        [name] => Meaning::Entry(name.clone()),
        _ => Meaning::Elsewhere,
    }
}

/// The decoded parts of a reference's path; `None` if it is of another host, relative, or holds what no name can hold.
fn decode(href: &str, host: &str) -> Option<Vec<Vec<u8>>> {
    let href = href.trim();
    let path = match href.split_once("//") {
        // An absolute URL. Behind a proxy, scheme and port are often those of the server behind it.
        Some(("" | "http:" | "https:" | "HTTP:" | "HTTPS:", rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let named = authority.rsplit_once('@').map_or(authority, |(_, named)| named);
            let end = named.rfind(']').map_or(0, |end| end + 1);
            let name = &named[..named[end..].find(':').map_or(named.len(), |colon| end + colon)];
            if !name.eq_ignore_ascii_case(host) {
                return None;
            }
            path
        }
        _ => href,
    };
    if !path.starts_with('/') && !path.is_empty() {
        return None;
    }
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part: Vec<u8> = percent_decode_str(part).collect();
        if part.contains(&0) || part.contains(&b'/') || part == b"." || part == b".." {
            return None;
        }
        parts.push(part);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(href: &str) -> Meaning {
        read(href, "dav.example", &[b"in box".to_vec()], false)
    }

    fn entry(name: &[u8]) -> Meaning {
        Meaning::Entry(name.to_vec())
    }

    #[test]
    fn references_are_read_in_each_of_their_forms() {
        assert_eq!(means("/in%20box/"), Meaning::Itself);
        assert_eq!(means(" http://dav.example/in%20box "), Meaning::Itself);
        assert_eq!(means("/in box/a.edi"), entry(b"a.edi"), "a space for %20");
        assert_eq!(means("https://DAV.example:8443/in%20box/a+b%2B.edi"), entry(b"a+b+.edi"));
        assert_eq!(means("//user@dav.example/in%20box/x/"), entry(b"x"));
        assert_eq!(means("/in%20box/caf%E9"), entry(b"caf\xe9"));
        assert_eq!(means("/in%20box/100%25%2541"), entry(b"100%%41"));
        assert_eq!(means("/in%20box/a%0Ab"), entry(b"a\nb"));
        let six = read("http://[2001:db8::1]:80/x/a", "[2001:db8::1]", &[b"x".to_vec()], false);
        assert_eq!(six, entry(b"a"));
        assert_eq!(read("/a", "h", &[], false), entry(b"a"));
    }

    #[test]
    fn what_leads_elsewhere_is_no_entry() {
        for href in [
            "/in%20box/../../x",
            "/in%20box/%2e%2e/x",
            "/in%20box/..",
            "../../x",
            "a.edi",
            "/other/a.edi",
            "/in%20box/a/b",
            "/in%20box/a%2Fb",
            "/in%20box/a%00b",
            "http://other.example/in%20box/a",
            "http://dav.example.evil/in%20box/a",
            "ftp://dav.example/in%20box/a",
            "/IN%20BOX/a",
            "",
        ] {
            assert_eq!(means(href), Meaning::Elsewhere, "{href}");
        }
    }

    #[test]
    fn the_case_of_a_name_is_kept_where_the_directory_s_is_ignored() {
        let read = |href| read(href, "h", &[b"docs".to_vec()], true);
        assert_eq!(read("/Docs/Order.EDI"), entry(b"Order.EDI"));
        assert_eq!(read("/DOCS"), Meaning::Itself);
    }

    #[test]
    fn a_path_is_encoded_byte_by_byte() {
        let encode = |path: &[u8], directory| encode(&RemotePath::from_bytes(path), directory);
        assert_eq!(encode(b"/in box/a+b&c=d?e#f%", false), "/in%20box/a+b&c=d%3Fe%23f%25");
        assert_eq!(encode(b"in/caf\xe9", true), "/in/caf%E9/");
        assert_eq!(encode(b"", true), "/");
        assert_eq!(encode(b"/", false), "/");
    }
}
