//! The list of known hosts by way of the operations: what is confirmed, what is refused, what is on record.

use crate::support::{World, caller, start, world};
use control::{AddKnownHosts, Caller, Control, ForgetOfferedKey, OtherKeys, RemoveKnownHost};
use model::definition::Definitions;
use model::{Actor, ErrorKind, HostKeyStanding, OfferedHostKey, Role};

fn add(text: &str, confirmed: &[&str], others: OtherKeys) -> AddKnownHosts {
    let confirmed = confirmed.iter().map(|key| (*key).to_owned()).collect();
    AddKnownHosts { text: text.into(), confirmed, others, on_file: Vec::new() }
}

fn offered(key: &str) -> OfferedHostKey {
    OfferedHostKey {
        host: "getafix".into(),
        port: 22,
        key_type: "ssh-ed25519".into(),
        key: key.into(),
        fingerprint: format!("SHA256:{key}"),
        standing: HostKeyStanding::Unknown,
        endpoint: "acme".into(),
        at: start(),
    }
}

async fn lines(control: &Control, caller: &Caller) -> Vec<String> {
    let list = control.known_hosts(caller, &Definitions::default()).await.unwrap();
    list.hosts.into_iter().map(|detail| detail.host.line).collect()
}

async fn events(world: &World) -> Vec<store::EventView> {
    let filter = store::EventFilter { kind: Some("known_host.".into()), ..store::EventFilter::default() };
    world.store.events(&filter, store::Page::first(20)).await.unwrap().rows
}

#[tokio::test]
async fn a_key_is_added_when_its_fingerprint_was_confirmed_and_is_on_record() {
    let world = world().await;
    let (control, designer) = (&world.control, caller(Role::Designer));
    let text =
        "# from the partner's letter\ngetafix,172.22.52.130 ssh-ed25519 AAA acme's server\n\nb ssh-rsa BBB\n";
    let read = control.read_known_hosts(&caller(Role::Auditor), text).await.unwrap();
    let shown: Vec<&str> = read.lines.iter().map(|line| line.line.fingerprint.as_str()).collect();
    assert_eq!(shown, ["SHA256:AAA", "SHA256:BBB"]);
    let error =
        control.add_known_hosts(&designer, &add(text, &["SHA256:AAA"], OtherKeys::Refuse)).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::ConfigInvalid && error.chain().contains("SHA256:BBB"),
        "{}",
        error.chain()
    );
    assert!(lines(control, &designer).await.is_empty(), "all or nothing");

    let all = add(text, &["SHA256:AAA", "SHA256:BBB"], OtherKeys::Refuse);
    control.add_known_hosts(&designer, &all).await.unwrap();
    assert_eq!(lines(control, &designer).await, ["b ssh-rsa BBB", "getafix,172.22.52.130 ssh-ed25519 AAA"]);
    let again = control.add_known_hosts(&designer, &all).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let events = events(&world).await;
    assert_eq!(events.len(), 2);
    let of =
        |fingerprint: &str| events.iter().find(|event| event.detail["fingerprint"] == fingerprint).unwrap();
    let event = of("SHA256:AAA");
    assert_eq!((event.actor.as_str(), &event.detail["hosts"]), ("cli:anna", &"getafix,172.22.52.130".into()));
    assert_eq!(event.detail["comment"], "acme's server");
}

#[tokio::test]
async fn another_key_of_a_host_replaces_the_old_one_only_when_a_person_says_so() {
    let world = world().await;
    let (control, admin) = (&world.control, caller(Role::Admin));
    let old = "getafix,172.22.52.130 ssh-ed25519 AAA";
    control.add_known_hosts(&admin, &add(old, &["SHA256:AAA"], OtherKeys::Refuse)).await.unwrap();
    let new = |others| add("getafix ssh-ed25519 NEW", &["SHA256:NEW"], others);
    let read = control.read_known_hosts(&admin, "getafix ssh-ed25519 NEW").await.unwrap();
    assert_eq!(read.lines[0].others.len(), 1);
    // Another type is another matter, and so is a key that is marked as revoked.
    for text in ["getafix ssh-rsa NEW", "@revoked getafix ssh-ed25519 NEW", "other ssh-ed25519 NEW"] {
        assert!(control.read_known_hosts(&admin, text).await.unwrap().lines[0].others.is_empty(), "{text}");
    }
    let error = control.add_known_hosts(&admin, &new(OtherKeys::Refuse)).await.unwrap_err();
    let words = error.chain();
    assert!(
        error.kind() == ErrorKind::AlreadyExists
            && words.contains("SHA256:AAA")
            && words.contains("SHA256:NEW"),
        "{words}"
    );
    // What was not shown is not replaced: somebody else may have put it on file.
    let unseen = control.add_known_hosts(&admin, &new(OtherKeys::Replace)).await.unwrap_err();
    assert!(unseen.to_string().contains("compare again"), "{unseen}");
    let seen = AddKnownHosts { on_file: vec!["SHA256:AAA".into()], ..new(OtherKeys::Replace) };
    control.add_known_hosts(&admin, &seen).await.unwrap();
    // The old line's other name keeps its key.
    let both = ["172.22.52.130 ssh-ed25519 AAA", "getafix ssh-ed25519 NEW"];
    let mut listed = lines(control, &admin).await;
    listed.sort();
    assert_eq!(listed, both);
    let told: Vec<String> = events(&world).await.iter().map(store::EventView::summary).collect();
    assert!(told.iter().any(|told| told.ends_with("it replaces SHA256:AAA")), "{told:?}");
    assert!(told.iter().any(|told| told.ends_with("it is replaced by SHA256:NEW")), "{told:?}");
    control
        .add_known_hosts(&admin, &add("getafix ssh-ed25519 SECOND", &["SHA256:SECOND"], OtherKeys::Keep))
        .await
        .unwrap();
    assert_eq!(lines(control, &admin).await.len(), 3);
}

