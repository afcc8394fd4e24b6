//! Locks of files that are written: what an attempt that was killed left locked, and files that take long. Apache.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use model::{NameTemplate, PayloadRecord, Result, Sha256};
use serde_json::{Map, Value};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use support::{DavServer, Silence, SilentProxy, World, list, read, write};
use testkit::clock::FixedClock;
use testkit::fake::BytesPayload;
use testkit::through::Attempt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Runtime;
use transport::folder::LOCKED;
use transport::{Payload, PayloadReader};

/// A payload whose reader stops for good after its first bytes.
struct Stopping(Arc<dyn Payload>);

struct Stopped(Option<&'static [u8]>);

impl AsyncRead for Stopped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.take() {
            Some(bytes) => {
                into.put_slice(bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

#[async_trait]
impl Payload for Stopping {
    fn record(&self) -> &PayloadRecord {
        self.0.record()
    }
    fn sha256(&self) -> Option<Sha256> {
        self.0.sha256()
    }
    fn metadata(&self) -> &Map<String, Value> {
        self.0.metadata()
    }
    fn reader_buffers(&self) -> usize {
        self.0.reader_buffers()
    }
    async fn open(&self, _: Range<u64>) -> Result<PayloadReader> {
        Ok(Box::new(Stopped(Some(b"con"))))
    }
    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn io::Read + Send>> {
        self.0.open_blocking(range)
    }
}

fn attempt(first: &Attempt, number: u32, temporary_name: bool) -> Attempt {
    let mut attempt = Attempt { number, log: Arc::clone(&first.log), ..Attempt::into("/") };
    attempt.options.temporary_name = temporary_name;
    attempt
}

/// The runtime of the first attempt ends as a killed process does: nothing of it runs any more.
#[test]
fn what_a_killed_attempt_left_locked_is_given_back_by_the_next() {
    for temporary_name in [true, false] {
        let server = DavServer::apache(&[]);
        let endpoint = server.endpoint("", &[("lock", "true"), ("connections", "2")]);
        let first = Attempt::into("/");
        let killed = Runtime::new().unwrap();
        killed.block_on(async {
            let world = World::new();
            let folder = world.folder(&endpoint);
            let attempt = attempt(&first, 1, temporary_name);
            let payload = Arc::new(Stopping(BytesPayload::shared("a.edi", &b"content"[..])));
            let sending = tokio::spawn(async move {
                attempt.send(&folder, "a.edi", payload, &world.services).await.unwrap_err().chain()
            });
            while !first.log.notes().contains_key(LOCKED) {
                if sending.is_finished() {
                    panic!("it ended without a lock: {:?}", sending.await);
                }
                tokio::task::yield_now().await;
            }
        });
        killed.shutdown_background();
        let next = Runtime::new().unwrap();
        next.block_on(async {
            let world = World::new();
            let folder = world.folder(&endpoint);
            let second = attempt(&first, 2, temporary_name);
            second.deliver(&folder, "a.edi", b"content", &world.services).await.unwrap();
            assert_eq!(read(&folder, "/a.edi", 0).await.unwrap(), b"content");
            let names: Vec<_> =
                list(&folder, "/").await.unwrap().into_iter().map(|entry| entry.path.to_text()).collect();
            assert_eq!(names, ["a.edi"], "{:#?}", server.requests());
            // Nothing is locked any more: another client may write it.
            write(&world.folder(&server.endpoint("", &[])), "/a.edi", b"by hand").await.unwrap();
            let requests = server.requests();
            let given_back = requests.iter().filter(|line| line.contains(" 204 UNLOCK ")).count();
            assert_eq!(given_back, 2, "{requests:#?}");
        });
    }
}

/// The process ends between the LOCK and the UNLOCK of a file's marker, which has its own name from the beginning.
#[test]
fn the_lock_of_a_marker_is_given_back_by_the_next_attempt() {
    let server = DavServer::apache(&[]);
    let proxy = SilentProxy::before(&server, Silence { method: "UNLOCK", after: 1, is_done: false });
    let set = [("lock", "true"), ("connections", "2"), ("timeout", "1h")];
    let marked = |first: &Attempt, number| {
        let mut attempt = attempt(first, number, false);
        attempt.options.marker = Some(NameTemplate::parse("{name}.done").unwrap());
        attempt
    };
    let first = Attempt::into("/");
    let killed = Runtime::new().unwrap();
    killed.block_on(async {
        let world = World::new();
        let folder = world.folder(&proxy.endpoint(&server, &set));
        let attempt = marked(&first, 1);
        tokio::spawn(async move {
            let _ = attempt.deliver(&folder, "a.edi", b"content", &world.services).await;
        });
        while !proxy.is_used() {
            tokio::task::yield_now().await;
        }
    });
    killed.shutdown_background();
    let next = Runtime::new().unwrap();
    next.block_on(async {
        let world = World::new();
        let folder = world.folder(&server.endpoint("", &set));
        let second = marked(&first, 2);
        second.deliver(&folder, "a.edi", b"content", &world.services).await.unwrap();
        let entries = list(&folder, "/").await.unwrap().into_iter();
        let mut names: Vec<_> = entries.map(|entry| entry.path.to_text()).collect();
        names.sort();
        assert_eq!(names, ["a.edi", "a.edi.done"], "{:#?}", server.requests());
        write(&world.folder(&server.endpoint("", &[])), "/a.edi.done", b"by hand").await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_file_that_takes_long_is_kept() {
    let server = DavServer::apache(&[]);
    let clock = Arc::new(FixedClock::default());
    let mut world = World::new();
    world.services.clock = Arc::clone(&clock) as _;
    // Half of them are for downloads. Where there is one, nobody may wait for a second.
    for (connections, count) in [("4", 2), ("1", 1)] {
        let folder = world.folder(&server.endpoint("", &[("lock", "true"), ("connections", connections)]));
        let path = format!("/{connections}.edi");
        let mut upload = folder.begin_write(&path.as_str().into(), Some(8)).await.unwrap();
        for _ in 0..4 {
            upload.write(Bytes::from_static(b"ab")).await.unwrap();
            clock.advance(Duration::from_secs(200));
        }
        upload.finish().await.unwrap();
        let locks = format!(" 200 LOCK {path}");
        let requests = server.requests();
        let taken = requests.iter().filter(|line| line.contains(&locks)).count();
        assert_eq!(taken, count, "{requests:#?}");
    }
}
