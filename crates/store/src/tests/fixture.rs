//! Offers, transfers and leases to test with.

use crate::either::on;
use crate::{
    Acquired, Claimed, FailureDestination, FailureRoute, NewDelivery, NewTransfer, NodeLease, RecordOffer,
    Recorded, Store,
};
use model::definition::SettleWhen;
use model::{
    Content, Delivery, DeliveryId, DeliveryState, NodeName, Offer, OfferId, OfferIdentity, OfferState,
    PayloadId, PayloadRecord, Receipt, ReceiptKind, Sha256, Timestamp, Transfer, TransferId, TransferKind,
    TransferState,
};
use serde_json::Map;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// This moment, in whole microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "PostgreSQL measures leases by its own clock, which this must match"
)]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_timestamp_micros(i64::try_from(since.as_micros()).unwrap()).unwrap()
}

pub(crate) fn after(at: Timestamp, millis: i64) -> Timestamp {
    at + chrono::TimeDelta::milliseconds(millis)
}

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// The installation of every node here.
pub(crate) const INSTANCE: Uuid = Uuid::nil();

/// A lease that does not end while a test looks ahead.
pub(crate) async fn lease(store: &Store, name: &str) -> NodeLease {
    lease_for(store, name, Duration::from_secs(86_400)).await
}

pub(crate) async fn lease_for(store: &Store, name: &str, term: Duration) -> NodeLease {
    match store.acquire_node(&node(name), term, now(), INSTANCE).await.unwrap() {
        Acquired::Held(lease) => lease,
        held => panic!("{held:?}"),
    }
}

pub(crate) fn payload() -> PayloadRecord {
    PayloadRecord {
        id: PayloadId::new(Uuid::now_v7()),
        length: 5,
        content: Content::Staged(Sha256([7; 32])),
        media_type: Some("application/edi-x12".into()),
        file_name: "po.edi".into(),
        staged_at: now(),
    }
}

pub(crate) fn offer(path: &str) -> Offer {
    Offer {
        id: OfferId::new(Uuid::now_v7()),
        identity: OfferIdentity {
            flow: "orders".into(),
            endpoint: "acme".into(),
            path: path.into(),
            size: Some(5),
            modified: None,
            version: None,
            rule: model::IdentityRule::default(),
        },
        state: OfferState::Staging,
        found_at: now(),
        failures: 0,
        source_data: Map::new(),
    }
}

/// A transfer of the flow `orders` with one delivery for each destination; a destination that begins with
/// `lane-` is a lane.
pub(crate) fn transfer(offer: Option<OfferId>, destinations: &[&str]) -> NewTransfer {
    let id = TransferId::new(Uuid::now_v7());
    NewTransfer {
        transfer: Transfer {
            id,
            kind: TransferKind::Payload,
            flow: "orders".into(),
            revision: 1,
            offer,
            parent: None,
            sequence: 1,
            partner: Some("globex".into()),
            payload: payload(),
            state: TransferState::Staged,
            created_at: now(),
            metadata: Map::new(),
        },
        attachments: Vec::new(),
        failure_route: None,
        retain_for: Duration::from_secs(3600),
        deliveries: destinations.iter().map(|to| delivery(id, to)).collect(),
    }
}

fn delivery(transfer: TransferId, to: &str) -> NewDelivery {
    NewDelivery {
        delivery: Delivery {
            id: DeliveryId::new(Uuid::now_v7()),
            transfer,
            destination: to.into(),
            endpoint: to.into(),
            revision: None,
            file_name: "po.edi".into(),
            state: DeliveryState::Pending,
            attempt: 0,
            lane: to.starts_with("lane-").then(|| to.to_owned()),
            due_at: after(now(), -1000),
            expires_at: None,
        },
        counters: Vec::new(),
        has_steps: false,
        lane_continues: false,
    }
}

/// A failure route to this destination, without steps.
pub(crate) fn failure_route(destination: &str) -> FailureRoute {
    FailureRoute {
        flow: "operations".into(),
        revision: 1,
        retain_for: Duration::from_secs(60),
        destinations: vec![FailureDestination {
            destination: destination.into(),
            endpoint: destination.into(),
            file_name: None,
            time_zone: None,
            lane: None,
            lane_continues: false,
            has_steps: false,
            expires_after: None,
        }],
        next: None,
    }
}

pub(crate) fn record(lease: &NodeLease, offer: Offer, transfers: Vec<NewTransfer>) -> RecordOffer {
    RecordOffer {
        content: None,
        lease: lease.clone(),
        source: None,
        offer,
        settle_when: Some(SettleWhen::Recorded),
        needs_payload: false,
        done_file: None,
        transfers,
        events: Vec::new(),
        now: now(),
    }
}

/// Records a file with one transfer to these destinations.
pub(crate) async fn recorded(
    store: &Store,
    lease: &NodeLease,
    path: &str,
    to: &[&str],
) -> (OfferId, NewTransfer) {
    let offer = offer(path);
    let id = offer.id;
    let new = transfer(Some(id), to);
    let answer = store.record_offer(record(lease, offer, vec![new.clone()])).await.unwrap();
    assert_eq!(answer, Recorded::Recorded);
    (id, new)
}

