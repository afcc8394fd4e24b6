use super::*;

async fn read(text: &str) -> Result<Vec<Response>, Malformed> {
    let mut source = Multistatus::new(text.as_bytes());
    let mut all = Vec::new();
    while let Some(response) = source.next().await? {
        all.push(response);
    }
    Ok(all)
}

async fn why(text: &str) -> String {
    match read(text).await {
        Err(Malformed::Xml(why)) => why,
        Err(Malformed::Io(error)) => error.to_string(),
        Ok(read) => panic!("read {read:?}"),
    }
}

/// As Apache writes it: namespaces of its own, and the properties that are not there under a status of their own.
const APACHE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/in/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Thu, 26 Nov 2026 10:00:01 GMT</lp1:getlastmodified><lp1:getetag>"1000-5"</lp1:getetag></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response>
<D:response xmlns:lp1="DAV:"><D:href>/in/a&amp;b%20&#99;.edi</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>7</lp1:getcontentlength>
<lp1:getlastmodified>Thu, 26 Nov 2026 10:00:02 GMT</lp1:getlastmodified><lp1:getetag>W/"7-6"</lp1:getetag></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>
"#;

#[tokio::test]
async fn an_answer_of_apache_is_read() {
    let read = read(APACHE).await.unwrap();
    assert_eq!(read.len(), 2);
    assert!(read[0].is_directory && read[0].size.is_none());
    assert_eq!(read[0].href, "/in/");
    let file = &read[1];
    assert_eq!((file.href.as_str(), file.is_directory, file.size), ("/in/a&b%20c.edi", false, Some(7)));
    assert_eq!(file.etag.as_deref(), Some("7-6"), "weak and strong are one");
    assert_eq!(file.modified.unwrap().to_rfc3339(), "2026-11-26T10:00:02+00:00");
}

#[tokio::test]
async fn a_long_etag_is_kept_as_its_digest_and_a_very_long_one_is_no_condition() {
    for (length, is_condition) in [(1_000, true), (5_000, false)] {
        let tag = format!("\"{}\"", "e".repeat(length));
        let response = |tag: &str| {
            format!(
                "<D:response><D:href>/a</D:href><D:propstat><D:prop><D:getetag>{tag}</D:getetag></D:prop></D:propstat></D:response>"
            )
        };
        let other = tag.replacen('e', "f", 1);
        let text = format!(
            "<D:multistatus xmlns:D='DAV:'>{}{}{}</D:multistatus>",
            response(&tag),
            response(&tag),
            response(&other)
        );
        let read = read(&text).await.unwrap();
        let version = read[0].etag.as_deref().unwrap();
        assert_eq!(version.len(), "sha256:".len() + 64, "{version}");
        assert_eq!(read[1].etag.as_deref(), Some(version));
        assert_ne!(read[2].etag.as_deref(), Some(version));
        assert_eq!(read[0].strong.is_some(), is_condition);
    }
}

#[tokio::test]
async fn only_elements_of_dav_count_and_what_is_unknown_is_passed_over() {
    let text = "<multistatus xmlns='DAV:' xmlns:x='urn:x'><response><x:href>/no</x:href><href><![CDATA[/in/a]]></href>\
        <x:more><x:deep>text</x:deep></x:more><propstat><prop><x:getcontentlength>9</x:getcontentlength>\
        <getcontentlength>1</getcontentlength><displayname>&lt;b&gt;</displayname></prop></propstat></response>\
        <response><href>/in/gone</href><status>HTTP/1.1 404 Not Found</status></response></multistatus>";
    let read = read(text).await.unwrap();
    assert_eq!((read[0].href.as_str(), read[0].size), ("/in/a", Some(1)));
    assert_eq!(read[1].status, Some(404));
}

#[tokio::test]
async fn what_is_no_multistatus_says_why() {
    assert!(why("<html><body>Log in</body></html>").await.contains("'html'"));
    assert!(why("<multistatus xmlns='urn:other'/>").await.contains("not multistatus"));
    assert!(why("<D:multistatus xmlns:D='DAV:'><D:response>").await.contains("middle"));
    assert!(why("<D:multistatus xmlns:D='DAV:'></D:other>").await.contains("expected"));
}

#[tokio::test]
async fn entities_are_refused_unread() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>\
        <D:multistatus xmlns:D='DAV:'><D:response><D:href>&b;</D:href></D:response></D:multistatus>";
    assert!(why(bomb).await.contains("document type"));
    let named =
        "<D:multistatus xmlns:D='DAV:'><D:response><D:href>&file;</D:href></D:response></D:multistatus>";
    assert!(why(named).await.contains("'file'"));
}

#[tokio::test]
async fn depth_and_lengths_have_limits() {
    let deep = format!("<D:multistatus xmlns:D='DAV:'>{}", "<D:response>".repeat(40));
    assert!(why(&deep).await.contains("levels"));
    let long = format!("<D:multistatus xmlns:D='DAV:'><D:response><D:href>{}", "a".repeat(70_000));
    assert!(why(&long).await.contains("bytes"));
    let tag = format!("<D:multistatus xmlns:D='DAV:' x='{}", "a".repeat(70_000));
    assert!(why(&tag).await.contains("bytes"));
    let wide = format!("<D:multistatus xmlns:D='DAV:'><D:response>{}", "<x>text</x>".repeat(30_000));
    assert!(why(&wide).await.contains("one file"));
}

/// A reader that makes its text as it is asked for it: no end of it is ever in memory.
struct Endless(usize);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let text = match self.0 {
            0 => "<D:multistatus xmlns:D='DAV:'>".to_owned(),
            100_001 => "</D:multistatus>".to_owned(),
            n if n > 100_001 => return Poll::Ready(Ok(())),
            n => format!("<D:response><D:href>/in/file-{n:06}</D:href></D:response>"),
        };
        self.0 += 1;
        into.put_slice(text.as_bytes());
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_read_one_by_one() {
    let mut source = Multistatus::new(tokio::io::BufReader::new(Endless(0)));
    let mut count = 0;
    while let Some(response) = source.next().await.unwrap() {
        count += 1;
        assert_eq!(response.href, format!("/in/file-{count:06}"));
        assert!(source.buffer.capacity() < 4096, "{}", source.buffer.capacity());
    }
    assert_eq!(count, 100_000);
}