#[tokio::test]
async fn who_may_not_change_definitions_changes_no_trust() {
    let world = world().await;
    let control = &world.control;
    let text = "getafix ssh-ed25519 AAA";
    let request = add(text, &["SHA256:AAA"], OtherKeys::Keep);
    for role in [Role::Viewer, Role::Auditor, Role::Operator] {
        let refused = control.add_known_hosts(&caller(role), &request).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
    }
    control.add_known_hosts(&caller(Role::Designer), &request).await.unwrap();
    let which = RemoveKnownHost { which: "SHA256:AAA".into() };
    let forget = ForgetOfferedKey { host: "getafix".into(), port: 22, fingerprint: "SHA256:X".into() };
    for role in [Role::Viewer, Role::Auditor, Role::Operator] {
        let refused = control.remove_known_host(&caller(role), &which).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
        let refused = control.forget_offered_host_key(&caller(role), &forget).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
    }
    let seen = control.known_hosts(&caller(Role::Viewer), &Definitions::default()).await.unwrap_err();
    assert_eq!(seen.kind(), ErrorKind::PermissionDenied);
    assert_eq!(lines(control, &caller(Role::Auditor)).await, [text]);

    let person = Caller { actor: Actor::User("ada".into()), role: Role::Designer };
    let removed = control.remove_known_host(&person, &which).await.unwrap();
    assert_eq!(removed.line, text);
    assert_eq!(control.remove_known_host(&person, &which).await.unwrap_err().kind(), ErrorKind::NotFound);
    let events = events(&world).await;
    let gone = events.iter().find(|event| event.kind == "known_host.removed").unwrap();
    assert_eq!((gone.actor.as_str(), &gone.detail["line"]), ("user:ada", &text.into()));
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_key_that_a_server_showed_waits_until_it_is_on_file_or_forgotten() {
    let world = world().await;
    let (control, admin) = (&world.control, caller(Role::Admin));
    for key in ["AAA", "BBB"] {
        world.store.keep_offered_host_key(offered(key)).await.unwrap();
    }
    let waiting = || async { control.known_hosts(&admin, &Definitions::default()).await.unwrap().offered };
    assert_eq!(waiting().await.len(), 2);
    let line = offered("AAA").line();
    control.add_known_hosts(&admin, &add(&line, &["SHA256:AAA"], OtherKeys::Refuse)).await.unwrap();
    let left = waiting().await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].key.as_str(), left[0].standing), ("BBB", HostKeyStanding::Changed));
    let mut list = control.known_hosts(&admin, &Definitions::default()).await.unwrap();
    list.search("sha256:bbb");
    assert_eq!((list.hosts.len(), list.offered.len()), (0, 1));
    let forget = ForgetOfferedKey { host: "getafix".into(), port: 22, fingerprint: "SHA256:BBB".into() };
    control.forget_offered_host_key(&admin, &forget).await.unwrap();
    assert!(waiting().await.is_empty());
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_named_and_nothing_is_added() {
    let world = world().await;
    let (control, admin) = (&world.control, caller(Role::Admin));
    let text = "getafix ssh-ed25519 AAA\nnonsense\n";
    let read = control.read_known_hosts(&admin, text).await.unwrap();
    assert_eq!((read.lines.len(), read.unreadable[0].number), (1, 2));
    let error =
        control.add_known_hosts(&admin, &add(text, &["SHA256:AAA"], OtherKeys::Refuse)).await.unwrap_err();
    assert!(error.chain().contains("line 2"), "{}", error.chain());
    assert!(lines(control, &admin).await.is_empty());
    for text in [
        "",
        "# nothing\n",
        &"a ssh-ed25519 A\n".repeat(2),
        &(0..300).map(|n| format!("h{n} t K{n}\n")).collect::<String>(),
    ] {
        let read = control.read_known_hosts(&admin, text).await;
        assert_eq!(read.is_ok(), text.starts_with('a'), "{text}");
    }
}
