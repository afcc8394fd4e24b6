//! How much of the heap something takes: an allocator that counts, for test programs that make it theirs with
//! `#[global_allocator]`.
#![allow(unsafe_code, reason = "an allocator has unsafe methods")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counted. A test program has one: its tests must not run side by side.
pub struct CountingAllocator;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A moment from which the heap is watched.
pub struct Heap {
    before: usize,
}

impl Heap {
    /// Watches from now on.
    #[must_use]
    pub fn watch() -> Self {
        let before = NOW.load(Ordering::SeqCst);
        PEAK.store(before, Ordering::SeqCst);
        Self { before }
    }

    /// The most bytes that were allocated at a time since then, beyond those of then.
    #[must_use]
    pub fn grown(&self) -> usize {
        PEAK.load(Ordering::SeqCst).saturating_sub(self.before)
    }
}
