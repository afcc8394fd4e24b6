//! Directories: empty, copied, taken over, exported.

use super::*;

const C: &str = "[credential.c]\nusername = \"u\"\npassword = \"hunter2\"\n";
const T: &str = "[endpoint.t]\ntransport = \"fake\"\nurl = \"fake://good/x\"\ncredential = \"c\"\n";

#[tokio::test]
async fn an_empty_directory_removes_nothing_unless_told_to() {
    let world = world().await;
    let empty = world.write("empty", &[]);
    assert!(
        matches!(world.apply(of("edi", &empty)).await, Applied::Unchanged { .. }),
        "nothing came from it"
    );
    made(&world.put("edi", &(C.to_owned() + T)).await);
    conflict(
        &world.apply(of("edi", &empty)).await,
        &["holds no definition, and 2 came from it", "--allow-empty"],
    );
    let comments = world.write("comments", &[("a.toml", "# nothing\n")]);
    conflict(&world.apply(of("edi", &comments)).await, &["--allow-empty"]);
    let missing = world.directory.path().join("missing");
    assert!(matches!(world.apply(of("edi", &missing)).await, Applied::Invalid { .. }));
    made(&world.apply(PlanRequest { allow_empty: true, ..of("edi", &empty) }).await);
    assert!(world.store.current_definitions().await.unwrap().definitions.is_empty());
}

#[tokio::test]
async fn a_file_name_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let world = world().await;
    let directory = world.write("edi", &[("a.toml", C)]);
    let name = std::ffi::OsStr::from_bytes(b"b\xff.toml");
    std::fs::write(directory.join(name), T).unwrap();
    let applied = world.apply(of("edi", &directory)).await;
    assert!(
        matches!(applied, Applied::Invalid { .. }) && applied.to_string().contains("is not UTF-8"),
        "{applied}"
    );
}

#[tokio::test]
async fn what_an_import_kept_is_in_the_next_export() {
    let world = world().await;
    made(&world.put("edi", &(C.to_owned() + T)).await);
    let directory = world.write(
        "edi",
        &[("a.toml", &T.replace("endpoint.t", "endpoint.u").replace("credential = \"c\"", ""))],
    );
    made(&world.apply(PlanRequest { keep_credentials: true, ..of("edi", &directory) }).await);
    let export = world.exported().await;
    for definition in ["[credential.c]", "[endpoint.u]"] {
        assert!(export.contains(definition), "{export}");
    }
    let names = world.control.export(&caller(Role::Admin), &Default::default()).await.unwrap();
    let files: Vec<(&str, &str)> = names.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
    let back = world.write("back", &files);
    let answer = world.plan(PlanRequest { directory: back, ..PlanRequest::default() }).await;
    assert!(answer.valid && answer.plan.is_empty(), "{answer}");
}

#[tokio::test]
async fn a_login_of_another_origin_stays_there() {
    let world = world().await;
    made(&world.put("edi", C).await);
    let directory = world.write("flows", &[("a.toml", &(C.replace("hunter2", "tested") + T))]);
    let request = PlanRequest { keep_credentials: true, reuse_secrets: true, ..of("flows", &directory) };
    let applied = world.apply(request.clone()).await;
    made(&applied);
    assert!(matches!(world.apply(request).await, Applied::Unchanged { .. }));
    let stored = world.store.current_definitions().await.unwrap();
    let origins: Vec<&str> = stored.definitions.iter().map(|d| d.origin.as_str()).collect();
    assert_eq!(origins, ["edi", "flows"]);
}

#[tokio::test]
async fn an_import_keeps_user_names_at_proxies_too() {
    let world = world().await;
    let proxy = |user: &str| {
        format!("[proxy.p]\nurl = \"http://p:1\"\nusername = \"{user}\"\npassword = \"secret-of-{user}\"\n")
    };
    made(&world.put("edi", &proxy("production")).await);
    let directory = world.write("edi", &[("a.toml", &proxy("test"))]);
    let applied = world.apply(PlanRequest { keep_credentials: true, ..of("edi", &directory) }).await;
    assert!(!applied.to_string().contains("test\""), "{applied}");
    let export = world.exported().await;
    assert!(export.contains("production") && !export.contains("\"test\""), "{export}");
}

#[tokio::test]
async fn a_copy_is_taken_over_when_asked() {
    let world = world().await;
    made(&world.put("old", T.replace("credential = \"c\"", "").as_str()).await);
    let copy = world.write("moved", &[("a.toml", &T.replace("credential = \"c\"", ""))]);
    let request = PlanRequest { directory: copy, ..PlanRequest::default() };
    assert!(
        matches!(world.apply(request.clone()).await, Applied::Unchanged { .. }),
        "a copy alone is no change"
    );
    made(&world.apply(PlanRequest { take_over: true, ..request.clone() }).await);
    let stored = world.store.current_definitions().await.unwrap();
    assert_eq!(stored.definitions[0].origin, request.origin());
    // A name that somebody chose is no copy's.
    conflict(&world.apply(PlanRequest { origin: Some("new".into()), ..request }).await, &["--take-over"]);
}
