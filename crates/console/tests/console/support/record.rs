//! Transfers from their offer to their receipt, by the store's own commands.

use model::{
    AuditEvent, ConnectionId, Content, Delivery, DeliveryId, DeliveryState, ErrorKind, EventId, EventKind,
    EvidenceId, MdnEntity, Offer, OfferId, OfferIdentity, OfferState, PayloadId, PayloadRecord, Receipt,
    ReceiptKind, RemotePath, SendProgress, Sha256, Timestamp, Transfer, TransferId, TransferKind,
    TransferState, UNPROVEN_MDN, UnprovenMdn,
};
use serde_json::{Map, json};
use std::time::Duration;
use store::{
    Acquired, Act, ClaimFilter, EvidenceOf, Failure, Finish, IntakeCommit, IntakeCommitted, NewAnswerMessage,
    NewDelivery, NewEvidence, NewTransfer, NodeLease, RecordOffer, Reply, Store,
};
use uuid::Uuid;

/// How a transfer is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Delivered with an MDN.
    Completed,
    /// The first delivery with an MDN, the second refused.
    PartlyFailed,
    /// Refused.
    Failed,
    /// Tried once, to be tried again.
    Retrying,
    /// Sent, the receipt awaited.
    Awaiting,
    /// Not claimed yet.
    Pending,
    /// Half of it is on the wire.
    Sending,
    /// Held by a person.
    Held,
}

/// Records transfers.
pub(crate) struct Filler {
    store: Store,
    lease: NodeLease,
}

impl Filler {
    /// Takes the node's lease at that time, for long.
    pub(crate) async fn new(store: &Store, now: Timestamp) -> Self {
        let term = Duration::from_secs(10 * 365 * 86_400);
        match store.acquire_node(&"acme-1".parse().unwrap(), term, now, uuid::Uuid::nil()).await.unwrap() {
            Acquired::Held(lease) => Self { store: store.clone(), lease },
            Acquired::HeldUntil(until) => panic!("held until {until}"),
        }
    }

    /// One transfer that ends in that way.
    pub(crate) async fn transfer(
        &self,
        name: RemotePath,
        flow: &str,
        way: Way,
        at: Timestamp,
        connection: Option<ConnectionId>,
    ) -> TransferId {
        let parts: &[&str] =
            if way == Way::PartlyFailed { &["globex-as2", "archive-folder"] } else { &["globex-as2"] };
        let offer = offer(&name, flow, at);
        let transfer = transfer(&name, flow, at, &offer, parts);
        let id = transfer.transfer.id;
        let event = |kind, at| {
            AuditEvent::new(EventId::new(Uuid::now_v7()), at, "acme-1".parse().unwrap(), kind)
                .flow(flow)
                .transfer(id)
                .endpoint(parts[0])
        };
        let mut recorded = event(EventKind::TransferRecorded, at).peer_detail("file_name", name.to_text());
        if let Some(connection) = connection {
            recorded = recorded.connection(connection);
        }
        self.store
            .record_offer(RecordOffer {
                content: None,
                lease: self.lease.clone(),
                source: None,
                offer,
                settle_when: None,
                needs_payload: false,
                done_file: None,
                transfers: vec![transfer],
                events: vec![recorded],
                now: at,
            })
            .await
            .unwrap();
        match way {
            Way::Pending => {}
            Way::Held => {
                let ada = model::Actor::User("ada".into());
                let act = Act::new(ada, "acme-1".parse().unwrap(), at + Duration::from_secs(2));
                self.store.hold_transfer(id, &act).await.unwrap();
            }
            _ => self.deliver(id, way, at + Duration::from_millis(420), &event).await,
        }
        id
    }

    /// One that a partner sent, answered with an MDN.
    pub(crate) async fn received(&self, name: RemotePath, at: Timestamp) -> TransferId {
        self.received_proved(name, at, None).await
    }

    /// The same, with evidence of this id.
    pub(crate) async fn received_proved(
        &self,
        name: RemotePath,
        at: Timestamp,
        evidence: Option<EvidenceId>,
    ) -> TransferId {
        let offer = offer(&name, "incoming", at);
        let key = offer.id.to_string();
        self.store.intake_begin(&self.lease, &key, at).await.unwrap();
        let transfer = transfer(&name, "incoming", at, &offer, &["archive-folder"]);
        let id = transfer.transfer.id;
        let headers = [("AS2-From", "ACME"), ("Content-Type", "multipart/signed")];
        let head = json!({ "status": 200, "headers": headers });
        let about = json!({ "message_id": "<1@globex> <b>" });
        let evidence = evidence.map(|evidence| NewEvidence {
            id: evidence,
            of: EvidenceOf::Received(offer.id),
            transfer: id,
            keep_for: Duration::from_secs(86_400),
            about: about.as_object().unwrap().clone(),
            pieces: [("signature".to_owned(), b"0".to_vec())].into(),
            content: Some(transfer.transfer.payload.clone()),
            keeps_content: true,
        });
        let committed = self.store.intake_commit(IntakeCommit {
            answer_until: None,
            lease: self.lease.clone(),
            key,
            offer,
            transfers: vec![transfer],
            reply: Reply { head, body: b"--x".to_vec() },
            content: None,
            evidence,
            events: vec![],
            now: at,
        });
        assert_eq!(committed.await.unwrap(), IntakeCommitted::Committed);
        id
    }

