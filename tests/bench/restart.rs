//! A large AS2 message over a line that breaks again and again: AS2 restart against a partner that keeps what it received in a
//! file and does no cryptography. At the end the message is unpacked and compared. Then the other way: a gateway receives in
//! as many parts.
//!
//! `WAYBILL_BENCH_RESTART_MIB` (2,048), `WAYBILL_BENCH_CUTS` (20).

#![allow(clippy::disallowed_methods, reason = "the partner opens sockets of its own")]

mod receiving;

use crate::measure::{number, status_kib};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use suites::pair::parties;
use suites::{GatewayBuilder, KeyPair, eventually};
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// Longest wait for the whole message.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) fn run() {
    let (mib, cuts) = (number("WAYBILL_BENCH_RESTART_MIB", 2048), number("WAYBILL_BENCH_CUTS", 20));
    println!(
        "| {mib} MiB by AS2 restart, {cuts} cuts | sent, of its bytes | seconds | restarts | peak memory, MiB | arrived whole |"
    );
    println!("|---|---|---|---|---|---|");
    for cipher in ["aes256-cbc", "aes256-gcm"] {
        send(mib, 0, cipher);
        send(mib, cuts, cipher);
    }
    println!(
        "\n| {mib} MiB received by AS2 restart, {cuts} cuts | received, of the payload's bytes | seconds | peak memory, MiB | arrived whole |"
    );
    println!("|---|---|---|---|---|");
    for cipher in ["aes256-cbc", "aes256-gcm"] {
        receiving::receive(mib, 0, cipher);
        receiving::receive(mib, cuts, cipher);
    }
}

