//! Messages about certificates: taken once, decided once, sent a bounded number of times.

use super::fixture::{after, events, lease, node, now, transfer, transfer_state};
use crate::testing::both;
use crate::{
    Act, Answered, DecideProposal, ExchangeTaken, IntakeBegun, NewAnnouncement, NodeLease, Reply,
    SendAnnouncement, Store, TakeExchange,
};
use model::{
    Actor, AnnouncementState, AuditEvent, CertificateAnnouncement, CertificateAnswer, CertificateAnswers,
    CertificateExchange, CertificateProposal, CertificateUsage, ErrorKind, EventId, EventKind,
    ExchangeContent, ExchangePolicy, ProposalState, ProposedCertificate, Sha256, TransferState,
};
use serde_json::json;
use uuid::Uuid;

const CONTENT: Sha256 = Sha256([9; 32]);

fn reply(text: &str) -> Reply {
    Reply { head: json!({ "status": 200, "headers": [] }), body: text.as_bytes().to_vec() }
}

fn proposal(request_id: &str, fingerprint: &str) -> CertificateProposal {
    CertificateProposal {
        id: Uuid::now_v7(),
        transport: "as2".into(),
        partner: "globex".into(),
        identity: "acme".into(),
        request_id: request_id.into(),
        message_id: "<1@globex>".into(),
        signed_with: "globex".into(),
        received_at: now(),
        policy: ExchangePolicy::Ask,
        certificates: vec![ProposedCertificate {
            usages: vec![CertificateUsage::DigitalSignature],
            pem: "PEM".into(),
            fingerprint: fingerprint.into(),
            subject: "CN=Globex".into(),
            issuer: "CN=Globex".into(),
            serial: "7".into(),
            not_before: now(),
            not_after: after(now(), 60_000),
            respond_by: Some(after(now(), 30_000)),
            response_url: None,
        }],
        state: ProposalState::Waiting,
        decided_by: None,
        decided_at: None,
        reason: None,
        response: None,
    }
}

fn take(lease: &NodeLease, key: &str, exchange: CertificateExchange) -> TakeExchange {
    TakeExchange {
        lease: lease.clone(),
        key: key.into(),
        exchange,
        reply: reply(key),
        content: CONTENT,
        receipts: Vec::new(),
        events: Vec::new(),
        now: now(),
    }
}

async fn taken(store: &Store, lease: &NodeLease, key: &str, exchange: CertificateExchange) -> ExchangeTaken {
    assert_eq!(store.intake_begin(lease, key, now()).await.unwrap(), IntakeBegun::New);
    store.take_exchange(take(lease, key, exchange)).await.unwrap()
}

fn act(who: Actor) -> Act {
    Act::new(who, node("n1"), now())
}

fn decide(id: Uuid, from: &[ProposalState], to: ProposalState) -> DecideProposal {
    let act = Act { reason: Some("as asked".into()), ..act(Actor::User("ada".into())) };
    DecideProposal { id, from: from.to_vec(), to, act, response: None }
}

fn announcement(respond_by: i64) -> CertificateAnnouncement {
    CertificateAnnouncement {
        id: Uuid::now_v7(),
        key: "acme-new".into(),
        transport: "as2".into(),
        partner: "globex".into(),
        identity: "acme".into(),
        endpoint: "globex-as2".into(),
        request_id: Uuid::now_v7().to_string(),
        usages: vec![CertificateUsage::DigitalSignature],
        fingerprint: "cd".into(),
        serial: "77".into(),
        announced_by: "user:ada".into(),
        announced_at: now(),
        respond_by: after(now(), respond_by),
        state: AnnouncementState::Waiting,
        reason: None,
        answered_at: None,
        sent: 0,
        next_at: Some(after(now(), -1000)),
        transfer: None,
    }
}

