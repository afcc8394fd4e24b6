//! Messages that come in the answer to a delivery, and by POST as well.

use super::evidence::{evidence, found as evidence_found};
use super::fixture::{
    after, claim, delivered, event, events, lease, now, offer, payload, receipt, recorded, transfer,
    transfer_state,
};
use super::intake::{CONTENT, answered, later_receipt, message, recording, reply};
use crate::testing::both;
use crate::{
    AnswerFinished, Answered, Claimed, EvidenceOf, Finish, Finished, IntakeBegun, IntakeCommitted,
    NewAnswerMessage, NewEvidence, NewTransfer, NodeLease, Store,
};
use model::{AuditEvent, DeliveryState, EventKind, PayloadId, Sha256, TransferKind, TransferState};

/// An answer that holds a message: what is recorded of it.
struct Answer {
    claimed: Claimed,
    message: NewAnswerMessage,
    payload: NewTransfer,
    receipt: NewTransfer,
    events: Vec<AuditEvent>,
}

impl Answer {
    /// The answer to a new delivery, with one payload, for which a receipt is asked.
    async fn new(store: &Store, lease: &NodeLease, key: &str, content: Sha256) -> Self {
        let (_, sent) = recorded(store, lease, &uuid::Uuid::now_v7().to_string(), &["acme-as2"]).await;
        let all = claim(store, lease).await;
        let claimed = all.into_iter().find(|one| one.transfer.id == sent.transfer.id).unwrap();
        let mut payload = transfer(None, &["answers"]);
        (payload.transfer.kind, payload.transfer.parent) = (TransferKind::Reply, Some(claimed.transfer.id));
        let mut receipt = later_receipt(None);
        receipt.transfer.parent = Some(payload.transfer.id);
        let events = vec![recording(lease, &payload), recording(lease, &receipt)];
        let told = |kind| event(lease, kind).delivery(claimed.delivery.id).detail("message_id", key);
        let message = NewAnswerMessage {
            key: key.to_owned(),
            offer: offer(key),
            reply: reply(),
            content,
            is_remembered: true,
            evidence: None,
            repeated: told(EventKind::MessageRepeated),
            differs: told(EventKind::MessageContentDiffers),
        };
        Self { claimed, message, payload, receipt, events }
    }

    fn delivered(&self) -> Finish {
        Finish::Delivered { receipt: receipt(true), replies: self.replies() }
    }

    fn awaiting(&self) -> Finish {
        Finish::Awaiting { deadline: after(now(), 60_000), replies: self.replies() }
    }

    fn replies(&self) -> Vec<NewTransfer> {
        vec![self.payload.clone(), self.receipt.clone()]
    }

    async fn finish(&self, store: &Store, finish: Finish) -> AnswerFinished {
        let (claim, events, message) = (&self.claimed.claim, self.events.clone(), self.message.clone());
        store.finish_answered(claim, finish, now(), events, None, message).await.unwrap()
    }

    fn unused(&self) -> PayloadId {
        self.payload.transfer.payload.id
    }
}

/// What is told of a message that came in an answer.
fn from_answer() -> IntakeBegun {
    match answered() {
        IntakeBegun::Answered(known) => IntakeBegun::Answered(Answered { from_answer: true, ..known }),
        other => other,
    }
}

const DONE: Finished = Finished::Done { transfer_ended: None };