    /// `rfq.edi`, which is delivered, with an answer that holds a payload of this name: the transfers of both, and of the
    /// receipt that is sent for the payload.
    pub(crate) async fn answered(&self, name: RemotePath, at: Timestamp) -> [TransferId; 3] {
        let sent = self.transfer("rfq.edi".into(), "orders", Way::Pending, at, None).await;
        let claimed = self.store.claim(&self.lease, 50, ClaimFilter::default(), at).await.unwrap();
        let claimed = claimed.into_iter().find(|one| one.transfer.id == sent).unwrap();
        let message = offer(&name, "", at);
        let mut payload = transfer(&name, "quotes", at, &message, &["archive-folder"]);
        (payload.transfer.kind, payload.transfer.parent) = (TransferKind::Reply, Some(sent));
        let mut receipt = transfer(&"mdn.eml".into(), "listener:globex-as2", at, &message, &["globex-as2"]);
        let of_payload = Some(payload.transfer.id);
        (receipt.transfer.kind, receipt.transfer.parent) = (TransferKind::Receipt, of_payload);
        let ids = [sent, payload.transfer.id, receipt.transfer.id];
        let event = |kind| {
            AuditEvent::new(EventId::new(Uuid::now_v7()), at, "acme-1".parse().unwrap(), kind).transfer(sent)
        };
        let answer = NewAnswerMessage {
            key: message.id.to_string(),
            offer: message,
            is_remembered: true,
            evidence: None,
            reply: Reply { head: json!({ "status": 200, "headers": [] }), body: Vec::new() },
            content: Sha256(openssl::sha::sha256(name.as_bytes())),
            repeated: event(EventKind::MessageRepeated),
            differs: event(EventKind::MessageContentDiffers),
        };
        let finish = Finish::Delivered { receipt: mdn(at), replies: vec![payload, receipt] };
        let end = at + Duration::from_secs(2);
        self.store.finish_answered(&claimed.claim, finish, end, vec![], None, answer).await.unwrap();
        ids
    }

    /// The receipt for a message that was refused.
    pub(crate) async fn refused(&self, at: Timestamp) -> TransferId {
        let message = offer(&"refused.edi".into(), "", at);
        let key = message.id.to_string();
        self.store.intake_begin(&self.lease, &key, at).await.unwrap();
        let mut receipt = transfer(&"mdn.eml".into(), "listener:as2", at, &message, &["globex-as2"]);
        (receipt.transfer.kind, receipt.transfer.offer) = (TransferKind::Receipt, None);
        let id = receipt.transfer.id;
        let refused = self.store.intake_refuse(&self.lease, &key, None, vec![receipt], vec![], at);
        assert!(refused.await.unwrap());
        id
    }

