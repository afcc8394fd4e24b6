//! Messages that have arrived in part: who writes one, what counts of it, and what becomes of it.

use super::fixture::{after, event, events, lease, now, offer, transfer};
use crate::either::on;
use crate::testing::both;
use crate::{
    ContinuePartial, IntakeBegun, IntakeCommit, IntakeCommitted, NewPartial, NodeLease, PartialBegun,
    PartialContinued, PartialRecorded, PartialSegment, RecordPartial, Reply, Store,
};
use model::{EventKind, PayloadId};
use serde_json::json;
use uuid::Uuid;

const KEY: &str = "etag from to";

fn segment() -> PayloadId {
    PayloadId::new(Uuid::now_v7())
}

/// A message of 100 bytes, under a key that is the message's own as well.
fn new(lease: &NodeLease, key: &str, segment: PayloadId) -> NewPartial {
    NewPartial {
        lease: lease.clone(),
        key: key.into(),
        id: Uuid::now_v7(),
        listener: "as2".into(),
        partner: "globex".into(),
        message: key.into(),
        total: Some(100),
        segment,
        most_messages: 10,
        most_bytes: 1000,
        keep_until: after(now(), 60_000),
        events: Vec::new(),
        now: now(),
    }
}

async fn begun(store: &Store, new: NewPartial) -> (i64, Vec<PayloadId>) {
    match store.begin_partial(new).await.unwrap() {
        PartialBegun::Begun { fence, removed } => (fence, removed),
        full @ PartialBegun::Full { .. } => panic!("{full:?}"),
    }
}

fn record(key: &str, id: Uuid, fence: i64, segment: PayloadId, length: u64) -> RecordPartial {
    RecordPartial {
        key: key.into(),
        id,
        fence,
        segment,
        length,
        last_byte: Some(7),
        is_whole: false,
        ended: false,
        smallest: 0,
        keep_until: after(now(), 60_000),
        events: Vec::new(),
        removed: Vec::new(),
        now: now(),
    }
}

async fn is_recorded(store: &Store, record: RecordPartial) -> bool {
    match store.record_partial(record).await.unwrap() {
        PartialRecorded::Recorded => true,
        PartialRecorded::Lost => false,
        removed @ PartialRecorded::Removed { .. } => panic!("{removed:?}"),
    }
}

fn goes_on(lease: &NodeLease, key: &str, fence: i64, segment: PayloadId) -> ContinuePartial {
    let (lease, key) = (lease.clone(), key.into());
    ContinuePartial { lease, key, fence, segment, total: Some(100), events: Vec::new(), now: now() }
}

async fn rows(store: &Store, table: &'static str) -> i64 {
    let sql = match table {
        "messages" => "SELECT count(*) FROM partial_messages",
        _ => "SELECT count(*) FROM partial_segments",
    };
    on!(store.pool(), c => sqlx::query_scalar(sql).fetch_one(c).await).unwrap()
}

fn commit(lease: &NodeLease, key: &str) -> IntakeCommit {
    let offer = offer(key);
    let transfers = vec![transfer(Some(offer.id), &["x"])];
    IntakeCommit {
        answer_until: None,
        lease: lease.clone(),
        key: key.into(),
        offer,
        transfers,
        reply: Reply { head: json!({"status": 200}), body: b"receipt".to_vec() },
        content: None,
        evidence: None,
        events: Vec::new(),
        now: now(),
    }
}

