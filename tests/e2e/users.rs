//! Users by the command line, beside a running gateway and without one, on both databases.

use std::io::Write;
use std::process::{Command, Stdio};
use suites::{Gateway, GatewayBuilder, cookie, fresh_database, waybill};

const FIRST: &str = "correct-horse-battery";
const SECOND: &str = "another-correct-horse";

/// A command with its standard input: exit code, output, errors.
fn user(gateway: &Gateway, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(waybill())
        .arg("--config")
        .arg(gateway.config())
        .arg("user")
        .args(arguments)
        .env("USER", "somebody-else")
        .env_remove("SUDO_USER")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses early may not read it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// The cookie of a login; none when it is refused.
fn log_in(gateway: &Gateway, name: &str, password: &str) -> Option<String> {
    let (status, answer) = gateway.ask("POST /login HTTP/1.1", &[("user", name), ("password", password)]);
    assert!([303, 403].contains(&status), "{answer}");
    (status == 303).then(|| cookie(&answer).to_owned())
}

fn status(gateway: &Gateway, path: &str, session: &str) -> u16 {
    gateway.ask(&format!("GET {path} HTTP/1.1\r\nCookie: {session}"), &[]).0
}

fn users_come_and_go(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "acme").database(database).build();
    // Before the first start: the first administrator.
    let file = root.path().join("password");
    std::fs::write(&file, format!("{FIRST}\n")).unwrap();
    let from_file = ["add", "ada", "--role", "admin", "--password-file", file.to_str().unwrap()];
    let (code, out, error) = user(&gateway, &from_file, "");
    assert_eq!((code, out.as_str(), error.as_str()), (0, "user ada: added, role admin\n", ""));
    let (code, _, error) = user(&gateway, &from_file, "");
    assert!(code == 1 && error.contains("ada"), "{error}");
    gateway.start();
    let ada = log_in(&gateway, "ada", FIRST).unwrap();
    assert_eq!(status(&gateway, "/audit", &ada), 200);

    // Beside a running one, with the password on standard input.
    let stdin = ["--password-file", "-"];
    let add = [&["add", "vic", "--role", "viewer"], &stdin[..]].concat();
    let (code, _, error) = user(&gateway, &add, "too short\n");
    assert!(code == 1 && error.contains("too short: at least 12 characters"), "{error}");
    assert_eq!(user(&gateway, &add, FIRST).0, 0);
    let vic = log_in(&gateway, "vic", FIRST).unwrap();
    assert_eq!((status(&gateway, "/", &vic), status(&gateway, "/audit", &vic)), (200, 403));
    assert_eq!(user(&gateway, &["role", "vic", "auditor"], "").0, 0);
    assert_eq!(status(&gateway, "/audit", &vic), 200, "the session has the new role");
    let (code, _, error) = user(&gateway, &["role", "vic", "king"], "");
    assert!(code != 0 && error.contains("viewer, auditor, operator, designer, admin"), "{error}");

    // A disabled user is out at once, and in again when enabled and logged in.
    assert_eq!(user(&gateway, &["disable", "vic"], "").0, 0);
    assert_eq!(status(&gateway, "/", &vic), 303, "the session has ended");
    assert_eq!(log_in(&gateway, "vic", FIRST), None);
    assert_eq!(user(&gateway, &["enable", "vic"], "").0, 0);
    assert_eq!(status(&gateway, "/", &vic), 303, "an ended session does not come back");
    assert!(log_in(&gateway, "vic", FIRST).is_some());

    // A lost administrator.
    let (code, _, error) = user(&gateway, &["disable", "ada"], "");
    assert!(code == 0 && error.contains("no enabled user can manage users"), "{error}");
    assert_eq!(user(&gateway, &["enable", "ada"], "").0, 0);
    let passwd = [&["passwd", "ada"], &stdin[..]].concat();
    assert_eq!(user(&gateway, &passwd, &format!("{SECOND}\r\n")).0, 0);
    assert_eq!(status(&gateway, "/", &ada), 303, "a new password ends sessions");
    assert_eq!(log_in(&gateway, "ada", FIRST), None);
    assert!(log_in(&gateway, "ada", SECOND).is_some());
    let (code, _, error) = user(&gateway, &["disable", "eve"], "");
    assert!(code == 1 && error.contains("eve") && error.contains("waybill user list"), "{error}");

    let list = gateway.json(&["user", "list"]);
    let listed: Vec<(&str, &str, bool)> = list["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| {
            let text = |key: &str| user[key].as_str().unwrap();
            (text("name"), text("role"), user["disabled"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(listed, [("ada", "admin", false), ("vic", "auditor", false)]);
    let (_, out, _) = user(&gateway, &["list"], "");
    assert!(out.starts_with("NAME") && out.contains("auditor"), "{out}");

    // On record: who did what to whom; the variable USER is nobody's proof; no password, no hash.
    let events = gateway.json(&["audit", "search", "--kind", "user.changed"]);
    let events = events.as_array().unwrap();
    let mut changes: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event["detail"]["user"], event["detail"]["change"]).replace('"', ""))
        .collect();
    changes.sort();
    assert_eq!(
        changes,
        [
            "ada added",
            "ada disabled",
            "ada enabled",
            "ada password changed",
            "vic added",
            "vic disabled",
            "vic enabled",
            "vic role changed",
        ]
    );
    let text = serde_json::to_string(events).unwrap();
    assert!(text.contains("cli:") && !text.contains("somebody-else"), "{text}");
    assert!(!text.contains("horse") && !text.contains("argon2"), "{text}");
    let log = gateway.log();
    assert!(!log.contains("correct-horse"), "{log}");
    // Rows and events of users fit.
    gateway.stop();
    let (status, out, error) =
        suites::run(&["--config", gateway.config().to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}

#[test]
fn users_come_and_go_on_sqlite() {
    users_come_and_go(None);
}

#[test]
fn users_come_and_go_on_postgres() {
    users_come_and_go(Some(&fresh_database("users")));
}

/// Runs a command at a terminal of its own and answers each prompt by a line, once the terminal shows no more what is typed;
/// prints what was on the screen.
const AT_TERMINAL: &str = r#"
import os, pty, sys, termios, time
answers, command = sys.argv[1].split("\n"), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
screen = b""
def read():
    global screen
    try:
        piece = os.read(terminal, 4096)
    except OSError: # Linux says so that the other side was closed
        piece = b""
    screen += piece
    return piece
for answer in answers:
    prompt = len(screen)
    while not screen[prompt:].endswith(b": ") and read():
        pass
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        time.sleep(0.01)
    os.write(terminal, answer.encode() + b"\n")
while read():
    pass
sys.stdout.buffer.write(screen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn the_password_is_asked_for_at_the_terminal_and_not_shown() {
    let root = tempfile::tempdir().unwrap();
    let gateway = GatewayBuilder::new(root.path(), "acme").build();
    let output = Command::new("python3")
        .args(["-c", AT_TERMINAL, &format!("{FIRST}\n{FIRST}")])
        .arg(waybill())
        .arg("--config")
        .arg(gateway.config())
        .args(["user", "add", "ada", "--role", "admin"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{seen}{}", String::from_utf8_lossy(&output.stderr));
    assert!(seen.contains("Password of ada: ") && seen.contains("Repeat the password: "), "{seen}");
    assert!(seen.contains("user ada: added") && !seen.contains(FIRST), "{seen}");

    // Without a terminal it says what to do.
    let output = Command::new("setsid")
        .args(["--wait".as_ref(), waybill().as_os_str(), "--config".as_ref(), gateway.config().as_os_str()])
        .args(["user", "add", "bob", "--role", "viewer"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("--password-file"), "{error}");
}
