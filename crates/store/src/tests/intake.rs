use super::fixture::{claim_one, lease, node, now, offer, record, transfer};
use crate::command::Command;
use crate::testing::both;
use crate::{IntakeBegun, IntakeCommit, IntakeCommitted, NodeLease, Reply};
use model::EventKind;
use serde_json::json;

fn reply() -> Reply {
    Reply {
        head: json!({"status": 200, "headers": [["AS2-Version", "1.2"]]}),
        body: vec![0, 159, 146, 150, 13, 10],
    }
}

fn message(lease: &NodeLease, key: &str) -> IntakeCommit {
    let offer = offer(key);
    let transfers = vec![transfer(Some(offer.id), &["x"])];
    IntakeCommit {
        lease: lease.clone(),
        key: key.into(),
        offer,
        transfers,
        reply: reply(),
        events: vec![crate::testing::event(1)],
        now: now(),
    }
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
        assert_eq!(store.intake_begin(&lease, "k", now()).await.unwrap(), IntakeBegun::Answered(reply()));
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
        store.intake_refuse(&lease, "k", Some(reply()), events, now()).await.unwrap();
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
}
