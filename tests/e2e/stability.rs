//! Files whose writers take their time.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put};

/// Polled far more often than its writer pauses, and listed unchanged by several polls in a row.
#[test]
fn a_writer_that_pauses_for_eight_seconds_is_waited_for() {
    let source = r#"mask = "*", every = "1s", stable_for = "10s", read_limit = 0, after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    pair.start();
    let mut file =
        OpenOptions::new().create_new(true).append(true).open(pair.folder().join("slow.edi")).unwrap();
    let mut whole = Vec::new();
    for part in [b"the first half, ", b"the second half."] {
        file.write_all(part).unwrap();
        whole.extend_from_slice(part);
        std::thread::sleep(Duration::from_secs(8));
    }
    drop(file);
    assert_eq!(pair.wait_for_files(1), [("slow.edi".to_owned(), whole)]);
    pair.acme.wait_for("completed", 1, PATIENCE);
    assert!(files_in(&pair.folder()).is_empty());
    assert!(events(&pair.acme, "offer.mismatch").is_empty());
}

/// Between the yearly polls of the schedule: the poll that a person asks for finds the file, and the one that looks at it
/// again takes it, for the same run.
#[test]
fn a_requested_run_takes_what_is_new() {
    let source = r#"mask = "*", cron = "0 0 1 1 *", read_limit = 0, after = "delete""#;
    let mut pair = Pair::new(&Terms { source, ..Terms::default() });
    put(&pair.folder(), b"new.edi", b"an order");
    pair.start();
    let run = pair.acme.json(&["flow", "run", "orders"]);
    assert_eq!((&run["outcome"], &run["report"]["taken"]), (&"polled".into(), &1.into()), "{run}");
    pair.wait_for_files(1);
}
