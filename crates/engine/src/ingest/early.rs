//! Polls that come early because the source says that something arrived.

use transport::{Source, Watch};

/// The watch of one flow's source.
#[derive(Default)]
pub(crate) struct Early {
    watch: Option<Box<dyn Watch>>,
}

impl Early {
    /// Begins to watch anew, since another file system may have been mounted over what was watched. A source that cannot
    /// be watched is polled at its interval alone.
    pub(crate) async fn watch(&mut self, flow: &str, source: &dyn Source) {
        self.watch = source.watch().await.unwrap_or_else(|error| {
            tracing::debug!(flow, error = %error.chain(), "the source is not watched");
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
