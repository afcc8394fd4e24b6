//! Takes the leaves of one entity: receipts into memory, everything else into staging.

use super::{Around, FoundPayload};
use crate::agreement::SendSecurity;
use crate::file_names::safe_file_name;
use crate::mdn::LARGEST_MDN;
use crate::receipt_form::{is_notification, is_protected, is_receipt};
use crate::receive::{MOST_PARTS, metadata_of};
use crate::rejection::Rejection;
use crate::signed_copy::{CopyWriter, SignedCopy};
use crate::staging_writer::StagingWriter;
use smime::{Headers, Part, PartReceiver, Wrapping};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use transport::StagingArea;

/// A leaf of an entity.
pub(super) enum Leaf {
    /// A receipt, whole.
    Receipt(Headers, Vec<u8>),
    /// A part that is protected by itself; for somebody else, if it cannot be read here.
    Protected(Headers, FoundPayload<StagingWriter>),
    Payload(FoundPayload<StagingWriter>),
    /// A payload that claims less protection than was agreed: its name, and what is missing. Nothing of it is staged.
    Unprotected(String, Rejection),
}

/// Bytes that may still be taken, of all entities together.
pub(super) struct Rooms {
    payloads: Room,
    protected: Room,
    receipts: Room,
}

impl Rooms {
    /// Room for so many bytes of payloads, and as many of protected parts around them.
    pub(super) const fn new(most: u64) -> Self {
        let receipts = LARGEST_MDN as u64;
        Self {
            payloads: Room { left: most, most },
            protected: Room { left: most, most },
            receipts: Room { left: receipts, most: receipts },
        }
    }
}

struct Room {
    left: u64,
    most: u64,
}

impl Room {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Rejection::TooLarge { most: self.most }.of_content()),
        }
    }
}

/// Collects leaves.
pub(super) struct Collector<'a> {
    staging: &'a Arc<dyn StagingArea>,
    message_id: &'a str,
    rooms: &'a mut Rooms,
    leaves: Vec<Leaf>,
    /// Which of them are words for people: text that is no file.
    words: Vec<bool>,
    signed: SignedBytes,
    /// The same in staging, where so many bytes of it are kept.
    kept: Option<u64>,
    copy: Option<SignedCopy>,
    agreed: SendSecurity,
    /// Whether what is around this entity is encrypted, and signed.
    around: (bool, bool),
    /// What is missing of the agreed protection, with the layers of this entity.
    lacks: Option<Rejection>,
    /// Takes what is not staged.
    nowhere: io::Sink,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        staging: &'a Arc<dyn StagingArea>,
        message_id: &'a str,
        rooms: &'a mut Rooms,
        (agreed, around): (SendSecurity, &Around),
        kept: Option<u64>,
    ) -> Self {
        Self {
            staging,
            message_id,
            rooms,
            leaves: Vec::new(),
            words: Vec::new(),
            signed: SignedBytes::default(),
            kept,
            copy: None,
            agreed,
            around: (around.cipher.is_some(), around.signature.is_some()),
            lacks: None,
            nowhere: io::sink(),
        }
    }

    /// What was collected, and what was signed: in memory where that is no longer than [`LARGEST_MDN`], and in staging where it
    /// is kept.
    pub(super) fn into_parts(self) -> (Vec<Leaf>, Option<Vec<u8>>, Option<SignedCopy>) {
        // Beside what a receipt says to a program, without a report around both, stands what it says to people.
        let is_bare = |leaf: &Leaf| matches!(leaf, Leaf::Receipt(headers, _) if !is_receipt(headers));
        let has_bare = self.leaves.iter().any(is_bare);
        let all = self.leaves.into_iter().zip(self.words);
        let leaves = all.filter(|(_, are_words)| !(has_bare && *are_words)).map(|(leaf, _)| leaf).collect();
        (leaves, self.signed.into_bytes(), self.copy)
    }
}

