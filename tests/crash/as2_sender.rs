//! A partner who sends by AS2, made of `waybill as2 pack` and a socket: a message is sent again, the
//! same bytes, until there is a positive answer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::run;

/// A packed message.
pub struct Letter {
    /// The file's name.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    head: String,
    body: Vec<u8>,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing listens at the address.
    Refused,
    /// The connection was made and nothing usable came in time.
    None(String),
    /// An answer that promises nothing.
    Negative(String),
    /// An MDN that says: processed.
    Positive,
}

impl Letter {
    /// Packs a file of `content` from Acme to Globex; `keys` holds both key pairs.
    pub fn pack(root: &Path, keys: &Path, name: &str, content: Vec<u8>) -> Self {
        let directory = root.join("letters");
        fs::create_dir_all(&directory).unwrap();
        let (file, message) = (directory.join(name), directory.join(format!("{name}.msg")));
        fs::write(&file, &content).unwrap();
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (status, _, error) = run(&[
            "as2",
            "pack",
            "--from",
            "acme",
            "--to",
            "globex",
            "--sign-key",
            &path(keys.join("acme.key.pem")),
            "--sign-cert",
            &path(keys.join("acme.cert.pem")),
            "--encrypt-cert",
            &path(keys.join("globex.cert.pem")),
            "--out",
            &path(message.clone()),
            &path(file),
        ]);
        assert!(status.success(), "{error}");
        let bytes = fs::read(message).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Self { name: name.to_owned(), content, head, body: bytes[end + 4..].to_vec() }
    }

    /// Posts it on a connection of its own.
    pub fn post(&self, port: u16, patience: Duration) -> Answer {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return Answer::Refused };
        match self.exchange(stream, patience) {
            Err(error) => Answer::None(error.to_string()),
            Ok(answer) if answer.is_empty() => Answer::None("closed".into()),
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer).to_lowercase();
                let processed = text
                    .lines()
                    .any(|line| line.starts_with("disposition:") && line.trim_end().ends_with("processed"));
                if text.starts_with("http/1.1 200") && processed {
                    Answer::Positive
                } else {
                    Answer::Negative(text.lines().take(3).collect::<Vec<_>>().join(" / "))
                }
            }
        }
    }

    fn exchange(&self, mut stream: TcpStream, patience: Duration) -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let own: Vec<&str> = self
            .head
            .split("\r\n")
            .filter(|line| {
                let name = line.split(':').next().unwrap_or_default().to_lowercase();
                !["host", "content-length", "connection"].contains(&name.as_str())
                    && !line.starts_with("POST ")
            })
            .collect();
        let length = self.body.len();
        let more = format!("Host: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n");
        write!(stream, "POST /as2 HTTP/1.1\r\n{more}{}\r\n\r\n", own.join("\r\n"))?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
