//! For tests: three transports, and a machine with a few files and variables.

use crate::{Catalogue, Environment, ReadFile, Roles, Roots, TransportSpec};
use model::{Error, ErrorKind, OptionKind, OptionSpec, PublicMaterial, Timestamp};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509NameBuilder};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// 2027-01-15.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO acme\n";

const fn option(name: &'static str, kind: OptionKind, required: bool) -> OptionSpec {
    OptionSpec { name, kind, default: None, required, doc: "For tests." }
}

static SFTP_OPTIONS: &[OptionSpec] = &[
    option("proxy", OptionKind::Text, false),
    option("password", OptionKind::Secret, false),
    option("private_key", OptionKind::Secret, false),
    option("passphrase", OptionKind::Secret, false),
    option("host_key", OptionKind::Public(PublicMaterial::HostKeys), true),
    option("known_hosts", OptionKind::Public(PublicMaterial::KnownHosts), false),
    option("timeout", OptionKind::Duration, false),
    option("strict", OptionKind::Bool, false),
    option("retries", OptionKind::Integer { min: 0, max: 9 }, false),
    option("compression", OptionKind::Choice(&["none", "zlib"]), false),
    option("window", OptionKind::Size, false),
];

static FILE_OPTIONS: &[OptionSpec] = &[option("suffix", OptionKind::Text, false)];

pub(crate) fn catalogue() -> Catalogue {
    let spec = |name, schemes, options, source, listener| TransportSpec {
        name,
        schemes,
        options,
        roles: Roles { source, destination: true, listener },
        partnership: listener,
        check: Arc::new(|endpoint| {
            if endpoint.options.text("suffix") == Some("*") {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "use the suffix \"*\""));
            }
            Ok(())
        }),
        check_flow: Arc::new(|_, flow| {
            if flow.name == "impossible" {
                return Err(Error::permanent(ErrorKind::Unsupported, "poll for this flow"));
            }
            Ok(())
        }),
    };
    Catalogue::from_iter([
        spec("sftp", &["sftp"][..], SFTP_OPTIONS, true, false),
        spec("file", &["file"], FILE_OPTIONS, true, false),
        spec("as2", &["http", "https"], &[], false, true),
    ])
}

/// A machine that is only imagined. Links are files whose real path is another.
pub(crate) struct Machine {
    pub(crate) variables: BTreeMap<&'static str, String>,
    pub(crate) files: BTreeMap<PathBuf, (Vec<u8>, bool)>,
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
}

impl Environment for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.links.get(path).cloned().unwrap_or_else(|| path.to_owned()))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<ReadFile> {
        let (bytes, readable_by_all) =
            self.files.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        let cut = bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ReadFile { bytes: bytes[..cut].to_vec(), readable_by_all: *readable_by_all })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp(NOW, 0).unwrap()
    }
}

pub(crate) fn roots() -> Roots {
    let variables = ["HOST", "EMPTY", "UNSET", "MASK", "SHOWN"].map(str::to_owned);
    let mut roots = Roots::new(["/srv".into()], variables, ["/pem".into(), "/secret".into()]);
    roots.secret_variables = ["PASSWORD", "OPEN", "SESAME"].map(str::to_owned).into();
    roots
}

pub(crate) fn machine() -> Machine {
    let mut files: BTreeMap<PathBuf, (Vec<u8>, bool)> = pems().clone();
    let mut add = |path: &str, bytes: &[u8], open| files.insert(path.into(), (bytes.to_vec(), open));
    add("/secret/password", b"hunter2\n", false);
    add("/secret/open", b"hunter2\n", true);
    add("/secret/latin1", b"\xe9", false);
    add("/secret/huge", &vec![b'x'; (1 << 20) + 1], false);
    add("/secret/ssh", b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", false);
    add("/secret/host.pub", HOST_KEY.as_bytes(), false);
    // With a comment in Latin-1.
    let line = format!("sftp.example {HOST_KEY}");
    add("/secret/known_hosts", &[b"# caf\xe9\n", line.as_bytes()].concat(), false);
    add("/elsewhere/password", b"hunter2\n", false);
    let links = [("/secret/link".into(), "/elsewhere/password".into())];
    let variables = [
        ("HOST", "sftp.example"),
        ("EMPTY", ""),
        ("HOME", "/root"),
        ("MASK", "*.edi"),
        ("PASSWORD", "hunter2"),
        ("OPEN", "open"),
        ("SESAME", "sesame"),
        ("SHOWN", "shownvalue"),
    ];
    Machine {
        variables: variables.map(|(name, value)| (name, value.to_owned())).into(),
        files,
        links: links.into(),
    }
}

/// Made once: keys take their time.
fn pems() -> &'static BTreeMap<PathBuf, (Vec<u8>, bool)> {
    static PEMS: OnceLock<BTreeMap<PathBuf, (Vec<u8>, bool)>> = OnceLock::new();
    PEMS.get_or_init(|| {
        let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let (good, other, small) = (rsa(2048), rsa(2048), rsa(1024));
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let curve = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut files = BTreeMap::new();
        let mut add = |name: &str, pem: Vec<u8>| files.insert(PathBuf::from("/pem").join(name), (pem, false));
        add("good.key", good.private_key_to_pem_pkcs8().unwrap());
        add("small.key", small.private_key_to_pem_pkcs8().unwrap());
        add("curve.key", curve.private_key_to_pem_pkcs8().unwrap());
        add(
            "locked.key",
            good.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"opensesame").unwrap(),
        );
        add("good.pem", certificate(&good, NOW - DAY, NOW + 400 * DAY));
        add("other.pem", certificate(&other, NOW - DAY, NOW + 400 * DAY));
        add("small.pem", certificate(&small, NOW - DAY, NOW + 400 * DAY));
        add("curve.pem", certificate(&curve, NOW - DAY, NOW + 400 * DAY));
        add("expired.pem", certificate(&good, NOW - 9 * DAY, NOW - 5 * DAY));
        add("expiring.pem", certificate(&good, NOW - DAY, NOW + 10 * DAY + 60));
        add("future.pem", certificate(&good, NOW + DAY, NOW + 400 * DAY));
        let beside =
            [certificate(&good, NOW - DAY, NOW + 400 * DAY), good.private_key_to_pem_pkcs8().unwrap()];
        add("beside.pem", beside.concat());
        add(
            "noted.pem",
            [b"password: hunter2\n".to_vec(), certificate(&good, NOW - DAY, NOW + 400 * DAY)].concat(),
        );
        let two = [certificate(&good, NOW - DAY, NOW + 400 * DAY), certificate(&other, NOW, NOW + 9 * DAY)];
        add("two.pem", two.concat());
        files
    })
}

/// A self-signed certificate, PEM.
pub(crate) fn certificate(key: &PKey<Private>, from: i64, until: i64) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(until).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build().to_pem().unwrap()
}
