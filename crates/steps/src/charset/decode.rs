//! Bytes of a character set into text, in pieces of any length.

use super::single_byte::{NONE, Page};
use super::{Charset, Form, Order};
use encoding_rs::{Decoder as WebDecoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE};

/// How many of the last bytes are remembered, to show what was not valid. Longer than any sequence.
const REMEMBERED: usize = 16;

/// The mark at the beginning of a text in Unicode, which says how it is encoded and is no part of it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decodes one stream.
pub(crate) struct Decoder {
    form: Stream,
    /// Bytes decoded so far.
    read: u64,
    /// The last of them.
    last: Vec<u8>,
    /// Whether a byte order mark may come: nothing was decoded yet.
    at_start: bool,
}

enum Stream {
    /// UTF-16 whose order of bytes is not known yet, with its first byte where it has come.
    Undecided(Option<u8>),
    SingleByte(&'static Page),
    Web(Box<WebDecoder>),
}

/// Bytes that are no character.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    /// Where they begin, from 0.
    pub(crate) offset: u64,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(charset: Charset) -> Self {
        let form = match charset.form {
            Form::Utf8 => Stream::web(UTF_8),
            Form::Utf16(None) => Stream::Undecided(None),
            Form::Utf16(Some(order)) => Stream::utf16(order),
            Form::SingleByte(page) => Stream::SingleByte(page),
            Form::Other(encoding) => Stream::web(encoding),
        };
        Self { form, read: 0, last: Vec::new(), at_start: true }
    }

    /// Appends what some bytes say. Returns how many were read: all, or those up to and with the first that are not
    /// valid. With `is_last` no more bytes follow. A byte order mark at the beginning is left out.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        text: &mut String,
    ) -> (usize, Option<Malformed>) {
        if let Stream::Undecided(first) = self.form {
            return self.decide(first, bytes, is_last, text);
        }
        let before = text.len();
        let (read, malformed) = match &mut self.form {
            Stream::SingleByte(page) => single_bytes(page, bytes, text),
            Stream::Web(decoder) => web(decoder, bytes, is_last, text),
            Stream::Undecided(_) => (0, None),
        };
        if self.at_start && text.len() > before {
            self.at_start = false;
            if text[before..].starts_with(BYTE_ORDER_MARK) {
                text.replace_range(before..before + BYTE_ORDER_MARK.len_utf8(), "");
            }
        }
        self.remember(&bytes[..read]);
        let malformed = malformed.map(|(length, after)| {
            let end = self.last.len().saturating_sub(after);
            let begin = end.saturating_sub(length);
            Malformed {
                offset: self.read.saturating_sub((after + length) as u64),
                bytes: self.last[begin..end].to_vec(),
            }
        });
        (read, malformed)
    }

    /// Finds out the order of bytes by the first two: a byte order mark, else the higher byte comes first (RFC 2781,
    /// section 4.3).
    fn decide(
        &mut self,
        first: Option<u8>,
        bytes: &[u8],
        is_last: bool,
        text: &mut String,
    ) -> (usize, Option<Malformed>) {
        let mut start: Vec<u8> = first.into_iter().collect();
        let taken = bytes.len().min(2 - start.len());
        start.extend_from_slice(&bytes[..taken]);
        if start.len() < 2 && !is_last {
            self.form = Stream::Undecided(start.first().copied());
            return (taken, None);
        }
        self.form = Stream::utf16(if start == [0xff, 0xfe] { Order::Little } else { Order::Big });
        let is_end = is_last && taken == bytes.len();
        // Two bytes may be half of a character; they are never invalid before more follow.
        let (_, malformed) = self.decode(&start, is_end, text);
        if malformed.is_some() || is_end {
            return (taken, malformed);
        }
        let (read, malformed) = self.decode(&bytes[taken..], is_last, text);
        (taken + read, malformed)
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(REMEMBERED)..]);
        let forgotten = self.last.len().saturating_sub(REMEMBERED);
        self.last.drain(..forgotten);
    }
}

impl Stream {
    fn web(encoding: &'static encoding_rs::Encoding) -> Self {
        // The mark is left out above, for all encodings alike.
        Self::Web(Box::new(encoding.new_decoder_without_bom_handling()))
    }

    fn utf16(order: Order) -> Self {
        Self::web(match order {
            Order::Big => UTF_16BE,
            Order::Little => UTF_16LE,
        })
    }
}

/// What was read, and where something is not valid: its length, and how many bytes were read after it.
type Read = (usize, Option<(usize, usize)>);

fn single_bytes(page: &Page, bytes: &[u8], text: &mut String) -> Read {
    for (at, byte) in bytes.iter().enumerate() {
        let unit = page[usize::from(*byte)];
        match char::from_u32(u32::from(unit)).filter(|_| unit != NONE) {
            Some(character) => text.push(character),
            None => return (at + 1, Some((1, 0))),
        }
    }
    (bytes.len(), None)
}

fn web(decoder: &mut WebDecoder, bytes: &[u8], is_last: bool, text: &mut String) -> Read {
    let mut read = 0;
    loop {
        let rest = &bytes[read..];
        let room =
            decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(4 * rest.len() + 16);
        text.reserve(room);
        let (result, more) = decoder.decode_to_string_without_replacement(rest, text, is_last);
        read += more;
        match result {
            DecoderResult::InputEmpty => return (read, None),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, after) => {
                return (read, Some((usize::from(length), usize::from(after))));
            }
        }
    }
}
