use super::fixture::{
    after, claim, claim_one, delivered, delivery_states, events, lease, node, now, receipt, recorded, retry,
    transfer, transfer_state,
};
use crate::testing::both;
use crate::{
    Claimed, Done, Failure, Finish, Finished, KeptMdn, NodeLease, ReceiptJudgedBy, ReceiptRecord,
    ReceiptSays, Resolved, Store, WhichMdn,
};
use model::{
    AuditEvent, DeliveryState, ErrorKind, EventId, EventKind, MdnEntity, Timestamp, TransferKind,
    TransferState, UNPROVEN_MDN,
};
use serde_json::json;

/// A claimed delivery that a key is bound to.
async fn sent(store: &Store, lease: &NodeLease, key: &str) -> Claimed {
    recorded(store, lease, key, &["x"]).await;
    let one = claim_one(store, lease).await;
    assert_eq!(store.correlate(&one.claim, key).await.unwrap(), Done::Done);
    assert_eq!(store.correlate(&one.claim, key).await.unwrap(), Done::Done);
    one
}

async fn resolve(store: &Store, key: &str, positive: bool) -> Resolved {
    let by = crate::tests::fixture::node("n2");
    store.resolve(key, receipt(positive), &by, vec![], now()).await.unwrap()
}

fn says_no(retry_at: Option<Timestamp>, may_contradict: bool) -> ReceiptSays {
    let error = Failure { kind: ErrorKind::Rejected, text: "unexpected-processing-error".into() };
    ReceiptSays::Refusal { receipt: receipt(false), error, retry_at, may_contradict }
}

fn proves_nothing() -> ReceiptSays {
    let error = Failure { kind: ErrorKind::IntegrityFailed, text: "it is not signed".into() };
    ReceiptSays::NoProof { receipt: receipt(true), error }
}

/// The same as [`resolve`], with a note of this MDN, in base64.
async fn resolve_noting(store: &Store, key: &str, says: ReceiptSays, mdn: &str) -> Resolved {
    let notes = vec![(UNPROVEN_MDN.to_owned(), json!({ "attempt": 1, "mdn": mdn }))];
    let record = ReceiptRecord { notes, ..ReceiptRecord::default() };
    store.resolve_noting(key, says, record, &node("n2"), now()).await.unwrap()
}

/// Waits for its receipt for a minute.
async fn awaiting(store: &Store, one: &Claimed) {
    let deadline = after(now(), 60_000);
    store.finish(&one.claim, Finish::Awaiting { deadline, replies: vec![] }, now(), vec![]).await.unwrap();
}

fn was(resolved: &Resolved) -> Option<DeliveryState> {
    match resolved {
        Resolved::Resolved { was, .. } => Some(*was),
        _ => None,
    }
}

