//! Commits of which nobody knows whether they took effect (PostgreSQL): looked up before anything is
//! thrown away, answered or done again.

use crate::relay::Relay;
use crate::scene::{LEASE, Scene, flow, receiving};
use model::{DeliveryState, Receipt, ReceiptKind, Timestamp, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, ScriptedOffer};
use transport::{Begin, Clock as _, Message, Sent, StagedPart, StoredReply};

/// The end of an attempt, as the database is told of it.
const END: &str = "UPDATE attempts SET ended_at = $3, outcome = $4";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_record_got_no_answer_is_neither_lost_nor_taken_twice() {
    let relay = Relay::losing("INSERT INTO transfers").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    relay.arm();
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"ISA*00"));
    let _engine = scene.start().await;
    scene.until("the answer is lost", || async { relay.has_struck() }).await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    scene.until_all(1, TransferState::Completed).await;
    scene.until("the source is settled", || async { scene.place("in").offers().is_empty() }).await;
    assert_eq!(&*scene.place("out").received()[0].2, b"ISA*00");
    assert_eq!((scene.place("out").received().len(), scene.staged()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_commit_got_no_answer_is_answered_once_it_is_known() {
    let relay = Relay::losing("INSERT INTO transfers").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(receiving("inbound", &["out"]));
    let engine = scene.start().await;
    let Begin::New(mut reception) = engine.intake().begin("A/B/<1>").await.unwrap() else {
        panic!("not new")
    };
    let mut writer = reception.part().await.unwrap();
    let committed = tokio::task::spawn_blocking(move || {
        writer.append(b"EDI").unwrap();
        writer.commit().unwrap()
    });
    let part = StagedPart {
        staged: committed.await.unwrap(),
        file_name: "po.edi".into(),
        media_type: None,
        metadata: serde_json::Map::new(),
        connection: None,
    };
    let message = Message {
        listener: "fake".into(),
        endpoint: "/as2".into(),
        partner: None,
        parts: vec![part],
        metadata: serde_json::Map::new(),
        events: Vec::new(),
        receipts: Vec::new(),
        evidence: None,
        answer_until: None,
    };
    let reply = StoredReply { status: 200, headers: Vec::new(), body: b"mdn".to_vec() };
    relay.arm();
    let committing = tokio::spawn(reception.commit(message, reply.clone()));
    scene.until("it is committed", || async { committing.is_finished() }).await;
    assert!(relay.has_struck());
    assert_eq!(committing.await.unwrap().unwrap().len(), 1);
    scene.until_all(1, TransferState::Completed).await;
    scene.until("the database is back", || async { !relay.is_away() }).await;
    match engine.intake().begin("A/B/<1>").await.unwrap() {
        Begin::Answered(again) => assert_eq!(again.reply, reply),
        _ => panic!("not answered"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_whose_claim_got_no_answer_are_claimed_anew() {
    let relay = Relay::losing("UPDATE deliveries SET state = $2, attempt").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    relay.arm();
    let _engine = scene.start().await;
    scene.until("the answer is lost", || async { relay.has_struck() }).await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    scene.until_all(1, TransferState::Completed).await;
    let seen = scene.place("out").deliveries();
    assert_eq!((seen.len(), seen[0].attempt, seen[0].interrupted), (1, 2, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_doubt_is_given_up_also_when_the_database_stays_away_for_longer() {
    let relay = Relay::cutting("UPDATE deliveries SET state = $2, attempt").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    relay.arm();
    let _engine = scene.start().await;
    scene.until("the answer is lost", || async { relay.has_struck() }).await;
    // No time passes on the test's clock: the first tries to end the doubt fail.
    scene.until_by(Duration::ZERO, "the database is back", || async { !relay.is_away() }).await;
    scene.until_all(1, TransferState::Completed).await;
    let seen = scene.place("out").deliveries();
    assert_eq!((seen.len(), seen[0].attempt, seen[0].interrupted), (1, 2, true));
    // The work under the new epoch goes on.
    scene.place("in").offer(ScriptedOffer::file("next.edi", *b"x"));
    scene.until_all(2, TransferState::Completed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_under_a_lease_that_is_gone_when_the_answer_comes_is_not_done() {
    // As if the node had stood still between taking the offer for settling and telling the source.
    let relay = Relay::holding("UPDATE offers SET state").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    relay.arm();
    let _engine = scene.start().await;
    scene.until_by(Duration::ZERO, "settling is begun", || async { relay.has_struck() }).await;
    // Another process takes the node's name over, and lives: what lies at the source is not ours now.
    scene.supplant(&scene.another_store().await).await;
    scene.clock.advance(LEASE / 2);
    relay.release();
    scene.pass(Duration::from_secs(100), 40).await;
    assert!(scene.place("in").settled().is_empty());
    assert_eq!(scene.place("in").offers().len(), 1);
    assert!(scene.events("offer.settled").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_not_polled_while_what_it_found_before_is_not_recorded() {
    let relay = Relay::holding("INSERT INTO transfers").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    relay.arm();
    let _engine = scene.start().await;
    scene.until_by(Duration::ZERO, "the record is under way", || async { relay.has_struck() }).await;
    // A revision ends the poll; the record goes on. Were the source listed now, the file would be read
    // again, and be a new one as soon as the first is settled.
    scene.define(|_| ());
    scene.pass(Duration::from_secs(30), 30).await;
    assert_eq!(scene.place("in").discoveries().len(), 1);
    relay.release();
    scene.place("in").offer(ScriptedOffer::file("next.edi", *b"x"));
    scene.until_all(2, TransferState::Completed).await;
    assert_eq!(scene.place("in").opened().len(), 2);
}

/// The end of an attempt cannot be recorded, and then the database is away for longer than a command waits.
async fn an_end_is_recorded_once_the_database_is_back(relay: Relay) {
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    // By then no claim is under way any more: one without an answer would rightly end this one.
    scene.place("out").answer(Answer::Call(Arc::new(|_, services| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(Sent::Delivered { receipt: receipt(services.clock.now()), replies: Vec::new() })
        })
    })));
    relay.arm();
    let _engine = scene.start().await;
    scene.until_by(Duration::ZERO, "the answer is lost", || async { relay.has_struck() }).await;
    let sent_by = scene.clock.now();
    // An hour, for everybody but the servers.
    scene.clock.advance(Duration::from_secs(3600));
    scene.until_by(Duration::ZERO, "the database is back", || async { !relay.is_away() }).await;
    let done = scene.until_all(1, TransferState::Completed).await;
    let delivery = &scene.waybill(done[0].id).await.deliveries[0];
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 1));
    assert_eq!(scene.place("out").deliveries().len(), 1, "sent once");
    let told = scene.events("delivery.delivered").await;
    assert_eq!((told.len(), scene.events("delivery.attempted").await.len()), (1, 1));
    // When it ended, not when that could be told; the rows and the trail say the same.
    assert!(told[0].at <= sent_by, "{} is after {sent_by}", told[0].at);
    let attempt = &delivery.attempts[0];
    assert_eq!((attempt.ended_at, delivery.ended_at), (Some(told[0].at), Some(told[0].at)));
    // The work goes on.
    scene.place("in").offer(ScriptedOffer::file("next.edi", *b"x"));
    scene.until_all(2, TransferState::Completed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_end_got_no_answer_is_concluded_once() {
    an_end_is_recorded_once_the_database_is_back(Relay::cutting(END).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_end_never_reached_the_database_is_concluded_when_it_is_back() {
    an_end_is_recorded_once_the_database_is_back(Relay::swallowing(END).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_not_blamed_for_a_note_that_the_database_did_not_take() {
    let relay = Relay::swallowing("INSERT INTO notes").await;
    let scene = Scene::behind(&relay).await;
    scene.flow(flow("orders", &["out"]));
    scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
    for _ in 0..2 {
        scene.place("out").answer(Answer::Call(Arc::new(|delivery, services| {
            Box::pin(async move {
                delivery.log.note("began", serde_json::json!(1)).await?;
                Ok(Sent::Delivered { receipt: receipt(services.clock.now()), replies: Vec::new() })
            })
        })));
    }
    relay.arm();
    let _engine = scene.start().await;
    scene.until_by(Duration::ZERO, "the answer is lost", || async { relay.has_struck() }).await;
    scene.until_by(Duration::ZERO, "the database is back", || async { !relay.is_away() }).await;
    let done = scene.until_all(1, TransferState::Completed).await;
    assert_eq!(scene.waybill(done[0].id).await.deliveries[0].attempts.len(), 2);
    assert!(scene.events("endpoint.offline").await.is_empty(), "the endpoint was never asked");
}

fn receipt(at: Timestamp) -> Receipt {
    Receipt {
        kind: ReceiptKind::Mdn,
        at,
        positive: true,
        summary: "processed".into(),
        connection: None,
        mdn: None,
        detail: serde_json::Map::new(),
    }
}
