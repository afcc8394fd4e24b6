use super::fixture::{
    claim, claim_one, delivered, event, lease, node, now, offer, receipt, record, recorded_with_event, retry,
    transfer,
};
use crate::testing::both;
use crate::{ClaimFilter, Finish, NewTransfer, Recorded, RowOptions, VerifyOptions};
use futures::future::join_all;
use model::schedule::TimeZone;
use model::{EventKind, NameTemplate, OfferId, TemplateValues, Timestamp, TransferKind};
use std::collections::BTreeSet;

/// A transfer whose file is named by a template, received at this second of 1970.
fn named(offer: Option<OfferId>, to: &str, template: &str, received: i64) -> NewTransfer {
    let mut new = transfer(offer, &[to]);
    let template = NameTemplate::parse(template).unwrap().in_zone(TimeZone::default());
    let (name, counters) = template.render_open(&TemplateValues {
        name: b"po.edi",
        received: Timestamp::from_timestamp(received, 0).unwrap(),
        flow: &new.transfer.flow,
        transfer: new.transfer.id,
        sequence: 1,
        failure: None,
        archive: None,
        metadata: &new.transfer.metadata,
    });
    let delivery = &mut new.deliveries[0];
    delivery.delivery.file_name = delivery.delivery.file_name.with_file_name(&name);
    delivery.counters = counters;
    new
}

both! {
    each_number_is_given_once_over_two_nodes(store) {
        let leases = [lease(&store, "n1").await, lease(&store, "n2").await];
        let recording = (0..40).map(|n| {
            let (store, lease) = (&store, &leases[n % 2]);
            async move {
                let offer = offer(&format!("f{n}"));
                let new = named(Some(offer.id), "globex", "po-{counter:4}{ext}", 0);
                let recorded = store.record_offer(record(lease, offer, vec![new])).await.unwrap();
                assert_eq!(recorded, Recorded::Recorded);
            }
        });
        join_all(recording).await;
        let claimed = store.claim(&leases[0], 100, ClaimFilter::default(), now()).await.unwrap();
        let names: BTreeSet<_> = claimed.iter().map(|one| one.delivery.file_name.to_text().to_string()).collect();
        let expected: BTreeSet<_> = (1..=40).map(|n| format!("po-{n:04}.edi")).collect();
        assert_eq!(names, expected);
    }

    a_delivery_keeps_its_number_and_its_event_tells_it(store) {
        let lease = lease(&store, "n1").await;
        let offer = offer("a");
        let new = named(Some(offer.id), "globex", "{counter}{ext}", 0);
        let event = model::AuditEvent::new(
            model::EventId::new(uuid::Uuid::now_v7()),
            now(),
            node("n1"),
            model::EventKind::TransferRecorded,
        )
        .transfer(new.transfer.id);
        let mut first = record(&lease, offer, vec![new]);
        first.events = vec![event];
        assert_eq!(store.record_offer(first.clone()).await.unwrap(), Recorded::Recorded);
        // The answer to the commit was lost, and the call is repeated.
        assert_eq!(store.record_offer(first).await.unwrap(), Recorded::AlreadyRecorded);
        let one = claim_one(&store, &lease).await;
        assert_eq!(one.delivery.file_name, "1.edi".into());
        store.finish(&one.claim, retry(now()), now(), vec![]).await.unwrap();
        assert_eq!(claim_one(&store, &lease).await.delivery.file_name, "1.edi".into());
        let detail: String = crate::either::on!(store.pool(), c => sqlx::query_scalar(
            "SELECT CAST(detail AS TEXT) FROM audit_events WHERE kind = 'transfer.recorded'")
            .fetch_one(c).await).unwrap();
        assert!(detail.contains("1.edi"), "{detail}");
    }

    what_came_with_an_answer_keeps_its_number_and_its_event_tells_it(store) {
        let lease = lease(&store, "n1").await;
        // The second answer is overtaken by a receipt.
        for (name, is_overtaken) in [("1.edi", false), ("2.edi", true)] {
            recorded_with_event(&store, &lease, &format!("sent before {name}"), &["globex-as2"]).await;
            let one = claim_one(&store, &lease).await;
            let mut reply = named(None, "answers", "{counter}{ext}", 0);
            (reply.transfer.kind, reply.transfer.parent) = (TransferKind::Reply, Some(one.transfer.id));
            let ended = event(&lease, EventKind::DeliveryDelivered).transfer(one.transfer.id);
            let ended = ended.delivery(one.delivery.id);
            let came = event(&lease, EventKind::TransferRecorded).transfer(reply.transfer.id);
            if is_overtaken {
                store.finish(&one.claim, delivered(), now(), vec![ended.clone()]).await.unwrap();
            }
            let finish = Finish::Delivered { receipt: receipt(true), replies: vec![reply] };
            // The answer to the commit was lost, and the call is repeated.
            for _ in 0..2 {
                let told = vec![ended.clone(), came.clone()];
                store.finish(&one.claim, finish.clone(), now(), told).await.unwrap();
            }
            assert_eq!(claim_one(&store, &lease).await.delivery.file_name, name.into());
        }
        let report = store.verify_rows(&RowOptions::default(), &VerifyOptions::default(), |_| ()).await.unwrap();
        assert!(report.holds() && report.rows["deliveries"] == 4, "{report:?}");
    }

    counters_belong_to_a_destination_and_a_day(store) {
        let lease = lease(&store, "n1").await;
        const DAY: i64 = 86_400;
        // The second day begins, and a file of the first one comes late.
        for (n, (to, received)) in
            [("a", 0), ("a", 10), ("b", 20), ("a", DAY), ("a", 30), ("a", DAY)].into_iter().enumerate()
        {
            let offer = offer(&format!("f{n}"));
            let template = format!("{n}-{{received:%d}}-{{counter:2:daily}}-{{counter}}");
            let new = named(Some(offer.id), to, &template, received);
            store.record_offer(record(&lease, offer, vec![new])).await.unwrap();
        }
        let names: BTreeSet<_> =
            claim(&store, &lease).await.iter().map(|one| one.delivery.file_name.to_text().to_string()).collect();
        let expected = ["0-01-01-1", "1-01-02-2", "2-01-01-1", "3-02-01-3", "4-01-03-4", "5-02-02-5"];
        assert_eq!(names, expected.map(str::to_owned).into());
    }
}