/// Sends one file, and prints a line.
fn send(mib: u64, cuts: u64, cipher: &str) {
    let root = tempfile::Builder::new().prefix("waybill-bench-").tempdir().unwrap();
    let keys = root.path().join("keys");
    let (acme, globex) = (KeyPair::make(&keys, "acme"), KeyPair::make(&keys, "globex"));
    let folder = root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let original = root.path().join("original.bin");
    fill(&original, mib);
    let partner = Partner::open(root.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultProxy::before((Ipv4Addr::LOCALHOST, partner.port).into())).unwrap();
    if cuts > 0 {
        let after = (mib << 20) / (cuts + 1);
        let cutting = Behaviour::Cut { direction: Direction::Up, after, how: Ending::Reset };
        runtime.block_on(proxy.set(cutting)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root.path(), "sender").build();
    let port = proxy.address().port();
    gateway.define("acme.toml", &document(&keys, &folder, port, cipher));
    fs::hard_link(&original, folder.join("payload.bin")).unwrap();
    let begun = Instant::now();
    gateway.start();
    eventually("so many cuts", PATIENCE, || (proxy.accepted() > cuts || partner.is_done()).then_some(()));
    runtime.block_on(proxy.set(Behaviour::Pass)).unwrap();
    eventually("the whole message", PATIENCE, || partner.is_done().then_some(()));
    let took = begun.elapsed().as_secs_f64();
    let memory = status_kib(gateway.pid(), "VmHWM").unwrap() as f64 / 1024.0;
    drop(gateway);
    let (total, restarts) = {
        let state = partner.state.lock().unwrap();
        (state.total, state.restarts)
    };
    let sent = proxy.bytes(Direction::Up) as f64 / total as f64;
    let same = is_whole(root.path(), &partner, &acme, &globex, &original);
    println!("| {cipher}, {cuts} cuts | {sent:.4} | {took:.1} | {restarts} | {memory:.0} | {same} |");
}

fn fill(path: &Path, mib: u64) {
    let mut file = File::create(path).unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..mib {
        openssl::rand::rand_bytes(&mut block).unwrap();
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

fn document(keys: &Path, folder: &Path, port: u16, cipher: &str) -> String {
    let sides = parties(keys, ("acme", "ACME"), ("globex", "GLOBEX"));
    format!(
        r#"{sides}[partner.globex.as2.send]
cipher = "{cipher}"
restart = {{ offer = true }}
[partner.globex.as2.mdn]
ask = "none"
[endpoint.folder]
transport = "file"
url = "file://{folder}"
[endpoint.partner]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{port}/as2"
offline = false
[flow.orders]
source = {{ endpoint = "folder", mask = "*", every = "1s", stable_for = "0s", after = "keep" }}
[[flow.orders.destination]]
endpoint = "partner"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
        folder = folder.display(),
    )
}

/// Unpacks what the partner has, and compares it.
fn is_whole(root: &Path, partner: &Partner, acme: &KeyPair, globex: &KeyPair, original: &Path) -> bool {
    let (message, out) = (root.join("message"), root.join("unpacked"));
    let state = partner.state.lock().unwrap();
    let mut file = File::create(&message).unwrap();
    file.write_all(format!("{}\r\n", state.fields).as_bytes()).unwrap();
    io::copy(&mut File::open(&state.held).unwrap(), &mut file).unwrap();
    drop(file);
    let mut command = Command::new(suites::waybill());
    command.args(["as2", "unpack", "--key"]).arg(&globex.key).arg("--cert").arg(&globex.certificate);
    command.arg("--partner-cert").arg(&acme.certificate).arg(&message).arg("--out").arg(&out);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    let unpacked = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    Command::new("cmp").arg(unpacked).arg(original).status().unwrap().success()
}

/// A partner that keeps one message.
struct Partner {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// What it has.
#[derive(Default)]
struct State {
    /// The file with the bytes of the body.
    held: PathBuf,
    etag: String,
    /// The header fields that are the message's.
    fields: String,
    total: u64,
    restarts: u64,
    is_done: bool,
}

impl Partner {
    fn open(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = root.join("held");
        File::create(&held).unwrap();
        let state = Arc::new(Mutex::new(State { held, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                // A connection that breaks ends its thread.
                std::thread::spawn(move || drop(serve(&stream.unwrap(), &shared)));
            }
        });
        Self { port, state }
    }

    /// Not while a message comes in.
    fn is_done(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.is_done)
    }
}

/// Answers the requests of a connection.
fn serve(stream: &TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let head = Head::read(&mut reader)?;
        // One POST at a time; a HEAD waits for the end of the one before it.
        let mut state = shared.lock().unwrap();
        let held = if head.etag == state.etag { fs::metadata(&state.held)?.len() } else { 0 };
        let answer = if first.starts_with("HEAD ") {
            format!("200 OK\r\nContent-Length: {held}")
        } else {
            head.take(&mut reader, &mut state, held)?
        };
        let mut to = stream;
        to.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes())?;
    }
}

/// The head of a request.
#[derive(Default)]
struct Head {
    etag: String,
    fields: String,
    length: u64,
    /// The first byte of the body and the bytes of the whole, of `Content-Range`.
    range: Option<(u64, u64)>,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut head = Self::default();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(head) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "host" => {}
                "etag" => value.clone_into(&mut head.etag),
                "content-length" => head.length = value.parse().unwrap(),
                "content-range" => {
                    let (from, rest) = value.trim_start_matches("bytes ").split_once('-').unwrap();
                    let (_, total) = rest.split_once('/').unwrap();
                    head.range = Some((from.parse().unwrap(), total.parse().unwrap()));
                }
                _ => head.fields.push_str(&line),
            }
        }
    }

    /// Takes in a body; gives the answer.
    fn take(self, reader: &mut impl Read, state: &mut State, held: u64) -> io::Result<String> {
        let (from, total) = self.range.unwrap_or((0, self.length));
        if from != 0 && from != held && !(held == total && from + 1 == total) {
            return Ok(format!(
                "416 Range Not Satisfiable\r\nContent-Range: bytes */{held}\r\nContent-Length: 0"
            ));
        }
        if from > 0 {
            state.restarts += 1;
        }
        (state.etag, state.fields, state.total) = (self.etag, self.fields, total);
        let mut file = OpenOptions::new().write(true).open(&state.held)?;
        file.set_len(from)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        let (mut left, mut chunk) = (self.length, vec![0; CHUNK]);
        while left > 0 {
            let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            match reader.read(&mut chunk[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    file.write_all(&chunk[..count])?;
                    left -= count as u64;
                }
            }
        }
        state.is_done = true;
        Ok("200 OK\r\nContent-Length: 0".to_owned())
    }
}