async fn announced(store: &Store, respond_by: i64) -> CertificateAnnouncement {
    let announcement = announcement(respond_by);
    let content = ExchangeContent {
        media_type: "multipart/related; boundary=\"x\"".into(),
        bytes: b"--x".to_vec(),
        file_name: "request".into(),
        subject: "A request".into(),
    };
    let act = act(Actor::User("ada".into()));
    let new = NewAnnouncement { announcement: announcement.clone(), content, act };
    // Asked again, as after a commit whose answer was lost.
    store.announce_certificate(new.clone()).await.unwrap();
    store.announce_certificate(new).await.unwrap();
    announcement
}

fn answer(request_id: &str, serial: &str, accepted: Option<bool>) -> CertificateExchange {
    CertificateExchange::Answers(CertificateAnswers {
        partner: "globex".into(),
        request_id: request_id.into(),
        message_id: "<2@globex>".into(),
        answers: vec![CertificateAnswer {
            serials: vec!["1".into(), serial.into()],
            accepted,
            reason: Some("why".into()),
        }],
    })
}

both! {
    a_proposal_is_on_record_with_the_reply(store) {
        let lease = lease(&store, "n1").await;
        let proposal = proposal("r1", "ab");
        let exchange = CertificateExchange::Proposal(proposal.clone());
        assert_eq!(taken(&store, &lease, "k1", exchange.clone()).await, ExchangeTaken::Taken);
        // Repeated, as after a commit whose answer was lost.
        let again = store.take_exchange(take(&lease, "k1", exchange)).await.unwrap();
        assert_eq!(again, ExchangeTaken::Taken);
        let begun = store.intake_begin(&lease, "k1", now()).await.unwrap();
        assert_eq!(begun, IntakeBegun::Answered(Answered { reply: reply("k1"), content: Some(CONTENT), from_answer: false }));
        assert_eq!(store.certificate_proposals().await.unwrap(), std::slice::from_ref(&proposal));
        assert_eq!(store.open_certificate_proposals().await.unwrap(), std::slice::from_ref(&proposal));
        assert_eq!(store.certificate_proposal(proposal.id).await.unwrap(), Some(proposal));
        assert_eq!(events(&store, EventKind::CertificateProposed).await, 1);
    }

    a_request_that_comes_again_changes_nothing(store) {
        let lease = lease(&store, "n1").await;
        let first = proposal("r1", "ab");
        taken(&store, &lease, "k1", CertificateExchange::Proposal(first.clone())).await;
        let mut same = first.clone();
        same.id = Uuid::now_v7();
        taken(&store, &lease, "k2", CertificateExchange::Proposal(same)).await;
        // Other certificates under the same id: a replay with a change.
        taken(&store, &lease, "k3", CertificateExchange::Proposal(proposal("r1", "other"))).await;
        assert_eq!(store.certificate_proposals().await.unwrap(), [first]);
        assert_eq!(events(&store, EventKind::CertificateIgnored).await, 2);
        // Another partner's request may have the same id.
        let theirs = CertificateProposal { partner: "initech".into(), ..proposal("r1", "ef") };
        taken(&store, &lease, "k4", CertificateExchange::Proposal(theirs)).await;
        assert_eq!(store.certificate_proposals().await.unwrap().len(), 2);
    }

    a_partner_cannot_pile_up_proposals(store) {
        let lease = lease(&store, "n1").await;
        for number in 0..50 {
            let new = proposal(&format!("r{number}"), &format!("ab{number}"));
            let done = taken(&store, &lease, &format!("k{number}"), CertificateExchange::Proposal(new)).await;
            assert_eq!(done, ExchangeTaken::Taken);
        }
        let more = CertificateExchange::Proposal(proposal("r-more", "ab"));
        assert_eq!(taken(&store, &lease, "k-more", more).await, ExchangeTaken::TooMany);
        assert_eq!(store.certificate_proposals().await.unwrap().len(), 50);
        // Nor by ones that are answered at once, as by a policy: within a day they count.
        for found in store.certificate_proposals().await.unwrap() {
            let rejected = decide(found.id, &[ProposalState::Waiting], ProposalState::Rejected);
            assert!(store.decide_certificate_proposal(rejected).await.unwrap());
        }
        let more = CertificateExchange::Proposal(proposal("r-more", "ab"));
        let again = store.take_exchange(take(&lease, "k-more", more)).await.unwrap();
        assert_eq!(again, ExchangeTaken::TooMany);
    }

    what_was_answered_long_ago_counts_no_more_and_is_listed_last(store) {
        let lease = lease(&store, "n1").await;
        let at = after(now(), -2 * 86_400_000);
        for number in 0..50 {
            let old = CertificateProposal { received_at: at, ..proposal(&format!("r{number}"), "ab") };
            let id = old.id;
            taken(&store, &lease, &format!("k{number}"), CertificateExchange::Proposal(old)).await;
            let rejected = decide(id, &[ProposalState::Waiting], ProposalState::Rejected);
            assert!(store.decide_certificate_proposal(rejected).await.unwrap());
        }
        let waiting = CertificateProposal { received_at: after(at, -1000), ..proposal("r-old", "ab") };
        let exchange = CertificateExchange::Proposal(waiting.clone());
        assert_eq!(taken(&store, &lease, "k-old", exchange).await, ExchangeTaken::Taken);
        assert_eq!(store.certificate_proposals().await.unwrap()[0], waiting);
    }

    a_newer_request_for_the_same_certificates_takes_the_place_of_one_that_waits(store) {
        let lease = lease(&store, "n1").await;
        let day = 86_400_000;
        let older = |id: &str, fingerprint: &str| CertificateProposal {
            received_at: after(now(), -2 * day),
            ..proposal(id, fingerprint)
        };
        let (waits, decided, other) = (older("r1", "ab"), older("r2", "ab"), older("r3", "cd"));
        // Decided before the next one comes: what a person decided stays.
        taken(&store, &lease, "k2", CertificateExchange::Proposal(decided.clone())).await;
        let agreed = decide(decided.id, &[ProposalState::Waiting], ProposalState::Agreed);
        assert!(store.decide_certificate_proposal(agreed).await.unwrap());
        taken(&store, &lease, "k1", CertificateExchange::Proposal(waits.clone())).await;
        taken(&store, &lease, "k3", CertificateExchange::Proposal(other.clone())).await;
        // For another use, to another identity, or from another partner: no repetition.
        let mut encrypts = proposal("r4", "ab");
        encrypts.certificates[0].usages = vec![CertificateUsage::KeyEncipherment];
        let elsewhere = CertificateProposal { identity: "acme-2".into(), ..proposal("r5", "ab") };
        let theirs = CertificateProposal { partner: "initech".into(), ..proposal("r6", "ab") };
        for (key, new) in [("k4", encrypts), ("k5", elsewhere), ("k6", theirs)] {
            taken(&store, &lease, key, CertificateExchange::Proposal(new)).await;
            let found = store.certificate_proposal(waits.id).await.unwrap().unwrap();
            assert_eq!(found.state, ProposalState::Waiting, "{key}");
        }
        taken(&store, &lease, "k7", CertificateExchange::Proposal(proposal("r7", "ab"))).await;
        let found = store.certificate_proposal(waits.id).await.unwrap().unwrap();
        assert_eq!((found.state, found.decided_by), (ProposalState::Superseded, None));
        assert!(found.reason.is_some_and(|reason| reason.contains("again")));
        for (one, state) in [(&decided, ProposalState::Agreed), (&other, ProposalState::Waiting)] {
            assert_eq!(store.certificate_proposal(one.id).await.unwrap().unwrap().state, state);
        }
        assert_eq!(events(&store, EventKind::CertificateIgnored).await, 1);
        let late = decide(waits.id, &[ProposalState::Waiting], ProposalState::Agreed);
        assert!(!store.decide_certificate_proposal(late).await.unwrap());
    }

    the_same_certificates_can_always_be_proposed_again(store) {
        let lease = lease(&store, "n1").await;
        for number in 0..50 {
            let at = after(now(), -2 * 86_400_000);
            let new = proposal(&format!("r{number}"), &format!("ab{number}"));
            let old = CertificateProposal { received_at: at, ..new };
            taken(&store, &lease, &format!("k{number}"), CertificateExchange::Proposal(old)).await;
        }
        let new = CertificateExchange::Proposal(proposal("r-new", "cd"));
        assert_eq!(taken(&store, &lease, "k-new", new).await, ExchangeTaken::TooMany);
        let again = CertificateExchange::Proposal(proposal("r-again", "ab7"));
        assert_eq!(taken(&store, &lease, "k-again", again).await, ExchangeTaken::Taken);
        assert_eq!(store.open_certificate_proposals().await.unwrap().len(), 50);
    }

    what_is_decided_may_be_concluded_without_an_answer(store) {
        use ProposalState::{Accepted, Agreed, Expired, Waiting};
        let lease = lease(&store, "n1").await;
        let new = proposal("r1", "ab");
        let id = new.id;
        taken(&store, &lease, "k1", CertificateExchange::Proposal(new)).await;
        assert!(store.decide_certificate_proposal(decide(id, &[Waiting], Agreed)).await.unwrap());
        let concluded = DecideProposal { act: act(Actor::System), ..decide(id, &[Agreed], Accepted) };
        assert!(store.decide_certificate_proposal(concluded.clone()).await.unwrap());
        assert!(!store.decide_certificate_proposal(concluded).await.unwrap());
        let found = store.certificate_proposal(id).await.unwrap().unwrap();
        assert_eq!((found.state, found.response), (Accepted, None));
        assert_eq!((found.decided_by.as_deref(), found.reason.as_deref()), (Some("user:ada"), Some("as asked")));
        let second = proposal("r2", "cd");
        let id = second.id;
        taken(&store, &lease, "k2", CertificateExchange::Proposal(second)).await;
        assert!(store.decide_certificate_proposal(decide(id, &[Waiting], Expired)).await.unwrap());
        assert!(store.open_certificate_proposals().await.unwrap().is_empty());
        assert_eq!(events(&store, EventKind::CertificateAccepted).await, 2);
        assert_eq!(events(&store, EventKind::CertificateIgnored).await, 1);
    }

    a_node_that_lost_the_message_records_nothing(store) {
        let held = lease(&store, "n1").await;
        let other = lease(&store, "n2").await;
        assert_eq!(store.intake_begin(&held, "k1", now()).await.unwrap(), IntakeBegun::New);
        let exchange = CertificateExchange::Proposal(proposal("r1", "ab"));
        let lost = store.take_exchange(take(&other, "k1", exchange)).await.unwrap();
        assert_eq!(lost, ExchangeTaken::Lost);
        assert!(store.certificate_proposals().await.unwrap().is_empty());
    }

    a_proposal_is_decided_and_answered_once(store) {
        use ProposalState::{Accepted, Agreed, Rejected, Waiting};
        let lease = lease(&store, "n1").await;
        let new = proposal("r1", "ab");
        let id = new.id;
        taken(&store, &lease, "k1", CertificateExchange::Proposal(new)).await;
        assert!(store.decide_certificate_proposal(decide(id, &[Waiting], Agreed)).await.unwrap());
        assert!(!store.decide_certificate_proposal(decide(id, &[Waiting], Agreed)).await.unwrap());
        // Decided otherwise while the partner is not answered: the last word counts.
        let mut otherwise = decide(id, &[Waiting, Agreed], ProposalState::Refused);
        otherwise.act = Act { reason: Some("no".into()), ..act(Actor::User("bob".into())) };
        assert!(store.decide_certificate_proposal(otherwise).await.unwrap());
        let found = store.certificate_proposal(id).await.unwrap().unwrap();
        assert_eq!((found.decided_by.as_deref(), found.reason.as_deref()), (Some("user:bob"), Some("no")));
        assert!(store.decide_certificate_proposal(decide(id, &[ProposalState::Refused], Agreed)).await.unwrap());
        let response = transfer(None, &["globex-as2"]);
        let answered = |response: &crate::NewTransfer| DecideProposal {
            act: act(Actor::System),
            response: Some(response.clone()),
            ..decide(id, &[Agreed], Accepted)
        };
        assert!(store.decide_certificate_proposal(answered(&response)).await.unwrap());
        // Another node at the same moment: its answer is not sent.
        let second = transfer(None, &["globex-as2"]);
        assert!(!store.decide_certificate_proposal(answered(&second)).await.unwrap());
        assert!(store.transfer(second.transfer.id).await.unwrap().is_none());
        assert_eq!(transfer_state(&store, response.transfer.id).await, TransferState::Delivering);
        let found = store.certificate_proposal(id).await.unwrap().unwrap();
        assert_eq!((found.state, found.response), (Accepted, Some(response.transfer.id)));
        assert_eq!((found.decided_by.as_deref(), found.reason.as_deref()), (Some("user:ada"), Some("as asked")));
        assert!(store.open_certificate_proposals().await.unwrap().is_empty());
        assert!(!store.decide_certificate_proposal(decide(id, &[Waiting, Agreed], Rejected)).await.unwrap());
        assert_eq!(events(&store, EventKind::CertificateAccepted).await, 3);
        let missing = store.decide_certificate_proposal(decide(Uuid::now_v7(), &[Waiting], Agreed)).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    an_announcement_is_sent_until_it_is_answered(store) {
        let lease = lease(&store, "n1").await;
        let new = announced(&store, 60_000).await;
        assert_eq!(events(&store, EventKind::CertificateAnnounced).await, 1);
        let due = store.due_announcements(now()).await.unwrap();
        assert_eq!((due.len(), &due[0].announcement, due[0].content.bytes.as_slice()), (1, &new, &b"--x"[..]));
        let send = |sent| SendAnnouncement {
            id: new.id,
            sent,
            next_at: Some(after(now(), 30_000)),
            transfer: transfer(None, &["globex-as2"]),
            act: act(Actor::System),
        };
        assert!(store.send_announcement(send(0)).await.unwrap());
        assert!(!store.send_announcement(send(0)).await.unwrap(), "another node sends it once more");
        assert!(store.due_announcements(now()).await.unwrap().is_empty());
        // What answers another request, or names another certificate, is no answer; nor is a word of waiting.
        for (key, said) in [
            ("k1", answer("other", "77", Some(true))),
            ("k2", answer(&new.request_id, "78", Some(true))),
            ("k3", answer(&new.request_id, "77", None)),
        ] {
            assert_eq!(taken(&store, &lease, key, said).await, ExchangeTaken::Taken);
            let found = store.certificate_announcements().await.unwrap().remove(0);
            assert_eq!((found.state, found.sent), (AnnouncementState::Waiting, 1), "{key}");
        }
        taken(&store, &lease, "k4", answer(&new.request_id, "77", Some(false))).await;
        // A second answer that says the contrary does not count.
        taken(&store, &lease, "k5", answer(&new.request_id, "77", Some(true))).await;
        let found = store.certificate_announcements().await.unwrap().remove(0);
        assert_eq!((found.state, found.reason.as_deref()), (AnnouncementState::Rejected, Some("why")));
        assert_eq!(found.next_at, None);
        assert!(!store.send_announcement(send(1)).await.unwrap());
        assert_eq!(events(&store, EventKind::CertificateAnswered).await, 2);
        assert_eq!(events(&store, EventKind::CertificateIgnored).await, 3);
    }

    an_announcement_ends_with_its_time_and_a_late_answer_counts(store) {
        let lease = lease(&store, "n1").await;
        let new = announced(&store, -1).await;
        let told = || {
            let (id, at) = (EventId::new(Uuid::now_v7()), now());
            AuditEvent::new(id, at, node("n1"), EventKind::CertificateUnanswered)
        };
        assert!(store.expire_announcement(new.id, now(), told()).await.unwrap());
        assert!(!store.expire_announcement(new.id, now(), told()).await.unwrap());
        assert_eq!(events(&store, EventKind::CertificateUnanswered).await, 1);
        assert!(store.due_announcements(now()).await.unwrap().is_empty());
        taken(&store, &lease, "k1", answer(&new.request_id, "77", Some(true))).await;
        let found = store.certificate_announcements().await.unwrap().remove(0);
        assert_eq!(found.state, AnnouncementState::Accepted);
        let early = announced(&store, 60_000).await;
        assert!(!store.expire_announcement(early.id, now(), told()).await.unwrap());
    }
}
