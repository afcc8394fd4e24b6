//! The record of connections, as the database holds it.

use crate::Gateway;
use std::sync::Arc;
use store::{ConnectionFilter, ConnectionView, Page, Store, StoreSettings};

impl Gateway {
    /// All connections on record, newest first; also beside a gateway that runs.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = self.database_url();
            let beside =
                StoreSettings { beside_gateway: true, readers: 1, writers: 1, ..StoreSettings::new(url) };
            // Who only reads makes no ids.
            let (store, _) = Store::open(&beside, Arc::new(Default::default)).await.unwrap();
            let page = Page { after: None, limit: 1000 };
            let found = store.connections(&ConnectionFilter::default(), page).await.unwrap();
            store.close().await;
            found.rows
        })
    }
}
