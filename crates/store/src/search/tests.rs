mod text;

use super::connections::statement as connections;
use super::events::statement as events;
use super::partners::{Which, exchanges, troubles};
use super::query::{Bind, Query};
use super::transfers::statement as transfers;
use super::*;
use crate::testing::{TestStore, at, both, event};
use crate::{Acquired, ClaimFilter, Failure, Finish, NewDelivery, NewTransfer, NodeLease, RecordOffer};
use chrono::TimeDelta;
use model::definition::SettleWhen;
use model::{
    AuditEvent, ConnectionId, Content, Delivery, DeliveryId, DeliveryState, EventKind, Offer, OfferId,
    OfferIdentity, OfferState, PayloadId, PayloadRecord, Receipt, ReceiptKind, Severity, Sha256, Timestamp,
    Transfer, TransferId, TransferKind, TransferState,
};
use serde_json::Map;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use std::time::Duration;
use uuid::Uuid;

async fn lease(store: &TestStore) -> NodeLease {
    match store
        .acquire_node(&"n1".parse().unwrap(), Duration::from_secs(3600), now(), Uuid::nil())
        .await
        .unwrap()
    {
        Acquired::Held(lease) => lease,
        held => panic!("{held:?}"),
    }
}

fn now() -> Timestamp {
    use chrono::SubsecRound as _;
    Timestamp::from(std::time::SystemTime::now()).trunc_subsecs(6)
}

fn new_transfer(name: &str, flow: &str, created_at: Timestamp, offer: Option<OfferId>) -> NewTransfer {
    let id = TransferId::new(Uuid::now_v7());
    let to = |destination: &str| NewDelivery {
        delivery: Delivery {
            id: DeliveryId::new(Uuid::now_v7()),
            transfer: id,
            destination: destination.into(),
            endpoint: format!("{destination}-as2"),
            revision: None,
            file_name: name.into(),
            state: DeliveryState::Pending,
            attempt: 0,
            lane: None,
            due_at: created_at,
            expires_at: None,
        },
        counters: Vec::new(),
        has_steps: false,
        lane_continues: false,
    };
    NewTransfer {
        transfer: Transfer {
            id,
            kind: TransferKind::Payload,
            flow: flow.into(),
            revision: 1,
            offer,
            parent: None,
            sequence: 1,
            partner: Some("globex".into()),
            payload: PayloadRecord {
                id: PayloadId::new(Uuid::now_v7()),
                length: 5,
                content: Content::Staged(Sha256([7; 32])),
                media_type: None,
                file_name: name.into(),
                staged_at: created_at,
            },
            state: TransferState::Staged,
            created_at,
            metadata: Map::new(),
        },
        attachments: Vec::new(),
        failure_route: None,
        retain_for: Duration::from_secs(3600),
        deliveries: vec![to("globex"), to("archive")],
    }
}

async fn record(
    store: &TestStore,
    lease: &NodeLease,
    name: &str,
    flow: &str,
    created_at: Timestamp,
) -> TransferId {
    let offer = Offer {
        id: OfferId::new(Uuid::now_v7()),
        identity: OfferIdentity {
            flow: flow.into(),
            endpoint: "acme".into(),
            path: name.into(),
            size: Some(5),
            modified: None,
            version: Some(created_at.to_string()),
            rule: model::IdentityRule::default(),
        },
        state: OfferState::Staging,
        found_at: created_at,
        failures: 0,
        source_data: Map::new(),
    };
    let new = new_transfer(name, flow, created_at, Some(offer.id));
    let id = new.transfer.id;
    let recorded = AuditEvent { kind: EventKind::TransferRecorded, at: created_at, ..event(0) };
    let command = RecordOffer {
        content: None,
        lease: lease.clone(),
        source: None,
        offer,
        settle_when: Some(SettleWhen::Recorded),
        needs_payload: false,
        done_file: None,
        transfers: vec![new],
        events: vec![recorded.transfer(id).connection(ConnectionId::new(Uuid::from_u128(5)))],
        now: created_at,
    };
    assert_eq!(store.record_offer(command).await.unwrap(), crate::Recorded::Recorded);
    id
}

async fn names(store: &TestStore, filter: TransferFilter) -> Vec<String> {
    let page = store.transfers(&filter, Page::first(100)).await.unwrap();
    page.rows.into_iter().map(|row| row.file_name.to_text().to_string()).collect()
}

