//! What flows add to the metadata of their transfers.

use crate::database::both;
use crate::scene::flow;
use model::definition::{Flow, OnFailure};
use model::{NameTemplate, TransferKind, TransferState};
use std::sync::Arc;
use testkit::fake::{Answer, Fault, MemoryFolder, ScriptedOffer};
use transport::folder::Overwrite;

fn metadata(set: &[(&str, &str)]) -> Vec<(String, NameTemplate)> {
    set.iter().map(|(key, text)| ((*key).to_owned(), NameTemplate::parse_text(text).unwrap())).collect()
}

both! {
    a_flow_names_files_by_their_metadata(scene) {
        let out = MemoryFolder::new();
        out.put("out/.keep", *b"");
        scene.place("out").use_folder(Arc::new(out.clone()), "out", Overwrite::Rename(9));
        scene.flow(Flow {
            metadata: metadata(&[("file_name", "{flow}-{stem}.{sequence:3}"), ("batch", "B/{received:%Y}")]),
            ..flow("orders", &["out"])
        });
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"EDI"));
        let _engine = scene.start().await;
        let first = scene.until_all(1, TransferState::Completed).await.remove(0);
        assert_eq!(out.files(), ["out/.keep", "out/orders-po.001"]);
        let recorded = scene.store.transfer(first.id).await.unwrap().unwrap().metadata;
        assert_eq!(recorded["file_name"], "orders-po.001");
        assert!(recorded["batch"].as_str().unwrap().starts_with("B/20"), "{recorded:?}");
    }

    names_of_one_destination_do_not_go_on_a_failure_route(scene) {
        scene.flow(crate::scene::receiving("operations", &["other"]));
        scene.flow(Flow {
            metadata: metadata(&[("file_name", "/abs/{name}"), ("is_file_path", "true"), ("batch", "b")]),
            on_failure: Some(OnFailure::Flow("operations".into())),
            ..flow("orders", &["out"])
        });
        scene.place("out").answer(Answer::Fails(Fault::REFUSED));
        scene.place("in").offer(ScriptedOffer::file("po.edi", *b"EDI"));
        let _engine = scene.start().await;
        scene.until("it arrives", || async { scene.place("other").received().len() == 1 }).await;
        let all = scene.transfers().await;
        let child = all.iter().find(|transfer| transfer.kind == TransferKind::Failure).unwrap();
        let metadata = scene.store.transfer(child.id).await.unwrap().unwrap().metadata;
        assert!(!metadata.contains_key("file_name") && !metadata.contains_key("is_file_path"), "{metadata:?}");
        assert_eq!(metadata["batch"], "b");
    }
}
