//! A gateway's console, asked by HTTP.

use crate::pair::PATIENCE;
use crate::{Gateway, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;

impl Gateway {
    /// One request to the console, its head without the last line break: status and the whole answer.
    pub fn ask(&self, head: &str, form: &[(&str, &str)]) -> (u16, String) {
        let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let body = body.join("&");
        let port = self.console;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "{head}\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split_whitespace().nth(1).unwrap().parse().unwrap(), answer)
    }

    /// The one-time link's token, as the log tells it.
    pub fn setup_token(&self) -> String {
        eventually("the link is in the log", PATIENCE, || {
            let log = self.log();
            let (_, rest) = log.split_once("/setup/")?;
            Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
        })
    }

    /// Makes the first administrator: the cookie of the session that begins with it.
    pub fn first_login(&self) -> String {
        let password = "the administrator's own";
        let form = [("user", "ada"), ("password", password), ("again", password)];
        let (status, answer) = self.ask(&format!("POST /setup/{} HTTP/1.1", self.setup_token()), &form);
        assert_eq!(status, 303, "{answer}");
        cookie(&answer).to_owned()
    }

    /// A page of the console, in a session.
    pub fn page(&self, path: &str, session: &str) -> String {
        let (status, answer) = self.ask(&format!("GET {path} HTTP/1.1\r\nCookie: {session}"), &[]);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

/// The cookie that an answer sets, as `name=value`.
pub fn cookie(answer: &str) -> &str {
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie:")).unwrap();
    line.split_once(':').unwrap().1.split(';').next().unwrap().trim()
}
