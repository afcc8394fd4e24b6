//! Acme and Globex: an sshd that serves Acme's folder, a gateway on each side, AS2 between them.

use crate::{Gateway, GatewayBuilder, KeyPair, Server};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What differs from test to test.
pub struct Terms<'a> {
    /// The database of Acme's gateway; SQLite unless given.
    pub database: Option<&'a str>,
    /// The database of Globex's gateway; SQLite unless given.
    pub receivers_database: Option<&'a str>,
    /// More settings of both gateways.
    pub settings: &'a str,
    /// The source's fields besides `endpoint`.
    pub source: &'a str,
    /// The destination's retry.
    pub retry: &'a str,
    /// The options that log in and verify; the usual ones unless given.
    pub login: Option<&'a str>,
    /// Another port than the sshd's own: that of a proxy before it.
    pub port: Option<u16>,
    /// Options of sshd.sh.
    pub sshd: &'a [&'a str],
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self {
            database: None,
            receivers_database: None,
            settings: "[audit]\nseal_every = \"1s\"",
            source: r#"mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete""#,
            retry: r#"attempts = 30, first = "1s", longest = "2s""#,
            login: None,
            port: None,
            sshd: &[],
        }
    }
}

/// Both gateways and the server. Nothing runs but the sshd until [`Pair::start`].
pub struct Pair {
    // Dropped in this order: the gateways before what they speak to.
    pub acme: Gateway,
    pub globex: Gateway,
    pub sshd: Server,
    pub root: TempDir,
}

impl Pair {
    pub fn new(terms: &Terms<'_>) -> Self {
        let sshd = Server::start("sshd", terms.sshd);
        Self::with_server(sshd, terms)
    }

    pub fn with_server(sshd: Server, terms: &Terms<'_>) -> Self {
        let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
        let place = root.path();
        KeyPair::make(&place.join("keys"), "acme");
        KeyPair::make(&place.join("keys"), "globex");
        fs::copy(sshd.text("key"), place.join("keys/ssh")).unwrap();
        fs::create_dir_all(place.join("warehouse")).unwrap();
        let gateway = |name, database| {
            GatewayBuilder::new(place, name).database(database).settings(terms.settings).build()
        };
        let (acme, globex) = (gateway("acme", terms.database), gateway("globex", terms.receivers_database));
        let pair = Self { acme, globex, sshd, root };
        pair.acme.define("acme.toml", &pair.acme_document(terms));
        pair.globex.define("globex.toml", &pair.globex_document());
        pair
    }

    /// Starts both.
    pub fn start(&mut self) {
        self.globex.start();
        self.acme.start();
    }

