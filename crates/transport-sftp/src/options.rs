//! The options of SFTP endpoints: declared and read here.

pub(crate) mod agent;
pub(crate) mod host_keys;

use crate::protocol::algorithms::{self, Algorithms, Policy};
use crate::protocol::certificate;
use crate::protocol::host_key::{HostTrust, Pin};
use crate::protocol::key;
use crate::protocol::known_hosts::KnownHosts;
use agent::AgentKeys;
use model::definition::{Credential, Endpoint, KeyDefinition};
use model::schema::{
    Field, FieldPath, Findings, Group, Kind, Paths, Roles, Rule, Scheme, Section, TEXTS, TransportSpec,
};
use model::{Error, ErrorKind, PublicMaterial, RemotePath, Result, Secret};
use net::{ConnectOptions, PoolLimits, Sharing};
use russh::keys::Certificate;
use std::sync::Arc;
use transport::folder::{FolderPlace, LoginAddress, options as folder};

/// The port of SSH.
const PORT: u16 = 22;

/// Operations on a connection from which on another one is made.
const BUSY: usize = 8;

/// Ends the names of files that are still being written, unless another suffix is given.
const TEMPORARY: &str = "_tmp";

/// `transport = "sftp"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "sftp", port: Some(PORT), paths: Paths::Login, connects_per_poll: true }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&LOGIN, &SERVER, &ALGORITHMS, &net::CONNECTION, &net::POOL],
    source: &[&folder::SOURCE, &UNFINISHED],
    destination: &[&folder::DESTINATION, &WRITING, &folder::PERMISSIONS, &folder::OWNER],
    ..TransportSpec::new("sftp", "A directory of an SFTP server.")
};

static LOGIN: Group = Group::of(&[
    Field::optional("username", Kind::Text, "The user to log in as.").login(),
    Field::optional("password", Kind::Secret, "The user's password. It is tried once; if a private key is given too, after the key.").login(),
    Field::optional(
        "credential",
        Kind::Name(Section::CREDENTIAL),
        "The name of a [credential.NAME], which several endpoints can share: used instead of `username` and \
        `password`.",
    ).login(),
    Field::optional(
        "key",
        Kind::Name(Section::KEY),
        "The name of a [key.NAME], which several endpoints can share: used instead of `private_key` and \
        `passphrase`.",
    ).login(),
    Field::optional(
        "private_key",
        Kind::Secret,
        "The private key to log in with, usually \"${file:/run/secrets/key}\": OpenSSH's form or PEM, ed25519, ECDSA or RSA (signing \
         with SHA-2 only).",
    ).login(),
    Field::optional("passphrase", Kind::Secret, "The passphrase of an encrypted private key.").login(),
    Field::optional(
        "certificate",
        Kind::Public(PublicMaterial::UserCertificate),
        "The OpenSSH certificate of the private key, usually \"${file:/path/key-cert.pub}\", for servers that know an authority \
        instead of each user's key.",
    ).login(),
    Field::optional(
        "agent",
        TEXTS,
        "Logs in with a key of this machine's SSH agent, where `ssh_agent` in waybill.toml allows it: the key's fingerprint, as \
        `ssh-add -l` shows it (\"SHA256:…\", or its whole line), or the public key; or \"any\" for whichever the server accepts. At \
        most 3 keys are offered, certificates first, since a server counts each as a failed login. Used instead of `key` \
        and `private_key`. The agent is never forwarded.",
    ).login(),
    Field::optional(
        "authentication",
        Kind::List(&Kind::Choice(METHODS)),
        "The methods to log in by, in the order in which they are tried, as far as the server offers them and there is something to \
        log in with. keyboard-interactive answers the server's question with the password, and only if the server has not \
        refused the password before. A server that asks for several is given each. Left out: publickey, password, \
        keyboard-interactive.",
    ),
])
.with(&[
    Rule::ExactlyOne(&["username", "credential"]),
    Rule::AtMostOne(&["password", "credential"]),
    Rule::AtMostOne(&["key", "private_key", "agent"]),
    Rule::AtMostOne(&["certificate", "agent"]),
    Rule::Needs("passphrase", "private_key"),
]);

