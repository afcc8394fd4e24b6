//! What a person does to transfers, by way of the operations: what it changes, what is refused, what is on record.

#![allow(clippy::unwrap_used)] // What goes wrong here fails a test.

use config::{Catalogue, Settings};
use control::{
    Apply, BulkAnswer, BulkRequest, Caller, Control, CountRequest, KeptRevision, Parts, PlanRequest,
    ResubmitRequest, TransferAnswer, TransferRequest,
};
use model::{
    Actor, Content, Declaration, Delivery, DeliveryId, DeliveryState, ErrorKind, EventKind, NodeName, Offer,
    OfferId, OfferIdentity, OfferState, PayloadId, PayloadRecord, Receipt, ReceiptKind, Role, Sha256,
    Timestamp, Transfer, TransferAction, TransferId, TransferKind, TransferState,
};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{
    Acquired, ClaimFilter, EventFilter, EventView, Failure, Finish, NewDelivery, NewTransfer, NodeLease,
    Page, RecordOffer, Recorded, Store, StoreSettings, TransferFilter,
};
use transport_file::{FileTransport, LocalFiles};
use uuid::Uuid;

struct World {
    control: Control,
    store: Store,
    lease: NodeLease,
    directory: tempfile::TempDir,
    /// Microseconds since the beginning: each look at the clock is a moment later.
    clock: Arc<AtomicI64>,
}

fn start() -> Timestamp {
    Timestamp::from_timestamp_micros(1_795_183_800_000_000).unwrap()
}

fn node() -> NodeName {
    "n1".parse().unwrap()
}

/// A flow from `in` to `out`, and whatever else a test says.
const ORDERS: &str = r#"
[flow.orders]
source = { endpoint = "in", mask = "*", after = "delete", error_directory = "ROOT/bad" }
[[flow.orders.destination]]
endpoint = "out"
"#;

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let url = format!("sqlite:{}", place.join("waybill.db").display());
    let (store, _) = Store::open(&StoreSettings::new(url), Arc::new(Uuid::now_v7)).await.unwrap();
    let environment = config::ProcessEnvironment::at(start());
    std::fs::write(place.join("waybill.toml"), format!("[roots]\nfiles = [\"{}\"]\n", place.display()))
        .unwrap();
    let (settings, _) = Settings::load(Some(&place.join("waybill.toml")), Vec::new(), &environment).unwrap();
    let clock = Arc::new(AtomicI64::new(0));
    let time = Arc::clone(&clock);
    let transport: Arc<dyn Declaration> =
        Arc::new(FileTransport::of(LocalFiles::new([PathBuf::from(place)])));
    let control = Control::new(Parts {
        store: store.clone(),
        settings,
        catalogue: Catalogue::from_iter([transport]),
        now: Arc::new(move || {
            start() + Duration::from_micros(time.fetch_add(1, Ordering::SeqCst).unsigned_abs())
        }),
        ids: Arc::new(Uuid::now_v7),
        random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
    });
    let day = Duration::from_secs(86_400);
    let Acquired::Held(lease) = store.acquire_node(&node(), day, start(), Uuid::nil()).await.unwrap() else {
        unreachable!("nobody else is there")
    };
    let world = World { control, store, lease, directory, clock };
    world.define(ORDERS).await;
    world
}

impl World {
    /// Puts flows in force, with those of the endpoints `in`, `out` and `other` that they name.
    async fn define(&self, flows: &str) {
        let plan = self.written(flows);
        let applied = self.control.apply(&Caller::system(), &Apply { plan, base: None }).await.unwrap();
        assert!(applied.is_in_force(), "{applied}");
    }

