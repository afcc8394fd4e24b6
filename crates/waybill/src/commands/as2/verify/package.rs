//! The package: what it says of itself, and its files.

use super::super::file_error;
use super::Check;
use super::signer::Signer;
use crate::cli::VerifyEvidence;
use control::evidence::{
    CANONICAL, CONTENT, CrlfReader, EVENTS, MANIFEST, README, RECEIPT_BYTES, RECEIPT_FILE,
    RECEIPT_PGP_SIGNATURE, RECEIPT_SIGNATURE, ReceiptParts, SEALS, path_of, receipt_parts,
};
use control::zip::ZipReader;
use model::evidence::{Covered, MessageFacts, RECEIPT_SIGNER, SIGNED_HEAD};
use model::{
    DeliveryId, Error, ErrorKind, EvidenceId, PayloadId, Result, Sha256, Timestamp, TransferId, quoted,
};
use openssl::x509::X509;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// Longest of the small files, in bytes.
pub(super) const SMALL: u64 = 8 << 20;
/// Bytes hashed at once.
const CHUNK: usize = 64 * 1024;
/// The form of packages that this version reads.
const FORMAT: u64 = 1;

/// What a package says of itself.
#[derive(Deserialize)]
pub(super) struct Manifest {
    format: u64,
    pub(super) evidence: EvidenceId,
    pub(super) recorded: Timestamp,
    pub(super) kept_until: Timestamp,
    pub(super) message: Map<String, Value>,
    /// The delivery that sent the message.
    pub(super) delivery: Option<DeliveryId>,
    /// Where each piece is.
    pub(super) pieces: BTreeMap<String, String>,
    pub(super) content: Option<ContentFacts>,
    pub(super) receipt: Option<Value>,
    pub(super) transfers: Vec<TransferFacts>,
    pub(super) digest: Sha256,
    #[serde(default)]
    pub(super) more_events: bool,
    files: Vec<FileFacts>,
}

/// What it says of the content.
#[derive(Deserialize)]
pub(super) struct ContentFacts {
    pub(super) payload: PayloadId,
    pub(super) bytes: u64,
    pub(super) sha256: Option<Sha256>,
    pub(super) removed: Option<Timestamp>,
}

/// What it says of a transfer of the message.
#[derive(Deserialize)]
pub(super) struct TransferFacts {
    pub(super) transfer: TransferId,
    pub(super) file_name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Option<Sha256>,
}

#[derive(Deserialize)]
struct FileFacts {
    path: String,
    bytes: u64,
    sha256: Sha256,
}

/// A package that is being checked.
pub(super) struct Package {
    path: PathBuf,
    zip: ZipReader<File>,
    pub(super) manifest: Manifest,
    pub(super) facts: MessageFacts,
    /// The content from elsewhere.
    payload: Option<PathBuf>,
    /// Certificates and OpenPGP keys that whoever checks knows to be the sender's, and the receiver's.
    pub(super) senders: Vec<Signer>,
    pub(super) receivers: Vec<Signer>,
    /// Public keys of seals that whoever checks knows, PEM.
    pub(super) trusted: Vec<Vec<u8>>,
}

