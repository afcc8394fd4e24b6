//! A gateway named WAYBILL with one partner, PEER: a folder that goes out to it, a folder that takes what
//! it sends.

use crate::raw::{self, Message};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, KeyPair, Server, repository, run};
use tempfile::TempDir;

/// Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Hub {
    pub gateway: Gateway,
    pub root: TempDir,
    pub own: KeyPair,
    pub peer_key: PathBuf,
    pub peer_certificate: PathBuf,
}

impl Hub {
    /// A gateway whose partner is a real peer.
    pub fn for_peer(peer: &Server) -> Self {
        let root = tempfile::Builder::new().prefix("waybill-interop-").tempdir().unwrap();
        let keys = root.path().join("keys");
        fs::create_dir_all(&keys).unwrap();
        fs::copy(peer.text("cert"), keys.join("peer.cert.pem")).unwrap();
        Self::in_root(root, peer.text("key").into(), "")
    }

    /// A gateway whose partner is played by the test.
    pub fn alone() -> Self {
        Self::with("")
    }

    /// The same with settings.
    pub fn with(settings: &str) -> Self {
        Self::knowing_its_root(|_| settings.to_owned())
    }

    /// The same with settings that name files below its root.
    pub fn knowing_its_root(settings: impl FnOnce(&Path) -> String) -> Self {
        let root = tempfile::Builder::new().prefix("waybill-interop-").tempdir().unwrap();
        let peer = KeyPair::make(&root.path().join("keys"), "peer");
        let settings = settings(root.path());
        Self::in_root(root, peer.key, &settings)
    }

    fn in_root(root: TempDir, peer_key: PathBuf, settings: &str) -> Self {
        let own = KeyPair::make(&root.path().join("keys"), "waybill");
        for folder in ["out", "in", "errors"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let settings = format!("[audit]\nseal_every = \"1s\"\n{settings}");
        let gateway = GatewayBuilder::new(root.path(), "hub").settings(&settings).build();
        let peer_certificate = root.path().join("keys/peer.cert.pem");
        Self { gateway, root, own, peer_key, peer_certificate }
    }

    /// The definitions, with lines for the partner's agreement.
    pub fn define(&self, peer_url: &str, agreement: &str) {
        self.define_with(peer_url, agreement, "application/octet-stream");
    }

    /// The same, with this media type of what goes out.
    pub fn define_with(&self, peer_url: &str, agreement: &str, media_type: &str) {
        let text = format!(
            r#"[identity.waybill.as2]
id = "WAYBILL"
keys = ["waybill"]
[key.waybill]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[partner.peer.as2]
id = "PEER"
certificates = ["peer"]
{agreement}
[certificate.peer]
pem = "${{file:{root}/keys/peer.cert.pem}}"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.peer-as2]
transport = "as2"
partner = "peer"
identity = "waybill"
url = "{peer_url}"
media_type = "{media_type}"
[flow.outgoing]
source = {{ endpoint = "out", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/errors" }}
[[flow.outgoing.destination]]
endpoint = "peer-as2"
retry = {{ attempts = 6, first = "1s", longest = "1s" }}
[listener.as2]
transport = "as2"
server = "partners"
[flow.incoming]
source = {{ listener = "as2", partner = "peer", mask = "*" }}
[[flow.incoming.destination]]
endpoint = "in"
"#,
            root = self.root.path().display(),
        );
        self.gateway.define("hub.toml", &text);
    }

    /// Puts a file into the folder that goes out.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let beside = self.root.path().join("being-put");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, self.root.path().join("out").join(name)).unwrap();
    }

    /// What came in so far: names and bytes.
    pub fn inbox(&self) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(self.root.path().join("in"))
            .unwrap()
            .map(Result::unwrap)
            // A temporary one may get its own name while this looks: it is not touched.
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
            .collect();
        found.sort();
        found
    }

    /// Waits for a file of this name and gives its bytes.
    pub fn wait_for_file(&self, name: &str) -> Vec<u8> {
        suites::eventually(&format!("{name} has come in; there are {:?}", self.inbox()), PATIENCE, || {
            self.inbox().into_iter().find(|(found, _)| found == name).map(|(_, bytes)| bytes)
        })
    }

    /// Waits until the transfer of a file is final, and gives its whole way.
    pub fn ended(&self, file: &str) -> Value {
        suites::eventually(&format!("{file} has ended\n{}", self.gateway.log()), PATIENCE, || {
            let found = self.gateway.json(&["transfer", "list", "--file", file]);
            let transfer = found.as_array().unwrap().first()?.clone();
            let ended =
                ["completed", "failed", "partly_failed"].contains(&transfer["state"].as_str().unwrap());
            ended.then(|| self.gateway.json(&["transfer", "show", transfer["id"].as_str().unwrap()]))
        })
    }

