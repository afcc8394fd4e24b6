//! Limits of endpoints, and worker pools.

use crate::database::both;
use crate::scene::{Scene, flow, receiving};
use model::TransferState;
use model::definition::{Endpoint, Flow, Throttle, WorkerPool};
use model::schedule::{Schedule, Window};
use std::sync::Arc;
use std::time::Duration;
use testkit::fake::{Answer, Fault, MemoryFolder, ScriptedOffer};
use transport::Wanted;
use transport::folder::Overwrite;

fn offers(scene: &Scene, count: usize) {
    for n in 0..count {
        scene.place("in").offer(ScriptedOffer::file(format!("{n:02}").as_str(), b"EDI".to_vec()));
    }
}

fn throttle(scene: &Scene, endpoint: &str, throttle: Throttle) {
    scene.define(|all| {
        let before = Endpoint::clone(&all.endpoints[endpoint]);
        all.endpoints.insert(endpoint.to_owned(), Arc::new(Endpoint { throttle, ..before }));
    });
}

fn pool(scene: &Scene, name: &str, size: usize) {
    let pool = WorkerPool { name: name.to_owned(), size };
    scene.define(|all| drop(all.worker_pools.insert(name.to_owned(), Arc::new(pool))));
}

fn begun(scene: &Scene, endpoint: &str) -> usize {
    scene.place(endpoint).deliveries().len()
}

async fn until_begun(scene: &Scene, endpoint: &str, count: usize) {
    scene.until(&format!("{count} begun at {endpoint}"), || async { begun(scene, endpoint) == count }).await;
}