    /// The folder that Acme polls.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(self.sshd.text("folder"))
    }

    /// Where Globex writes what it received.
    pub fn warehouse(&self) -> PathBuf {
        self.root.path().join("warehouse")
    }

    /// The fields that log in by key and pin the host key.
    pub fn usual_login(&self) -> String {
        let key = self.root.path().join("keys/ssh");
        format!(
            "private_key = \"${{file:{}}}\"\nhost_key = \"{}\"",
            key.display(),
            self.sshd.text("fingerprint")
        )
    }

    /// The fields that log in by a password, which lies in a file, and pin the host key.
    pub fn password_login(&self, password: &str) -> String {
        let file = self.root.path().join("keys/password");
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "password = \"${{file:{}}}\"\nhost_key = \"{}\"",
            file.display(),
            self.sshd.text("fingerprint")
        )
    }

    pub fn acme_document(&self, terms: &Terms<'_>) -> String {
        let login = terms.login.map_or_else(|| self.usual_login(), str::to_owned);
        let user = if login.contains("password") { "password_user" } else { "user" };
        format!(
            r#"{parties}
[endpoint.acme-folder]
transport = "sftp"
url = "sftp://127.0.0.1:{port}/{folder}"
username = "{user}"
{login}

[endpoint.globex-as2]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{as2}/as2"

[flow.orders]
source = {{ endpoint = "acme-folder", {source} }}
[[flow.orders.destination]]
endpoint = "globex-as2"
retry = {{ {retry} }}
"#,
            parties = parties(&self.root.path().join("keys"), ("acme", "ACME"), ("globex", "GLOBEX")),
            port = terms.port.unwrap_or_else(|| self.sshd.port()),
            folder = self.sshd.text("folder"),
            user = self.sshd.text(user),
            as2 = self.globex.http,
            source = terms.source,
            retry = terms.retry,
        )
    }

    fn globex_document(&self) -> String {
        format!(
            r#"{parties}[endpoint.warehouse]
transport = "file"
url = "file://{root}/warehouse"
[listener.as2]
transport = "as2"
server = "partners"
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
overwrite = "rename"
"#,
            parties = parties(&self.root.path().join("keys"), ("globex", "GLOBEX"), ("acme", "ACME")),
            root = self.root.path().display(),
        )
    }

    /// Waits until the warehouse holds so many files.
    pub fn wait_for_files(&self, count: usize) -> Vec<(String, Vec<u8>)> {
        crate::eventually(&format!("{count} files in the warehouse"), PATIENCE, || {
            let found = files_in(&self.warehouse());
            (found.len() >= count).then_some(found)
        })
    }

    /// The newest audit events of a kind (or its beginning) at Acme.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        events(&self.acme, kind)
    }

    /// A command with Acme's settings: exit code, standard output, standard error.
    pub fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let config = self.acme.config();
        let (status, out, error) = crate::run(&[&["--config", config.to_str().unwrap()], arguments].concat());
        (status.code().unwrap(), out, error)
    }

    /// What `audit search` finds at Acme's.
    pub fn search(&self, arguments: &[&str]) -> Vec<Value> {
        let found = self.acme.json(&[&["audit", "search", "--limit", "1000"], arguments].concat());
        found.as_array().unwrap().clone()
    }

    /// Waits for an event of a kind whose JSON holds a text.
    pub fn wait_for_event(&self, kind: &str, text: &str) -> Value {
        crate::eventually(&format!("an event {kind} with {text:?}"), PATIENCE, || {
            self.events(kind).into_iter().find(|event| event.to_string().contains(text))
        })
    }
}

/// Audit events of a kind or its beginning, newest first.
pub fn events(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let found = gateway.json(&["audit", "search", "--kind", kind, "--limit", "1000"]);
    found.as_array().unwrap().clone()
}

/// Names and bytes of the published files of a directory, sorted; temporary ones begin with a dot.
pub fn files_in(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .map(Result::unwrap)
        // A temporary one may get its own name while this looks: it is not touched.
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

/// Puts a file there whole: under another name first, as a careful sender does.
pub fn put(directory: &Path, name: &[u8], bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let beside = directory.parent().unwrap().join(format!("put-{}", crate::free_port()));
    fs::write(&beside, bytes).unwrap();
    let path = directory.join(std::ffi::OsStr::from_bytes(name));
    fs::rename(&beside, &path).unwrap();
    path
}

/// Bytes of no pattern.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}

/// The definitions of two parties, each a name and its AS2 name, as the first of them has them: who we are, with our
/// key, and the partner with its certificate. Keys and certificates lie in `keys`, as [`KeyPair::make`] leaves them.
pub fn parties(keys: &Path, own: (&str, &str), other: (&str, &str)) -> String {
    let (keys, (own, own_id), (other, other_id)) = (keys.display(), own, other);
    format!(
        r#"[identity.{own}.as2]
id = "{own_id}"
keys = ["{own}"]
[key.{own}]
private_key = "${{file:{keys}/{own}.key.pem}}"
certificate = "${{file:{keys}/{own}.cert.pem}}"
[partner.{other}.as2]
id = "{other_id}"
certificates = ["{other}"]
[certificate.{other}]
pem = "${{file:{keys}/{other}.cert.pem}}"
"#
    )
}
