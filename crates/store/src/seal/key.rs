//! The key that signs seals: Ed25519, in a file outside the database.
//!
//! A person who can write to the database cannot create a seal without this file; a person who keeps the public key
//! elsewhere can check every seal without trusting this machine.

use crate::slow_disk::read_regular;
use crate::whole_file::place;
use model::{Error, ErrorKind, Result, Sha256};
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Longest file that is read as a key, in bytes; a key has 119.
const LONGEST: u64 = 4096;

/// The private key of seals.
pub struct SealKey {
    key: PKey<Private>,
    id: String,
    public_pem: String,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

impl SealKey {
    /// Reads the key of `path`, or creates one there (mode 0600, written atomically, also when two processes start at
    /// once). The public key is beside it as `<path>.pub`.
    ///
    /// # Errors
    /// The file cannot be read or written, is open to other users, or holds no Ed25519 key.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        let key = match read_regular(path, LONGEST) {
            Ok(pem) => Self::read(path, &pem)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = PKey::generate_ed25519().map_err(|e| crypto("create a seal key", e))?;
                let pem = made.private_key_to_pem_pkcs8().map_err(|e| crypto("write a seal key", e))?;
                match place(path, &pem, 0o600, false) {
                    Ok(()) => Self::of(made)?,
                    // Another process was faster: its key counts.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        let pem =
                            read_regular(path, LONGEST).map_err(|e| local("read the seal key", path, e))?;
                        Self::read(path, &pem)?
                    }
                    Err(error) => return Err(local("write the seal key", path, error)),
                }
            }
            Err(error) => return Err(local("read the seal key", path, error)),
        };
        let public = public_path(path);
        if read_regular(&public, LONGEST).ok().as_deref() != Some(key.public_pem.as_bytes()) {
            place(&public, key.public_pem.as_bytes(), 0o644, true)
                .map_err(|e| local("write the public half of the seal key", &public, e))?;
        }
        Ok(key)
    }

    fn read(path: &Path, pem: &[u8]) -> Result<Self> {
        let mode =
            std::fs::metadata(path).map_err(|e| local("read the seal key", path, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use the seal key")
                .with("path", path.display())
                .with("mode", format!("{:o}", mode & 0o777))
                .advice("other users can read this private key: set its mode to 600 (chmod 600), and treat the key as compromised"));
        }
        let key = PKey::private_key_from_pem(pem)
            .map_err(|e| crypto("read the seal key", e).with("path", path.display()))?;
        Self::of(key).map_err(|e| e.with("path", path.display()))
    }

    fn of(key: PKey<Private>) -> Result<Self> {
        if key.id() != Id::ED25519 {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use the seal key")
                .advice("it is not an Ed25519 key: move the file away, and Waybill creates a new key"));
        }
        let raw = key.raw_public_key().map_err(|e| crypto("read the seal key", e))?;
        let pem = key.public_key_to_pem().map_err(|e| crypto("read the seal key", e))?;
        Ok(Self { key, id: key_id(&raw), public_pem: String::from_utf8_lossy(&pem).into_owned() })
    }

    /// First 16 hexadecimal digits of SHA-256 over the raw public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half, PEM: what to keep elsewhere for [`TrustedKeys`].
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Signs bytes.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Signer::new_without_digest(&self.key)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
            .map_err(|e| crypto("sign a seal", e))
    }
}

/// Public keys whose seals are trusted, by key id.
#[derive(Clone, Default)]
pub struct TrustedKeys(BTreeMap<String, PKey<Public>>);

impl TrustedKeys {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a key of this id is trusted.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.0.contains_key(key_id)
    }

    /// The id of a public key, PEM.
    ///
    /// # Errors
    /// It is no Ed25519 public key.
    pub fn id_of_pem(pem: &[u8]) -> Result<String> {
        Self::new().add_pem(pem)
    }

    /// Adds a public key, PEM; returns its id.
    ///
    /// # Errors
    /// It is no Ed25519 public key.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<String> {
        let key =
            PKey::public_key_from_pem(pem).map_err(|e| crypto("read a trusted key of audit seals", e))?;
        if key.id() != Id::ED25519 {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "read a trusted key of audit seals")
                .advice("seals are signed with Ed25519"));
        }
        let raw = key.raw_public_key().map_err(|e| crypto("read a trusted key of audit seals", e))?;
        let id = key_id(&raw);
        self.0.insert(id.clone(), key);
        Ok(id)
    }

    /// The key of this node and nothing else.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn of(key: &SealKey) -> Result<Self> {
        let mut trusted = Self::new();
        trusted.add_pem(key.public_pem.as_bytes())?;
        Ok(trusted)
    }

    /// Whether the signature is valid; `None` if no key has that id.
    pub(crate) fn check(&self, key_id: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        let key = self.0.get(key_id)?;
        let good = Verifier::new_without_digest(key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, message));
        // An error means that the signature is malformed, so it is not valid.
        Some(good.unwrap_or(false))
    }
}

fn key_id(raw: &[u8]) -> String {
    Sha256(openssl::sha::sha256(raw)).to_string()[..16].to_owned()
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn local(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::local_io(operation, source).with("path", path.display())
}

fn crypto(operation: &'static str, source: openssl::error::ErrorStack) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, operation).caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_kept_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let made = SealKey::load_or_create(&path).unwrap();
        let read = SealKey::load_or_create(&path).unwrap();
        assert_eq!(made.id(), read.id());
        assert_eq!(made.id().len(), 16);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(dir.path().join("seal.key.pub")).unwrap(), made.public_pem());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays");

        let trusted = TrustedKeys::of(&made).unwrap();
        let signature = made.sign(b"digest").unwrap();
        assert_eq!(trusted.check(made.id(), b"digest", &signature), Some(true));
        assert_eq!(trusted.check(made.id(), b"other", &signature), Some(false));
        assert_eq!(trusted.check(made.id(), b"digest", b"short"), Some(false));
        assert_eq!(trusted.check("0000000000000000", b"digest", &signature), None);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(SealKey::load_or_create(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn two_that_start_at_once_share_one_key() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = dir.path().join(format!("seal-{round}.key"));
            let ids: Vec<String> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..2)
                    .map(|_| scope.spawn(|| SealKey::load_or_create(&path).map(|k| k.id().to_owned())))
                    .collect();
                starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
            });
            assert_eq!(ids[0], ids[1]);
        }
    }
}
