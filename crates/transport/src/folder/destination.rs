//! Safe writing, written once over any [`Folder`](super::Folder).

/// Writes to a folder.
pub struct FolderDestination;
/// What happens to a file that has the name already.
pub struct Overwrite;
/// What writing needs to know.
pub struct WriteOptions;