impl PartReceiver for Collector<'_> {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> io::Result<()> {
        let encrypted = self.around.0 || wrappings.contains(&Wrapping::Encrypted);
        let signed = self.around.1 || wrappings.contains(&Wrapping::Signed);
        self.lacks = Rejection::unprotected(self.agreed, encrypted, signed);
        Ok(())
    }

    fn whole(&mut self, headers: &Headers) -> bool {
        is_receipt(headers)
    }

    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        if self.leaves.len() >= MOST_PARTS {
            return Err(Rejection::TooManyParts { most: MOST_PARTS }.of_content());
        }
        let essence = part.content_type().map(|media| media.essence().to_owned());
        let kind = essence.as_deref().unwrap_or_default();
        self.words.push(matches!(kind, "" | "text/plain" | "text/html") && part.file_name().is_none());
        if is_receipt(&part.headers) || is_notification(kind) {
            self.leaves.push(Leaf::Receipt(part.headers.clone(), Vec::new()));
            return match self.leaves.last_mut() {
                Some(Leaf::Receipt(_, bytes)) => {
                    Ok(Box::new(Bounded { writer: bytes, room: &mut self.rooms.receipts }))
                }
                _ => Err(lost()),
            };
        }
        // What is not taken needs no room in staging: it may be compressed, and far larger than what was sent.
        if let Some(lacks) = self.lacks.filter(|_| !is_protected(kind)) {
            let file_name = safe_file_name(part.file_name().as_deref(), self.message_id);
            self.leaves.push(Leaf::Unprotected(file_name, lacks));
            return Ok(Box::new(Bounded { writer: &mut self.nowhere, room: &mut self.rooms.payloads }));
        }
        let is_protected = is_protected(kind);
        let payload = FoundPayload {
            writer: StagingWriter::new(self.staging.begin().map_err(io::Error::other)?),
            file_name: safe_file_name(part.file_name().as_deref(), self.message_id),
            media_type: essence,
            metadata: metadata_of(part),
            around: Around::default(),
        };
        self.leaves.push(match is_protected {
            true => Leaf::Protected(part.headers.clone(), payload),
            false => Leaf::Payload(payload),
        });
        let (payload, room) = match self.leaves.last_mut() {
            Some(Leaf::Protected(_, payload)) => (payload, &mut self.rooms.protected),
            Some(Leaf::Payload(payload)) => (payload, &mut self.rooms.payloads),
            _ => return Err(lost()),
        };
        Ok(Box::new(Bounded { writer: &mut payload.writer, room }))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        let Some(most) = self.kept else { return Ok(Some(Box::new(self.signed.clone()))) };
        let copy = SignedCopy::new(self.staging.begin().map_err(io::Error::other)?);
        let writer = Both { bytes: self.signed.clone(), copy: copy.writer(most) };
        self.copy = Some(copy);
        Ok(Some(Box::new(writer)))
    }

    fn read_back(&mut self) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(match self.leaves.last() {
            Some(Leaf::Receipt(_, bytes)) => Some(Box::new(bytes.as_slice())),
            Some(Leaf::Protected(_, payload) | Leaf::Payload(payload)) => {
                Some(Box::new(payload.writer.read_back()?))
            }
            Some(Leaf::Unprotected(..)) | None => None,
        })
    }
}

fn lost() -> io::Error {
    io::Error::other("a part has no beginning")
}

/// Writes a leaf within the limit.
struct Bounded<'a, W> {
    writer: &'a mut W,
    room: &'a mut Room,
}

impl<W: Write> Write for Bounded<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room.take(bytes)?;
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes signed content to memory and to staging.
struct Both {
    bytes: SignedBytes,
    copy: CopyWriter,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write_all(bytes)?;
        self.copy.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.copy.flush()
    }
}

/// A copy of signed content in memory, which ends where it would be larger than a receipt may be. Its clones write to the same.
#[derive(Clone)]
struct SignedBytes(Arc<Mutex<Option<Vec<u8>>>>);

impl Default for SignedBytes {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }
}

impl SignedBytes {
    fn into_bytes(self) -> Option<Vec<u8>> {
        let copied = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        copied.filter(|bytes| !bytes.is_empty())
    }
}

impl Write for SignedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut copied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *copied {
            Some(all) if all.len() + bytes.len() <= LARGEST_MDN => all.extend_from_slice(bytes),
            // The message is not given up for what its evidence would have besides.
            _ => *copied = None,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
