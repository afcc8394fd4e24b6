//! What the pages show of payloads that came in the answer to a delivery, and of receipts that the gateway sends.

use super::pages::both;
use super::{enter, start, world};
use crate::browser;
use crate::postgres;
use crate::support::{Filler, World};

both!(replies_and_receipts_were_found_at_no_source, replies_and_receipts_were_found_at_no_source_on);

async fn replies_and_receipts_were_found_at_no_source_on(world: World) {
    let mut browser = enter(&world).await;
    let filler = Filler::new(&world.store, world.now()).await;
    let [sent, reply, receipt] = filler.answered("quote.edi".into(), world.now()).await;
    let refusal = filler.refused(world.now()).await;
    for (transfer, from) in [
        (sent, "<title>Source: acme-sftp. /outgoing/rfq.edi. "),
        (reply, "<title>Parent transfer: rfq.edi. orders. "),
        (receipt, "<title>Parent transfer: quote.edi. quotes. "),
        (refusal, "<title>Source: Made by the gateway. listener:as2. "),
    ] {
        let page = browser.get(&format!("/transfers/{transfer}")).await.text;
        browser::check_html("waybill", &page);
        assert!(page.contains(from), "{from}: {page}");
        assert_eq!(page.contains("Found at"), transfer == sent, "{page}");
        assert!(!page.contains("Source file at"), "{page}");
    }
}
