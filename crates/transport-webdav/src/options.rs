//! The options of WebDAV endpoints: declared and read here.

use model::definition::{Credential, Endpoint};
use model::schema::{Field, Findings, Group, Kind, Paths, Roles, Rule, Scheme, Section, TransportSpec};
use model::{Error, ErrorKind, RemotePath, Result, Secret};
use net::http::{LoginMethod, ResolvedLogin};
use net::{ConnectOptions, PoolLimits, Sharing};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use transport::folder::{FolderPlace, options as folder};

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = ".a";

/// `transport = "webdav"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[scheme("davs", 443), scheme("dav", 80)],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&LOGIN, &SERVER, &net::CONNECTION, &net::TLS, &net::POOL],
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING],
    ..TransportSpec::new(
        "webdav",
        "A directory of a WebDAV server, over HTTPS (davs://host/directory) or HTTP (dav://host/directory).",
    )
};

const fn scheme(name: &'static str, port: u16) -> Scheme {
    Scheme { name, port: Some(port), paths: Paths::Server, connects_per_poll: false }
}

static LOGIN: Group = Group::of(&[
    Field::optional(
        "authentication",
        Kind::Choice(&["basic", "digest", "bearer", "certificate"]),
        "How to log in: `basic` and `digest` with user name and password, `bearer` with a token, `certificate` with \
        `tls.client_key` alone. Left out: `basic` with a user name or credential, else `bearer` with a token, else no \
        login. A client certificate is always shown to a server that asks for it.",
    )
    .login(),
    Field::optional("username", Kind::Text, "The user to log in as.").login(),
    Field::optional("password", Kind::Secret, "The user's password.").login(),
    Field::optional(
        "credential",
        Kind::Name(Section::CREDENTIAL),
        "The name of a [credential.NAME], which several endpoints can share: used instead of `username` and \
        `password`. With `bearer` its password is the token.",
    )
    .login(),
    Field::optional("token", Kind::Secret, "The token for `bearer`. Waybill does not renew it.").login(),
])
.with(&[
    Rule::AtMostOne(&["username", "credential"]),
    Rule::AtMostOne(&["password", "credential", "token"]),
    Rule::Needs("password", "username"),
]);

static SERVER: Group = Group::of(&[
    Field::preset(
        "server",
        Kind::Choice(&["standard", "sharepoint", "owncloud", "nextcloud"]),
        "standard",
        "The habits of the server. `sharepoint`: paths are compared without regard to case, and file names are kept as \
        the server writes them; empty files are refused before they are sent, because SharePoint does not keep \
        them. `owncloud`, `nextcloud`: with `verify = \"checksum\"` on a flow's destination the server is given a \
        file's checksum with it (`OC-Checksum`), and asked for the one that it computed, so that the file need not be \
        read back.",
    ),
    Field::preset(
        "lock",
        Kind::Bool,
        "false",
        "Whether each file is locked (LOCK) while it is written. The server must offer locks (class 2); a lock that is \
        not given back ends after an hour.",
    ),
]);

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);

static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);

static SUFFIX: Group =
    Group::of(&[folder::TEMPORARY_PREFIX, folder::temporary_suffix(TEMPORARY), folder::TEMPORARY_DIRECTORY]);

/// A WebDAV endpoint, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    /// Whether it is HTTPS.
    pub(crate) is_secure: bool,
    /// As in URLs: an IPv6 address has brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Absolute.
    pub(crate) directory: RemotePath,
    pub(crate) is_sharepoint: bool,
    pub(crate) cloud: Option<Cloud>,
    pub(crate) locks: bool,
    pub(crate) connecting: ConnectOptions,
    pub(crate) limits: PoolLimits,
    pub(crate) login: Login,
}

/// Servers that take checksums with files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cloud {
    /// It compares the checksum with what it received, and lists what it computed.
    OwnCloud,
    /// It stores the checksum as it is given, and tells on request what it computed of what it received.
    Nextcloud,
}

/// How and as whom to log in; names are looked up when it is done.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) method: LoginMethod,
    username: Option<String>,
    credential: Option<String>,
    /// The password, or the token.
    secret: Option<Secret<String>>,
}

/// How a URL is written, for the error about one that is written otherwise.
const URL_FORM: &str = "write it as davs://host:port/directory, or dav://… for HTTP without TLS";

struct Address {
    is_secure: bool,
    host: String,
    port: u16,
    directory: RemotePath,
}

/// # Errors
/// What is wrong with an endpoint's address.
fn address(endpoint: &Endpoint) -> Result<Address, String> {
    let url = endpoint.url().ok_or_else(|| format!("is missing: {URL_FORM}"))?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| format!("has no host: {URL_FORM}"))?.to_owned();
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has '?' or '#'; in a directory's name write %3F and %23".into());
    }
    let scheme = SPEC.scheme(url.scheme()).ok_or_else(|| format!("has another scheme: {URL_FORM}"))?;
    let mut directory = b"/".to_vec();
    // Only %XX stands for another byte: a plus is a plus.
    directory.extend(percent_decode_str(url.path().trim_matches('/')));
    let directory = RemotePath::from_bytes(directory);
    if directory.escapes() || directory.as_bytes().contains(&0) {
        return Err("contains '..' or %00; write the directory without it".into());
    }
    let port = url.port().or(scheme.port).unwrap_or(443);
    Ok(Address { is_secure: scheme.name == "davs", host, port, directory })
}

