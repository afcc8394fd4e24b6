//! The pages of partners, over exchanges of a real store.

use super::support::{Filler, Way, World};
use super::{Browser, enter, inside, start, world};
use http::StatusCode;
use model::{AuditEvent, EventId, EventKind, Role, TELL_PARTNER};
use std::time::Duration;
use store::UserChange;
use uuid::Uuid;

async fn refused_message(world: &World) {
    let event = AuditEvent::new(
        EventId::new(Uuid::now_v7()),
        start(),
        "acme-1".parse().unwrap(),
        EventKind::MessageRefused,
    );
    let event = event
        .partner("globex")
        .detail("reason", "could not verify")
        .detail("would_match", "the certificate 'old' <b>")
        .detail(TELL_PARTNER, "Please sign with the certificate that we have.");
    world.store.append_events(vec![event]).await.unwrap();
}

async fn page(browser: &mut Browser, path: &str) -> String {
    let answer = browser.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    super::browser::check_html(path, &answer.text);
    answer.text
}

#[tokio::test]
async fn partners_are_listed_with_their_state() {
    let (_world, mut browser) = inside().await;
    let text = page(&mut browser, "/partners").await;
    assert!(text.contains("href=\"/partners/globex\"") && text.contains("GLOBEX &#60;AS2&#62;"), "{text}");
    assert!(text.contains("No exchange yet"), "{text}");
    // A person set initech's endpoint offline.
    assert!(text.contains("Offline") && text.contains("the partner &#60;moves&#62;"), "{text}");
    let text = page(&mut browser, "/partners?search=glob").await;
    assert!(text.contains("/partners/globex") && !text.contains("/partners/initech"), "{text}");
    assert!(page(&mut browser, "/partners?search=nobody").await.contains("No partners match this search."));
    assert_eq!(browser.get("/partners/nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_partner_is_shown_with_what_was_agreed_and_what_failed() {
    let (world, mut browser) = inside().await;
    refused_message(&world).await;
    // It shows addresses, which no other page may load anything from.
    let text = browser.get("/partners/globex").await.text;
    for words in [
        "Names and endpoints",
        "Name in as2",
        "globex-as2",
        "ACME (identity acme)",
        "id=\"certs\"",
        "certificates",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("It would match the certificate &#39;old&#39; &#60;b&#62;."), "{text}");
    assert!(
        text.contains(
            "<blockquote class=\"tell\">Please sign with the certificate that we have.</blockquote>"
        ),
        "{text}"
    );
    assert!(text.contains("Nothing was sent to this partner yet."), "{text}");
    assert!(text.contains("Send a test message"), "{text}");
    let part = browser.fragment("/partners/globex").await;
    assert!(part.text.contains("Names and endpoints") && !part.text.contains("<html"), "{}", part.text);
}

#[tokio::test]
async fn a_delivery_that_failed_is_shown_with_what_to_tell_the_partner() {
    let (world, mut browser) = inside().await;
    let filler = Filler::new(&world.store, start()).await;
    let transfer = filler.transfer("po.edi".into(), "orders", Way::Failed, start(), None).await;
    let delivery = world.store.deliveries(transfer).await.unwrap().remove(0);
    let later = start() + Duration::from_secs(60);
    let event = |id: u128, at| {
        let node = "acme-1".parse().unwrap();
        let event = AuditEvent::new(EventId::new(Uuid::from_u128(id)), at, node, EventKind::DeliveryFailed);
        event.transfer(transfer)
    };
    let own = event(1, later).delivery(delivery.id).detail(TELL_PARTNER, "Please ask <us>.");
    // Of another delivery of the same transfer.
    let other = event(2, later + Duration::from_secs(1)).detail(TELL_PARTNER, "Please ask others.");
    world.store.append_events(vec![own, other]).await.unwrap();
    let text = browser.get("/partners/globex").await.text;
    assert!(text.contains("po.edi was not delivered"), "{text}");
    assert!(
        text.contains("<blockquote class=\"tell\">Please ask &#60;us&#62;.</blockquote>")
            && !text.contains("Please ask others."),
        "{text}"
    );
    assert!(text.contains("Nothing is known of the last messages"), "{text}");
    // It is no test message.
    let path = format!("/partners/globex/tests/{transfer}");
    assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn viewers_see_neither_definitions_nor_the_form() {
    let world = world().await;
    let mut browser = enter(&world).await;
    let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
    let text = browser.get("/partners/globex").await.text;
    assert!(text.contains("Names and endpoints"), "{text}");
    for words in ["id=\"certs\"", "What was agreed", "Send a test message"] {
        assert!(!text.contains(words), "{words}: {text}");
    }
    let answer = browser.post("/partners/globex/test", &[("endpoint", "globex-as2")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_test_message_needs_an_endpoint_that_is_defined() {
    let (_world, mut browser) = inside().await;
    let answer = browser.post("/partners/globex/test", &[("endpoint", "nothing")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = browser.post("/partners/globex/test", &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let none = "/partners/globex/tests/0192f7a0-0000-7000-8000-000000000000";
    assert_eq!(browser.get(none).await.status, StatusCode::NOT_FOUND);
}