    /// Writes the same definitions, and puts nothing in force.
    fn written(&self, flows: &str) -> PlanRequest {
        let place = self.directory.path();
        let endpoint = |name: &str| {
            format!("[endpoint.{name}]\ntransport = \"file\"\nurl = \"file://{}/{name}\"\n", place.display())
        };
        let endpoints: String = ["in", "out", "other"]
            .into_iter()
            .filter(|name| *name == "in" || flows.contains(&format!("\"{name}\"")))
            .map(endpoint)
            .collect();
        let definitions = place.join("definitions");
        std::fs::create_dir_all(&definitions).unwrap();
        let flows = flows.replace("ROOT", &place.display().to_string());
        std::fs::write(definitions.join("all.toml"), format!("{endpoints}{flows}")).unwrap();
        PlanRequest { directory: definitions, ..PlanRequest::default() }
    }

    /// Records a file of the flow, on its way to `out`.
    async fn recorded(&self, name: &str) -> TransferId {
        self.recorded_with(name, 1, Map::new()).await
    }

    /// The same by the flow of a revision, with metadata.
    async fn recorded_with(&self, name: &str, revision: i64, metadata: Map<String, Value>) -> TransferId {
        let id = TransferId::new(Uuid::now_v7());
        let at = start() + Duration::from_micros(self.clock.fetch_add(1, Ordering::SeqCst).unsigned_abs());
        let offer = Offer {
            id: OfferId::new(Uuid::now_v7()),
            identity: OfferIdentity {
                flow: "orders".into(),
                endpoint: "in".into(),
                path: name.into(),
                size: Some(5),
                modified: None,
                version: None,
                rule: model::IdentityRule::default(),
            },
            state: OfferState::Staging,
            found_at: at,
            failures: 0,
            source_data: Map::new(),
        };
        let transfer = Transfer {
            id,
            kind: TransferKind::Payload,
            flow: "orders".into(),
            revision,
            offer: Some(offer.id),
            parent: None,
            sequence: 3,
            partner: Some("globex".into()),
            payload: PayloadRecord {
                id: PayloadId::new(Uuid::now_v7()),
                length: 5,
                content: Content::Staged(Sha256([7; 32])),
                media_type: None,
                file_name: name.into(),
                staged_at: at,
            },
            state: TransferState::Staged,
            created_at: at,
            metadata,
        };
        let delivery = Delivery {
            id: DeliveryId::new(Uuid::now_v7()),
            transfer: id,
            destination: "out".into(),
            endpoint: "out".into(),
            revision: None,
            file_name: name.into(),
            state: DeliveryState::Pending,
            attempt: 0,
            lane: None,
            due_at: start(),
            expires_at: None,
        };
        let deliveries =
            vec![NewDelivery { delivery, counters: Vec::new(), has_steps: false, lane_continues: false }];
        let new = NewTransfer {
            transfer,
            retain_for: Duration::from_secs(3600),
            deliveries,
            attachments: Vec::new(),
            failure_route: None,
        };
        let record = RecordOffer {
            content: None,
            lease: self.lease.clone(),
            source: None,
            offer,
            settle_when: None,
            needs_payload: false,
            done_file: None,
            transfers: vec![new],
            events: Vec::new(),
            now: at,
        };
        assert_eq!(self.store.record_offer(record).await.unwrap(), Recorded::Recorded);
        id
    }

    /// Records a receipt that is sent later, on its way to `out`.
    async fn receipt(&self) -> TransferId {
        let message = self.recorded("received.edi").await;
        let mut transfer = self.store.transfer(message).await.unwrap().unwrap();
        let mut delivery = self.store.deliveries(message).await.unwrap().remove(0);
        self.attempted(true).await;
        transfer.id = TransferId::new(Uuid::now_v7());
        (transfer.kind, transfer.flow) = (TransferKind::Receipt, "listener:as2".into());
        (transfer.state, transfer.payload.id) = (TransferState::Staged, PayloadId::new(Uuid::now_v7()));
        (delivery.id, delivery.transfer) = (DeliveryId::new(Uuid::now_v7()), transfer.id);
        let id = transfer.id;
        let deliveries =
            vec![NewDelivery { delivery, counters: Vec::new(), has_steps: false, lane_continues: false }];
        let new = NewTransfer {
            transfer,
            retain_for: Duration::from_secs(3600),
            deliveries,
            attachments: Vec::new(),
            failure_route: None,
        };
        self.store.intake_begin(&self.lease, "message", start()).await.unwrap();
        let refused =
            self.store.intake_refuse(&self.lease, "message", None, vec![new], vec![], start()).await;
        assert!(refused.unwrap());
        id
    }

