//! Whatever a server sends, nothing panics, and what is told of a file stays within the limits. A few hundred cases run with
//! the other tests; `PROPTEST_CASES=1000000` makes it some ten minutes.

use super::href::{self, Meaning};
use super::multistatus::Multistatus;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use net::http::{LoginMethod, ServerLogin};
use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of which documents are made, good ones and others.
const PIECES: [&str; 24] = [
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
    "<D:multistatus xmlns:D=\"DAV:\">",
    "</D:multistatus>",
    "<D:response>",
    "</D:response>",
    "<D:href>/in/a.edi</D:href>",
    "<D:href>../../x</D:href>",
    "<D:propstat><D:prop>",
    "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>",
    "<D:resourcetype><D:collection/></D:resourcetype>",
    "<D:getcontentlength>18446744073709551616</D:getcontentlength>",
    "<D:getlastmodified>Thu, 99 Foo 2026 10:00:01 GMT</D:getlastmodified>",
    "<D:getlastmodified>Thu, 26 Nov 1926 10:00:01 GMT</D:getlastmodified>",
    "<D:getetag>W/\"</D:getetag>",
    "<D:owner><D:href>mailto:anna</D:href></D:owner>",
    "<D:status>HTTP/1.1</D:status>",
    "<!DOCTYPE b [<!ENTITY a \"&b;\">]>",
    "&a;",
    "&#0;",
    "&#x110000;",
    "<![CDATA[",
    "]]>",
    "<!-- -->",
    "<a xmlns=''><",
];

fn document() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => (0..PIECES.len()).prop_map(|at| PIECES[at].as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    let good = (vec(piece, 0..40), any::<bool>()).prop_map(|(pieces, begins)| {
        let begin: &[u8] = if begins { b"<D:multistatus xmlns:D='DAV:'><D:response>" } else { b"" };
        [begin, &pieces.concat()].concat()
    });
    prop_oneof![5 => good, 1 => vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn documents_are_read_or_refused(bytes in document(), cut in 1_usize..50) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::io::BufReader::with_capacity(cut, &bytes[..]);
            let mut source = Multistatus::new(stream);
            let mut told = 0;
            while let Ok(Some(response)) = source.next().await {
                told += response.href.len();
                let meaning = href::read(&response.href, "dav.example", &[b"in".to_vec()], true);
                if let Meaning::Entry(name) = meaning {
                    assert!(!name.contains(&b'/') && !name.contains(&0) && name != b"..", "{name:?}");
                }
            }
            // A character may be written in fewer bytes than it has, but nothing is expanded.
            assert!(told <= 4 * bytes.len(), "{told} bytes are told of {}", bytes.len());
        });
    }

    #[test]
    fn references_name_files_of_the_directory_alone(
        href in "(http://|dav.example|/|in|%2F|%2f|%2e|%00|\\.|\\.\\.|a|\\\\|%|é|\\?|#|:| ){0,12}",
    ) {
        if let Meaning::Entry(name) = href::read(&href, "dav.example", &[b"in".to_vec()], false) {
            prop_assert!(!name.is_empty() && name != b"." && name != b"..", "{}", href);
            prop_assert!(!name.contains(&b'/') && !name.contains(&0), "{}", href);
        }
    }

    #[test]
    fn challenges_are_read_or_refused(text in "(Digest |Basic |realm=|nonce=|qop=|\"|auth|,|=|algorithm=|MD5|SHA-256| |é){0,20}") {
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]);
            let _ = ServerLogin::default().take(LoginMethod::WhenAsked, &headers);
        }
    }
}
