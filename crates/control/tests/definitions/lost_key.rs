//! A master key that is lost.

use super::*;
use control::ForgetKey;
use model::ErrorKind;
use store::{EventFilter, Page};

const TEXT: &str = "[credential.c]\nusername = \"u\"\npassword = \"hunter2\"\n\
    [endpoint.t]\ntransport = \"fake\"\nurl = \"fake://good/x\"\ncredential = \"c\"\n";

fn forget(confirmed: bool) -> ForgetKey {
    ForgetKey { key: "k1".to_owned(), confirmed }
}

#[tokio::test]
async fn secrets_written_anew_take_the_place_of_what_cannot_be_opened() {
    let mut world = world().await;
    made(&world.put("edi", TEXT).await);
    let admin = caller(Role::Admin);
    let in_settings = world.control.forget_master_key(&admin, &forget(true)).await.unwrap_err();
    assert_eq!(in_settings.kind(), ErrorKind::ConfigInvalid);
    world.with_keys(&["k2"]);
    let error = world.control.check_master_keys().await.unwrap_err().chain();
    assert!(error.contains("k1") && error.contains("key forget"), "{error}");
    // Kept, it is a conflict; written again it needs the old key no more, but only once that is given up.
    let kept = TEXT.replace("\"hunter2\"", "{ kept = true }");
    conflict(&world.put("edi", &kept).await, &["credential.c.password", "cannot be decrypted", "k1"]);
    let directory = world.write("edi", &[("a.toml", TEXT)]);
    let request = Apply { plan: of("edi", &directory), base: None };
    let refused = world.control.apply(&admin, &request).await.unwrap_err().chain();
    assert!(refused.contains("key forget") && refused.contains("k1"), "{refused}");
    assert!(world.control.rotate_master_key(&admin).await.is_err());

    let designer = world.control.forget_master_key(&caller(Role::Designer), &forget(true)).await.unwrap_err();
    assert_eq!(designer.kind(), ErrorKind::PermissionDenied);
    let listed = world.control.forget_master_key(&admin, &forget(false)).await.unwrap();
    assert!(!listed.forgotten && listed.secrets == 1 && listed.earlier.is_empty());
    assert_eq!(listed.in_force.iter().collect::<Vec<_>>(), ["credential.c.password"]);
    let done = world.control.forget_master_key(&admin, &forget(true)).await.unwrap();
    assert!(done.forgotten && done.secrets == 1);
    let filter = EventFilter { kind: Some("secrets.key_forgotten".into()), ..EventFilter::default() };
    let events = world.store.events(&filter, Page { after: None, limit: 10 }).await.unwrap().rows;
    assert_eq!(events.len(), 1, "it is on record");
    let again = world.control.forget_master_key(&admin, &forget(true)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    conflict(&world.put("edi", &kept).await, &["credential.c.password", "write the secret again"]);
    let stored = world.store.current_definitions().await.unwrap();
    assert!(
        world
            .control
            .resolve(&stored.definitions)
            .await
            .unwrap_err()
            .chain()
            .contains("credential.c.password")
    );
    made(&world.put("edi", TEXT).await);
    let stored = world.store.current_definitions().await.unwrap();
    world.control.resolve(&stored.definitions).await.unwrap();
    assert!(world.control.check_master_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_only_history_needs_is_a_warning() {
    let mut world = world().await;
    made(&world.put("edi", TEXT).await);
    made(&world.put("edi", &TEXT.replace("\"hunter2\"", "\"${env:HOME}\"")).await);
    world.with_keys(&[]);
    let warnings = world.control.check_master_keys().await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("k1"), "{warnings:?}");
}

#[tokio::test]
async fn the_lost_secret_of_another_origin_keeps_nobody_from_mending_his_own() {
    let mut world = world().await;
    made(&world.put("edi", TEXT).await);
    let own = TEXT
        .replace("credential.c", "credential.d")
        .replace("endpoint.t", "endpoint.u")
        .replace("\"c\"", "\"d\"");
    made(&world.put("other", &own).await);
    world.with_keys(&["k2"]);
    world.control.forget_master_key(&caller(Role::Admin), &forget(true)).await.unwrap();
    let applied = world.put("other", &own).await;
    made(&applied);
    assert!(applied.to_string().contains("warning: credential.c: password cannot be decrypted"), "{applied}");
    // A placeholder never passes for it: no node can use this yet.
    let Applied::Made { definitions, .. } = applied else { unreachable!() };
    assert!(definitions.is_none());
    made(&world.put("edi", TEXT).await);
    let stored = world.store.current_definitions().await.unwrap();
    world.control.resolve(&stored.definitions).await.unwrap();
}