    /// Makes an attempt at all that is due; it succeeds or fails for good.
    async fn attempted(&self, succeeds: bool) {
        let now = start() + Duration::from_secs(60);
        for one in self.store.claim(&self.lease, 1000, ClaimFilter::default(), now).await.unwrap() {
            let finish = if succeeds {
                let receipt = Receipt {
                    kind: ReceiptKind::Path,
                    at: now,
                    positive: true,
                    summary: "/out/a".into(),
                    connection: None,
                    mdn: None,
                    detail: Map::new(),
                };
                Finish::Delivered { receipt, replies: Vec::new() }
            } else {
                let error = Failure { kind: ErrorKind::PermissionDenied, text: "550 no".into() };
                Finish::Fail { error, receipt: None, lane_continues: false }
            };
            self.store.finish(&one.claim, finish, now, vec![]).await.unwrap();
        }
    }

    async fn state(&self, id: TransferId) -> TransferState {
        self.store.transfer(id).await.unwrap().unwrap().state
    }

    async fn events(&self, kind: EventKind) -> Vec<EventView> {
        let filter = EventFilter { kind: Some(kind.as_str().into()), ..EventFilter::default() };
        self.store.events(&filter, Page::first(500)).await.unwrap().rows
    }

    /// Does an action to all that a filter means; answers its batches together.
    async fn in_bulk(&self, action: TransferAction, filter: TransferFilter, request: Uuid) -> BulkAnswer {
        let count = CountRequest { action, filter };
        let counted = self.control.count_transfers(&operator(), &count).await.unwrap();
        let (mut all, mut after) = (BulkAnswer::default(), None);
        loop {
            let filter = counted.filter.clone();
            let batch = BulkRequest { request, action, filter, reason: Some("clean up".into()), after };
            let answer = self.control.act_on_transfers(&operator(), &batch).await.unwrap();
            assert!(answer.done.len() + answer.refused.len() <= 100, "a batch is bounded");
            all.done.extend(answer.done);
            all.refused.extend(answer.refused);
            after = answer.next;
            if after.is_none() {
                assert!(all.done.len() as u64 <= counted.transfers, "no more than were counted");
                return all;
            }
        }
    }
}

fn caller(role: Role) -> Caller {
    Caller { actor: Actor::User("ada".into()), role }
}

fn operator() -> Caller {
    caller(Role::Operator)
}

fn of(transfer: TransferId) -> TransferRequest {
    TransferRequest { transfer, reason: Some("the partner asked".into()) }
}

fn resubmit(transfer: TransferId, request: Uuid) -> ResubmitRequest {
    ResubmitRequest { transfer, request, reason: Some("the partner lost it".into()) }
}

fn in_flow() -> TransferFilter {
    TransferFilter { flow: Some("orders".into()), ..TransferFilter::default() }
}

