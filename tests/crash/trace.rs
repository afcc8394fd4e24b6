//! A kill keeps the page cache, a power loss does not. The order of system calls during one AS2
//! reception shows that each thing is on disk before the next relies on it: file sync → rename →
//! directory sync → database sync → answer.

use crate::as2_kills::receiver;
use crate::as2_sender::{Answer, Letter};
use crate::victim::tail;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::eventually;

/// A system call: its line when it began, its line when it had ended, its text.
#[derive(Clone, Debug)]
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

const CALLS: &str =
    "trace=fsync,fdatasync,rename,renameat,renameat2,linkat,write,writev,sendto,sendmsg,pwrite64";

#[test]
fn a_message_is_on_disk_before_it_is_answered() {
    let root = tempfile::tempdir().unwrap();
    let inbound = root.path().join("inbound");
    fs::create_dir_all(&inbound).unwrap();
    let mut gateway = receiver(root.path(), None, &inbound);
    gateway.start();
    let letter = Letter::pack(root.path(), &root.path().join("keys"), "traced.txt", b"on disk".repeat(5000));

    let log = root.path().join("trace");
    let said = root.path().join("strace.err");
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
    let answer = letter.post(gateway.http, Duration::from_secs(20));
    assert_eq!(answer, Answer::Positive, "{}", tail(&gateway));
    std::thread::sleep(Duration::from_millis(500));
    // An interrupted strace detaches and lets the gateway go on.
    assert!(Command::new("kill").args(["-INT", &strace.id().to_string()]).status().unwrap().success());
    strace.wait().unwrap();
    assert!(gateway.stop().success());

    let calls = read(&log);
    let payload = payload_of(&gateway.directory().join("state/staging/payloads"));
    let shown = || calls.iter().map(|call| format!("{} {}\n", call.begun, call.text)).collect::<String>();
    let find = |what: &str, after: usize, fits: &dyn Fn(&str) -> bool| -> Call {
        let found = calls.iter().find(|call| call.begun >= after && fits(&call.text));
        found.unwrap_or_else(|| panic!("no {what} after line {after}\n{}", shown())).clone()
    };
    let is_sync = |text: &str| text.starts_with("fsync(") || text.starts_with("fdatasync(");
    let partial = format!("staging/partial/{payload}");
    let file = find("sync of the staged file", 0, &|text| is_sync(text) && text.contains(&partial));
    let rename = find("rename of the staged file", file.ended, &|text| {
        text.starts_with("rename") && text.contains(&partial) && text.contains("staging/payloads/")
    });
    let directory = find("sync of the payload's directory", rename.ended, &|text| {
        is_sync(text) && text.contains("staging/payloads/") && !text.contains(&payload)
    });
    let database =
        find("sync of the database", directory.ended, &|text| is_sync(text) && text.contains("waybill.db"));
    let reply = find("answer", 0, &|text| text.contains("HTTP/1.1 200"));
    assert!(database.ended <= reply.begun, "answered before the record was on disk\n{}", shown());
    let steps = [file, rename, directory, database, reply];
    println!("{}", steps.iter().map(|call| format!("{:>5} {}\n", call.begun, call.text)).collect::<String>());
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
