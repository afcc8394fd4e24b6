//! Both parties' keys, the payload, and the places of everything else.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use suites::KeyPair;
use suites::pair::parties;
use tempfile::TempDir;

/// A cipher that is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Cbc,
    Gcm,
}

impl Cipher {
    pub(super) const ALL: [Self; 2] = [Self::Cbc, Self::Gcm];

    /// The word for it in options.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cbc => "aes256-cbc",
            Self::Gcm => "aes256-gcm",
        }
    }

    pub(super) fn primitive(self) -> openssl::symm::Cipher {
        match self {
            Self::Cbc => openssl::symm::Cipher::aes_256_cbc(),
            Self::Gcm => openssl::symm::Cipher::aes_256_gcm(),
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbc => "AES-256-CBC",
            Self::Gcm => "AES-256-GCM",
        })
    }
}

/// Acme sends, Globex receives.
pub(super) struct Material {
    root: TempDir,
    pub(super) mib: u64,
    pub(super) acme: KeyPair,
    pub(super) globex: KeyPair,
}

impl Material {
    /// With a payload of so many MiB.
    pub(super) fn make(mib: u64) -> Self {
        let root = tempfile::Builder::new().prefix("waybill-bench-").tempdir().unwrap();
        let keys = root.path().join("keys");
        let (acme, globex) = (KeyPair::make(&keys, "acme"), KeyPair::make(&keys, "globex"));
        let material = Self { root, mib, acme, globex };
        let mut file = File::create(material.payload()).unwrap();
        let mut block = vec![0; 1 << 20];
        for _ in 0..mib {
            openssl::rand::rand_bytes(&mut block).unwrap();
            file.write_all(&block).unwrap();
        }
        // What is measured does not wait for these bytes.
        file.sync_all().unwrap();
        material
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn payload(&self) -> PathBuf {
        self.root().join("payload.bin")
    }

    /// Where `as2 pack` leaves its message, the one to be unpacked and replayed.
    pub(super) fn message(&self) -> PathBuf {
        self.root().join("message")
    }

    /// An empty directory of this name.
    pub(super) fn empty(&self, name: &str) -> PathBuf {
        let directory = self.root().join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir(&directory).unwrap();
        directory
    }

    /// The parties as Acme defines them.
    pub(super) fn of_acme(&self) -> String {
        parties(&self.root().join("keys"), ("acme", "ACME"), ("globex", "GLOBEX"))
    }

    /// The parties as Globex defines them, and a flow that receives into a directory.
    pub(super) fn of_globex(&self, warehouse: &Path) -> String {
        format!(
            r#"{parties}[endpoint.warehouse]
transport = "file"
url = "file://{warehouse}"
[listener.as2]
transport = "as2"
server = "partners"
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
file_name = "{{transfer}}-{{name}}"
"#,
            parties = parties(&self.root().join("keys"), ("globex", "GLOBEX"), ("acme", "ACME")),
            warehouse = warehouse.display(),
        )
    }
}
