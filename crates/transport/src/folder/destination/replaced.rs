//! The replaced file, where a server replaces in several steps and was interrupted between them: it was renamed
//! ([`aside`](crate::folder::aside)), and is removed or renamed back when an attempt knows whether the new file is published.

use super::FolderDestination;
use super::publish::Publishing;

impl FolderDestination {
    /// Removes the replaced file, if it still exists: the new one is published, by this attempt or an earlier one.
    pub(super) async fn remove_replaced(&self, publishing: &Publishing) {
        self.settle_replaced(publishing, true).await;
    }

    /// Renames the replaced file back: the new one is given up, and surely not published.
    pub(super) async fn put_back_replaced(&self, publishing: &Publishing) {
        self.settle_replaced(publishing, false).await;
    }

    /// A failure changes nothing about the delivery; the log names the file.
    async fn settle_replaced(&self, publishing: &Publishing, is_published: bool) {
        let Publishing { temporary, name, .. } = publishing;
        if publishing.address != self.options.address || publishing.directory != self.options.directory {
            return;
        }
        if let Err(error) = self.folder.settle_replaced(temporary, name, is_published).await {
            tracing::warn!(endpoint = %self.options.endpoint, path = %name, error = %error.chain(), "a replaced file still has another name");
        }
    }
}
