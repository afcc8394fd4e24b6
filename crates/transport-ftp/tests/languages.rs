//! A server without MLSD whose listings have the months of another language, which tell no time: files are told by path and
//! size, and by their content before anything is moved or removed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use futures::StreamExt;
use model::{Offer, OfferId, OfferState, Outcome};
use std::sync::Arc;
use support::script::{Script, Scripted};
use support::{Build, World, list};
use testkit::fake::{BytesPayload, Known};
use tokio::io::AsyncReadExt;
use transport::folder::{After, FolderSource, FolderSourceOptions};
use transport::{Discovery, OfferNotes, Settled, Source};

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_months_are_of_another_language_are_told_by_size_and_content() {
    // German, French, Polish, Russian.
    for date in ["28. Dez. 15:09", "28 déc.  2024", "gru 28 15:09", "28 дек 15:09"] {
        let listing = format!("insgesamt 1\r\n-rw-r--r-- 1 ftp ftp 7 {date} a.edi\r\n").into_bytes();
        let answers: &[(&str, &str)] = &[("FEAT", "500 what?\r\n")];
        let script = Script { answers, listing, knows_directories: true, ..Script::default() };
        let server = Scripted::start(script).await;
        server.put(b"/in/a.edi", b"content");
        let world = World::new(model::definition::Definitions::default());
        let folder = world.folder(&Build::at(server.port).set("timeout", "5s").done());
        let entries = list(&folder, "in").await.unwrap();
        assert_eq!((entries.len(), entries[0].size, entries[0].modified), (1, Some(7), None), "{date}");

        let after = After::Archive { directory: "done".into(), timestamp: false };
        let flow = Arc::new(testkit::defined::flow("flow", testkit::defined::poll("acme", after)));
        let options = FolderSourceOptions { flow, endpoint: "acme".into(), directory: "in".into() };
        let source = FolderSource::new(folder, options, world.services.clone()).unwrap();
        let mut offers = source.discover(Discovery::first(Arc::new(Known::default()))).await.unwrap();
        let found = offers.next().await.unwrap().unwrap();
        assert!(offers.next().await.is_none(), "{date}");
        let mut opened = source.open(&found).await.unwrap();
        let mut content = Vec::new();
        opened.parts.next().await.unwrap().unwrap().reader.read_to_end(&mut content).await.unwrap();
        assert_eq!(content, b"content");
        let mut offer = Offer {
            id: OfferId::new(uuid::Uuid::from_u128(0x0192_7000)),
            identity: found.identity,
            state: OfferState::Settling,
            found_at: world.services.clock.now(),
            failures: 0,
            source_data: found.source_data,
        };
        let sha256 = BytesPayload::shared("a.edi", content).sha256();
        OfferNotes::change(&mut offer.source_data, |notes| notes.sha256 = sha256);

        // Replaced by a file of the same size: nothing of the listing tells that, and it is not archived in the other's stead.
        server.put(b"/in/a.edi", b"CONTENT");
        let settled = source.settle(&offer, Outcome::Taken).await.unwrap();
        assert!(matches!(settled, Settled::Changed), "{date}: {settled:?}");
        assert_eq!(server.names(), ["/in/a.edi"], "{date}");
        assert_eq!(server.content(b"/in/a.edi").unwrap(), b"CONTENT");
        server.put(b"/in/a.edi", b"content");
        source.settle(&offer, Outcome::Taken).await.unwrap();
        assert_eq!(server.names(), ["/done/a.edi"], "{date}");
    }
}