both! {
    a_receipt_ends_a_waiting_delivery(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        let deadline = after(now(), 60_000);
        let end = store.finish(&one.claim, Finish::Awaiting { deadline, replies: vec![] }, now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::Done { transfer_ended: None });
        assert_eq!(store.next_due().await.unwrap(), Some(deadline));
        let resolved = resolve(&store, "<1@a>", true).await;
        assert_eq!(resolved, Resolved::Resolved {
            delivery: one.delivery.id,
            transfer: one.transfer.id,
            was: DeliveryState::AwaitingReceipt,
            transfer_ended: Some(TransferState::Completed),
        });
        assert!(matches!(resolve(&store, "<1@a>", true).await, Resolved::AlreadyResolved { .. }));
        assert_eq!(events(&store, EventKind::DeliveryDelivered).await, 1);
    }

    a_receipt_may_overtake_the_answer_to_the_sending(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::Sending));
        assert_eq!(store.note(&one.claim, "answered", serde_json::json!(200)).await.unwrap(), Done::Done);
        let late = store.finish(&one.claim, Finish::Awaiting { deadline: now(), replies: vec![] }, now(), vec![]).await.unwrap();
        assert_eq!(late, Finished::AlreadyResolved(DeliveryState::Delivered));
        assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Completed);
    }

    what_came_with_the_answer_is_on_record_also_when_a_receipt_overtook_it(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        resolve(&store, "<1@a>", true).await;
        let mut reply = transfer(None, &[]);
        (reply.transfer.kind, reply.transfer.state) = (TransferKind::Reply, TransferState::Held);
        let event = |kind, of| {
            let id = EventId::new(uuid::Uuid::now_v7());
            AuditEvent::new(id, now(), node("n1"), kind).transfer(of)
        };
        let told = vec![
            event(EventKind::DeliveryDelivered, one.transfer.id),
            event(EventKind::TransferHeld, reply.transfer.id),
        ];
        let Finish::Delivered { receipt, .. } = delivered() else { unreachable!() };
        let finish = Finish::Delivered { receipt, replies: vec![reply.clone()] };
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            let late = store.finish(&one.claim, finish.clone(), now(), told.clone()).await.unwrap();
            assert_eq!(late, Finished::AlreadyResolved(DeliveryState::Delivered));
        }
        assert_eq!(transfer_state(&store, reply.transfer.id).await, TransferState::Held);
        assert_eq!(events(&store, EventKind::TransferHeld).await, 1);
        assert_eq!(events(&store, EventKind::DeliveryDelivered).await, 1);
    }

    what_came_with_an_answer_whose_receipt_comes_later_is_on_record_at_once(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        let mut reply = transfer(None, &[]);
        (reply.transfer.kind, reply.transfer.state) = (TransferKind::Reply, TransferState::Held);
        let finish = Finish::Awaiting { deadline: after(now(), 60_000), replies: vec![reply.clone()] };
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            store.finish(&one.claim, finish.clone(), now(), vec![]).await.unwrap();
        }
        assert_eq!(transfer_state(&store, reply.transfer.id).await, TransferState::Held);
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::AwaitingReceipt));
        let two = sent(&store, &lease, "<2@a>").await;
        resolve(&store, "<2@a>", true).await;
        let mut late = transfer(None, &[]);
        (late.transfer.kind, late.transfer.state) = (TransferKind::Reply, TransferState::Held);
        let finish = Finish::Awaiting { deadline: now(), replies: vec![late.clone()] };
        let end = store.finish(&two.claim, finish, now(), vec![]).await.unwrap();
        assert_eq!(end, Finished::AlreadyResolved(DeliveryState::Delivered));
        assert_eq!(transfer_state(&store, late.transfer.id).await, TransferState::Held);
    }

    a_signed_proof_corrects_what_an_unsigned_refusal_has_failed(store) {
        let lease = lease(&store, "n1").await;
        let signed = |positive, signed: bool| {
            let mut receipt = receipt(positive);
            receipt.detail.insert("signed".into(), signed.into());
            receipt
        };
        let refuse = async |key: &str, is_signed| {
            let error = Failure { kind: ErrorKind::Rejected, text: "decryption-failed".into() };
            let receipt = signed(false, is_signed);
            let says = ReceiptSays::Refusal { receipt, error, retry_at: None, may_contradict: false };
            store.resolve_noting(key, says, ReceiptRecord::default(), &node("n2"), now()).await.unwrap()
        };
        let prove = async |key: &str, is_signed| {
            let says = ReceiptSays::Proof(signed(true, is_signed));
            store.resolve_noting(key, says, ReceiptRecord::default(), &node("n2"), now()).await.unwrap()
        };
        for (key, refusal_is_signed, proof_is_signed, corrected) in [
            ("<1@a>", false, true, true),
            ("<2@a>", false, false, false),
            ("<3@a>", true, true, false),
        ] {
            let one = sent(&store, &lease, key).await;
            awaiting(&store, &one).await;
            assert_eq!(was(&refuse(key, refusal_is_signed).await), Some(DeliveryState::AwaitingReceipt), "{key}");
            assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Failed);
            let state = if corrected { DeliveryState::Delivered } else { DeliveryState::Failed };
            assert_eq!(was(&prove(key, proof_is_signed).await).is_some(), corrected, "{key}");
            assert_eq!(delivery_states(&store, one.transfer.id).await, [state], "{key}");
            let ended = if corrected { TransferState::Completed } else { TransferState::Failed };
            assert_eq!(transfer_state(&store, one.transfer.id).await, ended, "{key}");
        }
        // What failed without a receipt is none of that.
        let one = sent(&store, &lease, "<4@a>").await;
        store.finish(&one.claim, crate::tests::fixture::failed(false), now(), vec![]).await.unwrap();
        assert!(matches!(prove("<4@a>", true).await, Resolved::AlreadyResolved { state: DeliveryState::Failed, .. }));
    }

    a_negative_receipt_fails_it_also_later(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.finish(&one.claim, Finish::Awaiting { deadline: now(), replies: vec![] }, now(), vec![]).await.unwrap();
        assert_eq!(was(&resolve(&store, "<1@a>", false).await), Some(DeliveryState::AwaitingReceipt));
        assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Failed);
        assert!(matches!(resolve(&store, "<1@a>", true).await,
            Resolved::AlreadyResolved { state: DeliveryState::Failed, .. }));

        let two = sent(&store, &lease, "<2@a>").await;
        store.finish(&two.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(transfer_state(&store, two.transfer.id).await, TransferState::Completed);
        assert_eq!(was(&resolve(&store, "<2@a>", false).await), Some(DeliveryState::Delivered));
        assert_eq!(delivery_states(&store, two.transfer.id).await, [DeliveryState::Failed]);
        assert_eq!(transfer_state(&store, two.transfer.id).await, TransferState::Failed);
        assert_eq!(events(&store, EventKind::DeliveryFailed).await, 2);
    }

    a_receipt_for_an_attempt_that_was_given_up_still_counts(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::Retrying));
        assert!(claim(&store, &lease).await.is_empty());
    }

    an_unknown_receipt_is_on_record(store) {
        assert_eq!(resolve(&store, "<nobody@a>", true).await, Resolved::Unmatched);
        assert_eq!(events(&store, EventKind::ReceiptUnmatched).await, 1);
    }

    a_key_belongs_to_one_delivery(store) {
        let lease = lease(&store, "n1").await;
        sent(&store, &lease, "<1@a>").await;
        recorded(&store, &lease, "b", &["x"]).await;
        let two = claim_one(&store, &lease).await;
        let error = store.correlate(&two.claim, "<1@a>").await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::AlreadyExists);
    }

    overdue_receipts_are_found_and_retried(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        let deadline = after(now(), 60_000);
        store.finish(&one.claim, Finish::Awaiting { deadline, replies: vec![] }, now(), vec![]).await.unwrap();
        assert!(store.overdue_receipts(now(), 10).await.unwrap().is_empty());
        let overdue = store.overdue_receipts(deadline, 10).await.unwrap().remove(0);
        assert_eq!((overdue.deadline, overdue.claim.attempt), (deadline, 1));
        assert_eq!(overdue.delivery.state, DeliveryState::AwaitingReceipt);
        store.finish(&overdue.claim, retry(now()), now(), vec![]).await.unwrap();
        let two = claim_one(&store, &lease).await;
        assert_eq!((two.claim.attempt, two.failures), (2, 1));
        assert_eq!(store.finish(&overdue.claim, retry(now()), now(), vec![]).await.unwrap(), Finished::ClaimLost);
    }

    a_receipt_and_the_deadline_meet_once(store) {
        let lease = lease(&store, "n1").await;
        for n in 0..10 {
            let key = format!("<{n}@a>");
            let one = sent(&store, &lease, &key).await;
            store.finish(&one.claim, Finish::Awaiting { deadline: now(), replies: vec![] }, now(), vec![]).await.unwrap();
            let far = after(now(), 600_000);
            let (resolved, finished) = tokio::join!(
                resolve(&store, &key, true),
                store.finish(&one.claim, retry(far), now(), vec![]),
            );
            assert!(was(&resolved).is_some(), "{resolved:?}");
            let finished = finished.unwrap();
            assert!(matches!(finished, Finished::Done { .. } | Finished::AlreadyResolved(_)), "{finished:?}");
            assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::Delivered]);
        }
    }

    a_refusal_that_another_attempt_can_help_is_retried(store) {
        let lease = lease(&store, "n1").await;
        let far = after(now(), 600_000);
        let waits = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &waits).await;
        let overtaken = sent(&store, &lease, "<2@a>").await;
        for (key, one, state) in [
            ("<1@a>", &waits, DeliveryState::AwaitingReceipt),
            ("<2@a>", &overtaken, DeliveryState::Sending),
        ] {
            let resolved = resolve_noting(&store, key, says_no(Some(far), true), "Tm8=").await;
            assert_eq!(was(&resolved), Some(state));
            let delivery = store.deliveries(one.transfer.id).await.unwrap().remove(0);
            assert_eq!((delivery.state, delivery.due_at), (DeliveryState::Retrying, far));
            assert_eq!(store.mdns(one.transfer.id).await.unwrap(), [
                KeptMdn { which: WhichMdn::NotAccepted(one.delivery.id), attempt: Some(1) },
            ]);
            // The same one again changes nothing: the next attempt waits already.
            let again = resolve_noting(&store, key, says_no(Some(now()), true), "Tm8=").await;
            assert!(matches!(again, Resolved::AlreadyResolved { state: DeliveryState::Retrying, .. }), "{again:?}");
        }
        // The answer to the POST comes after it.
        let finished = store.finish(&overtaken.claim, Finish::Awaiting { deadline: far, replies: vec![] }, now(), vec![]).await.unwrap();
        assert!(!matches!(finished, Finished::Done { .. }), "{finished:?}");
        assert_eq!(delivery_states(&store, overtaken.transfer.id).await, [DeliveryState::Retrying]);
        assert!(claim(&store, &lease).await.is_empty());
        assert_eq!(events(&store, EventKind::DeliveryRetrying).await, 2);
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 2);
        assert_eq!(store.next_due().await.unwrap(), Some(far));
    }

    a_refusal_counts_as_a_failed_attempt(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        assert_eq!(store.awaited("<1@a>").await.unwrap().unwrap().failures, 0);
        resolve_noting(&store, "<1@a>", says_no(Some(now()), true), "Tm8=").await;
        assert_eq!(store.awaited("<1@a>").await.unwrap().unwrap().failures, 1);
        let again = claim_one(&store, &lease).await;
        assert_eq!((again.claim.attempt, again.failures), (2, 1));
    }

    a_receipt_that_proves_nothing_leaves_the_delivery_waiting(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        for mdn in ["WWVzPw==", "Tm8/"] {
            let resolved = resolve_noting(&store, "<1@a>", proves_nothing(), mdn).await;
            assert_eq!(resolved, Resolved::Unproven { delivery: one.delivery.id, transfer: one.transfer.id });
        }
        assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::AwaitingReceipt]);
        assert_eq!(events(&store, EventKind::ReceiptUnproven).await, 2);
        let kept = store.mdn(one.transfer.id, WhichMdn::NotAccepted(one.delivery.id)).await.unwrap();
        assert_eq!(kept.unwrap(), b"No?");
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::AwaitingReceipt));
        // One that has ended waits for none.
        let late = resolve_noting(&store, "<1@a>", proves_nothing(), "WWVzPw==").await;
        assert!(matches!(late, Resolved::AlreadyResolved { state: DeliveryState::Delivered, .. }), "{late:?}");
        assert_eq!(events(&store, EventKind::ReceiptUnproven).await, 2);
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 1);
    }

    only_a_refusal_that_may_contradict_fails_what_was_delivered_and_the_proof_is_kept(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        let mut proof = receipt(true);
        proof.mdn = Some(MdnEntity::from_text("WWVz").unwrap());
        store.resolve("<1@a>", proof, &node("n2"), vec![], now()).await.unwrap();
        for retry_at in [None, Some(now())] {
            let resolved = resolve_noting(&store, "<1@a>", says_no(retry_at, false), "Tm8=").await;
            assert!(matches!(resolved, Resolved::AlreadyResolved { state: DeliveryState::Delivered, .. }));
        }
        assert_eq!(transfer_state(&store, one.transfer.id).await, TransferState::Completed);
        let resolved = resolve_noting(&store, "<1@a>", says_no(None, true), "Tm8=").await;
        assert_eq!(was(&resolved), Some(DeliveryState::Delivered));
        assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::Failed]);
        let kept = |which| KeptMdn { which, attempt: None };
        let all = store.mdns(one.transfer.id).await.unwrap();
        assert!(all.contains(&kept(WhichMdn::Contradicted(one.delivery.id))), "{all:?}");
        let proof = store.mdn(one.transfer.id, WhichMdn::Contradicted(one.delivery.id)).await.unwrap();
        assert_eq!(proof.unwrap(), b"Yes");
        let refusal = store.mdn(one.transfer.id, WhichMdn::NotAccepted(one.delivery.id)).await.unwrap();
        assert_eq!(refusal.unwrap(), b"No");
    }

    a_proof_that_comes_too_late_is_on_record(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        resolve(&store, "<1@a>", false).await;
        let late = resolve_noting(&store, "<1@a>", ReceiptSays::Proof(receipt(true)), "WWVz").await;
        assert!(matches!(late, Resolved::AlreadyResolved { state: DeliveryState::Failed, .. }), "{late:?}");
        let kept = store.mdn(one.transfer.id, WhichMdn::NotAccepted(one.delivery.id)).await.unwrap();
        assert_eq!(kept.unwrap(), b"Yes");
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 1);
    }

    a_refusal_that_is_posted_again_counts_once(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        let again = |says, digest: &str| {
            let record = ReceiptRecord { digest: Some(digest.into()), ..ReceiptRecord::default() };
            let store = &store;
            async move { store.resolve_noting("<1@a>", says, record, &node("n2"), now()).await.unwrap() }
        };
        let resolved = again(says_no(Some(now()), true), "a1").await;
        assert_eq!(was(&resolved), Some(DeliveryState::AwaitingReceipt));
        // The next attempt waits for its own, whether the old one would fail it for good or for now.
        let two = claim_one(&store, &lease).await;
        awaiting(&store, &two).await;
        for says in [says_no(Some(now()), true), says_no(None, true)] {
            let repeated = again(says, "a1").await;
            assert!(matches!(repeated, Resolved::AlreadyResolved { state: DeliveryState::AwaitingReceipt, .. }), "{repeated:?}");
        }
        assert_eq!(store.awaited("<1@a>").await.unwrap().unwrap().failures, 1);
        // Nor does it contradict what was proved since.
        assert_eq!(was(&resolve(&store, "<1@a>", true).await), Some(DeliveryState::AwaitingReceipt));
        again(says_no(None, true), "a1").await;
        assert_eq!(delivery_states(&store, one.transfer.id).await, [DeliveryState::Delivered]);
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 3);
        assert_eq!(events(&store, EventKind::DeliveryFailed).await, 0);
        // Another one does.
        assert_eq!(was(&again(says_no(None, true), "b2").await), Some(DeliveryState::Delivered));
    }

    what_was_judged_by_what_is_no_longer_so_is_not_recorded(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.note(&one.claim, "as2", json!({ "message_id": "<1@a>" })).await.unwrap();
        awaiting(&store, &one).await;
        let judged = |attempt, as2: Option<&str>| {
            let as2 = as2.map(|id| json!({ "message_id": id }));
            let judged_by = ReceiptJudgedBy { attempt, notes: [("as2".to_owned(), as2), ("other".to_owned(), None)].into() };
            let notes = vec![("as2".to_owned(), json!({ "message_id": "<1@a>", "answered": true }))];
            let (digest, judged_by) = (Some("a1".to_owned()), Some(judged_by));
            let record = ReceiptRecord { notes, digest, judged_by, ..ReceiptRecord::default() };
            let store = &store;
            async move { store.resolve_noting("<1@a>", says_no(Some(now()), true), record, &node("n2"), now()).await.unwrap() }
        };
        for (attempt, as2) in [(0, Some("<1@a>")), (2, Some("<1@a>")), (1, Some("<2@a>")), (1, None)] {
            assert_eq!(judged(attempt, as2).await, Resolved::Changed, "{attempt} {as2:?}");
        }
        let found = store.awaited("<1@a>").await.unwrap().unwrap();
        assert_eq!(found.delivery.state, DeliveryState::AwaitingReceipt);
        assert_eq!(found.notes["as2"], json!({ "message_id": "<1@a>" }));
        assert_eq!(events(&store, EventKind::ReceiptIgnored).await, 0);
        // It was not taken for recorded.
        assert_eq!(was(&judged(1, Some("<1@a>")).await), Some(DeliveryState::AwaitingReceipt));
    }

    what_is_true_of_another_attempt_is_told_if_there_is_one(store) {
        let lease = lease(&store, "n1").await;
        for (key, retry_at, told) in [("<1@a>", None, 0), ("<2@a>", Some(after(now(), 600_000)), 1)] {
            let one = sent(&store, &lease, key).await;
            awaiting(&store, &one).await;
            let event = crate::tests::fixture::event(&lease, EventKind::CertificateFallback);
            let record = ReceiptRecord { if_retried: vec![event], ..ReceiptRecord::default() };
            store.resolve_noting(key, says_no(retry_at, true), record, &node("n2"), now()).await.unwrap();
            assert_eq!(events(&store, EventKind::CertificateFallback).await, told, "{key}");
        }
    }

    what_proves_nothing_does_not_take_the_place_of_what_decided(store) {
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        awaiting(&store, &one).await;
        let mut signed = receipt(true);
        signed.detail.insert("signed".to_owned(), true.into());
        let error = || Failure { kind: ErrorKind::IntegrityFailed, text: "it names another message".into() };
        let kept = async || {
            let kept = store.mdn(one.transfer.id, WhichMdn::NotAccepted(one.delivery.id)).await.unwrap();
            String::from_utf8(kept.unwrap()).unwrap()
        };
        resolve_noting(&store, "<1@a>", proves_nothing(), "WWVzPw==").await;
        resolve_noting(&store, "<1@a>", ReceiptSays::NoProof { receipt: signed, error: error() }, "WWVz").await;
        resolve_noting(&store, "<1@a>", proves_nothing(), "WWVzPw==").await;
        assert_eq!(kept().await, "Yes");
        resolve_noting(&store, "<1@a>", says_no(None, false), "Tm8=").await;
        resolve_noting(&store, "<1@a>", proves_nothing(), "WWVzPw==").await;
        assert_eq!(kept().await, "No");
    }

    a_proof_counts_also_after_the_time_ran_out(store) {
        let lease = lease(&store, "n1").await;
        let expires = after(now(), 600_000);
        let offer = crate::tests::fixture::offer("a");
        let mut new = transfer(Some(offer.id), &["x"]);
        new.deliveries[0].delivery.expires_at = Some(expires);
        let id = new.transfer.id;
        store.record_offer(crate::tests::fixture::record(&lease, offer, vec![new])).await.unwrap();
        let one = claim_one(&store, &lease).await;
        store.correlate(&one.claim, "<1@a>").await.unwrap();
        awaiting(&store, &one).await;
        assert_eq!(store.expire_due(&lease.node, expires, 10).await.unwrap().len(), 1);
        assert_eq!(transfer_state(&store, id).await, TransferState::Failed);
        // A refusal says nothing new.
        assert!(matches!(resolve(&store, "<1@a>", false).await, Resolved::AlreadyResolved { .. }));
        let resolved = resolve(&store, "<1@a>", true).await;
        assert_eq!(was(&resolved), Some(DeliveryState::Expired));
        assert_eq!(delivery_states(&store, id).await, [DeliveryState::Delivered]);
        assert_eq!(transfer_state(&store, id).await, TransferState::Completed);
    }

    the_delivery_that_a_receipt_is_about_is_found_in_every_state(store) {
        assert!(store.awaited("<1@a>").await.unwrap().is_none());
        let lease = lease(&store, "n1").await;
        let one = sent(&store, &lease, "<1@a>").await;
        store.note(&one.claim, "sent", json!({ "mic": "abc" })).await.unwrap();
        store.note(&one.claim, "answered", json!(202)).await.unwrap();
        let found = store.awaited("<1@a>").await.unwrap().unwrap();
        assert_eq!((found.delivery.id, found.transfer.id), (one.delivery.id, one.transfer.id));
        assert_eq!((found.delivery.state, found.delivery.attempt), (DeliveryState::Sending, 1));
        assert_eq!((found.payload.id, found.failures), (one.transfer.payload.id, 0));
        assert_eq!(found.notes["sent"], json!({ "mic": "abc" }));
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        awaiting(&store, &one).await;
        resolve(&store, "<1@a>", true).await;
        assert_eq!(store.awaited("<1@a>").await.unwrap().unwrap().delivery.state, DeliveryState::Delivered);
        // A partner chose it.
        for key in ["<1@a>\0", ""] {
            assert!(store.awaited(key).await.unwrap().is_none());
            assert_eq!(resolve(&store, key, true).await, Resolved::Unmatched);
        }
    }
}
