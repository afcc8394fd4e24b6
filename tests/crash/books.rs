//! The gateway's own books, compared with the ledger after everything is quiet.

use crate::victim::tail;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use suites::Gateway;

const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
const SQLITE: &str = "import sqlite3, sys
for row in sqlite3.connect(sys.argv[1], timeout=20).execute(sys.argv[2]): print('|'.join(str(v) for v in row))";

/// Longer than two rounds of settling and the release of a lost lease's claims.
const SETTLING_PATIENCE: Duration = Duration::from_secs(60);

/// The books of a gateway, read with the database's own tools.
pub struct Books<'a> {
    /// The gateway.
    pub gateway: &'a Gateway,
    /// Its database, unless SQLite.
    pub url: Option<&'a str>,
}

impl Books<'_> {
    /// Asks the database: a line for each row, columns between bars.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let mut command;
        match self.url {
            Some(url) => {
                command = Command::new(PSQL);
                command.args(["-qAtXw", "-v", "ON_ERROR_STOP=1", "-c", sql, url]);
            }
            None => {
                command = Command::new("/usr/bin/python3");
                command.args(["-c", SQLITE]).arg(self.gateway.directory().join("state/waybill.db")).arg(sql);
            }
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}\n{}", tail(self.gateway));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// A count.
    pub fn count(&self, sql: &str) -> usize {
        let rows = self.ask(sql);
        rows[0].parse().unwrap_or_else(|e| panic!("{sql}: {rows:?}: {e}"))
    }

    /// Waits until the running gateways have settled every source: what a stopped node had claimed is settled by
    /// another one only in its next round, some seconds after the file's delivery.
    pub fn wait_until_settled(&self) {
        let begun = Instant::now();
        loop {
            let left =
                self.ask("select path, state, node, error from offers where settle_outcome is not null");
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < SETTLING_PATIENCE, "not settled: {left:?}\n{}", tail(self.gateway));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Every transfer of a file completed, so many in all; every delivery delivered; no claim left. Receipts that are
    /// sent later are transfers besides.
    pub fn assert_complete(&self, files: usize, account: &str) {
        let expect = |sql: &str, expected: &[String]| {
            let found = self.ask(sql);
            assert_eq!(found, expected, "{sql}\n{account}\n{}", tail(self.gateway));
        };
        expect(
            "select state, count(*) from transfers where kind <> 'receipt' group by state order by state",
            &[format!("completed|{files}")],
        );
        expect(
            "select state, count(*) from deliveries where transfer_id in \
             (select id from transfers where kind <> 'receipt') group by state order by state",
            &[format!("delivered|{files}")],
        );
        expect("select count(*) from deliveries where node is not null", &["0".into()]);
        expect("select path, state, error from offers where settle_outcome is not null", &[]);
        expect("select path, state from offers where state <> 'settled' and flow <> ''", &[]);
        expect("select delivery_id, number from attempts where ended_at is null", &[]);
        expect("select transfer_id from processing where node is not null or due_at is not null", &[]);
        expect("select key from intake_keys where state = 'in_progress'", &[]);
    }

    /// No connection of a process that has ended is open. For a gateway that was stopped.
    pub fn assert_connections_closed(&self) {
        let open = self.ask("select id, protocol, purpose, remote from connections where closed_at is null");
        assert!(open.is_empty(), "open connections: {open:?}\n{}", tail(self.gateway));
    }

    /// The audit trail is whole and sealed to its end, and every row agrees with it. For a gateway that was
    /// stopped.
    pub fn assert_audit(&self) -> Value {
        let report = self.gateway.json(&["audit", "verify", "--records"]);
        assert_eq!(report["holds"], Value::Bool(true), "{report}\n{}", tail(self.gateway));
        let events = usize::try_from(report["events"].as_u64().unwrap()).unwrap();
        let unsealed = usize::try_from(report["unsealed"].as_u64().unwrap()).unwrap();
        assert_eq!(self.count("select count(*) from audit_events"), events + unsealed, "{report}");
        report
    }
}
