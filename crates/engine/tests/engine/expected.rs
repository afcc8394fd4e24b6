//! Files that are expected by a time of the day.

use crate::database::both;
use crate::scene::{flow, polling};
use chrono::{Days, NaiveTime};
use model::schedule::Expectation;
use std::time::Duration;
use testkit::fake::ScriptedOffer;
use transport::Clock;

const HOUR: Duration = Duration::from_secs(3600);

both! {
    missing_files_are_told_once_a_day_over_all_nodes_and_when_they_came(scene) {
        let now = scene.clock.now();
        let tomorrow = now.date_naive().checked_add_days(Days::new(1)).unwrap();
        let noon = tomorrow.and_time(NaiveTime::from_hms_opt(12, 0, 0).unwrap()).and_utc();
        scene.clock.advance((noon - now).to_std().unwrap());
        let expecting = |at_least| {
            polling(flow("orders", &["out"]), |poll| poll.expect = Expectation::parse("13:00", at_least).ok())
        };
        scene.flow(expecting(1));
        let other = scene.prepare("n2", scene.another_or_same().await).await;
        let _engine = scene.start().await;
        scene.run(&other).await;
        scene.until("yesterday's file is missing", || async { scene.events("flow.files_missing").await.len() == 1 }).await;
        let event = scene.events("flow.files_missing").await.remove(0);
        let yesterday = noon.date_naive().checked_sub_days(Days::new(1)).unwrap().to_string();
        assert_eq!((&event.detail["day"], &event.detail["found"]), (&yesterday.as_str().into(), &0.into()));
        assert_eq!(event.detail["expected"], "at least 1 file by 13:00");
        let [missing] = &scene.store.missing_files().await.unwrap()[..] else { panic!() };
        assert_eq!((missing.flow.as_str(), &missing.day, missing.at_least, missing.found), ("orders", &yesterday, 1, 0));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"x"));
        scene.until("it came after all", || async { scene.events("flow.files_arrived").await.len() == 1 }).await;
        assert_eq!(scene.store.missing_files().await.unwrap(), []);
        // Of today, it came in time.
        scene.pass(2 * HOUR, 40).await;
        scene.until("today is judged", || async {
            scene.store.last_judged("orders").await.unwrap().unwrap().day == noon.date_naive().to_string()
        }).await;
        assert_eq!(scene.events("flow.files_missing").await.len(), 1);
        scene.pass(24 * HOUR, 96).await;
        scene.until("tomorrow's is missing", || async { scene.events("flow.files_missing").await.len() == 2 }).await;
        scene.pass(HOUR, 60).await;
        assert_eq!(scene.events("flow.files_missing").await.len(), 2, "told once");
        assert_eq!(scene.store.missing_files().await.unwrap().len(), 1);
        // A flow that expects nothing any more misses nothing.
        scene.flow(flow("orders", &["out"]));
        scene.until("it is forgotten", || async { scene.store.missing_files().await.unwrap().is_empty() }).await;
    }
}
