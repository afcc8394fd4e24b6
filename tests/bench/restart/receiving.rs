//! A gateway that receives a message in parts: each connection ends somewhere on the way, HEAD says how much is held, and the
//! next one goes on there. The sender sends what was packed before, and does no cryptography.

use super::{CHUNK, PATIENCE, fill};
use crate::measure::status_kib;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use suites::pair::parties;
use suites::{GatewayBuilder, KeyPair, eventually};

const ETAG: &str = "\"waybill-bench\"";

/// Receives one file, and prints a line.
pub(super) fn receive(mib: u64, cuts: u64, cipher: &str) {
    let root = tempfile::Builder::new().prefix("waybill-bench-").tempdir().unwrap();
    let place = root.path();
    let keys = place.join("keys");
    let (acme, globex) = (KeyPair::make(&keys, "acme"), KeyPair::make(&keys, "globex"));
    let warehouse = place.join("warehouse");
    fs::create_dir(&warehouse).unwrap();
    let (original, packed) = (place.join("payload.bin"), place.join("message"));
    fill(&original, mib);
    pack(&original, &packed, cipher, &acme, &globex);
    let mut gateway = GatewayBuilder::new(place, "receiver").build();
    gateway.define("globex.toml", &document(&keys, &warehouse));
    gateway.start();
    let mut sender = Sender::open(gateway.http, &packed);
    let begun = Instant::now();
    let part = sender.total / (cuts + 1);
    let mut from = 0;
    for _ in 0..cuts {
        sender.send(from, from + part);
        // A HEAD takes the message over from a connection that is still read. So a sender waits before it asks.
        std::thread::sleep(std::time::Duration::from_secs(1));
        from = sender.held();
    }
    let answer = sender.send(from, sender.total);
    assert!(answer.contains("; processed"), "{answer}\n{}", gateway.log());
    let took = begun.elapsed().as_secs_f64();
    let arrived = warehouse.join("payload.bin");
    eventually("the file is there", PATIENCE, || arrived.exists().then_some(()));
    let memory = status_kib(gateway.pid(), "VmHWM").unwrap() as f64 / 1024.0;
    let sent = sender.sent as f64 / (mib << 20) as f64;
    let same = Command::new("cmp").arg(arrived).arg(original).status().unwrap().success();
    println!("| {cipher}, {cuts} cuts | {sent:.4} | {took:.1} | {memory:.0} | {same} |");
}

fn pack(payload: &Path, message: &Path, cipher: &str, acme: &KeyPair, globex: &KeyPair) {
    let mut command = Command::new(suites::waybill());
    command.args(["as2", "pack", "--from", "ACME", "--to", "GLOBEX", "--cipher", cipher, "--sign-key"]);
    command.arg(&acme.key).arg("--sign-cert").arg(&acme.certificate);
    command.arg("--encrypt-cert").arg(&globex.certificate).arg(payload).arg("--out").arg(message);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

fn document(keys: &Path, warehouse: &Path) -> String {
    format!(
        r#"{sides}[partner.acme.as2.receive]
largest = "1000GiB"
[endpoint.warehouse]
transport = "file"
url = "file://{warehouse}"
[listener.as2]
transport = "as2"
server = "partners"
restart = {{ bytes = "1000GiB" }}
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
"#,
        sides = parties(keys, ("globex", "GLOBEX"), ("acme", "ACME")),
        warehouse = warehouse.display(),
    )
}

/// Sends one message, from any byte on.
struct Sender {
    port: u16,
    /// The header fields but those that every POST says by itself.
    fields: String,
    body: File,
    /// Where the body begins in the file.
    offset: u64,
    /// Bytes of the whole body.
    total: u64,
    /// Bytes of it that were sent, repeated ones included.
    sent: u64,
}

impl Sender {
    /// One that `as2 pack` wrote.
    fn open(port: u16, message: &Path) -> Self {
        let mut reader = BufReader::new(File::open(message).unwrap());
        let (mut fields, mut offset) = (String::new(), 0);
        loop {
            let mut line = String::new();
            offset += reader.read_line(&mut line).unwrap() as u64;
            if line.trim_end().is_empty() {
                break;
            }
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !["content-length", "as2-version"].contains(&name.as_str()) {
                fields.push_str(&line);
            }
        }
        let body = reader.into_inner();
        let total = body.metadata().unwrap().len() - offset;
        Self { port, fields, body, offset, total, sent: 0 }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// How much the gateway holds.
    fn held(&self) -> u64 {
        let mut stream = self.connect();
        let head = format!(
            "HEAD /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nETag: {ETAG}\r\nAS2-From: ACME\r\n\
             AS2-To: GLOBEX\r\nAS2-Version: 1.2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let length = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        length.unwrap_or_else(|| panic!("{answer}"))
    }

    /// Sends the message from a byte on up to another one. At its end, gives the answer; before it, the connection ends.
    fn send(&mut self, from: u64, upto: u64) -> String {
        let mut stream = self.connect();
        let head = format!(
            "POST /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{}AS2-Version: 1.2\r\nETag: {ETAG}\r\n\
             Content-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
            self.fields,
            self.total - 1,
            self.total - from,
            total = self.total,
        );
        stream.write_all(head.as_bytes()).unwrap();
        self.body.seek(SeekFrom::Start(self.offset + from)).unwrap();
        let mut part = BufReader::with_capacity(CHUNK, &self.body).take(upto - from);
        self.sent += io::copy(&mut part, &mut stream).unwrap();
        let mut answer = Vec::new();
        if upto == self.total {
            stream.read_to_end(&mut answer).unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}
