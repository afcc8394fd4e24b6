//! Saving what proves a message: who may, what the package holds, and that it is on record.

use crate::support::{World, bare_world, caller, start};
use control::evidence::{CANONICAL, CONTENT, MANIFEST};
use control::zip::ZipReader;
use control::{ExportEvidence, StagedPayloads};
use model::evidence::{Covered, MessageFacts, MessageWay, RECEIPT, SIGNATURE, SIGNED_HEAD, SIGNER};
use model::{
    AuditEvent, Content, Delivery, DeliveryId, DeliveryState, ErrorKind, EventId, EventKind, EvidenceId,
    NodeName, Offer, OfferId, OfferIdentity, OfferState, PayloadId, PayloadRecord, Role, Transfer,
    TransferId, TransferKind, TransferState,
};
use serde_json::{Map, Value, json};
use staging::{RealDisk, Staging};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Acquired, EvidenceOf, IntakeCommit, IntakeCommitted, NewDelivery, NewEvidence, NewTransfer, Reply,
};
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);
const HEAD: &[u8] = b"Content-Type: text/plain\r\n\r\n";
const ORDER: &[u8] = b"UNB+\nUNZ+\n";

fn node() -> NodeName {
    "n1".parse().unwrap()
}

fn facts() -> MessageFacts {
    MessageFacts {
        way: MessageWay::Received,
        partner: "globex".into(),
        identity: "acme".into(),
        as2_from: "GLOBEX".into(),
        as2_to: "ACME".into(),
        message_id: "<1@globex>".into(),
        date: None,
        subject: Some("Orders".into()),
        mic: Some("AAAA, sha-256".into()),
        mic_rule: None,
        covered: Covered::HeadAndContent,
        // The partner read LF as CRLF when it signed.
        canonical: true,
        signer: Some("00".into()),
        cipher: None,
        receipt_signer: None,
    }
}

/// A file in staging.
fn staged(world: &World) -> (PayloadRecord, StagedPayloads) {
    let staging = world.directory.path().join("staging");
    let staging = Staging::open(&staging, Arc::new(RealDisk), staging::Settings::default()).unwrap();
    let mut part = staging.begin(PayloadId::new(Uuid::now_v7())).unwrap();
    part.append(ORDER).unwrap();
    let staged = part.commit().unwrap();
    let payload = PayloadRecord {
        id: staged.id,
        length: staged.length,
        content: Content::Staged(staged.sha256),
        media_type: None,
        file_name: "po.edi".into(),
        staged_at: start(),
    };
    (payload, StagedPayloads::new(staging))
}

fn transfer(offer: OfferId, payload: &PayloadRecord) -> NewTransfer {
    let id = TransferId::new(Uuid::now_v7());
    let delivery = Delivery {
        id: DeliveryId::new(Uuid::now_v7()),
        transfer: id,
        destination: "out".into(),
        endpoint: "out".into(),
        revision: None,
        file_name: payload.file_name.clone(),
        state: DeliveryState::Pending,
        attempt: 0,
        lane: None,
        due_at: start(),
        expires_at: None,
    };
    NewTransfer {
        transfer: Transfer {
            id,
            kind: TransferKind::Payload,
            flow: "inbound".into(),
            revision: 1,
            offer: Some(offer),
            parent: None,
            sequence: 1,
            partner: Some("globex".into()),
            payload: payload.clone(),
            state: TransferState::Staged,
            created_at: start(),
            metadata: Map::new(),
        },
        attachments: Vec::new(),
        failure_route: None,
        retain_for: DAY,
        deliveries: vec![NewDelivery {
            delivery,
            counters: Vec::new(),
            has_steps: false,
            lane_continues: false,
        }],
    }
}

/// A message that was received, with its evidence.
async fn received(world: &World) -> (EvidenceId, StagedPayloads) {
    let (payload, payloads) = staged(world);
    let Acquired::Held(lease) = world.store.acquire_node(&node(), DAY, start(), Uuid::nil()).await.unwrap()
    else {
        unreachable!("nobody else is there")
    };
    let offer = Offer {
        id: OfferId::new(Uuid::now_v7()),
        identity: OfferIdentity {
            flow: "inbound".into(),
            endpoint: "as2/acme".into(),
            path: "<1@globex>".into(),
            size: None,
            modified: None,
            version: None,
            rule: model::IdentityRule::default(),
        },
        state: OfferState::Staging,
        found_at: start(),
        failures: 0,
        source_data: Map::new(),
    };
    let transfer = transfer(offer.id, &payload);
    let pieces = [
        (SIGNED_HEAD, HEAD),
        (SIGNATURE, &b"\x30\x00"[..]),
        (SIGNER, &b"der"[..]),
        (RECEIPT, &b"Content-Type: multipart/report\r\n\r\n"[..]),
    ];
    let evidence = NewEvidence {
        id: EvidenceId::new(Uuid::now_v7()),
        of: EvidenceOf::Received(offer.id),
        transfer: transfer.transfer.id,
        keep_for: DAY,
        about: facts().to_map(),
        pieces: pieces.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect(),
        content: Some(payload),
        keeps_content: true,
    };
    let recorded =
        AuditEvent::new(EventId::new(Uuid::now_v7()), start(), node(), EventKind::TransferRecorded);
    let id = evidence.id;
    world.store.intake_begin(&lease, "key", start()).await.unwrap();
    let committed = world.store.intake_commit(IntakeCommit {
        answer_until: None,
        lease,
        key: "key".into(),
        offer,
        events: vec![recorded.transfer(transfer.transfer.id)],
        transfers: vec![transfer],
        reply: Reply { head: json!({ "status": 200, "headers": [] }), body: vec![] },
        content: None,
        evidence: Some(evidence),
        now: start(),
    });
    assert_eq!(committed.await.unwrap(), IntakeCommitted::Committed);
    (id, payloads)
}