/// The same, with the event of its recording.
pub(crate) async fn recorded_with_event(
    store: &Store,
    lease: &NodeLease,
    path: &str,
    to: &[&str],
) -> NewTransfer {
    let offer = offer(path);
    let new = transfer(Some(offer.id), to);
    let event = model::AuditEvent::new(
        model::EventId::new(Uuid::now_v7()),
        now(),
        lease.node.clone(),
        model::EventKind::TransferRecorded,
    );
    let mut record = record(lease, offer, vec![new.clone()]);
    record.events = vec![event.transfer(new.transfer.id)];
    assert_eq!(store.record_offer(record).await.unwrap(), Recorded::Recorded);
    new
}

/// A file whose flow has steps for all destinations that do not begin with `plain`, with the event of its recording.
pub(crate) async fn recorded_with_steps(
    store: &Store,
    lease: &NodeLease,
    path: &str,
    to: &[&str],
    change: impl FnOnce(&mut NewTransfer),
) -> NewTransfer {
    let offer = offer(path);
    let mut new = transfer(Some(offer.id), to);
    for new in &mut new.deliveries {
        new.has_steps = !new.delivery.destination.starts_with("plain");
    }
    change(&mut new);
    let mut record = record(lease, offer, vec![new.clone()]);
    record.events = vec![event(lease, model::EventKind::TransferRecorded).transfer(new.transfer.id)];
    assert_eq!(store.record_offer(record).await.unwrap(), Recorded::Recorded);
    new
}

/// An event of a node.
pub(crate) fn event(lease: &NodeLease, kind: model::EventKind) -> model::AuditEvent {
    model::AuditEvent::new(model::EventId::new(Uuid::now_v7()), now(), lease.node.clone(), kind)
}

/// The transfers whose steps can be claimed.
pub(crate) async fn claim_steps(store: &Store, lease: &NodeLease) -> Vec<crate::ClaimedSteps> {
    store.claim_steps(lease, 100, i64::MAX, now()).await.unwrap()
}

/// The one of them.
pub(crate) async fn claim_one_steps(store: &Store, lease: &NodeLease) -> crate::ClaimedSteps {
    let mut claimed = claim_steps(store, lease).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

/// What a step made of a payload.
pub(crate) fn made(lease: &NodeLease, parent: &PayloadRecord) -> crate::MadePayload {
    crate::MadePayload {
        payload: PayloadRecord { length: 6, content: Content::Staged(Sha256([8; 32])), ..payload() },
        parent: parent.clone(),
        made_by: "convert_charset from ISO-8859-1 to UTF-8".into(),
        event: event(lease, model::EventKind::StepDone),
    }
}

/// The end of steps that made one payload for all claimed deliveries.
pub(crate) fn steps_done(lease: &NodeLease, claimed: &crate::ClaimedSteps) -> (crate::StepsEnd, PayloadId) {
    let made = made(lease, &claimed.transfer.payload);
    let id = made.payload.id;
    let sent = claimed.deliveries.iter().map(|delivery| (delivery.id, id)).collect();
    (crate::StepsEnd::Done { made: vec![made], sent, failed: Vec::new() }, id)
}

/// The end of steps that failed for good.
pub(crate) fn steps_failed(lease: &NodeLease, claimed: &crate::ClaimedSteps) -> crate::StepsEnd {
    let failed = claimed.deliveries.iter().map(|delivery| crate::FailedSteps {
        delivery: delivery.id,
        error: crate::Failure { kind: model::ErrorKind::IntegrityFailed, text: "bytes e9".into() },
        lane_continues: false,
        event: event(lease, model::EventKind::DeliveryFailed).endpoint(&delivery.endpoint),
    });
    crate::StepsEnd::Done { made: Vec::new(), sent: Vec::new(), failed: failed.collect() }
}

pub(crate) async fn claim(store: &Store, lease: &NodeLease) -> Vec<Claimed> {
    store.claim(lease, 100, crate::ClaimFilter::default(), now()).await.unwrap()
}

/// The one delivery that can be claimed.
pub(crate) async fn claim_one(store: &Store, lease: &NodeLease) -> Claimed {
    let mut claimed = claim(store, lease).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

pub(crate) fn receipt(positive: bool) -> Receipt {
    Receipt {
        kind: ReceiptKind::Mdn,
        at: now(),
        positive,
        summary: if positive { "processed" } else { "processed/error: decryption-failed" }.into(),
        detail: Map::new(),
        connection: None,
        mdn: None,
    }
}

pub(crate) fn delivered() -> crate::Finish {
    crate::Finish::Delivered { receipt: receipt(true), replies: Vec::new() }
}

pub(crate) fn failed(lane_continues: bool) -> crate::Finish {
    let error = crate::Failure { kind: model::ErrorKind::PermissionDenied, text: "550 no".into() };
    crate::Finish::Fail { error, receipt: None, lane_continues }
}

pub(crate) fn retry(due_at: Timestamp) -> crate::Finish {
    let error = crate::Failure { kind: model::ErrorKind::Unreachable, text: "refused".into() };
    crate::Finish::Retry { due_at, error }
}

pub(crate) async fn transfer_state(store: &Store, id: TransferId) -> TransferState {
    store.transfer(id).await.unwrap().unwrap().state
}

pub(crate) async fn delivery_states(store: &Store, id: TransferId) -> Vec<DeliveryState> {
    store.deliveries(id).await.unwrap().into_iter().map(|delivery| delivery.state).collect()
}

/// How many events of a kind there are.
pub(crate) async fn events(store: &Store, kind: model::EventKind) -> i64 {
    on!(store.pool(), c => sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE kind = $1")
        .bind(kind.as_str()).fetch_one(c).await)
    .unwrap()
}