#[tokio::test]
async fn each_action_changes_the_transfer_and_names_who_did_it_and_why() {
    let world = world().await;
    let (control, ada) = (&world.control, operator());
    let id = world.recorded("a.edi").await;
    let held = control.hold_transfer(&ada, &of(id)).await.unwrap();
    assert_eq!((held.action, held.changed, held.state), (TransferAction::Hold, true, TransferState::Held));
    let again = control.hold_transfer(&ada, &of(id)).await.unwrap();
    assert_eq!((again.changed, again.state), (false, TransferState::Held));
    let released = control.release_transfer(&ada, &of(id)).await.unwrap();
    assert_eq!((released.changed, released.state), (true, TransferState::Delivering));
    world.attempted(false).await;
    assert_eq!(world.state(id).await, TransferState::Failed);
    let retried = control.retry_transfer(&ada, &of(id)).await.unwrap();
    assert_eq!((retried.deliveries, retried.state), (1, TransferState::Delivering));
    let cancelled = control.cancel_transfer(&ada, &of(id)).await.unwrap();
    assert_eq!((cancelled.deliveries, cancelled.state), (1, TransferState::Cancelled));
    let request = Uuid::now_v7();
    let made = control.resubmit_transfer(&ada, &resubmit(id, request)).await.unwrap();
    let child = made.child.unwrap();
    assert_eq!((made.changed, world.state(child).await), (true, TransferState::Delivering));
    // What it says can be read back: it is what programs get.
    for answer in [held, released, retried, cancelled, made] {
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<TransferAnswer>(&text).unwrap(), answer);
    }
    for (kind, of, reason) in [
        (EventKind::TransferHeld, id, "the partner asked"),
        (EventKind::TransferReleased, id, "the partner asked"),
        (EventKind::DeliveryRequeued, id, "the partner asked"),
        (EventKind::TransferCancelled, id, "the partner asked"),
        (EventKind::TransferResubmitted, id, "the partner lost it"),
        (EventKind::TransferRecorded, child, "the partner lost it"),
    ] {
        let events = world.events(kind).await;
        assert_eq!(events.len(), 1, "{kind}");
        let event = &events[0];
        assert_eq!((event.actor.as_str(), event.transfer), ("user:ada", Some(of)), "{kind}");
        assert_eq!(event.detail["reason"], reason, "{kind}");
        assert_eq!(event.flow.as_deref(), Some("orders"), "{kind}");
    }
    assert_eq!(world.events(EventKind::TransferRecorded).await[0].detail["parent"], id.to_string());
}

#[tokio::test]
async fn only_those_who_operate_transfers_may() {
    let world = world().await;
    let control = &world.control;
    let done = world.recorded("done.edi").await;
    world.attempted(true).await;
    let id = world.recorded("a.edi").await;
    for role in [Role::Viewer, Role::Auditor] {
        let caller = caller(role);
        let count = CountRequest { action: TransferAction::Cancel, filter: in_flow() };
        let bulk = BulkRequest {
            request: Uuid::now_v7(),
            action: TransferAction::Cancel,
            filter: in_flow(),
            reason: None,
            after: None,
        };
        for refused in [
            control.retry_transfer(&caller, &of(id)).await.unwrap_err(),
            control.hold_transfer(&caller, &of(id)).await.unwrap_err(),
            control.release_transfer(&caller, &of(id)).await.unwrap_err(),
            control.cancel_transfer(&caller, &of(id)).await.unwrap_err(),
            control.resubmit_transfer(&caller, &resubmit(done, Uuid::now_v7())).await.unwrap_err(),
            control.count_transfers(&caller, &count).await.unwrap_err(),
            control.act_on_transfers(&caller, &bulk).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
        }
    }
    assert_eq!(world.state(id).await, TransferState::Delivering);
    assert!(world.events(EventKind::TransferCancelled).await.is_empty());
    for role in [Role::Operator, Role::Designer, Role::Admin] {
        let caller = caller(role);
        assert!(control.hold_transfer(&caller, &of(id)).await.unwrap().changed, "{role}");
        assert!(control.release_transfer(&caller, &of(id)).await.unwrap().changed, "{role}");
        assert!(!control.retry_transfer(&caller, &of(id)).await.unwrap().changed, "{role}");
        let again = control.resubmit_transfer(&caller, &resubmit(done, Uuid::now_v7())).await.unwrap();
        assert!(again.changed, "{role}");
        let made = world.recorded(&format!("{role}.edi")).await;
        assert!(control.cancel_transfer(&caller, &of(made)).await.unwrap().changed, "{role}");
    }
}