impl Settings {
    /// Reads an endpoint, and reports each mistake at its field. No I/O.
    pub(crate) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<Self> {
        let options = &endpoint.options;
        let address = findings.accept("url", address(endpoint));
        let connecting = ConnectOptions::read(options, findings);
        let login = Login::read(endpoint, &connecting, findings);
        let limits = PoolLimits::read(options, Sharing::Exclusive, connecting.timeout);
        let Address { is_secure, host, port, directory } = address?;
        if !is_secure && connecting.client_key.is_some() {
            findings.error("tls.client_key", "is shown over HTTPS only: write the url with davs:");
        }
        Some(Self {
            endpoint: endpoint.name.clone(),
            is_secure,
            host,
            port,
            directory,
            is_sharepoint: options.text("server") == Some("sharepoint"),
            cloud: match options.text("server") {
                Some("owncloud") => Some(Cloud::OwnCloud),
                Some("nextcloud") => Some(Cloud::Nextcloud),
                _ => None,
            },
            locks: options.bool("lock"),
            connecting,
            limits,
            login: login?,
        })
    }

    /// The settings of an endpoint that is used now.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the field.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        Findings::required(Section::ENDPOINT, &endpoint.name, |findings| Self::read(endpoint, findings))
    }

    /// Where the folder is.
    pub(crate) fn place(&self) -> FolderPlace {
        let user = self.login.username.as_deref().or(self.login.credential.as_deref()).unwrap_or_default();
        let scheme = if self.is_secure { "davs" } else { "dav" };
        FolderPlace {
            address: format!("{scheme}://{user}@{}", self.target()),
            directory: self.directory.clone(),
        }
    }

    /// The host and port, for people and for the `Host` header.
    pub(crate) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether a password or token could be read on the way. `digest` sends none.
    pub(crate) fn sends_secrets_in_clear(&self) -> bool {
        !self.is_secure && matches!(self.login.method, LoginMethod::Basic | LoginMethod::Bearer)
    }
}

impl Login {
    fn read(endpoint: &Endpoint, connecting: &ConnectOptions, findings: &mut Findings<'_>) -> Option<Self> {
        let options = &endpoint.options;
        let text = |name: &str| options.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let secret = |name: &str| options.secret(name).filter(|secret| !secret.reveal().is_empty()).cloned();
        let (username, credential) = (text("username"), text("credential"));
        let (password, token) = (secret("password"), secret("token"));
        let has_user = username.is_some() || credential.is_some();
        let method = match options.text("authentication") {
            Some("basic") => LoginMethod::Basic,
            Some("digest") => LoginMethod::Digest,
            Some("bearer") => LoginMethod::Bearer,
            Some("certificate") => {
                if connecting.client_key.is_none() {
                    let message = "is 'certificate', and no certificate is given: set tls.client_key";
                    findings.error("authentication", message);
                }
                if has_user || token.is_some() {
                    let message = "is 'certificate': leave out username, password, credential and token";
                    findings.error("authentication", message);
                }
                LoginMethod::None
            }
            _ if has_user => LoginMethod::Basic,
            _ if token.is_some() => LoginMethod::Bearer,
            _ => LoginMethod::None,
        };
        match method {
            LoginMethod::Basic | LoginMethod::Digest => {
                if !has_user {
                    findings.error("authentication", "needs username and password, or a credential");
                } else if credential.is_none() && password.is_none() {
                    findings.error("username", "needs a password, or give a credential instead");
                }
                if token.is_some() {
                    findings.error("token", "is used with authentication = \"bearer\" only");
                }
                if username.as_ref().is_some_and(|user| user.contains(':') && method == LoginMethod::Basic) {
                    findings
                        .error("username", "contains ':', which basic authentication cannot send (RFC 7617)");
                }
            }
            LoginMethod::Bearer => {
                if token.is_none() && credential.is_none() {
                    findings.error(
                        "authentication",
                        "is 'bearer', and no token is given: set token or credential",
                    );
                }
                if username.is_some() {
                    findings.error("username", "is not used with authentication = \"bearer\"");
                }
            }
            LoginMethod::None | LoginMethod::WhenAsked => {}
        }
        let secret = if method == LoginMethod::Bearer { token } else { password };
        Some(Self { method, username, credential, secret })
    }

    /// What to log in with, its names looked up.
    ///
    /// # Errors
    /// `ConfigInvalid`: a credential that is not defined.
    pub(crate) fn resolve(
        &self,
        credential: impl Fn(&str) -> Option<Arc<Credential>>,
    ) -> Result<ResolvedLogin> {
        let (mut username, mut secret) = (self.username.clone(), self.secret.clone());
        if let Some(name) = &self.credential {
            let found = credential(name).ok_or_else(|| {
                Error::permanent(ErrorKind::ConfigInvalid, "log in with the endpoint's credential")
                    .with("credential", name)
                    .advice("define it, or correct the name")
            })?;
            username = Some(found.username.clone());
            secret = Some(found.password.clone());
        }
        let (username, secret) =
            (username.unwrap_or_default(), secret.unwrap_or_else(|| Secret::new(String::new())));
        Ok(ResolvedLogin { method: self.method, username, secret })
    }
}

#[cfg(test)]
mod tests;
