//! SFTP folder → AS2 → the other gateway → directory, on both databases.

use model::{Direction, Protocol, Security};
use std::collections::BTreeMap;
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put, random};
use suites::{eventually, fresh_database};

#[test]
fn files_go_their_whole_way_on_sqlite() {
    whole_way(None);
}

#[test]
fn files_go_their_whole_way_on_postgres() {
    let database = fresh_database("forwarding");
    whole_way(Some(&database));
}

/// Names as the folder holds them, and as they arrive.
fn samples() -> Vec<(Vec<u8>, String, Vec<u8>)> {
    let utf8 = |name: &str, bytes: Vec<u8>| (name.as_bytes().to_vec(), name.to_owned(), bytes);
    vec![
        utf8("empty.edi", Vec::new()),
        utf8("one.bin", vec![0]),
        utf8("large.bin", random(5 * 1024 * 1024)),
        utf8("with spaces and 'quotes'.edi", b"UNB+UNOA:1+ACME+GLOBEX'\n".to_vec()),
        utf8("Bestellung Größe.edi", b"bare\nline\rends\r\n\0\x1a".to_vec()),
        utf8("no-extension", random(70_000)),
        utf8(&format!("{}.x12", "long".repeat(58)), random(1000)),
        // Latin-1 in the folder; it arrives as the same characters.
        (b"Stra\xdfe \xe4\xf6\xfc.txt".to_vec(), "Straße äöü.txt".to_owned(), random(4096)),
    ]
}

fn whole_way(database: Option<&str>) {
    let mut pair = Pair::new(&Terms { database, ..Terms::default() });
    let samples = samples();
    for (name, _, bytes) in &samples {
        put(&pair.folder(), name, bytes);
    }
    pair.start();

    let done = pair.acme.wait_for("completed", samples.len(), PATIENCE);
    assert_eq!(done.len(), samples.len());
    let arrived: BTreeMap<String, Vec<u8>> = pair.wait_for_files(samples.len()).into_iter().collect();
    for (_, name, bytes) in &samples {
        let found = arrived.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", arrived.keys()));
        assert!(found == bytes, "{name} arrived with other bytes");
    }
    eventually("the source is settled", PATIENCE, || files_in(&pair.folder()).is_empty().then_some(()));

    for transfer in &done {
        let shown = pair.acme.json(&["transfer", "show", transfer["id"].as_str().unwrap()]);
        let name = shown["file_name"].as_str().unwrap();
        assert_eq!(shown["source"]["endpoint"], "acme-folder", "{shown}");
        let delivery = &shown["deliveries"][0];
        assert_eq!(delivery["state"], "delivered", "{shown}");
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "{name}: {shown}");
        assert_eq!(delivery["attempts"][0]["outcome"], "delivered", "{shown}");
        let receipt = &delivery["receipt"];
        assert_eq!(receipt["detail"]["mic_matched"], true, "{shown}");
        assert_eq!(receipt["detail"]["signed"], true, "{shown}");
        assert!(receipt["summary"].as_str().unwrap().ends_with("; processed"), "{receipt}");
        let kinds: Vec<&str> =
            shown["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
        for kind in ["transfer.recorded", "delivery.delivered", "transfer.completed"] {
            assert!(kinds.contains(&kind), "{name} has no {kind} among {kinds:?}");
        }
    }
    assert_eq!(pair.globex.wait_for("completed", samples.len(), PATIENCE).len(), samples.len());
    assert_eq!(events(&pair.acme, "delivery.retrying").len(), 0);

    // In order: each end of a connection is on record only when it has ended.
    assert!(pair.acme.stop().success(), "{}", pair.acme.log());
    assert!(pair.globex.stop().success(), "{}", pair.globex.log());
    connections_are_on_record(&pair);
    for gateway in [&pair.acme, &pair.globex] {
        let report = gateway.json(&["audit", "verify"]);
        assert_eq!(report["holds"], true, "{report}");
        assert!(report["seals"].as_u64().unwrap() > 0, "{report}");
    }
}

fn connections_are_on_record(pair: &Pair) {
    let ours = pair.acme.connections();
    // A poll that the orderly stop cut off in its handshake is on record too, as failed and without what
    // only a finished handshake can tell.
    let ssh: Vec<_> =
        ours.iter().filter(|c| c.protocol == Some(Protocol::Sftp) && c.failed != Some(true)).collect();
    assert!(!ssh.is_empty(), "no SSH connection on record: {ours:?}");
    for connection in &ssh {
        let Some(Security::Ssh { host_key, host_key_type, kex, cipher, server, .. }) = &connection.security
        else {
            panic!("no SSH details: {connection:?}")
        };
        assert_eq!(host_key, pair.sshd.text("fingerprint"));
        assert_eq!(host_key_type, "ssh-ed25519");
        assert!(!kex.is_empty() && !cipher.is_empty(), "{connection:?}");
        assert!(server.as_str().contains("OpenSSH"), "{connection:?}");
        assert_eq!(connection.endpoint.as_deref(), Some("acme-folder"));
        assert_eq!(connection.direction, Some(Direction::Outbound));
        assert!(connection.remote.as_deref().unwrap().ends_with(&format!(":{}", pair.sshd.port())));
    }
    let http_out: Vec<_> = ours.iter().filter(|c| c.protocol == Some(Protocol::As2)).collect();
    assert!(!http_out.is_empty());
    let theirs = pair.globex.connections();
    let http_in: Vec<_> = theirs.iter().filter(|c| c.protocol == Some(Protocol::As2)).collect();
    assert!(http_in.iter().all(|c| c.direction == Some(Direction::Inbound)), "{http_in:?}");
    // Every socket between the two is on both records, with the same addresses crosswise.
    for connection in &http_out {
        assert_eq!(connection.endpoint.as_deref(), Some("globex-as2"));
        let other = http_in.iter().find(|c| c.remote == connection.local);
        assert!(
            other.is_some_and(|c| c.local == connection.remote),
            "{connection:?} is not among {http_in:?}"
        );
    }
    for connection in ours.iter().chain(&theirs) {
        assert!(connection.closed_at.is_some(), "not closed: {connection:?}");
        // One that was dialled for a request which then took another that had become free carries none.
        let used = connection.requests.unwrap() > 0;
        assert!(!used || connection.bytes_in.unwrap() > 0, "no bytes counted: {connection:?}");
    }
    let requests: u64 = http_out.iter().map(|c| c.requests.unwrap()).sum();
    assert_eq!(requests, samples().len() as u64);
}
