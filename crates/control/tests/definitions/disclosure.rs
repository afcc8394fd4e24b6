//! A stored secret goes to no address that it was not given for.

use super::*;

const LOGIN: &str = "[credential.c]\nusername = \"u\"\npassword = \"hunter2\"\n";
const KEPT: &str = "[credential.c]\nusername = \"u\"\npassword = { kept = true }\n";
const ENDPOINT: &str =
    "[endpoint.t]\ntransport = \"fake\"\nurl = \"fake://good/x\"\nhost_key = \"k\"\ntimeout = \"5s\"\n";

fn with(more: &str) -> String {
    format!("{ENDPOINT}{more}\n")
}

#[tokio::test]
async fn a_kept_password_stays_with_its_address() {
    let world = world().await;
    let proxies = "[proxy.p]\nurl = \"http://one:1\"\n[proxy.q]\nurl = \"http://two:1\"\n";
    let before = with("proxy = \"p\"\npassword = \"hunter2\"") + proxies;
    made(&world.put("edi", &before).await);
    let kept = before.replace("\"hunter2\"", "{ kept = true }");
    for (from, to, field) in [
        ("fake://good/x", "fake://evil/x", "url"),
        ("host_key = \"k\"", "host_key = \"l\"", "host_key"),
        ("proxy = \"p\"", "proxy = \"q\"", "proxy"),
        ("http://one:1", "http://evil:1", "proxy.p.url"),
        ("host_key = \"k\"\n", "", "host_key"),
    ] {
        let changed = kept.replace(from, to);
        conflict(&world.put("edi", &changed).await, &["endpoint.t.password", field, "write the secret"]);
        // Whoever knows it may.
        let literal = changed.replace("{ kept = true }", "\"hunter2\"");
        made(&world.put("edi", &literal).await);
        made(&world.put("edi", &before).await);
    }
    // What is no address may change.
    made(&world.put("edi", &kept.replace("5s", "6s")).await);
    made(&world.put("edi", &(kept.replace("5s", "7s") + "[proxy.r]\nurl = \"http://r:1\"\n")).await);
}

#[tokio::test]
async fn a_credential_goes_only_where_it_went() {
    let world = world().await;
    let named = with("credential = \"c\"");
    made(&world.put("edi", &(LOGIN.to_owned() + &named)).await);
    let moved = KEPT.to_owned() + &named.replace("good", "evil");
    conflict(&world.put("edi", &moved).await, &["credential.c.password", "endpoint.t", "url"]);
    let second = named.replace("[endpoint.t]", "[endpoint.u]").replace("good", "evil");
    conflict(
        &world.put("edi", &format!("{KEPT}{named}{second}")).await,
        &["credential.c.password", "endpoint.u", "it is new"],
    );
    // Another name of the same address is none, and the password itself allows all.
    made(&world.put("edi", &format!("{KEPT}{}", named.replace("endpoint.t", "endpoint.v"))).await);
    made(&world.put("edi", &format!("{LOGIN}{named}{second}")).await);
}

#[tokio::test]
async fn another_origin_uses_a_login_for_a_new_address_only_when_an_administrator_says_so() {
    let world = world().await;
    let named = with("credential = \"c\"");
    made(&world.put("edi", &(LOGIN.to_owned() + &named)).await);
    let same = named.replace("endpoint.t", "endpoint.same");
    made(&world.put("other", &same).await);
    let text = same + &named.replace("endpoint.t", "endpoint.u").replace("good", "evil");
    conflict(&world.put("other", &text).await, &["endpoint.u", "belongs to edi", "--reuse-secrets"]);
    let directory = world.write("other", &[("a.toml", &text)]);
    let request = PlanRequest { reuse_secrets: true, ..of("other", &directory) };
    let apply = Apply { plan: request.clone(), base: None };
    let refused = world.control.apply(&caller(Role::Designer), &apply).await.unwrap_err();
    assert_eq!(refused.kind(), model::ErrorKind::PermissionDenied);
    let applied = world.apply(request).await;
    made(&applied);
    assert!(
        applied
            .to_string()
            .contains("warning: endpoint.u: the stored secret of credential.c goes to fake://evil/x"),
        "{applied}"
    );
    // From then on it is one of its addresses.
    made(&world.put("other", &text.replace("5s", "9s")).await);
}

