//! Being told by the kernel that files arrived in polled directories: inotify(7), one instance for all flows.
//!
//! It only makes a poll come early. It does not see what other machines write to network file systems, nor anything where
//! the system's limits are reached: the flow's interval finds those files.

use async_trait::async_trait;
use model::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;
use transport::Watch;

/// A file was closed after writing, or renamed into the directory.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE.union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

/// The longest wait before it is looked whether anything is watched still.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Room for the events of one read, in bytes.
const READ: usize = 16 * 1024;

/// The watched directories of this process. Makes the inotify instance when it is first needed.
#[derive(Default)]
pub(crate) struct WakeUps {
    instance: Mutex<Option<Arc<Instance>>>,
}

struct Instance {
    events: OwnedFd,
    /// Who watches each directory, by the kernel's number for the watch. Watches of one directory share one number.
    watched: Mutex<HashMap<i32, Vec<Weak<Signal>>>>,
}

#[derive(Default)]
struct Signal {
    arrived: Notify,
    has_ended: AtomicBool,
}

/// One watch of a directory.
struct DirectoryWatch {
    instance: Arc<Instance>,
    number: i32,
    signal: Arc<Signal>,
}

fn failed(error: impl Into<std::io::Error>) -> Error {
    Error::local_io("watch a directory", error.into()).advice(
        "files are found at the flow's interval all the same; see the system's limits fs.inotify.max_user_instances \
         and fs.inotify.max_user_watches",
    )
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is right after each single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WakeUps {
    /// Watches a directory, which is open.
    ///
    /// # Errors
    /// The system has no more watches, or none at all.
    pub(crate) fn watch(&self, directory: &OwnedFd) -> Result<Box<dyn Watch>> {
        let instance = self.instance()?;
        // The path leads to the directory that was opened, whatever has its name by now.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let signal = Arc::new(Signal::default());
        let mut watched = locked(&instance.watched);
        let number = inotify::add_watch(&instance.events, path, EVENTS).map_err(failed)?;
        watched.entry(number).or_default().push(Arc::downgrade(&signal));
        drop(watched);
        Ok(Box::new(DirectoryWatch { instance, number, signal }))
    }

    fn instance(&self) -> Result<Arc<Instance>> {
        let mut kept = locked(&self.instance);
        if let Some(instance) = &*kept {
            return Ok(Arc::clone(instance));
        }
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        let instance = Arc::new(Instance { events, watched: Mutex::default() });
        let read = Arc::downgrade(&instance);
        std::thread::Builder::new().name("inotify".into()).spawn(move || tell(&read)).map_err(failed)?;
        Ok(Arc::clone(kept.insert(instance)))
    }
}

/// Passes events on, until the instance is dropped.
fn tell(instance: &Weak<Instance>) {
    while let Some(instance) = instance.upgrade() {
        let mut polled = [PollFd::new(&instance.events, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&LOOK_AGAIN)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => instance.read(),
            Err(error) => {
                tracing::warn!(%error, "directories are not watched any more; files are found at each flow's interval");
                return instance.end();
            }
        }
    }
}

impl Instance {
    /// Reads all events that are there.
    fn read(&self) {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut reader = inotify::Reader::new(&self.events, &mut room);
        loop {
            match reader.next() {
                Ok(event) => self.pass_on(event.wd(), event.events()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    tracing::warn!(%error, "events of watched directories could not be read");
                    return;
                }
            }
        }
    }

    fn pass_on(&self, number: i32, events: ReadFlags) {
        let mut watched = locked(&self.watched);
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Something arrived somewhere.
            watched
                .values()
                .flatten()
                .filter_map(Weak::upgrade)
                .for_each(|signal| signal.arrived.notify_one());
            return;
        }
        let has_ended = events.contains(ReadFlags::IGNORED);
        for signal in watched.get(&number).into_iter().flatten().filter_map(Weak::upgrade) {
            signal.has_ended.fetch_or(has_ended, Ordering::SeqCst);
            signal.arrived.notify_one();
        }
        if has_ended {
            watched.remove(&number);
        }
    }

    fn end(&self) {
        for signal in locked(&self.watched).drain().flat_map(|(_, signals)| signals) {
            if let Some(signal) = signal.upgrade() {
                signal.has_ended.store(true, Ordering::SeqCst);
                signal.arrived.notify_one();
            }
        }
    }
}

#[async_trait]
impl Watch for DirectoryWatch {
    async fn changed(&mut self) -> Result<()> {
        self.signal.arrived.notified().await;
        if self.signal.has_ended.load(Ordering::SeqCst) {
            return Err(Error::transient(ErrorKind::NotFound, "watch a directory")
                .advice("it was removed or unmounted; it is watched again at the next poll"));
        }
        Ok(())
    }
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        let mut watched = locked(&self.instance.watched);
        let Some(signals) = watched.get_mut(&self.number) else { return };
        let own = Arc::as_ptr(&self.signal);
        signals.retain(|signal| !std::ptr::eq(signal.as_ptr(), own));
        if signals.is_empty() {
            watched.remove(&self.number);
            // It may have been removed by the kernel, with its directory.
            let _ = inotify::remove_watch(&self.instance.events, self.number);
        }
    }
}

#[cfg(test)]
mod tests;