both! {
    a_message_goes_on_in_its_file_where_its_writer_has_ended(store) {
        let lease = lease(&store, "n1").await;
        assert_eq!(store.partial_length(KEY).await.unwrap(), None);
        assert_eq!(store.take_partial(&lease, KEY, now()).await.unwrap(), None);
        let (first, other) = (segment(), segment());
        let message = new(&lease, KEY, first);
        let id = message.id;
        let (fence, removed) = begun(&store, message).await;
        assert!(removed.is_empty());
        assert_eq!(store.partial_length(KEY).await.unwrap(), Some(0));
        assert!(store.holds_partial(KEY, id, fence).await.unwrap());
        let told = vec![event(&lease, EventKind::MessagePartialKept)];
        let end = RecordPartial { ended: true, events: told, ..record(KEY, id, fence, first, 40) };
        assert!(is_recorded(&store, end).await);
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 1);
        let held = store.take_partial(&lease, KEY, now()).await.unwrap().unwrap();
        assert_eq!((held.durable, held.last_byte, held.total), (40, Some(7), Some(100)));
        assert!(held.id == id && held.fence == fence + 1 && !held.answered && held.message == KEY);
        let on = store.continue_partial(goes_on(&lease, KEY, held.fence, other)).await.unwrap();
        let segments = vec![PartialSegment { id: first, length: 40 }];
        assert_eq!(on, PartialContinued::Continued { id, segments, is_new: false });
        // Its one file has the rest.
        let whole = RecordPartial { is_whole: true, ..record(KEY, id, held.fence, first, 90) };
        assert!(is_recorded(&store, whole).await);
        let held = store.take_partial(&lease, KEY, now()).await.unwrap().unwrap();
        assert_eq!((held.durable, held.total), (90, Some(90)));
    }

    whoever_takes_a_message_over_writes_into_a_file_of_its_own_and_the_earlier_one_counts_no_more(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        let (first, second) = (segment(), segment());
        let message = new(&leases[0], KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        assert!(is_recorded(&store, record(KEY, id, fence, first, 40)).await);
        // The other node takes it over while the first one still writes.
        let held = store.take_partial(&leases[1], KEY, now()).await.unwrap().unwrap();
        assert_eq!((held.durable, held.fence), (40, fence + 1));
        let told = vec![event(&leases[0], EventKind::MessagePartialKept)];
        let late = RecordPartial { ended: true, events: told, ..record(KEY, id, fence, first, 70) };
        assert!(!is_recorded(&store, late).await);
        assert!(!store.holds_partial(KEY, id, fence).await.unwrap());
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 0);
        let stale = store.continue_partial(goes_on(&leases[0], KEY, fence, segment())).await.unwrap();
        assert_eq!(stale, PartialContinued::Lost);
        let on = store.continue_partial(goes_on(&leases[1], KEY, held.fence, second)).await.unwrap();
        let segments = vec![PartialSegment { id: first, length: 40 }, PartialSegment { id: second, length: 0 }];
        assert_eq!(on, PartialContinued::Continued { id, segments, is_new: true });
        assert!(is_recorded(&store, record(KEY, id, held.fence, second, 25)).await);
        let held = store.take_partial(&leases[0], KEY, now()).await.unwrap().unwrap();
        assert_eq!(held.durable, 65);
        let known = store.known_segments(&[first, second, segment()]).await.unwrap();
        assert_eq!(known.len(), 2);
    }

    a_message_that_starts_over_leaves_nothing_of_the_earlier_one(store) {
        let lease = lease(&store, "n1").await;
        let (first, second) = (segment(), segment());
        let earlier = new(&lease, KEY, first);
        let id = earlier.id;
        let (fence, _) = begun(&store, earlier).await;
        let (again, removed) = begun(&store, new(&lease, KEY, second)).await;
        assert_eq!((again, removed), (fence + 1, vec![first]));
        assert!(!is_recorded(&store, record(KEY, id, fence, first, 40)).await);
        let held = store.take_partial(&lease, KEY, now()).await.unwrap().unwrap();
        assert!(held.durable == 0 && held.id != id);
        // Of another sender nothing is known under the same transfer id.
        assert_eq!(store.take_partial(&lease, "etag other to", now()).await.unwrap(), None);
    }

    with_the_commit_of_its_message_it_is_answered_if_it_is_whole(store) {
        let lease = lease(&store, "n1").await;
        for (key, length, answered) in [("whole", 100, true), ("not whole", 99, false)] {
            let segment = segment();
            let message = new(&lease, key, segment);
            let id = message.id;
            let (fence, _) = begun(&store, message).await;
            store.record_partial(RecordPartial { ended: true, ..record(key, id, fence, segment, length) }).await.unwrap();
            assert_eq!(store.intake_begin(&lease, key, now()).await.unwrap(), IntakeBegun::New);
            let committed = commit(&lease, key);
            for _ in 0..2 {
                let commit = store.intake_commit_of_partial(committed.clone(), key).await.unwrap();
                assert_eq!(commit, IntakeCommitted::Committed);
            }
            let held = store.take_partial(&lease, key, now()).await.unwrap().unwrap();
            assert_eq!((held.answered, held.durable, held.last_byte), (answered, length, Some(7)), "{key}");
            // Then its bytes go, and what a repetition of its last byte is compared with stays.
            assert_eq!(store.forget_partial(key).await.unwrap(), vec![segment]);
            let held = store.take_partial(&lease, key, now()).await.unwrap();
            assert_eq!(held.map(|held| (held.durable, held.last_byte)), answered.then_some((100, Some(7))));
        }
        // Nothing goes on with an answered one.
        let held = store.take_partial(&lease, "whole", now()).await.unwrap().unwrap();
        let on = store.continue_partial(goes_on(&lease, "whole", held.fence, segment())).await.unwrap();
        assert_eq!(on, PartialContinued::Lost);
        // A message under another key answers nothing that was kept.
        let other = new(&lease, "kept", segment());
        let (id, own) = (other.id, other.segment);
        let (fence, _) = begun(&store, other).await;
        store.record_partial(record("kept", id, fence, own, 100)).await.unwrap();
        store.intake_begin(&lease, "another message", now()).await.unwrap();
        store.intake_commit_of_partial(commit(&lease, "another message"), "kept").await.unwrap();
        assert!(!store.take_partial(&lease, "kept", now()).await.unwrap().unwrap().answered);
    }

    what_nobody_goes_on_with_is_removed_in_time(store) {
        let lease = lease(&store, "n1").await;
        let (aged, fresh) = (segment(), segment());
        begun(&store, NewPartial { keep_until: after(now(), -1), ..new(&lease, "aged", aged) }).await;
        begun(&store, new(&lease, "fresh", fresh)).await;
        let removed = store.remove_aged_partials(&lease.node, now()).await.unwrap();
        assert_eq!((removed.messages, removed.segments), (1, vec![aged]));
        assert_eq!(store.remove_aged_partials(&lease.node, now()).await.unwrap().messages, 0);
        assert_eq!(store.take_partial(&lease, "aged", now()).await.unwrap(), None);
        assert!(store.take_partial(&lease, "fresh", now()).await.unwrap().is_some());
        assert_eq!(events(&store, EventKind::MessagePartialRemoved).await, 1);
        assert_eq!((rows(&store, "messages").await, rows(&store, "segments").await), (1, 1));
    }

    a_listener_keeps_no_more_than_it_may_and_makes_room_by_the_same_partner_alone(store) {
        let lease = lease(&store, "n1").await;
        let of = |partner: &str, key: &str, segment| {
            NewPartial { partner: partner.into(), most_messages: 2, ..new(&lease, key, segment) }
        };
        let (oldest, other) = (segment(), segment());
        for (partner, key, segment) in [("globex", "oldest", oldest), ("initech", "other", other)] {
            let message = of(partner, key, segment);
            let id = message.id;
            let (fence, _) = begun(&store, message).await;
            store.record_partial(RecordPartial { ended: true, ..record(key, id, fence, segment, 40) }).await.unwrap();
        }
        // A third partner finds no room, and pushes nobody out.
        let full = store.begin_partial(of("hooli", "third", segment())).await.unwrap();
        assert_eq!(full, PartialBegun::Full { removed: Vec::new() });
        // The first one makes room for its own next message.
        let (_, removed) = begun(&store, of("globex", "next", segment())).await;
        assert_eq!(removed, vec![oldest]);
        assert!(store.take_partial(&lease, "other", now()).await.unwrap().is_some());
        // One that is being written makes no room; nor does anything for what is larger than all that may be kept.
        let full = store.begin_partial(of("globex", "one more", segment())).await.unwrap();
        assert!(matches!(full, PartialBegun::Full { .. }));
        let large = NewPartial { total: Some(1001), ..of("initech", "large", segment()) };
        assert!(matches!(store.begin_partial(large).await.unwrap(), PartialBegun::Full { .. }));
        assert!(store.take_partial(&lease, "other", now()).await.unwrap().is_some());
        // Whole messages are counted by their length, whatever has come of them.
        let sized = |key: &str, total| {
            NewPartial { total: Some(total), most_messages: 9, most_bytes: 380, ..of("hooli", key, segment()) }
        };
        let full = store.begin_partial(sized("second", 181)).await.unwrap();
        assert!(matches!(full, PartialBegun::Full { .. }));
        begun(&store, sized("small", 180)).await;
    }

    a_partner_takes_no_more_than_half_of_what_a_listener_keeps_whatever_it_claims(store) {
        let lease = lease(&store, "n1").await;
        // Ten messages are kept, and 1000 bytes.
        for (listener, total, share) in [("number", 10, 5), ("bytes", 500, 1)] {
            let of = |partner: &str, key: String, total| {
                let (partner, listener) = (partner.into(), listener.into());
                NewPartial { partner, listener, total: Some(total), ..new(&lease, &key, segment()) }
            };
            let mut made_room = 0;
            for number in 0..12 {
                let message = of("globex", format!("{listener}-{number}"), total);
                let (key, id, own) = (message.key.clone(), message.id, message.segment);
                let (fence, removed) = begun(&store, message).await;
                made_room += removed.len();
                // A byte has come, and the connection breaks.
                let end = RecordPartial { ended: true, ..record(&key, id, fence, own, 1) };
                assert!(is_recorded(&store, end).await);
            }
            assert_eq!(made_room, 12 - share, "{listener}");
            // The other half is left for others.
            let larger = of("initech", format!("{listener}-larger"), 501);
            let full = store.begin_partial(larger).await.unwrap();
            assert_eq!(full, PartialBegun::Full { removed: Vec::new() }, "{listener}");
            let (_, removed) = begun(&store, of("initech", format!("{listener}-half"), 500)).await;
            assert!(removed.is_empty(), "{listener}");
        }
    }

    a_message_that_ends_with_less_than_the_smallest_one_leaves_nothing(store) {
        let lease = lease(&store, "n1").await;
        let first = segment();
        let message = new(&lease, KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        let little = |length| RecordPartial { smallest: 50, ..record(KEY, id, fence, first, length) };
        // More may come.
        assert!(is_recorded(&store, little(1)).await);
        let end = RecordPartial {
            ended: true,
            events: vec![event(&lease, EventKind::MessagePartialKept)],
            removed: vec![event(&lease, EventKind::MessagePartialRemoved)],
            ..little(49)
        };
        let removed = PartialRecorded::Removed { segments: vec![first] };
        assert_eq!(store.record_partial(end.clone()).await.unwrap(), removed);
        assert_eq!((rows(&store, "messages").await, rows(&store, "segments").await), (0, 0));
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 0);
        assert_eq!(events(&store, EventKind::MessagePartialRemoved).await, 1);
        assert!(!is_recorded(&store, end).await);
        // Nothing at all is removed whatever the smallest one is; what is whole stays, and so does what is large enough.
        for (key, length, smallest, is_whole, stays) in [
            ("empty", 0, 0, false, false),
            ("empty and whole", 0, 50, true, true),
            ("whole", 49, 50, true, true),
            ("large enough", 50, 50, false, true),
            ("a byte", 1, 0, false, true),
        ] {
            let own = segment();
            let message = new(&lease, key, own);
            let id = message.id;
            let (fence, _) = begun(&store, message).await;
            let end = RecordPartial { ended: true, smallest, is_whole, ..record(key, id, fence, own, length) };
            let recorded = store.record_partial(end).await.unwrap();
            assert_eq!(recorded == PartialRecorded::Recorded, stays, "{key}");
            assert_eq!(store.partial_length(key).await.unwrap(), stays.then_some(length), "{key}");
        }
    }

    a_node_without_its_lease_takes_nothing_over(store) {
        let dead = lease(&store, "n1").await;
        let again = lease(&store, "n1").await;
        begun(&store, new(&again, KEY, segment())).await;
        assert!(store.take_partial(&dead, KEY, now()).await.is_err());
        assert!(store.begin_partial(new(&dead, "other", segment())).await.is_err());
        let held = store.take_partial(&again, KEY, now()).await.unwrap().unwrap();
        assert!(store.continue_partial(goes_on(&dead, KEY, held.fence, segment())).await.is_err());
    }
}
