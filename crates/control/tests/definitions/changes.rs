//! Plans, and changes of two people at once.

use super::*;
use control::RollBack;
use model::ErrorKind;

fn endpoint(name: &str, timeout: &str) -> String {
    format!("[endpoint.{name}]\ntransport = \"fake\"\nurl = \"fake://h/{name}\"\ntimeout = \"{timeout}\"\n")
}

#[tokio::test]
async fn the_second_of_two_at_once_is_told_when_both_change_the_same() {
    let world = world().await;
    made(&world.put("edi", &endpoint("t", "1s")).await);
    world.meanwhile("edi", &endpoint("t", "2s"));
    let applied = world.put("edi", &endpoint("t", "3s")).await;
    assert!(matches!(applied, Applied::Stale { base: 1, in_force: 2, .. }), "{applied}");
    assert!(applied.to_string().contains("timeout: \"1s\" -> \"2s\""), "{applied}");
    // What touches nothing of it goes through, and what says the same is no change.
    world.meanwhile("other", &endpoint("o", "1s"));
    made(&world.put("edi", &endpoint("t", "3s")).await);
    world.meanwhile("edi", &endpoint("t", "4s"));
    assert!(matches!(world.put("edi", &endpoint("t", "4s")).await, Applied::Unchanged { revision: 5, .. }));
}

#[tokio::test]
async fn a_base_that_was_never_made_is_an_error() {
    let world = world().await;
    made(&world.put("edi", &endpoint("t", "1s")).await);
    let admin = caller(Role::Admin);
    let directory = world.write("edi", &[("a.toml", &endpoint("t", "2s"))]);
    let apply = |base| Apply { plan: of("edi", &directory), base: Some(base) };
    let error = world.control.apply(&admin, &apply(77)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.chain().contains("there is no such revision"));
    let error = world.control.roll_back(&admin, RollBack { to: 1, base: Some(77) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let stale = world.control.apply(&admin, &apply(0)).await.unwrap();
    assert!(matches!(stale, Applied::Stale { base: 0, in_force: 1, .. }), "{stale}");
    made(&world.control.apply(&admin, &apply(1)).await.unwrap());
}

#[tokio::test]
async fn conflicts_and_errors_are_told_together() {
    let world = world().await;
    let text = "[key.k]\nprivate_key = { kept = true }\n[credential.c]\nusername = \"u\"\npassword = { kept = true }\n";
    let text = text.to_owned() + &endpoint("t", "1s").replace("timeout", "timeuot");
    let applied = world.put("edi", &text).await;
    conflict(
        &applied,
        &["key.k.private_key: is { kept = true }", "credential.c.password", "unknown key 'timeuot'"],
    );
    // What is not there is no text that could be wrong.
    assert!(!applied.to_string().contains("PEM") && !applied.to_string().contains("in clear"), "{applied}");
    let directory = world.directory.path().join("edi");
    let answer = world.plan(of("edi", &directory)).await;
    assert!(!answer.valid && answer.to_string().contains("conflict: key.k.private_key"), "{answer}");
    assert_eq!(world.store.current_revision_number().await.unwrap(), 0);
}

#[tokio::test]
async fn a_kept_secret_is_not_in_clear() {
    let world = world().await;
    let text = endpoint("t", "1s") + "password = \"hunter2\"\n";
    let applied = world.put("edi", &text).await;
    made(&applied);
    assert!(applied.to_string().contains("contains a secret in plain text"), "{applied}");
    let kept = world.put("edi", &text.replace("\"hunter2\"", "{ kept = true }")).await;
    assert!(!kept.to_string().contains("in clear"), "{kept}");
}

#[tokio::test]
async fn secrets_that_come_change_and_go_are_told_as_that() {
    let world = world().await;
    let with = |password: &str| endpoint("t", "1s") + password;
    made(&world.put("edi", &with("")).await);
    for (password, words) in [
        ("password = \"hunter2\"\n", "password: the secret is added"),
        ("password = \"hunter3\"\n", "password: the secret changes"),
        ("password = \"${env:HOME}\"\n", "password: (secret) -> \"${env:HOME}\""),
        ("password = \"hunter3\"\n", "password: \"${env:HOME}\" -> (secret)"),
        ("", "password: the secret is taken out"),
        ("password = \"${env:HOME}\"\n", "password: added \"${env:HOME}\""),
        ("", "password: removed, was \"${env:HOME}\""),
    ] {
        let applied = world.put("edi", &with(password)).await;
        assert!(applied.to_string().contains(words), "{words}: {applied}");
    }
}

#[tokio::test]
async fn a_secret_in_a_comment_is_refused() {
    let world = world().await;
    let with = |lines: &str| endpoint("t", "1s") + lines;
    for lines in
        ["# password = \"hunter2\"\npassword = \"hunter2\"\n", "password = \"hunter2\" # it is hunter2\n"]
    {
        let applied = world.put("edi", &with(lines)).await;
        assert!(matches!(applied, Applied::Invalid { .. }), "{applied}");
        let text = applied.to_string();
        assert!(
            text.contains("a.toml:5:") && text.contains("comment") && !text.contains("hunter2"),
            "{text}"
        );
    }
    // An old one is somebody's to judge.
    let applied = world.put("edi", &with("# password = \"oldhunter\"\npassword = \"hunter2\"\n")).await;
    made(&applied);
    let text = applied.to_string();
    assert!(text.contains("warning: endpoint.t: a comment") || text.contains(":5:1: warning"), "{text}");
    assert!(!text.contains("oldhunter"), "{text}");
    // A user name that is the same word is none.
    made(&world.put("edi", &with("username = \"waybill\"\npassword = \"waybill\" # of the test\n")).await);
}