both! {
    no_more_deliveries_run_to_an_endpoint_than_it_may_have_and_others_go_on(scene) {
        throttle(&scene, "out", Throttle { deliveries: Some(2), ..Throttle::default() });
        scene.flow(flow("orders", &["out", "other"]));
        scene.place("out").otherwise(Answer::Hangs);
        offers(&scene, 12);
        let _engine = scene.start().await;
        scene.until("the others go on", || async { scene.place("other").received().len() == 12 }).await;
        assert_eq!(begun(&scene, "out"), 2);
        // A revision takes effect while they run.
        throttle(&scene, "out", Throttle { deliveries: Some(5), ..Throttle::default() });
        until_begun(&scene, "out", 5).await;
        scene.pass(Duration::from_secs(5), 20).await;
        assert_eq!(begun(&scene, "out"), 5);
    }

    a_pool_bounds_those_that_name_it_and_keeps_room_for_them(scene) {
        pool(&scene, "slow", 1);
        pool(&scene, "urgent", 2);
        scene.define(|all| {
            let out = Endpoint { pool: Some("slow".into()), ..Endpoint::clone(&all.endpoints["out"]) };
            all.endpoints.insert("out".into(), Arc::new(out));
            all.endpoints.insert("more".into(), crate::scene::endpoint("more"));
        });
        for place in ["out", "other", "more"] {
            scene.place(place).otherwise(Answer::Hangs);
        }
        // The endpoint's pool counts, not the flow's.
        scene.flow(Flow { pool: Some("urgent".into()), ..flow("orders", &["out", "more"]) });
        // `other` and `in` fill the default pool: eight, four to each endpoint.
        scene.flow(flow("usual", &["other"]));
        offers(&scene, 9);
        let _engine = scene.start().await;
        until_begun(&scene, "other", 4).await;
        until_begun(&scene, "out", 1).await;
        until_begun(&scene, "more", 2).await;
        scene.pass(Duration::from_secs(5), 20).await;
        assert_eq!((begun(&scene, "out"), begun(&scene, "more"), begun(&scene, "other")), (1, 2, 4));
        // Removed while they run: its deliveries belong to the default pool.
        scene.define(|all| drop(all.worker_pools.remove("urgent")));
        scene.until("more run", || async { begun(&scene, "more") > 2 }).await;
    }

    the_default_pool_has_the_size_that_is_defined(scene) {
        pool(&scene, "default", 1);
        scene.place("out").otherwise(Answer::Hangs);
        scene.place("other").otherwise(Answer::Hangs);
        scene.flow(flow("orders", &["out", "other"]));
        offers(&scene, 5);
        let _engine = scene.start().await;
        let all_begun = || begun(&scene, "out") + begun(&scene, "other");
        scene.until("one is begun", || async { all_begun() == 1 }).await;
        scene.pass(Duration::from_secs(5), 20).await;
        assert_eq!(all_begun(), 1);
        pool(&scene, "default", 3);
        scene.until("three are", || async { all_begun() == 3 }).await;
    }

    a_full_queue_stops_its_flows_until_there_is_room(scene) {
        throttle(&scene, "out", Throttle { queue: Some(3), ..Throttle::default() });
        let mut orders = flow("orders", &["out"]);
        // The clock of the test runs on: no delivery is to fail for good meanwhile.
        orders.destinations[0].retry.attempts = 10_000;
        scene.flow(orders);
        scene.flow(receiving("inbound", &["other", "out"]));
        scene.place("out").break_down(Some(Fault::CUT));
        offers(&scene, 3);
        let engine = scene.start().await;
        scene.until("the queue is full", || async { scene.events("endpoint.queue_full").await.len() == 1 }).await;
        offers(&scene, 6);
        let listening = crate::receiving::begin_new(&engine, "A/B/<0>").await;
        let wanted = || listening.wanted("fake", Some("globex"), &"po.edi".into(), &serde_json::Map::new());
        let Wanted::Paused(words) = wanted() else { panic!("{:?}", wanted()) };
        assert!(words.contains("3 or more deliveries wait for endpoint out"), "{words}");
        let refused = crate::receiving::receive(&engine, "A/B/<1>", "po.edi").await.unwrap_err();
        assert_eq!(refused.kind(), model::ErrorKind::Throttled);
        scene.pass(Duration::from_secs(60), 30).await;
        assert_eq!(scene.transfers().await.len(), 3);
        scene.place("out").break_down(None);
        let all = || async { scene.place("out").received().len() == 9 };
        scene.until_by(Duration::from_secs(20), "the others are taken and delivered", all).await;
        assert_eq!(scene.events("endpoint.queue_free").await.len(), 1);
        scene.until("it is wanted", || async { wanted() == Wanted::Yes }).await;
        scene.until_all(9, TransferState::Completed).await;
    }

    deliveries_begin_within_the_hours_of_their_destination(scene) {
        const HOUR: Duration = Duration::from_secs(3600);
        let clock = |hours: u32| {
            let at = transport::Clock::now(scene.clock.as_ref()) + HOUR * hours;
            at.format("%H:%M").to_string()
        };
        let window = Window::parse(&clock(2), &clock(4), std::iter::empty()).unwrap();
        let mut orders = flow("orders", &["out", "other"]);
        orders.destinations[0].hours = Schedule { between: vec![window], ..Schedule::default() };
        scene.flow(orders);
        offers(&scene, 2);
        let _engine = scene.start().await;
        scene.until("those without hours are delivered", || async { begun(&scene, "other") == 2 }).await;
        scene.pass(HOUR, 10).await;
        assert_eq!(begun(&scene, "out"), 0);
        scene.pass(HOUR + Duration::from_secs(60), 10).await;
        scene.until("the others are", || async { begun(&scene, "out") == 2 }).await;
        scene.until_all(2, TransferState::Completed).await;
    }

    deliveries_that_wait_for_hours_say_until_when_and_go_at_once_when_the_hours_are_changed(scene) {
        const HOUR: Duration = Duration::from_secs(3600);
        let now = || transport::Clock::now(scene.clock.as_ref());
        let clock = |hours: u32| (now() + HOUR * hours).format("%H:%M").to_string();
        let window = |from, to| Window::parse(&clock(from), &clock(to), std::iter::empty()).unwrap();
        let mut orders = flow("orders", &["out"]);
        orders.destinations[0].hours = Schedule { between: vec![window(5, 6)], ..Schedule::default() };
        scene.flow(orders.clone());
        offers(&scene, 1);
        let _engine = scene.start().await;
        let opens = || async {
            let transfers = scene.transfers().await;
            let waybill = scene.waybill(transfers.first()?.id).await;
            assert_eq!(waybill.deliveries[0].opens_at.unwrap_or(waybill.deliveries[0].due_at), waybill.deliveries[0].due_at);
            waybill.deliveries[0].opens_at
        };
        scene.until("it is put off", || async { opens().await.is_some() }).await;
        let first = opens().await.unwrap();
        assert!((first - now()).num_hours() >= 3, "{first}");
        // Other hours put it off anew.
        orders.destinations[0].hours = Schedule { between: vec![window(2, 3)], ..Schedule::default() };
        scene.flow(orders.clone());
        scene.until("it is put off to the new hours", || async {
            opens().await.is_some_and(|opens| opens < first - HOUR)
        }).await;
        assert_eq!(begun(&scene, "out"), 0);
        // None let it go.
        orders.destinations[0].hours = Schedule::default();
        scene.flow(orders);
        scene.until("it is delivered", || async { begun(&scene, "out") == 1 }).await;
        scene.until_all(1, TransferState::Completed).await;
        assert!((first - now()).num_hours() >= 2, "{first}");
    }

    bandwidth_holds_for_reading_back(scene) {
        throttle(&scene, "out", Throttle { bandwidth: Some(100_000), ..Throttle::default() });
        scene.flow(flow("orders", &["out"]));
        // The file is there already: its bytes are read and compared.
        let there = MemoryFolder::new();
        let content = vec![7_u8; 500_000];
        there.put("out/big", content.clone());
        scene.place("out").use_folder(Arc::new(there), "out", Overwrite::SkipSame);
        scene.place("in").offer(ScriptedOffer::file("big", content));
        let begun = transport::Clock::monotonic(scene.clock.as_ref());
        let _engine = scene.start().await;
        let took = || transport::Clock::monotonic(scene.clock.as_ref()) - begun;
        let step = Duration::from_millis(50);
        scene.until_by(step, "it is compared", || async {
            scene.transfers().await.iter().any(|transfer| transfer.state == TransferState::Completed)
        }).await;
        assert!(took() >= Duration::from_millis(4_800), "{:?}", took());
    }

    bandwidth_holds_for_reading_and_writing(scene) {
        let slow = Throttle { bandwidth: Some(100_000), ..Throttle::default() };
        throttle(&scene, "in", slow.clone());
        throttle(&scene, "out", slow);
        scene.flow(flow("orders", &["out"]));
        scene.place("in").offer(ScriptedOffer::file("big", vec![7_u8; 500_000]));
        let begun = transport::Clock::monotonic(scene.clock.as_ref());
        let _engine = scene.start().await;
        let took = || transport::Clock::monotonic(scene.clock.as_ref()) - begun;
        let step = Duration::from_millis(50);
        scene.until_by(step, "it is staged", || async { scene.transfers().await.len() == 1 }).await;
        assert!(took() >= Duration::from_millis(4_800), "{:?}", took());
        scene.until_by(step, "it is delivered", || async { scene.place("out").received().len() == 1 }).await;
        assert!(took() >= Duration::from_millis(9_600), "{:?}", took());
        let received = scene.place("out").received();
        assert_eq!(received[0].2.len(), 500_000);
    }
}
