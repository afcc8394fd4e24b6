//! Where a folder is.

use model::RemotePath;

/// Where an endpoint's folder is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderPlace {
    /// The server and the account there, without secrets (`sftp://user@host:22`): two endpoints with the same address and
    /// directory are one place, and what was noted of a publication counts only there.
    pub address: String,
    /// The directory, as the folder takes it; empty for where a login starts.
    pub directory: RemotePath,
}
