//! How far a message has come that is kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// Bytes after which what has come is made durable.
const RECORD_AFTER: u64 = 16 * 1024 * 1024;

/// How far the writer of a segment has come. The writer is on a thread of its own.
pub(super) struct Progress {
    /// Bytes in the segment.
    written: AtomicU64,
    /// Bytes when the follower was woken last.
    woken_at: AtomicU64,
    is_whole: AtomicBool,
    broke: AtomicBool,
    ended: AtomicBool,
    news: Notify,
}

impl Progress {
    pub(super) fn new(written: u64) -> Self {
        Self {
            written: AtomicU64::new(written),
            woken_at: AtomicU64::new(written),
            is_whole: AtomicBool::new(false),
            broke: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            news: Notify::new(),
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes were written: they are in the file already.
    pub(super) fn wrote(&self, bytes: u64) {
        let written = self.written.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if written - self.woken_at.load(Ordering::Relaxed) >= RECORD_AFTER {
            self.woken_at.store(written, Ordering::Relaxed);
            self.news.notify_one();
        }
    }

    /// Waits until many bytes have come, or the end.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    pub(super) fn has_broken(&self) -> bool {
        self.broke.load(Ordering::Acquire)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn finish(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    pub(super) fn break_off(&self) {
        self.broke.store(true, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.news.notify_one();
    }
}