#[tokio::test]
async fn a_resubmission_goes_where_the_flow_says_now_and_is_one_however_often_it_is_asked_for() {
    let world = world().await;
    let id = world.recorded("a.edi").await;
    world.attempted(true).await;
    world
        .define(
            "[flow.orders]\nsource = { endpoint = \"in\", mask = \"*\", after = \"delete\", error_directory = \"ROOT/bad\" }\nretention = \"7d\"\n\
             [[flow.orders.destination]]\nendpoint = \"out\"\nfile_name = \"{stem}-{sequence}-{received:%Y}{ext}\"\n\
             [[flow.orders.destination]]\nendpoint = \"other\"\n",
        )
        .await;
    let request = Uuid::now_v7();
    let ask = || async {
        let made = world.control.resubmit_transfer(&operator(), &resubmit(id, request)).await.unwrap();
        (made.changed, made.child.unwrap(), made.state)
    };
    let (first, child, state) = ask().await;
    assert_eq!((first, state), (true, TransferState::Completed), "the parent stays as it is");
    assert_eq!(ask().await, (false, child, state));
    let names: Vec<(String, String)> = world
        .store
        .deliveries(child)
        .await
        .unwrap()
        .into_iter()
        .map(|one| (one.endpoint, one.file_name.to_text()))
        .collect();
    let mut names = names;
    names.sort();
    assert_eq!(names, [("other".into(), "a.edi".into()), ("out".to_owned(), "a-3-2026.edi".to_owned())]);
    let child = world.store.transfer(child).await.unwrap().unwrap();
    let parent = world.store.transfer(id).await.unwrap().unwrap();
    assert_eq!(
        (child.parent, child.payload.id, child.partner),
        (Some(id), parent.payload.id, parent.partner)
    );
    assert_eq!((parent.revision, child.revision), (1, 2), "each goes through the flow of its own revision");
    assert!(world.store.waybill(id).await.unwrap().unwrap().children.len() == 1);
    // Another request is another transfer.
    let other = world.control.resubmit_transfer(&operator(), &resubmit(id, Uuid::now_v7())).await.unwrap();
    assert_ne!(other.child, Some(child.id));
}

#[tokio::test]
async fn a_resubmission_keeps_what_the_file_came_with_and_gets_what_the_flow_sets_now() {
    let world = world().await;
    let metadata = |table: &str| format!("{ORDERS}[flow.orders.metadata]\n{table}\n");
    world.define(&metadata("batch = \"{flow}\"\nkind = \"old\"")).await;
    let came = [("batch", "orders"), ("kind", "old"), ("source_modified", "2026-01-01")];
    let came = came.map(|(key, value)| (key.to_owned(), Value::from(value)));
    let id = world.recorded_with("a.edi", 2, Map::from_iter(came)).await;
    world.attempted(true).await;
    world.define(&metadata("kind = \"new\"")).await;
    let made = world.control.resubmit_transfer(&operator(), &resubmit(id, Uuid::now_v7())).await.unwrap();
    let child = world.store.transfer(made.child.unwrap()).await.unwrap().unwrap();
    let expected = [("kind", "new"), ("source_modified", "2026-01-01")];
    let expected = expected.map(|(key, value)| (key.to_owned(), Value::from(value)));
    assert_eq!(child.metadata, Map::from_iter(expected));
}

