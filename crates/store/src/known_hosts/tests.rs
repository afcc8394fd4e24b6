use super::*;
use crate::testing::{at, both, event};
use futures::future::join_all;
use model::EventKind;

fn host(line: &str, n: i64) -> KnownHost {
    KnownHost {
        id: Uuid::now_v7(),
        line: line.into(),
        fingerprint: format!("SHA256:{line}"),
        comment: Some("from the partner's letter".into()),
        by: Actor::User("ada".into()),
        at: at(n),
    }
}

fn adding(base: i64, hosts: &[&KnownHost]) -> ChangeKnownHosts {
    ChangeKnownHosts {
        base,
        added: hosts.iter().map(|host| (*host).clone()).collect(),
        removed: vec![],
        decided: vec![],
        events: vec![AuditEvent { kind: EventKind::KnownHostAdded, ..event(1) }],
    }
}

fn removing(base: i64, id: Uuid) -> ChangeKnownHosts {
    let removed = vec![(id, Actor::CommandLine("root".into()), at(9))];
    ChangeKnownHosts { base, removed, ..ChangeKnownHosts::default() }
}

fn offered(fingerprint: &str, n: i64) -> OfferedHostKey {
    OfferedHostKey {
        host: "getafix".into(),
        port: 2222,
        key_type: "ssh-ed25519".into(),
        key: "AAAA".into(),
        fingerprint: fingerprint.into(),
        standing: HostKeyStanding::Changed,
        endpoint: "acme".into(),
        at: at(n),
    }
}

both! {
    lines_are_in_force_until_they_are_removed_and_each_change_has_a_number(store) {
        assert_eq!(store.known_hosts().await.unwrap(), KnownHostState::default());
        let (first, second) = (host("getafix,172.22.52.130 ssh-ed25519 AAAA", 1), host("b ssh-rsa AAAB", 2));
        store.change_known_hosts(adding(0, &[&first, &second])).await.unwrap();
        let state = store.known_hosts().await.unwrap();
        assert_eq!(state, KnownHostState { change: 1, hosts: vec![first.clone(), second.clone()] });

        let again = store.change_known_hosts(adding(1, &[&host(&first.line, 3)])).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
        store.change_known_hosts(removing(1, first.id)).await.unwrap();
        let gone = store.change_known_hosts(removing(2, first.id)).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
        assert_eq!(store.known_hosts().await.unwrap(), KnownHostState { change: 2, hosts: vec![second] });
        // A line that was removed may come back.
        store.change_known_hosts(adding(2, &[&host(&first.line, 4)])).await.unwrap();
        assert_eq!(store.known_hosts_change().await.unwrap(), 3);
        // The refused ones left no event.
        assert_eq!(store.unsealed_events(crate::Bound::START, 9).await.unwrap(), 2);
    }

    of_changes_made_against_the_same_list_one_counts(store) {
        let hosts: Vec<KnownHost> = (0..12).map(|n| host(&format!("h{n} ssh-ed25519 AAAA"), n)).collect();
        let all = hosts.iter().map(|host| store.change_known_hosts(adding(0, &[host])));
        let done = join_all(all).await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
        assert!(done.into_iter().filter_map(Result::err).all(|error| error.kind() == ErrorKind::Rejected));
        assert_eq!(store.known_hosts().await.unwrap().hosts.len(), 1);
    }

    a_few_keys_of_each_server_wait_for_a_decision(store) {
        for n in 0..8 {
            store.keep_offered_host_key(offered(&format!("SHA256:{n}"), n)).await.unwrap();
        }
        // One that is shown again is the newest.
        store.keep_offered_host_key(offered("SHA256:5", 20)).await.unwrap();
        store.keep_offered_host_key(OfferedHostKey { port: 22, ..offered("SHA256:5", 3) }).await.unwrap();
        let waiting = store.offered_host_keys().await.unwrap();
        let shown: Vec<(u16, &str)> =
            waiting.iter().map(|key| (key.port, key.fingerprint.as_str())).collect();
        assert_eq!(
            shown,
            [(2222, "SHA256:5"), (2222, "SHA256:7"), (2222, "SHA256:6"), (2222, "SHA256:4"), (22, "SHA256:5"), (2222, "SHA256:3")]
        );
        assert_eq!(waiting[0], offered("SHA256:5", 20));
        store.forget_offered_host_keys(waiting[..5].to_vec()).await.unwrap();
        assert_eq!(store.offered_host_keys().await.unwrap(), [offered("SHA256:3", 3)]);
    }
}
