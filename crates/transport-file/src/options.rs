//! What may be said to the file transport.

use model::RemotePath;
use model::definition::{Destination, Endpoint};
use model::schema::{Group, Kind, Paths, Roles, Scheme, TransportSpec};
use transport::folder::{WriteOptions, options as folder};

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = ".a";

/// `transport = "file"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "file", port: None, paths: Paths::Host, connects_per_poll: false }],
    roles: Roles { source: true, destination: true, listener: false },
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING],
    ..TransportSpec::new("file", "A directory of this machine, or one that is mounted on it.")
};

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);
static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);
static SUFFIX: Group = Group::of(&[folder::temporary_suffix(TEMPORARY)]);

/// How deliveries to an endpoint are written.
pub(crate) fn write_options(
    endpoint: &Endpoint,
    destination: &Destination,
    directory: RemotePath,
) -> WriteOptions {
    let address = endpoint.url().map(ToString::to_string).unwrap_or_default();
    WriteOptions::of(endpoint, destination, address, directory)
}
