//! Real WebDAV servers, servers that answer by a script, and the endpoints to use them by.
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
use model::definition::{Definitions, Endpoint};
use model::{ConnectionClosed, NodeName, Purpose, RemotePath, Result};
use net::{ConnectionFailed, ConnectionLog, Net, NetSettings, Opened};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::clock::FixedClock;
use testkit::defined;
use testkit::fake::services;
use testkit::server::Server;
use tokio::io::AsyncReadExt;
use transport::folder::{Entry, Folder, FolderUse};
use transport::{BufferBudget, Services};
use transport_webdav::{SPEC, Webdav, WebdavTransport};

/// A WebDAV server of this test's own; it dies with this value, or with the test's process.
pub struct DavServer(Server);

impl DavServer {
    pub fn apache(options: &[&str]) -> Self {
        Self(Server::start("apache", options))
    }

    /// `nginx` or `wsgidav`.
    pub fn other(name: &str) -> Self {
        Self(Server::start("dav", &["--server", name]))
    }

    pub fn text(&self, field: &str) -> &str {
        self.0.text(field)
    }

    pub fn files(&self) -> PathBuf {
        self.text("folder").into()
    }

    /// The requests so far, each as `NUMBER-ON-ITS-CONNECTION STATUS METHOD PATH`.
    pub fn requests(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.text("requests")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until so many requests were logged: that happens after their answer.
    pub async fn logged(&self, count: usize) -> Vec<String> {
        for _ in 0..200 {
            if self.requests().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.requests()
    }

    pub fn endpoint(&self, directory: &str, set: &[(&str, &str)]) -> Arc<Endpoint> {
        let mut all = vec![("username", self.text("user")), ("password", self.text("password"))];
        all.extend(set);
        endpoint(&format!("{}/{directory}", self.text("url")), &all)
    }
}

pub fn endpoint(url: &str, set: &[(&str, &str)]) -> Arc<Endpoint> {
    Arc::new(defined::endpoint(&SPEC, "share", url, set))
}

/// A server that answers each request by a script: the head and body of a request go in, the bytes of the answer come
/// out. It closes each connection after its answer, and ends with the process.
pub struct Scripted {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub fn start(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { port, heads }
    }

    pub fn url(&self) -> String {
        format!("dav://127.0.0.1:{}", self.port)
    }

    pub fn endpoint(&self, set: &[(&str, &str)]) -> Arc<Endpoint> {
        endpoint(&format!("{}/in", self.url()), set)
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(usize, &str) -> Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let _ = reader.take(length.unwrap_or(0)).read_to_end(&mut Vec::new());
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(head.clone());
        seen.len() - 1
    };
    let _ = stream.write_all(&answer(number, &head));
}

/// An answer with a status and a body, after which the connection ends.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A multistatus answer with these responses.
pub fn multistatus(responses: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">{responses}</D:multistatus>");
    answer("207 Multi-Status", "Content-Type: application/xml\r\n", &body)
}

/// The response of a directory.
pub fn directory(href: &str) -> String {
    format!(
        "<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>\
         </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
}

/// The response of a file.
pub fn file(href: &str, size: u64) -> String {
    format!(
        "<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype/><D:getcontentlength>{size}\
         </D:getcontentlength></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
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
    pub transport: WebdavTransport,
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
        Self { transport: WebdavTransport::of(Webdav::new(net.clone())), records, net, services }
    }

    pub fn defining(mut self, definitions: Definitions) -> Self {
        self.services.directory = Arc::new(Defined(Arc::new(definitions)));
        self
    }

    pub fn folder(&self, endpoint: &Arc<Endpoint>) -> Arc<dyn Folder> {
        self.transport.folder(endpoint, FolderUse::of(Purpose::Poll), &self.services).unwrap()
    }

    pub fn opened(&self) -> usize {
        self.records.opened.lock().unwrap().len()
    }
}

pub async fn write(folder: &Arc<dyn Folder>, path: &str, bytes: &[u8]) -> Result<transport::folder::Written> {
    let mut upload = folder.begin_write(&path.into(), Some(bytes.len() as u64)).await?;
    for chunk in bytes.chunks(256 * 1024) {
        if let Err(error) = upload.write(Bytes::copy_from_slice(chunk)).await {
            upload.abort().await;
            return Err(error);
        }
    }
    upload.finish().await
}

pub async fn read(folder: &Arc<dyn Folder>, path: &str, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut reader = folder.read(&path.into(), offset).await.map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub async fn list(folder: &Arc<dyn Folder>, directory: &str) -> Result<Vec<Entry>> {
    let listing = folder.list(&RemotePath::from(directory)).await?;
    listing.collect::<Vec<_>>().await.into_iter().collect()
}
