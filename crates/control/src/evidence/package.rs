//! What a package holds, and under which names.

mod readme;
mod receipt;

use super::crlf::CrlfReader;
use crate::zip::ZipWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use engine::StagedPayloads;
use model::evidence::{
    Covered, MESSAGE_HEADER, MessageFacts, PGP_RECEIPT_SIGNER, PGP_SIGNATURE, PGP_SIGNER, RECEIPT,
    RECEIPT_SIGNER, SIGNATURE, SIGNED_HEAD, SIGNER,
};
use model::{Error, ErrorKind, PayloadRecord, Result, Sha256, Timestamp};
use readme::Readme;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use store::{KeptEvidence, SealedEvents};

/// The file that says what all others are.
pub const MANIFEST: &str = "evidence.json";
/// The bytes that the signature covers behind the header section, or alone.
pub const CONTENT: &str = "message/content";
/// All that the signature covers, where line ends were read otherwise.
pub const CANONICAL: &str = "message/canonical";
/// The receipt of a message that we sent.
pub const RECEIPT_FILE: &str = "receipt/receipt.eml";

/// What the signature of a receipt covers, where the receipt is multipart/signed.
pub const RECEIPT_BYTES: &str = "receipt/signed.bin";
/// That signature, by S/MIME.
pub const RECEIPT_SIGNATURE: &str = "receipt/signature.p7s";
/// The same by OpenPGP.
pub const RECEIPT_PGP_SIGNATURE: &str = "receipt/signature.pgp";
/// What a package says of itself for people.
pub const README: &str = "README.txt";

/// The events of the message, one a line.
pub const EVENTS: &str = "audit/events.jsonl";
/// The seals over them, one a line.
pub const SEALS: &str = "audit/seals.jsonl";

/// A file of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackageFile {
    /// Its path in the package.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: Sha256,
}

/// All that proves one message, ready to be written.
pub struct EvidencePackage {
    evidence: KeptEvidence,
    sealed: SealedEvents,
    /// Public keys of seals, PEM by id.
    keys: BTreeMap<String, String>,
    payloads: StagedPayloads,
    made: Timestamp,
}

impl EvidencePackage {
    pub(super) fn new(
        evidence: KeptEvidence,
        sealed: SealedEvents,
        keys: BTreeMap<String, String>,
        payloads: StagedPayloads,
        made: Timestamp,
    ) -> Self {
        Self { evidence, sealed, keys, payloads, made }
    }

