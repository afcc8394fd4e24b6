//! The overview: what is in trouble, and what it weighs.

use super::pages::both;
use super::{enter, start, world};
use crate::browser;
use crate::postgres;
use crate::support::{Filler, Way, World};
use http::StatusCode;
use model::{AuditEvent, ConnectionId, EventId, EventKind};
use std::time::Duration;
use uuid::Uuid;

both!(what_is_in_trouble_is_reached_whole, what_is_in_trouble_is_reached_whole_on);

async fn what_is_in_trouble_is_reached_whole_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let at = world.now() - Duration::from_secs(600);
    let ways = [Way::Retrying, Way::Failed, Way::PartlyFailed, Way::Completed];
    for (number, way) in ways.into_iter().cycle().take(16).enumerate() {
        let flow = if number < 8 { "orders" } else { "invoices" };
        filler.transfer(format!("{number}.edi").as_str().into(), flow, way, at, None).await;
    }
    let overview = browser.get("/").await.text;
    assert!(overview.contains("2 more deliveries</a>"), "{overview}");
    let link = browser::link(&overview, "<p class=\"left-out\"><a href=\"").unwrap();
    assert_eq!(browser::transfer_ids(&browser.get(&link).await.text).len(), 12, "{link}");
    // The red number of a flow leads to as many transfers as it says.
    let link = browser::link(&overview, "class=\"bad-text\" href=\"").unwrap();
    let page = browser.get(&link).await.text;
    assert_eq!(browser::transfer_ids(&page).len(), 4, "{link}");
    assert!(page.contains("value=\"any_failed\" selected") && page.contains("invoices"), "{link}");
    let all = browser.get("/transfers?state=any_failed").await.text;
    assert!(all.contains("Looked through the last 30 days") && browser::transfer_ids(&all).len() == 8);
}

both!(every_trouble_has_its_row, every_trouble_has_its_row_on);

async fn every_trouble_has_its_row_on(world: World) {
    let mut browser = enter(&world).await;
    let nothing = browser.get("/").await.text;
    // What the node says of itself is there before anything is in the database.
    assert!(nothing.contains("Listener partners is down") && nothing.contains("address in use"), "{nothing}");
    let filler = Filler::new(&world.store, world.now()).await;
    let at = world.now() - Duration::from_secs(600);
    let page = "could not deliver: rejected, peer said \"<html>\r\n<title>502 Bad Gateway</title></html>\" (delivery 1)";
    let failed = filler.transfer("850.edi".into(), "orders", Way::Failed, at, None).await;
    let event = |kind| {
        AuditEvent::new(EventId::new(Uuid::now_v7()), at, "acme-1".parse().unwrap(), kind)
            .connection(ConnectionId::new(Uuid::now_v7()))
    };
    let refused = |why: &str| {
        let mut event = event(EventKind::MessageRefused).peer_detail("reason", why);
        event.peer = Some("198.51.100.7:41000".into());
        event
    };
    let events = vec![
        refused("there is no partner with the AS2 name EVIL"),
        refused("there is no partner with the AS2 name EVIL"),
        refused(page).partner("globex"),
        event(EventKind::EndpointOffline).endpoint("initech-as2"),
    ];
    world.store.append_events(events).await.unwrap();
    world.pass(Duration::from_secs(120));
    let overview = browser.get("/").await.text;
    for shown in [
        "Listener partners is down",
        "Endpoint initech-as2 is offline",
        "It failed 5 times in a row.",
        "2 messages were refused from an unknown sender, the last from 198.51.100.7:41000",
        "there is no partner with the AS2 name EVIL",
        "A message was refused from partner globex",
        "502 Bad Gateway",
        "850.edi to globex-as2: failed",
        "connection refused",
        &format!("waybill transfer retry {failed}"),
        &format!("href=\"/transfers/{failed}\""),
    ] {
        assert!(overview.contains(shown), "{shown}\n{overview}");
    }
    assert!(!overview.contains("title&#62;") && !overview.contains("\\u{d}"), "{overview}");
    // In the order of what they are about, the deliveries last.
    let places: Vec<usize> = ["Listener partners", "Endpoint initech", "messages were refused", "850.edi to"]
        .iter()
        .map(|text| overview.find(text).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let link = browser::link(&overview, "class=\"name\" href=\"/audit?kind=message").unwrap();
    let events = browser.get(&format!("/audit?kind=message{link}")).await;
    assert_eq!(events.status, StatusCode::OK);
    assert_eq!(events.text.matches("<details class=\"event\">").count(), 3);
}
