//! Checksums that go with a file and are compared by the server: ownCloud and Nextcloud, played by a script, as neither can
//! be installed by the tests.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Result, Retry};
use support::{Scripted, World, answer, directory};
use testkit::through::Attempt;
use transport::folder::Verify;

const CONTENT: &str = "ISA*00";

// Those of the content, as `sha1sum`, `md5sum` and `sha256sum` tell them.
const SHA1: &str = "fb4329fb453f9fa5e26d3371db1a175624124e6a";
const MD5: &str = "2adba1be1f875565f28b9794d91f4a00";
const SHA256: &str = "e417e87fdc9c04ea9dbcce7a3452328334570da2b2ddb0b76b1d4488423445a2";

/// A server that tells these checksums of a file, has this answer to a PUT, and gives this content.
fn server(checksums: String, put: (&'static str, String), content: &'static str) -> Scripted {
    Scripted::start(move |_, head| {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match method {
            "PROPFIND" if path.trim_end_matches('/') == "/in" => support::multistatus(&directory("/in/")),
            "PROPFIND" => answer(
                "207 Multi-Status",
                "Content-Type: application/xml\r\n",
                &format!(
                    "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:response>\
                     <d:href>{path}</d:href><d:propstat><d:prop><d:resourcetype/><d:getcontentlength>{}</d:getcontentlength>\
                     <oc:checksums><oc:checksum>{checksums}</oc:checksum></oc:checksums></d:prop>\
                     <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>",
                    CONTENT.len()
                ),
            ),
            "PUT" => answer(put.0, &put.1, ""),
            "GET" => answer("200 OK", "", content),
            "DELETE" => answer("204 No Content", "", ""),
            _ => answer("201 Created", "", ""),
        }
    })
}

/// Delivers the content; how the receipt says that it was verified.
async fn deliver(server: &Scripted, cloud: &str, verify: Verify) -> Result<String> {
    let world = World::new();
    let folder = world.folder(&server.endpoint(&[("server", cloud)]));
    let mut attempt = Attempt::into("/in");
    attempt.options.verify = verify;
    let receipt = attempt.deliver(&folder, "a.edi", CONTENT.as_bytes(), &world.services).await?;
    Ok(receipt["verified_by"].as_str().unwrap().to_owned())
}

/// The values of a header in the requests of a method.
fn sent(server: &Scripted, method: &str, header: &str) -> Vec<String> {
    let heads = server.heads();
    let of_method = heads.iter().filter(|head| head.starts_with(method));
    let lines = of_method.flat_map(|head| head.lines());
    let values =
        lines.filter_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case(header)));
    values.map(|(_, value)| value.trim().to_owned()).collect()
}

fn count(server: &Scripted, method: &str) -> usize {
    server.heads().iter().filter(|head| head.starts_with(method)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn owncloud_compares_and_lists_what_it_computed() {
    let listed = format!("SHA1:{SHA1} MD5:{MD5} ADLER32:0665019e");
    let there = server(listed, ("201 Created", String::new()), CONTENT);
    let verified_by = deliver(&there, "owncloud", Verify::Checksum).await.unwrap();
    assert!(verified_by.contains("SHA-1"), "{verified_by}");
    assert_eq!(sent(&there, "PUT", "oc-checksum"), [format!("SHA1:{SHA1}")]);
    assert_eq!((count(&there, "GET"), sent(&there, "PUT", "x-hash").len()), (0, 0), "nothing is read back");
    // What it computed is something else.
    let other = "0".repeat(40);
    let there = server(format!("SHA1:{other} MD5:{MD5}"), ("201 Created", String::new()), CONTENT);
    let error = deliver(&there, "owncloud", Verify::Checksum).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient), "{error}");
    // It refuses what it did not receive as it was sent.
    let there = server(String::new(), ("400 Bad Request", String::new()), CONTENT);
    let error = deliver(&there, "owncloud", Verify::Checksum).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient), "{error}");
    assert!(error.chain().contains("400") && count(&there, "MOVE") == 0, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_to_a_server_and_comes_back_proves_nothing() {
    // A server that stores the checksum that came, and has another content.
    let there = server(format!("SHA1:{SHA1}"), ("201 Created", String::new()), "ISA*01");
    let error = deliver(&there, "owncloud", Verify::Checksum).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IntegrityFailed, "{error}");
    assert_eq!(count(&there, "GET"), 1, "it was read back");
    let there = server(format!("SHA256:{SHA256}"), ("201 Created", String::new()), CONTENT);
    let verified_by = deliver(&there, "nextcloud", Verify::Checksum).await.unwrap();
    assert!(verified_by.contains("read back"), "{verified_by}");
    assert_eq!(count(&there, "GET"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nextcloud_tells_what_it_computed_of_what_it_received() {
    let header = |digits: &str| ("201 Created", format!("X-Hash-SHA256: {digits}\r\n"));
    let there = server(String::new(), header(SHA256), CONTENT);
    let verified_by = deliver(&there, "nextcloud", Verify::Checksum).await.unwrap();
    assert!(verified_by.contains("SHA-256"), "{verified_by}");
    assert_eq!(sent(&there, "PUT", "oc-checksum"), [format!("SHA256:{SHA256}")]);
    assert_eq!(sent(&there, "PUT", "x-hash"), ["sha256"]);
    assert_eq!(count(&there, "GET"), 0, "nothing is read back");
    let there = server(String::new(), header(&"0".repeat(64)), CONTENT);
    let error = deliver(&there, "nextcloud", Verify::Checksum).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Transient), "{error}");
    assert_eq!(count(&there, "MOVE"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_checksum_goes_where_none_is_asked_for() {
    for (cloud, verify) in
        [("owncloud", Verify::Size), ("nextcloud", Verify::Size), ("standard", Verify::Checksum)]
    {
        let there = server(String::new(), ("201 Created", String::new()), CONTENT);
        deliver(&there, cloud, verify).await.unwrap();
        assert_eq!(
            sent(&there, "PUT", "oc-checksum").len() + sent(&there, "PUT", "x-hash").len(),
            0,
            "{cloud}"
        );
    }
}