both! {
    transfers_are_found_by_what_is_asked(store) {
        let lease = lease(&store).await;
        let start = now() - TimeDelta::hours(3);
        for (n, (name, flow)) in
            [("PO-1.edi", "orders"), ("po_2.edi", "orders"), ("100%.csv", "stock"), ("Ärger.txt", "stock")]
                .into_iter().enumerate()
        {
            record(&store, &lease, name, flow, start + TimeDelta::minutes(n as i64)).await;
        }
        let all = TransferFilter::default;
        assert_eq!(names(&store, all()).await, ["Ärger.txt", "100%25.csv", "po_2.edi", "PO-1.edi"]);
        let flow = TransferFilter { flow: Some("orders".into()), ..all() };
        assert_eq!(names(&store, flow).await, ["po_2.edi", "PO-1.edi"]);
        let contains = |text: &str| TransferFilter { name_contains: Some(text.into()), ..all() };
        assert_eq!(names(&store, contains("PO")).await, ["po_2.edi", "PO-1.edi"]);
        assert_eq!(names(&store, contains("o_")).await, ["po_2.edi"]);
        assert_eq!(names(&store, contains("%")).await, ["100%25.csv"]);
        assert_eq!(names(&store, contains("rger")).await, ["Ärger.txt"]);
        let begins = TransferFilter { name_begins: Some("PO".into()), ..all() };
        assert_eq!(names(&store, begins).await, ["PO-1.edi"]);
        let begins = TransferFilter { name_begins: Some("Ä".into()), ..all() };
        assert_eq!(names(&store, begins).await, ["Ärger.txt"]);
        let time = TransferFilter {
            from: Some(start + TimeDelta::minutes(1)), to: Some(start + TimeDelta::minutes(3)), ..all()
        };
        assert_eq!(names(&store, time).await, ["100%25.csv", "po_2.edi"]);
        let state = TransferFilter { state: Some(TransferState::Completed), ..all() };
        assert!(names(&store, state).await.is_empty());
        let state = TransferFilter { state: Some(TransferState::Delivering), partner: Some("globex".into()), ..all() };
        assert_eq!(names(&store, state).await.len(), 4);
        // Page by page, with the cursor as a URL has it.
        let mut seen = vec![];
        let mut after = None;
        loop {
            let page = store.transfers(&all(), Page { after, limit: 1 }).await.unwrap();
            seen.extend(page.rows.into_iter().map(|row| row.file_name.to_text().to_string()));
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, ["Ärger.txt", "100%25.csv", "po_2.edi", "PO-1.edi"]);
        assert!("x".parse::<Cursor>().is_err());
    }

    a_waybill_has_the_whole_way(store) {
        let lease = lease(&store).await;
        let id = record(&store, &lease, "po.edi", "orders", now() - TimeDelta::minutes(1)).await;
        let claimed = store.claim(&lease, 10, ClaimFilter::default(), now()).await.unwrap();
        assert_eq!(claimed.len(), 2);
        for claimed in &claimed {
            let finish = if claimed.delivery.destination == "globex" {
                Finish::Delivered {
                    receipt: Receipt {
                        kind: ReceiptKind::Path, at: now(), positive: true, summary: "/in/po.edi".into(),
                        connection: None, mdn: None, detail: Map::new(),
                    },
                    replies: vec![],
                }
            } else {
                let error = Failure { kind: model::ErrorKind::Unreachable, text: "refused".into() };
                Finish::Retry { due_at: now() + TimeDelta::hours(1), error }
            };
            let done = AuditEvent { kind: EventKind::DeliveryAttempted, at: now(), ..event(0) };
            store.finish(&claimed.claim, finish, now(), vec![done.transfer(id)]).await.unwrap();
        }
        let waybill = store.waybill(id).await.unwrap().unwrap();
        assert_eq!((waybill.transfer.deliveries, waybill.transfer.delivered), (2, 1));
        assert_eq!(waybill.offer.unwrap().state, OfferState::Recorded);
        let globex = waybill.deliveries.iter().find(|d| d.destination == "globex").unwrap();
        assert_eq!(globex.state, DeliveryState::Delivered);
        assert_eq!(globex.attempts.len(), 1);
        assert_eq!(globex.receipt.as_ref().unwrap().summary, "/in/po.edi");
        let archive = waybill.deliveries.iter().find(|d| d.destination == "archive").unwrap();
        assert_eq!((archive.state, archive.attempts[0].error.as_deref()), (DeliveryState::Retrying, Some("refused")));
        assert!(waybill.events.len() >= 3);
        assert!(waybill.events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(store.waybill(TransferId::new(Uuid::nil())).await.unwrap().is_none());

        let overview = store.overview(now()).await.unwrap();
        assert_eq!(overview.transfers, [(TransferState::Delivering, 1)]);
        assert_eq!((overview.flows[0].flow.as_str(), overview.flows[0].recorded), ("orders", 1));
        assert_eq!(overview.flows[0].hours.iter().map(|hour| hour.recorded).sum::<u64>(), 1);
        assert_eq!((overview.failing.len(), overview.failing_total), (1, 1));
        let trouble = |since| TransferFilter { trouble_since: Some(since), ..TransferFilter::default() };
        assert_eq!(names(&store, trouble(now() - TimeDelta::hours(1))).await, ["po.edi"]);
        assert!(names(&store, trouble(now() + TimeDelta::hours(1))).await.is_empty());
        let failed = TransferFilter { failed: true, ..TransferFilter::default() };
        assert!(names(&store, failed).await.is_empty(), "it may still succeed");
        assert!(overview.seal_lag.events >= 3);
        let metrics = store.metrics(now()).await.unwrap();
        assert_eq!(metrics.deliveries, [(DeliveryState::Retrying, 1)]);
        assert_eq!((metrics.oldest_due, metrics.offers_to_settle), (None, 1));
    }

    a_waybill_has_its_offers_own_events(store) {
        let lease = lease(&store).await;
        let begun = now() - TimeDelta::minutes(30);
        let of_offer = |kind: EventKind, path: &str, at: Timestamp| {
            AuditEvent { kind, at, ..event(0) }.flow("orders").endpoint("acme").detail("path", path)
        };
        // An earlier file of the same name had troubles of its own.
        let changed = of_offer(EventKind::OfferChanged, "po.edi", begun - TimeDelta::minutes(9));
        store.append_events(vec![changed]).await.unwrap();
        record(&store, &lease, "po.edi", "orders", begun - TimeDelta::minutes(8)).await;
        store.append_events(vec![
            of_offer(EventKind::OfferChanged, "po.edi", begun - TimeDelta::minutes(3)),
            of_offer(EventKind::OfferBackedOff, "po.edi", begun - TimeDelta::minutes(2)),
            of_offer(EventKind::OfferChanged, "other.edi", begun - TimeDelta::minutes(2)),
        ]).await.unwrap();
        let id = record(&store, &lease, "po.edi", "orders", begun).await;
        let offer = store.waybill(id).await.unwrap().unwrap().offer.unwrap().id;
        for failed in [true, false] {
            let kind = if failed { EventKind::SettleFailed } else { EventKind::OfferSettled };
            let at = begun + TimeDelta::minutes(if failed { 1 } else { 2 });
            let told = vec![of_offer(kind, "po.edi", at)];
            assert!(store.begin_settle(offer, &lease, at).await.unwrap());
            if failed {
                store.settle_failed(offer, &lease, at, "no permission", told, at).await.unwrap();
            } else {
                store.settled(offer, &lease, false, vec![], told, at).await.unwrap();
            }
        }
        let waybill = store.waybill(id).await.unwrap().unwrap();
        let kinds: Vec<&str> = waybill.events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, [
            "offer.changed", "offer.backed_off", "transfer.recorded", "offer.settle_failed", "offer.settled",
        ]);
    }

    the_consoles_own_connections_can_be_left_out(store) {
        let connection = |purpose: &str, n: i64| {
            AuditEvent { kind: EventKind::ConnectionClosed, at: at(n), ..event(n) }.detail("purpose", purpose)
        };
        let other = AuditEvent { kind: EventKind::PollFailed, at: at(3), ..event(3) }.detail("purpose", "console");
        let quoting = connection("deliver", 4).detail("reason", "\"purpose\":\"console\"");
        store.append_events(vec![connection("console", 1), connection("poll", 2), other, quoting]).await.unwrap();
        let found = async |without_console| {
            let filter = EventFilter { without_console, ..EventFilter::default() };
            let page = store.events(&filter, Page::first(10)).await.unwrap();
            page.rows.iter().map(|row| row.at.timestamp_micros() - at(0).timestamp_micros()).collect::<Vec<_>>()
        };
        assert_eq!(found(false).await, [4, 3, 2, 1]);
        assert_eq!(found(true).await, [4, 3, 2]);
    }

    a_long_waybill_has_its_beginning_and_its_end(store) {
        let lease = lease(&store).await;
        let begun = now() - TimeDelta::hours(1);
        let id = record(&store, &lease, "po.edi", "orders", begun).await;
        let attempt = |n: i64| {
            let kind = EventKind::DeliveryAttempted;
            let named = ConnectionId::new(Uuid::from_u128(n.unsigned_abs().into()));
            let event = AuditEvent { kind, at: begun + TimeDelta::seconds(n), ..event(n) };
            event.transfer(id).connection(named).detail("number", n)
        };
        store.append_events((1..=999).map(attempt).collect()).await.unwrap();
        let whole = store.waybill(id).await.unwrap().unwrap();
        assert_eq!((whole.events.len(), whole.gap), (1000, None));
        store.append_events((1000..=1023).map(attempt).collect()).await.unwrap();
        let cut = store.waybill(id).await.unwrap().unwrap();
        assert_eq!((cut.events.len(), cut.gap), (1000, Some(crate::EventGap { after: 500, count: 24 })));
        assert_eq!(cut.events[0].kind, "transfer.recorded");
        let numbers: Vec<i64> = cut.events[1..].iter().map(|e| e.detail["number"].as_i64().unwrap()).collect();
        assert!(numbers[..499].iter().copied().eq(1..=499) && numbers[499..].iter().copied().eq(524..=1023));
    }

    events_are_found_by_what_is_asked(store) {
        let id = TransferId::new(Uuid::from_u128(1));
        let kinds = [
            EventKind::DeliveryFailed, EventKind::DeliveryDelivered, EventKind::EndpointOffline,
            EventKind::EndpointOffline, EventKind::EndpointOnline,
        ];
        let mut all = vec![];
        for (n, kind) in kinds.into_iter().enumerate() {
            let made = AuditEvent::new(event(0).id, at(n as i64), "n1".parse().unwrap(), kind)
                .endpoint(if n == 2 { "down" } else { "up" })
                .detail("said", format!("Number {n}"));
            all.push(if n < 2 { made.transfer(id).flow("orders") } else { made });
        }
        store.append_events(all).await.unwrap();
        let found = async |filter: EventFilter| {
            let page = store.events(&filter, Page::first(10)).await.unwrap();
            page.rows.iter().map(|row| row.at.timestamp_micros() - at(0).timestamp_micros()).collect::<Vec<_>>()
        };
        let any = EventFilter::default;
        assert_eq!(found(any()).await, [4, 3, 2, 1, 0]);
        assert_eq!(found(EventFilter { kind: Some("delivery.".into()), ..any() }).await, [1, 0]);
        assert_eq!(found(EventFilter { kind: Some("nothing.".into()), ..any() }).await, Vec::<i64>::new());
        assert_eq!(found(EventFilter { kind: Some("delivery.failed".into()), ..any() }).await, [0]);
        assert_eq!(found(EventFilter { severity: Some(Severity::Error), ..any() }).await, [0]);
        assert_eq!(found(EventFilter { transfer: Some(id), flow: Some("orders".into()), ..any() }).await, [1, 0]);
        assert_eq!(found(EventFilter { endpoint: Some("down".into()), ..any() }).await, [2]);
        assert_eq!(found(EventFilter { text: Some("NUMBER 3".into()), ..any() }).await, [3]);
        assert_eq!(found(EventFilter { from: Some(at(1)), to: Some(at(3)), ..any() }).await, [2, 1]);
    }

    each_filter_has_its_index(store) {
        let text = |text: &str| Some(text.to_owned());
        let page = Page { after: Some(Cursor { at: at(0), id: Uuid::nil() }), limit: 50 };
        let transfer = |filter: TransferFilter| transfers(&store, &filter, page);
        let any = TransferFilter::default;
        for (query, index) in [
            (transfer(any()), "transfers_by_time"),
            (transfer(TransferFilter { state: Some(TransferState::Failed), ..any() }), "transfers_by_state"),
            (transfer(TransferFilter { trouble_since: Some(at(0)), ..any() }), "deliveries_failing"),
            (transfer(TransferFilter { flow: text("orders"), ..any() }), "transfers_by_flow"),
            (transfer(TransferFilter { partner: text("globex"), ..any() }), "transfers_by_partner"),
            (transfer(TransferFilter { name_contains: text("po"), ..any() }), "transfers_by_time"),
        ] {
            shows(&store, query, index).await;
        }
        // Which of name and time is the better way depends on what is in the table.
        let named = transfers(&store, &TransferFilter { name_begins: text("po"), ..any() }, Page::first(50));
        shows(&store, named, "transfers_by_").await;
        let filter = |filter: EventFilter| events(&store, &filter, page);
        let any = EventFilter::default;
        let time = if store.url.starts_with("sqlite:") { "sqlite_autoindex_audit_events" } else { "_pkey" };
        for (query, index) in [
            (filter(any()), time),
            (filter(EventFilter { kind: text("poll.failed"), ..any() }), "kind"),
            (filter(EventFilter { flow: text("orders"), ..any() }), "flow"),
            (filter(EventFilter { endpoint: text("acme"), ..any() }), "endpoint"),
            (filter(EventFilter { transfer: Some(TransferId::new(Uuid::nil())), ..any() }), "transfer"),
            (filter(EventFilter { connection: Some(ConnectionId::new(Uuid::nil())), ..any() }), "connection"),
        ] {
            shows(&store, query, index).await;
        }
        let filter = |filter: ConnectionFilter| connections(&store, &filter, page);
        let any = ConnectionFilter::default;
        for (query, index) in [
            (filter(any()), "connections_by_time"),
            (filter(ConnectionFilter { without_console: true, ..any() }), "connections_by_time_without_console"),
            (
                filter(ConnectionFilter { without_console: true, without_data: true, ..any() }),
                "connections_by_time_listed",
            ),
            (
                filter(ConnectionFilter { control: Some(ConnectionId::new(Uuid::nil())), ..any() }),
                "connections_by_control",
            ),
            (filter(ConnectionFilter { live: Some(true), ..any() }), "connections_live"),
            (filter(ConnectionFilter { endpoint: text("acme"), ..any() }), "connections_by_endpoint"),
        ] {
            shows(&store, query, index).await;
        }
        let endpoints = ["acme".to_owned(), "globex".to_owned()];
        // On PostgreSQL each part of the audit trail names its indexes after their columns; and while no delivery waits, two
        // indexes of those that wait are as good.
        let is_sqlite = store.url.starts_with("sqlite:");
        for (query, index) in [
            (exchanges(&store, &endpoints, Which::Last, 200), "deliveries_by_endpoint"),
            (
                exchanges(&store, &endpoints, Which::Awaiting, 10),
                if is_sqlite { "deliveries_awaiting" } else { "deliveries_" },
            ),
            (troubles(&store, "globex", 10), if is_sqlite { "audit_events_troubles" } else { "partner_at_id" }),
        ] {
            shows(&store, query, index).await;
        }
    }
}

