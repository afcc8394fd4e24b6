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
use std::sync::atomic::{AtomicBool, Ordering};
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

    /// The requests so far, each as `NUMBER-ON-ITS-CONNECTION STATUS METHOD PATH`: Apache's, without TLS. Every
    /// request that was answered is among them.
    pub fn requests(&self) -> Vec<String> {
        // Apache logs a request after its answer.
        let is_done = (0..400).any(|_| {
            let board = self.scoreboard();
            // The one that is writing is that of the status.
            let is_done = board.matches('W').count() == 1 && !board.contains('L');
            if !is_done {
                std::thread::sleep(Duration::from_millis(25));
            }
            is_done
        });
        assert!(is_done, "a request has no end: {}", self.scoreboard());
        let text = std::fs::read_to_string(self.text("requests")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What each of Apache's processes does: one letter for each (mod_status).
    fn scoreboard(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0.port())).unwrap();
        write!(stream, "GET {}?auto HTTP/1.0\r\n\r\n", self.text("status")).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Scoreboard: "))
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
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

/// A proxy before a server, behind which one request gets no answer.
pub struct SilentProxy {
    port: u16,
    next: Arc<Mutex<Option<Silence>>>,
}

/// The request that is not answered.
#[derive(Clone, Debug)]
pub struct Silence {
    pub method: &'static str,
    /// How many of its kind are answered before.
    pub after: usize,
    /// Whether the server gets it.
    pub is_done: bool,
}

impl SilentProxy {
    pub fn before(server: &DavServer, silence: Silence) -> Self {
        let address = server.text("url").trim_start_matches("dav://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(Mutex::new(Some(silence)));
        let shared = Arc::clone(&next);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::result::Result::ok) {
                let Ok(server) = TcpStream::connect(&address) else { break };
                let (next, muted) = (Arc::clone(&shared), Arc::new(AtomicBool::new(false)));
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let is_muted = Arc::clone(&muted);
                std::thread::spawn(move || pump(from, to, |_| !is_muted.load(Ordering::SeqCst)));
                std::thread::spawn(move || pump(client, server, |bytes| passes(bytes, &next, &muted)));
            }
        });
        Self { port, next }
    }

    /// Whether the server fell silent.
    pub fn is_used(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }

    /// From now on every request is answered.
    pub fn calm(&self) {
        *self.next.lock().unwrap() = None;
    }

    pub fn endpoint(&self, server: &DavServer, set: &[(&str, &str)]) -> Arc<Endpoint> {
        let mut all = vec![("username", server.text("user")), ("password", server.text("password"))];
        all.extend(set);
        endpoint(&format!("dav://127.0.0.1:{}/", self.port), &all)
    }
}

/// Whether the server gets these bytes of a client, which begin with a request if one begins in them.
fn passes(bytes: &[u8], next: &Mutex<Option<Silence>>, muted: &AtomicBool) -> bool {
    let mut next = next.lock().unwrap();
    if let Some(silence) =
        next.as_mut().filter(|silence| bytes.starts_with(format!("{} /", silence.method).as_bytes()))
    {
        if silence.after > 0 {
            silence.after -= 1;
        } else {
            let is_done = silence.is_done;
            *next = None;
            muted.store(true, Ordering::SeqCst);
            return is_done;
        }
    }
    true
}

/// A proxy before a server that tells the test of each request before the server gets it.
pub struct WatchedProxy {
    port: u16,
}

impl WatchedProxy {
    /// `watch` is called with the beginning of each request.
    pub fn before(server: &DavServer, watch: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let address = server.text("url").trim_start_matches("dav://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let watch = Arc::new(watch);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::result::Result::ok) {
                let Ok(server) = TcpStream::connect(&address) else { break };
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let watch = Arc::clone(&watch);
                std::thread::spawn(move || pump(from, to, |_| true));
                std::thread::spawn(move || {
                    pump(client, server, |bytes| {
                        watch(&String::from_utf8_lossy(bytes));
                        true
                    })
                });
            }
        });
        Self { port }
    }

    pub fn endpoint(&self, server: &DavServer, set: &[(&str, &str)]) -> Arc<Endpoint> {
        let mut all = vec![("username", server.text("user")), ("password", server.text("password"))];
        all.extend(set);
        endpoint(&format!("dav://127.0.0.1:{}/", self.port), &all)
    }
}

/// Passes on what is to be, to the end of the connection; what is not to be passed on ends nothing.
fn pump(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut is_silent = false;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        is_silent = is_silent || !passes(&buffer[..read]);
        if !is_silent && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
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
