//! What a process of Waybill is made of before any room is opened: time, randomness, its lock.

use engine::{SystemClock, SystemRandom};
use model::{Error, ErrorKind, Result, Timestamp};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use transport::{Clock, Random};
use uuid::Uuid;

/// Time and randomness, in the shapes the rooms ask for.
#[derive(Clone)]
pub(crate) struct Ambient {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Default for Ambient {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::default()), random: Arc::new(SystemRandom) }
    }
}

impl Ambient {
    /// Time as a function.
    pub(crate) fn now_fn(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || clock.now())
    }

    /// Ids as a function.
    pub(crate) fn id_fn(&self) -> Arc<dyn Fn() -> Uuid + Send + Sync> {
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        Arc::new(move || random.uuid(clock.now()))
    }
}

/// Proves that no other process works with this state directory. Held as long as the process lives; the
/// system gives it up with the process, however it ends.
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Makes the state directory and takes its lock.
    ///
    /// # Errors
    /// Another process has it; the directory cannot be written.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let failed =
            |error| Error::local_io("use the state directory", error).with("directory", directory.display());
        std::fs::create_dir_all(directory).map_err(failed)?;
        let file = File::create(directory.join("node.lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Error::permanent(ErrorKind::AlreadyExists, "use the state directory")
                    .with("directory", directory.display())
                    .advice("another waybill process uses it; stop that one, or give this one its own state_directory and node name"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The person at the command line, by the operating system's user name, or number where there is no name.
pub(crate) fn person() -> model::Actor {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|variable| std::env::var(variable).ok());
    // A service or a container may have none of them.
    let number = || {
        std::fs::metadata("/proc/self").map_or_else(|_| "unknown".into(), |own| format!("uid-{}", own.uid()))
    };
    model::Actor::CommandLine(name.filter(|name| !name.is_empty()).unwrap_or_else(number))
}