/// The plan names the index, and sorts nothing.
async fn shows(store: &TestStore, query: Query, index: &str) {
    let plan = plan(store, query).await;
    assert!(plan.contains(index), "{index} is not in:\n{plan}");
}

async fn plan(store: &TestStore, query: Query) -> String {
    let sql = query.sql.clone();
    let mut lines = vec![];
    macro_rules! bound {
        ($query:expr) => {{
            let mut statement = $query;
            for bind in query.parts().1 {
                statement = match bind {
                    Bind::Text(text) => statement.bind(text),
                    Bind::Time(time) => statement.bind(time),
                    Bind::Id(id) => statement.bind(id),
                    Bind::Whole(number) => statement.bind(number),
                };
            }
            statement
        }};
    }
    if store.url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(&store.url).await.unwrap();
        let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        for row in bound!(explain).fetch_all(&mut connection).await.unwrap() {
            lines.push(row.get::<String, _>("detail"));
        }
        // Those in trouble are few, found by their own index, and then put in order.
        let sorts = sql.contains("substr") || sql.contains("IN (SELECT");
        assert!(sorts || !lines.iter().any(|line| line.contains("TEMP B-TREE")), "{lines:?}");
    } else {
        let mut connection = sqlx::PgConnection::connect(&store.url).await.unwrap();
        // The tables are empty: a walk through all of them would be the best way.
        for off in ["seqscan", "bitmapscan", "sort"] {
            sqlx::query(AssertSqlSafe(format!("SET enable_{off} = off")))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN {sql}"))).persistent(false);
        for row in bound!(explain).fetch_all(&mut connection).await.unwrap() {
            lines.push(row.get::<String, _>(0));
        }
    }
    lines.join("\n")
}
