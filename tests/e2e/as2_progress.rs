//! What `waybill as2 send` shows of a message while it is on the wire, at a terminal and without one; on both databases.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use suites::pair::{PATIENCE, Pair, Terms, random};
use suites::{eventually, fresh_database};
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};

/// Bytes a second: slow enough that a message is seen on its way.
const SLOW: u64 = 4 << 20;

/// `waybill as2 send` at a terminal.
fn at_a_terminal(pair: &Pair, file: &Path) -> Command {
    let spawn = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = Command::new("python3");
    command.args(["-c", spawn]).arg(suites::waybill()).arg("--config").arg(pair.acme.config());
    command.args(["as2", "send"]).arg(file).args(["--partner", "globex"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn what_is_on_the_wire_is_shown(database: Option<&str>) {
    let terms = Terms { database, ..Terms::default() };
    let mut pair = Pair::new(&terms);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultProxy::before(([127, 0, 0, 1], pair.globex.http).into())).unwrap();
    let (direct, slow) = (format!("127.0.0.1:{}/as2", pair.globex.http), format!("{}/as2", proxy.address()));
    let restart = "[partner.globex.as2.send]\nrestart = { offer = true, smallest = \"1MiB\" }\n";
    pair.acme.define("acme.toml", &(pair.acme_document(&terms).replace(&direct, &slow) + restart));
    pair.start();
    let make = |name: &str, mib: usize| {
        let (path, bytes) = (pair.root.path().join(name), random(mib << 20));
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    };

    // Cut on its way, it goes on where the partner's bytes end, and so does the bar.
    let cut = Behaviour::Cut { direction: Direction::Up, after: 16 << 20, how: Ending::Close };
    runtime.block_on(proxy.set(cut)).unwrap();
    let (path, first) = make("first.bin", 64);
    let child = at_a_terminal(&pair, &path).spawn().unwrap();
    eventually("the connection was cut", PATIENCE, || (proxy.accepted() > 1).then_some(()));
    runtime.block_on(proxy.set(Behaviour::Slow(SLOW))).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown} {}", String::from_utf8_lossy(&output.stderr));
    let bars: Vec<&str> =
        shown.split("\r\u{1b}[K").filter(|text| text.starts_with("on the wire [")).collect();
    let is_whole = |bar: &&str| bar.contains("/s, ") && bar.contains(" left, went on at ");
    assert!(bars.iter().any(is_whole), "{shown}");
    assert!(shown.contains("delivered: "), "{shown}");

    // Without a terminal: lines on standard error, and nothing that is drawn anew.
    let (path, second) = make("second.bin", 32);
    let (code, out, error) = pair.command(&["as2", "send", path.to_str().unwrap(), "--partner", "globex"]);
    assert_eq!(code, 0, "{out} {error}");
    let line = error.lines().find(|line| line.starts_with("on the wire [")).unwrap_or_default();
    assert!(
        line.contains(" MiB of 32.0 MiB, ") && line.contains("/s, ") && line.ends_with(" left"),
        "{error}"
    );
    assert!(!error.contains('\u{1b}') && !out.contains("on the wire"), "{out} {error}");

    let arrived = pair.wait_for_files(2);
    assert!(arrived == [("first.bin".to_owned(), first), ("second.bin".to_owned(), second)]);
    let (code, out, error) = pair.command(&["audit", "verify", "--records"]);
    assert_eq!(code, 0, "{out} {error}");
}

#[test]
fn what_is_on_the_wire_is_shown_on_sqlite() {
    what_is_on_the_wire_is_shown(None);
}

#[test]
fn what_is_on_the_wire_is_shown_on_postgres() {
    what_is_on_the_wire_is_shown(Some(&fresh_database("as2_progress")));
}
