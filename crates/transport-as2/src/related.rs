//! A file and its attachments as one multipart/related (RFC 2387, RFC 6362): a payload like any other, whose length is known
//! before it is read, and which has the same bytes each time, from any of them on.

use crate::file_names::{self, FileNameForm};
use crate::media_types::by_name;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Content, DeliveryId, Error, ErrorKind, PayloadRecord, Result, Sha256};
use serde_json::{Map, Value};
use smime::{ContentType, Headers};
use std::collections::{HashSet, VecDeque};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use transport::{Deliver, Payload, PayloadReader};

/// The media type.
pub(crate) const RELATED: &str = "multipart/related";

/// The metadata of a received part: its Content-ID, with its angle brackets.
pub(crate) const CONTENT_ID: &str = "as2_content_id";
/// The metadata of a received part: its Content-Type, where that has parameters.
pub(crate) const CONTENT_TYPE: &str = "as2_content_type";

/// Longest Content-ID of a partner that is repeated, in bytes: it stands in a line of its own.
const LONGEST_ID: usize = 250;

/// Whether a Content-Type is that of several files.
pub(crate) fn is_related(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(RELATED)
}

/// The same of a header section.
pub(crate) fn has_related(head: &[u8]) -> bool {
    let section = [head, b"\r\n"].concat();
    let headers = Headers::parse(&section, &smime::Limits::default());
    headers.is_ok_and(|(headers, _)| headers.content_type().is_some_and(|media| media.essence() == RELATED))
}

/// A delivery whose payload holds its attachments too; one without attachments as it is. `media_type` is that of the root.
///
/// # Errors
/// A part whose headers cannot be written.
pub(crate) fn joined(mut delivery: Deliver, media_type: String, form: FileNameForm) -> Result<Deliver> {
    if delivery.attachments.is_empty() {
        return Ok(delivery);
    }
    let name = delivery.file_name.file_name().to_vec();
    let mut files = vec![File { payload: Arc::clone(&delivery.payload), name, media_type }];
    for payload in &delivery.attachments {
        let name = payload.file_name().file_name().to_vec();
        let media_type = payload.media_type().unwrap_or_else(|| by_name(&name)).to_owned();
        files.push(File { payload: Arc::clone(payload), name, media_type });
    }
    delivery.payload = Arc::new(Related::new(delivery.claim.delivery, &files, form)?);
    Ok(delivery)
}

/// A file of a message.
struct File {
    payload: Arc<dyn Payload>,
    name: Vec<u8>,
    media_type: String,
}

impl File {
    /// Its Content-Type: as it was received, where it is still the same.
    fn content_type(&self) -> String {
        let received = self.payload.metadata().get(CONTENT_TYPE).and_then(Value::as_str);
        let received = received.and_then(|text| ContentType::parse(text.as_bytes()));
        match received.filter(|received| self.media_type.eq_ignore_ascii_case(received.essence())) {
            // Its name is said at its disposition, and may be another one by now.
            Some(received) => received.without("name").to_string(),
            None => self.media_type.clone(),
        }
    }

    /// The Content-ID that it came with: other files of the message may refer to it.
    fn content_id(&self) -> Option<&str> {
        let id = self.payload.metadata().get(CONTENT_ID).and_then(Value::as_str)?;
        let bare = id.strip_prefix('<')?.strip_suffix('>')?;
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\();,".contains(&byte);
        (!bare.is_empty() && id.len() <= LONGEST_ID && bare.bytes().all(fits)).then_some(id)
    }
}

/// A piece of a multipart.
#[derive(Clone)]
enum Piece {
    Text(Arc<[u8]>),
    File(Arc<dyn Payload>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(payload) => payload.length(),
        }
    }
}

/// A multipart/related of staged payloads.
pub(crate) struct Related {
    record: PayloadRecord,
    metadata: Map<String, Value>,
    pieces: Vec<Piece>,
    reader_buffers: usize,
}

