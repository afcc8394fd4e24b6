use super::*;
use crate::testing::{at, both, event};

fn ada() -> NewUser {
    NewUser { name: "ada".into(), password_hash: Secret::new("$argon2id$x".to_owned()), role: Role::Admin }
}

fn token(n: u8) -> Sha256 {
    Sha256([n; 32])
}

both! {
    users_are_made_changed_and_removed(store) {
        assert_eq!(store.count_users().await.unwrap(), 0);
        store.create_user(ada(), at(0), vec![event(0)]).await.unwrap();
        let again = store.create_user(ada(), at(1), vec![event(1)]).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let (user, hash) = store.user("ada").await.unwrap().unwrap();
        assert_eq!((user.role, user.created_at, hash.reveal().as_str()), (Role::Admin, at(0), "$argon2id$x"));
        let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
        store.change_user("ada", change, at(2), vec![]).await.unwrap();
        assert_eq!(store.users().await.unwrap().0[0].role, Role::Viewer);
        assert_eq!(store.user("ada").await.unwrap().unwrap().1.reveal(), "$argon2id$x");
        let nobody = store.change_user("eve", UserChange::default(), at(2), vec![]).await.unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::NotFound);
        store.remove_user("ada", vec![]).await.unwrap();
        assert_eq!(store.count_users().await.unwrap(), 0);
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 1, "no event of what failed");
    }

    sessions_end_by_time_by_logout_and_with_their_user(store) {
        store.create_user(ada(), at(0), vec![]).await.unwrap();
        for n in 1..=4 {
            store.begin_session(token(n), "ada", at(0), at(500_000), vec![]).await.unwrap();
        }
        let session = store.session(token(1), at(499_999)).await.unwrap().unwrap();
        assert_eq!((session.user.name.as_str(), session.expires_at), ("ada", at(500_000)));
        assert!(store.session(token(1), at(500_000)).await.unwrap().is_none());
        assert!(store.session(token(9), at(1)).await.unwrap().is_none());
        store.touch_session(token(1), at(10), at(1_000_000)).await.unwrap();
        store.touch_session(token(2), at(500_001), at(1_000_000)).await.unwrap();
        assert!(store.session(token(1), at(600_000)).await.unwrap().is_some());
        assert!(store.session(token(2), at(600_000)).await.unwrap().is_none(), "over is over");
        store.end_session(token(1), at(20), vec![]).await.unwrap();
        assert!(store.session(token(1), at(30)).await.unwrap().is_none());
        let out = UserChange { disabled: Some(true), ..UserChange::default() };
        store.change_user("ada", out, at(40), vec![]).await.unwrap();
        assert!(store.session(token(3), at(50)).await.unwrap().is_none());
    }

    what_is_over_is_forgotten(store) {
        async fn count(store: &crate::Store, sql: &'static str) -> i64 {
            on!(store.pool(), c => sqlx::query_scalar(sql).fetch_one(c).await).unwrap()
        }
        store.create_user(ada(), at(0), vec![]).await.unwrap();
        store.begin_session(token(1), "ada", at(0), at(100), vec![]).await.unwrap();
        store.begin_session(token(2), "ada", at(0), at(200), vec![]).await.unwrap();
        store.create_setup_link(token(3), at(0), at(200)).await.unwrap();
        let bob = NewUser { name: "bob".into(), ..ada() };
        assert!(store.use_setup_link(token(3), bob, at(1), vec![]).await.unwrap());
        store.create_setup_link(token(4), at(0), at(200)).await.unwrap();
        store.purge_logins(at(100)).await.unwrap();
        assert!(store.session(token(2), at(100)).await.unwrap().is_some());
        assert!(store.setup_link_holds(token(4), at(100)).await.unwrap());
        assert_eq!(count(&store, "SELECT count(*) FROM sessions").await, 1);
        assert_eq!(count(&store, "SELECT count(*) FROM setup_links").await, 1);
        store.purge_logins(at(200)).await.unwrap();
        assert_eq!(count(&store, "SELECT count(*) FROM sessions").await, 0);
        assert_eq!(count(&store, "SELECT count(*) FROM setup_links").await, 0);
    }

    a_setup_link_makes_one_user(store) {
        store.create_setup_link(token(1), at(0), at(100)).await.unwrap();
        store.create_setup_link(token(2), at(0), at(100)).await.unwrap();
        assert!(!store.setup_link_holds(token(1), at(1)).await.unwrap(), "replaced");
        assert!(store.setup_link_holds(token(2), at(1)).await.unwrap());
        assert!(!store.use_setup_link(token(2), ada(), at(100), vec![]).await.unwrap(), "expired");
        store.create_user(NewUser { name: "bob".into(), ..ada() }, at(0), vec![]).await.unwrap();
        let taken = NewUser { name: "bob".into(), ..ada() };
        assert!(store.use_setup_link(token(2), taken, at(1), vec![]).await.is_err());
        let tries = (0..10).map(|n| {
            let user = NewUser { name: format!("user-{n}"), ..ada() };
            store.use_setup_link(token(2), user, at(1), vec![])
        });
        let won = futures::future::join_all(tries).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(won, 1);
        assert_eq!(store.count_users().await.unwrap(), 2);
    }
}
