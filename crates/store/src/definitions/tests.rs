use super::*;
use crate::testing::{at, both, event};
use serde_json::json;

both! {
    the_same_documents_make_no_new_revision(store) {
        assert_eq!(store.current_revision().await.unwrap(), None);
        let first = json!({"flow": {"orders": {"source": "${env:X}", "every": 60}}});
        let applied = |documents: Value, n: i64| {
            let event = AuditEvent { kind: EventKind::DefinitionsApplied, ..event(n) };
            store.apply_revision(documents, Actor::User("ada".into()), Some("/etc/defs".into()), at(n), vec![event])
        };
        assert_eq!(applied(first.clone(), 1).await.unwrap(), Applied { number: 1, new: true });
        assert_eq!(applied(first.clone(), 2).await.unwrap(), Applied { number: 1, new: false });
        let other = json!({"flow": {}});
        assert_eq!(applied(other.clone(), 3).await.unwrap(), Applied { number: 2, new: true });
        assert_eq!(applied(first.clone(), 4).await.unwrap(), Applied { number: 3, new: true });
        let current = store.current_revision().await.unwrap().unwrap();
        assert_eq!((current.documents, current.summary.author), (first, Actor::User("ada".into())));
        assert_eq!(store.revision(2).await.unwrap().unwrap().documents, other);
        assert_eq!(store.current_revision_number().await.unwrap(), 3);
        let numbers = |list: Vec<RevisionSummary>| list.iter().map(|r| r.number).collect::<Vec<_>>();
        assert_eq!(numbers(store.revisions(None, 2).await.unwrap()), [3, 2]);
        assert_eq!(numbers(store.revisions(Some(2), 2).await.unwrap()), [1]);
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 3);
        assert!(applied(json!({"a": ["\0"]}), 5).await.is_err());
    }

    two_nodes_with_the_same_directory_make_one_revision(store) {
        let both = (0..8).map(|n| {
            let documents = json!({"n": n / 4});
            store.apply_revision(documents, Actor::System, None, at(n), vec![])
        });
        for done in futures::future::join_all(both).await {
            done.unwrap();
        }
        let all = store.revisions(None, 100).await.unwrap();
        assert!(all.windows(2).all(|pair| pair[0].digest != pair[1].digest), "{all:?}");
    }
}