#[tokio::test]
async fn a_retry_goes_through_the_flow_in_force_and_says_where_it_cannot() {
    let world = world().await;
    let ids = [world.recorded("a.edi").await, world.recorded("b.edi").await];
    world.attempted(false).await;
    // Also where the flow is unchanged: other definitions of the revision may matter to it.
    world.define(&format!("{ORDERS}# Beside the endpoint \"other\".\n")).await;
    let retry = async |id| {
        let answer = world.control.retry_transfer(&operator(), &of(id)).await.unwrap();
        assert_eq!(answer.retried.len(), 1, "{answer:?}");
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<TransferAnswer>(&text).unwrap(), answer);
        (answer.retried[0].revision, answer.retried[0].kept)
    };
    assert_eq!(retry(ids[0]).await, (2, None));
    world.attempted(false).await;
    world.define(&format!("{ORDERS}prefix = \"new-\"\n")).await;
    assert_eq!(retry(ids[0]).await, (3, None));
    let delivery = &world.store.deliveries(ids[0]).await.unwrap()[0];
    assert_eq!((delivery.revision, delivery.file_name.to_text()), (Some(3), "a.edi".into()));
    assert_eq!(
        world.store.transfer(ids[0]).await.unwrap().unwrap().revision,
        1,
        "the transfer keeps its own"
    );
    world.attempted(false).await;

    // The destination is gone, its endpoint is not; then the flow.
    world
        .define(&format!(
            "{}[[flow.orders.destination]]\nendpoint = \"out\"\nname = \"renamed\"\n",
            ORDERS.replace("\"out\"", "\"other\"")
        ))
        .await;
    assert_eq!(retry(ids[0]).await, (3, Some(KeptRevision::DestinationRemoved)));
    world.attempted(false).await;
    world.define(&ORDERS.replace("flow.orders", "flow.others")).await;
    let bulk = world.in_bulk(TransferAction::Retry, in_flow(), Uuid::now_v7()).await;
    let mut told: Vec<_> =
        bulk.done.iter().map(|one| (one.transfer, one.retried[0].revision, one.retried[0].kept)).collect();
    told.sort_unstable_by_key(|(id, ..)| *id);
    let gone = Some(KeptRevision::FlowRemoved);
    assert_eq!(told, [(ids[0], 3, gone), (ids[1], 1, gone)]);
    world.attempted(false).await;

    // In bulk as one by one.
    world.define(ORDERS).await;
    let bulk = world.in_bulk(TransferAction::Retry, in_flow(), Uuid::now_v7()).await;
    assert!(
        bulk.done.iter().all(|one| (one.retried[0].revision, one.retried[0].kept) == (6, None)),
        "{bulk:?}"
    );
}

#[tokio::test]
async fn a_receipt_is_retried_without_a_word_of_flows_and_never_resubmitted() {
    let world = world().await;
    let id = world.receipt().await;
    world.attempted(false).await;
    assert_eq!(world.state(id).await, TransferState::Failed);
    let answer = world.control.retry_transfer(&operator(), &of(id)).await.unwrap();
    assert_eq!((answer.retried.len(), answer.retried[0].kept), (1, None), "{answer:?}");
    world.attempted(true).await;
    assert_eq!(world.state(id).await, TransferState::Completed);
    let again = resubmit(id, Uuid::now_v7());
    let error = world.control.resubmit_transfer(&operator(), &again).await.unwrap_err();
    assert!(error.chain().contains("belongs to one message"), "{}", error.chain());
}

