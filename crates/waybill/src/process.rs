//! What a process of Waybill is made of before any room is opened: time, randomness, its lock.

use engine::{SystemClock, SystemRandom};
use model::{Error, ErrorKind, Result, Timestamp};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use transport::{Clock, Random};
use uuid::Uuid;

/// The clock and the source of randomness, in the forms that the crates need.
#[derive(Clone)]
pub(crate) struct ClockAndRandom {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Default for ClockAndRandom {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::default()), random: Arc::new(SystemRandom) }
    }
}

impl ClockAndRandom {
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

/// The person at the command line: the operating system's user, by name, or by number where `/etc/passwd` has no
/// name. The variable USER is not asked: anybody can set it. Under sudo, it is who called sudo.
pub(crate) fn person() -> model::Actor {
    let user = rustix::process::getuid();
    let behind_sudo = || std::env::var("SUDO_USER").ok().filter(|name| user.is_root() && !name.is_empty());
    let name =
        behind_sudo().or_else(|| user_name(&std::fs::read_to_string("/etc/passwd").ok()?, user.as_raw()));
    model::Actor::CommandLine(name.unwrap_or_else(|| format!("uid-{}", user.as_raw())))
}

/// The name of a user in the text of `/etc/passwd`.
fn user_name(passwd: &str, user: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_as_the_system_names_them() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\nada:x:1000:1000::/home/ada:/bin/sh\nodd\n";
        assert_eq!(user_name(passwd, 0).as_deref(), Some("root"));
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(user_name(passwd, 100), None);
    }
}
