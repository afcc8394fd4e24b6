//! Ordered flows: each destination gets its files in the order in which they were offered.

use crate::database::both;
use crate::scene::{Scene, flow};
use model::TransferState;
use std::time::Duration;
use testkit::fake::{Answer, Fault, Opening, ScriptedOffer};

fn ordered(continues: bool) -> model::definition::Flow {
    model::definition::Flow { ordered: true, continue_after_failure: continues, ..flow("orders", &["out"]) }
}

fn offers(scene: &Scene, names: &[&str]) {
    for name in names {
        scene.place("in").offer(ScriptedOffer::file(*name, name.as_bytes().to_vec()));
    }
}

fn received(scene: &Scene) -> Vec<String> {
    scene.place("out").received().iter().map(|(_, name, _)| name.to_text()).collect()
}

both! {
    order_is_kept_across_retries(scene) {
        scene.flow(ordered(false));
        offers(&scene, &["a", "b", "c", "d", "e"]);
        scene.place("out").answer(Answer::Delivered);
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        scene.place("out").answer(Answer::Fails(Fault::CUT));
        let _engine = scene.start().await;
        scene.until_all(5, TransferState::Completed).await;
        assert_eq!(received(&scene), ["a", "b", "c", "d", "e"]);
        assert_eq!(scene.place("out").deliveries().len(), 7);
    }

    one_that_is_read_late_keeps_its_place_before_those_read_sooner(scene) {
        scene.flow(ordered(false));
        offers(&scene, &["a", "b", "c"]);
        // The first takes long to read: 20 MB, the others a byte.
        scene.place("in").offer(ScriptedOffer::file("0", vec![1_u8; 20 << 20]));
        scene.place("in").remove_offer(&"a".into());
        offers(&scene, &["a"]);
        let _engine = scene.start().await;
        scene.until_all(4, TransferState::Completed).await;
        assert_eq!(received(&scene), ["b", "c", "0", "a"]);
    }

    a_failure_blocks_the_lane_until_a_person_skips_it(scene) {
        scene.flow(ordered(false));
        offers(&scene, &["a", "b"]);
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        let _engine = scene.start().await;
        scene.until("the first failed", || async { !scene.events("delivery.failed").await.is_empty() }).await;
        scene.pass(Duration::from_secs(60), 30).await;
        assert!(received(&scene).is_empty());
        let first = scene.transfers().await.into_iter().find(|transfer| transfer.state == TransferState::Failed).unwrap();
        let delivery = scene.waybill(first.id).await.deliveries[0].id;
        scene.store.cancel_delivery(delivery, &scene.act()).await.unwrap();
        scene.until("the next goes on", || async { received(&scene) == ["b"] }).await;
    }

    with_leave_to_go_on_a_failure_lets_the_next_pass(scene) {
        scene.flow(ordered(true));
        offers(&scene, &["a", "b"]);
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        let _engine = scene.start().await;
        scene.until("the next passed", || async { received(&scene) == ["b"] }).await;
        let failed = scene.transfers().await.into_iter().filter(|transfer| transfer.state == TransferState::Failed);
        assert_eq!(failed.count(), 1);
    }

    one_that_cannot_be_read_does_not_stop_the_lane(scene) {
        scene.flow(ordered(false));
        scene.place("in").offer(ScriptedOffer::file("a", *b"a").opening([Opening::Fails(Fault::CUT), Opening::Whole]));
        offers(&scene, &["b"]);
        let _engine = scene.start().await;
        scene.until_all(2, TransferState::Completed).await;
        assert_eq!(received(&scene), ["b", "a"]);
    }
}