impl Related {
    fn new(delivery: DeliveryId, files: &[File], form: FileNameForm) -> Result<Self> {
        let root = files.first().ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "send several files in one message without any")
        })?;
        let heads = heads(delivery, files, form)?;
        let boundary = boundary(delivery, files, &heads);
        let mut pieces = Vec::with_capacity(2 * files.len() + 1);
        let mut line_end = "";
        for (file, head) in files.iter().zip(&heads) {
            let text = [format!("{line_end}--{boundary}\r\n").as_bytes(), head.raw(), b"\r\n"].concat();
            pieces.push(Piece::Text(text.into()));
            pieces.push(Piece::File(Arc::clone(&file.payload)));
            line_end = "\r\n";
        }
        pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into_bytes().into()));
        let id = heads.first().and_then(|head| head.get("Content-ID")).unwrap_or_default();
        let root_type = root.media_type.split(';').next().unwrap_or_default().trim();
        let media_type = ContentType::new(RELATED)
            .map_err(unwritable)?
            .with("boundary", &boundary)
            .with("type", root_type)
            .with("start", &String::from_utf8_lossy(id));
        let record = PayloadRecord {
            length: pieces.iter().map(Piece::length).sum(),
            // It is made of what is staged, and not staged itself.
            content: Content::Streamed(None),
            media_type: Some(media_type.to_string()),
            ..root.payload.record().clone()
        };
        // One file is read after another.
        let reader_buffers = files.iter().map(|file| file.payload.reader_buffers()).max().unwrap_or_default();
        Ok(Self { record, metadata: root.payload.metadata().clone(), pieces, reader_buffers })
    }

    /// The pieces that hold a range, each with its own.
    fn within(&self, range: &Range<u64>) -> VecDeque<(Piece, Range<u64>)> {
        let mut found = VecDeque::new();
        let mut begins = 0;
        for piece in &self.pieces {
            let length = piece.length();
            let from = range.start.saturating_sub(begins).min(length);
            let to = range.end.saturating_sub(begins).min(length);
            // An empty file within it is opened too: it may be gone.
            if from < to || (length == 0 && range.start <= begins && begins < range.end) {
                found.push_back((piece.clone(), from..to));
            }
            begins += length;
        }
        found
    }
}

fn unwritable(error: smime::Error) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "write the headers of several files in one message")
        .caused_by(error)
}

/// The header section of each part.
fn heads(delivery: DeliveryId, files: &[File], form: FileNameForm) -> Result<Vec<Headers>> {
    let mut ids = HashSet::new();
    let mut heads = Vec::with_capacity(files.len());
    for (file, number) in files.iter().zip(1..) {
        let own = || format!("<{number}.{}@waybill>", delivery.uuid().simple());
        // Of two with one Content-ID the second gets another: a reference means the first.
        let received = file.content_id().map(str::to_owned).filter(|id| !ids.contains(id));
        let id = received.unwrap_or_else(own);
        let mut head = Headers::new()
            .with("Content-Type", file.content_type())
            .and_then(|head| head.with("Content-ID", &id))
            .map_err(unwritable)?;
        if !file.name.is_empty() {
            let disposition = file_names::attachment(&file.name, form);
            head = head.with("Content-Disposition", disposition).map_err(unwritable)?;
        }
        heads.push(head.with("Content-Transfer-Encoding", "binary").map_err(unwritable)?);
        ids.insert(id);
    }
    Ok(heads)
}

/// A boundary that no content holds by chance: the same in each attempt, as long as the message is the same. Who wrote the
/// files did not know the delivery's id.
fn boundary(delivery: DeliveryId, files: &[File], heads: &[Headers]) -> String {
    let mut all = delivery.uuid().as_bytes().to_vec();
    for (file, head) in files.iter().zip(heads) {
        all.extend_from_slice(&file.payload.length().to_be_bytes());
        all.extend_from_slice(file.payload.id().uuid().as_bytes());
        all.extend(file.payload.sha256().map(|hash| hash.0).unwrap_or_default());
        all.extend_from_slice(head.raw());
    }
    let digest = openssl::sha::sha256(&all);
    format!("----waybill-related-{}", URL_SAFE_NO_PAD.encode(&digest[..24]))
}

#[async_trait]
impl Payload for Related {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        None
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        self.reader_buffers
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        let mut reader: PayloadReader = Box::new(tokio::io::empty());
        for (piece, range) in self.within(&range) {
            let next: PayloadReader = match piece {
                Piece::Text(text) => Box::new(Cursor::new(part_of(&text, &range))),
                Piece::File(payload) => payload.open(range).await?,
            };
            reader = Box::new(reader.chain(next));
        }
        Ok(reader)
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Pieces { left: self.within(&range), current: None }))
    }
}

fn part_of(text: &[u8], range: &Range<u64>) -> Vec<u8> {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    text.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec()
}

/// Reads pieces one after another; each file is opened when its turn comes.
struct Pieces {
    left: VecDeque<(Piece, Range<u64>)>,
    current: Option<Box<dyn Read + Send>>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(current) = &mut self.current {
                match current.read(into)? {
                    0 => self.current = None,
                    count => return Ok(count),
                }
            }
            let Some((piece, range)) = self.left.pop_front() else { return Ok(0) };
            self.current = Some(match piece {
                Piece::Text(text) => Box::new(Cursor::new(part_of(&text, &range))),
                Piece::File(payload) => {
                    let length = range.end - range.start;
                    let file = payload.open_blocking(range).map_err(io::Error::other)?;
                    // A file of another length would move all that follows.
                    Box::new(smime::Payload::new(file, length))
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
