//! Endpoints with several addresses.

use crate::database::both;
use crate::scene::{Scene, flow, gaps};
use model::definition::{Balance, Endpoint, EndpointUrl, Flow};
use model::{DeliveryState, ErrorKind, Retry, TransferState};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, ScriptedOffer};

/// `out` at the addresses `a`, `b` and `c`, and an ordered flow that delivers there.
fn three(scene: &Scene, balance: Balance) {
    scene.define(|all| {
        let urls = ["a", "b", "c"]
            .map(|name| EndpointUrl { url: format!("fake:{name}").parse().unwrap(), weight: 1 });
        let out = Endpoint { urls: urls.into(), balance, ..Endpoint::clone(&all.endpoints["out"]) };
        all.endpoints.insert("out".into(), Arc::new(out));
    });
    scene.flow(Flow { ordered: true, ..flow("orders", &["out"]) });
}

fn offer(scene: &Scene, name: &str) {
    scene.place("in").offer(ScriptedOffer::file(name, name.as_bytes().to_vec()));
}

fn received(scene: &Scene) -> [usize; 3] {
    ["a", "b", "c"].map(|place| scene.place(place).received().len())
}

fn tried(scene: &Scene) -> [usize; 3] {
    ["a", "b", "c"].map(|place| scene.place(place).deliveries().len())
}

both! {
    each_address_has_its_turn_and_the_receipt_names_it(scene) {
        three(&scene, Balance::RoundRobin);
        ["1", "2", "3", "4"].iter().for_each(|name| offer(&scene, name));
        let _engine = scene.start().await;
        let all = scene.until_all(4, TransferState::Completed).await;
        assert_eq!(received(&scene), [2, 1, 1]);
        let mut urls = Vec::new();
        for transfer in &all {
            let receipt = scene.waybill(transfer.id).await.deliveries[0].receipt.clone().unwrap();
            urls.push(receipt.detail["url"].as_str().unwrap().to_owned());
        }
        urls.sort();
        assert_eq!(urls, ["fake:a", "fake:a", "fake:b", "fake:c"]);
        let told = scene.events("delivery.delivered").await;
        assert_eq!(told.iter().filter(|event| event.detail["url"] == "fake:a").count(), 2);
    }

    one_that_fails_is_left_for_the_next_at_once_and_comes_back(scene) {
        three(&scene, Balance::Failover);
        scene.place("a").break_down(Some(Fault::CUT));
        (0..9).for_each(|n| offer(&scene, &n.to_string()));
        let _engine = scene.start().await;
        scene.until_all(9, TransferState::Completed).await;
        // It is not asked any more once it is offline, and no delivery has waited.
        assert_eq!(received(&scene), [0, 9, 0]);
        assert!(tried(&scene)[0] >= 5, "{:?}", tried(&scene));
        assert!(scene.events("delivery.retrying").await.is_empty());
        let offline = scene.events("endpoint.address_offline").await;
        assert_eq!((&offline[0].detail["address"], offline[0].endpoint.as_deref()), (&"fake:a".into(), Some("out")));
        assert!(scene.events("endpoint.offline").await.is_empty());
        scene.place("a").break_down(None);
        let mut n = 100;
        scene.until("it comes back", || {
            n += 1;
            offer(&scene, &n.to_string());
            async { received(&scene)[0] > 0 }
        })
        .await;
        scene.until("it is told", || async { !scene.events("endpoint.address_online").await.is_empty() }).await;
    }

    every_address_is_tried_once_before_the_wait(scene) {
        three(&scene, Balance::Failover);
        for place in ["a", "b", "c"] {
            scene.place(place).answer(Answer::Fails(Fault::CUT));
        }
        offer(&scene, "1");
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!((received(&scene), tried(&scene)), ([1, 0, 0], [2, 1, 1]));
        let moments: Vec<_> = scene.place("a").deliveries().iter().map(|seen| seen.at).collect();
        assert!(gaps(&moments)[0] >= 5, "{moments:?}");
        let retrying = scene.events("delivery.retrying").await;
        let error = retrying[0].detail["error"].as_str().unwrap();
        assert!(retrying.len() == 1 && error.contains("address fake:c") && error.contains("also tried fake:a"), "{error}");
    }

    what_may_have_arrived_at_one_address_goes_to_no_other_before_it_is_found_out(scene) {
        three(&scene, Balance::RoundRobin);
        scene.place("a").answer(Answer::DeliveredAnswerLost);
        scene.place("a").answer(Answer::Fails(Fault::LOST));
        offer(&scene, "1");
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!((tried(&scene), received(&scene)), ([3, 0, 0], [2, 0, 0]));
        // The turn of the others comes with the next file.
        offer(&scene, "2");
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(tried(&scene).iter().sum::<usize>(), 4);
    }

    an_attempt_that_its_node_did_not_end_goes_on_at_the_same_address(scene) {
        three(&scene, Balance::RoundRobin);
        scene.place("b").otherwise(Answer::Delivered);
        scene.place("a").answer(Answer::Hangs);
        offer(&scene, "1");
        let engine = scene.start().await;
        scene.until("it is tried", || async { tried(&scene) == [1, 0, 0] }).await;
        engine.stop(Duration::from_millis(50)).await;
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!((tried(&scene), received(&scene)), ([2, 0, 0], [1, 0, 0]));
        assert!(scene.place("a").deliveries()[1].interrupted);
    }

    an_address_that_is_gone_is_no_reason_to_wait(scene) {
        three(&scene, Balance::Failover);
        scene.place("a").answer(Answer::DeliveredAnswerLost);
        offer(&scene, "1");
        let _engine = scene.start().await;
        scene.until("it is in doubt", || async { tried(&scene)[0] == 1 }).await;
        scene.define(|all| {
            let mut out = Endpoint::clone(&all.endpoints["out"]);
            out.urls.remove(0);
            all.endpoints.insert("out".into(), Arc::new(out));
        });
        scene.until_all(1, TransferState::Completed).await;
        assert_eq!(received(&scene)[1], 1);
    }

    what_a_server_says_of_a_file_is_no_reason_to_ask_another(scene) {
        three(&scene, Balance::Failover);
        // Without a lane: the file that is refused stops no other.
        scene.flow(flow("orders", &["out"]));
        scene.place("a").answer(Answer::Fails(Fault::REFUSED));
        offer(&scene, "1");
        let _engine = scene.start().await;
        scene.until_all(1, TransferState::Failed).await;
        assert_eq!(tried(&scene), [1, 0, 0]);
        // A refused login is: at once, and the address is left alone for a while.
        let refused = Fault { kind: ErrorKind::Unauthenticated, retry: Retry::Permanent };
        scene.place("a").answer(Answer::Fails(refused));
        offer(&scene, "2");
        scene.until("it is delivered", || async { received(&scene) == [0, 1, 0] }).await;
        assert_eq!(scene.events("endpoint.address_offline").await.len(), 1);
        let all = scene.transfers().await;
        scene.until("it is recorded", || async {
            scene.waybill(all[1].id).await.deliveries[0].state == DeliveryState::Delivered
        })
        .await;
    }
}
