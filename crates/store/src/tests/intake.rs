use super::fixture::{
    after, claim_one, delivered, event, events, failed, lease, node, now, offer, record, retry, transfer,
    transfer_state,
};
use crate::command::Command;
use crate::testing::both;
use crate::{
    AnswerGiven, AnswerState, Answered, AnsweredBy, IntakeBegun, IntakeCommit, IntakeCommitted, NewTransfer,
    NodeLease, Reply,
};
use model::{EventKind, OfferId, Sha256, TransferKind, TransferState};
use serde_json::json;

pub(super) fn reply() -> Reply {
    Reply {
        head: json!({"status": 200, "headers": [["AS2-Version", "1.2"]]}),
        body: vec![0, 159, 146, 150, 13, 10],
    }
}

pub(super) const CONTENT: Sha256 = Sha256([7; 32]);

/// What a repetition is told.
pub(super) fn answered() -> IntakeBegun {
    IntakeBegun::Answered(Answered { reply: reply(), content: Some(CONTENT), from_answer: false })
}

pub(super) fn message(lease: &NodeLease, key: &str) -> IntakeCommit {
    let offer = offer(key);
    let transfers = vec![transfer(Some(offer.id), &["x"])];
    IntakeCommit {
        answer_until: None,
        lease: lease.clone(),
        key: key.into(),
        offer,
        transfers,
        reply: reply(),
        content: Some(CONTENT),
        evidence: None,
        events: vec![crate::testing::event(1)],
        now: now(),
    }
}

/// A receipt that is sent later.
pub(super) fn later_receipt(offer: Option<OfferId>) -> NewTransfer {
    let mut new = transfer(offer, &["acme-as2"]);
    (new.transfer.kind, new.transfer.flow) = (TransferKind::Receipt, "listener:as2".into());
    new
}

/// The event of its recording.
pub(super) fn recording(lease: &NodeLease, new: &NewTransfer) -> model::AuditEvent {
    event(lease, EventKind::TransferRecorded).transfer(new.transfer.id)
}

#[test]
fn a_message_is_written_in_the_place_of_its_flow() {
    let lease = NodeLease { node: node("n1"), epoch: 1, lease: std::time::Duration::from_secs(1) };
    let mut commit = message(&lease, "k");
    // An offer that was received has no flow of its own; what is made of it locks the flow's lanes.
    commit.offer.identity.flow = String::new();
    assert_eq!(commit.transfers[0].transfer.flow, "orders");
    assert_eq!(commit.place(), record(&lease, offer("a"), vec![]).place());
}

