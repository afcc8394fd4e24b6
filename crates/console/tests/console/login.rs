//! Coming in: the first link, login, sessions, throttling, forms from elsewhere.

use super::{PASSWORD, inside, kinds, start, world};
use crate::browser::Browser;
use crate::support::World;
use http::StatusCode;
use model::{EventKind, Role};
use std::time::Duration;
use store::{EventFilter, Page, UserChange};

#[tokio::test]
async fn the_first_link_makes_one_admin_and_is_void_then() {
    let world = world().await;
    let mut browser = Browser::new(&world.console);
    let link = world.console.first_start_link("http://gateway:8420").await.unwrap().unwrap();
    let path = link.strip_prefix("http://gateway:8420").unwrap().to_owned();
    assert!(browser.get("/login").await.text.contains("No users yet"));
    assert_eq!(browser.get(&path).await.status, StatusCode::OK);
    for (user, password, again, said) in [
        ("ada", "too-short", "too-short", "too short"),
        ("ada", PASSWORD, "another-password", "passwords do not match"),
        ("a b", PASSWORD, PASSWORD, "A user name has"),
        ("administrator", "administrator", "administrator", "must not be the user name"),
    ] {
        let answer = browser.post(&path, &[("user", user), ("password", password), ("again", again)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(said), "{said}");
    }
    let form = [("user", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    let (mut first, mut second) = (Browser::new(&world.console), Browser::new(&world.console));
    let (one, other) = tokio::join!(first.post(&path, &form), second.post(&path, &form));
    let mut statuses = [one.status, other.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::GONE]);
    assert_eq!(browser.get(&path).await.status, StatusCode::GONE);
    assert_eq!(world.console.first_start_link("http://gateway:8420").await.unwrap(), None);
    let (users, _) = world.store.users().await.unwrap();
    assert_eq!((users.len(), users[0].role), (1, Role::Admin));
    assert_eq!(kinds(&world, EventKind::UserChanged).await, 1);
    assert_eq!(kinds(&world, EventKind::LoginSucceeded).await, 1);
    let mut winner = if one.status == StatusCode::SEE_OTHER { first } else { second };
    assert_eq!(winner.get("/transfers").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_expires_and_a_new_one_voids_the_last() {
    let world = world().await;
    let mut browser = Browser::new(&world.console);
    let base = "http://gateway:8420";
    let old = world.console.first_start_link(base).await.unwrap().unwrap();
    let new = world.console.first_start_link(base).await.unwrap().unwrap();
    assert_eq!(browser.get(&old[base.len()..]).await.status, StatusCode::GONE);
    assert_eq!(browser.get(&new[base.len()..]).await.status, StatusCode::OK);
    world.pass(Duration::from_secs(24 * 3600));
    assert_eq!(browser.get(&new[base.len()..]).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn login_leads_where_one_wanted_to_go_and_logout_ends_it() {
    let (world, _) = inside().await;
    let mut browser = Browser::new(&world.console);
    let sent = browser.get("/transfers?state=failed").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    assert_eq!(sent.location(), "/login?next=%2Ftransfers%3Fstate%3Dfailed");
    assert!(browser.get(sent.location()).await.text.contains("value=\"/transfers?state=failed\""));
    let form = |next: &'static str| [("user", "ada"), ("password", PASSWORD), ("next", next)];
    let answer = browser.post("/login", &form("//evil.example/")).await;
    assert_eq!(answer.location(), "/");
    let cookie = answer.cookie();
    for part in ["waybill_session_8420=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(
        browser.post("/login", &form("/transfers?state=failed")).await.location(),
        "/transfers?state=failed"
    );
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let old = browser.clone();
    assert_eq!(browser.post("/logout", &[]).await.location(), "/login");
    // Once: a second time nobody is logged in.
    assert_eq!(old.clone().post("/logout", &[]).await.location(), "/login");
    let filter = EventFilter { kind: Some("login.ended".into()), ..EventFilter::default() };
    let ended = world.store.events(&filter, Page::first(9)).await.unwrap().rows;
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].actor.as_str(), ended[0].peer.as_deref()), ("user:ada", Some("192.0.2.7:40000")));
    for mut out in [browser, old] {
        assert_eq!(out.get("/").await.location(), "/login");
    }
}

#[tokio::test]
async fn a_session_ends_twelve_hours_after_its_last_use() {
    let (world, mut browser) = inside().await;
    for _ in 0..3 {
        world.pass(Duration::from_secs(11 * 3600));
        assert_eq!(browser.get("/transfers").await.status, StatusCode::OK);
    }
    // What a page asks for by itself keeps no session alive.
    world.pass(Duration::from_secs(11 * 3600));
    assert_eq!(browser.fragment("/transfers").await.status, StatusCode::OK);
    world.pass(Duration::from_secs(2 * 3600));
    assert_eq!(browser.get("/transfers").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.fragment("/transfers").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_passwords_takes_longer_each_time() {
    let (world, _) = inside().await;
    let mut guesser = Browser::new(&world.console);
    let wrong = [("user", "ada"), ("password", "wrong-wrong-wrong"), ("next", "/")];
    let right = [("user", "ada"), ("password", PASSWORD), ("next", "/")];
    for _ in 0..5 {
        let answer = guesser.post("/login", &wrong).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("Wrong user name or password"));
    }
    // The next ones wait for their turn, and the right password is not locked out by the wrong ones.
    assert_eq!(guesser.post("/login", &wrong).await.status, StatusCode::FORBIDDEN);
    assert_eq!(guesser.post("/login", &right).await.status, StatusCode::SEE_OTHER);
    assert_eq!(kinds(&world, EventKind::LoginThrottled).await, 1, "that they wait is told once");
    assert_eq!(kinds(&world, EventKind::LoginFailed).await, 6);
    world.pass(Duration::from_secs(1));
    let unknown = [("user", "nobody"), ("password", PASSWORD), ("next", "/")];
    assert_eq!(guesser.post("/login", &unknown).await.status, StatusCode::FORBIDDEN);
    let filter = EventFilter { kind: Some("login.failed".into()), ..EventFilter::default() };
    let event = world.store.events(&filter, Page::first(1)).await.unwrap().rows.remove(0);
    assert_eq!(event.detail["user"], "nobody");
    assert_eq!(event.peer.as_deref(), Some("192.0.2.7:40000"));
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once() {
    let (world, mut browser) = inside().await;
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
    let form = [("user", "ada"), ("password", PASSWORD), ("next", "/")];
    assert_eq!(browser.post("/login", &form).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn other_sites_cannot_send_forms() {
    let (_world, mut browser) = inside().await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        for path in ["/login", "/logout", "/theme"] {
            let answer = browser.clone().with(name, value).post(path, &[("theme", "dark")]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
        }
    }
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", "http://gateway:8420")] {
        let answer = browser.clone().with(name, value).post("/theme", &[("theme", "dark")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}: {value}");
    }
    browser.post("/theme", &[("theme", "dark")]).await;
    assert!(browser.get("/transfers").await.text.contains("data-theme=\"dark\""));
}

#[tokio::test]
async fn before_https_cookies_are_secure_and_the_link_leads_there() {
    let url = "https://waybill.acme.example/";
    let world = World::behind(Some(url), None, start(), false).await;
    let link = world.console.first_start_link("http://127.0.0.1:8420/").await.unwrap().unwrap();
    let path = link.strip_prefix("https://waybill.acme.example").unwrap();
    // The proxy passes another Host header on than the browser sent.
    let mut browser = Browser::new(&world.console).with("origin", "https://waybill.acme.example");
    let form = [("user", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    let answer = browser.post(path, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookie = answer.cookie();
    assert!(cookie.starts_with("__Host-waybill_session") && cookie.contains("; Secure"), "{cookie}");
    assert_eq!(browser.get("/transfers").await.status, StatusCode::OK);
    let theme = browser.post("/theme", &[("theme", "dark")]).await;
    assert!(theme.cookie().contains("; Secure"), "{}", theme.cookie());
    let other = browser.with("origin", "http://waybill.acme.example").post("/logout", &[]).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
}