    /// A name for the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("evidence-{}.zip", self.evidence.view.id)
    }

    /// Writes it, as a ZIP archive. Blocks; memory does not grow with the content. Returns what it holds.
    ///
    /// # Errors
    /// The content cannot be read from staging, or differs from what was recorded; `out` failed.
    pub fn write(&self, out: impl Write) -> Result<Vec<PackageFile>> {
        let facts = MessageFacts::read(&self.evidence.view.about).map_err(|error| {
            Error::permanent(ErrorKind::IntegrityFailed, "read the evidence of a message")
                .caused_by(error)
                .advice("it was written by a newer Waybill, or changed by hand: see `waybill audit verify --records`")
        })?;
        let mut archive = Archive { zip: ZipWriter::new(out, self.made), files: Vec::new() };
        let small = self.small_files();
        let content = self.content();
        let split =
            [RECEIPT_SIGNATURE, RECEIPT_PGP_SIGNATURE].into_iter().find(|path| small.contains_key(*path));
        let readme = Readme { package: self, facts: &facts, content, split };
        archive.add(README, readme.text().as_bytes())?;
        if let Some(content) = content {
            archive.add_stream(CONTENT, self.payloads.open(content)?, content.length)?;
            if facts.canonical {
                let head = self.evidence.pieces.get(SIGNED_HEAD).map(Vec::as_slice).unwrap_or_default();
                let whole = head.chain(self.payloads.open(content)?);
                archive.add_stream(CANONICAL, CrlfReader::new(whole), content.length.saturating_mul(2))?;
            }
        }
        for (path, bytes) in &small {
            archive.add(path, bytes)?;
        }
        let manifest = self.manifest(&archive.files).to_string();
        archive.add(MANIFEST, manifest.as_bytes())?;
        archive.zip.finish().map_err(unwritten)?;
        Ok(archive.files)
    }

    /// The content, unless it was removed with its payload.
    fn content(&self) -> Option<&PayloadRecord> {
        self.evidence
            .content
            .as_ref()
            .filter(|content| content.removed_at.is_none())
            .map(|content| &content.payload)
    }

    /// The key ids of seals whose public keys are not known here.
    fn missing_keys(&self) -> Vec<&str> {
        let ids = self.sealed.seals.values().map(|seal| seal.key_id.as_str());
        let mut missing: Vec<&str> = ids.filter(|id| !self.keys.contains_key(*id)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// The certificates that may verify the receipt, by their paths.
    fn receipt_signers(&self) -> impl Iterator<Item = String> {
        self.evidence.pieces.keys().filter(|name| name.starts_with(RECEIPT_SIGNER)).map(|name| path_of(name))
    }

    /// The OpenPGP keys that may verify the receipt, likewise.
    fn receipt_keys(&self) -> impl Iterator<Item = String> {
        let names = self.evidence.pieces.keys();
        names.filter(|name| name.starts_with(PGP_RECEIPT_SIGNER)).map(|name| path_of(name))
    }

    fn has(&self, piece: &str) -> bool {
        self.evidence.pieces.contains_key(piece)
    }

    /// Whether there is a receipt.
    fn has_receipt(&self) -> bool {
        self.has(RECEIPT) || self.received_receipt().is_some()
    }

    fn received_receipt(&self) -> Option<&[u8]> {
        Some(self.evidence.receipt.as_ref()?.mdn.as_ref()?.as_bytes())
    }

    /// Whether a seal covers an event of the message.
    fn is_sealed(&self) -> bool {
        !self.sealed.seals.is_empty()
    }

    /// All but the content, the words for people and the manifest.
    fn small_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (name, bytes) in &self.evidence.pieces {
            let bytes = if is_certificate(name) { pem(bytes).into_bytes() } else { bytes.clone() };
            files.insert(path_of(name), bytes);
        }
        if let Some(receipt) = self.received_receipt() {
            files.insert(RECEIPT_FILE.to_owned(), receipt.to_vec());
        }
        let signers = self.evidence.pieces.iter().filter(|(name, _)| name.starts_with(RECEIPT_SIGNER));
        let signers: Vec<&[u8]> = signers.map(|(_, der)| der.as_slice()).collect();
        // OpenSSL does not read every honest receipt by itself: a signature as it is, bare line feeds.
        let parts = files.get(RECEIPT_FILE).and_then(|entity| receipt_parts(entity, &signers));
        if let Some(ReceiptParts { signed, signature, path }) = parts {
            files.insert(RECEIPT_BYTES.to_owned(), signed);
            files.insert(path.to_owned(), signature);
        }
        let events = self.sealed.events.iter().map(|(event, _)| event.as_str());
        files.insert(EVENTS.to_owned(), lines(events));
        let seals = self.sealed.seals.values().map(|seal| seal.line.as_str());
        files.insert(SEALS.to_owned(), lines(seals));
        for (number, seal) in &self.sealed.seals {
            if let Some(members) = &seal.members {
                files.insert(format!("audit/seal-{number}.members"), members.clone());
            }
        }
        for (id, pem) in &self.keys {
            files.insert(format!("audit/seal-key-{id}.pem"), pem.clone().into_bytes());
        }
        files
    }

    fn manifest(&self, files: &[PackageFile]) -> Value {
        let KeptEvidence { view, digest, content, receipt, transfers, pieces, receipt_transfers } =
            &self.evidence;
        let file = |file: &PackageFile| json!({ "path": file.path, "bytes": file.bytes, "sha256": file.sha256.to_string() });
        let transfer = |transfer: &store::EvidenceTransfer| {
            json!({
                "transfer": transfer.id, "flow": transfer.flow, "file_name": transfer.file_name.to_text(),
                "bytes": transfer.length, "sha256": transfer.content.sha256().map(|hash| hash.to_string()),
            })
        };
        let kept = content.as_ref().map(|content| {
            json!({
                "path": content.removed_at.is_none().then_some(CONTENT),
                "payload": content.payload.id, "bytes": content.payload.length,
                "sha256": content.payload.content.sha256().map(|hash| hash.to_string()),
                "removed": content.removed_at,
            })
        });
        let receipt = receipt.as_ref().map(|receipt| {
            json!({
                "kind": receipt.kind.as_str(), "at": receipt.at, "positive": receipt.positive,
                "summary": receipt.summary, "detail": receipt.detail,
                // With the MDN it is the receipt whose digest the event of the delivery has.
                "connection": receipt.connection,
            })
        });
        let paths: BTreeMap<&String, String> = pieces.keys().map(|name| (name, path_of(name))).collect();
        json!({
            "format": 1,
            "evidence": view.id,
            "recorded": view.recorded_at,
            "kept_until": view.keep_until,
            "made": self.made,
            "message": view.about,
            "delivery": view.delivery,
            "pieces": paths,
            "content": kept,
            "receipt": receipt,
            "transfers": transfers.iter().map(transfer).collect::<Vec<_>>(),
            "receipt_transfers": receipt_transfers,
            "digest": digest.to_string(),
            "more_events": self.sealed.more,
            "files": files.iter().map(file).collect::<Vec<_>>(),
        })
    }
}

