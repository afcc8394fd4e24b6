use super::fixture::{after, claim_one, delivered, failed, lease, now, offer, record, recorded, transfer};
use crate::testing::both;
use crate::{Done, OfferFailed, RecordOffer, Recorded};
use model::definition::SettleWhen;
use model::{EventKind, Offer, Outcome, Timestamp, TransferState};

fn key(path: &str) -> String {
    offer(path).identity.key()
}

async fn is_known(store: &crate::Store, path: &str) -> bool {
    let keys = [key(path), key("another")];
    let known = store.known(&keys, now()).await.unwrap();
    assert!(!known.contains(&keys[1]));
    known.contains(&keys[0])
}

fn failure(offer: &Offer, next_at: Option<Timestamp>, settle_refused: bool) -> OfferFailed {
    OfferFailed {
        offer: offer.clone(),
        next_at,
        error: "550".into(),
        done_file: None,
        settle_refused,
        events: vec![],
        now: now(),
    }
}

both! {
    a_recorded_file_is_ours_and_hides_its_identity_until_it_is_settled(store) {
        let lease = lease(&store, "n1").await;
        assert!(!is_known(&store, "a").await);
        let (id, new) = recorded(&store, &lease, "a", &["x", "y"]).await;
        assert!(is_known(&store, "a").await);
        let read = store.transfer(new.transfer.id).await.unwrap().unwrap();
        assert_eq!(read, model::Transfer { state: TransferState::Delivering, ..new.transfer.clone() });
        let deliveries = store.deliveries(read.id).await.unwrap();
        assert_eq!(deliveries, new.deliveries.iter().map(|new| new.delivery.clone()).collect::<Vec<_>>());

        let to_settle = store.offers_to_settle("orders", "acme", now(), 10).await.unwrap();
        assert_eq!(to_settle.len(), 1);
        assert_eq!((to_settle[0].offer.id, to_settle[0].outcome), (id, Outcome::Taken));
        assert!(store.begin_settle(id, &lease, now()).await.unwrap());
        assert!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().is_empty());
        assert!(is_known(&store, "a").await);
        assert_eq!(store.settled(id, &lease, false, vec![], vec![], now()).await.unwrap(), Done::Done);
        assert!(!is_known(&store, "a").await);
        // The same name, size and time once more is a new file.
        recorded(&store, &lease, "a", &["x"]).await;
        assert!(is_known(&store, "a").await);
    }

    the_same_identity_is_recorded_once(store) {
        let lease = lease(&store, "n1").await;
        let first = record(&lease, offer("a"), vec![transfer(None, &["x"])]);
        let second = record(&lease, offer("a"), vec![transfer(None, &["x"])]);
        assert_eq!(store.record_offer(first.clone()).await.unwrap(), Recorded::Recorded);
        assert_eq!(store.record_offer(first).await.unwrap(), Recorded::AlreadyRecorded);
        let lost = second.transfers[0].transfer.id;
        assert_eq!(store.record_offer(second).await.unwrap(), Recorded::AlreadyRecorded);
        assert!(store.transfer(lost).await.unwrap().is_none());
    }

    many_at_once_record_an_identity_once(store) {
        let lease = lease(&store, "n1").await;
        let all = futures::future::join_all((0..40).map(|_| {
            let offer = offer("same");
            let new = transfer(Some(offer.id), &["x"]);
            store.record_offer(record(&lease, offer, vec![new]))
        })).await;
        let ours = all.into_iter().filter(|one| matches!(one, Ok(Recorded::Recorded))).count();
        assert_eq!(ours, 1);
    }

    a_lost_lease_records_nothing(store) {
        let old = lease(&store, "n1").await;
        let new = lease(&store, "n1").await;
        assert_eq!(new.epoch, old.epoch + 1);
        let stale = record(&old, offer("a"), vec![transfer(None, &["x"])]);
        assert_eq!(store.record_offer(stale).await.unwrap(), Recorded::LeaseLost);
        let mut without_source = record(&new, offer("a"), vec![transfer(None, &["x"])]);
        without_source.source = Some("orders".into());
        assert_eq!(store.record_offer(without_source.clone()).await.unwrap(), Recorded::LeaseLost);
        assert!(store.acquire_source(&new, "orders", None, now()).await.unwrap());
        assert_eq!(store.record_offer(without_source).await.unwrap(), Recorded::Recorded);
    }

    a_file_that_cannot_be_read_is_backed_off_then_refused(store) {
        let lease = lease(&store, "n1").await;
        let (first, second) = (offer("a"), offer("a"));
        assert_eq!(store.offer_failed(failure(&first, Some(after(now(), 60_000)), false)).await.unwrap(), 1);
        assert!(is_known(&store, "a").await);
        // Found again under another id once its time has come.
        assert_eq!(store.offer_failed(failure(&second, Some(after(now(), -1)), false)).await.unwrap(), 2);
        assert!(!is_known(&store, "a").await);
        let third = offer("a");
        assert_eq!(store.offer_failed(failure(&third, None, false)).await.unwrap(), 3);
        assert!(is_known(&store, "a").await);
        assert!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().is_empty());
        let anew = record(&lease, offer("a"), vec![transfer(None, &["x"])]);
        assert_eq!(store.record_offer(anew).await.unwrap(), Recorded::AlreadyRecorded);
        // It stays hidden for as long as it lies there.
        let poll = after(now(), 1000);
        store.listed(&[key("a")], poll).await.unwrap();
        assert_eq!(store.forget_unlisted("orders", "acme", poll).await.unwrap(), 0);
        assert_eq!(store.forget_unlisted("orders", "acme", after(poll, 1)).await.unwrap(), 1);
        assert!(!is_known(&store, "a").await);
    }

    a_file_that_a_poll_lists_while_its_settling_is_recorded_is_not_forgotten(store) {
        let lease = lease(&store, "n1").await;
        let (id, _) = recorded(&store, &lease, "a", &["x"]).await;
        assert!(store.begin_settle(id, &lease, now()).await.unwrap());
        // Its settling ended before the poll began, and is recorded only after the poll has listed the file.
        let ended = now();
        let poll = after(ended, 60_000);
        assert!(is_known(&store, "a").await);
        store.listed(&[key("a")], poll).await.unwrap();
        assert_eq!(store.settled(id, &lease, true, vec![], vec![], ended).await.unwrap(), Done::Done);
        assert_eq!(store.forget_unlisted("orders", "acme", poll).await.unwrap(), 0);
        assert!(is_known(&store, "a").await);
        assert_eq!(store.forget_unlisted("orders", "acme", after(poll, 1)).await.unwrap(), 1);
    }

    a_backed_off_file_can_still_be_recorded(store) {
        let lease = lease(&store, "n1").await;
        store.offer_failed(failure(&offer("a"), Some(now()), false)).await.unwrap();
        let found = Offer { found_at: after(now(), 5000), ..offer("a") };
        let new = record(&lease, found.clone(), vec![transfer(Some(found.id), &["x"])]);
        assert_eq!(store.record_offer(new).await.unwrap(), Recorded::Recorded);
        let read = store.offers_to_settle("orders", "acme", now(), 1).await.unwrap().remove(0).offer;
        // Whoever settles it later sees what the first who tried saw: an archived file's name is made of it.
        assert_eq!((read.id, read.failures, read.found_at), (found.id, 0, found.found_at));
    }

    a_refused_file_is_moved_away_and_may_come_again(store) {
        let lease = lease(&store, "n1").await;
        let refused = offer("a");
        store.offer_failed(failure(&refused, None, true)).await.unwrap();
        let crate::OfferToSettle { offer: read, outcome, .. } = store.offers_to_settle("orders", "acme", now(), 1).await.unwrap().remove(0);
        assert_eq!((read.id, outcome), (refused.id, Outcome::Refused));
        assert!(store.begin_settle(refused.id, &lease, now()).await.unwrap());
        store.settled(refused.id, &lease, false, vec![], vec![], now()).await.unwrap();
        assert!(!is_known(&store, "a").await);
    }

    settling_waits_for_the_deliveries_when_told_to(store) {
        let lease = lease(&store, "n1").await;
        for (path, ends_well) in [("good", true), ("bad", false)] {
            let found = offer(path);
            let mut new = record(&lease, found.clone(), vec![transfer(Some(found.id), &["x"])]);
            new.settle_when = Some(SettleWhen::AfterDelivery);
            store.record_offer(new).await.unwrap();
            assert!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().is_empty());
            let claimed = claim_one(&store, &lease).await;
            let finish = if ends_well { delivered() } else { failed(false) };
            store.finish(&claimed.claim, finish, now(), vec![]).await.unwrap();
            let crate::OfferToSettle { offer: read, outcome, .. } = store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().remove(0);
            assert_eq!(read.id, found.id);
            assert_eq!(outcome, if ends_well { Outcome::Taken } else { Outcome::Refused });
            assert!(store.begin_settle(found.id, &lease, now()).await.unwrap());
            store.settled(found.id, &lease, false, vec![], vec![], now()).await.unwrap();
        }
    }

    refused_files_that_stay_are_shown_until_they_are_gone(store) {
        let refused_files = || async { store.overview(now()).await.unwrap().refused_files };
        assert!(refused_files().await.is_empty());
        store.offer_failed(failure(&offer("moved"), None, true)).await.unwrap();
        store.offer_failed(failure(&offer("later"), Some(now()), false)).await.unwrap();
        store.offer_failed(failure(&offer("a"), None, false)).await.unwrap();
        store.offer_failed(failure(&offer("b"), None, false)).await.unwrap();
        let found = refused_files().await;
        assert_eq!((found.len(), found[0].files, found[0].flow.as_str(), found[0].endpoint.as_str()), (1, 2, "orders", "acme"));
        assert!(found[0].error.is_some());
        store.forget_unlisted("orders", "acme", after(now(), 60_000)).await.unwrap();
        assert!(refused_files().await.is_empty());
    }

    a_source_that_cannot_be_settled_is_tried_again(store) {
        let lease = lease(&store, "n1").await;
        let (id, _) = recorded(&store, &lease, "a", &["x"]).await;
        assert!(store.begin_settle(id, &lease, now()).await.unwrap());
        let later = after(now(), 60_000);
        assert_eq!(store.settle_failed(id, &lease, later, "refused", vec![], now()).await.unwrap(), Done::Done);
        let unsettled = store.overview(now()).await.unwrap().unsettled.remove(0);
        assert_eq!((unsettled.flow.as_str(), unsettled.files, unsettled.error.as_deref()), ("orders", 1, Some("refused")));
        assert!(store.offers_to_settle("orders", "acme", now(), 10).await.unwrap().is_empty());
        assert_eq!(store.offers_to_settle("orders", "acme", after(now(), 61_000), 10).await.unwrap().len(), 1);
        assert!(is_known(&store, "a").await);
        let mut data = serde_json::Map::new();
        data.insert("claimed".into(), "a.stage".into());
        store.update_offer_source_data(id, data.clone()).await.unwrap();
        let read = store.offers_to_settle("orders", "acme", after(now(), 61_000), 10).await.unwrap().remove(0).offer;
        assert_eq!(read.source_data, data);
    }

    a_stopped_node_says_nothing_about_an_offer_that_another_settles(store) {
        let stopped = lease(&store, "n1").await;
        let (id, _) = recorded(&store, &stopped, "a", &["x"]).await;
        assert!(store.begin_settle(id, &stopped, now()).await.unwrap());
        // Taken over, by this name's next life or by another node.
        let lives = lease(&store, "n1").await;
        assert!(store.begin_settle(id, &lives, now()).await.unwrap());
        let later = after(now(), 60_000);
        assert_eq!(store.settle_failed(id, &stopped, later, "refused", vec![], now()).await.unwrap(), Done::ClaimLost);
        assert_eq!(store.settled(id, &stopped, false, vec![], vec![], now()).await.unwrap(), Done::ClaimLost);
        // It is still the other's, and hides.
        assert!(store.offers_to_settle("orders", "acme", later, 10).await.unwrap().is_empty());
        assert!(is_known(&store, "a").await);
        assert_eq!(store.settled(id, &lives, false, vec![], vec![], now()).await.unwrap(), Done::Done);
        // Told once more, as its answer was lost; and too late by the first.
        assert_eq!(store.settled(id, &lives, false, vec![], vec![], now()).await.unwrap(), Done::Done);
        assert_eq!(store.settle_failed(id, &stopped, later, "refused", vec![], now()).await.unwrap(), Done::ClaimLost);
        assert!(!is_known(&store, "a").await);
    }

    a_kept_file_hides_as_long_as_listings_show_it(store) {
        let lease = lease(&store, "n1").await;
        let (id, _) = recorded(&store, &lease, "a", &["x"]).await;
        assert!(store.begin_settle(id, &lease, now()).await.unwrap());
        store.settled(id, &lease, true, vec![], vec![], now()).await.unwrap();
        assert!(is_known(&store, "a").await);
        let poll = after(now(), 1000);
        store.listed(&[key("a"), key("b")], poll).await.unwrap();
        assert_eq!(store.forget_unlisted("orders", "acme", poll).await.unwrap(), 0);
        assert_eq!(store.forget_unlisted("orders", "elsewhere", after(poll, 1)).await.unwrap(), 0);
        assert_eq!(store.forget_unlisted("orders", "acme", after(poll, 1)).await.unwrap(), 1);
        assert!(!is_known(&store, "a").await);
    }

    a_done_file_is_used_while_its_offer_is_known(store) {
        let lease = lease(&store, "n1").await;
        let done = |name: &str| vec![format!("{name}.done")];
        let used = async |name: &str| !store.used_done_files(&done(name)).await.unwrap().is_empty();
        // An offer that could not be staged has not used it; one that was refused, and stays, has.
        for (name, next_at, is_used) in [("a", Some(after(now(), 1000)), false), ("b", None, true)] {
            let failed = failure(&offer(name), next_at, false);
            store.offer_failed(OfferFailed { done_file: done(name).pop(), ..failed }).await.unwrap();
            assert_eq!(used(name).await, is_used, "{name}");
        }
        let taken = RecordOffer { done_file: done("c").pop(), ..record(&lease, offer("c"), vec![transfer(None, &["x"])]) };
        let id = taken.offer.id;
        store.record_offer(taken).await.unwrap();
        assert!(used("c").await);
        assert!(store.begin_settle(id, &lease, now()).await.unwrap());
        store.settled(id, &lease, true, vec![], vec![], now()).await.unwrap();
        assert!(used("c").await);
        // It is kept at the source: remembered as long as the done file is listed, whatever became of the file.
        let poll = after(now(), 1000);
        store.listed_done_files(&done("c"), poll).await.unwrap();
        assert_eq!(store.forget_unlisted("orders", "acme", poll).await.unwrap(), 1);
        assert!(used("c").await && !used("b").await);
        assert_eq!(store.forget_unlisted("orders", "acme", after(poll, 1)).await.unwrap(), 1);
        assert!(!used("c").await);
    }

    the_events_of_a_record_are_in_its_transaction(store) {
        let lease = lease(&store, "n1").await;
        let event = || crate::testing::event(1).detail("why", "test");
        let mut ours = record(&lease, offer("a"), vec![transfer(None, &["x"])]);
        ours.events = vec![event()];
        let mut again = record(&lease, offer("a"), vec![transfer(None, &["x"])]);
        again.events = vec![event()];
        store.record_offer(ours).await.unwrap();
        store.record_offer(again).await.unwrap();
        assert_eq!(crate::tests::fixture::events(&store, EventKind::PollFailed).await, 1);
    }
}
