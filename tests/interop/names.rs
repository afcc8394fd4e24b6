//! File names that are meant to lead elsewhere or to break a line.

use crate::hub::Hub;
use crate::raw::Message;
use std::path::Path;

/// A message that is neither signed nor encrypted: its headers are HTTP's own.
fn plain(id: usize, disposition: &str, body: &[u8]) -> Message {
    let headers = format!(
        "AS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <name-{id}@peer>\r\nMIME-Version: 1.0\r\n\
         Disposition-Notification-To: x\r\nContent-Type: application/octet-stream\r\nContent-Disposition: {disposition}\r\n"
    );
    Message { headers, body: Vec::new() }.with_body(body.to_vec())
}

#[test]
fn names_lead_nowhere_and_break_nothing() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "receive.security = \"none\"");
    hub.gateway.start();
    let before = everything_below(hub.root.path());
    let names = [
        ("attachment; filename=\"../../../../tmp/x.edi\"", "x.edi"),
        ("attachment; filename*=UTF-8''..%2F..%2Fy.edi", "y.edi"),
        ("attachment; filename*=UTF-8''a%00b%0D%0Ac.edi", "a_b__c.edi"),
        ("attachment; filename=\"=?utf-8?Q?line=0Abreak.edi?=\"", "line_break.edi"),
        ("attachment; filename=\"C:\\\\secret\\\\z.edi\"", "z.edi"),
        ("attachment; filename*=UTF-8''%2E%2E", "message-name-5@peer"),
        ("attachment; filename=\"*?.edi\"", "__.edi"),
        ("attachment", "message-name-7@peer"),
    ];
    for (id, (disposition, expected)) in names.iter().enumerate() {
        let body = format!("payload {id}");
        let answer = plain(id, disposition, body.as_bytes()).post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{disposition}: {}", answer.text());
        assert_eq!(hub.wait_for_file(expected), body.as_bytes(), "{disposition}");
    }
    assert_eq!(hub.inbox().len(), names.len());
    let strange: Vec<String> = everything_below(hub.root.path())
        .into_iter()
        .filter(|path| !before.contains(path) && !path.contains("/hub/") && !path.contains("/in/"))
        .collect();
    assert_eq!(strange, Vec::<String>::new());
    assert!(!Path::new("/tmp/x.edi").exists());
    // The name as it came is kept with the transfer, on one line.
    let transfers = hub.gateway.json(&["transfer", "list"]).to_string();
    assert!(transfers.contains("a_b__c.edi"), "{transfers}");
    hub.is_unmoved();
}

fn everything_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        found.push(entry.path().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        }
    }
    found
}
