//! Users by way of the operations: what they change, what they refuse, what they put on record.

use crate::support::{World, bare_world, caller, start};
use control::password::{HashMemory, verify};
use control::{AddUser, SetDisabled, SetRole};
use model::{ErrorKind, EventKind, Role, Secret, Sha256};
use std::time::Duration;
use store::{EventFilter, Page};

const PASSWORD: &str = "correct-horse-battery";

fn password(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn ada() -> AddUser {
    AddUser { name: "ada".into(), role: Role::Operator }
}

#[tokio::test]
async fn a_user_is_added_changed_and_disabled_on_record() {
    let World { control, store, .. } = &bare_world().await;
    let admin = caller(Role::Admin);
    let added = control.add_user(&admin, &ada(), password(PASSWORD)).await.unwrap();
    assert_eq!((added.name.as_str(), added.role, added.disabled), ("ada", Role::Operator, false));
    let again = control.add_user(&admin, &ada(), password(PASSWORD)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert!(!control.users(&admin).await.unwrap().has_administrator());
    let session = |n: u8| {
        store.begin_session(Sha256([n; 32]), "ada", start(), start() + Duration::from_secs(60), vec![])
    };
    let holds = async |n: u8| store.session(Sha256([n; 32]), start()).await.unwrap();

    session(1).await.unwrap();
    control.set_user_role(&admin, &SetRole { name: "ada".into(), role: Role::Admin }).await.unwrap();
    assert_eq!(holds(1).await.unwrap().user.role, Role::Admin, "the session goes on, with the new role");
    assert!(control.users(&admin).await.unwrap().has_administrator());
    control.set_user_password(&admin, "ada", password("another-correct-horse")).await.unwrap();
    assert!(holds(1).await.is_none(), "a new password ends sessions");
    let (_, hash) = store.user("ada").await.unwrap().unwrap();
    let right = |text: &str| verify(&password(text), Some(&hash), &mut HashMemory::default()).unwrap();
    assert!(right("another-correct-horse") && !right(PASSWORD));
    session(2).await.unwrap();
    let disabled = SetDisabled { name: "ada".into(), disabled: true };
    assert!(control.set_user_disabled(&admin, &disabled).await.unwrap().disabled);
    assert!(holds(2).await.is_none(), "so does disabling");
    assert!(!control.users(&admin).await.unwrap().has_administrator());
    let enabled = SetDisabled { disabled: false, ..disabled };
    assert!(!control.set_user_disabled(&admin, &enabled).await.unwrap().disabled);
    assert!(holds(2).await.is_none(), "and enabling brings none back");

    let filter = EventFilter { kind: Some(EventKind::UserChanged.as_str().into()), ..EventFilter::default() };
    let events = store.events(&filter, Page::first(20)).await.unwrap().rows;
    let mut changes: Vec<&str> =
        events.iter().map(|event| event.detail["change"].as_str().unwrap()).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["added", "disabled", "enabled", "password changed", "role changed"]);
    for event in &events {
        assert_eq!((event.actor.as_str(), event.detail["user"].as_str()), ("cli:anna", Some("ada")));
        let text = serde_json::to_string(&event.detail).unwrap();
        assert!(!text.contains("horse") && !text.contains("$argon2"), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_accepted_changes_nothing() {
    let World { control, store, .. } = &bare_world().await;
    let admin = caller(Role::Admin);
    for (name, text, said) in [
        ("a b", PASSWORD, "A user name has"),
        ("ada", "short", "too short"),
        ("administrator", "administrator", "must not be the user name"),
    ] {
        let request = AddUser { name: name.into(), role: Role::Viewer };
        let error = control.add_user(&admin, &request, password(text)).await.unwrap_err();
        assert!(error.chain().contains(said), "{}", error.chain());
        assert!(!error.chain().contains(PASSWORD) && !error.chain().contains("short\""), "{}", error.chain());
    }
    let unknown = SetDisabled { name: "eve".into(), disabled: true };
    let error = control.set_user_disabled(&admin, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.chain().contains("waybill user list"), "{}", error.chain());
    assert!(control.set_user_password(&admin, "eve", password(PASSWORD)).await.is_err());
    assert_eq!(store.count_users().await.unwrap(), 0);
    let events = store.events(&EventFilter::default(), Page::first(9)).await.unwrap().rows;
    assert!(events.is_empty(), "{events:?}");
}

#[tokio::test]
async fn only_administrators_manage_users_and_auditors_see_them() {
    let World { control, store, .. } = &bare_world().await;
    control.add_user(&caller(Role::Admin), &ada(), password(PASSWORD)).await.unwrap();
    for role in Role::ALL.iter().copied().filter(|role| *role != Role::Admin) {
        let caller = caller(role);
        let bob = AddUser { name: "bob".into(), role: Role::Admin };
        let promote = SetRole { name: "ada".into(), role: Role::Admin };
        let disable = SetDisabled { name: "ada".into(), disabled: true };
        for refused in [
            control.add_user(&caller, &bob, password(PASSWORD)).await.unwrap_err(),
            control.set_user_role(&caller, &promote).await.unwrap_err(),
            control.set_user_disabled(&caller, &disable).await.unwrap_err(),
            control.set_user_password(&caller, "ada", password("another-correct-horse")).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{role}");
        }
        assert_eq!(control.users(&caller).await.is_ok(), role == Role::Auditor, "{role}");
    }
    let (user, _) = store.user("ada").await.unwrap().unwrap();
    assert_eq!((user.role, user.disabled, store.count_users().await.unwrap()), (Role::Operator, false, 1));
}
