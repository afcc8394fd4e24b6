//! Replies of a server (RFC 959, 4.2), read with bounds.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest reply, over all its lines. A banner has a few lines; FEAT has some dozens.
pub(crate) const LIMIT: usize = 64 * 1024;

/// A reply of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    /// Three digits.
    pub(crate) code: u16,
    /// Its lines without code and line ends; at least one.
    pub(crate) lines: Vec<Vec<u8>>,
}

/// Why a reply could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The connection ended, or broke.
    Lost(std::io::Error),
    /// What came is no reply.
    Malformed(&'static str, Vec<u8>),
}

impl Reply {
    /// 1xx: a data connection is being used.
    pub(crate) fn is_preliminary(&self) -> bool {
        self.code / 100 == 1
    }

    /// 2xx: done.
    pub(crate) fn is_done(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: another command is expected.
    pub(crate) fn wants_more(&self) -> bool {
        self.code / 100 == 3
    }

    /// The reply as the server said it, for people.
    pub(crate) fn said(&self) -> Vec<u8> {
        let mut said = self.code.to_string().into_bytes();
        for line in &self.lines {
            said.push(b' ');
            said.extend_from_slice(line.trim_ascii());
        }
        said
    }

    /// Whether the words contain one of these, in any case.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        let text = self.said().to_ascii_lowercase();
        words.iter().any(|word| text.windows(word.len()).any(|part| part == word.as_bytes()))
    }

    /// The same without a secret, which some servers repeat with the command that they do not take.
    pub(crate) fn without(mut self, secret: &[u8]) -> Self {
        for line in &mut self.lines {
            hide(line, secret);
        }
        self
    }

    /// The first line.
    pub(crate) fn text(&self) -> &[u8] {
        self.lines.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The lines between the first and the last one.
    pub(crate) fn inner(&self) -> &[Vec<u8>] {
        match &self.lines[..] {
            [_, inner @ .., _] => inner,
            _ => &[],
        }
    }
}

/// Puts `…` wherever a secret stands.
pub(crate) fn hide(text: &mut Vec<u8>, secret: &[u8]) {
    let mut from = 0;
    while !secret.is_empty()
        && let Some(at) = text[from..].windows(secret.len()).position(|part| part == secret)
    {
        let at = from + at;
        text.splice(at..at + secret.len(), "…".bytes());
        from = at + "…".len();
    }
}

/// Reads replies. What was read of one is kept where the wait for the rest of it is given up.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    line: Vec<u8>,
    code: u16,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

impl Replies {
    /// Reads one reply, of at most [`LIMIT`] bytes. The caller limits the time.
    ///
    /// # Errors
    /// The connection ended, the reply is too long, or what came has no code.
    pub(crate) async fn next(&mut self, stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, Unread> {
        loop {
            self.line(stream).await?;
            let line = std::mem::take(&mut self.line);
            let is_last = match coded(&line) {
                None if self.lines.is_empty() => {
                    return Err(Unread::Malformed("a line of the server has no reply code", line));
                }
                Some((code, more, text)) if self.lines.is_empty() => {
                    self.code = code;
                    self.lines.push(text.to_vec());
                    !more
                }
                // Some servers put the code before every line.
                Some((code, more, text)) if code == self.code => {
                    self.lines.push(text.to_vec());
                    !more
                }
                _ => {
                    self.lines.push(line);
                    false
                }
            };
            if is_last {
                self.bytes = 0;
                return Ok(Reply { code: self.code, lines: std::mem::take(&mut self.lines) });
            }
        }
    }

    /// Reads a line, without its end.
    async fn line(&mut self, stream: &mut (impl AsyncBufRead + Unpin)) -> Result<(), Unread> {
        loop {
            let available = stream.fill_buf().await.map_err(Unread::Lost)?;
            if available.is_empty() {
                let is_between = self.line.is_empty() && self.lines.is_empty();
                let words =
                    if is_between { "closed by the server" } else { "closed by the server in a reply" };
                return Err(Unread::Lost(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, words)));
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(available.len(), |end| end + 1);
            if count > LIMIT - self.bytes {
                let mut line = std::mem::take(&mut self.line);
                line.truncate(200);
                return Err(Unread::Malformed("a reply of the server is longer than 64 KiB", line));
            }
            self.bytes += count;
            self.line.extend_from_slice(&available[..count]);
            stream.consume(count);
            if end.is_some() {
                self.line.pop();
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                return Ok(());
            }
        }
    }
}

/// The code of a line, whether further lines follow, and the text.
fn coded(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'1'..=b'6').contains(&digits[0]) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Some((code, false, rest)),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(text: &[u8]) -> Result<Reply, Unread> {
        Replies::default().next(&mut tokio::io::BufReader::with_capacity(7, text)).await
    }

    #[tokio::test]
    async fn a_reply_is_read_on_where_its_wait_was_given_up() {
        let (mut server, client) = tokio::io::duplex(64);
        let (mut stream, mut replies) = (tokio::io::BufReader::new(client), Replies::default());
        for part in ["150-wait\r\n and", " wait\r\n150 now\r\n226 do"] {
            tokio::io::AsyncWriteExt::write_all(&mut server, part.as_bytes()).await.unwrap();
            let reading = replies.next(&mut stream);
            if let Ok(reply) = tokio::time::timeout(std::time::Duration::from_millis(20), reading).await {
                let lines = [b"wait".to_vec(), b" and wait".to_vec(), b"now".to_vec()];
                assert_eq!(reply.unwrap(), Reply { code: 150, lines: lines.into() });
            }
        }
        tokio::io::AsyncWriteExt::write_all(&mut server, b"ne\r\n").await.unwrap();
        assert_eq!(replies.next(&mut stream).await.unwrap().text(), b"done");
    }

    #[tokio::test]
    async fn replies_of_one_and_of_many_lines_are_read() {
        let reply = of(b"220 ready\r\n").await.unwrap();
        assert_eq!((reply.code, reply.text()), (220, &b"ready"[..]));
        let reply =
            of(b"211-Features:\r\n MDTM\r\n211-REST STREAM\r\n200 is no end\r\n211 End\r\n").await.unwrap();
        assert_eq!(reply.inner(), [b" MDTM".to_vec(), b"REST STREAM".to_vec(), b"200 is no end".to_vec()]);
        assert_eq!(of(b"226\n").await.unwrap(), Reply { code: 226, lines: vec![Vec::new()] });
    }

    #[tokio::test]
    async fn replies_without_end_are_given_up() {
        let banner = b"220-welcome\r\n".repeat(1_000_000);
        assert!(matches!(of(&banner).await, Err(Unread::Malformed(words, _)) if words.contains("64 KiB")));
        let line = vec![b'x'; LIMIT + 1];
        assert!(matches!(of(&line).await, Err(Unread::Malformed(..))));
    }

    #[tokio::test]
    async fn what_is_no_reply_is_told() {
        assert!(
            matches!(of(b"SSH-2.0-OpenSSH\r\n").await, Err(Unread::Malformed(_, line)) if line.starts_with(b"SSH"))
        );
        assert!(matches!(of(b"").await, Err(Unread::Lost(_))));
        assert!(matches!(of(b"220-wel").await, Err(Unread::Lost(_))));
    }
}
