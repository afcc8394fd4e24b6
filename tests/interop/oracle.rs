//! `as2 pack` and `as2 unpack` against `openssl cms` and pyas2lib: each reads what the other made.

use crate::hub::{Hub, random, received, sha256, start_peer, tell};
use crate::raw::Message;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::{KeyPair, run};
use tempfile::TempDir;

/// Keys of both sides and a directory to work in.
pub struct Bench {
    pub root: TempDir,
    pub sender: KeyPair,
    pub receiver: KeyPair,
}

impl Bench {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let sender = KeyPair::make(root.path(), "sender");
        let receiver = KeyPair::make(root.path(), "receiver");
        Self { root, sender, receiver }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.root.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn pack(&self, payload: &[u8], more: &[&str]) -> (Value, Message) {
        fs::write(self.path("order.bin"), payload).unwrap();
        let (file, out) = (self.text("order.bin"), self.text("message"));
        let mut arguments = vec!["as2", "pack", "--from", "A", "--to", "B", &file, "--out", &out];
        arguments.extend(more);
        let (status, said, error) = run(&arguments);
        assert!(status.success(), "{more:?}: {said} {error}");
        (serde_json::from_str(&said).unwrap(), Message::read(&fs::read(out).unwrap()))
    }

    /// Unpacks what lies in `message`: exit code and JSON.
    /// Unpacks a message whatever protection it has.
    pub fn unpack(&self, key: &KeyPair, partner: &Path, directory: &str) -> (i32, Value) {
        self.unpack_requiring(key, partner, directory, &["--require", "none"])
    }

    pub fn unpack_requiring(
        &self,
        key: &KeyPair,
        partner: &Path,
        directory: &str,
        more: &[&str],
    ) -> (i32, Value) {
        let directory = self.text(directory);
        let (key, certificate) = (key.key.to_str().unwrap(), key.certificate.to_str().unwrap());
        let partner = partner.to_str().unwrap();
        let message = self.text("message");
        let mut command =
            vec!["as2", "unpack", "--key", key, "--cert", certificate, "--partner-cert", partner];
        command.extend([message.as_str(), "--out", &directory]);
        command.extend(more);
        let (status, said, error) = run(&command);
        let said = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said} {error}"));
        (status.code().unwrap(), said)
    }

    /// A message around a body, as `as2 unpack` reads it.
    pub fn write_message(&self, content_type: &str, body: &[u8]) {
        let headers = format!(
            "AS2-Version: 1.1\r\nAS2-From: A\r\nAS2-To: B\r\nMessage-ID: <1@openssl>\r\nContent-Type: {content_type}\r\n"
        );
        let message = Message { headers, body: Vec::new() }.with_body(body.to_vec());
        fs::write(self.path("message"), message.bytes()).unwrap();
    }
}

/// The two parts of a multipart/signed: the first as it was signed, and the bytes of the signature.
pub(crate) fn signed_parts(entity: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|part| part == what).unwrap();
    let head = String::from_utf8_lossy(&entity[..find(entity, b"\r\n\r\n")]).into_owned();
    let boundary = head
        .split("boundary=")
        .nth(1)
        .unwrap()
        .split([';', '\r'])
        .next()
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let first = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}\r\n");
    let last = format!("\r\n--{boundary}--");
    let rest = &entity[find(entity, first.as_bytes()) + first.len()..];
    let at = find(rest, between.as_bytes());
    let (content, rest) = (rest[..at].to_vec(), &rest[at + between.len()..]);
    let part = &rest[..find(rest, last.as_bytes())];
    let at = find(part, b"\r\n\r\n");
    let (head, body) = (String::from_utf8_lossy(&part[..at]).to_lowercase(), part[at + 4..].to_vec());
    assert!(head.contains("application/pkcs7-signature"), "{head}");
    if !head.contains("base64") {
        return (content, body);
    }
    let text = String::from_utf8(body).unwrap().replace("\r\n", "");
    (content, openssl::base64::decode_block(&text).unwrap())
}

