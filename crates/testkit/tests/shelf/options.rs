//! What may be said to a shelf, and reading it.

use model::definition::Endpoint;
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, TransportSpec};
use model::{Error, ErrorKind, RemotePath, Result, Secret};
use net::{PoolLimits, Sharing};
use transport::folder::{FolderPlace, options as folder};

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = ".a";

/// `transport = "shelf"`, declared.
pub(crate) static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "shelf", port: Some(7), paths: Paths::Login, connects_per_poll: true }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&LOGIN, &net::CONNECTION, &net::POOL],
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING],
    ..TransportSpec::new("shelf", "A shelf of the example.")
};

static LOGIN: Group = Group::of(&[
    Field::required("username", Kind::Text, "The user name.").login(),
    Field::required("password", Kind::Secret, "The user's password.").login(),
]);

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);
static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);
static SUFFIX: Group = Group::of(&[folder::temporary_suffix(TEMPORARY)]);

/// An endpoint, read and checked.
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) directory: RemotePath,
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
    pub(crate) limits: PoolLimits,
}

impl Settings {
    /// Reads an endpoint. No I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the field.
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self> {
        let missing = |field: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a shelf endpoint")
                .with("endpoint", &endpoint.name)
                .with("option", field)
                .advice("it is missing")
        };
        let options = &endpoint.options;
        let url = endpoint.url().ok_or_else(|| missing("url"))?;
        Ok(Self {
            host: url.host_str().ok_or_else(|| missing("url"))?.to_owned(),
            directory: url.path().trim_matches('/').into(),
            username: options.text("username").ok_or_else(|| missing("username"))?.to_owned(),
            password: options.secret("password").ok_or_else(|| missing("password"))?.clone(),
            limits: PoolLimits::read(options, Sharing::Exclusive, options.duration("timeout")),
        })
    }

    /// Where the folder is.
    pub(crate) fn place(self) -> FolderPlace {
        FolderPlace { address: format!("shelf://{}@{}", self.username, self.host), directory: self.directory }
    }
}
