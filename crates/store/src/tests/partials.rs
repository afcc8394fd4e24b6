//! Messages that have arrived in part: who writes one, what counts of it, and what becomes of it.

use super::fixture::{after, event, events, lease, now, offer, transfer};
use crate::either::on;
use crate::testing::both;
use crate::{
    ContinuePartial, IntakeBegun, IntakeCommit, IntakeCommitted, NewPartial, NodeLease, PartialBegun,
    PartialContinued, PartialMessage, PartialRecorded, PartialSegment, PartialTaken, RecordPartial, Reply,
    Store,
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

/// Takes a message over of which enough has come, or of which nothing is known.
async fn taken(store: &Store, lease: &NodeLease, key: &str) -> Option<PartialMessage> {
    let PartialTaken { message, removed } = store.take_partial(lease, key, now()).await.unwrap();
    assert!(removed.is_empty(), "{key}");
    message
}

/// Keeps half of a message, whose connection breaks at that time. Returns its segment.
async fn broken_off(store: &Store, message: NewPartial, at: i64) -> PayloadId {
    let (key, id, own) = (message.key.clone(), message.id, message.segment);
    let half = message.total.unwrap() / 2;
    let (fence, _) = begun(store, message).await;
    let end = RecordPartial { ended: true, now: after(now(), at), ..record(&key, id, fence, own, half) };
    assert!(is_recorded(store, end).await, "{key}");
    own
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
        assert_eq!(taken(&store, &lease, KEY).await, None);
        let (first, other) = (segment(), segment());
        let message = new(&lease, KEY, first);
        let id = message.id;
        let (fence, removed) = begun(&store, message).await;
        assert!(removed.is_empty());
        assert_eq!(store.partial_length(KEY).await.unwrap(), Some(0));
        assert!(store.holds_partial(KEY, id, fence).await.unwrap());
        let told = vec![event(&lease, EventKind::MessagePartialKept)];
        let end = RecordPartial { ended: true, events: told, ..record(KEY, id, fence, first, 50) };
        assert!(is_recorded(&store, end).await);
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 1);
        let held = taken(&store, &lease, KEY).await.unwrap();
        assert_eq!((held.durable, held.last_byte, held.total), (50, Some(7), Some(100)));
        assert!(held.id == id && held.fence == fence + 1 && !held.answered && held.message == KEY);
        let on = store.continue_partial(goes_on(&lease, KEY, held.fence, other)).await.unwrap();
        let segments = vec![PartialSegment { id: first, length: 50 }];
        assert_eq!(on, PartialContinued::Continued { id, segments, is_new: false });
        // Its one file has the rest.
        let whole = RecordPartial { is_whole: true, ..record(KEY, id, held.fence, first, 90) };
        assert!(is_recorded(&store, whole).await);
        let held = taken(&store, &lease, KEY).await.unwrap();
        assert_eq!((held.durable, held.total), (90, Some(90)));
    }

    whoever_takes_a_message_over_writes_into_a_file_of_its_own_and_the_earlier_one_counts_no_more(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        let (first, second) = (segment(), segment());
        let message = new(&leases[0], KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        assert!(is_recorded(&store, record(KEY, id, fence, first, 50)).await);
        // The other node takes it over while the first one still writes.
        let held = taken(&store, &leases[1], KEY).await.unwrap();
        assert_eq!((held.durable, held.fence), (50, fence + 1));
        let told = vec![event(&leases[0], EventKind::MessagePartialKept)];
        let late = RecordPartial { ended: true, events: told, ..record(KEY, id, fence, first, 70) };
        assert!(!is_recorded(&store, late).await);
        assert!(!store.holds_partial(KEY, id, fence).await.unwrap());
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 0);
        let stale = store.continue_partial(goes_on(&leases[0], KEY, fence, segment())).await.unwrap();
        assert_eq!(stale, PartialContinued::Lost);
        let on = store.continue_partial(goes_on(&leases[1], KEY, held.fence, second)).await.unwrap();
        let segments = vec![PartialSegment { id: first, length: 50 }, PartialSegment { id: second, length: 0 }];
        assert_eq!(on, PartialContinued::Continued { id, segments, is_new: true });
        assert!(is_recorded(&store, record(KEY, id, held.fence, second, 25)).await);
        let held = taken(&store, &leases[0], KEY).await.unwrap();
        assert_eq!(held.durable, 75);
        let known = store.known_segments(&[first, second, segment()]).await.unwrap();
        assert_eq!(known.len(), 2);
    }

    a_message_that_starts_over_leaves_nothing_of_the_earlier_one(store) {
        let lease = lease(&store, "n1").await;
        let (first, second) = (segment(), segment());
        let earlier = new(&lease, KEY, first);
        let id = earlier.id;
        let (fence, _) = begun(&store, earlier).await;
        let later = new(&lease, KEY, second);
        let later_id = later.id;
        let (again, removed) = begun(&store, later).await;
        assert_eq!((again, removed), (fence + 1, vec![first]));
        assert_eq!(store.partial_length(KEY).await.unwrap(), Some(0));
        assert!(!is_recorded(&store, record(KEY, id, fence, first, 50)).await);
        assert!(is_recorded(&store, record(KEY, later_id, again, second, 60)).await);
        let held = taken(&store, &lease, KEY).await.unwrap();
        assert!(held.durable == 60 && held.id == later_id);
        // Of another sender nothing is known under the same transfer id.
        assert_eq!(taken(&store, &lease, "etag other to").await, None);
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
            let held = taken(&store, &lease, key).await.unwrap();
            assert_eq!((held.answered, held.durable, held.last_byte), (answered, length, Some(7)), "{key}");
            // Then its bytes go, and what a repetition of its last byte is compared with stays.
            assert_eq!(store.forget_partial(key).await.unwrap(), vec![segment]);
            let held = taken(&store, &lease, key).await;
            assert_eq!(held.map(|held| (held.durable, held.last_byte)), answered.then_some((100, Some(7))));
        }
        // Nothing goes on with an answered one.
        let held = taken(&store, &lease, "whole").await.unwrap();
        let on = store.continue_partial(goes_on(&lease, "whole", held.fence, segment())).await.unwrap();
        assert_eq!(on, PartialContinued::Lost);
        // A message under another key answers nothing that was kept.
        let other = new(&lease, "kept", segment());
        let (id, own) = (other.id, other.segment);
        let (fence, _) = begun(&store, other).await;
        store.record_partial(record("kept", id, fence, own, 100)).await.unwrap();
        store.intake_begin(&lease, "another message", now()).await.unwrap();
        store.intake_commit_of_partial(commit(&lease, "another message"), "kept").await.unwrap();
        assert!(!taken(&store, &lease, "kept").await.unwrap().answered);
    }

    what_nobody_goes_on_with_is_removed_in_time(store) {
        let lease = lease(&store, "n1").await;
        let (aged, fresh) = (segment(), segment());
        begun(&store, NewPartial { keep_until: after(now(), -1), ..new(&lease, "aged", aged) }).await;
        begun(&store, new(&lease, "fresh", fresh)).await;
        let removed = store.remove_aged_partials(&lease.node, now()).await.unwrap();
        assert_eq!((removed.messages, removed.segments), (1, vec![aged]));
        assert_eq!(store.remove_aged_partials(&lease.node, now()).await.unwrap().messages, 0);
        assert_eq!(taken(&store, &lease, "aged").await, None);
        assert_eq!(store.partial_length("fresh").await.unwrap(), Some(0));
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
            store.record_partial(RecordPartial { ended: true, ..record(key, id, fence, segment, 50) }).await.unwrap();
        }
        // A third partner finds no room, and pushes nobody out.
        let full = store.begin_partial(of("hooli", "third", segment())).await.unwrap();
        assert_eq!(full, PartialBegun::Full { removed: Vec::new() });
        // The first one makes room for its own next message.
        let (_, removed) = begun(&store, of("globex", "next", segment())).await;
        assert_eq!(removed, vec![oldest]);
        assert!(taken(&store, &lease, "other").await.is_some());
        // One that is being written makes no room; nor does anything for what is larger than all that may be kept.
        let full = store.begin_partial(of("globex", "one more", segment())).await.unwrap();
        assert!(matches!(full, PartialBegun::Full { .. }));
        let large = NewPartial { total: Some(1001), ..of("initech", "large", segment()) };
        assert!(matches!(store.begin_partial(large).await.unwrap(), PartialBegun::Full { .. }));
        assert!(taken(&store, &lease, "other").await.is_some());
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
                // Half of it has come, and the connection breaks.
                let end = RecordPartial { ended: true, ..record(&key, id, fence, own, total / 2) };
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

    a_message_that_ends_with_too_little_leaves_nothing(store) {
        let lease = lease(&store, "n1").await;
        let first = segment();
        let message = new(&lease, KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        // More may come.
        assert!(is_recorded(&store, record(KEY, id, fence, first, 1)).await);
        let end = RecordPartial {
            ended: true,
            events: vec![event(&lease, EventKind::MessagePartialKept)],
            removed: vec![event(&lease, EventKind::MessagePartialRemoved)],
            ..record(KEY, id, fence, first, 49)
        };
        let removed = PartialRecorded::Removed { segments: vec![first] };
        assert_eq!(store.record_partial(end.clone()).await.unwrap(), removed);
        assert_eq!((rows(&store, "messages").await, rows(&store, "segments").await), (0, 0));
        assert_eq!(events(&store, EventKind::MessagePartialKept).await, 0);
        assert_eq!(events(&store, EventKind::MessagePartialRemoved).await, 1);
        assert!(!is_recorded(&store, end).await);
        // Half of a small message is enough, and 64 KiB of any; what is whole stays.
        for (key, total, length, is_whole, stays) in [
            ("less than half", Some(100), 49, false, false),
            ("half", Some(101), 50, false, true),
            ("one of three", Some(3), 1, false, true),
            ("none of one", Some(1), 0, false, false),
            ("less than 64 KiB", Some(64 << 30), (1 << 16) - 1, false, false),
            ("64 KiB", Some(64 << 30), 1 << 16, false, true),
            ("none of an unknown length", None, 0, false, false),
            ("one of an unknown length", None, 1, false, true),
            ("empty and whole", None, 0, true, true),
            ("whole", Some(100), 49, true, true),
        ] {
            let own = segment();
            let bounds = NewPartial { most_messages: 100, most_bytes: 1 << 40, ..new(&lease, key, own) };
            let message = NewPartial { total, ..bounds };
            let id = message.id;
            let (fence, _) = begun(&store, message).await;
            let end = RecordPartial { ended: true, is_whole, ..record(key, id, fence, own, length) };
            let recorded = store.record_partial(end).await.unwrap();
            assert_eq!(recorded == PartialRecorded::Recorded, stays, "{key}");
            assert_eq!(store.partial_length(key).await.unwrap(), stays.then_some(length), "{key}");
        }
    }

    a_message_that_is_taken_over_with_too_little_leaves_nothing(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        let first = segment();
        let message = new(&leases[0], KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        assert!(is_recorded(&store, record(KEY, id, fence, first, 49)).await);
        // Its writer at the other node learns that it has lost the message, and records nothing more.
        let nothing = PartialTaken { message: None, removed: vec![first] };
        assert_eq!(store.take_partial(&leases[1], KEY, now()).await.unwrap(), nothing);
        assert_eq!((rows(&store, "messages").await, rows(&store, "segments").await), (0, 0));
        let late = RecordPartial { ended: true, ..record(KEY, id, fence, first, 60) };
        assert!(!is_recorded(&store, late).await);
        assert_eq!(store.take_partial(&leases[1], KEY, now()).await.unwrap(), PartialTaken::default());
    }

    a_message_that_was_taken_over_makes_room_unless_somebody_goes_on_with_it(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        let only = |key: &str, segment| NewPartial { most_messages: 1, ..new(&leases[0], key, segment) };
        let full = PartialBegun::Full { removed: Vec::new() };
        let (first, second) = (segment(), segment());
        let message = only(KEY, first);
        let id = message.id;
        let (fence, _) = begun(&store, message).await;
        assert!(is_recorded(&store, record(KEY, id, fence, first, 50)).await);
        assert_eq!(store.begin_partial(only("next", segment())).await.unwrap(), full);
        let held = taken(&store, &leases[1], KEY).await.unwrap();
        store.continue_partial(goes_on(&leases[1], KEY, held.fence, second)).await.unwrap();
        assert_eq!(store.begin_partial(only("next", segment())).await.unwrap(), full);
        // Neither writer has said that it has ended, but what they add does not count.
        taken(&store, &leases[0], KEY).await.unwrap();
        let (_, mut removed) = begun(&store, only("next", segment())).await;
        removed.sort_by_key(|segment| *segment != first);
        assert_eq!(removed, vec![first, second]);
    }

    a_partner_without_messages_gets_room_from_the_one_that_has_the_most(store) {
        let lease = lease(&store, "n1").await;
        let of = |listener: &str, partner: &str, key: &str, total| {
            let (listener, partner) = (listener.into(), partner.into());
            NewPartial { listener, partner, total: Some(total), ..new(&lease, key, segment()) }
        };
        // 900 of 1000 bytes are claimed under two names.
        let large = broken_off(&store, of("as2", "globex", "large", 500), 1).await;
        let older = broken_off(&store, of("as2", "initech", "older", 300), 2).await;
        broken_off(&store, of("as2", "initech", "newer", 100), 3).await;
        let (_, removed) = begun(&store, of("as2", "hooli", "first", 101)).await;
        assert_eq!(removed, vec![large]);
        assert_eq!(events(&store, EventKind::MessagePartialRemoved).await, 1);
        // Initech has 400 now: it loses to nobody that takes as much.
        let full = store.begin_partial(of("as2", "globex", "too large", 500)).await.unwrap();
        assert_eq!(full, PartialBegun::Full { removed: Vec::new() });
        broken_off(&store, of("as2", "globex", "smaller", 399), 4).await;
        // No more goes than has to.
        let (_, removed) = begun(&store, of("as2", "umbrella", "second", 101)).await;
        assert_eq!(removed, vec![older]);
        // Of the partner that has the most, all are being written: those that have less lose nothing.
        begun(&store, of("written", "globex", "being written", 500)).await;
        broken_off(&store, of("written", "initech", "other", 450), 5).await;
        let full = store.begin_partial(of("written", "hooli", "third", 100)).await.unwrap();
        assert_eq!(full, PartialBegun::Full { removed: Vec::new() });
        // The same of their number, whatever their size.
        let of_four = |partner: &str, key: &str, total| {
            NewPartial { most_messages: 4, ..of("number", partner, key, total) }
        };
        broken_off(&store, of_four("initech", "one of 90", 90), 6).await;
        let oldest = broken_off(&store, of_four("globex", "one of two", 10), 7).await;
        broken_off(&store, of_four("globex", "the other one", 10), 8).await;
        broken_off(&store, of_four("hooli", "one more", 10), 9).await;
        let (_, removed) = begun(&store, of_four("umbrella", "the fifth", 10)).await;
        assert_eq!(removed, vec![oldest]);
    }

    a_node_without_its_lease_takes_nothing_over(store) {
        let dead = lease(&store, "n1").await;
        let again = lease(&store, "n1").await;
        broken_off(&store, new(&again, KEY, segment()), 0).await;
        assert!(store.take_partial(&dead, KEY, now()).await.is_err());
        assert!(store.begin_partial(new(&dead, "other", segment())).await.is_err());
        let held = taken(&store, &again, KEY).await.unwrap();
        assert!(store.continue_partial(goes_on(&dead, KEY, held.fence, segment())).await.is_err());
    }
}
