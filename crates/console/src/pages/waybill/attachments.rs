//! The files that are sent with the payload.

use crate::web::format::{Moment, Size, path_text, safe_text};
use store::AttachmentView;

/// An attachment.
pub(crate) struct AttachmentSection {
    pub(crate) name: String,
    pub(crate) size: Size,
    pub(crate) sha256: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) removed: Option<Moment>,
}

impl AttachmentSection {
    pub(crate) fn new(attachment: &AttachmentView) -> Self {
        Self {
            name: path_text(&attachment.file_name),
            size: Size(attachment.length),
            sha256: attachment.sha256.map(|hash| hash.to_string()),
            media_type: attachment.media_type.as_deref().map(safe_text),
            removed: attachment.removed_at.map(Moment),
        }
    }
}
