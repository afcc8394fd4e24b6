//! A kill keeps the page cache, a power loss does not. The order of system calls shows that each thing is on
//! disk before the next relies on it: file sync → rename → directory sync → database sync → answer, or the
//! source's removal; and at a destination file sync → rename → directory sync → database sync.

use crate::as2_kills::receiver;
use crate::as2_sender::{Answer, Letter};
use crate::victim::tail;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually};

/// A system call: its line when it began, its line when it had ended, its text.
#[derive(Clone, Debug)]
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

const CALLS: &str =
    "trace=fsync,fdatasync,rename,renameat,renameat2,linkat,unlinkat,write,writev,sendto,sendmsg,pwrite64";

/// The system calls of a gateway while something is done with it, told in order.
struct Trace {
    calls: Vec<Call>,
    root: PathBuf,
}

impl Trace {
    /// Watches a gateway while `act` runs, and stops it then.
    fn of(gateway: &mut Gateway, root: &Path, act: impl FnOnce(&Gateway)) -> Self {
        let log = root.join("trace");
        let said = root.join("strace.err");
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-s", "80", "-e", CALLS, "-p", &gateway.pid().to_string(), "-o"])
            .arg(&log)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        eventually("strace is attached", Duration::from_secs(20), || {
            fs::read_to_string(&said).unwrap().contains("attached").then_some(())
        });
        act(gateway);
        std::thread::sleep(Duration::from_millis(500));
        // An interrupted strace detaches and lets the gateway go on.
        assert!(Command::new("kill").args(["-INT", &strace.id().to_string()]).status().unwrap().success());
        strace.wait().unwrap();
        assert!(gateway.stop().success());
        Self { calls: read(&log), root: root.to_owned() }
    }

    /// The first call that fits and began at or after a line.
    fn find(&self, what: &str, after: usize, fits: impl Fn(&str) -> bool) -> Call {
        let found = self.calls.iter().find(|call| call.begun >= after && fits(&call.text));
        found.unwrap_or_else(|| panic!("no {what} after line {after}\n{self}")).clone()
    }

    /// The staged payload's way to the disk and into the database: the last sync ends it.
    fn recorded(&self, gateway: &Gateway) -> Call {
        let payload = payload_of(&gateway.directory().join("state/staging/payloads"));
        let partial = format!("staging/partial/{payload}");
        let file = self.find("sync of the staged file", 0, |text| is_sync(text) && text.contains(&partial));
        let rename = self.find("rename of the staged file", file.ended, |text| {
            text.starts_with("rename") && text.contains(&partial) && text.contains("staging/payloads/")
        });
        let directory = self.find("sync of the payload's directory", rename.ended, |text| {
            is_sync(text) && text.contains("staging/payloads/") && !text.contains(&payload)
        });
        self.database_sync(directory.ended)
    }

    fn database_sync(&self, after: usize) -> Call {
        self.find("sync of the database", after, |text| is_sync(text) && text.contains("waybill.db"))
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "below {}", self.root.display())?;
        self.calls.iter().try_for_each(|call| writeln!(f, "{:>5} {}", call.begun, call.text))
    }
}

fn is_sync(text: &str) -> bool {
    text.starts_with("fsync(") || text.starts_with("fdatasync(")
}

#[test]
fn a_message_is_on_disk_before_it_is_answered() {
    let root = tempfile::tempdir().unwrap();
    let inbound = root.path().join("inbound");
    fs::create_dir_all(&inbound).unwrap();
    let mut gateway = receiver(root.path(), None, &inbound);
    gateway.start();
    let letter = Letter::pack(root.path(), &root.path().join("keys"), "traced.txt", b"on disk".repeat(5000));
    let trace = Trace::of(&mut gateway, root.path(), |gateway| {
        let answer = letter.post(gateway.http, Duration::from_secs(20));
        assert_eq!(answer, Answer::Positive, "{}", tail(gateway));
    });
    let recorded = trace.recorded(&gateway);
    let reply = trace.find("answer", 0, |text| text.contains("HTTP/1.1 200"));
    assert!(recorded.ended <= reply.begun, "answered before the record was on disk\n{trace}");
}

#[test]
fn a_file_is_on_disk_before_its_source_goes_and_before_it_is_called_delivered() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    fs::create_dir_all(&from).unwrap();
    fs::create_dir_all(&to).unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "mover").build();
    gateway.define(
        "flow.toml",
        &format!(
            "[endpoint.from]\ntransport = \"file\"\nurl = \"file://{}\"\n\
             [endpoint.to]\ntransport = \"file\"\nurl = \"file://{}\"\n\
             [flow.move]\nsource = {{ endpoint = \"from\", mask = \"*.edi\", every = \"1s\", stable_for = \"0s\", after = \"delete\", error_directory = \"{}\" }}\n\
             [[flow.move.destination]]\nendpoint = \"to\"\n",
            from.display(),
            to.display(),
            root.path().join("refused").display()
        ),
    );
    gateway.start();
    let trace = Trace::of(&mut gateway, root.path(), |gateway| {
        fs::write(from.join("beside"), b"on disk".repeat(5000)).unwrap();
        fs::rename(from.join("beside"), from.join("po.edi")).unwrap();
        gateway.wait_for("completed", 1, Duration::from_secs(30));
        eventually("the source is gone", Duration::from_secs(20), || {
            (!from.join("po.edi").exists()).then_some(())
        });
    });
    let recorded = trace.recorded(&gateway);
    let source = format!("<{}>", from.display());
    let gone = trace
        .find("removal of the source", 0, |text| text.starts_with("unlinkat(") && text.contains(&source));
    assert!(recorded.ended <= gone.begun, "removed before the record was on disk\n{trace}");

    let (there, temporary) = (format!("<{}>", to.display()), format!("<{}/.", to.display()));
    let file = trace.find("sync of the delivered file", 0, |text| is_sync(text) && text.contains(&temporary));
    let named = trace.find("the delivered file's name", file.ended, |text| {
        (text.starts_with("rename") || text.starts_with("linkat")) && text.contains("po.edi")
    });
    let directory =
        trace.find("sync of its directory", named.ended, |text| is_sync(text) && text.contains(&there));
    trace.database_sync(directory.ended);
}

/// The id of the only staged payload.
fn payload_of(payloads: &Path) -> String {
    let mut found = Vec::new();
    for shard in fs::read_dir(payloads).unwrap() {
        let shard = shard.unwrap().path();
        if shard.is_dir() {
            found.extend(fs::read_dir(shard).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()));
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Reads strace's output, the two halves of an interrupted call made one.
fn read(log: &Path) -> Vec<Call> {
    let text = fs::read_to_string(log).unwrap();
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(String, usize)> = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let Some((pid, rest)) = text.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            open.push((pid.to_owned(), calls.len()));
            calls.push(Call { begun: line, ended: usize::MAX, text: first.to_owned() });
        } else if let Some((_, second)) = rest.split_once(" resumed>") {
            if let Some(at) = open.iter().position(|(of, _)| of == pid) {
                let (_, call) = open.remove(at);
                calls[call].ended = line;
                calls[call].text.push_str(second);
            }
        } else {
            calls.push(Call { begun: line, ended: line + 1, text: rest.to_owned() });
        }
    }
    calls
}