both! {
    a_message_is_answered_once_and_again_with_the_same_bytes(store) {
        let lease = lease(&store, "n1").await;
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::InProgress);
        assert_eq!(store.intake_answer("k").await.unwrap(), None);
        let commit = message(&lease, "k");
        assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
        // The same once more, as its commit was not answered.
        assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), answered());
        assert_eq!(store.intake_answer("k").await.unwrap(), Some(reply()));
        assert_eq!(claim_one(&store, &lease).await.transfer.id, commit.transfers[0].transfer.id);
        assert_eq!(crate::tests::fixture::events(&store, EventKind::PollFailed).await, 1);
        // A reception hides nothing and has nothing to settle.
        assert!(store.known(&[commit.offer.identity.key()], now()).await.unwrap().is_empty());
        assert!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().is_empty());
    }

    a_refused_or_abandoned_message_may_begin_again(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        let events = vec![crate::testing::event(1)];
        assert!(store.intake_refuse(&lease, "k", Some(reply()), vec![], events, now()).await.unwrap());
        assert_eq!(store.intake_answer("k").await.unwrap(), None);
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        store.intake_abandon(&lease, "k").await.unwrap();
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Lost);
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Committed);
    }

    of_many_copies_at_once_exactly_one_begins(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        for round in 0..10 {
            let key = format!("message {round}");
            let all = futures::future::join_all(
                (0..16).map(|n| store.intake_begin(&leases[n % 2], &key, now()))
            ).await;
            let new = all.iter().filter(|one| matches!(one, Ok(IntakeBegun::New))).count();
            let waiting = all.iter().filter(|one| matches!(one, Ok(IntakeBegun::InProgress))).count();
            assert_eq!((new, waiting), (1, 15));
        }
    }

    a_key_of_a_dead_node_is_taken_over(store) {
        let dead = lease(&store, "n1").await;
        let lives = lease(&store, "n2").await;
        store.intake_begin(&dead, "k", now()).await.unwrap();
        assert_eq!(store.intake_begin(&lives, "k", now()).await.unwrap(), IntakeBegun::InProgress);
        let again = lease(&store, "n1").await;
        assert!(again.epoch > dead.epoch);
        assert_eq!(store.intake_begin(&lives, "k", now()).await.unwrap(), IntakeBegun::New);
        assert_eq!(store.intake_commit(message(&dead, "k")).await.unwrap(), IntakeCommitted::Lost);
        assert_eq!(store.intake_commit(message(&lives, "k")).await.unwrap(), IntakeCommitted::Committed);
        assert!(store.intake_begin(&dead, "k", now()).await.is_err());
    }

    a_message_id_may_be_as_long_as_a_peer_likes(store) {
        let lease = lease(&store, "n1").await;
        let key = "x".repeat(100_000);
        assert_eq!(store.intake_begin(&lease, &key, now()).await.unwrap(), IntakeBegun::New);
        assert_eq!(store.intake_commit(message(&lease, &key)).await.unwrap(), IntakeCommitted::Committed);
        assert_eq!(store.intake_answer(&key).await.unwrap(), Some(reply()));
    }

    old_keys_are_forgotten(store) {
        let lease = lease(&store, "n1").await;
        for key in ["a", "b"] { store.intake_begin(&lease, key, now()).await.unwrap(); }
        store.intake_commit(message(&lease, "a")).await.unwrap();
        let later = crate::tests::fixture::after(now(), 1000);
        assert_eq!(store.purge_intake_keys(later).await.unwrap(), 1);
        assert_eq!(store.intake_begin(&lease, "b", now()).await.unwrap(), IntakeBegun::InProgress);
        assert_eq!(store.intake_begin(&lease, "a", now()).await.unwrap(), IntakeBegun::New);
    }

    a_refusals_receipts_are_recorded_once_and_only_by_who_holds_the_key(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        let new = later_receipt(None);
        let told = vec![event(&lease, EventKind::MessageRefused), recording(&lease, &new)];
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            let held = store.intake_refuse(&lease, "k", Some(reply()), vec![new.clone()], told.clone(), now()).await;
            assert!(held.unwrap());
        }
        let sent = claim_one(&store, &lease).await;
        assert_eq!((sent.transfer.id, sent.transfer.kind), (new.transfer.id, TransferKind::Receipt));
        assert_eq!(sent.transfer.flow, "listener:as2");
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        assert_eq!(events(&store, EventKind::MessageRefused).await, 1);

        // The key belongs to nobody now: that it was refused stays on record, no receipt does.
        let other = later_receipt(None);
        let told = vec![event(&lease, EventKind::MessageRefused), recording(&lease, &other)];
        assert!(!store.intake_refuse(&lease, "k", None, vec![other.clone()], told, now()).await.unwrap());
        assert!(store.transfer(other.transfer.id).await.unwrap().is_none());
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        assert_eq!(events(&store, EventKind::MessageRefused).await, 2);
        // The message may be sent once more.
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
    }

    a_receipt_is_sent_again_for_a_repeated_message_but_not_while_one_is_on_its_way(store) {
        let lease = lease(&store, "n1").await;
        let repeat = async |new: &NewTransfer| {
            let told = vec![recording(&lease, new)];
            store.repeat_receipts("k", vec![new.clone()], told, now()).await.unwrap()
        };
        let claim_at = async |at| store.claim(&lease, 100, crate::ClaimFilter::default(), at).await.unwrap();
        // Nothing is known of the message, or it is not answered.
        assert!(!repeat(&later_receipt(None)).await);
        store.intake_begin(&lease, "k", now()).await.unwrap();
        assert!(!repeat(&later_receipt(None)).await);
        let mut commit = message(&lease, "k");
        let received = commit.transfers[0].transfer.id;
        let mut first = later_receipt(Some(commit.offer.id));
        first.transfer.parent = Some(received);
        commit.transfers.push(first.clone());
        assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
        assert!(!repeat(&later_receipt(None)).await);
        for one in crate::tests::fixture::claim(&store, &lease).await {
            if one.transfer.kind == TransferKind::Receipt {
                let far = after(now(), 600_000);
                store.finish(&one.claim, retry(far), now(), vec![]).await.unwrap();
            } else {
                store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
            }
        }
        // It is tried again anyway; soon, as its sender is there and waits for it, but not at once after its last attempt.
        assert!(crate::tests::fixture::claim(&store, &lease).await.is_empty());
        for _ in 0..3 {
            assert!(!repeat(&later_receipt(None)).await);
        }
        assert!(crate::tests::fixture::claim(&store, &lease).await.is_empty());
        let soon = after(now(), 11_000);
        let one = claim_at(soon).await.remove(0);
        store.finish(&one.claim, retry(after(now(), 600_000)), soon, vec![]).await.unwrap();
        let told = store.repeat_receipts("k", vec![later_receipt(None)], vec![], after(now(), 22_000)).await;
        assert!(!told.unwrap());
        let one = claim_at(after(now(), 23_000)).await.remove(0);
        store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 0);
        // One that failed has no other one at once.
        assert!(!repeat(&later_receipt(None)).await);
        let new = later_receipt(None);
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            let told = vec![recording(&lease, &new)];
            let later = after(now(), 120_000);
            assert!(store.repeat_receipts("k", vec![new.clone()], told, later).await.unwrap());
        }
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        let again = claim_one(&store, &lease).await.transfer;
        assert_eq!((again.id, again.offer, again.parent), (new.transfer.id, Some(commit.offer.id), Some(received)));
        assert!(!repeat(&later_receipt(None)).await);
    }

    a_refusal_of_another_message_with_the_same_key_is_not_filed_under_the_first(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        let commit = message(&lease, "k");
        assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
        let refusal = later_receipt(None);
        assert!(store.refuse_repetition("k", vec![refusal.clone()], vec![], now()).await.unwrap());
        let all = crate::tests::fixture::claim(&store, &lease).await;
        let sent = all.iter().find(|one| one.transfer.id == refusal.transfer.id).unwrap();
        assert_eq!((sent.transfer.offer, sent.transfer.parent), (Some(commit.offer.id), None));
        // It is on its way to the same sender.
        assert!(!store.repeat_receipts("k", vec![later_receipt(None)], vec![], now()).await.unwrap());
    }

    the_receipt_of_a_refusal_is_not_sent_once_its_message_was_answered_anew(store) {
        let lease = lease(&store, "n1").await;
        let refuse = async || {
            store.intake_begin(&lease, "k", now()).await.unwrap();
            let new = later_receipt(None);
            assert!(store.intake_refuse(&lease, "k", None, vec![new.clone()], vec![], now()).await.unwrap());
            new.transfer.id
        };
        let first = refuse().await;
        let second = refuse().await;
        assert_eq!(transfer_state(&store, first).await, TransferState::Cancelled);
        // A copy that breaks off, and one whose node dies, change nothing.
        store.intake_begin(&lease, "k", now()).await.unwrap();
        store.intake_abandon(&lease, "k").await.unwrap();
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        assert_ne!(transfer_state(&store, second).await, TransferState::Cancelled);
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Committed);
        assert_eq!(transfer_state(&store, second).await, TransferState::Cancelled);
        assert_eq!(claim_one(&store, &lease).await.transfer.kind, TransferKind::Payload);
        assert_eq!(events(&store, EventKind::TransferCancelled).await, 2);
    }

    receipts_that_are_on_their_way_to_a_partner_are_counted(store) {
        let lease = lease(&store, "n1").await;
        assert_eq!(store.open_receipts("globex", 10).await.unwrap(), 0);
        for key in ["a", "b", "c"] {
            store.intake_begin(&lease, key, now()).await.unwrap();
            let receipts = vec![later_receipt(None)];
            assert!(store.intake_refuse(&lease, key, None, receipts, vec![], now()).await.unwrap());
        }
        assert_eq!(store.open_receipts("globex", 10).await.unwrap(), 3);
        assert_eq!(store.open_receipts("globex", 2).await.unwrap(), 2);
        assert_eq!(store.open_receipts("initech", 10).await.unwrap(), 0);
        let all = crate::tests::fixture::claim(&store, &lease).await;
        store.finish(&all[0].claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(store.open_receipts("globex", 10).await.unwrap(), 2);
    }

    an_answer_waits_for_one_payload_until_its_time_is_over(store) {
        let lease = lease(&store, "n1").await;
        let until = after(now(), 20_000);
        let received = async |key: &str, until| {
            store.intake_begin(&lease, key, now()).await.unwrap();
            let commit = IntakeCommit { answer_until: until, ..message(&lease, key) };
            assert_eq!(store.intake_commit(commit.clone()).await.unwrap(), IntakeCommitted::Committed);
            commit.transfers[0].transfer.id
        };
        received("plain", None).await;
        assert_eq!(store.answer_state("plain", &reply()).await.unwrap(), AnswerState::Plain);
        assert_eq!(store.answer_state("unknown", &reply()).await.unwrap(), AnswerState::Plain);
        let transfer = received("k", Some(until)).await;
        assert_eq!(store.answer_state("k", &reply()).await.unwrap(), AnswerState::Waiting(until));
        // By its key, and by what was made of it; not when its time is over.
        for of in [AnsweredBy::Key("k".into()), AnsweredBy::Transfer(transfer)] {
            let waiting = store.waiting_answer(&of, now()).await.unwrap();
            assert_eq!(waiting, Some(("k".to_owned(), reply())), "{of:?}");
            assert_eq!(store.waiting_answer(&of, until).await.unwrap(), None, "{of:?}");
        }
        // A delivery of something else gives what it sends.
        crate::tests::fixture::recorded(&store, &lease, "quote", &["peer"]).await;
        let all = crate::tests::fixture::claim(&store, &lease).await;
        let one = all.iter().find(|one| one.delivery.destination == "peer").unwrap();
        let (head, body) = (json!({ "status": 200, "headers": [] }), crate::tests::fixture::payload());
        let give = async |key: &str, body: &model::PayloadRecord| {
            store.give_answer(&one.claim, key, head.clone(), body.clone(), now()).await.unwrap()
        };
        assert_eq!(give("plain", &body).await, AnswerGiven::TooLate);
        assert_eq!(give("unknown", &body).await, AnswerGiven::TooLate);
        // Also when it is told twice, as its first answer was lost; another one comes too late.
        for _ in 0..2 {
            assert_eq!(give("k", &body).await, AnswerGiven::Given);
        }
        assert_eq!(give("k", &crate::tests::fixture::payload()).await, AnswerGiven::TooLate);
        assert_eq!(store.waiting_answer(&AnsweredBy::Key("k".into()), now()).await.unwrap(), None);
        let given = AnswerState::Given { head: head.clone(), body };
        assert_eq!(store.answer_state("k", &reply()).await.unwrap(), given);
        // Closed too late: it stays given, also for a repetition.
        assert_eq!(store.close_answer("k", &reply()).await.unwrap(), given);
        // Another message under this key is given another reply, which waits for nothing and holds nothing.
        let other = Reply { body: b"another".to_vec(), ..reply() };
        assert_eq!(store.answer_state("k", &other).await.unwrap(), AnswerState::Plain);
        received("waits", Some(until)).await;
        assert_eq!(store.close_answer("waits", &other).await.unwrap(), AnswerState::Plain);
        assert_eq!(store.answer_state("waits", &reply()).await.unwrap(), AnswerState::Waiting(until));
        // One that was closed in time gets none.
        received("closed", Some(until)).await;
        assert_eq!(store.close_answer("closed", &reply()).await.unwrap(), AnswerState::Plain);
        assert_eq!(give("closed", &crate::tests::fixture::payload()).await, AnswerGiven::TooLate);
        // Nor from an attempt that has ended.
        received("late", Some(until)).await;
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        assert_eq!(give("late", &crate::tests::fixture::payload()).await, AnswerGiven::ClaimLost);
        // The next one knows what this one gave.
        let all = crate::tests::fixture::claim(&store, &lease).await;
        let next = all.iter().find(|next| next.delivery.id == one.delivery.id).unwrap();
        let noted = next.notes.get(model::GIVEN_ANSWER).unwrap();
        let number = u64::from(one.claim.attempt);
        assert_eq!((noted["key"].as_str(), noted["attempt"].as_u64()), (Some("k"), Some(number)));
        assert!(noted["at"].as_str().unwrap().parse::<model::Timestamp>().unwrap() <= now());
    }

    of_many_copies_at_once_one_has_its_receipt_repeated(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Committed);
        let repeated = futures::future::join_all((0..8).map(|_| async {
            store.repeat_receipts("k", vec![later_receipt(None)], vec![], now()).await.unwrap()
        })).await;
        assert_eq!(repeated.iter().filter(|repeated| **repeated).count(), 1);
    }
}
