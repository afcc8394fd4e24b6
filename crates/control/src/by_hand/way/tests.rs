//! Ways of messages, from records as the store gives them.

use super::*;
use model::{
    Certificate, ConnectionId, DeliveryId, Direction, EventId, PeerText, Protocol, Purpose, Receipt,
    Timestamp,
};
use serde_json::{Map, json};
use uuid::Uuid;

fn at() -> Timestamp {
    Timestamp::from_timestamp(1_795_183_800, 0).unwrap()
}

fn delivery(state: DeliveryState, receipt: Option<Receipt>, error: Option<&str>) -> DeliveryView {
    DeliveryView {
        id: DeliveryId::new(Uuid::from_u128(1)),
        destination: "globex-as2".into(),
        endpoint: "globex-as2".into(),
        revision: None,
        payload: None,
        file_name: "waybill-test-1.txt".into(),
        state,
        created_at: at(),
        updated_at: at(),
        lane: None,
        due_at: at(),
        opens_at: None,
        expires_at: None,
        receipt_deadline: (state == DeliveryState::AwaitingReceipt).then(at),
        receipt,
        error: error.map(str::to_owned),
        error_kind: None,
        ended_at: None,
        attempts: Vec::new(),
    }
}

fn receipt(kind: ReceiptKind, detail: serde_json::Value) -> Receipt {
    Receipt {
        kind,
        at: at(),
        positive: true,
        summary: "automatic-action/MDN-sent-automatically; processed".into(),
        connection: Some(ConnectionId::new(Uuid::from_u128(2))),
        mdn: None,
        detail: detail.as_object().cloned().unwrap_or_default(),
    }
}

fn connection(tls: bool) -> ConnectionView {
    let peer = Certificate {
        subject: PeerText::from("CN=as2.globex.example"),
        issuer: PeerText::from("CN=CA"),
        serial: "01".into(),
        sha256: "ab".into(),
        not_before: at(),
        not_after: at(),
    };
    let security = match tls {
        true => Security::Tls { version: "TLSv1.3".into(), cipher: "AES".into(), peer: Some(Box::new(peer)) },
        false => Security::None,
    };
    ConnectionView {
        id: ConnectionId::new(Uuid::from_u128(2)),
        node: "n1".into(),
        opened_at: at(),
        direction: Some(Direction::Outbound),
        protocol: Some(Protocol::As2),
        purpose: Some(Purpose::Deliver),
        endpoint: Some("globex-as2".into()),
        host: Some("as2.globex.example:443".into()),
        remote: Some("192.0.2.7:443".into()),
        local: None,
        proxy: None,
        security: Some(security),
        control: None,
        lost_at: None,
        closed_at: None,
        bytes_in: None,
        bytes_out: None,
        duration: None,
        requests: None,
        reason: None,
        failed: None,
    }
}

fn failure(kind: EventKind, failed_at: Option<&str>, connection: bool) -> EventView {
    let mut detail = Map::new();
    if let Some(step) = failed_at {
        detail.insert("failed_at".into(), step.into());
    }
    detail.insert(TELL_PARTNER.into(), "Please look.".into());
    EventView {
        id: EventId::new(Uuid::from_u128(3)),
        at: at(),
        node: "n1".into(),
        kind: kind.as_str().into(),
        severity: "error".into(),
        actor: "system".into(),
        flow: None,
        endpoint: None,
        partner: None,
        transfer: None,
        delivery: Some(DeliveryId::new(Uuid::from_u128(1))),
        connection: connection.then(|| ConnectionId::new(Uuid::from_u128(2))),
        peer: None,
        detail,
    }
}

fn shown(explained: &Explained) -> String {
    let step = |step: &ExchangeStep| format!("{} {}", step.step, step.standing.as_str());
    explained.steps.iter().map(step).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_step_of_a_delivered_message_says_what_was_seen() {
    let detail = json!({
        "status": 200, "signed": true, "signed_with": "globex-2026", "mic_matched": true, "mic": "Zm9v, sha256",
    });
    let delivery = delivery(DeliveryState::Delivered, Some(receipt(ReceiptKind::Mdn, detail)), None);
    let explained = explain_delivery(&delivery, &[], &[connection(true)]);
    assert_eq!(shown(&explained), "name ok, tcp ok, tls ok, status ok, receipt ok, signature ok, mic ok");
    assert_eq!((explained.passed, explained.tell_partner.as_deref()), (Some(true), None));
    let words: Vec<&str> = explained.steps.iter().map(|step| step.words.as_str()).collect();
    assert_eq!(words[0], "as2.globex.example:443: 192.0.2.7:443");
    assert!(
        words[2].starts_with("TLSv1.3, AES; CN=as2.globex.example, valid until 2026-11-20"),
        "{}",
        words[2]
    );
    assert_eq!(words[3], "HTTP status 200");
    assert!(words[5].ends_with("globex-2026") && words[6].ends_with("Zm9v, sha256"));
}

#[test]
fn a_message_without_a_receipt_ends_at_the_status() {
    let receipt = receipt(ReceiptKind::HttpStatus, json!({"status": 204}));
    let delivery = delivery(DeliveryState::Delivered, Some(receipt), None);
    assert_eq!(shown(&explain_delivery(&delivery, &[], &[connection(false)])), "name ok, tcp ok, status ok");
}

#[test]
fn the_step_that_failed_is_named_by_the_error_and_not_by_its_words() {
    let failed = |failed_at: Option<&str>, connection: bool| {
        let delivery = delivery(DeliveryState::Failed, None, Some("could not do it"));
        let event = failure(EventKind::DeliveryFailed, failed_at, connection);
        let connections = if connection { vec![self::connection(false)] } else { Vec::new() };
        explain_delivery(&delivery, &[event], &connections)
    };
    for (failed_at, connection, expected) in [
        (Some("name"), true, "name FAILED, tcp not reached"),
        (Some("tcp"), true, "name ok, tcp FAILED, status not reached"),
        (Some("tls"), true, "name ok, tcp ok, tls FAILED, status not reached"),
        (Some("proxy"), true, "name ok, proxy FAILED"),
        (Some("status"), true, "tcp ok, status FAILED, receipt not reached"),
        (Some("receipt"), true, "status ok, receipt FAILED, signature not reached"),
        (Some("signature"), true, "receipt ok, signature FAILED, mic not reached"),
        (Some("mic"), true, "signature ok, mic FAILED"),
        // A connection that was lost on the way, and a key that cannot be read.
        (None, true, "tcp ok, status FAILED"),
        (None, false, "keys FAILED, name not reached"),
    ] {
        let explained = failed(failed_at, connection);
        let shown = shown(&explained);
        assert!(shown.contains(expected), "{failed_at:?}: {shown}");
        let step = explained.steps.iter().find(|step| step.standing == StepStanding::Failed).unwrap();
        assert!(step.advice.is_some() && step.words == "could not do it");
        assert_eq!(explained.tell_partner.as_deref(), Some("Please look."));
        assert_eq!(explained.passed, Some(false));
    }
}

#[test]
fn what_has_not_ended_is_open() {
    let waits = delivery(DeliveryState::AwaitingReceipt, None, None);
    let explained = explain_delivery(&waits, &[], &[connection(false)]);
    assert!(shown(&explained).ends_with("status ok, receipt waits, signature not reached, mic not reached"));
    assert_eq!((explained.passed, explained.receipt_until), (None, Some(at())));
    let pending = delivery(DeliveryState::Pending, None, None);
    assert!(shown(&explain_delivery(&pending, &[], &[])).starts_with("name waits, tcp not reached"));
}
