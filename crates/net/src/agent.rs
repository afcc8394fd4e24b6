//! The connection to the SSH agent of this machine.

use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// Connects to the SSH agent that listens on a socket of this machine, as the administrator configured it.
///
/// It has no record of its own, because nothing leaves the machine over it: what is signed over it is said on the
/// connection to the server, and that is on record.
///
/// # Errors
/// No agent listens at the socket, or this process may not use it.
pub async fn connect_ssh_agent(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket).await
}
