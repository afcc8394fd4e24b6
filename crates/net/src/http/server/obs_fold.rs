//! Header lines that continue on the next line (obs-fold, RFC 9112, section 5.2), as some partners' old software
//! sends them; the HTTP library refuses them in requests.
//!
//! The line break of each fold is replaced by spaces; the length does not change. Only a connection's first head is
//! changed: it begins with the first byte and ends with the first empty line, so nothing must be known about bodies,
//! and no byte of a body can be changed. A client that folds must use a new connection for its next request.

use crate::Stream;
use crate::connection::lock;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The names of the fields of a request that continued on the next line, in lower case. In the request's extensions, if there
/// were any: a protocol may not allow it for some of its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldedFields(pub Vec<String>);

/// What was folded in a connection's first head.
#[derive(Default)]
pub(super) struct Folded(Mutex<Vec<String>>);

impl Folded {
    /// The fields, once.
    pub(super) fn take(&self) -> Option<FoldedFields> {
        let fields = std::mem::take(&mut *lock(&self.0));
        (!fields.is_empty()).then_some(FoldedFields(fields))
    }
}

/// A stream whose first head is unfolded.
pub(super) struct Unfold {
    stream: Stream,
    head: Head,
    folded: Arc<Folded>,
}

enum Head {
    /// The head is being collected, up to a bound.
    Reading { bytes: Vec<u8>, bound: usize },
    /// The head is complete (or over the bound, and then unchanged); bytes are returned from here.
    Ready { bytes: Vec<u8>, from: usize },
    /// The head is over.
    Done,
}

impl Unfold {
    pub(super) fn new(stream: Stream, bound: usize) -> Self {
        Self { stream, head: Head::Reading { bytes: Vec::new(), bound }, folded: Arc::default() }
    }

    /// What was folded in the head.
    pub(super) fn folded(&self) -> Arc<Folded> {
        self.folded.clone()
    }
}

impl AsyncRead for Unfold {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.head {
                Head::Done => return Pin::new(&mut this.stream).poll_read(cx, buf),
                Head::Ready { bytes, from } => {
                    let count = buf.remaining().min(bytes.len() - *from);
                    buf.put_slice(&bytes[*from..*from + count]);
                    *from += count;
                    if *from == bytes.len() {
                        this.head = Head::Done;
                    }
                    return Poll::Ready(Ok(()));
                }
                Head::Reading { bytes, bound } => {
                    let mut piece = [0; 4096];
                    let mut piece = ReadBuf::new(&mut piece);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
                    let piece = piece.filled();
                    // The empty line may have begun in the previous piece.
                    let look_from = bytes.len().saturating_sub(2);
                    bytes.extend_from_slice(piece);
                    let end = empty_line(&bytes[look_from..]).map(|at| look_from + at);
                    if let Some(end) = end {
                        *lock(&this.folded.0) = unfold(&mut bytes[..end]);
                    }
                    if end.is_some() || piece.is_empty() || bytes.len() > *bound {
                        let bytes = std::mem::take(bytes);
                        if bytes.is_empty() {
                            this.head = Head::Done;
                            return Poll::Ready(Ok(()));
                        }
                        this.head = Head::Ready { bytes, from: 0 };
                    }
                }
            }
        }
    }
}

/// The line break before the first empty line. A bare line feed also ends a line (RFC 9112, section 2.2): the library
/// accepts it, so it must be recognised here.
fn empty_line(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|at| {
        let rest = &bytes[*at..];
        rest.starts_with(b"\n\r\n") || rest.starts_with(b"\n\n")
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Replaces the line break of each fold by spaces; the names of the folded fields. A line that begins with white space
/// directly after the request line is not a fold and stays; it will be refused.
fn unfold(head: &mut [u8]) -> Vec<String> {
    let Some(first) = find(head, b"\r\n") else { return Vec::new() };
    let mut folded = Vec::new();
    let mut at = first + 2;
    // Where the field of the line before begins.
    let mut field = at;
    while let Some(next) = find(&head[at..], b"\r\n").map(|found| at + found) {
        if matches!(head.get(next + 2), Some(b' ' | b'\t')) {
            head[next] = b' ';
            head[next + 1] = b' ';
            let name = head[field..next].split(|byte| *byte == b':').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            if folded.last() != Some(&name) {
                folded.push(name);
            }
        } else {
            field = next + 2;
        }
        at = next + 2;
    }
    folded
}

impl AsyncWrite for Unfold {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::unfold;

    #[test]
    fn folds_become_spaces_and_nothing_else_changes() {
        let mut head = b"POST / HTTP/1.1\r\nA: one\r\n\ttwo\r\n three\r\nB: x".to_vec();
        assert_eq!(unfold(&mut head), ["a"]);
        assert_eq!(head, b"POST / HTTP/1.1\r\nA: one  \ttwo   three\r\nB: x");
    }

    #[test]
    fn each_folded_field_is_named_once() {
        let mut head =
            b"POST / HTTP/1.1\r\nHost: h\r\nAS2-From:\r\n A\r\n B\r\nC: d\r\nSubject : x\r\n\ty".to_vec();
        assert_eq!(unfold(&mut head), ["as2-from", "subject"]);
    }

    #[test]
    fn a_head_without_folds_stays() {
        for head in [&b"GET / HTTP/1.1\r\nA: b\r\nC: d"[..], b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n A: b"] {
            let mut copy = head.to_vec();
            assert!(unfold(&mut copy).is_empty());
            assert_eq!(copy, head);
        }
    }
}
