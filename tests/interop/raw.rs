//! HTTP by hand: what goes over the wire is exactly what a test says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    /// The header block as it came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text: an MDN's parts can be searched in it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let body = bytes.split_off(at + 4);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        Some(Self { status: head.split_whitespace().nth(1)?.parse().ok()?, head, body })
    }
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads until the other side closes; `None` when it said nothing that is HTTP.
pub fn answer(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as an end.
    drop(stream.read_to_end(&mut bytes));
    Answer::read(bytes)
}

/// Posts a message, its header block given as lines, and reads the answer.
pub fn post(port: u16, headers: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = connect(port);
    let head = format!("POST /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
    // A server that refuses early, a head too large say, may close before it has read all.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
    answer(stream)
}

/// The status that a plain GET gets.
pub fn get(port: u16, path: &str) -> Option<Answer> {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    answer(stream)
}

/// A message as `as2 pack` writes it: header block and body.
#[derive(Clone)]
pub struct Message {
    pub headers: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn read(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        Self { headers: String::from_utf8(bytes[..at + 2].to_vec()).unwrap(), body: bytes[at + 4..].to_vec() }
    }

    /// One field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        let is = |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        self.headers.lines().find(is).map(|line| line.split_once(':').unwrap().1.trim())
    }

    /// With a field replaced, or left out.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut headers: String = self
            .headers
            .lines()
            .filter(|line| !line.split(':').next().unwrap().eq_ignore_ascii_case(name))
            .map(|line| format!("{line}\r\n"))
            .collect();
        if let Some(value) = value {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        Self { headers, body: self.body.clone() }
    }

    /// With another body and its length.
    #[must_use]
    pub fn with_body(&self, body: Vec<u8>) -> Self {
        let length = body.len().to_string();
        Self { body, ..self.with("Content-Length", Some(&length)) }
    }

    pub fn post(&self, port: u16) -> Option<Answer> {
        post(port, &self.headers, &self.body)
    }

    /// Header block, empty line, body.
    pub fn bytes(&self) -> Vec<u8> {
        [self.headers.as_bytes(), b"\r\n", &self.body].concat()
    }
}
