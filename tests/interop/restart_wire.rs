//! AS2 restart by hand: HEAD, and POST with a part of a message.

use crate::raw::{self, Answer, Message};
use std::io::Write;
use std::net::TcpStream;

/// The transfer id of what tests send.
pub const ETAG: &str = "\"transfer-1\"";

/// How many bytes of a message are held, as HEAD tells it.
pub fn held_of(port: u16, etag: &str, from: &str, to: &str) -> u64 {
    let mut stream = raw::connect(port);
    let head = format!(
        "HEAD /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nETag: {etag}\r\nAS2-From: {from}\r\n\
         AS2-To: {to}\r\nAS2-Version: 1.2\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let answer = raw::answer(stream).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.body.is_empty(), "{}", answer.text());
    field(&answer, "content-length").unwrap().parse().unwrap()
}

/// The same of the message that tests send.
pub fn held(port: u16) -> u64 {
    held_of(port, ETAG, "PEER", "WAYBILL")
}

/// A field of an answer's header block.
pub fn field(answer: &Answer, name: &str) -> Option<String> {
    let line = answer
        .head
        .lines()
        .find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A Content-Range to the end.
pub fn range(first: usize, total: usize) -> String {
    format!("bytes {first}-{}/{total}", total - 1)
}

/// The rest of a message from a byte on, as one POST has it.
pub fn rest(message: &Message, first: u64) -> Message {
    let (first, total) = (usize::try_from(first).unwrap(), message.body.len());
    let with_range = message.with("ETag", Some(ETAG)).with("Content-Range", Some(&range(first, total)));
    with_range.with_body(message.body[first..].to_vec())
}

/// Sends the head of a message and its bytes up to one, and no more.
pub fn begin(port: u16, message: &Message, first: u64, upto: usize) -> TcpStream {
    let part = rest(message, first);
    let mut stream = raw::connect(port);
    let head = format!("POST /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{}\r\n", part.headers);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&message.body[usize::try_from(first).unwrap()..upto]).unwrap();
    stream
}

/// A receipt that says so.
pub fn is_processed(answer: &Answer) {
    assert_eq!(answer.status, 200, "{} {}", answer.head, answer.text());
    assert!(answer.text().contains("MDN-sent-automatically; processed\r\n"), "{}", answer.text());
}

/// 416, with the bytes that are held.
pub fn is_invalid(answer: &Answer, held: u64) {
    assert_eq!(answer.status, 416, "{} {}", answer.head, answer.text());
    assert_eq!(field(answer, "content-range"), Some(format!("bytes */{held}")), "{}", answer.head);
}
