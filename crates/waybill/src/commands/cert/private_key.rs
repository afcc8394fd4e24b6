//! The private key of a new certificate: made here, or read from a file.

use super::files::{NewFiles, PRIVATE};
use super::passphrase::{self, Passphrase};
use super::{certificate, not_made};
use crate::cli::WhichKey;
use model::{Error, ErrorKind, Result, Secret};
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::symm::Cipher;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest file that a key is read from.
pub(super) const LARGEST_FILE: u64 = 1 << 20;

/// A private key with its file.
pub(super) struct ChosenKey {
    pub(super) key: PKey<Private>,
    /// Its file, with its absolute path.
    pub(super) path: PathBuf,
    pub(super) passphrase: KeyPassphrase,
}

/// How definitions find the passphrase of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum KeyPassphrase {
    /// It has none.
    None,
    /// In a file, by its absolute path.
    File(PathBuf),
    /// A person typed it.
    Typed,
}

/// The key that was named, or a new one in a new file.
///
/// # Errors
/// The file or passphrase cannot be read; the new file exists already or cannot be written.
pub(super) fn choose(wanted: &WhichKey, files: &mut NewFiles) -> Result<ChosenKey> {
    let file = wanted.key_passphrase_file.as_deref();
    if let Some(path) = &wanted.key {
        return existing(path, file);
    }
    let name = format!("{}.key.pem", wanted.name);
    files.refuse_existing([name.as_str()])?;
    let passphrase = new_passphrase(file, wanted.ask_key_passphrase)?;
    let key = certificate::generate(wanted.key_type).map_err(not_made("make a private key"))?;
    written(key, &name, passphrase.as_ref(), file, files)
}

/// A passphrase for a key that is to be written.
///
/// # Errors
/// It cannot be read.
pub(super) fn new_passphrase(file: Option<&Path>, is_asked: bool) -> Result<Option<Secret<String>>> {
    match file {
        Some(file) => passphrase::from_file(file).map(Some),
        None if is_asked => passphrase::new_at_terminal().map(Some),
        None => Ok(None),
    }
}

/// Writes a key; encrypted, if there is a passphrase.
///
/// # Errors
/// The file exists already or cannot be written.
pub(super) fn written(
    key: PKey<Private>,
    name: &str,
    passphrase: Option<&Secret<String>>,
    passphrase_file: Option<&Path>,
    files: &mut NewFiles,
) -> Result<ChosenKey> {
    let pem = match passphrase {
        Some(words) => {
            key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), words.reveal().as_bytes())
        }
        None => key.private_key_to_pem_pkcs8(),
    };
    let pem = pem.map(Secret::new).map_err(not_made("write a private key"))?;
    let path = files.write(name, pem.reveal(), PRIVATE)?;
    let passphrase = described(passphrase.is_some(), passphrase_file)?;
    Ok(ChosenKey { key, path, passphrase })
}

/// A key that exists.
///
/// # Errors
/// It cannot be read.
pub(super) fn existing(path: &Path, passphrase_file: Option<&Path>) -> Result<ChosenKey> {
    let pem = bytes_of(path)?;
    let passphrase = Passphrase::new(passphrase_file, "--key-passphrase-file");
    let (key, is_encrypted) = from_pem(pem.reveal(), path, &passphrase)?;
    let path = absolute(path)?;
    super::reference::reference(&path)?;
    Ok(ChosenKey { key, path, passphrase: described(is_encrypted, passphrase_file)? })
}

fn described(is_encrypted: bool, file: Option<&Path>) -> Result<KeyPassphrase> {
    match file {
        _ if !is_encrypted => Ok(KeyPassphrase::None),
        Some(file) if file != Path::new("-") => absolute(file).map(KeyPassphrase::File),
        _ => Ok(KeyPassphrase::Typed),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| Error::local_io("find a file", error).with("path", path.display()))
}

/// A file's content.
///
/// # Errors
/// It cannot be read, or is larger than 1 MiB.
pub(super) fn bytes_of(path: &Path) -> Result<Secret<Vec<u8>>> {
    let failed = |error| Error::local_io("read a file", error).with("path", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "read a file")
            .with("path", path.display())
            .advice("it is larger than 1 MiB: too large for keys and certificates"));
    }
    Ok(Secret::new(bytes))
}

/// A private key, and whether it was encrypted.
///
/// # Errors
/// There is none; the passphrase is wrong.
pub(super) fn from_pem(pem: &[u8], path: &Path, passphrase: &Passphrase) -> Result<(PKey<Private>, bool)> {
    let wrong = |advice: &'static str| {
        Error::permanent(ErrorKind::ConfigInvalid, "read a private key")
            .with("path", path.display())
            .advice(advice)
    };
    let mut asked = false;
    // With a callback of our own: OpenSSL's asks at the terminal, whatever its output is.
    let plain = PKey::private_key_from_pem_callback(pem, |_| {
        asked = true;
        Ok(0)
    });
    match plain {
        Ok(key) => Ok((key, asked)),
        Err(error) if !asked => {
            Err(wrong("it must hold a private key in PEM form (PKCS #8, PKCS #1 or SEC 1)").caused_by(error))
        }
        Err(_) => {
            let words = passphrase.get(path)?;
            let key = PKey::private_key_from_pem_passphrase(pem, words.reveal().as_bytes());
            key.map(|key| (key, true))
                .map_err(|error| wrong("the passphrase is wrong, or the key is damaged").caused_by(error))
        }
    }
}

/// Whether a certificate is that of a key.
pub(super) fn belongs(certificate: &openssl::x509::X509Ref, key: &PKeyRef<Private>) -> bool {
    certificate.public_key().is_ok_and(|public| public.public_eq(key))
}
