//! What may be said to a shelf, and reading it.

use model::definition::Endpoint;
use model::schema::{Field, Findings, Group, Kind, Paths, Roles, Scheme, TransportSpec};
use model::{RemotePath, Secret};
use net::{ConnectOptions, PoolLimits, Sharing};
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
    /// Reads an endpoint, and reports each mistake at its field. No I/O.
    pub(crate) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<Self> {
        let options = &endpoint.options;
        let url = endpoint.url();
        let host = findings.accept("url", url.and_then(|url| url.host_str()).ok_or("has no host"));
        let username = options.text("username").filter(|name| !name.is_empty());
        let username = findings.accept("username", username.ok_or("is empty: name the user to log in as"));
        let password = options.secret("password").filter(|password| !password.reveal().is_empty());
        let password = findings.accept("password", password.ok_or("is empty: shelves let nobody in without"));
        let connecting = ConnectOptions::read(options, findings);
        Some(Self {
            host: host?.to_owned(),
            directory: url?.path().trim_matches('/').into(),
            username: username?.to_owned(),
            password: password?.clone(),
            limits: PoolLimits::read(options, Sharing::Exclusive, connecting.timeout),
        })
    }

    /// Where the folder is.
    pub(crate) fn place(self) -> FolderPlace {
        FolderPlace { address: format!("shelf://{}@{}", self.username, self.host), directory: self.directory }
    }
}
