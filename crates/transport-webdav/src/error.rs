//! From what a server answers to Waybill's errors: kind, retry class, the server's own words, what to do.

use crate::protocol::answer::{Answer, Slot};
use crate::protocol::multistatus::Malformed;
use http::{HeaderMap, StatusCode};
use model::{ConnectionId, Error, ErrorKind, RemotePath, Retry};
use net::http::Body;

/// Most of an answer's body that is read to keep its connection.
const READ: usize = 64 * 1024;

/// Most of the server's words that are kept.
const WORDS: usize = 500;

/// A path for people.
pub(crate) fn shown(path: &RemotePath) -> String {
    if path.is_empty() { "/".to_owned() } else { path.to_text() }
}

/// The error of an answer with this status; reads the server's words from its body.
pub(crate) async fn refused(operation: &'static str, host: &str, path: &RemotePath, answer: Answer) -> Error {
    let Answer { status, headers, body, connection, slot } = answer;
    let body = beginning(body).await;
    drop(slot);
    let words = words(status, &headers, &body);
    error(operation, host, path, status, connection).said(words)
}

/// The error of a status alone.
fn error(
    operation: &'static str,
    host: &str,
    path: &RemotePath,
    status: StatusCode,
    connection: Option<ConnectionId>,
) -> Error {
    let (kind, retry, advice) = class(status);
    let error = Error::new(kind, retry, operation)
        .with("host", host)
        .with("path", shown(path))
        .with("status", status.as_u16())
        .on_connection(connection);
    if advice.is_empty() { error } else { error.advice(advice) }
}

/// What a status means (RFC 9110, 15; RFC 4918, 11).
fn class(status: StatusCode) -> (ErrorKind, Retry, &'static str) {
    use ErrorKind::{
        AlreadyExists, NotFound, PermissionDenied, Protocol, Rejected, StorageFull, Throttled, Timeout,
        Unauthenticated, Unsupported,
    };
    use Retry::{Permanent, Transient};
    match status.as_u16() {
        401 => (
            Unauthenticated,
            Permanent,
            "check authentication, user name, password or token of the endpoint; it is tried again only after a while, \
             because many servers lock accounts after failed logins",
        ),
        403 => (PermissionDenied, Permanent, "ask the server's operator for permission on this path"),
        404 | 410 => (NotFound, Permanent, ""),
        405 | 501 => (
            Unsupported,
            Permanent,
            "the server does not offer this here: check that the url names a WebDAV directory, and that this user may \
             change it",
        ),
        407 => (Unauthenticated, Permanent, "the proxy asks for a login: check the endpoint's proxy"),
        408 => (Timeout, Transient, ""),
        // RFC 4918, 9.3.1, 9.7.1, 9.9.4: a directory above is missing.
        409 => (NotFound, Permanent, "a directory of the path is missing"),
        411 => (Unsupported, Permanent, "the server takes files of known length only"),
        412 => (AlreadyExists, Permanent, "a file of that name exists already"),
        413 => (
            Rejected,
            Permanent,
            "the file is larger than the server takes: ask its operator to raise the limit",
        ),
        414 => (Rejected, Permanent, "the path is longer than the server takes"),
        423 => (
            Rejected,
            Transient,
            "another user has locked the file or its directory; the next attempt asks again",
        ),
        424 => (Rejected, Transient, ""),
        425 | 429 | 503 => (Throttled, Transient, ""),
        507 => (
            StorageFull,
            Transient,
            "the disk or quota at the server is full: make room there, and the next attempt goes through",
        ),
        400..=499 => (Rejected, Permanent, ""),
        500..=599 => (Rejected, Transient, ""),
        _ => (Protocol, Permanent, "this is no answer of a WebDAV server: check the url"),
    }
}

/// The error of a redirect that is not followed.
pub(crate) fn redirected(
    operation: &'static str,
    host: &str,
    path: &RemotePath,
    answer: &Answer,
    location: Option<String>,
) -> Error {
    // A query may hold a token.
    let location = location.unwrap_or_default();
    let location = location.split('?').next().unwrap_or_default().to_owned();
    Error::permanent(ErrorKind::Protocol, operation)
        .with("host", host)
        .with("path", shown(path))
        .with("status", answer.status.as_u16())
        .with("redirected to", location)
        .on_connection(answer.connection)
        .advice(
            "Waybill follows redirects within the same server only, and none of a file that it sends: write the new \
             address into the endpoint's url",
        )
}

