//! Polls that come early because the source says that something arrived.

use crate::ingest::polled_flow::PolledFlow;
use model::Result;
use transport::Watch;

/// The watch of one flow's source.
#[derive(Default)]
pub(crate) struct Early {
    watch: Option<Box<dyn Watch>>,
}

impl Early {
    /// Begins to watch anew, since another file system may have been mounted over what was watched. A source that cannot
    /// be watched is polled at its interval alone.
    pub(crate) async fn watch(&mut self, polled: &PolledFlow) {
        self.watch = begin(polled).await.unwrap_or_else(|error| {
            tracing::debug!(flow = %polled.flow.name, error = %error.chain(), "the source is not watched");
            None
        });
    }

    /// Waits until something may have arrived; forever without a watch.
    pub(crate) async fn changed(&mut self) {
        match &mut self.watch {
            None => std::future::pending().await,
            Some(watch) => {
                if let Err(error) = watch.changed().await {
                    tracing::debug!(error = %error.chain(), "the watch of a source has ended");
                    self.watch = None;
                }
            }
        }
    }
}

async fn begin(polled: &PolledFlow) -> Result<Option<Box<dyn Watch>>> {
    let (endpoint, transport) = polled.context.endpoint(&polled.poll.endpoint)?;
    let source =
        transport.source(endpoint, std::sync::Arc::clone(&polled.flow), polled.context.services.clone())?;
    source.watch().await
}