#[test]
fn openssl_reads_what_pack_wrote() {
    let bench = Bench::new();
    let payload = [random(100_000), b"\nbare\n".to_vec()].concat();
    let key = bench.text("sender.key.pem");
    let certificate = bench.text("sender.cert.pem");
    let partner = bench.text("receiver.cert.pem");
    for (cipher, digest) in [
        ("aes256-cbc", "sha256"),
        ("aes128-cbc", "sha1"),
        ("3des", "sha512"),
        ("aes256-gcm", "sha384"),
        ("aes128-gcm", "md5"),
    ] {
        let more = [
            "--sign-key",
            &key,
            "--sign-cert",
            &certificate,
            "--encrypt-cert",
            &partner,
            "--cipher",
            cipher,
            "--digest",
            digest,
        ];
        let (said, message) = bench.pack(&payload, &more);
        assert_eq!(said["bytes"].as_u64().unwrap(), message.bytes().len() as u64, "{said}");
        assert_eq!(message.field("Content-Length").unwrap(), message.body.len().to_string());
        assert!(message.field("Content-Type").unwrap().starts_with("application/pkcs7-mime"));
        fs::write(bench.path("body"), &message.body).unwrap();
        let decrypt = [
            "cms",
            "-decrypt",
            "-binary",
            "-inform",
            "DER",
            "-in",
            "body",
            "-out",
            "inner",
            "-recip",
            "receiver.cert.pem",
            "-inkey",
            "receiver.key.pem",
        ];
        bench.openssl(&decrypt);
        // openssl's own reader of multipart/signed turns line ends, so that the parts are told apart here.
        // What was signed is the payload with its MIME headers; the MIC covers just that.
        let (content, signature) = signed_parts(&fs::read(bench.path("inner")).unwrap());
        fs::write(bench.path("content"), &content).unwrap();
        fs::write(bench.path("signature"), &signature).unwrap();
        let verify = [
            "cms",
            "-verify",
            "-binary",
            "-inform",
            "DER",
            "-in",
            "signature",
            "-content",
            "content",
            "-out",
            "verified",
            "-CAfile",
            "sender.cert.pem",
            "-purpose",
            "any",
        ];
        bench.openssl(&verify);
        let at = content.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(content[at..] == payload, "{cipher}: openssl found another payload");
        let name = match digest {
            "md5" => openssl::hash::MessageDigest::md5(),
            "sha1" => openssl::hash::MessageDigest::sha1(),
            "sha384" => openssl::hash::MessageDigest::sha384(),
            "sha512" => openssl::hash::MessageDigest::sha512(),
            _ => openssl::hash::MessageDigest::sha256(),
        };
        let mic = openssl::base64::encode_block(&openssl::hash::hash(name, &content).unwrap());
        assert_eq!(said["mic"].as_str().unwrap().replace('\n', ""), mic.replace('\n', ""), "{said}");
    }
}

#[test]
fn unpack_reads_what_openssl_wrote() {
    let bench = Bench::new();
    let payload = [random(200_000), b"\nbare\n".to_vec()].concat();
    let head = b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"from openssl.bin\"\r\n\r\n";
    fs::write(bench.path("entity"), [head.as_slice(), &payload].concat()).unwrap();
    let sign = [
        "cms",
        "-sign",
        "-binary",
        "-crlfeol",
        "-in",
        "entity",
        "-out",
        "signed",
        "-signer",
        "sender.cert.pem",
        "-inkey",
        "sender.key.pem",
        "-md",
        "sha256",
    ];
    bench.openssl(&sign);
    let signed = fs::read(bench.path("signed")).unwrap();
    for (number, more) in
        [vec![], vec!["-stream"], vec!["-keyopt", "rsa_padding_mode:oaep"]].iter().enumerate()
    {
        // -keyopt belongs to the recipient before it.
        let mut encrypt = vec![
            "cms",
            "-encrypt",
            "-binary",
            "-aes256",
            "-in",
            "signed",
            "-out",
            "body",
            "-outform",
            "DER",
            "-recip",
            "receiver.cert.pem",
        ];
        encrypt.extend(more.iter().copied());
        bench.openssl(&encrypt);
        bench.write_message(
            "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
            &fs::read(bench.path("body")).unwrap(),
        );
        let directory = format!("out-{number}");
        let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, &directory);
        assert_eq!(code, 0, "{more:?}: {said}");
        assert_eq!(
            (said["from"].as_str(), said["to"].as_str(), said["message_id"].as_str()),
            (Some("A"), Some("B"), Some("<1@openssl>"))
        );
        assert_eq!(
            (said["signed"].as_str(), said["compressed"].as_bool()),
            (Some("sha-256"), Some(false)),
            "{said}"
        );
        assert!(said["encrypted"].is_string(), "{said}");
        let written = fs::read(bench.path(&directory).join("from openssl.bin")).unwrap();
        assert!(written == payload, "{more:?}: another payload");
        assert_eq!(said["files"].as_array().unwrap().len(), 1);
    }
    // Opaque: the content inside the signature, and compressed.
    let opaque = [
        "cms",
        "-sign",
        "-nodetach",
        "-binary",
        "-in",
        "entity",
        "-out",
        "body",
        "-outform",
        "DER",
        "-signer",
        "sender.cert.pem",
        "-inkey",
        "sender.key.pem",
    ];
    bench.openssl(&opaque);
    bench.write_message(
        "application/pkcs7-mime; smime-type=signed-data",
        &fs::read(bench.path("body")).unwrap(),
    );
    let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "out-opaque");
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(bench.path("out-opaque/from openssl.bin")).unwrap() == payload);
    drop(signed);
}

