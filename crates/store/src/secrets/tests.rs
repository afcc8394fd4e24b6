use super::*;
use crate::testing::{TestStore, at, both, revision};
use crate::{Applied, NewRevision};
use model::Secret;

fn keys(ids: &[&str]) -> MasterKeys {
    let key = |id: &&str| MasterKey {
        id: (*id).to_owned(),
        key: Secret::new(openssl::sha::sha256(id.as_bytes()).to_vec()),
    };
    MasterKeys::new(ids.iter().map(key).collect())
}

const PLACE: (&str, &str, &str) = ("endpoint", "acme", "options.password");

#[test]
fn a_secret_is_bound_to_its_place_its_id_and_its_key() {
    let keys = keys(&["new", "old"]);
    let secret = keys.encrypt(Uuid::now_v7(), PLACE, "hunter2").unwrap();
    assert_eq!(keys.decrypt(&secret).unwrap().reveal(), "hunter2");
    assert_eq!(secret.key_id, "new");
    assert_ne!(
        secret.ciphertext,
        keys.encrypt(secret.id, PLACE, "hunter2").unwrap().ciphertext,
        "the nonce is new"
    );
    let moved: [fn(&mut EncryptedSecret); 7] = [
        |s| s.section = "credential".into(),
        |s| s.name = "globex".into(),
        |s| s.field = "options.passphrase".into(),
        |s| s.id = Uuid::nil(),
        |s| s.key_id = "old".into(),
        |s| s.ciphertext[14] ^= 1,
        |s| s.ciphertext.truncate(20),
    ];
    for (at, change) in moved.into_iter().enumerate() {
        let mut changed = secret.clone();
        change(&mut changed);
        let error = keys.decrypt(&changed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityFailed, "{at}");
        assert!(!error.chain().contains("hunter2"));
    }
    let missing = super::tests::keys(&["other"]).decrypt(&secret).unwrap_err();
    assert!(
        missing.kind() == ErrorKind::ConfigInvalid && missing.chain().contains("new"),
        "{}",
        missing.chain()
    );
    assert_eq!(
        keys.encrypt(Uuid::nil(), PLACE, "").map(|s| keys.decrypt(&s).unwrap().reveal().clone()).unwrap(),
        ""
    );
    assert!(MasterKeys::default().encrypt(Uuid::nil(), PLACE, "x").is_err());
}

fn with_secrets(base: i64, keys: &MasterKeys, count: usize) -> (NewRevision, Vec<Uuid>) {
    let secret = |n: usize| {
        let field = format!("options.password{n}");
        keys.encrypt(Uuid::now_v7(), ("endpoint", "acme", &field), &format!("secret {n}")).unwrap()
    };
    let rows: Vec<EncryptedSecret> = (0..count).map(secret).collect();
    let ids = rows.iter().map(|row| row.id).collect();
    let secrets = NewSecrets { rows, check: keys.newest().and_then(|id| keys.check(id)) };
    (NewRevision { secrets, ..revision(base, &["a"], at(1), vec![]) }, ids)
}

async fn all_open(store: &TestStore, keys: &MasterKeys, ids: &[Uuid]) {
    let stored = store.secrets(ids).await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(keys.decrypt(&stored[id]).unwrap().reveal(), &format!("secret {n}"));
    }
}

