//! What a test has started must not outlive it, also when the test is killed.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Kills a child of this process when this process ends without having done so. It waits at a pipe whose
/// other end is ours: however we end, the system closes it.
pub(crate) struct Watchdog(Child);

/// With the time of its start a process id names one process for ever. That is field 22 of `/proc/PID/stat`,
/// and the 20th after the command's name, which stands in brackets.
const WATCH: &str = r#"
read -r _
pid=$1 born=$2
read -r stat <"/proc/$pid/stat" || exit 0
set -- ${stat##*) }
[ "${20}" = "$born" ] && kill -KILL "$pid"
"#;

impl Watchdog {
    /// Watches over a child that nobody has waited for yet.
    pub(crate) fn over(child: &Child) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let born = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "watchdog", &child.id().to_string(), born]);
        // A group of its own: what kills the test's group leaves it its work.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Closes the pipe, and waits until it has seen that nothing is left to do.
        drop(self.0.wait());
    }
}
