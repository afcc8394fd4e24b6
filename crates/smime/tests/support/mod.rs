//! Certificates made on the spot, a receiver that keeps what it gets, and the `openssl` program.

// Each test binary uses its own share of this.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Rsa;
use openssl::x509::extension::SubjectKeyIdentifier;
use openssl::x509::{X509, X509NameBuilder};
use smime::{
    DecryptionKey, Entity, Error, Headers, Keys, Measured, Part, PartReceiver, Payload, ReadOptions, Report,
    Signing, read_message,
};
use tempfile::TempDir;

pub struct Party {
    pub key: PKey<Private>,
    pub certificate: X509,
}

impl Party {
    pub fn rsa(name: &str) -> Party {
        Party::of(name, PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap())
    }

    /// With an RSA key of so many bits.
    pub fn short(name: &str, bits: u32) -> Party {
        Party::of(name, PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap())
    }

    pub fn ec(name: &str) -> Party {
        Party::on_curve(name, Nid::X9_62_PRIME256V1)
    }

    pub fn on_curve(name: &str, curve: Nid) -> Party {
        let group = EcGroup::from_curve_name(curve).unwrap();
        Party::of(name, PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
    }

    pub fn ed25519(name: &str) -> Party {
        Party::of(name, PKey::generate_ed25519().unwrap())
    }

    /// With a key that is for RSA-PSS alone (id-RSASSA-PSS).
    pub fn only_pss(name: &str) -> Party {
        let mut context = PkeyCtx::new_id(Id::RSA_PSS).unwrap();
        context.keygen_init().unwrap();
        context.set_rsa_keygen_bits(2048).unwrap();
        Party::of(name, context.keygen().unwrap())
    }

    pub fn of(name: &str, key: PKey<Private>) -> Party {
        let mut serial = BigNum::new().unwrap();
        serial.rand(64, MsbOption::MAYBE_ZERO, false).unwrap();
        Party::with_serial(name, key, &serial)
    }

    pub fn with_serial(name: &str, key: PKey<Private>, serial: &BigNum) -> Party {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(1_600_000_000).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(identifier).unwrap();
        let digest = if key.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
        builder.sign(&key, digest).unwrap();
        Party { key, certificate: builder.build() }
    }

    /// The same key under a new certificate.
    pub fn renewed(&self, name: &str) -> Party {
        Party::of(name, self.key.clone())
    }

    pub fn decryption(&self) -> DecryptionKey {
        DecryptionKey { key: self.key.clone(), certificate: self.certificate.clone() }
    }

    pub fn signing(&self) -> Signing {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Signing::new(self.key.clone(), self.certificate.clone(), time, "=_waybill_0001")
    }
}

pub fn signing_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Keeps every part in memory.
#[derive(Default)]
pub struct Collected(pub Vec<(Part, Vec<u8>)>);

impl PartReceiver for Collected {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        self.0.push((part.clone(), Vec::new()));
        Ok(Box::new(&mut self.0.last_mut().unwrap().1))
    }
}

pub type Parts = Vec<(Part, Vec<u8>)>;

/// Keys of one reader and one pinned signer.
pub fn read(
    headers: &Headers,
    body: &[u8],
    ours: &[&Party],
    pinned: &[&Party],
) -> Result<(Report, Parts), Error> {
    // Whether what is weak is refused has tests of its own.
    read_with(headers, body, ours, pinned, &ReadOptions { accept_weak: true, ..ReadOptions::default() })
}

pub fn read_with(
    headers: &Headers,
    body: impl Read,
    ours: &[&Party],
    pinned: &[&Party],
    options: &ReadOptions,
) -> Result<(Report, Parts), Error> {
    let decrypt: Vec<_> = ours.iter().map(|party| party.decryption()).collect();
    let verify: Vec<_> = pinned.iter().map(|party| party.certificate.clone()).collect();
    let mut collected = Collected::default();
    let keys = Keys { decrypt: &decrypt, verify: &verify };
    let report = read_message(headers, body, keys, options, &mut collected)?;
    Ok((report, collected.0))
}

pub fn payload_entity(content: &[u8]) -> Entity<Payload<&[u8]>> {
    let headers = Headers::new()
        .with("Content-Type", "application/edi-x12; name=orders.edi")
        .unwrap()
        .with("Content-Transfer-Encoding", "binary")
        .unwrap();
    Entity::new(headers, Payload::new(content, content.len() as u64))
}

/// A body whose length nobody knows in advance.
pub struct Unmeasured<R>(pub R);

impl<R: Read> Read for Unmeasured<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<R: Read> Measured for Unmeasured<R> {
    fn total_len(&self) -> Option<u64> {
        None
    }
}

/// [`payload_entity`] of an unknown length: every CMS structure around it is of an indefinite one.
pub fn unmeasured_entity(content: &[u8]) -> Entity<Unmeasured<Payload<&[u8]>>> {
    let (headers, body) = payload_entity(content).into_parts();
    Entity::new(headers, Unmeasured(body))
}

pub fn content_type(value: &str) -> Headers {
    Headers::new().with("Content-Type", value).unwrap()
}

pub fn all(mut source: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that look like nothing, the same at each call.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// The `openssl` program in a folder of its own.
pub struct OpenSsl(TempDir);

impl OpenSsl {
    pub fn new() -> OpenSsl {
        OpenSsl(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> &Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// `name.pem` and `name.key`.
    pub fn party(&self, name: &str, party: &Party) -> &Self {
        self.put(&format!("{name}.pem"), &party.certificate.to_pem().unwrap());
        self.put(&format!("{name}.key"), &party.key.private_key_to_pem_pkcs8().unwrap())
    }

    /// Runs `openssl cms` with these arguments and gives its output.
    pub fn cms(&self, arguments: &str) -> Vec<u8> {
        self.run(Command::new("openssl").arg("cms").args(arguments.split_ascii_whitespace()), &[])
    }

    /// Runs `tests/servers/cms_peer.py`.
    pub fn peer(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut python = Command::new(root.join("target/servers/venv/bin/python"));
        python.arg(root.join("tests/servers/cms_peer.py")).args(arguments.split_ascii_whitespace());
        self.run(&mut python, input)
    }

    /// Runs a program in this folder and gives its output.
    pub fn run(&self, command: &mut Command, input: &[u8]) -> Vec<u8> {
        self.put("standard-input", input);
        let output = command
            .current_dir(self.0.path())
            .stdin(std::fs::File::open(self.path("standard-input")).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