static SERVER: Group = Group::of(&[
    Field::optional(
        "checksum_command",
        Kind::Text,
        "The program at the server that computes a file's SHA-256, such as \"sha256sum\", \"shasum -a 256\" or \"openssl dgst \
        -sha256 -r\": with `verify = \"checksum\"` it is run over the same SSH connection, reads the file from its standard input, \
        and writes the sum first. For servers without check-file, as OpenSSH, whose account may run commands and sees files \
        under the same paths as over SFTP. Without it, or where it fails, the file is read back.",
    ),
    Field::optional(
        "host_key",
        Kind::Public(PublicMaterial::HostKeys),
        "The server's host key, as a fingerprint (\"SHA256:…\"), the whole line that ssh-keygen -l shows (\"256 SHA256:… comment \
         (ED25519)\"), a fingerprint with its key type before it (\"ssh-rsa SHA256:…\"; the type is needed when the server has \
         keys of several types and the pinned one is not its ed25519 key), or the public key itself (\"ssh-ed25519 AAAA…\", as in \
         key files and from ssh-keyscan). With a list, each of its keys is accepted, so that a server can change its key. \
         The server is always verified: without this and known_hosts, by the list of known hosts that all nodes share.",
    )
    .address(),
    Field::optional(
        "known_hosts",
        Kind::Public(PublicMaterial::KnownHosts),
        "The content of an OpenSSH known_hosts file, usually \"${file:/path/known_hosts}\": plain and hashed names, [host]:port, \
         addresses, patterns, @revoked, and @cert-authority for servers with a certificate, which must be valid, name the host, \
         and have no critical options. A line that cannot be read is ignored when it is surely of another host. Key types on file \
         for the host are asked for first. Left out, as host_key, the list of known hosts counts that all nodes share (`waybill \
         known-host list`, or Known hosts in the console).",
    )
    .address(),
    Field::optional(
        "jump",
        Kind::Name(Section::ENDPOINT),
        "The name of an [endpoint.NAME] with transport = \"sftp\": a jump host (bastion), through which the server is reached, as \
        with ssh -J. It is verified and logged in to by what that endpoint says, and finds this server's address. It may have \
        a jump host itself. It sees neither password nor data; no agent is forwarded to it. A proxy is set there.",
    )
    .address(),
])
.with(&[Rule::AtMostOne(&["host_key", "known_hosts"])]);

/// The ways to log in.
const METHODS: &[&str] = &["publickey", "password", "keyboard-interactive"];

static ALGORITHMS: Group = Group::of(&[
    Field::optional(
        "ciphers",
        TEXTS,
        "Ciphers in the order of preference, by OpenSSH's names, such as aes256-gcm@openssh.com. \"auto\" in the list stands for \
        the usual ones; left out, these. The first that the server has too is taken.",
    )
    .per_environment(),
    Field::optional("macs", TEXTS, "The same for message authentication, such as hmac-sha2-256-etm@openssh.com.")
        .per_environment(),
    Field::optional("key_exchange", TEXTS, "The same for the key exchange, such as ecdh-sha2-nistp256.")
        .per_environment(),
    Field::optional(
        "host_key_algorithms",
        TEXTS,
        "The same for the server's key and its signature, such as rsa-sha2-512. Types of keys on file are asked for first. An \
        authority must have signed a host certificate with one of them.",
    )
    .per_environment(),
    Field::optional(
        "compression",
        Kind::List(&Kind::Choice(&["none", "zlib@openssh.com", "zlib"])),
        "Compression in the order of preference: none, zlib@openssh.com (from the login on), zlib. Left out: none. It helps on slow \
        lines with text, and costs time otherwise.",
    )
    .per_environment(),
    Field::optional(
        "legacy",
        Kind::Bool,
        "Allows algorithms that are no longer safe (aes*-cbc, 3des-cbc, hmac-sha1, SHA-1 in key exchanges, ssh-rsa signatures), for \
        servers that have nothing better: they are offered last, may be named in the lists, and a connection that uses one is \
        marked as weakened.",
    ),
    Field::optional(
        "fips",
        Kind::Bool,
        "Offers only algorithms that FIPS 140-3 approves, and refuses others in the lists. It says nothing about how \
        Waybill's cryptographic modules were validated.",
    ),
]);