/// What the bytes behind a signature are called in a package; none of them are there where they were not kept.
#[must_use]
pub fn covered_files(covered: Covered, canonical: bool) -> &'static [&'static str] {
    match (covered, canonical) {
        (Covered::NotKept, _) => &[],
        (_, true) => &[CANONICAL],
        (Covered::HeadAndContent, false) => &["message/signed-head.txt", CONTENT],
        (Covered::Content, false) => &[CONTENT],
    }
}

/// A receipt's two parts, as a package has them beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptParts {
    /// What was signed: [`RECEIPT_BYTES`].
    pub signed: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// Where the signature is: [`RECEIPT_SIGNATURE`] or [`RECEIPT_PGP_SIGNATURE`].
    pub path: &'static str,
}

/// The parts of a receipt, given the certificates (DER) that may have signed it; none where it is not multipart/signed.
#[must_use]
pub fn receipt_parts(entity: &[u8], signers: &[&[u8]]) -> Option<ReceiptParts> {
    receipt::split(entity, signers)
}

/// Where a piece is in a package.
#[must_use]
pub fn path_of(piece: &str) -> String {
    match piece {
        MESSAGE_HEADER => "message/header.txt".to_owned(),
        SIGNED_HEAD => "message/signed-head.txt".to_owned(),
        SIGNATURE => "message/signature.p7s".to_owned(),
        PGP_SIGNATURE => "message/signature.pgp".to_owned(),
        RECEIPT => RECEIPT_FILE.to_owned(),
        name if is_certificate(name) => format!("certificates/{name}.pem"),
        name if is_key(name) => format!("keys/{}.asc", name.trim_start_matches("pgp-")),
        other => format!("other/{other}"),
    }
}

fn is_certificate(piece: &str) -> bool {
    piece == SIGNER || piece.starts_with(RECEIPT_SIGNER)
}

/// Whether it is an OpenPGP key.
fn is_key(piece: &str) -> bool {
    piece == PGP_SIGNER || piece.starts_with(PGP_RECEIPT_SIGNER)
}

fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let lines: Vec<String> = lines.map(|line| format!("{line}\n")).collect();
    lines.concat().into_bytes()
}

/// A certificate as PEM.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.concat())
}

struct Archive<W: Write> {
    zip: ZipWriter<W>,
    files: Vec<PackageFile>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.zip.add(path, bytes, bytes.len() as u64).map_err(unwritten)?;
        let sha256 = Sha256(openssl::sha::sha256(bytes));
        self.files.push(PackageFile { path: path.to_owned(), bytes: bytes.len() as u64, sha256 });
        Ok(())
    }

    fn add_stream(&mut self, path: &str, content: impl Read, about: u64) -> Result<()> {
        let mut hashed = Hashed { inner: content, hasher: openssl::sha::Sha256::new() };
        let bytes = self.zip.add(path, &mut hashed, about).map_err(unwritten)?;
        let sha256 = Sha256(hashed.hasher.finish());
        self.files.push(PackageFile { path: path.to_owned(), bytes, sha256 });
        Ok(())
    }
}

fn unwritten(error: io::Error) -> Error {
    Error::local_io("write an evidence package", error)
}

/// Hashes what passes through it.
struct Hashed<R> {
    inner: R,
    hasher: openssl::sha::Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_pem_of_lines_of_64() {
        let pem = pem(&[7; 100]);
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!(
            (lines[0], lines.last().copied()),
            ("-----BEGIN CERTIFICATE-----", Some("-----END CERTIFICATE-----"))
        );
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.len() <= 64));
    }
}
