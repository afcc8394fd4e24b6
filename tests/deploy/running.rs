//! The installed gateway as a child process.

use crate::throwaway::Debian;
use crate::unit_lines;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use suites::{eventually, free_port};

/// A gateway run by the very command of the unit, as the unit's user. Killed when dropped, and when this process ends.
pub(crate) struct Running {
    child: Child,
    console: u16,
    log: PathBuf,
}

impl Running {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(debian: &Debian) -> Self {
        let (command, user) = (unit_lines("ExecStart").pop().unwrap(), unit_lines("User").pop().unwrap());
        let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
        let mut words = vec!["setpriv", &user, &group, "--init-groups", "--pdeathsig=KILL"];
        words.extend(command.split_whitespace());
        let console = free_port();
        let mut start = debian.command(None, &words);
        start.env("WAYBILL__LISTEN__CONSOLE", format!("127.0.0.1:{console}"));
        let log = debian.path("/tmp/log");
        let to = fs::File::options().append(true).create(true).open(&log).unwrap();
        let child = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(to).spawn().unwrap();
        let mut running = Self { child, console, log };
        eventually("a gateway that is ready", Duration::from_secs(60), || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended: {ended:?}\n{}", running.log());
            running.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")).then_some(())
        });
        running
    }

    /// What its console answers to a GET; `None` when nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.console)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Does what `systemctl reload` does.
    pub(crate) fn reload(&self) {
        let command =
            unit_lines("ExecReload").pop().unwrap().replace("$MAINPID", &self.child.id().to_string());
        let mut words = command.split_whitespace();
        crate::done(Command::new(words.next().unwrap()).args(words));
    }

    /// Asks it to stop, as systemd does, and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        crate::done(Command::new("kill").arg(self.child.id().to_string()));
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
