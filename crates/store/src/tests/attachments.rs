//! Attachments: claimed with their transfer, kept and removed with it, and verified.

use super::fixture::{
    after, claim_one, delivered, event, failed, failure_route, lease, now, offer, payload, record, transfer,
};
use crate::seal::{SealKey, TrustedKeys};
use crate::testing::{TestStore, both};
use crate::{NewTransfer, NodeLease, RowOptions, RowReport, VerifyOptions};
use model::{Attachment, EventKind, PayloadId};
use serde_json::{Map, Value};
use std::time::Duration;

fn attachment(name: &str) -> Attachment {
    let mut payload = payload();
    payload.file_name = name.into();
    Attachment { payload, metadata: Map::from_iter([("as2_file_name".to_owned(), Value::from(name))]) }
}

/// A file with two attachments, recorded with its event.
async fn recorded(store: &TestStore, lease: &NodeLease) -> NewTransfer {
    let mut new = transfer(None, &["x"]);
    new.attachments = vec![attachment("plan.pdf"), attachment("terms.txt")];
    new.retain_for = Duration::from_secs(1);
    let offer = offer("po.edi");
    new.transfer.offer = Some(offer.id);
    let mut record = record(lease, offer, vec![new.clone()]);
    record.events = vec![event(lease, EventKind::TransferRecorded).transfer(new.transfer.id)];
    store.record_offer(record).await.unwrap();
    new
}

async fn verified(store: &TestStore, key: &SealKey) -> RowReport {
    let verify = VerifyOptions { trusted: TrustedKeys::of(key).unwrap(), ..VerifyOptions::default() };
    store.verify_rows(&RowOptions::default(), &verify, |_| ()).await.unwrap()
}

both! {
    attachments_are_claimed_and_kept_with_their_transfer(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded(&store, &lease).await;
        let claimed = claim_one(&store, &lease).await;
        assert_eq!(claimed.attachments, new.attachments);
        assert_eq!(store.attachments(new.transfer.id).await.unwrap(), new.attachments);
        let names: Vec<String> = store.payloads_of_offer(new.transfer.offer.unwrap()).await.unwrap()
            .iter().map(|payload| payload.file_name.to_text()).collect();
        assert_eq!(names, ["po.edi", "plan.pdf", "terms.txt"]);
        let waybill = store.waybill(new.transfer.id).await.unwrap().unwrap();
        let shown: Vec<PayloadId> = waybill.attachments.iter().map(|one| one.payload).collect();
        assert_eq!(shown, [new.attachments[0].payload.id, new.attachments[1].payload.id]);
        store.finish(&claimed.claim, delivered(), now(), vec![]).await.unwrap();
        let past = store.payloads_past_retention(after(now(), 2_000), 100).await.unwrap();
        assert_eq!(past.len(), 3);
    }

    attachments_are_told_by_the_event_that_recorded_them(store) {
        let lease = lease(&store, "n1").await;
        let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
        recorded(&store, &lease).await;
        store.seal_all(now(), &key).await;
        let report = verified(&store, &key).await;
        // The delivery has no event of its own yet.
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!((report.rows["attachments"], report.rows["payloads"]), (2, 3));
        for (sql, words) in [
            ("UPDATE payloads SET length = 6 WHERE file_name = 'plan.pdf'", "length"),
            ("DELETE FROM attachments WHERE place = 2", "missing"),
        ] {
            assert_eq!(store.tamper(sql).await, 1);
            let report = verified(&store, &key).await;
            assert!(format!("{:?}", report.findings).contains(words), "{sql}: {:?}", report.findings);
        }
    }

    what_lost_an_attachment_is_not_sent_again(store) {
        let lease = lease(&store, "n1").await;
        let new = recorded(&store, &lease).await;
        let claimed = claim_one(&store, &lease).await;
        store.finish(&claimed.claim, failed(false), now(), vec![]).await.unwrap();
        // Another transfer still needs the first file.
        store.tamper("UPDATE payloads SET removed_at = staged_at WHERE file_name = 'plan.pdf'").await;
        let act = crate::Act::new(model::Actor::System, lease.node.clone(), now());
        let error = store.retry_transfer(new.transfer.id, &act, None).await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::NotFound);
        assert!(error.chain().contains("put the file at its source again"), "{}", error.chain());
    }

    what_failed_for_good_goes_on_with_its_attachments(store) {
        let lease = lease(&store, "n1").await;
        let mut new = transfer(None, &["x"]);
        new.attachments = vec![attachment("plan.pdf")];
        new.failure_route = Some(crate::FailureRoute { retain_for: Duration::from_secs(1), ..failure_route("y") });
        let offer = offer("po.edi");
        new.transfer.offer = Some(offer.id);
        store.record_offer(record(&lease, offer, vec![new.clone()])).await.unwrap();
        let claimed = claim_one(&store, &lease).await;
        store.finish(&claimed.claim, failed(false), now(), vec![]).await.unwrap();
        let child = claim_one(&store, &lease).await;
        assert_eq!((child.transfer.parent, &child.attachments), (Some(new.transfer.id), &new.attachments));
    }
}
