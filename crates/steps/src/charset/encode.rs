//! Text into bytes of a character set, in pieces of any length.

use super::single_byte::Reversed;
use super::{Charset, Form, Order};
use encoding_rs::{Encoder as WebEncoder, EncoderResult};

/// Encodes one stream.
pub(crate) enum Encoder {
    Utf8,
    /// With a mark still to be written where the name of the set leaves the order open.
    Utf16 {
        order: Order,
        mark: bool,
    },
    SingleByte(Box<Reversed>),
    Web(Box<WebEncoder>),
}

/// A character that the set does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unmappable {
    /// Where it begins in the text.
    pub(crate) at: usize,
    /// The character.
    pub(crate) character: char,
}

impl Encoder {
    pub(crate) fn new(charset: Charset) -> Self {
        match charset.form {
            Form::Utf8 => Self::Utf8,
            // With its mark, as RFC 2781, section 3.3 wants it.
            Form::Utf16(None) => Self::Utf16 { order: Order::Big, mark: true },
            Form::Utf16(Some(order)) => Self::Utf16 { order, mark: false },
            Form::SingleByte(page) => Self::SingleByte(Box::new(Reversed::of(page))),
            Form::Other(encoding) => Self::Web(Box::new(encoding.new_encoder())),
        }
    }

    /// Appends the bytes of a text up to its end, or up to the first character that the set does not have. With
    /// `is_last` no more text follows.
    pub(crate) fn encode(
        &mut self,
        text: &str,
        is_last: bool,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Unmappable> {
        match self {
            Self::Utf8 => bytes.extend_from_slice(text.as_bytes()),
            Self::Utf16 { order, mark } => {
                let begin = std::mem::take(mark).then_some(0xfeff);
                for unit in begin.into_iter().chain(text.encode_utf16()) {
                    bytes.extend_from_slice(&match order {
                        Order::Big => unit.to_be_bytes(),
                        Order::Little => unit.to_le_bytes(),
                    });
                }
            }
            Self::SingleByte(page) => {
                for (at, character) in text.char_indices() {
                    bytes.push(page.byte(character).ok_or(Unmappable { at, character })?);
                }
            }
            Self::Web(encoder) => return web(encoder, text, is_last, bytes),
        }
        Ok(())
    }
}

fn web(encoder: &mut WebEncoder, text: &str, is_last: bool, bytes: &mut Vec<u8>) -> Result<(), Unmappable> {
    let mut read = 0;
    loop {
        let rest = &text[read..];
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        bytes.reserve(room.unwrap_or(4 * rest.len() + 16));
        let (result, more) = encoder.encode_from_utf8_to_vec_without_replacement(rest, bytes, is_last);
        read += more;
        match result {
            EncoderResult::InputEmpty => return Ok(()),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => {
                // By the text itself: an encoder may name another character that stands for it.
                let character = text[..read].chars().next_back().unwrap_or('\u{fffd}');
                return Err(Unmappable { at: read - character.len_utf8(), character });
            }
        }
    }
}