#[tokio::test]
async fn what_is_no_longer_defined_is_named_and_nothing_changes() {
    let world = world().await;
    let id = world.recorded("a.edi").await;
    world.attempted(false).await;
    let moved = ORDERS.replace("\"out\"", "\"other\"");
    world.define(&moved).await;
    let error = world.control.retry_transfer(&operator(), &of(id)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(
        error.chain().contains("endpoint out") && error.chain().contains("resubmit"),
        "{}",
        error.chain()
    );
    assert_eq!(world.state(id).await, TransferState::Failed);
    // A resubmission goes where the flow goes now.
    let made = world.control.resubmit_transfer(&operator(), &resubmit(id, Uuid::now_v7())).await.unwrap();
    assert_eq!(world.store.deliveries(made.child.unwrap()).await.unwrap()[0].endpoint, "other");
    world.define(&moved.replace("flow.orders", "flow.renamed")).await;
    let error =
        world.control.resubmit_transfer(&operator(), &resubmit(id, Uuid::now_v7())).await.unwrap_err();
    assert!(
        error.chain().contains("flow orders") && error.chain().contains("define it again"),
        "{}",
        error.chain()
    );
    // In bulk each of them is refused with its reason, and the others are not kept back.
    let answer = world.in_bulk(TransferAction::Resubmit, in_flow(), Uuid::now_v7()).await;
    assert_eq!((answer.done.len(), answer.refused.len()), (0, 1), "{answer:?}");
    assert_eq!(answer.refused[0].transfer, Some(id));
    let unknown = world.control.retry_transfer(&operator(), &of(TransferId::new(Uuid::now_v7()))).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_plan_counts_the_unfinished_deliveries_of_an_endpoint_that_would_be_removed() {
    let world = world().await;
    world.recorded("done.edi").await;
    world.attempted(true).await;
    let moved = ORDERS.replace("\"out\"", "\"other\"");
    let warned = async || {
        let answer = world.control.plan(&caller(Role::Designer), &world.written(&moved)).await.unwrap();
        assert!(answer.plan.removed.iter().any(|removed| removed.definition == "endpoint.out"), "{answer}");
        let about = answer.plan.warnings.into_iter().filter(|warning| warning.definition == "endpoint.out");
        about.map(|warning| warning.message).collect::<Vec<_>>()
    };
    assert!(warned().await.is_empty(), "what is delivered needs it no more");
    world.recorded("a.edi").await;
    assert!(warned().await[0].starts_with("1 delivery to it is not finished"));
    world.recorded("b.edi").await;
    assert!(warned().await[0].starts_with("2 deliveries to it are not finished"));
}

#[tokio::test]
async fn in_bulk_each_is_done_once_in_bounded_batches() {
    let world = world().await;
    for n in 0..230 {
        world.recorded(&format!("{n}.edi")).await;
    }
    let held = world.in_bulk(TransferAction::Hold, in_flow(), Uuid::now_v7()).await;
    assert_eq!((held.done.len(), held.refused.len()), (230, 0));
    assert!(held.done.iter().all(|one| one.changed && one.state == TransferState::Held));
    let later = world.recorded("later.edi").await;
    let mask = TransferFilter { name_mask: Some("1?.edi".into()), ..TransferFilter::default() };
    let released = world.in_bulk(TransferAction::Release, mask, Uuid::now_v7()).await;
    assert_eq!(released.done.len(), 10);
    assert_eq!(world.state(later).await, TransferState::Delivering);
    world.attempted(true).await;
    // The eleven that were delivered, in the order of their recording, and not their own children.
    let request = Uuid::now_v7();
    let first = world.in_bulk(TransferAction::Resubmit, in_flow(), request).await;
    assert_eq!((first.done.len(), first.refused.len()), (11, 0), "{first:?}");
    assert_eq!(first.done.last().unwrap().transfer, later);
    world.attempted(true).await;
    let again = world.in_bulk(TransferAction::Resubmit, in_flow(), request).await;
    assert_eq!(again.done.iter().filter(|one| one.changed).count(), 0, "{again:?}");
    let children = |answer: &BulkAnswer| answer.done.iter().map(|one| one.child).collect::<Vec<_>>();
    assert_eq!(children(&first), children(&again));
    let events = world.events(EventKind::TransferHeld).await;
    assert_eq!(events.len(), 230);
    assert!(
        events
            .iter()
            .all(|event| event.detail["reason"] == "clean up" && event.detail["request"].is_string())
    );
}

#[tokio::test]
async fn a_request_that_means_everything_or_says_too_much_is_refused() {
    let world = world().await;
    let id = world.recorded("a.edi").await;
    let everything = CountRequest { action: TransferAction::Cancel, filter: TransferFilter::default() };
    let error = world.control.count_transfers(&operator(), &everything).await.unwrap_err();
    assert!(error.chain().contains("say which are meant"), "{}", error.chain());
    let long = TransferRequest { transfer: id, reason: Some("x".repeat(1001)) };
    let error = world.control.hold_transfer(&operator(), &long).await.unwrap_err();
    assert!(error.chain().contains("at most 1000 characters"), "{}", error.chain());
    assert_eq!(world.state(id).await, TransferState::Delivering);
    let mistyped = serde_json::from_str::<BulkRequest>(
        r#"{"request":"01890a5d-ac96-774b-bcce-b302099a8057","action":"cancel","filter":{"flw":"orders"}}"#,
    );
    assert!(mistyped.unwrap_err().to_string().contains("flw"));
}
