//! What may be said to the file transport, and reading it.

use model::RemotePath;
use model::definition::Endpoint;
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, TransportSpec};
use std::os::unix::ffi::OsStringExt;
use transport::folder::options as folder;

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = ".a";

/// `transport = "file"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "file", port: None, paths: Paths::Host, connects_per_poll: false }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&WAKE_UP],
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING, &folder::PERMISSIONS, &folder::OWNER],
    ..TransportSpec::new("file", "A directory of this machine, or a file system that is mounted on it.")
};

static WAKE_UP: Group = Group::of(&[Field::preset(
    "wake_up",
    Kind::Choice(&["inotify", "none"]),
    "inotify",
    "With `inotify` a poll comes early when a file was closed after writing, or renamed, in the polled directory; \
    subdirectories are not watched. File systems of other machines (NFS, SMB) tell nothing; there, and with `none`, \
    files are found at the flow's interval. A flow with `cron` polls at its times alone.",
)]);

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);
static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);
static SUFFIX: Group =
    Group::of(&[folder::TEMPORARY_PREFIX, folder::temporary_suffix(TEMPORARY), folder::TEMPORARY_DIRECTORY]);

/// Whether polls of an endpoint's directory may come early.
pub(crate) fn wakes_up(endpoint: &Endpoint) -> bool {
    endpoint.options.text("wake_up") != Some("none")
}

/// The directory that an endpoint names.
///
/// # Errors
/// What is wrong with the URL: it is no `file:///abs/dir`, or leads upwards.
pub(crate) fn directory(endpoint: &Endpoint) -> Result<RemotePath, &'static str> {
    let url = endpoint.url().ok_or("is missing; write the directory as file:///abs/dir")?;
    if url.scheme() != "file" {
        return Err("must begin with file:///");
    }
    let path = url.to_file_path().map_err(|()| "names a host; write the directory as file:///abs/dir")?;
    let path = RemotePath::from_bytes(path.into_os_string().into_vec());
    if path.escapes() || path.parts().next().is_none() {
        return Err("must be a directory below one of the allowed roots, without '..'");
    }
    Ok(path)
}