static UNFINISHED: Group = Group::of(&[folder::unfinished(TEMPORARY)]);

static WRITING: Group = Group::of(&[folder::temporary(&[Kind::Choice(&["none"]), Kind::Table(&SUFFIX)])]);

static SUFFIX: Group =
    Group::of(&[folder::TEMPORARY_PREFIX, folder::temporary_suffix(TEMPORARY), folder::TEMPORARY_DIRECTORY]);

/// An SFTP endpoint, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Empty for where a login starts.
    pub(crate) directory: RemotePath,
    pub(crate) trust: HostTrust,
    pub(crate) algorithms: Algorithms,
    /// How to connect.
    pub(crate) connecting: ConnectOptions,
    /// How many connections are kept, and how long.
    pub(crate) limits: PoolLimits,
    pub(crate) login: Login,
}

/// Who logs in and how; names are looked up when it is done.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) credential: Option<String>,
    pub(crate) password: Option<Secret<String>>,
    pub(crate) key: Option<String>,
    pub(crate) private_key: Option<Secret<String>>,
    pub(crate) passphrase: Option<Secret<String>>,
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Which keys of the SSH agent are offered, if any.
    pub(crate) agent: Option<AgentKeys>,
    /// In the order in which they are tried.
    pub(crate) methods: Vec<Method>,
}

/// A way to log in (RFC 4252, RFC 4256).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    PublicKey,
    Password,
    KeyboardInteractive,
}

impl Method {
    fn read(word: &str) -> Option<Self> {
        match word {
            "publickey" => Some(Self::PublicKey),
            "password" => Some(Self::Password),
            "keyboard-interactive" => Some(Self::KeyboardInteractive),
            _ => None,
        }
    }
}

/// How a URL is written, for the error about one that is written otherwise.
const URL_FORM: &str = "write it as sftp://host:port/directory (relative to the login directory) or sftp://host:port//directory (absolute)";

impl Settings {
    /// Reads an endpoint, and reports each mistake at its field. No I/O.
    pub(crate) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<Self> {
        let options = &endpoint.options;
        let address = findings.accept("url", LoginAddress::read(endpoint, URL_FORM, PORT));
        let server = address.as_ref().map(|address| (address.host.as_str(), address.port));
        let trust = trust(endpoint, server, findings);
        let algorithms = algorithms(endpoint, findings);
        let login = Login::read(endpoint, findings);
        let connecting = ConnectOptions::read(options, findings);
        let limits = PoolLimits::read(options, Sharing::Shared(BUSY), connecting.timeout);
        if options.text("jump").is_some() && connecting.proxy.is_some() {
            findings.error(
                "proxy",
                "plays no part behind a jump host; remove it here, and set it at the jump host's endpoint if that needs one",
            );
        }
        let LoginAddress { host, port, directory } = address?;
        let endpoint = endpoint.name.clone();
        let trust = trust?;
        Some(Self { endpoint, host, port, directory, trust, algorithms, connecting, limits, login })
    }

