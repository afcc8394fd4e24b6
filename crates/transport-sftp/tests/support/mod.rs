//! A real OpenSSH server and the endpoints to use it by.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each suite uses its part, and says by panicking what went wrong"
)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use model::definition::{Definitions, Destination, Endpoint, Flow};
use model::schema::Group;
use model::{
    Claim, ConnectionClosed, DeliveryId, NodeName, Offer, OfferId, OfferState, Purpose, Receipt, RemotePath,
    Result,
};
use net::{ConnectionFailed, ConnectionLog, Net, NetSettings, Opened};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use testkit::clock::FixedClock;
use testkit::defined;
use testkit::fake::{BytesPayload, MemoryLog, services};
use testkit::sftp::SftpServer;
use tokio::io::AsyncReadExt;
use transport::folder::After;
use transport::folder::{Entry, Folder, FolderUse};
use transport::{BufferBudget, Deliver, DeliveryLog, FoundOffer, Sent, Services, Transport};
use transport_sftp::{SPEC, Sftp, SftpTransport};

/// A server of this test's own, an sshd if nothing else is said; it dies with this value, or with the test's process.
pub struct Sshd {
    script: &'static str,
    directory: TempDir,
    json: Value,
}

fn script(name: &str, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers").join(name);
    Command::new("bash").arg(script).args(arguments).output().unwrap()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // A test that fails says why by itself; what is left is ended by the server's own watchdog.
        drop(script(self.script, &["stop", self.directory.path().to_str().unwrap()]));
    }
}

impl Sshd {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With lines of sshd_config that go before the usual ones.
    pub fn with(lines: &[&str]) -> Self {
        let options: Vec<&str> = lines.iter().flat_map(|line| ["--extra", *line]).collect();
        Self::run("sshd.sh", &options)
    }

    /// Another one: `asyncssh` or `paramiko`.
    pub fn other(server: &str) -> Self {
        Self::run("ssh.sh", &["--server", server])
    }

