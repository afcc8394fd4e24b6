//! Waking the engine when something can be claimed. Only a hint: polling guarantees progress.

use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const CHANNEL: &str = "waybill_claimable";

/// Counts the commits after which something can be claimed.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Arc<watch::Sender<u64>>);

impl Wake {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn fire(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Notifies the other nodes at the commit: one notification for a whole group.
pub(crate) async fn notify(tx: &mut Tx<'_>) -> Result<(), Fault> {
    on!(tx,
        sqlite _c => Ok(()),
        postgres c => {
            sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(c).await?;
            Ok(())
        },
    )
}

/// Receives other nodes' notifications as long as the store is open.
pub(crate) async fn listen(options: PgConnectOptions, wake: Wake) {
    let mut pause = Duration::from_millis(100);
    loop {
        if let Err(error) = hear(&options, &wake).await {
            tracing::debug!(error = %error, "notifications from other nodes are not available; Waybill polls the database instead");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn hear(options: &PgConnectOptions, wake: &Wake) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // Notifications may have been missed: query.
        wake.fire();
        listener.recv().await?;
    }
}
