//! The location of a folder.

use model::RemotePath;
use model::definition::Endpoint;
use percent_encoding::percent_decode_str;

/// The location of an endpoint's folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FolderPlace {
    /// The server and account, without secrets (`sftp://user@host:22`). Two endpoints with the same address and
    /// directory are the same location; notes of publications apply only to it.
    pub address: String,
    /// The directory, in the server's form; empty for the login directory.
    pub directory: RemotePath,
}

/// The address of folders on the gateway's own machine.
pub const LOCAL_ADDRESS: &str = "file://";

/// The address of a server whose paths begin at the login directory: the URL of an FTP or SFTP endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginAddress {
    /// The host; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The directory; empty for the login directory.
    pub directory: RemotePath,
}

impl LoginAddress {
    /// Reads an endpoint's URL. `form` says how it is written, `port` is used where it names none.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn read(endpoint: &Endpoint, form: &str, port: u16) -> Result<Self, String> {
        let url = endpoint.url().ok_or_else(|| format!("is missing: {form}"))?;
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("has no host: {form}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has '?' or '#'; in a directory's name write %3F and %23".into());
        }
        let directory = login_directory(url.path());
        if directory.escapes() {
            return Err("contains '..'; write the directory without it".into());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(port), directory })
    }
}

/// The directory of a URL's path: one slash ends the host, so that what follows is relative to the login directory; two
/// slashes make it absolute (RFC 1738, 3.2.2, writes %2F for the second).
fn login_directory(path: &str) -> RemotePath {
    let path = path.strip_prefix('/').unwrap_or(path);
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    let end = match bytes.iter().rposition(|b| *b != b'/') {
        Some(last) => last + 1,
        // Nothing but slashes: the root, or nothing at all.
        None => bytes.len().min(1),
    };
    RemotePath::from_bytes(&bytes[..end])
}