/// One message for several recipients, each of whom reads it: an RSA key by each key transport, an EC key, a third one.
#[test]
fn every_recipient_reads_what_pack_encrypted_for_several() {
    let bench = Bench::new();
    bench.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ec.key.pem",
        "-out",
        "ec.cert.pem",
        "-subj",
        "/CN=EC",
        "-days",
        "30",
    ]);
    let payload = random(50_000);
    let names = ["receiver", "ec", "sender"];
    let certificates: Vec<String> =
        names.iter().map(|name| bench.text(&format!("{name}.cert.pem"))).collect();
    for transport in ["pkcs1", "oaep-sha1", "oaep-sha256", "oaep-sha384", "oaep-sha512"] {
        let mut more = vec!["--key-transport", transport];
        more.extend(certificates.iter().flat_map(|path| ["--encrypt-cert", path]));
        let (_, message) = bench.pack(&payload, &more);
        fs::write(bench.path("body"), &message.body).unwrap();
        for name in names {
            let (certificate, key) = (format!("{name}.cert.pem"), format!("{name}.key.pem"));
            bench.openssl(&[
                "cms",
                "-decrypt",
                "-binary",
                "-inform",
                "DER",
                "-in",
                "body",
                "-out",
                "inner",
                "-recip",
                &certificate,
                "-inkey",
                &key,
            ]);
            let inner = fs::read(bench.path("inner")).unwrap();
            assert!(inner.ends_with(&payload), "{transport} {name}");
        }
    }
}

#[test]
fn pyas2lib_reads_what_pack_wrote() {
    let peer = start_peer();
    let hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let payload = random(50_000);
    let (file, out) = (hub.root.path().join("packed.bin"), hub.root.path().join("message"));
    fs::write(&file, &payload).unwrap();
    let forms = [
        ("aes256-cbc", "pkcs1"),
        ("aes192-cbc", "oaep-sha1"),
        ("3des", "pkcs1"),
        // It reads OAEP with SHA-1 alone.
    ];
    for (number, (cipher, key_transport)) in forms.iter().enumerate() {
        let (status, said, error) = run(&[
            "as2",
            "pack",
            "--from",
            "WAYBILL",
            "--to",
            "PEER",
            "--sign-key",
            hub.own.key.to_str().unwrap(),
            "--sign-cert",
            hub.own.certificate.to_str().unwrap(),
            "--encrypt-cert",
            peer.text("cert"),
            "--cipher",
            cipher,
            "--key-transport",
            key_transport,
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        assert!(status.success(), "{said} {error}");
        let answer = Message::read(&fs::read(&out).unwrap()).post(peer.port()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = &received(&peer)[number];
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&seen["status"], &seen["sha256"]),
            (&json!("processed"), &json!(sha256(&payload))),
            "{seen}"
        );
        assert_eq!((&seen["mic"], &seen["file_name"]), (&said["mic"], &json!("packed.bin")), "{seen}");
    }
}

#[test]
fn unpack_reads_what_pyas2lib_wrote() {
    let peer = start_peer();
    let hub = Hub::for_peer(&peer);
    let payload = random(50_000);
    let (file, message) = (hub.root.path().join("sent.bin"), hub.root.path().join("message"));
    fs::write(&file, &payload).unwrap();
    for (number, form) in
        [&[] as &[&str], &["--compress"], &["--no-sign"], &["--no-encrypt"], &["--cipher", "aes128-cbc"]]
            .iter()
            .enumerate()
    {
        // Nobody listens there: it is made and kept, which is all that is wanted.
        let mut more = vec!["--to-url", "http://127.0.0.1:9/", "--save", message.to_str().unwrap()];
        more.extend(*form);
        hub.send(file.to_str().unwrap(), &more);
        let out = hub.root.path().join(format!("unpacked-{number}"));
        let (status, said, error) = run(&[
            "as2",
            "unpack",
            "--key",
            hub.own.key.to_str().unwrap(),
            "--cert",
            hub.own.certificate.to_str().unwrap(),
            "--partner-cert",
            peer.text("cert"),
            message.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--require",
            "none",
        ]);
        assert!(status.success(), "{form:?}: {said} {error}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["from"], "PEER", "{form:?}: {said}");
        assert_eq!(said["compressed"], form.contains(&"--compress"), "{form:?}: {said}");
        assert_eq!(said["encrypted"].is_string(), !form.contains(&"--no-encrypt"), "{form:?}: {said}");
        assert_eq!(said["signed"].is_string(), !form.contains(&"--no-sign"), "{form:?}: {said}");
        assert!(fs::read(out.join("sent.bin")).unwrap() == payload, "{form:?}: another payload");
    }
}
