//! Real FTP servers, and the endpoints to use them by.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each suite uses its part, and says by panicking what went wrong"
)]

pub mod script;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use model::definition::{CertificateDefinition, Definitions, Endpoint, KeyDefinition};
use model::schema::{Value as Field, Values};
use model::{ConnectionClosed, NodeName, Purpose, RemotePath, Result, Secret};
use net::{ConnectionFailed, ConnectionLog, Net, NetSettings, Opened};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use testkit::clock::FixedClock;
use testkit::defined;
use testkit::fake::services;
use tokio::io::AsyncReadExt;
use transport::folder::{Entry, Folder, FolderUse};
use transport::{BufferBudget, Services};
use transport_ftp::{Ftp, FtpTransport, SPEC};

/// A server of this test's own; it dies with this value, or with the test's process.
pub struct Server {
    directory: TempDir,
    json: Value,
}

fn script(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/ftp.sh");
    Command::new("bash").arg(script).args(arguments).output().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails says why by itself; what is left is ended by the server's own watchdog.
        drop(script(&["stop", self.directory.path().to_str().unwrap()]));
    }
}

impl Server {
    /// `proftpd` or `vsftpd`, with further options of the script.
    pub fn start(server: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let owner = std::process::id().to_string();
        let path = directory.path().to_str().unwrap();
        let mut arguments = vec!["start", path, "--owner-pid", &owner, "--temporary", "--server", server];
        arguments.extend(options);
        let output = script(&arguments);
        assert!(output.status.success(), "{server}: {}", String::from_utf8_lossy(&output.stderr));
        let json = serde_json::from_slice(&output.stdout).unwrap();
        Self { directory, json }
    }

    /// `pause`, `resume`, `kill`, `restart`.
    pub fn control(&self, command: &str) {
        let output = script(&[command, self.directory.path().to_str().unwrap()]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.json))
    }

    pub fn port(&self) -> u16 {
        self.json["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// The directory `files` where a login begins, as a path of this machine.
    pub fn files(&self) -> PathBuf {
        self.field("folder").into()
    }

    /// Makes a directory that the server may write to.
    pub fn make(&self, name: &str) {
        let path = self.files().join(name);
        std::fs::create_dir(&path).unwrap();
        let owner = std::fs::metadata(self.files()).unwrap();
        let (user, group) = {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        };
        std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
    }

    /// What the server logged of commands and transfers.
    pub fn system_log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.field("system_log")).unwrap_or_default()).into_owned()
    }

    /// An endpoint in the clear.
    pub fn endpoint(&self) -> Build {
        Build::new("ftp", self).set("security", "none")
    }

    /// An endpoint whose TLS begins by a command, trusting the certificate `server`.
    pub fn explicit(&self) -> Build {
        Build::new("ftp", self).trusting("authorities", "server")
    }

    /// An endpoint whose TLS begins at once.
    pub fn implicit(&self) -> Build {
        Build::new("ftps", self).trusting("authorities", "server")
    }

    /// Definitions with the server's certificate, as `server`, and a client's key, as `client`.
    pub fn definitions(&self) -> Definitions {
        let text = |field: &str| std::fs::read_to_string(self.field(field)).unwrap();
        let mut definitions = Definitions::default();
        let certificate = CertificateDefinition { name: "server".into(), pem: text("certificate") };
        definitions.certificates.insert("server".into(), Arc::new(certificate));
        let key = KeyDefinition {
            name: "client".into(),
            private_key: Secret::new(text("client_key")),
            passphrase: None,
            certificate: Some(text("client_certificate")),
        };
        definitions.keys.insert("client".into(), Arc::new(key));
        definitions
    }
}

