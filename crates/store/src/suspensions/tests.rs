use super::*;
use crate::testing::{at, both, event};
use futures::future::join_all;
use model::EventKind;

fn paused(name: &str, n: i64) -> Suspension {
    Suspension {
        kind: SuspensionKind::Flow,
        name: name.into(),
        by: Actor::CommandLine("anna".into()),
        reason: Some("the partner moves".into()),
        since: at(n),
    }
}

fn told(kind: EventKind, n: i64) -> Vec<AuditEvent> {
    vec![AuditEvent { kind, ..event(n) }]
}

fn end(kind: SuspensionKind, name: &str, must_be_in_force: bool, n: i64) -> EndSuspension {
    EndSuspension {
        kind,
        name: name.into(),
        by: Actor::User("ada".into()),
        reason: None,
        at: at(n),
        must_be_in_force,
        events: told(EventKind::FlowResumed, n),
    }
}

both! {
    a_flow_stays_paused_until_a_person_resumes_it(store) {
        assert!(store.suspension_changes(0).await.unwrap().is_empty());
        store.suspend(paused("orders", 1), told(EventKind::FlowPaused, 1)).await.unwrap();
        let again = store.suspend(paused("orders", 2), told(EventKind::FlowPaused, 2)).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert!(again.chain().contains("paused by anna at the command line"), "{}", again.chain());
        assert_eq!(store.suspensions().await.unwrap(), [paused("orders", 1)]);
        // The refused one left no event.
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 1);

        let seen = store.suspension_changes(0).await.unwrap();
        assert_eq!((seen.len(), seen[0].now.as_ref()), (1, Some(&paused("orders", 1))));
        let ended = store.end_suspension(end(SuspensionKind::Flow, "orders", true, 3)).await.unwrap();
        assert_eq!(ended, Some(paused("orders", 1)));
        assert!(store.suspensions().await.unwrap().is_empty());
        let later = store.suspension_changes(seen[0].number).await.unwrap();
        assert_eq!((later.len(), &later[0].now, later[0].name.as_str()), (1, &None, "orders"));

        let wrong = store.end_suspension(end(SuspensionKind::Flow, "orders", true, 4)).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::NotFound);
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 2);
    }

    an_endpoint_is_set_online_whether_it_was_offline_or_not(store) {
        let endpoint = SuspensionKind::Endpoint;
        let first = store.end_suspension(end(endpoint, "warehouse", false, 1)).await.unwrap();
        let second = store.end_suspension(end(endpoint, "warehouse", false, 2)).await.unwrap();
        assert_eq!((first, second), (None, None));
        let changes = store.suspension_changes(1).await.unwrap();
        assert_eq!((changes.len(), changes[0].number, &changes[0].now), (1, 2, &None), "each is a change");
        // A flow of the same name is another thing.
        store.suspend(paused("warehouse", 3), vec![]).await.unwrap();
        assert_eq!(store.suspensions().await.unwrap(), [paused("warehouse", 3)]);
    }

    changes_made_at_once_are_numbered_without_a_hole(store) {
        let names: Vec<String> = (0..40).map(|n| format!("flow-{n:02}")).collect();
        let all = names.iter().map(|name| store.suspend(paused(name, 1), vec![]));
        for done in join_all(all).await {
            done.unwrap();
        }
        let numbers: Vec<i64> =
            store.suspension_changes(0).await.unwrap().iter().map(|change| change.number).collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<i64>>());
    }
}