impl Package {
    /// Reads what it says of itself.
    ///
    /// # Errors
    /// It is no evidence package, or of a newer form; a file that was named cannot be read.
    pub(super) fn open(wanted: &VerifyEvidence) -> Result<Self> {
        let file = File::open(&wanted.package)
            .map_err(|error| file_error("open an evidence package", &wanted.package, error))?;
        let named = |error: Error| error.with("path", wanted.package.display());
        let mut zip = ZipReader::open(file).map_err(named)?;
        let manifest = zip.read_small(MANIFEST, SMALL).map_err(named)?;
        let unreadable = |reason: String| {
            Error::permanent(ErrorKind::IntegrityFailed, "read what an evidence package says of itself")
                .with("path", wanted.package.display())
                .with("reason", reason)
        };
        let manifest: Manifest =
            serde_json::from_slice(&manifest).map_err(|error| unreadable(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(unreadable(format!(
                "its form is {}, and this version reads {FORMAT}",
                manifest.format
            ))
            .advice("check it with the Waybill that wrote it, or a newer one"));
        }
        let facts = MessageFacts::read(&manifest.message).map_err(|error| unreadable(error.to_string()))?;
        let read_key = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| file_error("read a public key", path, error))
        };
        // Where it is said whose a certificate is, those of which it is not do not count for that side.
        let known = |of_side: &[PathBuf]| -> Result<Vec<Signer>> {
            let paths = if of_side.is_empty() { &wanted.certificate[..] } else { of_side };
            let read: Vec<Vec<Signer>> =
                paths.iter().map(|path| Signer::read(path)).collect::<Result<_>>()?;
            Ok(read.into_iter().flatten().collect())
        };
        Ok(Self {
            path: wanted.package.clone(),
            zip,
            facts,
            manifest,
            payload: wanted.payload.clone(),
            senders: known(&wanted.sender)?,
            receivers: known(&wanted.receiver)?,
            trusted: wanted.trust.iter().map(read_key).collect::<Result<_>>()?,
        })
    }

    /// What it is about, for people.
    pub(super) fn about(&self) -> Vec<String> {
        let facts = &self.facts;
        let mut lines = vec![
            format!(
                "message {} from {} to {}",
                quoted(&facts.message_id),
                quoted(&facts.as2_from),
                quoted(&facts.as2_to)
            ),
            format!(
                "  recorded {}, evidence {}",
                self.manifest.recorded.to_rfc3339(),
                self.manifest.evidence
            ),
        ];
        let files = self.manifest.transfers.iter().map(|of| format!("  file {}", quoted(&of.file_name)));
        lines.extend(files);
        lines
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.zip.has(path)
    }

    /// A small file.
    ///
    /// # Errors
    /// It is not there, or broken.
    pub(super) fn small(&mut self, path: &str) -> Result<Vec<u8>> {
        self.zip.read_small(path, SMALL)
    }

    /// A piece, as it was before it got its place in the package: certificates as DER.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn piece(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        if !self.manifest.pieces.contains_key(name) {
            return Ok(None);
        }
        // Not where the package says: a piece must be the file that everybody takes for it.
        let path = path_of(name);
        let bytes = self.small(&path)?;
        if !path.ends_with(".pem") {
            return Ok(Some(bytes));
        }
        let certificate = X509::from_pem(&bytes).and_then(|certificate| certificate.to_der());
        certificate.map(Some).map_err(|error| {
            Error::permanent(ErrorKind::IntegrityFailed, "read a certificate of an evidence package")
                .with("file", path)
                .caused_by(error)
        })
    }

    /// The bytes that MIC and signature cover; none where they are not here. They are made of header section and content:
    /// a canonical form that came with the package might be of another content.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn covered(&mut self) -> Result<Option<Box<dyn Read>>> {
        if self.facts.covered == Covered::NotKept {
            return Ok(None);
        }
        let Some(content) = self.content()? else { return Ok(None) };
        let head = match self.facts.covered {
            Covered::HeadAndContent => self.piece(SIGNED_HEAD)?.unwrap_or_default(),
            Covered::Content | Covered::NotKept => Vec::new(),
        };
        let whole = Cursor::new(head).chain(content);
        let whole: Box<dyn Read> = match self.facts.canonical {
            true => Box::new(CrlfReader::new(whole)),
            false => Box::new(whole),
        };
        Ok(Some(whole))
    }

    /// The content alone, from the package or from elsewhere.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn content(&mut self) -> Result<Option<Box<dyn Read>>> {
        if self.has(CONTENT) {
            return self.content_of_its_own().map(Some);
        }
        let Some(payload) = &self.payload else { return Ok(None) };
        Ok(Some(Box::new(opened(payload)?)))
    }

    /// Length and SHA-256 of the content from elsewhere, where it was given.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn given(&self) -> Result<Option<(u64, Sha256)>> {
        let Some(payload) = &self.payload else { return Ok(None) };
        hashed(opened(payload)?).map(Some).map_err(|error| error.with("path", payload.display()))
    }

    fn content_of_its_own(&self) -> Result<Box<dyn Read>> {
        self.stream_of_its_own(CONTENT)
    }

    /// A file of the package, read on its own: several may be read at once.
    fn stream_of_its_own(&self, path: &str) -> Result<Box<dyn Read>> {
        let file = File::open(&self.path)
            .map_err(|error| file_error("open an evidence package", &self.path, error))?;
        ZipReader::open(file)?.into_file(path)
    }

    /// Whether the files are those that it lists, each in its place, and no others.
    pub(super) fn files(&mut self) -> Result<Vec<Check>> {
        const WHAT: &str = "files";
        let elsewhere: Vec<String> = self
            .manifest
            .pieces
            .iter()
            .filter(|(name, path)| path_of(name) != **path || !self.zip.has(path))
            .map(|(name, path)| format!("{} is not at {}", quoted(name), quoted(path)))
            .collect();
        if !elsewhere.is_empty() {
            return Ok(vec![Check::fails(WHAT, elsewhere.join("; "))]);
        }
        let unknown: Vec<String> = self
            .zip
            .files()
            .keys()
            .filter(|path| !self.is_known(path))
            .map(|path| quoted(path).to_string())
            .collect();
        if !unknown.is_empty() {
            let found = format!("{} are no files of an evidence package", unknown.join(", "));
            return Ok(vec![Check::fails(WHAT, found)]);
        }
        let listed: BTreeSet<&str> = self.manifest.files.iter().map(|file| file.path.as_str()).collect();
        let unlisted: Vec<&str> = self
            .zip
            .files()
            .keys()
            .map(String::as_str)
            .filter(|path| *path != MANIFEST && !listed.contains(path))
            .collect();
        if !unlisted.is_empty() {
            return Ok(vec![Check::fails(
                WHAT,
                format!("{} are not listed in {MANIFEST}", unlisted.join(", ")),
            )]);
        }
        let mut wrong = Vec::new();
        let files: Vec<(String, u64, Sha256)> =
            self.manifest.files.iter().map(|file| (file.path.clone(), file.bytes, file.sha256)).collect();
        for (path, bytes, sha256) in &files {
            let found = match self.zip.has(path) {
                true => self.zip.read(path).and_then(hashed),
                false => Err(Error::permanent(ErrorKind::NotFound, "find a file of an evidence package")),
            };
            match found {
                Ok((length, hash)) if length == *bytes && *sha256 == hash => {}
                Ok(_) => wrong.push(format!("{path} is not what {MANIFEST} lists")),
                Err(error) => wrong.push(format!("{path}: {}", error.chain())),
            }
        }
        if self.has(CANONICAL) && !self.is_canonical()? {
            wrong.push(format!("{CANONICAL} is not the content with its line ends read as CRLF"));
        }
        let parts = [RECEIPT_BYTES, RECEIPT_SIGNATURE, RECEIPT_PGP_SIGNATURE];
        let parts: Vec<&str> = parts.into_iter().filter(|path| self.has(path)).collect();
        if !parts.is_empty() && !self.is_of_receipt(&parts)? {
            wrong.push(format!("{} are not the parts of {RECEIPT_FILE}", parts.join(" and ")));
        }
        Ok(vec![match wrong.is_empty() {
            true => Check::holds(WHAT, format!("{} files are as {MANIFEST} lists them", files.len())),
            false => Check::fails(WHAT, wrong.join("; ")),
        }])
    }

    /// Whether a package has such a file.
    fn is_known(&self, path: &str) -> bool {
        let of_seal = |rest: &str| {
            let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
            rest.strip_suffix(".members").is_some_and(plain)
                || rest.strip_prefix("key-").and_then(|rest| rest.strip_suffix(".pem")).is_some_and(plain)
        };
        let fixed = [README, MANIFEST, CONTENT, CANONICAL, EVENTS, SEALS];
        let of_receipt = [RECEIPT_FILE, RECEIPT_BYTES, RECEIPT_SIGNATURE, RECEIPT_PGP_SIGNATURE];
        fixed.contains(&path)
            || of_receipt.contains(&path)
            || path.strip_prefix("audit/seal-").is_some_and(of_seal)
            || self.manifest.pieces.keys().any(|name| path_of(name) == path)
    }

    /// Whether the parts of the receipt that came with it are those of the receipt.
    fn is_of_receipt(&mut self, came: &[&str]) -> Result<bool> {
        if !self.has(RECEIPT_FILE) {
            return Ok(false);
        }
        let names: Vec<String> =
            self.manifest.pieces.keys().filter(|name| name.starts_with(RECEIPT_SIGNER)).cloned().collect();
        let mut signers = Vec::new();
        for name in &names {
            signers.extend(self.piece(name)?);
        }
        let signers: Vec<&[u8]> = signers.iter().map(Vec::as_slice).collect();
        let parts = receipt_parts(&self.small(RECEIPT_FILE)?, &signers);
        let Some(ReceiptParts { signed, signature, path }) = parts else { return Ok(false) };
        let is_same = came == [RECEIPT_BYTES, path];
        Ok(is_same && self.small(RECEIPT_BYTES)? == signed && self.small(path)? == signature)
    }

    /// Whether the canonical form that came with it is that of its content.
    fn is_canonical(&mut self) -> Result<bool> {
        if !self.facts.canonical {
            return Ok(false);
        }
        let Some(covered) = self.covered()? else { return Ok(false) };
        Ok(hashed(covered)? == hashed(self.zip.read(CANONICAL)?)?)
    }
}

fn opened(payload: &Path) -> Result<File> {
    File::open(payload).map_err(|error| file_error("open the content", payload, error))
}

/// Length and SHA-256 of all that is read.
///
/// # Errors
/// It cannot be read.
pub(super) fn hashed(mut content: impl Read) -> Result<(u64, Sha256)> {
    let (mut hasher, mut chunk, mut length) = (openssl::sha::Sha256::new(), vec![0; CHUNK], 0);
    loop {
        match content.read(&mut chunk) {
            Ok(0) => return Ok((length, Sha256(hasher.finish()))),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::local_io("read a file to check it", error)),
        }
    }
}