    /// The settings by which an endpoint's server is asked for its keys: nobody logs in, and nobody is trusted.
    ///
    /// # Errors
    /// `ConfigInvalid`: the address cannot be used.
    pub(crate) fn to_scan(endpoint: &Endpoint) -> Result<Self> {
        let address = |findings: &mut Findings<'_>| {
            findings.accept("url", LoginAddress::read(endpoint, URL_FORM, PORT))
        };
        let LoginAddress { host, port, directory } =
            Findings::required(Section::ENDPOINT, &endpoint.name, address)?;
        let mut unused = Vec::new();
        let mut ignored = Findings::of(&mut unused, Section::ENDPOINT, &endpoint.name);
        let algorithms = algorithms(endpoint, &mut ignored);
        let login = Login::read(endpoint, &mut ignored);
        let connecting = ConnectOptions::read(&endpoint.options, &mut ignored);
        let limits = PoolLimits::read(&endpoint.options, Sharing::Shared(BUSY), connecting.timeout);
        let (endpoint, trust) = (endpoint.name.clone(), HostTrust::Nobody);
        Ok(Self { endpoint, host, port, directory, trust, algorithms, connecting, limits, login })
    }

    /// The settings of an endpoint that is used now.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the field.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        Findings::required(Section::ENDPOINT, &endpoint.name, |findings| Self::read(endpoint, findings))
    }

    /// Where the folder is.
    pub(crate) fn place(self) -> FolderPlace {
        let user = self.login.username.as_deref().unwrap_or_default();
        FolderPlace { address: format!("sftp://{user}@{}", self.target()), directory: self.directory }
    }

    /// The host and port, for people.
    pub(crate) fn target(&self) -> String {
        target(&self.host, self.port)
    }
}

fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The algorithms to offer.
fn algorithms(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Algorithms {
    use algorithms::Kind::{Cipher, Compression, HostKey, KeyExchange, Mac};
    let options = &endpoint.options;
    let policy = Policy { legacy: options.bool("legacy"), fips: options.bool("fips") };
    if policy.legacy && policy.fips {
        findings.error("legacy", "cannot be used together with fips = true; remove one of them");
    }
    for kind in [Cipher, Mac, KeyExchange, HostKey, Compression] {
        for (name, number) in options.texts(kind.option()).zip(1..) {
            let path = FieldPath::from(kind.option()).item(number);
            findings.accept(path, algorithms::check(kind, name, policy));
        }
    }
    Algorithms::read(policy, |kind| options.texts(kind.option()).map(str::to_owned).collect())
}

/// Whether an endpoint's server is verified by the list of all nodes: it says nothing else.
pub(crate) fn trusts_list(endpoint: &Endpoint) -> bool {
    ["host_key", "known_hosts"].iter().all(|name| endpoint.options.get(name).is_none())
}

/// The host and port of an endpoint.
pub(crate) fn endpoint_host(endpoint: &Endpoint) -> Option<(String, u16)> {
    let address = LoginAddress::read(endpoint, URL_FORM, PORT).ok()?;
    Some((address.host, address.port))
}

/// Whom to trust; `server` is the host and port, where they could be read.
fn trust(endpoint: &Endpoint, server: Option<(&str, u16)>, findings: &mut Findings<'_>) -> Option<HostTrust> {
    let pins: Vec<&str> = endpoint.options.texts("host_key").collect();
    let known = endpoint.options.text("known_hosts").filter(|text| !text.trim().is_empty());
    match (&pins[..], known) {
        ([], None) if trusts_list(endpoint) => Some(HostTrust::Listed(KnownHosts::default())),
        ([], None) => {
            let message = "is empty: give the server's fingerprint (\"SHA256:…\"), or known_hosts, or leave both out for the \
                list of known hosts: Waybill always verifies the server";
            findings.error("host_key", message);
            None
        }
        ([_, ..], Some(_)) => {
            findings.error("known_hosts", "cannot be used together with 'host_key'; remove one of them");
            None
        }
        (pins, None) => {
            let mut read = |(text, number): (&&str, usize)| {
                findings.accept(FieldPath::from("host_key").item(number), Pin::parse(text))
            };
            let pins: Vec<_> = pins.iter().zip(1..).map(&mut read).collect();
            Some(HostTrust::Pinned(pins.into_iter().collect::<Option<Vec<_>>>()?.concat()))
        }
        ([], Some(text)) => {
            let hosts = KnownHosts::parse(text);
            if let Some(line) = server.and_then(|(host, port)| hosts.unreadable_for(host, port)) {
                let message = format!("{line}; it may belong to this host: correct or remove it");
                findings.error("known_hosts", message);
                return None;
            }
            if hosts.is_empty() {
                findings.error("known_hosts", "contains no key; give the content of a known_hosts file");
                return None;
            }
            Some(HostTrust::Known(hosts))
        }
    }
}

impl Login {
    fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Self {
        let options = &endpoint.options;
        let text = |name: &str| options.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let secret = |name: &str| options.secret(name).filter(|secret| !secret.reveal().is_empty()).cloned();
        let login = Self {
            username: text("username"),
            credential: text("credential"),
            password: secret("password"),
            key: text("key"),
            private_key: secret("private_key"),
            passphrase: secret("passphrase"),
            certificate: text("certificate")
                .and_then(|text| findings.accept("certificate", certificate::read(&text)))
                .map(Arc::new),
            agent: AgentKeys::read(endpoint, findings),
            methods: options.texts("authentication").filter_map(Method::read).collect(),
        };
        let login = Self {
            methods: if login.methods.is_empty() {
                METHODS.iter().filter_map(|word| Method::read(word)).collect()
            } else {
                login.methods
            },
            ..login
        };
        let with_agent = options.get("agent").is_some();
        if login.certificate.is_some() && login.key.is_none() && login.private_key.is_none() && !with_agent {
            findings
                .error("certificate", "needs the private key that it belongs to: give private_key or key");
        }
        if login.username.is_none() && login.credential.is_none() {
            findings.error("username", "is empty: name the user to log in as");
        }
        if let Some(private_key) = &login.private_key {
            let checked = key::check(private_key, login.passphrase.as_ref());
            findings.accept("private_key", checked.map_err(|error| key::reason(&error)));
        } else if login.key.is_none() && login.password.is_none() && login.credential.is_none() && !with_agent
        {
            findings.error(
                "",
                "has nothing to log in with: give password, credential, private_key, key or agent",
            );
        }
        login
    }

    /// What to log in with, its names looked up.
    ///
    /// # Errors
    /// `ConfigInvalid`: a name that is not defined.
    pub(crate) fn resolve(
        &self,
        credential: impl Fn(&str) -> Option<Arc<Credential>>,
        key: impl Fn(&str) -> Option<Arc<KeyDefinition>>,
    ) -> Result<ResolvedLogin> {
        let missing = |what: &'static str, name: &str| {
            Error::permanent(ErrorKind::ConfigInvalid, "log in with the endpoint's credential or key")
                .with(what, name)
                .advice("define it, or correct the name")
        };
        let (mut username, mut password) = (self.username.clone(), self.password.clone());
        if let Some(name) = &self.credential {
            let found = credential(name).ok_or_else(|| missing("credential", name))?;
            username = username.or_else(|| Some(found.username.clone()));
            password = Some(found.password.clone());
        }
        let private_key = match &self.key {
            Some(name) => {
                let found = key(name).ok_or_else(|| missing("key", name))?;
                Some((found.private_key.clone(), found.passphrase.clone()))
            }
            None => self.private_key.clone().map(|key| (key, self.passphrase.clone())),
        };
        let (certificate, agent) = (self.certificate.clone(), self.agent.clone());
        Ok(ResolvedLogin {
            username: username.unwrap_or_default(),
            password,
            private_key,
            certificate,
            agent,
            methods: self.methods.clone(),
        })
    }
}

/// Who logs in and how.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedLogin {
    pub(crate) username: String,
    pub(crate) password: Option<Secret<String>>,
    /// The key and its passphrase.
    pub(crate) private_key: Option<(Secret<String>, Option<Secret<String>>)>,
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Which keys of the SSH agent are offered, if any.
    pub(crate) agent: Option<AgentKeys>,
    /// In the order in which they are tried.
    pub(crate) methods: Vec<Method>,
}

#[cfg(test)]
mod tests;
