//! Servers that answer by a script: what is odd, lost, hostile or without end.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use model::{ErrorKind, Retry};
use support::{Scripted, World, answer, directory, file, list, multistatus, read, write};
use transport::folder::{EntryKind, Published};

fn by_method(head: &str) -> &str {
    head.split(' ').next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_the_directory_is_no_name_of_a_file() {
    let hostile = [
        "/in/../../etc/passwd",
        "../../x",
        "/elsewhere/a",
        "http://other.example/in/a",
        "/in/a%00b",
        "/in/a%2F..%2Fb",
    ];
    let responses: String = hostile.iter().map(|href| file(href, 1)).collect();
    let text = format!("{}{responses}{}", directory("/in/"), file("/in/good.edi", 7));
    let server = Scripted::start(move |_, _| multistatus(&text));
    let listed = list(&World::new().folder(&server.endpoint(&[])), "/in").await.unwrap();
    let (good, bad): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|entry| !entry.path.as_bytes().contains(&b'/'));
    assert_eq!(good.len(), 1);
    assert_eq!(
        (good[0].path.to_text().as_str(), good[0].size, good[0].kind),
        ("good.edi", Some(7), EntryKind::File)
    );
    // With a slash, so that whoever lists passes them over and says so.
    assert_eq!(bad.len(), hostile.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_another_place_alone_is_an_error_and_not_empty() {
    let text = format!("{}{}", directory("/backend/in/"), file("/backend/in/a", 1));
    let server = Scripted::start(move |_, _| multistatus(&text));
    let error = list(&World::new().folder(&server.endpoint(&[])), "/in").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent));
    assert!(error.to_string().contains("/backend/in/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_bomb_and_a_page_are_refused() {
    for (body, words) in [
        ("<!DOCTYPE b [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><b>&b;</b>", "document type"),
        ("<html><body>Please log in</body></html>", "'html'"),
        ("", "it tells of no file"),
    ] {
        let server = Scripted::start(move |_, _| answer("207 Multi-Status", "", body));
        let error = World::new().folder(&server.endpoint(&[])).stat(&"/in/a".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_breaks_off_is_an_error() {
    let text = format!("<D:multistatus xmlns:D='DAV:'>{}{}", directory("/in/"), file("/in/a", 1));
    let server = Scripted::start(move |_, _| {
        let mut cut = answer("207 Multi-Status", "", &format!("{text}{}", " ".repeat(100)));
        cut.truncate(cut.len() - 50);
        cut
    });
    let error = list(&World::new().folder(&server.endpoint(&[])), "/in").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Transient), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_move_is_unknown_and_a_taken_name_is_not() {
    for (reply, published) in [
        (Vec::new(), Published::Unknown),
        (answer("504 Gateway Timeout", "", ""), Published::Unknown),
        (answer("412 Precondition Failed", "", ""), Published::Exists),
        (answer("201 Created", "", ""), Published::Published),
    ] {
        let server = Scripted::start(move |_, _| reply.clone());
        let folder = World::new().folder(&server.endpoint(&[]));
        let told = folder.publish(&"/in/.a.part".into(), &"/in/a".into(), false).await.unwrap();
        assert_eq!(told, published);
        let head = &server.heads()[0];
        assert!(head.starts_with("MOVE /in/.a.part ") && head.contains("overwrite: F"), "{head}");
        assert!(
            head.contains(&format!("destination: {}/in/a\r\n", server.url().replace("dav:", "http:"))),
            "{head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_the_server_s_words_and_their_class() {
    for (status, kind, retry) in [
        ("423 Locked", ErrorKind::Rejected, Retry::Transient),
        ("507 Insufficient Storage", ErrorKind::StorageFull, Retry::Transient),
        ("413 Payload Too Large", ErrorKind::Rejected, Retry::Permanent),
        ("503 Service Unavailable", ErrorKind::Throttled, Retry::Transient),
        ("500 Internal Server Error", ErrorKind::Rejected, Retry::Transient),
        ("409 Conflict", ErrorKind::NotFound, Retry::Permanent),
        ("411 Length Required", ErrorKind::Unsupported, Retry::Permanent),
    ] {
        let server = Scripted::start(move |_, head| match by_method(head) {
            "PROPFIND" => multistatus(&directory("/in/")),
            "DELETE" => answer("404 Not Found", "", ""),
            _ => answer(status, "Content-Type: text/html\r\n", "<html><p>The words of the server</p></html>"),
        });
        let error =
            write(&World::new().folder(&server.endpoint(&[])), "/in/a", b"content").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        let text = error.to_string();
        assert!(text.contains(status) && text.contains("The words of the server"), "{text}");
        assert!(error.connection().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_without_end_is_read_in_part() {
    let server = Scripted::start(|_, _| {
        answer("403 Forbidden", "Content-Type: text/plain\r\n", &"no ".repeat(2_000_000))
    });
    let error = World::new().folder(&server.endpoint(&[])).stat(&"/in".into()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::PermissionDenied && error.to_string().len() < 2_000, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_within_the_server_only() {
    let server = Scripted::start(|_, head| match head {
        _ if head.starts_with("PROPFIND /in ") => answer("301 Moved", "Location: /in/\r\n", ""),
        _ if head.starts_with("PROPFIND /in/") => multistatus(&directory("/in/")),
        _ => answer("302 Found", "Location: http://other.example/a?token=hunter2\r\n", ""),
    });
    let folder = World::new().folder(&server.endpoint(&[("username", "u"), ("password", "hunter3")]));
    assert_eq!(folder.stat(&"/in".into()).await.unwrap().kind, EntryKind::Directory);
    let error = folder.read(&"/in/a".into(), 0).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent), "{error}");
    assert!(
        error.to_string().contains("http://other.example/a") && !error.chain().contains("hunter"),
        "{error}"
    );
    let endless = Scripted::start(|_, _| answer("302 Found", "Location: /again\r\n", ""));
    let error = World::new().folder(&endless.endpoint(&[])).stat(&"/in".into()).await.unwrap_err();
    assert_eq!((error.kind(), endless.heads().len()), (ErrorKind::Protocol, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_from_its_offset_whatever_the_server_knows() {
    let whole = Scripted::start(|_, _| answer("200 OK", "", "0123456789"));
    assert_eq!(read(&World::new().folder(&whole.endpoint(&[])), "/in/a", 4).await.unwrap(), b"456789");
    assert!(whole.heads()[0].contains("range: bytes=4-"), "{:?}", whole.heads());
    let part =
        Scripted::start(|_, _| answer("206 Partial Content", "Content-Range: bytes 4-9/10\r\n", "456789"));
    assert_eq!(read(&World::new().folder(&part.endpoint(&[])), "/in/a", 4).await.unwrap(), b"456789");
    let wrong = Scripted::start(|_, _| {
        answer("206 Partial Content", "Content-Range: bytes 0-9/10\r\n", "0123456789")
    });
    assert!(read(&World::new().folder(&wrong.endpoint(&[])), "/in/a", 4).await.is_err());
}

/// A server that refuses each condition: the file is deleted all the same while the server shows it unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_the_server_does_not_understand_keeps_no_file() {
    for (shown, is_deleted) in [("v1", true), ("v2", false)] {
        let server = Scripted::start(move |_, head| {
            if head.starts_with("PROPFIND") {
                let etag = format!("<D:getetag>\"{shown}\"</D:getetag><D:resourcetype/>");
                return multistatus(&file("/a.edi", 7).replace("<D:resourcetype/>", &etag));
            }
            match head.contains("if-match: \"v1\"") {
                true => answer("412 Precondition Failed", "", ""),
                false => answer("204 No Content", "", ""),
            }
        });
        let folder = World::new().folder(&server.endpoint(&[]));
        assert_eq!(folder.remove_version(&"/a.edi".into(), Some("v1")).await.unwrap(), is_deleted);
        let deletes = server.heads().iter().filter(|head| head.starts_with("DELETE")).count();
        assert_eq!(deletes, 1 + usize::from(is_deleted), "{:?}", server.heads());
    }
}
