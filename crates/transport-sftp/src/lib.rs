//! `transport = "sftp"`: directories of SSH servers as sources and destinations.
//!
//! The SSH layer is russh over a stream of the `net` room; SFTP version 3 is spoken here, with names as bytes and many
//! requests on their way. Reading order: `options` (what an endpoint says), `connection` (dial, trust, log in), `folder` (the
//! contract, over pooled connections), `error`; below them `protocol`. Polling and safe writing are
//! [`transport::folder`]'s.
//!
//! An endpoint's directory, `sftp://host:port/dir`, is taken from where the login starts; `sftp://host:port//dir` is
//! absolute. Not here: host-based logins, forwarding of agents.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod connection;
mod error;
mod folder;
mod options;
mod protocol;

pub use options::SPEC;

use connection::{JumpHost, Remote, way};
use folder::SftpFolder;
use futures::future::BoxFuture;
use model::definition::{Definitions, Endpoint, KeyDefinition, PublicKey};
use model::schema::{Findings, TransportSpec};
use model::{HostKeyFormat, OfferedHostKey, Probe, Purpose, Result, Step};
use net::{Net, Pools};
use options::Settings;
use protocol::key;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transport::Services;
use transport::folder::{Folder, FolderPlace, FolderProtocol, FolderTransport, FolderUse, WriteOptions};

/// `transport = "sftp"`.
pub type SftpTransport = FolderTransport<Sftp>;

/// SSH servers, over a network.
pub struct Sftp {
    net: Net,
    /// The socket of the SSH agent that endpoints may log in with.
    agent: Option<Arc<Path>>,
    pools: Pools<Remote>,
    jump_hosts: Pools<JumpHost>,
}

impl Sftp {
    /// The protocol over a network.
    #[must_use]
    pub fn new(net: Net) -> Self {
        let (pools, jump_hosts) = (Pools::of(&net), Pools::of(&net));
        Self { net, agent: None, pools, jump_hosts }
    }

    /// The same, whose endpoints may log in with the keys of the SSH agent at this socket. Without one, endpoints that
    /// ask for an agent are refused.
    #[must_use]
    pub fn with_agent(self, socket: Option<PathBuf>) -> Self {
        Self { agent: socket.map(Into::into), ..self }
    }

    /// What makes connections to a server, through its jump host if it has one.
    fn remote(
        &self,
        (endpoint, purpose): (&Endpoint, Purpose),
        settings: Settings,
        definitions: &Definitions,
        services: &Services,
    ) -> Result<Remote> {
        let jump = way::jump_host(&self.jump_hosts, (endpoint, purpose), definitions, |settings, jump| {
            Remote::new(self.net.clone(), settings, services.clone(), jump).with_agent(self.agent.clone())
        })?;
        Ok(Remote::new(self.net.clone(), settings, services.clone(), jump).with_agent(self.agent.clone()))
    }
}

impl FolderProtocol for Sftp {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace> {
        Settings::read(endpoint, findings).map(Settings::place)
    }

    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>> {
        let definitions = services.directory.definitions();
        let pool = self.pools.get(endpoint, &definitions, opened.purpose, || {
            let settings = Settings::of(endpoint)?;
            let limits = settings.limits;
            Ok((self.remote((endpoint, opened.purpose), settings, &definitions, services)?, limits))
        })?;
        let folder = SftpFolder::new(pool, opened);
        Ok(Arc::new(folder.with_checksum_command(endpoint.options.text("checksum_command"))))
    }

    fn public_key(&self, key: &KeyDefinition) -> Option<Result<PublicKey>> {
        Some(key::public_half(&key.private_key, key.passphrase.as_ref()))
    }

    fn host_keys(&self) -> Option<&dyn HostKeyFormat> {
        Some(&options::host_keys::FORMAT)
    }

    fn shown_host_keys(
        &self,
        endpoint: &Arc<Endpoint>,
        services: &Services,
    ) -> Option<BoxFuture<'static, Result<Vec<OfferedHostKey>>>> {
        let asked = Settings::to_scan(endpoint).and_then(|settings| {
            let definitions = services.directory.definitions();
            self.remote((endpoint, Purpose::Test), settings, &definitions, services)
        });
        let name = endpoint.name.clone();
        Some(Box::pin(async move { asked?.host_keys(&name).await }))
    }

    fn test_as_jump_host(
        &self,
        endpoint: &Arc<Endpoint>,
        services: &Services,
    ) -> Option<BoxFuture<'static, Probe>> {
        let definitions = services.directory.definitions();
        let remote = Settings::of(endpoint)
            .and_then(|settings| self.remote((&**endpoint, Purpose::Test), settings, &definitions, services));
        let name = endpoint.name.clone();
        Some(Box::pin(async move {
            let mut probe = Probe::default();
            match remote {
                Ok(remote) => remote.test_as_jump_host(&name, &mut probe).await,
                Err(error) => {
                    probe.add::<()>(Step::Tcp, Duration::ZERO, Err(error), |()| String::new());
                }
            }
            probe
        }))
    }

    fn check_writing(&self, _: &Endpoint, write: &WriteOptions, findings: &mut Findings<'_>) {
        if write.owner.as_ref().is_some_and(|owner| !owner.is_numeric()) {
            let message = "has a name, and SFTP knows users and groups by their numbers alone: ask the server's operator for \
                           them (`id USER` there), and write 1001:1001";
            findings.error("owner", message);
        }
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        let options = &endpoint.options;
        findings.accept("jump", way::check(endpoint, definitions));
        let command = options.text("checksum_command").unwrap_or("sha256sum");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " ./_-".contains(c);
        if command.trim().is_empty() || !command.chars().all(is_plain) {
            let message = "must be a program and its options, without quotes and other characters that a shell understands, \
                           such as \"sha256sum\" or \"openssl dgst -sha256 -r\"";
            findings.error("checksum_command", message);
        }
        if self.agent.is_none() && options.get("agent").is_some() {
            let message = "is not allowed on this machine: its administrator sets the agent's socket as ssh_agent in [roots] of \
                           waybill.toml, or give private_key or key instead";
            findings.error("agent", message);
        }
        if options.bool("legacy") {
            findings.warning(
                "legacy",
                "allows algorithms that are no longer safe; remove it once the server has better ones",
            );
        }
        if let Some(private_key) = options.secret("private_key").filter(|key| !key.reveal().is_empty()) {
            let passphrase =
                options.secret("passphrase").filter(|passphrase| !passphrase.reveal().is_empty());
            let read = key::try_out(private_key, passphrase);
            findings.accept("private_key", read.map_err(|error| key::reason(&error)));
        }
    }
}