    async fn deliver(
        &self,
        id: TransferId,
        way: Way,
        at: Timestamp,
        event: &impl Fn(EventKind, Timestamp) -> AuditEvent,
    ) {
        let claimed = self.store.claim(&self.lease, 50, ClaimFilter::default(), at).await.unwrap();
        let mut place = 0;
        for claim in claimed.into_iter().filter(|claim| claim.transfer.id == id) {
            let end = at + Duration::from_millis(1_350 + 400 * place);
            let fails =
                way == Way::Failed || way == Way::Retrying || (way == Way::PartlyFailed && place == 1);
            let error = Failure {
                kind: ErrorKind::Unreachable,
                text: "deliver to globex-as2: cannot connect to as2.globex.example:443: connection refused; \
                       the host answers, nothing listens there"
                    .into(),
            };
            if way == Way::Failed {
                let note = UnprovenMdn {
                    attempt: 1,
                    status: 200,
                    content_type: "x".into(),
                    mdn: MdnEntity::new(b"Content-Type: x\r\n\r\n<script>".to_vec()),
                };
                let note = serde_json::to_value(note).unwrap();
                self.store.note(&claim.claim, UNPROVEN_MDN, note).await.unwrap();
            }
            if way == Way::Sending {
                let gib = 1 << 30;
                let (from, sent, total) = (20 * gib, 50 * gib, Some(100 * gib));
                let progress = SendProgress { attempt: 1, from, sent, total, millis: 320_000 };
                self.store.note_progress(&claim.claim, &progress).await.unwrap();
                place += 1;
                continue;
            }
            let (finish, kind) = match way {
                Way::Awaiting => (
                    Finish::Awaiting { deadline: at + Duration::from_secs(7200), replies: vec![] },
                    EventKind::DeliveryAwaiting,
                ),
                Way::Retrying => (
                    Finish::Retry { due_at: end + Duration::from_secs(3600), error: error.clone() },
                    EventKind::DeliveryRetrying,
                ),
                _ if fails => (
                    Finish::Fail { error: error.clone(), receipt: None, lane_continues: false },
                    EventKind::DeliveryFailed,
                ),
                _ => (Finish::Delivered { receipt: mdn(end), replies: vec![] }, EventKind::DeliveryDelivered),
            };
            let mut line = event(kind, end).delivery(claim.delivery.id).detail("attempt", 1);
            line =
                if fails { line.peer_detail("error", &error.text) } else { line.detail("summary", SUMMARY) };
            self.store.finish(&claim.claim, finish, end, vec![line]).await.unwrap();
            place += 1;
        }
        assert!(place > 0, "nothing was claimed");
    }
}

const SUMMARY: &str = "automatic-action/MDN-sent-automatically; processed";

fn mdn(at: Timestamp) -> Receipt {
    let detail = json!({
        "message_id": format!("<{}@acme.example>", Uuid::new_v4().simple()),
        "disposition": SUMMARY,
        "mic": "dYkV9tTWpS0q7wcTt0wqDk1qz2Xl5pY8F3nJc7mQe4U=, sha256",
        "mic_matched": true,
        "signed": true,
        "status": 200,
        "mdn_content_type": "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256",
    });
    Receipt {
        kind: ReceiptKind::Mdn,
        at,
        positive: true,
        summary: SUMMARY.into(),
        detail: detail.as_object().cloned().unwrap_or_default(),
        connection: None,
        mdn: Some(MdnEntity::new(b"MIME-Version: 1.0\n".repeat(60))),
    }
}

fn offer(name: &RemotePath, flow: &str, at: Timestamp) -> Offer {
    let mut path = b"/outgoing/".to_vec();
    path.extend_from_slice(name.as_bytes());
    Offer {
        id: OfferId::new(Uuid::now_v7()),
        identity: OfferIdentity {
            flow: flow.into(),
            endpoint: "acme-sftp".into(),
            path: RemotePath::from_bytes(path),
            size: Some(18_432),
            modified: Some(at - Duration::from_secs(30)),
            version: None,
            rule: model::IdentityRule::default(),
        },
        state: OfferState::Staging,
        found_at: at - Duration::from_millis(870),
        failures: 0,
        source_data: Map::new(),
    }
}

fn transfer(name: &RemotePath, flow: &str, at: Timestamp, offer: &Offer, to: &[&str]) -> NewTransfer {
    let id = TransferId::new(Uuid::now_v7());
    let length = 512 + u64::from(crc(name.as_bytes())) % 5_000_000;
    NewTransfer {
        transfer: Transfer {
            id,
            kind: TransferKind::Payload,
            flow: flow.into(),
            revision: 1,
            offer: Some(offer.id),
            parent: None,
            sequence: 1,
            partner: Some("globex".into()),
            payload: PayloadRecord {
                id: PayloadId::new(Uuid::now_v7()),
                length,
                content: Content::Staged(Sha256(openssl::sha::sha256(name.as_bytes()))),
                media_type: Some("application/edi-x12".into()),
                file_name: name.clone(),
                staged_at: at,
            },
            state: TransferState::Staged,
            created_at: at,
            metadata: json!({"as2_from": "ACME", "as2_to": "GLOBEX"}).as_object().cloned().unwrap(),
        },
        attachments: Vec::new(),
        failure_route: None,
        retain_for: Duration::from_secs(30 * 86_400),
        deliveries: to
            .iter()
            .map(|endpoint| NewDelivery {
                delivery: Delivery {
                    id: DeliveryId::new(Uuid::now_v7()),
                    transfer: id,
                    destination: endpoint.split('-').next().unwrap().into(),
                    endpoint: (*endpoint).into(),
                    revision: None,
                    file_name: name.clone(),
                    state: DeliveryState::Pending,
                    attempt: 0,
                    lane: None,
                    due_at: at,
                    expires_at: None,
                },
                counters: Vec::new(),
                has_steps: false,
                lane_continues: false,
            })
            .collect(),
    }
}

/// Any number that differs from name to name.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(17, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}
