//! The fake transport does what it is told, and remembers.

use super::*;
use crate::clock::FixedClock;
use crate::defined;
use futures::StreamExt;
use model::definition::{Endpoint, Flow};
use model::{Claim, DeliveryId, Offer, OfferId, OfferState, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::{AfterRead, Deliver, Discovery, FoundOffer, Sent, Services, Settled, Source, Transport};
use uuid::Uuid;

fn lent() -> Services {
    services(Arc::new(FixedClock::default()))
}

fn endpoint(name: &str) -> Arc<Endpoint> {
    Arc::new(defined::endpoint(&SPEC, name, "fake:place", &[]))
}

fn flow() -> Arc<Flow> {
    Arc::new(defined::flow("orders", defined::poll("in", After::Delete)))
}

fn destination(fake: &FakeTransport) -> Arc<dyn transport::Destination> {
    fake.destination(endpoint("out"), &defined::destination(&SPEC, "out", &[]), lent()).unwrap()
}

fn deliver(attempt: u32, log: &Arc<MemoryLog>) -> Deliver {
    Deliver {
        attachments: Vec::new(),
        claim: Claim {
            delivery: DeliveryId::new(Uuid::from_u128(7)),
            node: "test".parse().unwrap(),
            epoch: 1,
            attempt,
        },
        payload: BytesPayload::shared("a.edi", *b"content"),
        file_name: "a.edi".into(),
        received: model::Timestamp::UNIX_EPOCH,
        flow: "orders".into(),
        partner: None,
        notes: log.notes(),
        interrupted: false,
        is_last: false,
        log: Arc::clone(log) as Arc<dyn transport::DeliveryLog>,
    }
}

async fn poll(source: &Arc<dyn Source>) -> Vec<FoundOffer> {
    let discovery = Discovery::first(Arc::new(Known::default()));
    source.discover(discovery).await.unwrap().map(Result::unwrap).collect().await
}

fn as_offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(Uuid::from_u128(1)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: lent().clock.now(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

#[tokio::test]
async fn offers_open_part_by_part_fail_where_told_and_settle_once() {
    let fake = FakeTransport::new();
    let place = fake.endpoint("in");
    place.offer(
        ScriptedOffer::file("in/mail", *b"")
            .with_parts(vec![ScriptedPart::new("a", *b"first"), ScriptedPart::new("b", *b"second")])
            .opening([Opening::Fails(Fault::CUT), Opening::FailsAt(3), Opening::Whole])
            .settling([Settling::DoneAnswerLost]),
    );
    let source = fake.source(endpoint("in"), flow(), lent()).unwrap();
    let found = poll(&source).await;
    assert_eq!(found.len(), 1);
    assert!(source.open(&found[0]).await.is_err());
    let mut cut = source.open(&found[0]).await.unwrap();
    let mut bytes = Vec::new();
    assert!(cut.parts.next().await.unwrap().unwrap().reader.read_to_end(&mut bytes).await.is_err());
    assert_eq!(bytes, b"fir");
    let parts: Vec<_> = source.open(&found[0]).await.unwrap().parts.collect().await;
    let mut texts = Vec::new();
    for part in parts {
        let mut text = String::new();
        part.unwrap().reader.read_to_string(&mut text).await.unwrap();
        texts.push(text);
    }
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(source.look_again(&found[0]).await.unwrap(), AfterRead::Unchanged);
    let offer = as_offer(&found[0]);
    assert!(source.settle(&offer, Outcome::Taken).await.is_err());
    assert_eq!(source.settle(&offer, Outcome::Taken).await.unwrap(), Settled::Done);
    assert!(poll(&source).await.is_empty());
    assert_eq!(place.settled().len(), 2);
    assert_eq!(place.opened().len(), 3);
}

#[tokio::test]
async fn deliveries_are_answered_in_turn_and_kept_in_the_ledger() {
    let fake = FakeTransport::new();
    let place = fake.endpoint("out");
    place.answer(Answer::Fails(Fault::CUT));
    place.answer(Answer::Awaiting { correlation: Some("<1@a>".into()), wait: Duration::from_secs(60) });
    place.answer(Answer::DeliveredAnswerLost);
    let destination = destination(&fake);
    let log = Arc::new(MemoryLog::default());
    assert!(destination.deliver(deliver(1, &log)).await.is_err());
    assert!(matches!(destination.deliver(deliver(2, &log)).await, Ok(Sent::Awaiting { .. })));
    assert_eq!(log.correlations(), ["<1@a>"]);
    assert_eq!(destination.deliver(deliver(3, &log)).await.unwrap_err().retry(), Retry::Ambiguous);
    assert!(matches!(destination.deliver(deliver(4, &log)).await, Ok(Sent::Delivered { .. })));
    let seen: Vec<_> = place.deliveries().iter().map(|seen| (seen.attempt, seen.answer)).collect();
    assert_eq!(seen, [(1, "fails"), (2, "awaiting"), (3, "delivered, answer lost"), (4, "delivered")]);
    assert_eq!(place.received().len(), 3);
    assert_eq!(&*place.received()[0].2, b"content");
}

#[tokio::test]
async fn a_lost_claim_stops_the_act_that_was_noted() {
    let fake = FakeTransport::new();
    let folder = MemoryFolder::new();
    fake.endpoint("out").use_folder(Arc::new(folder.clone()), "out", transport::folder::Overwrite::Refuse);
    let destination = destination(&fake);
    let log = Arc::new(MemoryLog::default());
    log.lose_claim_after_note();
    assert!(destination.deliver(deliver(1, &log)).await.is_err());
    assert_eq!(folder.get("out/a.edi"), None);
    log.lose_claim(false);
    assert!(matches!(destination.deliver(deliver(2, &log)).await, Ok(Sent::Delivered { .. })));
    assert_eq!(folder.files(), ["out/a.edi"]);
    assert_eq!(log.notes().len(), BTreeMap::from([("publishing", ())]).len());
}

#[tokio::test]
async fn a_receipt_goes_to_the_place_that_its_url_names() {
    let fake = FakeTransport::new();
    let destination = fake.receipt_destination(endpoint("out"), "fake:receipts", lent()).unwrap();
    let log = Arc::new(MemoryLog::default());
    assert!(matches!(destination.deliver(deliver(1, &log)).await, Ok(Sent::Delivered { .. })));
    assert_eq!(&*fake.endpoint("receipts").received()[0].2, b"content");
    assert!(fake.endpoint("out").deliveries().is_empty());
    for url in ["mailto:as2@globex.example", "fake:", ""] {
        let error = fake.receipt_destination(endpoint("out"), url, lent()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{url}");
    }
}
