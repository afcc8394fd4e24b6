use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What is read of an answer with this status, coding and body.
async fn body_of(status: u16, coding: &str, body: Body, receipt_wanted: bool) -> Result<Bytes> {
    let answer = Response::builder().status(status).header("Content-Encoding", coding);
    let (head, body) = answer.body(body).unwrap().into_parts();
    read(&head, body, receipt_wanted).await
}

#[tokio::test]
async fn an_empty_body_is_in_no_coding() {
    for coding in ["gzip", "deflate", "br", "gzip, br"] {
        for status in [200, 204, 401, 500] {
            for receipt_wanted in [true, false] {
                let body = body_of(status, coding, Body::empty(), receipt_wanted).await.unwrap();
                assert!(body.is_empty(), "{coding} {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_receipt_in_a_coding_that_is_not_read_leaves_the_delivery_open_and_names_the_status() {
    assert_eq!(body_of(200, "gzip", Body::bytes(gzip(b"a receipt")), true).await.unwrap(), "a receipt");
    let cut = gzip(&b"a receipt".repeat(1000));
    let cut = cut[..cut.len() / 2].to_vec();
    for (coding, body) in [("br", b"\x0b\x02\x80a".to_vec()), ("gzip", cut), ("gzip", b"plain".to_vec())] {
        let error = body_of(202, coding, Body::bytes(body), true).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Ambiguous);
        let text = error.to_string().to_ascii_lowercase();
        assert!(text.contains("202") && text.contains(coding), "{text}");
    }
    let error = body_of(200, "identity", Body::bytes(vec![b'a'; LARGEST_MDN + 1]), true).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    assert!(error.to_string().contains("200"), "{error}");
}

#[tokio::test]
async fn where_the_status_decides_no_body_stands_in_its_way() {
    let pages = gzip(&b"no admission ".repeat(10_000));
    let cut = pages[..pages.len() - 4].to_vec();
    for (status, receipt_wanted) in [(200, false), (401, true), (403, false), (404, true), (413, true)] {
        let of =
            async |coding: &str, body: Body| body_of(status, coding, body, receipt_wanted).await.unwrap();
        assert!(of("br", Body::bytes(b"\x0b\x02\x80a".to_vec())).await.is_empty());
        assert!(of("gzip", Body::bytes(b"\xff\xfe".to_vec())).await.is_empty());
        assert!(of("identity", Body::bytes(vec![b'a'; LARGEST_MDN + 1])).await.is_empty());
        let lost = futures::stream::iter([Err(Error::transient(ErrorKind::Unreachable, "read"))]);
        assert!(of("identity", Body::stream(lost, None)).await.is_empty());
        // What can be read is shown.
        assert_eq!(of("gzip", Body::bytes(gzip(b"no admission"))).await, "no admission");
        assert_eq!(of("gzip", Body::bytes(b"no admission".to_vec())).await, "no admission");
        assert!(of("gzip", Body::bytes(cut.clone())).await.starts_with(b"no admission no admission"));
    }
}