    pub fn transfers(&self) -> usize {
        self.gateway.json(&["transfer", "list", "--limit", "1000"]).as_array().unwrap().len()
    }

    /// Audit events of a kind or its beginning, newest first.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let found = self.gateway.json(&["audit", "search", "--kind", kind, "--limit", "1000"]);
        found.as_array().unwrap().clone()
    }

    /// A message from PEER to us, made by `as2 pack`: signed by `signer`, encrypted for `recipient`.
    pub fn pack(&self, name: &str, payload: &[u8], signer: &KeyPair, recipient: Option<&KeyPair>) -> Message {
        let (file, out) = (self.root.path().join("packed").join(name), self.root.path().join("message"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, payload).unwrap();
        let mut arguments = vec!["as2", "pack", "--from", "PEER", "--to", "WAYBILL"];
        let (key, certificate) = (signer.key.to_str().unwrap(), signer.certificate.to_str().unwrap());
        arguments.extend(["--sign-key", key, "--sign-cert", certificate]);
        if let Some(recipient) = recipient {
            arguments.extend(["--encrypt-cert", recipient.certificate.to_str().unwrap()]);
        }
        arguments.extend([file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        let (status, said, error) = run(&arguments);
        assert!(status.success(), "{said} {error}");
        Message::read(&fs::read(out).unwrap())
    }

    /// The peer's own key, where the test plays it.
    pub fn peer(&self) -> KeyPair {
        KeyPair { key: self.peer_key.clone(), certificate: self.peer_certificate.clone() }
    }

    /// A message as it should be.
    pub fn good(&self, name: &str, payload: &[u8]) -> Message {
        self.pack(name, payload, &self.peer(), Some(&self.own))
    }

    /// That the gateway is unmoved: ready, and a good message still goes through.
    pub fn is_unmoved(&mut self) {
        assert!(self.gateway.ended().is_none(), "{}", self.gateway.log());
        assert_eq!(raw::get(self.gateway.console, "/readyz").unwrap().status, 200);
        let name = format!("still-{}.bin", suites::free_port());
        let answer = self.good(&name, name.as_bytes()).post(self.gateway.http).unwrap();
        assert!(answer.text().contains("MDN-sent-automatically; processed\r\n"), "{}", answer.text());
        assert_eq!(self.wait_for_file(&name), name.as_bytes());
        fs::remove_file(self.root.path().join("in").join(name)).unwrap();
    }

    /// Sends by pyas2lib as PEER, and gives what it says of the answer.
    pub fn send(&self, file: &str, more: &[&str]) -> Value {
        self.send_to(&self.url(), None, file, more)
    }

    /// The same to this URL, trusting a web server's certificate.
    pub fn send_to(&self, url: &str, trusted: Option<&Path>, file: &str, more: &[&str]) -> Value {
        self.send_by("as2_peer", url, trusted, file, more)
    }

    /// The same by the script of another peer.
    pub fn send_by(
        &self,
        script: &str,
        url: &str,
        trusted: Option<&Path>,
        file: &str,
        more: &[&str],
    ) -> Value {
        let mut command = Command::new(repository().join(format!("tests/servers/{script}.sh")));
        if let Some(trusted) = trusted {
            command.env("SSL_CERT_FILE", trusted);
        }
        let output = command
            .args(["send", "--to-url", url])
            .args(["--from", "PEER", "--to", "WAYBILL", "--file", file])
            .arg("--key")
            .arg(&self.peer_key)
            .arg("--cert")
            .arg(&self.peer_certificate)
            .arg("--partner-cert")
            .arg(&self.own.certificate)
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said)
            .unwrap_or_else(|e| panic!("{more:?}: {e}: {said}\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Where partners post their messages.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/as2", self.gateway.http)
    }
}

/// The peer on pyas2lib that takes messages from WAYBILL.
pub fn start_peer() -> Server {
    Server::start("as2_peer", &[])
}

/// Tells the peer how to behave, and whose messages to take.
pub fn tell(peer: &Server, what: &Value) {
    let body = what.to_string();
    let mut stream = raw::connect(peer.port());
    let head = format!(
        "POST /control HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let answer = raw::answer(stream).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What the peer has received so far.
pub fn received(peer: &Server) -> Vec<Value> {
    let lines = fs::read_to_string(peer.text("received")).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes of no pattern.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    openssl::sha::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
