use super::*;
use crate::testing::{TestStore, both, event};
use crate::tests::fixture::{after, lease, now};
use model::{EventKind, SkipCount, SkipReason};

async fn request(store: &TestStore, flow: &str, at: Timestamp, begin_by: Timestamp) -> Uuid {
    let id = Uuid::now_v7();
    let events = vec![AuditEvent { kind: EventKind::FlowRunRequested, ..event(1) }];
    let run = NewFlowRun { id, flow: flow.into(), by: Actor::User("anna".into()), at, begin_by, events };
    store.request_flow_run(run).await.unwrap();
    id
}

fn polled() -> FlowRunResult {
    let skipped = vec![SkipCount { reason: SkipReason::Mask, files: 7 }];
    FlowRunResult::Polled(PollReport { taken: 3, skipped, ..PollReport::default() })
}

async fn open(store: &TestStore) -> Vec<Uuid> {
    store.open_flow_runs(now()).await.unwrap().into_iter().map(|run| run.id).collect()
}

both! {
    a_run_is_begun_once_and_its_answer_is_kept_for_a_day(store) {
        let (one, two) = (lease(&store, "n1").await, lease(&store, "n2").await);
        let begin_by = after(now(), 60_000);
        let id = request(&store, "orders", now(), begin_by).await;
        assert_eq!(store.open_flow_runs(now()).await.unwrap()[0].by, Actor::User("anna".into()));
        assert!(store.flow_run(id).await.unwrap().unwrap().node.is_none());
        assert!(store.begin_flow_run(id, &one, now()).await.unwrap());
        assert!(!store.begin_flow_run(id, &two, now()).await.unwrap(), "the first node lives");
        assert!(!store.begin_flow_run(id, &one, now()).await.unwrap(), "nor twice");
        assert!(open(&store).await.is_empty());
        assert_eq!(store.flow_run(id).await.unwrap().unwrap().node.as_deref(), Some("n1"));
        assert!(!store.end_flow_run(id, &two, polled(), now(), vec![event(2)]).await.unwrap());
        assert!(store.end_flow_run(id, &one, polled(), now(), vec![event(3)]).await.unwrap());
        let run = store.flow_run(id).await.unwrap().unwrap();
        assert_eq!(run.ended.unwrap().1, polled());
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 2);
        // Forgotten with a request of the day after tomorrow.
        request(&store, "orders", after(now(), 2 * 86_400_000), after(now(), 2 * 86_460_000)).await;
        assert_eq!(store.flow_run(id).await.unwrap(), None);
    }

    a_run_that_is_cut_off_is_begun_again(store) {
        let (one, two) = (lease(&store, "n1").await, lease(&store, "n2").await);
        let id = request(&store, "orders", now(), after(now(), 60_000)).await;
        assert!(store.begin_flow_run(id, &one, now()).await.unwrap());
        // Its poller ends in order, as for a new revision of the flow.
        store.release_source(&one, "flow/invoices").await.unwrap();
        assert!(open(&store).await.is_empty(), "of another flow");
        store.release_source(&one, "flow/orders").await.unwrap();
        assert_eq!(open(&store).await, [id]);
        assert!(store.begin_flow_run(id, &one, now()).await.unwrap());
        // Its node dies.
        store.release_node(&one, now()).await.unwrap();
        assert_eq!(open(&store).await, [id]);
        assert!(!store.begin_flow_run(id, &one, now()).await.unwrap(), "without its lease");
        assert!(store.begin_flow_run(id, &two, now()).await.unwrap());
        assert!(!store.end_flow_run(id, &one, polled(), now(), vec![]).await.unwrap());
        assert!(store.end_flow_run(id, &two, polled(), now(), vec![]).await.unwrap());
        // Nobody waits for this one any more.
        let late = request(&store, "orders", now(), now()).await;
        assert!(open(&store).await.is_empty() && !store.begin_flow_run(late, &two, now()).await.unwrap());
    }
}
