use super::fixture::{
    INSTANCE, claim, claim_one, delivered, delivery_states, events, lease, lease_for, node, now, recorded,
};
use crate::command::Command;
use crate::fault::Fault;
use crate::testing::{TestStore, both};
use crate::tx::Tx;
use crate::{Acquired, Done, Finished, IntakeBegun, NodeLease, Renewal};
use async_trait::async_trait;
use model::{DeliveryState, EventKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A term that the tests can wait out.
const SHORT: Duration = Duration::from_millis(300);

async fn wait_out() {
    tokio::time::sleep(SHORT + Duration::from_millis(100)).await;
}

/// Stops in the middle of a transaction that has locked its node's lease and that of source `s`; answers whether both
/// were held.
struct Freeze {
    lease: NodeLease,
    frozen: Arc<Semaphore>,
    goes_on: Arc<Semaphore>,
}

#[async_trait]
impl Command for Freeze {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let held = tx.holds(&self.lease, now()).await? && tx.holds_source(&self.lease, "s").await?;
        self.frozen.add_permits(1);
        let _permit = self.goes_on.acquire().await;
        Ok(held)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_froze_in_a_transaction_holds_up_nobody() {
    let test = TestStore::postgres().await;
    let (stopped, lives) = (lease(&test, "n1").await, lease(&test, "n2").await);
    recorded(&test, &stopped, "a", &["x"]).await;
    claim_one(&test, &stopped).await;
    assert!(test.acquire_source(&stopped, "s", None, now()).await.unwrap());
    let (frozen, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let freeze =
        Freeze { lease: stopped.clone(), frozen: Arc::clone(&frozen), goes_on: Arc::clone(&goes_on) };
    let store = test.store.clone();
    let node = tokio::spawn(async move { store.write(freeze).await });
    frozen.acquire().await.unwrap().forget();
    let last = NodeLease { lease: SHORT, ..stopped };
    assert_eq!(test.renew_node(&last, now()).await.unwrap(), Renewal::Renewed);
    wait_out().await;

    // The other node neither waits nor takes over what may still be committed.
    assert!(!test.acquire_source(&lives, "s", None, now()).await.unwrap());
    assert!(test.fence_expired(&lives.node, now()).await.unwrap().is_empty());
    recorded(&test, &lives, "b", &["x"]).await;
    let fenced = loop {
        let fenced = test.fence_expired(&lives.node, now()).await.unwrap();
        if !fenced.is_empty() {
            break fenced;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((fenced.len(), fenced[0].deliveries), (1, 1));

    assert!(test.acquire_source(&lives, "s", None, now()).await.unwrap());

    // The server has ended the transaction: the command runs once more, and the lease is gone.
    goes_on.add_permits(2);
    assert!(!node.await.unwrap().unwrap());
}

both! {
    a_name_has_one_live_holder(store) {
        let first = lease(&store, "n1").await;
        // A start elsewhere under the same name, whoever that is.
        let elsewhere = uuid::Uuid::max();
        let held = store.acquire_node(&node("n1"), SHORT, now(), elsewhere).await.unwrap();
        assert!(matches!(held, Acquired::HeldUntil(until) if until > now()), "{held:?}");
        assert_eq!(store.renew_node(&first, now()).await.unwrap(), Renewal::Renewed);
        // The same installation once more: its earlier process is dead.
        let Acquired::Held(second) = store.acquire_node(&node("n1"), SHORT, now(), INSTANCE).await.unwrap() else {
            panic!("not taken over");
        };
        assert_eq!(second.epoch, first.epoch + 1);
        assert_eq!(store.renew_node(&first, now()).await.unwrap(), Renewal::Lost);
        store.release_node(&second, now()).await.unwrap();
        // Free; and from now on the other's.
        let third = store.acquire_node(&node("n1"), SHORT, now(), elsewhere).await.unwrap();
        assert!(matches!(third, Acquired::Held(lease) if lease.epoch == second.epoch + 1));
        let back = store.acquire_node(&node("n1"), SHORT, now(), INSTANCE).await.unwrap();
        assert!(matches!(back, Acquired::HeldUntil(_)), "{back:?}");
        wait_out().await;
        let back = store.acquire_node(&node("n1"), SHORT, now(), INSTANCE).await.unwrap();
        assert!(matches!(back, Acquired::Held(_)), "{back:?}");
    }

    a_fenced_node_can_write_nothing_more(store) {
        let stopped = lease_for(&store, "n1", SHORT).await;
        let lives = lease(&store, "n2").await;
        let (_, new) = recorded(&store, &stopped, "a", &["x"]).await;
        let claimed = claim_one(&store, &stopped).await;
        assert!(store.fence_expired(&lives.node, now()).await.unwrap().is_empty());
        wait_out().await;
        let fenced = store.fence_expired(&lives.node, now()).await.unwrap();
        assert_eq!((fenced.len(), fenced[0].deliveries), (1, 1));
        assert_eq!((&fenced[0].node, fenced[0].epoch), (&stopped.node, stopped.epoch));
        assert_eq!(delivery_states(&store, new.transfer.id).await, [DeliveryState::Retrying]);

        // It goes on as if nothing had happened, and nothing of it counts.
        assert_eq!(store.renew_node(&stopped, now()).await.unwrap(), Renewal::Lost);
        assert_eq!(store.finish(&claimed.claim, delivered(), now(), vec![]).await.unwrap(), Finished::ClaimLost);
        assert_eq!(store.note(&claimed.claim, "publishing", serde_json::json!(true)).await.unwrap(), Done::ClaimLost);
        assert_eq!(store.correlate(&claimed.claim, "<1@a>").await.unwrap(), Done::ClaimLost);
        assert!(claim(&store, &stopped).await.is_empty());

        let again = claim_one(&store, &lives).await;
        assert!(again.interrupted);
        assert_eq!((again.claim.attempt, again.failures), (2, 0));
        assert_eq!(store.finish(&claimed.claim, delivered(), now(), vec![]).await.unwrap(), Finished::ClaimLost);
        store.finish(&again.claim, delivered(), now(), vec![]).await.unwrap();
        assert_eq!(events(&store, EventKind::NodeFenced).await, 1);
        assert_eq!(events(&store, EventKind::DeliveryInterrupted).await, 1);
    }

    an_expired_lease_claims_nothing_even_before_it_is_fenced(store) {
        let slow = lease_for(&store, "n1", SHORT).await;
        recorded(&store, &slow, "a", &["x"]).await;
        wait_out().await;
        assert!(claim(&store, &slow).await.is_empty());
        // Nobody has fenced it: it may still renew.
        assert_eq!(store.renew_node(&slow, now()).await.unwrap(), Renewal::Renewed);
        assert_eq!(claim(&store, &slow).await.len(), 1);
    }

    a_restarted_node_finds_what_it_was_at(store) {
        let before = lease(&store, "n1").await;
        recorded(&store, &before, "a", &["x"]).await;
        let first = claim_one(&store, &before).await;
        let after = lease(&store, "n1").await;
        let again = claim_one(&store, &after).await;
        assert!(again.interrupted);
        assert_eq!(again.delivery.id, first.delivery.id);
    }

    a_source_goes_to_its_preferred_node_as_long_as_that_is_alive(store) {
        let (preferred, other) = (lease_for(&store, "n1", SHORT).await, lease(&store, "n2").await);
        let acquire = async |lease| store.acquire_source(lease, "orders", Some((&node("n1"), 7)), now()).await.unwrap();
        assert!(!acquire(&other).await, "it would not poll at once, but it is alive");
        assert!(acquire(&preferred).await);
        wait_out().await;
        assert!(acquire(&other).await);
        // It comes back: the other one gives up the source at its next poll.
        let preferred = lease(&store, "n1").await;
        assert!(!acquire(&preferred).await);
        assert!(!acquire(&other).await);
        assert!(acquire(&preferred).await);
        store.release_node(&preferred, now()).await.unwrap();
        assert!(acquire(&other).await);
    }

    a_preferred_node_that_refused_the_revision_keeps_no_other_from_polling(store) {
        let (preferred, other) = (lease(&store, "n1").await, lease(&store, "n2").await);
        let acquire = async |lease| store.acquire_source(lease, "orders", Some((&node("n1"), 7)), now()).await.unwrap();
        let report = async |revision, problem: Option<&str>| {
            let problem = problem.map(str::to_owned);
            store.report_revision(&node("n1"), revision, problem, now(), vec![]).await.unwrap();
        };
        // It has not looked yet.
        report(6, None).await;
        assert!(!acquire(&other).await);
        report(6, Some("a file is missing")).await;
        assert_eq!(store.refusal_of(&node("n1"), 7, now()).await.unwrap().as_deref(), Some("a file is missing"));
        assert!(acquire(&other).await && !acquire(&preferred).await);
        // What it refused is later than the flow: it polls as all do.
        report(7, Some("another file is missing")).await;
        assert_eq!(store.refusal_of(&node("n1"), 7, now()).await.unwrap(), None);
        assert!(!acquire(&other).await && acquire(&preferred).await);
        report(6, Some("a file is missing")).await;
        store.release_node(&preferred, now()).await.unwrap();
        assert_eq!(store.refusal_of(&node("n1"), 7, now()).await.unwrap(), None, "it is dead, and no news");
    }

    a_source_has_one_poller(store) {
        let (one, two) = (lease_for(&store, "n1", SHORT).await, lease(&store, "n2").await);
        assert!(store.acquire_source(&one, "orders", None, now()).await.unwrap());
        assert!(store.acquire_source(&one, "orders", None, now()).await.unwrap());
        assert!(!store.acquire_source(&two, "orders", None, now()).await.unwrap());
        store.release_source(&one, "orders").await.unwrap();
        assert!(store.acquire_source(&two, "orders", None, now()).await.unwrap());
        store.release_source(&two, "orders").await.unwrap();
        store.renew_node(&one, now()).await.unwrap();
        assert!(store.acquire_source(&one, "orders", None, now()).await.unwrap());
        wait_out().await;
        assert!(store.acquire_source(&two, "orders", None, now()).await.unwrap());
    }

    fencing_frees_messages_and_settling(store) {
        let (stopped, lives) = (lease_for(&store, "n1", SHORT).await, lease(&store, "n2").await);
        let (offer, _) = recorded(&store, &stopped, "a", &["x"]).await;
        assert!(store.begin_settle(offer, &stopped, now()).await.unwrap());
        assert_eq!(store.intake_begin(&stopped, "k", now()).await.unwrap(), IntakeBegun::New);
        assert!(!store.begin_settle(offer, &lives, now()).await.unwrap());
        wait_out().await;
        store.fence_expired(&lives.node, now()).await.unwrap();
        assert_eq!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().len(), 1);
        assert!(store.begin_settle(offer, &lives, now()).await.unwrap());
        assert_eq!(store.intake_begin(&lives, "k", now()).await.unwrap(), IntakeBegun::New);
        assert!(!store.begin_settle(offer, &stopped, now()).await.unwrap());
    }

    renewals_go_through_while_the_node_is_busy(store) {
        let lease = lease(&store, "n1").await;
        let busy: Vec<_> = (0..6).map(|task| {
            let (store, lease) = (store.store.clone(), lease.clone());
            tokio::spawn(async move {
                for n in 0..30 {
                    recorded(&store, &lease, &format!("{task}-{n}"), &["x"]).await;
                    claim(&store, &lease).await;
                }
            })
        }).collect();
        for _ in 0..20 {
            let renewal = tokio::time::timeout(Duration::from_secs(5), store.renew_node(&lease, now())).await;
            assert_eq!(renewal.unwrap().unwrap(), Renewal::Renewed);
        }
        for task in busy { task.await.unwrap(); }
    }
}
