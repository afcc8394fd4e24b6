//! What can be downloaded, and by whom.

use super::pages::both;
use super::{enter, start, world};
use crate::browser::{self, Answer, Browser};
use crate::postgres;
use crate::support::{Filler, Way, World};
use http::StatusCode;
use model::{EvidenceId, Role};
use store::UserChange;

fn is_download(answer: &Answer, name: &str) {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}.eml\""));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
}

both!(an_mdn_is_a_link_and_downloaded_whole, an_mdn_is_a_link_and_downloaded_whole_on);

async fn an_mdn_is_a_link_and_downloaded_whole_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let now = world.now();
    let good = filler.transfer("a.edi".into(), "orders", Way::Completed, now, None).await;
    let bad = filler.transfer("b.edi".into(), "orders", Way::Failed, now, None).await;
    let received = filler.received("c.edi".into(), now).await;
    let mut paths = Vec::new();
    for (transfer, word, text, bytes) in [
        (good, "accepted", "MDN", "MIME-Version: 1.0\n".repeat(60)),
        (bad, "not-accepted", "Rejected MDN (attempt 1)", "Content-Type: x\r\n\r\n<script>".into()),
        (received, "sent", "MDN", "AS2-From: ACME\r\nContent-Type: multipart/signed\r\n\r\n--x".into()),
    ] {
        let page = browser.get(&format!("/transfers/{transfer}")).await.text;
        browser::check_html("waybill", &page);
        let before = format!("<a href=\"/transfers/{transfer}/mdn/");
        assert_eq!(page.matches(&before).count(), 1, "{page}");
        let rest = browser::link(&page, &before).unwrap();
        assert!(page.contains(&format!("{rest}\" download>{text}</a>")), "{rest}");
        assert!(
            !page.contains("TUlNRS1WZXJzaW9u") && !page.contains("Base64"),
            "the page still has the bytes"
        );
        let path = format!("/transfers/{transfer}/mdn/{rest}");
        let answer = browser.get(&path).await;
        let of = rest.strip_prefix(word).unwrap().trim_start_matches('/');
        let of = if of.is_empty() { transfer.to_string() } else { of.to_owned() };
        is_download(&answer, &format!("mdn-{word}-{of}"));
        assert_eq!(answer.text, bytes);
        paths.push(path);
    }
    // What there is none of, what is another transfer's, and what is no address.
    let delivery = paths[0].rsplit('/').next().unwrap();
    for path in [
        format!("/transfers/{good}/mdn/not-accepted/{delivery}"),
        format!("/transfers/{bad}/mdn/accepted/{delivery}"),
        format!("/transfers/{good}/mdn/sent"),
        format!("/transfers/{good}/mdn/sent/{delivery}"),
        format!("/transfers/{good}/mdn/accepted"),
        format!("/transfers/{good}/mdn/accepted/x"),
        format!("/transfers/x/mdn/accepted/{delivery}"),
        format!("/transfers/{good}/mdn/..%2f/{delivery}"),
    ] {
        let answer = browser.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        browser::check_html(&path, &answer.text);
    }
    // Nobody who is not logged in gets one.
    for path in &paths {
        let answer = Browser::new(&world.console).get(path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.location().starts_with("/login"), "{path}");
    }
}

both!(evidence_is_a_link_for_those_who_may_save_it, evidence_is_a_link_for_those_who_may_save_it_on);

async fn evidence_is_a_link_for_those_who_may_save_it_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let evidence = EvidenceId::new(uuid::Uuid::now_v7());
    let transfer = filler.received_proved("a.edi".into(), world.now(), Some(evidence)).await;
    let path = format!("/transfers/{transfer}/evidence/{evidence}");
    for (role, may) in [(Role::Auditor, true), (Role::Viewer, false)] {
        let change = UserChange { role: Some(role), ..UserChange::default() };
        world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
        let page = browser.get(&format!("/transfers/{transfer}")).await.text;
        browser::check_html("waybill", &page);
        assert!(page.contains("of message &#60;1@globex&#62;"), "{page}");
        assert_eq!(page.contains(&format!("<a href=\"{path}\" download>Package</a>")), may, "{role} {page}");
        // This console has no staging, so nothing can be put together.
        let answer = browser.get(&path).await;
        let expected = if may { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
        assert_eq!(answer.status, expected, "{role}");
        browser::check_html(&path, &answer.text);
    }
}
