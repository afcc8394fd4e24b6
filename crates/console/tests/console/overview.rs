//! The overview: current problems, and how large the page is.

use super::pages::both;
use super::{enter, start, world};
use crate::browser;
use crate::postgres;
use crate::support::{Filler, Way, World};
use http::StatusCode;
use model::{AuditEvent, ConnectionId, EventId, EventKind};
use std::time::Duration;
use uuid::Uuid;

both!(problems_are_reached_whole, problems_are_reached_whole_on);

async fn problems_are_reached_whole_on(world: World) {
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
    assert!(all.contains("Searched the last 24 hours") && browser::transfer_ids(&all).len() == 8);
}

both!(every_problem_has_its_row, every_problem_has_its_row_on);

async fn every_problem_has_its_row_on(world: World) {
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
    ];
    world.store.append_events(events).await.unwrap();
    let offline = store::WentOffline {
        endpoints: vec!["initech-as2".into()],
        node: "n1".parse().unwrap(),
        at: world.now(),
        until: world.now() + Duration::from_secs(3600),
        failures: 5,
        revision: 1,
        error: Some("the login was refused".into()),
    };
    let event = event(EventKind::EndpointOffline).endpoint("initech-as2");
    world.store.endpoints_went_offline(offline, event).await.unwrap();
    world.pass(Duration::from_secs(120));
    let overview = browser.get("/").await.text;
    for shown in [
        "Listener partners is down",
        "Endpoint initech-as2 is offline",
        "It could not be used on node n1, 5 times in a row: the login was refused",
        "Endpoint initech-as2 was set offline",
        "Set offline by anna since 2026-11-20 14:10:00 UTC: the partner &#60;moves&#62;",
        "waybill endpoint online initech-as2",
        "2 messages from unknown senders were refused, the last one from 198.51.100.7:41000",
        "there is no partner with the AS2 name EVIL",
        "A message from partner globex was refused",
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
    let places: Vec<usize> = ["Listener partners", "Endpoint initech", "messages from unknown", "850.edi to"]
        .iter()
        .map(|text| overview.find(text).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let link = browser::link(&overview, "class=\"name\" href=\"/audit?kind=message").unwrap();
    let events = browser.get(&format!("/audit?kind=message{link}")).await;
    assert_eq!(events.status, StatusCode::OK);
    assert_eq!(events.text.matches("<details class=\"event\">").count(), 3);
}

both!(which_revision_each_node_has_in_force, which_revision_each_node_has_in_force_on);

async fn which_revision_each_node_has_in_force_on(world: World) {
    let mut browser = enter(&world).await;
    assert!(browser.get("/").await.text.contains("No revision yet"));
    let mut revision = 0;
    let mut leases = Vec::new();
    for name in ["n1", "n2"] {
        let node = name.parse().unwrap();
        let term = Duration::from_secs(86_400 * 365 * 20);
        leases.push(world.store.acquire_node(&node, term, world.now(), Uuid::now_v7()).await.unwrap());
    }
    let report = async |node: &str, revision: i64, problem: Option<&str>| {
        let (node, problem) = (node.parse().unwrap(), problem.map(str::to_owned));
        world.store.report_revision(&node, revision, problem, world.now(), vec![]).await.unwrap();
    };
    let mut make = async || {
        revision += 1;
        let flow = serde_json::json!({"source": {"endpoint": "in"}, "title": revision.to_string()});
        world.define(vec![("flow", "orders".into(), flow)]).await;
        world.pass(Duration::from_secs(10));
        revision
    };
    make().await;
    report("n1", 1, None).await;
    report("n2", 1, None).await;
    let page = browser.get("/").await.text;
    assert!(page.contains("Revision 1 on all 2 nodes") && !page.contains("of the definitions"), "{page}");
    // Nodes follow within seconds: for that long one that has not is no problem, but seen.
    make().await;
    report("n1", 2, None).await;
    let page = browser.get("/").await.text;
    assert!(page.contains("Revision 2 on 1 of 2 nodes") && page.contains("Not the newest yet"), "{page}");
    assert!(!page.contains("Node n2 has not put"), "{page}");
    world.pass(Duration::from_secs(60));
    let page = browser.get("/").await.text;
    assert!(page.contains("Node n2 has not put revision 2 of the definitions in force"), "{page}");
    // It says why, and since when it has had which.
    report("n2", 1, Some("the variable PLACE is not set")).await;
    world.pass(Duration::from_secs(10));
    let page = browser.get("/").await.text;
    assert!(page.contains("Node n2 cannot use revision 2 of the definitions"), "{page}");
    assert!(page.contains("the variable PLACE is not set") && page.contains("Refused the newest"), "{page}");
    let nodes = world.store.node_revisions(world.now()).await.unwrap();
    assert!(nodes[1].lives && nodes[1].since < nodes[0].since && nodes[1].at > nodes[0].at, "{nodes:?}");
    report("n2", 2, None).await;
    world.pass(Duration::from_secs(10));
    let page = browser.get("/").await.text;
    assert!(page.contains("Revision 2 on all 2 nodes") && !page.contains("Node n2"), "{page}");
}

both!(two_hundred_flows_weigh_little, two_hundred_flows_weigh_little_on);

/// 200 flows with a transfer each, some failed, and two hundred definitions beside them.
async fn two_hundred_flows_weigh_little_on(world: World) {
    let mut browser = enter(&world).await;
    let empty = browser.get("/flows").await.text;
    assert!(empty.contains("No flows yet"), "{empty}");
    let filler = Filler::new(&world.store, world.now()).await;
    let name = |number: u32| format!("{number:03}-{}", "orders-from-a-partner-with-a-long-name-".repeat(4));
    for number in 0..200 {
        let way = if number % 9 == 0 { Way::Failed } else { Way::Completed };
        let at = world.now() - Duration::from_secs(u64::from(number) * 400);
        let file = format!("{}-{number}.edi", "A-NAME-THAT-A-PARTNER-THOUGHT-USEFUL-".repeat(6));
        filler.transfer(file.as_str().into(), &name(number), way, at, None).await;
    }
    let flows = (100..400).map(|number| {
        let flow = serde_json::json!({
            "source": {"endpoint": "acme-sftp"}, "destination": [{"endpoint": "globex-as2"}],
        });
        ("flow", name(number), flow)
    });
    world.define(flows.collect()).await;
    world.pass(Duration::from_secs(120));
    let overview = browser.get("/").await.text;
    let weight = overview.len();
    assert!(weight < 100 * 1024, "the overview has {weight} bytes");
    assert!(browser.get("/transfers").await.text.len() < 200 * 1024);
    assert!(
        overview.contains("All 200 flows") && overview.contains("flows with failures and the busiest flows")
    );
    assert_eq!(overview.matches("class=\"wide spark\"><svg").count(), 15);
    assert_eq!(overview.matches("class=\"bad-text\"").count(), 8);
    // The list has all of them, page by page, those that are defined and those that are not any more.
    let mut url = "/flows".to_owned();
    let mut seen = 0;
    loop {
        let page = browser.get(&url).await.text;
        assert!(page.len() < 150 * 1024, "{url} has {} bytes", page.len());
        seen += page.matches("<tr data-key=").count();
        match browser::link(&page, "rel=\"next\" href=\"") {
            Some(next) => url = next,
            None => break,
        }
    }
    assert_eq!(seen, 400);
    let back = browser::link(&browser.get(&url).await.text, "rel=\"prev\" href=\"").unwrap();
    assert!(browser.get(&back).await.text.contains("acme-sftp \u{2192} globex-as2"));
    for (query, count) in
        [("show=failed", 23), ("show=idle&name=399-", 1), ("name=ORDERS&show=busy", 50), ("name=none", 0)]
    {
        let page = browser.get(&format!("/flows?{query}")).await.text;
        assert_eq!(page.matches("<tr data-key=").count(), count, "{query}");
    }
    assert!(browser.get("/flows?name=none").await.text.contains("No flows match these filters"));
}

both!(a_flows_page_says_what_a_name_does_that_is_used_again, check_names_used_again);
async fn check_names_used_again(world: World) {
    let mut browser = enter(&world).await;
    let flow = |to: serde_json::Value| serde_json::json!({"source": {"endpoint": "in"}, "destination": [to]});
    let definitions = [
        ("endpoint", "globex", serde_json::json!({"transport": "sftp"})),
        ("endpoint", "numbered", serde_json::json!({"transport": "sftp"})),
        ("flow", "orders", flow(serde_json::json!({"endpoint": "globex"}))),
        ("flow", "invoices", flow(serde_json::json!({"endpoint": "numbered", "overwrite": "rename"}))),
    ];
    world
        .define(definitions.map(|(section, name, document)| (section, name.to_owned(), document)).into())
        .await;
    let flows = browser.get("/flows").await.text;
    assert_eq!(flows.matches("does not overwrite files at globex").count(), 1, "{flows}");
    assert!(!flows.contains("does not overwrite files at numbered"), "{flows}");
    let page = browser.get("/transfers?flow=orders").await.text;
    assert!(page.contains("Files at globex are not overwritten"), "{page}");
    assert!(page.contains("set overwrite on"), "{page}");
    let page = browser.get("/transfers?flow=invoices").await.text;
    assert!(!page.contains("are not overwritten"), "{page}");
}