#[tokio::test]
async fn an_import_keeps_no_login_for_another_address() {
    let world = world().await;
    let secrets = "[credential.c]\nusername = \"u\"\npassword = \"${env:HOME}\"\n";
    for (name, login) in [
        ("id", "password = \"hunter2\""),
        ("reference", "password = \"${env:HOME}\""),
        ("name", "credential = \"c\""),
    ] {
        let before = format!("{secrets}{}", with(login));
        let directory = world.write(name, &[("a.toml", &before)]);
        made(&world.apply(of(name, &directory)).await);
        let other =
            before.replace("good", "test").replace("hunter2", "tested").replace("${env:HOME}", "${env:PATH}");
        let directory = world.write(name, &[("a.toml", &other)]);
        let request = PlanRequest { keep_credentials: true, ..of(name, &directory) };
        let answer = world.plan(request.clone()).await;
        let text = answer.to_string();
        assert!(!answer.valid && text.contains("conflict: "), "{name}: {text}");
        assert!(text.contains("endpoint.t") && text.contains("url changes"), "{name}: {text}");
        // The same address: nothing is in the way.
        let same = world.write(name, &[("a.toml", &other.replace("test/", "good/").replace("5s", "8s"))]);
        let applied = world.apply(PlanRequest { directory: same, ..request }).await;
        made(&applied);
        let gone = world.write(name, &[("a.toml", "# nothing\n")]);
        made(&world.apply(PlanRequest { allow_empty: true, ..of(name, &gone) }).await);
    }
}

#[tokio::test]
async fn an_address_in_a_table_counts_and_so_do_secrets_in_lists_and_maps() {
    let world = world().await;
    let before = with(
        "oauth2 = { token_url = \"fake://token/\", client = \"w\", client_secret = \"hunter2\" }\n\
         headers = { x-token = \"battery1\" }\ntokens = [\"staple22\", \"${env:HOME}\"]\ntoken = \"horse333\"",
    );
    made(&world.put("edi", &before).await);
    let (stored, export) = (world.store.current_definitions().await.unwrap(), world.exported().await);
    let json = format!("{stored:?}{export}{}", world.plan_text(&before.replace("hunter2", "x")).await);
    for secret in ["hunter2", "battery1", "staple22", "horse333"] {
        assert!(!json.contains(secret), "{secret}: {json}");
    }
    assert!(
        export.contains("x-token = { kept = true }") && export.contains("[{ kept = true }, \"${env:HOME}\"]"),
        "{export}"
    );
    // What is exported is what is in force, and keeps every secret.
    let kept = export.split_once('\n').unwrap().1.to_owned();
    assert!(matches!(world.put("edi", &kept).await, Applied::Unchanged { .. }));
    let moved = kept.replace("fake://token/", "fake://evil/");
    conflict(&world.put("edi", &moved).await, &["endpoint.t.", "oauth2.token_url"]);
    // The other form of a field that may hold a secret.
    let table =
        before.replace("token = \"horse333\"", "token = { client = \"w\", client_secret = \"horse444\" }");
    made(&world.put("edi", &table).await);
    assert!(!format!("{:?}", world.store.current_definitions().await.unwrap()).contains("horse444"));
}

#[tokio::test]
async fn an_id_keeps_nothing() {
    let world = world().await;
    made(&world.put("edi", &with("password = \"hunter2\"")).await);
    let stored = world.store.current_definitions().await.unwrap();
    let id = stored.definitions[0].document["password"]["kept"].as_str().unwrap().to_owned();
    let text = with(&format!("password = {{ kept = \"{id}\" }}"));
    conflict(&world.put("edi", &text).await, &["endpoint.t.password: must be { kept = true }, not the id"]);
}
