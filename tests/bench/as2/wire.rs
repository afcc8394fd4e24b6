//! HTTP by hand, for counterparts of a gateway that do nothing else.

#![allow(clippy::disallowed_methods, reason = "counterparts of a gateway open sockets of their own")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Longest wait for a step of an exchange.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes read at once.
const CHUNK: usize = 1024 * 1024;

/// A message that was made before.
pub(super) struct Replay {
    /// The header fields but the Message-ID.
    fields: String,
    body: File,
    /// Where the body begins in the file.
    offset: u64,
}

impl Replay {
    /// One that `as2 pack` wrote.
    pub(super) fn open(message: &Path) -> Self {
        let mut reader = BufReader::new(File::open(message).unwrap());
        let (mut fields, mut offset) = (String::new(), 0);
        loop {
            let mut line = String::new();
            offset += reader.read_line(&mut line).unwrap() as u64;
            match line.trim_end() {
                "" => break,
                field if field.starts_with("Message-ID:") => {}
                _ => fields.push_str(&line),
            }
        }
        Self { fields, body: reader.into_inner(), offset }
    }

    /// The head of a request with the message, under another Message-ID.
    pub(super) fn head(&self, message_id: &str) -> String {
        format!("POST /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\n{}Message-ID: {message_id}\r\n\r\n", self.fields)
    }

    /// Sends the message; the system copies the file's bytes, not we.
    pub(super) fn send(&mut self, to: &mut TcpStream, message_id: &str) -> io::Result<()> {
        to.write_all(self.head(message_id).as_bytes())?;
        self.body.seek(SeekFrom::Start(self.offset))?;
        io::copy(&mut self.body, to).map(drop)
    }

    /// The whole body, of a small message.
    pub(super) fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.seek(SeekFrom::Start(self.offset)).unwrap();
        self.body.read_to_end(&mut body).unwrap();
        body
    }
}

pub(super) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads an answer without a receipt, which comes later.
pub(super) fn accepted(from: &mut impl BufRead) {
    let head = Head::read(from, || {});
    assert!(head.first.contains(" 200 ") && head.length == 0, "{}", head.first);
}

/// Reads an answer, and makes sure that it is a receipt for a processed message.
pub(super) fn receipt(from: &mut impl BufRead) {
    let head = Head::read(from, || {});
    let mut body = vec![0; usize::try_from(head.length).unwrap()];
    from.read_exact(&mut body).unwrap();
    let body = String::from_utf8_lossy(&body);
    let processed =
        body.lines().any(|line| line.starts_with("Disposition:") && line.ends_with("; processed"));
    assert!(head.first.contains(" 200 ") && processed, "{}\n{body}", head.first);
}

/// A server that takes receipts that are sent later, and counts them.
pub(super) struct Receipts {
    pub(super) port: u16,
    taken: Arc<AtomicU64>,
}

impl Receipts {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, counted) = (stream.unwrap(), Arc::clone(&counted));
                std::thread::spawn(move || take(stream, &counted));
            }
        });
        Self { port, taken }
    }

    /// Waits until there are so many.
    pub(super) fn wait(&self, count: u64) {
        let begun = std::time::Instant::now();
        while self.taken.load(Ordering::Relaxed) < count {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {count} receipts came",
                self.taken.load(Ordering::Relaxed)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Takes what comes over one connection.
fn take(stream: TcpStream, counted: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    // Until the gateway closes it.
    while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
        let head = Head::read(&mut stream, || {});
        let mut body = vec![0; usize::try_from(head.length).unwrap()];
        stream.read_exact(&mut body).unwrap();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("; processed"), "{}\n{body}", head.first);
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that reads one message, forgets it, and says that all is well.
pub(super) struct Sink {
    pub(super) port: u16,
    told: Receiver<()>,
}

impl Sink {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = sync_channel(2);
        std::thread::spawn(move || serve(&listener, &tell));
        Self { port, told }
    }

    /// Waits for the message's first line, or when it has begun, for its last byte. False: neither came.
    pub(super) fn wait(&self) -> bool {
        self.told.recv_timeout(PATIENCE).is_ok()
    }
}

fn serve(listener: &TcpListener, tell: &SyncSender<()>) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(&stream);
    let head = Head::read(&mut reader, || tell.send(()).unwrap());
    let (mut left, mut chunk) = (head.length, vec![0; CHUNK]);
    while left > 0 {
        let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        match reader.read(&mut chunk[..most]).unwrap() {
            0 => panic!("the message ended {left} bytes early"),
            count => left -= count as u64,
        }
    }
    tell.send(()).unwrap();
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    // Open until the gateway is gone.
    drop(reader.read_to_end(&mut Vec::new()));
}

/// A server that reads a message as far as the first byte of its body, and takes the time.
pub(super) struct FirstByte {
    pub(super) port: u16,
    told: Receiver<f64>,
}

impl FirstByte {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            Head::read(&mut reader, || {});
            assert!(!reader.fill_buf().unwrap().is_empty(), "the connection ended behind the head");
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            tell.send(now.as_secs_f64()).unwrap();
            // No more is read, and the connection stays open, until the gateway is gone.
            std::thread::sleep(PATIENCE);
        });
        Self { port, told }
    }

    /// When the first byte came, in seconds since 1970; `None`: it did not.
    pub(super) fn wait(&self) -> Option<f64> {
        self.told.recv_timeout(PATIENCE).ok()
    }
}

/// What is needed of a head.
struct Head {
    first: String,
    length: u64,
}

impl Head {
    /// Calls `begun` after the first line.
    fn read(from: &mut impl BufRead, begun: impl FnOnce()) -> Self {
        let mut first = String::new();
        from.read_line(&mut first).unwrap();
        begun();
        let mut length = None;
        loop {
            let mut line = String::new();
            assert!(from.read_line(&mut line).unwrap() > 0, "the head was cut after {first:?}");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u64>().unwrap());
            }
        }
        Self { first, length: length.expect("a length") }
    }
}
