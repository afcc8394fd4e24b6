//! Certificates that partners propose: shown with what is to be compared, and decided by those who may change definitions.

use super::inside;
use crate::browser::check_html;
use crate::support::World;
use http::StatusCode;
use model::{
    CertificateExchange, CertificateProposal, CertificateUsage, ExchangePolicy, ProposalState,
    ProposedCertificate, Role, Sha256,
};
use std::time::Duration;
use store::{Acquired, ExchangeTaken, Reply, TakeExchange, UserChange};
use uuid::Uuid;

const PATH: &str = "/certificates";

/// A proposal of partner globex, as a listener takes it.
async fn proposed(world: &World) -> Uuid {
    let node = "acme-9".parse().unwrap();
    let term = Duration::from_secs(86_400);
    let held = world.store.acquire_node(&node, term, world.now(), Uuid::nil()).await.unwrap();
    let Acquired::Held(lease) = held else { panic!("{held:?}") };
    let proposal = CertificateProposal {
        id: Uuid::now_v7(),
        transport: "as2".into(),
        partner: "globex".into(),
        identity: "acme".into(),
        request_id: "r1".into(),
        message_id: "<1@globex>".into(),
        signed_with: "globex-2026".into(),
        received_at: world.now(),
        policy: ExchangePolicy::Ask,
        certificates: vec![ProposedCertificate {
            usages: vec![CertificateUsage::DigitalSignature, CertificateUsage::KeyEncipherment],
            pem: String::new(),
            fingerprint: "ab12cd34".into(),
            subject: "CN=Globex <2027>".into(),
            issuer: "CN=Globex".into(),
            serial: "7".into(),
            not_before: world.now(),
            not_after: world.now() + term,
            respond_by: Some(world.now() + term),
            response_url: None,
        }],
        state: ProposalState::Waiting,
        decided_by: None,
        decided_at: None,
        reason: None,
        response: None,
    };
    let id = proposal.id;
    world.store.intake_begin(&lease, "k1", world.now()).await.unwrap();
    let take = TakeExchange {
        lease,
        key: "k1".into(),
        exchange: CertificateExchange::Proposal(proposal),
        reply: Reply { head: serde_json::json!({ "status": 200, "headers": [] }), body: Vec::new() },
        content: Sha256([0; 32]),
        receipts: Vec::new(),
        events: Vec::new(),
        now: world.now(),
    };
    assert_eq!(world.store.take_exchange(take).await.unwrap(), ExchangeTaken::Taken);
    id
}

fn shows(page: &str, words: &[&str]) {
    check_html(PATH, page);
    for word in words {
        assert!(page.contains(word), "{word}\n{page}");
    }
}

async fn give(world: &World, role: Role) {
    let change = UserChange { role: Some(role), ..UserChange::default() };
    world.store.change_user("ada", change, world.now(), vec![]).await.unwrap();
}

#[tokio::test]
async fn a_proposal_is_shown_and_decided_by_those_who_may() {
    let (world, mut browser) = inside().await;
    assert!(!browser.get(PATH).await.text.contains("Proposed by partners"));
    let id = proposed(&world).await;
    let (accept, reject) = (format!("{PATH}/proposals/{id}/accept"), format!("{PATH}/proposals/{id}/reject"));
    shows(
        &browser.get(PATH).await.text,
        &[
            "Proposed by partners",
            "Waits for a decision",
            "CN=Globex &#60;2027&#62;",
            "ab12cd34",
            "digitalSignature, keyEncipherment",
            "signed with globex-2026",
            "Answer wanted by",
            &accept,
        ],
    );
    // Those who only look see no forms, and nothing is done for them.
    give(&world, Role::Auditor).await;
    let page = browser.get(PATH).await.text;
    assert!(page.contains("ab12cd34") && !page.contains(&accept), "{page}");
    assert_eq!(browser.post(&reject, &[("reason", "no")]).await.status, StatusCode::FORBIDDEN);
    give(&world, Role::Admin).await;

    // Nothing is accepted by one click.
    let refused = browser.post(&accept, &[("compared", "")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    shows(&refused.text, &["Compare the fingerprints", "Waits for a decision"]);

    let rejected = browser.post(&reject, &[("reason", "not <ours>")]).await;
    assert_eq!((rejected.status, rejected.location()), (StatusCode::SEE_OTHER, PATH));
    shows(&browser.get(PATH).await.text, &["Rejected, is answered", "Decided by ada", "not &#60;ours&#62;"]);
    // It was decided: another decision is refused.
    let again = browser.post(&accept, &[("compared", "yes")]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    shows(&again.text, &["it was decided before"]);
}
