//! The server as OpenSSH's own client sees it: what it serves is SFTP, and a switch does what it says.

use super::*;
use std::process::Command;

/// Runs `sftp` with these commands, logged in by a key; its output, and whether all succeeded.
fn sftp(server: &SftpServer, commands: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let (key, known, batch) =
        (directory.path().join("key"), directory.path().join("known"), directory.path().join("batch"));
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let address = server.address();
    std::fs::write(&known, format!("[{}]:{} {}\n", address.ip(), address.port(), server.public_key()))
        .unwrap();
    std::fs::write(&batch, commands).unwrap();
    let output = Command::new("sftp")
        .args(["-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-b"])
        .arg(&batch)
        .args(["-o", &format!("UserKnownHostsFile={}", known.display()), "-i"])
        .arg(&key)
        .args(["-P", &address.port().to_string(), &format!("{USER}@{}", address.ip())])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn openssh_lists_fetches_puts_renames_and_removes() {
    let server = SftpServer::start().unwrap();
    server.put("in/a.edi", b"first");
    server.put("in/b.edi", &vec![7; 300_001]);
    let (done, said) = sftp(
        &server,
        "ls -l in\nget in/b.edi b\nput b in/c.edi\nmkdir done\nrename in/a.edi done/a.edi\nrm in/b.edi\nls -l done\n",
    );
    assert!(done, "{said}");
    assert!(said.contains("300001") && said.contains("a.edi"), "{said}");
    assert_eq!(server.names("in"), ["c.edi"]);
    assert_eq!(server.get("in/c.edi").unwrap(), vec![7; 300_001]);
    assert_eq!(server.get("done/a.edi").unwrap(), b"first");
    assert_eq!(server.count(Op::Rename, "in/a.edi"), 1);
}

#[test]
fn switches_are_for_their_paths_and_taken_back() {
    let server = SftpServer::start().unwrap();
    server.put("in/once.edi", b"once");
    server.put("in/wrong.edi", b"wrong");
    server.switch("in/once*", Switch::GoneAfterReading);
    server.switch("in/wrong.edi", Switch::SizeOff(ReportedIn::LISTING, 16));
    let (done, said) = sftp(&server, "ls -l in\nget in/once.edi once\n");
    assert!(done && said.contains(" 21 "), "{said}");
    assert_eq!(server.names("in"), ["wrong.edi"]);
    server.unswitch("in/wrong.edi");
    let (done, said) = sftp(&server, "ls -l in\n");
    assert!(done && said.contains(" 5 "), "{said}");

    server.switch_times("*", 1, Switch::Status(Op::Rename, 3, "not here"));
    assert!(!sftp(&server, "rename in/wrong.edi in/right.edi\n").0);
    assert!(sftp(&server, "rename in/wrong.edi in/right.edi\n").0);
    server.switch("*", Switch::CutAfter(Op::Remove));
    assert!(!sftp(&server, "rm in/right.edi\n").0);
    assert!(server.names("in").is_empty());
}

#[test]
fn what_comes_before_the_identification_and_the_login_is_sent() {
    let server = SftpServer::start().unwrap();
    server.greeting(|greeting| {
        greeting.before = b"\nwelcome\r\n".to_vec();
        greeting.banner = Some("all is recorded\n".into());
    });
    let (done, said) = sftp(&server, "ls\n");
    assert!(done && said.contains("all is recorded"), "{said}");
}