/// Who saved evidence.
async fn on_record(world: &World) -> Vec<String> {
    let filter = store::EventFilter { kind: Some("evidence.exported".into()), ..Default::default() };
    let events = world.store.events(&filter, store::Page::first(10)).await.unwrap().rows;
    events.into_iter().map(|event| event.actor).collect()
}

#[tokio::test]
async fn a_package_holds_all_that_proves_a_message() {
    let world = bare_world().await;
    let (evidence, payloads) = received(&world).await;
    let caller = caller(Role::Auditor);
    let request = ExportEvidence { evidence };
    let package = world.control.export_evidence(&caller, &payloads, &request).await.unwrap();
    assert_eq!(package.file_name(), format!("evidence-{evidence}.zip"));
    assert_eq!(on_record(&world).await, [caller.actor.to_text()]);

    let mut bytes = Vec::new();
    let files = package.write(&mut bytes).unwrap();
    let mut zip = ZipReader::open(Cursor::new(bytes)).unwrap();
    let canonical = [HEAD, b"UNB+\r\nUNZ+\r\n"].concat();
    for (path, content) in [
        (CONTENT, ORDER),
        (CANONICAL, &canonical[..]),
        ("message/signed-head.txt", HEAD),
        ("message/signature.p7s", &b"\x30\x00"[..]),
        ("certificates/signer.pem", &b"-----BEGIN CERTIFICATE-----\nZGVy\n-----END CERTIFICATE-----\n"[..]),
        ("receipt/receipt.eml", &b"Content-Type: multipart/report\r\n\r\n"[..]),
    ] {
        assert_eq!(zip.read_small(path, 1000).unwrap(), content, "{path}");
    }
    let readme = String::from_utf8(zip.read_small("README.txt", 100_000).unwrap()).unwrap();
    for words in
        ["<1@globex>", "cat message/canonical > signed.bin", "openssl cms -verify -binary", "AAAA\r\n"]
    {
        assert!(readme.contains(words), "{words}: {readme}");
    }

    // The manifest lists all others.
    let manifest: Value = serde_json::from_slice(&zip.read_small(MANIFEST, 100_000).unwrap()).unwrap();
    let told: Vec<&str> =
        manifest["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    let written: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let (manifest_itself, others) = written.split_last().unwrap();
    assert_eq!((*manifest_itself, told, zip.files().len()), (MANIFEST, others.to_vec(), files.len()));
    assert_eq!(MessageFacts::read(manifest["message"].as_object().unwrap()).unwrap(), facts());
    let kept = world.store.evidence(evidence).await.unwrap().unwrap();
    assert_eq!(manifest["digest"], kept.digest.to_string());
    // The event that the digest is in is there, and not sealed yet.
    let events = String::from_utf8(zip.read_small("audit/events.jsonl", 100_000).unwrap()).unwrap();
    assert!(events.lines().count() == 1 && events.contains(&kept.digest.to_string()), "{events}");
    assert!(readme.contains("No seal covers these events yet"), "{readme}");
}

#[tokio::test]
async fn it_is_for_those_who_may_and_while_it_is_kept() {
    let world = bare_world().await;
    let (evidence, payloads) = received(&world).await;
    let request = ExportEvidence { evidence };
    let refused = world.control.export_evidence(&caller(Role::Viewer), &payloads, &request).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
    let admin = caller(Role::Admin);
    let other = ExportEvidence { evidence: EvidenceId::new(Uuid::now_v7()) };
    let missing = world.control.export_evidence(&admin, &payloads, &other).await;
    assert_eq!(missing.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    assert_eq!(world.store.remove_evidence(&node(), start() + 2 * DAY).await.unwrap(), 1);
    let removed = world.control.export_evidence(&admin, &payloads, &request).await.err().unwrap();
    assert!(removed.kind() == ErrorKind::NotFound && removed.chain().contains("evidence.retention"));
    assert!(on_record(&world).await.is_empty());
}

#[tokio::test]
async fn bytes_that_are_gone_from_staging_are_an_error() {
    let world = bare_world().await;
    let (evidence, _) = received(&world).await;
    let elsewhere = world.directory.path().join("other");
    let elsewhere = Staging::open(&elsewhere, Arc::new(RealDisk), staging::Settings::default()).unwrap();
    let (caller, request) = (caller(Role::Admin), ExportEvidence { evidence });
    let payloads = StagedPayloads::new(elsewhere);
    let package = world.control.export_evidence(&caller, &payloads, &request).await.unwrap();
    assert_eq!(package.write(Vec::new()).unwrap_err().kind(), ErrorKind::NotFound);
}
