use super::*;
use serde_json::json;

fn words<'a>(kind: &'a str, detail: &'a Map<String, Value>) -> EventWords<'a> {
    EventWords {
        kind,
        actor: "user:ada",
        node: "n1",
        flow: Some("orders"),
        endpoint: Some("globex-as2"),
        partner: Some("globex"),
        peer: Some("203.0.113.9:443"),
        detail,
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// What each kind must say when its event has everything: who, where, to what, and why.
fn told(kind: EventKind) -> &'static [&'static str] {
    match kind {
        EventKind::NodeStarted => &["n1", "1.2"],
        EventKind::NodeStopped => &["n1"],
        EventKind::NodeFenced => &["n2", "3 deliveries"],
        EventKind::DefinitionsApplied => &["ada", "revision 7", "/etc/flows"],
        EventKind::DefinitionsInForce => &["n1", "revision 7"],
        EventKind::DefinitionsRefused => &["n1", "revision 7", "revision 6", "refused"],
        EventKind::MasterKeyRotated => &["ada", "master key 2027", "5 secrets"],
        EventKind::MasterKeyForgotten => &["ada", "master key 2027", "5 secrets"],
        EventKind::PollFailed => &["globex-as2", "orders", "refused"],
        EventKind::OfferBackedOff | EventKind::OfferRefused | EventKind::SettleFailed => {
            &["out/a.edi", "globex-as2", "refused"]
        }
        EventKind::OfferChanged
        | EventKind::OfferMismatch
        | EventKind::OfferUnstable
        | EventKind::ArchiveRemoved
        | EventKind::OfferDuplicate
        | EventKind::OfferSettled => &["out/a.edi", "globex-as2"],
        EventKind::TransferRecorded => &["a.edi", "globex-as2", "orders", "700 bytes"],
        EventKind::TransferCompleted | EventKind::TransferFailed => &["orders", "1 of 2"],
        EventKind::TransferCancelled | EventKind::TransferReleased => &["ada", "orders"],
        EventKind::TransferResubmitted => &["ada", "orders", "0192f7a1"],
        EventKind::TransferHeld => &["ada", "a.edi", "as asked"],
        EventKind::TransferStreamed => &["a.edi", "globex-as2", "orders", "700 bytes"],
        EventKind::StepDone => &[
            "convert_charset from ISO-8859-1 to UTF-8 made 700 bytes, replacing 2 characters, of",
            "a.edi",
            "orders",
        ],
        EventKind::StepsRetrying => &["Attempt 2", "orders", "refused", "2026-11-20T15:00:00Z"],
        EventKind::StepsRequeued => &["ada", "orders", "done"],
        EventKind::StepsInterrupted => &["Attempt 2", "orders", "n2"],
        EventKind::DeliveryAttempted => &["Attempt 2", "globex-as2", "n1"],
        EventKind::DeliveryAwaiting => &["globex-as2", "2026-11-20T14:55:00Z"],
        EventKind::DeliveryDelivered => &["globex-as2", "mdn", "processed"],
        EventKind::DeliveryRetrying => &["Attempt 2", "globex-as2", "refused", "2026-11-20T15:00:00Z"],
        EventKind::DeliveryFailed => &["globex-as2", "refused"],
        EventKind::DeliveryExpired => &["globex-as2", "retrying"],
        EventKind::DeliveryCancelled => &["ada", "globex-as2", "retrying", "out/.old.a.edi"],
        EventKind::DeliveryRequeued => &["ada", "globex-as2", "retrying"],
        EventKind::DeliveryInterrupted => &["Attempt 2", "globex-as2", "n2"],
        EventKind::ReceiptUnmatched => &["globex", "<1@globex>"],
        EventKind::ReceiptUnproven => &["globex", "globex-as2", "refused"],
        EventKind::ReceiptIgnored => &["globex", "globex-as2", "retrying", "mdn"],
        EventKind::ListenerFailed => &["partners", "refused"],
        EventKind::ListenerLimitReached => &["partners", "9 were refused", "4 were closed"],
        EventKind::ListenerRecovered => &["partners"],
        EventKind::MessageRefused => &["globex", "203.0.113.9", "no such name"],
        EventKind::MessageRestarted => &["globex", "at byte 640", "of 1024"],
        EventKind::RestartUnsupported => &["globex", "done"],
        EventKind::LegacyUsed => &["globex", "SHA-1"],
        EventKind::CertificateExpires => {
            &["certificate.globex", "CN=Globex", "ends", "2027-01-01", "partner.globex"]
        }
        EventKind::CertificateExpired => &["certificate.globex", "CN=Globex", "has expired", "2027-01-01"],
        EventKind::CertificateFallback => &["globex", "SHA-1"],
        EventKind::CertificateProposed => &["globex", "CN=Globex"],
        EventKind::CertificateAccepted => &["ada", "accepted", "globex", "CN=Globex"],
        EventKind::CertificateRejected => &["ada", "rejected", "globex", "CN=Globex"],
        EventKind::CertificateAnnounced => &["ada", "key", "globex"],
        EventKind::CertificateAnswered | EventKind::CertificateUnanswered => &["globex", "key"],
        EventKind::CertificateIgnored => &["globex"],
        EventKind::MessageRepeated | EventKind::MessageContentDiffers => &["globex", "<1@globex>"],
        EventKind::MessagePartialKept => &["globex", "640 bytes", "of 1024"],
        EventKind::MessageContinued => &["globex", "at byte 640", "of 1024"],
        EventKind::MessagePartialRemoved => &["globex", "640 bytes", "done"],
        EventKind::ConnectionOpened => {
            &["AS2", "to as2.globex.example:443 (203.0.113.9:443)", "globex-as2", "to deliver", "TLSv1.3"]
        }
        EventKind::ConnectionClosed => {
            &["203.0.113.9:443", "globex-as2", "done", "1.25 s", "3 requests", "900 bytes in"]
        }
        EventKind::ConnectionWeakened => &["203.0.113.9:443", "globex-as2", "any host key"],
        EventKind::AgentKeyUsed => &["203.0.113.9:443", "globex-as2", "SHA256:abc"],
        EventKind::ConnectionFailed => &["AS2", "as2.globex.example:443", "globex-as2", "refused"],
        EventKind::ConnectionLost => &["203.0.113.9:443", "globex-as2", "n3"],
        EventKind::ConnectionStillOpen => &["203.0.113.9:443", "globex-as2"],
        EventKind::EndpointOffline => &["globex-as2", "2026-11-20T14:55:00Z"],
        EventKind::EndpointOnline | EventKind::EndpointQueueFree => &["globex-as2"],
        EventKind::AddressOffline => &["globex-as2", "2026-11-20T14:55:00Z", "sftp://b.example"],
        EventKind::AddressOnline => &["globex-as2", "sftp://b.example"],
        EventKind::EndpointQueueFull => &["globex-as2", "250"],
        EventKind::EndpointSetOffline | EventKind::EndpointSetOnline => &["ada", "globex-as2", "done"],
        EventKind::FlowFilesMissing => &["orders", "at least 2 files by 18:00", "2026-11-20", "1"],
        EventKind::FlowFilesArrived => &["orders", "at least 2 files by 18:00", "2026-11-20"],
        EventKind::FlowPaused | EventKind::FlowResumed => &["ada", "orders", "done"],
        EventKind::FlowWaitsForRoom => &["n1", "orders", "out/a.edi", "700 bytes"],
        EventKind::FlowHasRoom => &["orders"],
        EventKind::FlowPreferredNodeBehind => &["n1", "orders", "n7", "a file is missing"],
        EventKind::FlowRunRequested => &["ada", "orders"],
        EventKind::FlowRun => &["orders", "ada", "n1", "2 files accepted", "refused"],
        EventKind::FlowDryRun => &["ada", "orders", "5 files"],
        EventKind::EndpointTested => &["ada", "globex-as2", "done"],
        EventKind::KnownHostAdded => {
            &["ada", "getafix,172.22.52.130", "ssh-ed25519", "SHA256:abc", "0192f7c1"]
        }
        EventKind::KnownHostRemoved => &["ada", "getafix,172.22.52.130", "ssh-ed25519", "SHA256:abc"],
        EventKind::PayloadRemoved => &["a.edi"],
        EventKind::PayloadQuarantined => &["0192f7a0", "700 bytes"],
        EventKind::EvidenceRecorded => &["globex-as2"],
        EventKind::EvidenceRemoved => &["<1@globex>"],
        EventKind::EvidenceExported => &["ada", "<1@globex>"],
        EventKind::AuditRemoved => &["2026-01", "12 events"],
        EventKind::AuditKeyTrusted => &["n1", "k7"],
        EventKind::AuditRestored => &["ada", "done"],
        EventKind::AuditAlarm => &["n1", "seal 3 is gone"],
        EventKind::TimestampFailed => &["n1", "refused"],
        EventKind::TimestampRecovered => &["n1"],
        EventKind::LoginSucceeded | EventKind::LoginEnded => &["ada", "203.0.113.9"],
        EventKind::LoginFailed | EventKind::LoginThrottled => &["bob", "203.0.113.9", "as asked"],
        EventKind::UserChanged => &["ada", "bob", "made"],
    }
}

#[test]
fn every_kind_says_who_where_and_what() {
    let mut detail = object(
        json!({"refused": 9, "closed_while_idle": 4, "trusted_key": "k7", "alarm": "seal 3 is gone",
        "in_force": 6, "queue": 250, "address": "sftp://b.example", "key": "2027", "secrets": 5, "taken": 2, "takes": 5,
        "step": "convert_charset from ISO-8859-1 to UTF-8", "replaced": 2, "expected": "at least 2 files by 18:00", "day": "2026-11-20", "found": 1}),
    );
    detail.extend(object(json!({
        "version": "1.2", "node": "n2", "of_node": "n3", "deliveries": 3, "delivered": 1, "revision": 7, "source": "/etc/flows",
        "error": "connection refused", "path": "out/a.edi", "failures": 4, "outcome": "done", "file_name": "a.edi",
        "bytes": 700, "why": "as asked", "attempt": 2, "until": "2026-11-20T14:55:00Z", "receipt": "mdn",
        "summary": "processed", "next": "2026-11-20T15:00:00Z", "was": "retrying", "message_id": "<1@globex>",
        "listener": "partners", "used": "a signature by SHA-1", "reason": "done", "direction": "outbound", "protocol": "as2", "purpose": "deliver",
        "host": "as2.globex.example:443", "security": {"type": "tls", "version": "TLSv1.3"}, "duration_micros": 1_254_000,
        "requests": 3, "bytes_in": 900, "bytes_out": 1200, "weakened": "any host key", "payload": "0192f7a0",
        "month": "2026-01", "child": "0192f7a1", "events": 12, "user": "bob", "change": "made",
    })));
    detail.extend(object(json!({
        "preferred_node": "n7", "problem": "a file is missing", "hosts": "getafix,172.22.52.130", "key_type": "ssh-ed25519", "fingerprint": "SHA256:abc", "kept_of": "0192f7c1", "may_remain": "out/.old.a.edi"
    })));
    detail.extend(object(json!({
        "certificate": "certificate.globex", "subject": "CN=Globex", "not_after": "2027-01-01T00:00:00+00:00",
        "used_by": "partner.globex (as2.certificates)"
    })));
    detail.extend(object(json!({"received": 640, "from_byte": 640, "total": 1024})));
    let nothing = Map::new();
    for kind in EventKind::ALL {
        let mut detail = detail.clone();
        match kind {
            EventKind::MessageRefused => drop(detail.insert("reason".into(), json!("no such name"))),
            EventKind::TransferCompleted | EventKind::TransferFailed => {
                drop(detail.insert("deliveries".into(), json!(2)))
            }
            _ => {}
        }
        let summary = words(kind.as_str(), &detail).summary();
        for part in told(*kind) {
            assert!(summary.contains(part), "{kind}: {part} is not in: {summary}");
        }
        // And something when its event tells nothing.
        let bare = EventWords {
            flow: None,
            endpoint: None,
            partner: None,
            peer: None,
            ..words(kind.as_str(), &nothing)
        };
        let summary = bare.summary();
        assert!(
            summary.len() > 8 && !summary.contains("  ") && !summary.ends_with([' ', ':']),
            "{kind}: {summary}"
        );
    }
}

#[test]
fn connections_say_which_way_they_go() {
    let detail = object(json!({
        "direction": "inbound", "protocol": "http", "purpose": "console", "security": {"type": "none"}, "host": "gateway:8420",
    }));
    let event = EventWords { endpoint: None, ..words("connection.opened", &detail) };
    assert_eq!(
        event.summary(),
        "Connected: HTTP from 203.0.113.9:443, for a page of the console, not protected"
    );
    let failed =
        object(json!({"direction": "outbound", "protocol": "sftp", "host": "h:22", "error": "no route"}));
    let event = EventWords { peer: None, ..words("connection.failed", &failed) };
    assert_eq!(event.summary(), "Could not connect: SFTP to h:22, endpoint globex-as2: no route");
}

#[test]
fn kinds_of_a_newer_waybill_say_what_they_can() {
    let detail = object(json!({"reason": "because"}));
    assert_eq!(words("moon.landed", &detail).summary(), "because");
    assert_eq!(words("moon.landed", &Map::new()).summary(), "At globex-as2");
}
