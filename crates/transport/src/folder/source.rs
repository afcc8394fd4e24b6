//! Polling, written once over any [`Folder`](super::Folder).

/// Polls a folder.
pub struct FolderSource;
/// What polling needs to know.
pub struct FolderSourceOptions;
