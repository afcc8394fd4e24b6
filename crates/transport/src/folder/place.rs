//! The location of a folder.

use model::RemotePath;

/// The location of an endpoint's folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FolderPlace {
    /// The server and account, without secrets (`sftp://user@host:22`). Two endpoints with the same address and
    /// directory are the same location; notes of publications apply only to it.
    pub address: String,
    /// The directory, in the server's form; empty for the login directory.
    pub directory: RemotePath,
}
