//! What raises an alarm, and what ends it.

use super::*;

both! {
    a_seal_by_an_unknown_key_becomes_an_alarm_that_ends_when_the_key_is_known(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        let stranger = Node::new().alone();
        forge(&store, &stranger).await;
        for run in 1..=7 {
            assert_eq!(seal(&store, &sealer).await, 0);
            let state = sealer.state();
            assert!(!state.good);
            assert_eq!(state.alarm.is_some(), run >= 5, "{run}");
            assert_eq!(state.stopped.is_some(), run < 5, "{run}");
        }
        let alarm = sealer.state().alarm.unwrap();
        assert_eq!(alarm.cause, AlarmCause::UnknownKey(stranger.key().id().into()));
        assert!(alarm.advice().contains("audit trust"), "{}", alarm.advice());
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1, "told once");
        assert_eq!(node.verify(&store).await.findings.iter().filter(|f| matches!(f, Finding::Alarm(_))).count(), 1);
        // Over a restart it stays, and worse things are not hidden by it.
        let sealer = node.start(&store);
        assert_eq!(seal(&store, &sealer).await, 0);
        assert_eq!(sealer.state().alarm.as_ref(), Some(&alarm));
        let pem = stranger.key().public_pem();
        sealer.trust_key(&store, pem, Actor::CommandLine("ada".into()), at(170)).await.unwrap();
        assert!(seal(&store, &sealer).await > 0);
        assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() });
        assert!(node.verify(&store).await.holds());

        let other = Node::new().alone();
        forge(&store, &other).await;
        for _ in 0..5 {
            seal(&store, &sealer).await;
        }
        assert!(matches!(sealer.state().alarm.unwrap().cause, AlarmCause::UnknownKey(_)));
        store.tamper("DELETE FROM audit_seals WHERE seq >= 3").await;
        seal(&store, &sealer).await;
        assert_eq!(sealer.state().alarm.unwrap().cause, AlarmCause::Altered);
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 3);
    }

    an_event_out_of_reach_of_all_seals_is_an_alarm(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        write(&store, 20..22).await;
        let newest = "(SELECT max(position) FROM audit_events)";
        store.tamper(&format!("UPDATE audit_events SET position = 4611686018427387904 WHERE position = {newest}")).await;
        assert_eq!(sealer.seal(&store, at(100)).await.unwrap().events, 0);
        let alarm = sealer.state().alarm.unwrap();
        assert!(alarm.what.contains("no seal covers it"), "{}", alarm.what);
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1);
        // Accepted, it is taken under a seal as it is, and the trail goes on behind it.
        sealer.accept(&store, "a test of ours", Actor::System, at(200)).await.unwrap();
        write(&store, 30..32).await;
        assert!(seal(&store, &sealer).await >= 4);
        assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() });
        let report = node.verify(&store).await;
        assert!(report.holds(), "{:?}", report.findings);
        assert_eq!(report.unsealed, 0);
    }

    a_row_that_is_no_event_is_an_alarm_and_not_sealed(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        write(&store, 20..22).await;
        let form = if store.url.starts_with("sqlite:") { "detail = 'no json', at = 'never'" } else { "detail = '[1e400]'" };
        store.tamper(&format!("CREATE TABLE saved AS SELECT * FROM audit_events WHERE position = (SELECT max(position) FROM audit_events); \
            UPDATE audit_events SET {form} WHERE position = (SELECT max(position) FROM audit_events)")).await;
        assert_eq!(seal(&store, &sealer).await, 0);
        let alarm = sealer.state().alarm.unwrap();
        assert!(alarm.what.contains("remove it by hand"), "{}", alarm.what);
        assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1);
        store.tamper("DELETE FROM audit_events WHERE position IN (SELECT position FROM saved)").await;
        assert_eq!(seal(&store, &sealer).await, 0, "it stays until it is accepted");
        sealer.accept(&store, "removed by hand", Actor::System, at(200)).await.unwrap();
        assert!(seal(&store, &sealer).await > 0);
        assert!(node.verify(&store).await.holds());
    }

    files_that_are_none_hold_nothing_up(store) {
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        let pipe = |path: std::path::PathBuf| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        let keys = store.dir.path().join("seal-keys");
        pipe(keys.join("x.pub"));
        std::os::unix::fs::symlink("/dev/zero", keys.join("zero.pub")).unwrap();
        write(&store, 20..22).await;
        assert_eq!(seal(&store, &sealer).await, 2);
        // Its own place taken by one, too.
        let own = keys.join(format!("{}.pub", sealer.key().id()));
        std::fs::remove_file(&own).unwrap();
        pipe(own.clone());
        write(&store, 22..24).await;
        assert_eq!(seal(&store, &sealer).await, 2);
        assert_eq!(std::fs::read_to_string(&own).unwrap(), sealer.key().public_pem());
        std::fs::remove_file(node.state.path().join("seals.json")).unwrap();
        pipe(node.state.path().join("seals.json"));
        assert_eq!(seal(&store, &sealer).await, 0);
        assert!(sealer.state().alarm.unwrap().what.contains("not a regular file"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_source_of_places_is_an_alarm_and_mended_when_accepted() {
    for sql in [
        "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint \
         LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 5::bigint'",
        "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint \
         LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT transaction * 1000000'",
        "ALTER TABLE audit_events ALTER COLUMN position SET DEFAULT 5",
        "ALTER TABLE audit_events ALTER COLUMN position DROP DEFAULT; \
         CREATE SEQUENCE s; ALTER TABLE audit_events ALTER COLUMN position SET DEFAULT nextval('s')",
    ] {
        let store = TestStore::postgres().await;
        let node = Node::new();
        let sealer = node.start(&store);
        sealed(&store, &sealer).await;
        store.tamper(sql).await;
        let findings = node.verify(&store).await.findings;
        assert!(
            findings.iter().any(|f| matches!(f, Finding::PositionsAltered { .. })),
            "{sql}: {findings:?}"
        );
        assert_eq!(sealer.seal(&store, at(100)).await.unwrap().events, 0, "{sql}");
        assert!(sealer.state().alarm.unwrap().what.contains("assigns positions"), "{sql}");
        sealer.accept(&store, "a test of ours", Actor::System, at(200)).await.unwrap();
        write(&store, 30..32).await;
        assert!(seal(&store, &sealer).await > 0, "{sql}");
        assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() }, "{sql}");
        let findings = node.verify(&store).await.findings;
        assert!(
            !findings.iter().any(|f| matches!(f, Finding::PositionsAltered { .. })),
            "{sql}: {findings:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_a_transaction_keeps_from_being_sealed_are_an_alarm_that_ends() {
    use sqlx::Connection as _;
    let store = TestStore::postgres().await;
    let node = Node::new();
    let sealer = node.start(&store);
    sealed(&store, &sealer).await;
    let mut slow = sqlx::PgConnection::connect(&store.url).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    sqlx::query("CREATE TABLE held (n int)").execute(&mut *transaction).await.unwrap();
    write(&store, 20..22).await;
    let minutes = |n: i64| at(100) + chrono::TimeDelta::minutes(n);
    let mut alarm = None;
    for run in 0..8 {
        sealer.seal(&store, minutes(3 * run)).await.unwrap();
        alarm = sealer.state().alarm;
        assert_eq!(alarm.is_some(), run >= 4, "{run}: {alarm:?}");
    }
    let alarm = alarm.unwrap();
    assert_eq!((alarm.cause.clone(), alarm.since), (AlarmCause::Unsealed, minutes(0)));
    assert!(!sealer.state().good);
    assert_eq!(kinds(&store, EventKind::AuditAlarm).await, 1);
    let report = node.verify(&store).await;
    assert_eq!(report.findings, [Finding::Alarm(alarm)]);
    assert!(!report.is_behind_note() && report.is_only_unsealed() && report.unsealed > 0);
    assert!(sealer.accept(&store, "no need", Actor::System, at(150)).await.is_err());
    transaction.rollback().await.unwrap();
    store.quiet().await;
    assert!(sealer.seal(&store, minutes(30)).await.unwrap().events >= 2);
    assert_eq!(sealer.state(), SealState { good: true, ..SealState::default() });
    assert!(node.verify(&store).await.holds());
}