    fn run(name: &'static str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let owner = std::process::id().to_string();
        let mut arguments =
            vec!["start", directory.path().to_str().unwrap(), "--owner-pid", &owner, "--temporary"];
        arguments.extend(options);
        let output = script(name, &arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let json = serde_json::from_slice(&output.stdout).unwrap();
        Self { script: name, directory, json }
    }

    fn control(&self, command: &str) {
        let output = script(self.script, &[command, self.directory.path().to_str().unwrap()]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn kill(&self) {
        self.control("kill");
    }

    pub fn restart(&self) {
        self.control("restart");
    }

    pub fn pause(&self) {
        self.control("pause");
    }

    pub fn resume(&self) {
        self.control("resume");
    }

    /// A field of what the script prints, as `a.b`.
    pub fn field(&self, path: &str) -> &str {
        let found = path.split('.').fold(&self.json, |value, key| &value[key]);
        found.as_str().unwrap_or_else(|| panic!("{path} in {}", self.json))
    }

    pub fn port(&self) -> u16 {
        self.json["port"].as_u64().unwrap().try_into().unwrap()
    }

    pub fn files(&self) -> PathBuf {
        self.field("folder").into()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.field("log")).unwrap()).into_owned()
    }

    /// Waits until the log has so many lines with these words: it is written after the fact.
    pub fn logged(&self, words: &str, times: usize) -> bool {
        for _ in 0..100 {
            if self.log().matches(words).count() >= times {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// An endpoint that logs in by password, of one that is no sshd.
    pub fn by_password(&self) -> Build {
        Build::new(format!("sftp://127.0.0.1:{}", self.port()), self.field("user"))
            .set("host_key", self.field("fingerprint"))
            .set("password", self.field("password"))
    }

    /// An endpoint that logs in by the ed25519 key and pins the ed25519 host key.
    pub fn endpoint(&self) -> Build {
        Build::new(format!("sftp://127.0.0.1:{}", self.port()), self.field("user"))
            .set("host_key", self.field("fingerprint"))
            .set("private_key", &read_text(self.field("key")))
    }
}

/// An endpoint for a directory of a server that misbehaves on command, logged in by password.
pub fn partner(server: &SftpServer, directory: &str) -> Build {
    Build::new(server.url(directory), testkit::sftp::USER)
        .set("host_key", &server.fingerprint())
        .set("password", testkit::sftp::PASSWORD)
}

/// A flow that polls `acme`.
pub fn flow(after: After) -> Arc<Flow> {
    polling(after, None)
}

/// A flow that polls `acme`, and moves to this directory what it gives up.
pub fn refusing(directory: &str) -> Arc<Flow> {
    polling(After::Keep, Some(directory.to_owned()))
}

fn polling(after: After, error_directory: Option<String>) -> Arc<Flow> {
    let poll = defined::polling(defined::poll("acme", after), |polling| {
        polling.error_directory = error_directory;
        polling.temporary_suffix = "_tmp".into();
    });
    Arc::new(defined::flow("orders", poll))
}

/// An offer as the engine records it.
pub fn offer(found: &FoundOffer) -> Offer {
    Offer {
        id: OfferId::new(uuid::Uuid::from_u128(0x0192_7000)),
        identity: found.identity.clone(),
        state: OfferState::Settling,
        found_at: chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap(),
        failures: 0,
        source_data: found.source_data.clone(),
    }
}

pub fn read_text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// An endpoint being put together, with what a flow's destination says to it.
pub struct Build {
    url: String,
    set: Vec<(String, String)>,
    lists: Vec<(&'static str, Vec<String>)>,
}

impl Build {
    pub fn new(url: String, user: &str) -> Self {
        Self { url, set: Vec::new(), lists: Vec::new() }.user(user)
    }

    /// Sets a field of the endpoint or of the destination; an empty text stands for one that was left out.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.set.retain(|(other, _)| other != name);
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a list.
    pub fn list(mut self, name: &'static str, values: &[&str]) -> Self {
        self.lists.push((name, values.iter().map(|value| (*value).to_owned()).collect()));
        self
    }

    pub fn user(self, user: &str) -> Self {
        self.set("username", user)
    }

    pub fn url(mut self, url: &str) -> Self {
        self.url = url.to_owned();
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        let mut url: url::Url = self.url.parse().unwrap();
        url.set_port(Some(port)).unwrap();
        self.url = url.into();
        self
    }

    fn declared(&self, groups: &[&Group]) -> Vec<(&str, &str)> {
        let is_there =
            |name: &str| groups.iter().flat_map(|group| group.fields).any(|field| field.name == name);
        let set = self.set.iter().filter(|(name, _)| is_there(name));
        set.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn done(self) -> Arc<Endpoint> {
        let mut endpoint = defined::endpoint(&SPEC, "acme", &self.url, &self.declared(SPEC.endpoint));
        for (name, values) in &self.lists {
            let values = values.iter().cloned().map(model::schema::Value::Text).collect();
            endpoint.options = endpoint.options.with(name, model::schema::Value::List(values));
        }
        Arc::new(endpoint)
    }

    /// The endpoint, and a flow's destination there.
    pub fn with_destination(self) -> (Arc<Endpoint>, Destination) {
        let destination = defined::destination(&SPEC, "acme", &self.declared(SPEC.destination));
        (self.done(), destination)
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
    pub transport: SftpTransport,
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
    pub fn new() -> Self {
        let records = Arc::new(Records::default());
        let node = NodeName::try_from("test".to_owned()).unwrap();
        let now: net::NowFn = Arc::new(|| chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap());
        let settings = NetSettings::new(node, now, Arc::new(uuid::Uuid::now_v7));
        let net = Net::new(settings, Arc::clone(&records) as Arc<dyn ConnectionLog>);
        let mut services = services(Arc::new(FixedClock::default()));
        services.budget = BufferBudget::new(256 << 20);
        Self { transport: SftpTransport::of(Sftp::new(net.clone())), records, net, services }
    }

    /// The same, whose endpoints may log in with the SSH agent at this socket.
    pub fn with_agent(self, socket: &Path) -> Self {
        let sftp = Sftp::new(self.net.clone()).with_agent(Some(socket.to_owned()));
        Self { transport: SftpTransport::of(sftp), ..self }
    }

    pub fn defining(mut self, definitions: Definitions) -> Self {
        self.services.directory = Arc::new(Defined(Arc::new(definitions)));
        self
    }

    /// The place that a flow delivers to.
    /// What the transport's check of an endpoint finds.
    pub fn found(&self, endpoint: &model::definition::Endpoint) -> Vec<String> {
        let all = model::definition::Definitions::default();
        testkit::defined::findings(|findings| {
            model::Declaration::check_endpoint(&self.transport, endpoint, &all, findings);
        })
    }

    pub fn destination(&self, build: Build) -> Arc<dyn transport::Destination> {
        let (endpoint, destination) = build.with_destination();
        self.transport.destination(endpoint, &destination, self.services.clone()).unwrap()
    }

    pub fn folder(&self, endpoint: &Arc<Endpoint>) -> Arc<dyn Folder> {
        self.transport.folder(endpoint, FolderUse::of(Purpose::Deliver), &self.services).unwrap()
    }

    /// Waits until every connection's end is recorded.
    pub async fn settled(&self) {
        assert_eq!(self.net.drain(Duration::from_secs(10)).await, 0, "connections are still open");
    }
}

/// Delivers a file as the engine does, once.
pub async fn deliver(
    world: &World,
    build: Build,
    log: &Arc<MemoryLog>,
    attempt: u32,
    content: &[u8],
) -> Result<Receipt> {
    let node = world.services.node.clone();
    let delivery = DeliveryId::new(uuid::Uuid::from_u128(0x0192_7000));
    let delivery = Deliver {
        attachments: Vec::new(),
        claim: Claim { delivery, node, epoch: 1, attempt },
        payload: BytesPayload::shared("a.edi", content),
        file_name: "a.edi".into(),
        received: model::Timestamp::UNIX_EPOCH,
        flow: "flow".into(),
        partner: None,
        notes: log.notes(),
        interrupted: false,
        is_last: false,
        log: Arc::clone(log) as Arc<dyn DeliveryLog>,
    };
    match world.destination(build).deliver(delivery).await? {
        Sent::Delivered { receipt, .. } => Ok(receipt),
        other => panic!("{other:?}"),
    }
}

pub async fn read(folder: &Arc<dyn Folder>, path: &str, offset: u64) -> io::Result<Vec<u8>> {
    let mut reader = folder.read(&path.into(), offset).await.map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub async fn write(folder: &Arc<dyn Folder>, path: &str, bytes: &[u8]) -> model::Result<u64> {
    let mut upload = folder.begin_write(&path.into(), None).await?;
    for chunk in bytes.chunks(256 * 1024) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    let written = upload.finish().await?;
    Ok(written.size.unwrap())
}

pub async fn list(folder: &Arc<dyn Folder>, directory: &str) -> Result<Vec<Entry>> {
    let listing = folder.list(&RemotePath::from(directory)).await?;
    listing.collect::<Vec<_>>().await.into_iter().collect()
}

/// The error of Waybill inside one of a reader.
pub fn inner(error: &io::Error) -> &model::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap()
}

/// Bytes that repeat nowhere.
pub fn noise(length: usize) -> Vec<u8> {
    testkit::clock::SeededRandom::new(length as u64).bytes(length)
}

/// What the engine notes when it has read an offer.
pub fn note_content(offer: &mut Offer, content: &[u8]) {
    let sha256 = model::Sha256(openssl::sha::sha256(content));
    transport::OfferNotes::change(&mut offer.source_data, |notes| notes.sha256 = Some(sha256));
}

/// Checks that `a.edi` lies in the archive alone, whole.
pub fn is_archived(server: &SftpServer, content: &[u8], play: &str) {
    assert!(server.names("in").is_empty(), "{play}: {:?}", server.names("in"));
    assert_eq!(server.names("done"), ["a.edi"], "{play}");
    assert!(server.get("done/a.edi").unwrap() == content, "{play}");
}