both! {
    a_missing_or_wrong_key_is_refused_only_where_secrets_are(store) {
        for some in [MasterKeys::default(), keys(&["a"]), keys(&["b"])] {
            assert!(store.check_master_keys(&some, &[]).await.unwrap().is_empty());
        }
        let (new, ids) = with_secrets(0, &keys(&["a"]), 3);
        assert_eq!(store.apply_revision(new).await.unwrap(), Applied::Made(1));
        all_open(&store, &keys(&["b", "a"]), &ids).await;
        store.check_master_keys(&keys(&["a"]), &ids).await.unwrap();
        store.check_master_keys(&keys(&["b", "a"]), &ids).await.unwrap();
        let missing = store.check_master_keys(&keys(&["b"]), &ids).await.unwrap_err().chain();
        assert!(missing.contains("key: a") || missing.contains("a") && missing.contains("add it"), "{missing}");
        assert!(store.check_master_keys(&MasterKeys::default(), &ids).await.is_err());
        let wrong = MasterKeys::new(vec![MasterKey { id: "a".into(), key: Secret::new(vec![7; 32]) }]);
        let error = store.check_master_keys(&wrong, &ids).await.unwrap_err().chain();
        assert!(error.contains("another key of this id"), "{error}");
        // What no revision in force needs, a history alone, is a warning.
        let told = store.check_master_keys(&keys(&["b"]), &[]).await.unwrap();
        assert!(told.len() == 1 && told[0].contains("3 secrets of earlier revisions"), "{told:?}");
        // Nothing is ever encrypted with the wrong one, whoever forgets to ask.
        let (new, _) = with_secrets(1, &wrong, 1);
        assert!(store.apply_revision(new).await.is_err());
        assert_eq!(store.current_revision_number().await.unwrap(), 1);
    }

    rotation_goes_on_where_it_was_left(store) {
        let (new, ids) = with_secrets(0, &keys(&["old"]), 25);
        store.apply_revision(new).await.unwrap();
        let both = keys(&["new", "old"]);
        assert_eq!(store.reencrypt_secrets(&both, 10).await.unwrap(), 10);
        // Halfway: each is under one key or the other, and both are needed.
        all_open(&store, &both, &ids).await;
        assert!(store.check_master_keys(&keys(&["new"]), &ids).await.is_err());
        assert!(store.check_master_keys(&keys(&["old"]), &ids).await.is_err());
        store.forget_old_master_keys(&both, vec![]).await.unwrap();
        assert!(store.check_master_keys(&keys(&["new"]), &ids).await.is_err(), "an old key in use is not forgotten");
        assert_eq!(store.reencrypt_secrets(&both, 10).await.unwrap(), 10);
        assert_eq!(store.reencrypt_secrets(&both, 10).await.unwrap(), 5);
        assert_eq!(store.reencrypt_secrets(&both, 10).await.unwrap(), 0);
        store.forget_old_master_keys(&both, vec![]).await.unwrap();
        store.check_master_keys(&keys(&["new"]), &ids).await.unwrap();
        all_open(&store, &keys(&["new"]), &ids).await;
        // An old id may be used again once nothing is under it.
        let other = MasterKey { id: "old".into(), key: Secret::new(vec![9; 32]) };
        store.check_master_keys(&MasterKeys::new(vec![other]), &ids).await.unwrap_err();
        let wrong = MasterKeys::new(vec![MasterKey { id: "new".into(), key: Secret::new(vec![7; 32]) }]);
        assert!(store.reencrypt_secrets(&wrong, 10).await.unwrap() == 0);
        assert!(store.forget_old_master_keys(&wrong, vec![]).await.is_err());
    }

    two_that_rotate_at_once_do_no_harm(store) {
        let (new, ids) = with_secrets(0, &keys(&["old"]), 60);
        store.apply_revision(new).await.unwrap();
        let both = keys(&["new", "old"]);
        let rotate = || async { while store.reencrypt_secrets(&both, 7).await.unwrap() > 0 {} };
        tokio::join!(rotate(), rotate(), rotate());
        all_open(&store, &keys(&["new"]), &ids).await;
    }

    only_a_rotation_begins_with_a_new_key(store) {
        let (new, ids) = with_secrets(0, &keys(&["old"]), 2);
        store.apply_revision(new).await.unwrap();
        let (stray, _) = with_secrets(1, &keys(&["stray", "old"]), 1);
        let error = store.apply_revision(stray).await.unwrap_err().chain();
        assert!(error.contains("stray") && error.contains("key rotate"), "{error}");
        assert_eq!(store.current_revision_number().await.unwrap(), 1);
        let both = keys(&["new", "old"]);
        assert_eq!(both.by_use(&store.master_keys_in_use().await.unwrap()).newest(), Some("old"));
        assert_eq!(store.reencrypt_secrets(&both, 10).await.unwrap(), 2);
        store.forget_old_master_keys(&both, vec![]).await.unwrap();
        assert_eq!(both.by_use(&store.master_keys_in_use().await.unwrap()).newest(), Some("new"));
        all_open(&store, &keys(&["new"]), &ids).await;
    }

    a_lost_key_is_forgotten_with_what_it_encrypted(store) {
        let (new, ids) = with_secrets(0, &keys(&["lost"]), 3);
        store.apply_revision(new).await.unwrap();
        assert_eq!(store.secrets_under("other").await.unwrap(), None);
        let places = store.secrets_under("lost").await.unwrap().unwrap();
        assert_eq!(places.iter().map(|place| place.field.as_str()).collect::<Vec<_>>(),
            ["options.password0", "options.password1", "options.password2"]);
        assert_eq!(store.forget_master_key("lost", vec![]).await.unwrap(), 3);
        assert!(store.secrets(&ids).await.unwrap().is_empty());
        assert_eq!(store.secrets_under("lost").await.unwrap(), None);
        // Another one may begin.
        let (again, ids) = with_secrets(1, &keys(&["found"]), 2);
        assert_eq!(store.apply_revision(again).await.unwrap(), Applied::Made(2));
        all_open(&store, &keys(&["found"]), &ids).await;
    }
}
