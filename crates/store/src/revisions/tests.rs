use super::*;
use crate::either::on;
use crate::testing::{TestStore, at, both, event, revision};
use crate::wake::Topic;
use model::EventKind;

fn applied(n: i64) -> AuditEvent {
    AuditEvent { kind: EventKind::DefinitionsApplied, ..event(n) }
}

async fn rows(store: &TestStore) -> i64 {
    on!(store.pool(), c => sqlx::query_scalar("SELECT count(*) FROM definitions").fetch_one(c).await).unwrap()
}

fn names(state: &DefinitionState) -> Vec<&str> {
    state.definitions.iter().map(|definition| definition.name.as_str()).collect()
}

both! {
    one_change_among_many_writes_one_row(store) {
        let all: Vec<String> = (0..1500).map(|n| format!("flow-{n:04}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(store.current_definitions().await.unwrap(), DefinitionState::default());
        let first = store.apply_revision(revision(0, &all, at(1), vec![applied(1)])).await.unwrap();
        assert_eq!(first, Applied::Made(1));
        assert_eq!(rows(&store).await, 1500);
        let mut second = revision(1, &["flow-0007"], at(2), vec![applied(2)]);
        second.removed = vec![("flow".into(), "flow-0009".into())];
        assert_eq!(store.apply_revision(second).await.unwrap(), Applied::Made(2));
        assert_eq!(rows(&store).await, 1501);

        let (old, new) = (store.definitions_at(1).await.unwrap(), store.current_definitions().await.unwrap());
        assert_eq!((names(&old).len(), names(&new).len(), new.number), (1500, 1499, 2));
        assert!(names(&old) == all && !names(&new).contains(&"flow-0009"));
        let every = |state: &DefinitionState| {
            let one = state.definitions.iter().find(|definition| definition.name == "flow-0007").unwrap();
            one.document["source"]["every"].as_i64().unwrap()
        };
        assert_eq!((every(&old), every(&new)), (1, 2));
        let text = |files: Vec<StoredFile>| files.into_iter().map(|f| f.text).collect::<Vec<_>>();
        assert_eq!(text(store.definition_files_at(1).await.unwrap()), ["# revision 1\n"]);
        assert_eq!(text(store.definition_files_at(2).await.unwrap()), ["# revision 2\n"]);

        let list = store.revisions(None, 10).await.unwrap();
        assert_eq!(list.iter().map(|r| r.number).collect::<Vec<_>>(), [2, 1]);
        assert_ne!(list[0].digest, list[1].digest);
        assert_eq!(store.revisions(Some(2), 10).await.unwrap(), list[1..]);
        assert_eq!(store.revision(2).await.unwrap().unwrap(), list[0]);
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 2);
    }

    a_stale_base_changes_nothing(store) {
        store.apply_revision(revision(0, &["a"], at(1), vec![])).await.unwrap();
        let stale = store.apply_revision(revision(0, &["b"], at(2), vec![applied(2)])).await.unwrap();
        assert_eq!(stale, Applied::Stale(1));
        assert_eq!(store.apply_revision(revision(2, &["b"], at(3), vec![])).await.unwrap(), Applied::Stale(1));
        assert_eq!(names(&store.current_definitions().await.unwrap()), ["a"]);
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 0);
        let mut nul = revision(1, &["c"], at(4), vec![]);
        nul.put[0].document = serde_json::json!({"a": ["\0"]});
        assert!(store.apply_revision(nul).await.is_err());
    }

    the_same_request_twice_makes_one_revision(store) {
        let request = revision(0, &["a"], at(1), vec![applied(1)]);
        assert_eq!(store.apply_revision(request.clone()).await.unwrap(), Applied::Made(1));
        assert_eq!(store.apply_revision(request.clone()).await.unwrap(), Applied::Made(1));
        store.apply_revision(revision(1, &["b"], at(2), vec![])).await.unwrap();
        // Its answer was lost, and another came in between.
        assert_eq!(store.apply_revision(request).await.unwrap(), Applied::Made(1));
        assert_eq!((store.current_revision_number().await.unwrap(), rows(&store).await), (2, 2));
    }

    of_many_at_once_one_wins_and_the_others_are_told(store) {
        for base in 0..5 {
            let tries = (0..8).map(|n| store.apply_revision(revision(base, &["a", "b"], at(n), vec![applied(n)])));
            let done = futures::future::join_all(tries).await;
            let made = done.iter().filter(|done| matches!(done, Ok(Applied::Made(n)) if *n == base + 1)).count();
            let stale = done.iter().filter(|done| matches!(done, Ok(Applied::Stale(n)) if *n == base + 1)).count();
            assert_eq!((made, stale), (1, 7), "{done:?}");
        }
        let numbers: Vec<i64> = store.revisions(None, 100).await.unwrap().iter().map(|r| r.number).collect();
        assert_eq!(numbers, [5, 4, 3, 2, 1]);
        assert_eq!(store.unsealed_events(crate::Bound::START, 99).await.unwrap(), 5);
    }

    a_revision_wakes_who_waits(store) {
        let mut wakeups = store.subscribe(Topic::Decisions);
        let deliveries = store.subscribe(Topic::Deliveries);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        wakeups.mark_unchanged();
        let before = *deliveries.borrow();
        store.apply_revision(revision(0, &["a"], at(1), vec![])).await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), wakeups.changed()).await.unwrap().unwrap();
        assert_eq!(*deliveries.borrow(), before, "who waits for deliveries is not woken");
    }

    nodes_say_what_is_in_force_on_them(store) {
        let n1: model::NodeName = "n1".parse().unwrap();
        let n2: model::NodeName = "n2".parse().unwrap();
        store.acquire_node(&n1, std::time::Duration::from_secs(3600), chrono::Utc::now(), Uuid::nil()).await.unwrap();
        store.report_revision(&n1, 1, None, at(1), vec![]).await.unwrap();
        store.report_revision(&n2, 1, Some("the variable X is not set".into()), at(1), vec![applied(1)]).await.unwrap();
        store.report_revision(&n1, 2, None, at(2), vec![]).await.unwrap();
        let all = store.node_revisions(chrono::Utc::now()).await.unwrap();
        let all: Vec<_> = all.iter().map(|n| (n.node.as_str(), n.revision, n.problem.is_some(), n.lives)).collect();
        assert_eq!(all, [("n1", 2, false, true), ("n2", 1, true, false)]);
    }
}
