//! Which transfers an action in bulk is for.

use super::fixture::{after, claim, delivered, failed, lease, node, now, offer, record, retry, transfer};
use crate::testing::both;
use crate::{Act, NodeLease, Selection, Store, TransferFilter};
use model::{Actor, TransferAction, TransferState};
use std::collections::BTreeSet;

fn act() -> Act {
    Act::new(Actor::User("ada".into()), node("n1"), now())
}

/// A transfer of a file to the destinations, ended as said.
async fn made(store: &Store, lease: &NodeLease, name: &str, to: &[&str], end: Option<crate::Finish>) {
    let mut new = transfer(None, to);
    new.transfer.payload.file_name = name.into();
    store.record_offer(record(lease, offer(name), vec![new])).await.unwrap();
    let Some(end) = end else { return };
    for one in claim(store, lease).await {
        store.finish(&one.claim, end.clone(), now(), vec![]).await.unwrap();
    }
}

/// The names that are meant, by the count and by batches of two.
async fn meant(store: &Store, action: TransferAction, filter: TransferFilter) -> Vec<String> {
    let selection = Selection { action, filter };
    let (mut names, mut after) = (vec![], None);
    loop {
        let page = store.selected(&selection, after, 2).await.unwrap();
        names.extend(page.rows.iter().map(|row| row.file_name.to_text()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(store.count_selected(&selection).await.unwrap(), names.len() as u64);
    let unlike: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unlike.len(), names.len(), "none twice: {names:?}");
    names.sort();
    names
}

both! {
    each_action_is_for_what_it_fits(store) {
        use TransferAction as A;
        let lease = lease(&store, "n1").await;
        made(&store, &lease, "completed", &["x"], Some(delivered())).await;
        made(&store, &lease, "failed", &["x"], Some(failed(true))).await;
        made(&store, &lease, "retrying", &["x"], Some(retry(after(now(), 60_000)))).await;
        made(&store, &lease, "under way", &["y"], None).await;
        made(&store, &lease, "held", &["z"], None).await;
        made(&store, &lease, "cancelled", &["z"], None).await;
        for row in store.transfers(&TransferFilter::default(), crate::Page::first(9)).await.unwrap().rows {
            match row.file_name.to_text().as_str() {
                "held" => drop(store.hold_transfer(row.id, &act()).await.unwrap()),
                "cancelled" => drop(store.cancel_transfer(row.id, &act()).await.unwrap()),
                _ => {}
            }
        }
        let all = TransferFilter::default;
        for (action, names) in [
            (A::Retry, &["failed", "retrying"][..]),
            (A::Hold, &["retrying", "under way"]),
            (A::Release, &["held"]),
            (A::Cancel, &["held", "retrying", "under way"]),
            (A::Resubmit, &["completed", "failed"]),
        ] {
            assert_eq!(meant(&store, action, all()).await, names, "{action}");
        }
        let state = |state| TransferFilter { state: Some(state), ..all() };
        assert_eq!(meant(&store, A::Retry, state(TransferState::Cancelled)).await, ["cancelled"]);
        assert_eq!(meant(&store, A::Cancel, state(TransferState::Failed)).await, ["failed"]);
        assert_eq!(meant(&store, A::Retry, state(TransferState::Completed)).await, [""; 0]);
        let endpoint = TransferFilter { endpoint: Some("z".into()), ..all() };
        assert_eq!(meant(&store, A::Cancel, endpoint).await, ["held"]);
        let time = TransferFilter { to: Some(after(now(), -60_000)), ..all() };
        assert_eq!(meant(&store, A::Cancel, time).await, [""; 0]);
    }

    a_mask_is_that_of_flows(store) {
        let lease = lease(&store, "n1").await;
        for name in ["a.edi", "A.edi", "b_1.edi", "b%1.edi", "in/a.edi", "a/b.txt", "[x].edi", "a[1].xml", "äö.edi"] {
            made(&store, &lease, name, &["x"], None).await;
        }
        for (mask, names) in [
            ("a.edi", &["a.edi", "in/a.edi"][..]),
            ("a*", &["a.edi", "a[1].xml", "in/a.edi"]),
            ("?.edi", &["A.edi", "a.edi", "in/a.edi"]),
            ("b_1.edi", &["b_1.edi"]),
            ("b%1.edi", &["b%251.edi"]),
            ("[x].edi", &["[x].edi"]),
            ("*[1]*", &["a[1].xml"]),
            ("??.edi", &["äö.edi"]),
            ("*.txt", &["a/b.txt"]),
            ("\0", &[]),
            ("a\\*", &[]),
        ] {
            let filter = TransferFilter { name_mask: Some(mask.into()), ..TransferFilter::default() };
            let listed = store.transfers(&filter, crate::Page::first(20)).await.unwrap().rows.len();
            let found = meant(&store, TransferAction::Hold, filter).await;
            assert_eq!(found, names, "{mask}");
            assert_eq!(listed, names.len(), "{mask}: the list has the same");
        }
        let all = TransferFilter { name_mask: Some("*.*".into()), ..TransferFilter::default() };
        assert_eq!(meant(&store, TransferAction::Hold, all).await.len(), 9);
    }
}

#[test]
fn a_filter_is_read_back_and_a_mistyped_one_is_none() {
    let filter = TransferFilter {
        state: Some(TransferState::Failed),
        name_mask: Some("*.edi".into()),
        from: Some(now()),
        ..TransferFilter::default()
    };
    let text = serde_json::to_string(&filter).unwrap();
    assert_eq!(serde_json::from_str::<TransferFilter>(&text).unwrap(), filter);
    let error = serde_json::from_str::<TransferFilter>(r#"{ "flo": "orders" }"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `flo`"), "{error}");
}