/// The error of an answer that is no multistatus, or ended early.
pub(crate) fn malformed(
    operation: &'static str,
    host: &str,
    path: &RemotePath,
    connection: Option<ConnectionId>,
    malformed: Malformed,
) -> Error {
    let placed = |error: Error| error.with("host", host).with("path", shown(path)).on_connection(connection);
    match malformed {
        Malformed::Io(cause) => match cause.downcast::<Error>() {
            Ok(error) => placed(error),
            Err(cause) => placed(Error::transient(ErrorKind::Protocol, operation)).caused_by(cause),
        },
        Malformed::Xml(why) => {
            placed(Error::permanent(ErrorKind::Protocol, operation)).with("reason", why).advice(
                "the answer is no WebDAV listing: check that the url names a WebDAV directory of this server",
            )
        }
    }
}

/// Reads the rest of an answer that is not needed, so that its connection can be used again.
pub(crate) async fn discard(answer: Answer) -> Slot {
    drop(beginning(answer.body).await);
    answer.slot
}

/// The beginning of a body; what comes after it is not read.
async fn beginning(mut body: Body) -> Vec<u8> {
    let mut read = Vec::new();
    let mut total = 0;
    // A body that cannot be read adds nothing to what the status says.
    while let Ok(Some(bytes)) = body.next().await {
        total += bytes.len();
        let room = (8 * WORDS).saturating_sub(read.len());
        read.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if total > READ {
            break;
        }
    }
    read
}

/// The server's own words: the reason that goes with the status, SharePoint's header, and the text of the body without
/// its tags.
fn words(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let mut words = status.to_string();
    if let Some(reason) = headers.get("x-msdavext_error").and_then(|value| value.to_str().ok()) {
        words.push_str(": ");
        words.push_str(reason);
    }
    let text = String::from_utf8_lossy(body);
    // The title of a page says again what the status said.
    let text = text.split_once("</title>").map_or(&*text, |(_, after)| after);
    let is_text = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.contains("text/") || kind.contains("xml") || kind.contains("json"));
    if is_text {
        let mut is_tag = false;
        let mut plain = String::new();
        for character in text.chars() {
            match character {
                '<' => is_tag = true,
                '>' if is_tag => {
                    is_tag = false;
                    plain.push(' ');
                }
                _ if !is_tag => plain.push(character),
                _ => {}
            }
        }
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        if !plain.is_empty() {
            words.push_str(": ");
            words.extend(plain.chars().take(WORDS));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_kind_and_class() {
        for (status, kind, retry) in [
            (401, ErrorKind::Unauthenticated, Retry::Permanent),
            (403, ErrorKind::PermissionDenied, Retry::Permanent),
            (404, ErrorKind::NotFound, Retry::Permanent),
            (405, ErrorKind::Unsupported, Retry::Permanent),
            (409, ErrorKind::NotFound, Retry::Permanent),
            (411, ErrorKind::Unsupported, Retry::Permanent),
            (412, ErrorKind::AlreadyExists, Retry::Permanent),
            (413, ErrorKind::Rejected, Retry::Permanent),
            (415, ErrorKind::Rejected, Retry::Permanent),
            (423, ErrorKind::Rejected, Retry::Transient),
            (429, ErrorKind::Throttled, Retry::Transient),
            (500, ErrorKind::Rejected, Retry::Transient),
            (502, ErrorKind::Rejected, Retry::Transient),
            (503, ErrorKind::Throttled, Retry::Transient),
            (507, ErrorKind::StorageFull, Retry::Transient),
            (200, ErrorKind::Protocol, Retry::Permanent),
        ] {
            let told = class(StatusCode::from_u16(status).unwrap());
            assert_eq!((told.0, told.1), (kind, retry), "{status}");
        }
    }

    #[test]
    fn the_words_are_the_server_s_without_tags_and_of_bounded_length() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/html".parse().unwrap());
        headers.insert("x-msdavext_error", "589838; checked out".parse().unwrap());
        let body = b"<html><h1>Locked</h1>\n <p>by  anna</p></html>";
        let told = words(StatusCode::LOCKED, &headers, body);
        assert_eq!(told, "423 Locked: 589838; checked out: Locked by anna");
        let long = words(StatusCode::FORBIDDEN, &headers, &vec![b'x'; 4000]);
        assert!(long.len() < 600, "{}", long.len());
    }
}