/// An endpoint being put together.
pub struct Build {
    url: String,
    set: Vec<(String, String)>,
    trust: Vec<(&'static str, Field)>,
    tls: Vec<(&'static str, Field)>,
}

impl Build {
    fn new(scheme: &str, server: &Server) -> Self {
        let url = format!("{scheme}://127.0.0.1:{}", server.port());
        Self { url, set: Vec::new(), trust: Vec::new(), tls: Vec::new() }
            .set("username", server.field("user"))
            .set("password", server.field("password"))
    }

    /// Of a server that is scripted.
    pub fn at(port: u16) -> Self {
        Self { url: format!("ftp://127.0.0.1:{port}"), set: Vec::new(), trust: Vec::new(), tls: Vec::new() }
            .set("security", "none")
            .set("username", "u")
            .set("password", "p")
    }

    /// Sets a field of the endpoint.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.set.retain(|(other, _)| other != name);
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whom to trust.
    pub fn trusting(mut self, name: &'static str, value: &str) -> Self {
        self.trust = vec![(name, Field::List(vec![Field::Text(value.to_owned())]))];
        self
    }

    /// A field of the table `tls`.
    pub fn tls(mut self, name: &'static str, value: &str) -> Self {
        self.tls.push((name, Field::Text(value.to_owned())));
        self
    }

    /// Leaves a field out.
    pub fn without(mut self, name: &str) -> Self {
        self.set.retain(|(other, _)| other != name);
        self
    }

    pub fn url(mut self, url: &str) -> Self {
        self.url = url.to_owned();
        self
    }

    pub fn done(self) -> Arc<Endpoint> {
        let set: Vec<_> = self.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut endpoint = defined::endpoint(&SPEC, "acme", &self.url, &set);
        for (name, values) in [("trust", self.trust), ("tls", self.tls)] {
            if !values.is_empty() {
                endpoint.options = endpoint.options.with(name, Field::Table(Values::of(values)));
            }
        }
        Arc::new(endpoint)
    }
}

/// Connection records in memory.
#[derive(Default)]
pub struct Records {
    pub opened: Mutex<Vec<Opened>>,
    pub closed: Mutex<Vec<ConnectionClosed>>,
    pub failed: Mutex<Vec<ConnectionFailed>>,
}

#[async_trait]
impl ConnectionLog for Records {
    async fn opened(&self, opened: Opened) -> Result<()> {
        self.opened.lock().unwrap().push(opened);
        Ok(())
    }

    async fn closed(&self, closed: ConnectionClosed) -> Result<()> {
        self.closed.lock().unwrap().push(closed);
        Ok(())
    }

    async fn failed(&self, failed: ConnectionFailed) -> Result<()> {
        self.failed.lock().unwrap().push(failed);
        Ok(())
    }
}

/// The transport over a network whose connections are recorded in memory.
pub struct World {
    pub transport: FtpTransport,
    pub records: Arc<Records>,
    pub net: Net,
    pub services: Services,
}

struct Defined(Arc<Definitions>);

impl transport::Directory for Defined {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0)
    }
}

impl World {
    pub fn new(definitions: Definitions) -> Self {
        let records = Arc::new(Records::default());
        let node = NodeName::try_from("test".to_owned()).unwrap();
        let now: net::NowFn = Arc::new(|| chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap());
        let settings = NetSettings::new(node, now, Arc::new(uuid::Uuid::now_v7));
        let net = Net::new(settings, Arc::clone(&records) as Arc<dyn ConnectionLog>);
        let mut services = services(Arc::new(FixedClock::default()));
        services.budget = BufferBudget::new(256 << 20);
        services.directory = Arc::new(Defined(Arc::new(definitions)));
        Self { transport: FtpTransport::of(Ftp::new(net.clone())), records, net, services }
    }

    pub fn folder(&self, endpoint: &Arc<Endpoint>) -> Arc<dyn Folder> {
        self.transport.folder(endpoint, FolderUse::of(Purpose::Poll), &self.services).unwrap()
    }

    /// Waits until every connection's end is recorded.
    pub async fn settled(&self) {
        assert_eq!(self.net.drain(Duration::from_secs(10)).await, 0, "connections are still open");
    }
}

pub async fn read(folder: &Arc<dyn Folder>, path: &str, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut reader = folder.read(&path.into(), offset).await.map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub async fn write(folder: &Arc<dyn Folder>, path: &str, bytes: &[u8]) -> Result<u64> {
    let mut upload = folder.begin_write(&path.into(), None).await?;
    for chunk in bytes.chunks(256 * 1024) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    Ok(upload.finish().await?.size.unwrap())
}

pub async fn list(folder: &Arc<dyn Folder>, directory: &str) -> Result<Vec<Entry>> {
    let listing = folder.list(&RemotePath::from(directory)).await?;
    listing.collect::<Vec<_>>().await.into_iter().collect()
}

/// Bytes that repeat nowhere.
pub fn noise(length: usize) -> Vec<u8> {
    testkit::clock::SeededRandom::new(length as u64).bytes(length)
}