both! {
    a_message_in_an_answer_is_remembered_like_one_that_was_posted(store) {
        let lease = lease(&store, "n1").await;
        for (key, waits) in [("delivered", false), ("awaiting", true)] {
            let answer = Answer::new(&store, &lease, key, CONTENT).await;
            let finish = || if waits { answer.awaiting() } else { answer.delivered() };
            let first = answer.finish(&store, finish()).await;
            assert!(matches!(first.finished, Finished::Done { .. }) && first.unused.is_empty(), "{first:?}");
            // Once more, as its first answer was lost.
            let again = answer.finish(&store, finish()).await;
            let expected = if waits { DONE } else { Finished::AlreadyResolved(DeliveryState::Delivered) };
            assert_eq!(again, AnswerFinished::from(expected));
            for new in answer.replies() {
                let recorded = store.transfer(new.transfer.id).await.unwrap().unwrap();
                assert_eq!((recorded.offer, recorded.parent), (Some(answer.message.offer.id), new.transfer.parent));
                let waybill = store.waybill(new.transfer.id).await.unwrap().unwrap();
                assert!(waybill.offer.is_some() && waybill.source().is_none(), "{waybill:?}");
            }
            assert_eq!(store.intake_begin(&lease, key, now()).await.unwrap(), from_answer());
            assert_eq!(store.intake_answer(key).await.unwrap(), Some(reply()));
            // Its receipt is still on its way.
            assert!(!store.repeat_receipts(key, vec![later_receipt(None)], vec![], now()).await.unwrap());
        }
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 4);
        assert_eq!(events(&store, EventKind::MessageRepeated).await, 0);
        assert_eq!(store.purge_intake_keys(after(now(), 1000)).await.unwrap(), 2);
    }

    a_message_that_a_receipt_overtakes_is_remembered_too(store) {
        let lease = lease(&store, "n1").await;
        let answer = Answer::new(&store, &lease, "k", CONTENT).await;
        store.finish(&answer.claimed.claim, delivered(), now(), vec![]).await.unwrap();
        for _ in 0..2 {
            let finished = answer.finish(&store, answer.awaiting()).await;
            assert_eq!(finished, AnswerFinished::from(Finished::AlreadyResolved(DeliveryState::Delivered)));
        }
        assert!(store.transfer(answer.payload.transfer.id).await.unwrap().is_some());
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), from_answer());
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 2);
    }

    of_a_posted_message_that_comes_again_in_an_answer_only_the_receipt_is_recorded(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        let posted = message(&lease, "k");
        assert_eq!(store.intake_commit(posted.clone()).await.unwrap(), IntakeCommitted::Committed);
        let answer = Answer::new(&store, &lease, "k", CONTENT).await;
        // Also when it is told twice, as its first answer was lost.
        for _ in 0..2 {
            let finished = answer.finish(&store, answer.delivered()).await;
            assert_eq!(finished.unused, [answer.unused()]);
            assert!(!matches!(finished.finished, Finished::ClaimLost), "{finished:?}");
        }
        assert!(store.transfer(answer.payload.transfer.id).await.unwrap().is_none());
        let sent = store.transfer(answer.receipt.transfer.id).await.unwrap().unwrap();
        let of_posted = (Some(posted.offer.id), Some(posted.transfers[0].transfer.id));
        assert_eq!((sent.offer, sent.parent), of_posted);
        assert_eq!(transfer_state(&store, answer.claimed.transfer.id).await, TransferState::Completed);
        assert_eq!(events(&store, EventKind::MessageRepeated).await, 1);
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 1);
        // While that one is on its way, there is no second.
        let next = Answer::new(&store, &lease, "k", CONTENT).await;
        let finished = next.finish(&store, next.awaiting()).await;
        assert_eq!(finished.finished, DONE);
        assert_eq!(finished.unused, [next.unused(), next.receipt.transfer.payload.id]);
        assert!(store.transfer(next.receipt.transfer.id).await.unwrap().is_none());
        assert_eq!(events(&store, EventKind::MessageRepeated).await, 2);
    }

    another_message_under_a_known_key_is_taken_from_an_answer_and_told(store) {
        let lease = lease(&store, "n1").await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Committed);
        let answer = Answer::new(&store, &lease, "k", Sha256([8; 32])).await;
        for _ in 0..2 {
            assert!(answer.finish(&store, answer.delivered()).await.unused.is_empty());
        }
        let taken = store.transfer(answer.payload.transfer.id).await.unwrap().unwrap();
        let of_answer = (Some(answer.message.offer.id), Some(answer.claimed.transfer.id));
        assert_eq!((taken.offer, taken.parent), of_answer);
        assert_eq!(events(&store, EventKind::MessageContentDiffers).await, 1);
        assert_eq!(events(&store, EventKind::TransferRecorded).await, 2);
        // The key is that of the first.
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), answered());
    }

    a_copy_that_is_being_received_meanwhile_is_lost_at_its_commit(store) {
        let lease = lease(&store, "n1").await;
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        let answer = Answer::new(&store, &lease, "k", CONTENT).await;
        assert!(answer.finish(&store, answer.delivered()).await.unused.is_empty());
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Lost);
        // What is dropped frees nothing that belongs to the answer.
        store.intake_abandon(&lease, "k").await.unwrap();
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), from_answer());
    }

    a_message_that_was_refused_before_is_taken_from_an_answer_and_its_refusal_is_not_sent(store) {
        let lease = lease(&store, "n1").await;
        let answer = Answer::new(&store, &lease, "k", CONTENT).await;
        store.intake_begin(&lease, "k", now()).await.unwrap();
        let refusal = later_receipt(None);
        let held = store.intake_refuse(&lease, "k", Some(reply()), vec![refusal.clone()], vec![], now()).await;
        assert!(held.unwrap());
        assert!(answer.finish(&store, answer.delivered()).await.unused.is_empty());
        assert_eq!(transfer_state(&store, refusal.transfer.id).await, TransferState::Cancelled);
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), from_answer());
    }

    an_attempt_that_is_no_longer_claimed_remembers_nothing(store) {
        let lease = lease(&store, "n1").await;
        let mut answer = Answer::new(&store, &lease, "k", CONTENT).await;
        answer.claimed.claim.attempt += 1;
        let finished = answer.finish(&store, answer.delivered()).await;
        assert_eq!(finished, AnswerFinished::from(Finished::ClaimLost));
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
    }

    a_message_that_no_flow_takes_is_not_remembered(store) {
        let lease = lease(&store, "n1").await;
        let mut answer = Answer::new(&store, &lease, "k", CONTENT).await;
        answer.message.is_remembered = false;
        assert!(answer.finish(&store, answer.delivered()).await.unused.is_empty());
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::New);
        assert_eq!(store.intake_commit(message(&lease, "k")).await.unwrap(), IntakeCommitted::Committed);
        // Told once more after that, it still is what was recorded.
        assert!(answer.finish(&store, answer.delivered()).await.unused.is_empty());
        assert!(store.transfer(answer.payload.transfer.id).await.unwrap().is_some());
        assert_eq!(events(&store, EventKind::MessageRepeated).await, 0);
        // The next one is a repetition of what was posted.
        let mut next = Answer::new(&store, &lease, "k", CONTENT).await;
        next.message.is_remembered = false;
        assert_eq!(next.finish(&store, next.awaiting()).await.unused.first(), Some(&next.unused()));
        assert!(store.transfer(next.payload.transfer.id).await.unwrap().is_none());
    }

    what_proves_the_message_is_recorded_with_it(store) {
        let lease = lease(&store, "n1").await;
        for (key, waits) in [("delivered", false), ("awaiting", true)] {
            let mut answer = Answer::new(&store, &lease, key, CONTENT).await;
            let proof = evidence(EvidenceOf::Received(answer.message.offer.id), answer.payload.transfer.id);
            let content = payload();
            answer.message.evidence = Some(NewEvidence { content: Some(content.clone()), ..proof.clone() });
            let finish = || if waits { answer.awaiting() } else { answer.delivered() };
            for _ in 0..2 {
                assert!(answer.finish(&store, finish()).await.unused.is_empty());
            }
            let kept = store.evidence_of(answer.payload.transfer.id).await.unwrap();
            assert_eq!((kept.len(), kept[0].id, kept[0].delivery), (1, proof.id, None));
            // A repetition proves nothing more, and what was copied for it is left over.
            let mut again = Answer::new(&store, &lease, key, CONTENT).await;
            let proof = evidence(EvidenceOf::Received(again.message.offer.id), again.payload.transfer.id);
            let copied = payload();
            again.message.evidence = Some(NewEvidence { content: Some(copied.clone()), ..proof });
            assert!(again.finish(&store, again.delivered()).await.unused.contains(&copied.id));
        }
        assert!(evidence_found(&store).await.is_empty());
    }
}
