//! Running a program that is to die, and running it again.
//!
//! A test build of the program reads [`CRASH_AT`] and kills itself with SIGKILL when it passes the
//! named crash point for the nth time. [`Victim`] starts it, waits for that death with a limit, and
//! can also kill it from outside at any moment. What went in and what came out is for
//! [`crate::ledger::Ledger`] to say.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The variable that says where to die: `name:count`, the count from 1.
pub const CRASH_AT: &str = "WAYBILL_CRASH_AT";

const SIGKILL: i32 = 9;

/// How a victim ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// By SIGKILL: at its crash point, or by our hand.
    Killed,
    /// By itself, with this status, and so never at its crash point.
    Ended(ExitStatus),
    /// It lived past the limit, and was killed then.
    Outlived,
}

/// A running program. Killed when dropped.
pub struct Victim {
    child: Child,
}

impl Victim {
    /// Starts a program that dies at the nth passing (from 1) of a crash point. Its output goes to the
    /// end of a log file.
    ///
    /// # Errors
    /// It could not be started, or the log not be opened.
    pub fn start_to_crash(command: &mut Command, point: &str, nth: u32, log: &Path) -> io::Result<Self> {
        command.env(CRASH_AT, format!("{point}:{nth}"));
        Self::spawn(command, log)
    }

    /// Starts a program that is not told to die.
    ///
    /// # Errors
    /// As [`Victim::start_to_crash`].
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        command.env_remove(CRASH_AT);
        Self::spawn(command, log)
    }

    fn spawn(command: &mut Command, log: &Path) -> io::Result<Self> {
        // To a file: a pipe that nobody reads would stop the program.
        let log = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Its state could not be asked for.
    pub fn is_alive(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its death, at most this long.
    ///
    /// # Errors
    /// Its state could not be asked for.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Death> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(death(status));
            }
            if started.elapsed() >= limit {
                self.kill()?;
                return Ok(Death::Outlived);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it now (SIGKILL), unless it is dead already; says how it ended.
    ///
    /// # Errors
    /// It could not be killed.
    pub fn kill(&mut self) -> io::Result<Death> {
        self.child.kill()?;
        Ok(death(self.child.wait()?))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn death(status: ExitStatus) -> Death {
    if status.signal() == Some(SIGKILL) { Death::Killed } else { Death::Ended(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_program_that_kills_itself_where_it_is_told_to() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = r#"echo "told $WAYBILL_CRASH_AT"; test -z "$WAYBILL_CRASH_AT" || kill -9 $$; exit 3"#;
        let mut first = Victim::start_to_crash(&mut shell(script), "staged", 2, &log).unwrap();
        assert_eq!(first.wait(LIMIT).unwrap(), Death::Killed);
        let mut again = Victim::start(&mut shell(script), &log).unwrap();
        assert!(matches!(again.wait(LIMIT).unwrap(), Death::Ended(status) if status.code() == Some(3)));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "told staged:2\ntold \n");
    }

    #[test]
    fn one_that_lives_too_long_or_is_killed_from_outside() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut slow = Victim::start(&mut shell("exec sleep 600"), &log).unwrap();
        assert!(slow.is_alive().unwrap());
        assert_eq!(slow.wait(Duration::from_millis(50)).unwrap(), Death::Outlived);
        assert!(!slow.is_alive().unwrap());
        let mut other = Victim::start(&mut shell("exec sleep 600"), &log).unwrap();
        assert_eq!(other.kill().unwrap(), Death::Killed);
    }
}
