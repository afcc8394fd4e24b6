//! `convert_charset`: text from one character set into another.

use crate::charset::{Charset, Decoder, Encoder, Malformed, Unmappable};
use crate::{PayloadStep, StepKind, stream_error};
use model::schema::{Field, Findings, Group, Kind, Values};
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::io::{Read, Write};

const OPERATION: &str = "convert the character set of a file";

/// How much is read at once, in bytes. As text it may be three times as long, and as much again when it is written.
const PIECE: usize = 64 * 1024;

/// What stands for what cannot be converted, in a set without U+FFFD.
const SUBSTITUTE: &str = "?";

pub(crate) const KIND: StepKind = StepKind {
    name: "convert_charset",
    doc: "Converts text from one character set into another. What is left out is UTF-8: an empty table checks that files \
         are valid UTF-8. A byte order mark at the beginning of a file in Unicode is left out; one is written with `to = \"UTF-16\"` \
         alone. Line ends stay as they are, and so does what a file says of its own encoding, such as the first line of \
         an XML document.",
    group: &GROUP,
    read,
};

static GROUP: Group = Group::of(&[
    Field::preset(
        "from",
        Kind::Text,
        "UTF-8",
        "The character set of the files, such as `UTF-8`, `ISO-8859-1`, `ISO-8859-15`, `windows-1252`, `US-ASCII`, `UTF-16`, \
         `UTF-16LE`, `Shift_JIS`, `GB18030`, `IBM850`, or of EBCDIC `IBM037`, `IBM273`, `IBM500`, `IBM1140`. `UTF-16` tells the \
         order of its bytes by a mark at the beginning; without a mark the higher byte comes first.",
    ),
    Field::preset("to", Kind::Text, "UTF-8", "The character set that they are converted into."),
    Field::preset(
        "invalid",
        Kind::Choice(&["fail", "replace"]),
        "fail",
        "What becomes of bytes that are not valid in `from`, and of characters that `to` does not have. With `fail` the file is \
         not delivered: its deliveries fail. With `replace` a `?` is written in their place, in Unicode U+FFFD for bytes that are not \
         valid; the audit trail says how many were replaced.",
    ),
]);

/// The step.
struct ConvertCharset {
    from: Charset,
    to: Charset,
    replaces: bool,
}

fn read(options: &Values, findings: &mut Findings<'_>) -> Option<Box<dyn PayloadStep>> {
    let mut charset = |field: &str| {
        let text = options.text(field).unwrap_or_default();
        findings.accept(field, Charset::named(text))
    };
    let (from, to) = (charset("from"), charset("to"));
    let replaces = options.text("invalid") == Some("replace");
    Some(Box::new(ConvertCharset { from: from?, to: to?, replaces }))
}

impl PayloadStep for ConvertCharset {
    fn describe(&self) -> String {
        let replaces = if self.replaces { ", replacing what cannot be converted" } else { "" };
        format!("convert_charset from {} to {}{replaces}", self.from.name(), self.to.name())
    }

    fn media_type(&self, before: &str) -> String {
        with_charset(before, self.to.name())
    }

    fn buffers(&self) -> usize {
        // The bytes that are read, their text, and the bytes that are written.
        7 * PIECE
    }

    fn run(&self, input: &mut dyn Read, output: &mut dyn Write) -> Result<Map<String, Value>> {
        let replaced = self.convert(input, output, PIECE)?;
        let count = (replaced > 0).then(|| ("replaced".to_owned(), Value::from(replaced)));
        Ok(count.into_iter().collect())
    }
}

/// How far a text was converted.
struct Position {
    /// From 1.
    line: u64,
    /// Characters of the line before.
    column: u64,
}

impl Position {
    fn pass(&mut self, text: &str) {
        let lines = memchr::memchr_iter(b'\n', text.as_bytes()).count();
        let last = match memchr::memrchr(b'\n', text.as_bytes()) {
            Some(end) => {
                self.line += lines as u64;
                self.column = 0;
                &text[end + 1..]
            }
            None => text,
        };
        self.column += last.chars().count() as u64;
    }
}

impl ConvertCharset {
    /// Converts a stream, reading `piece` bytes at once. Returns how many characters were replaced.
    fn convert(&self, input: &mut dyn Read, output: &mut dyn Write, piece: usize) -> Result<u64> {
        let (mut decoder, mut encoder) = (Decoder::new(self.from), Encoder::new(self.to));
        let mut position = Position { line: 1, column: 0 };
        let (mut bytes, mut text, mut written) = (vec![0; piece], String::new(), Vec::new());
        let mut replaced = 0;
        loop {
            let filled = match input.read(&mut bytes) {
                Ok(filled) => filled,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(stream_error("read a staged file", error)),
            };
            let is_last = filled == 0;
            let mut rest = &bytes[..filled];
            loop {
                text.clear();
                written.clear();
                let (read, malformed) = decoder.decode(rest, is_last, &mut text);
                rest = &rest[read..];
                // What comes before invalid bytes is counted before they are.
                let ends = is_last && malformed.is_none();
                replaced += self.encode(&mut encoder, &text, ends, &mut written, &mut position)?;
                if let Some(found) = malformed {
                    if !self.replaces {
                        return Err(self.malformed(&found, &position));
                    }
                    replaced += 1;
                    // In a set without this character a substitute is written, and counted once.
                    self.encode(&mut encoder, "\u{fffd}", false, &mut written, &mut position)?;
                    output.write_all(&written).map_err(|error| stream_error("write to staging", error))?;
                    continue;
                }
                output.write_all(&written).map_err(|error| stream_error("write to staging", error))?;
                if rest.is_empty() {
                    break;
                }
            }
            if is_last {
                return Ok(replaced);
            }
        }
    }

    fn encode(
        &self,
        encoder: &mut Encoder,
        text: &str,
        is_last: bool,
        written: &mut Vec<u8>,
        position: &mut Position,
    ) -> Result<u64> {
        let (mut rest, mut replaced) = (text, 0);
        while let Err(Unmappable { at, character }) = encoder.encode(rest, is_last, written) {
            position.pass(&rest[..at]);
            if !self.replaces {
                return Err(self.unmappable(character, position));
            }
            let end = at + character.len_utf8();
            position.pass(&rest[at..end]);
            rest = &rest[end..];
            replaced += 1;
            // Every set has it.
            let _ = encoder.encode(SUBSTITUTE, false, written);
        }
        position.pass(rest);
        Ok(replaced)
    }

    fn error(&self, kind: ErrorKind, position: &Position) -> Error {
        Error::permanent(kind, OPERATION)
            .with("from", self.from.name())
            .with("to", self.to.name())
            .with("line", position.line)
            .with("column", position.column + 1)
    }

    fn malformed(&self, found: &Malformed, position: &Position) -> Error {
        let bytes: Vec<String> = found.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.error(ErrorKind::IntegrityFailed, position)
            .with("offset", found.offset)
            .with("bytes", bytes.join(" "))
            .advice(format!(
                "these bytes are not valid {}: correct `from` of the step to what the sender writes, or ask for the file \
                 again; then retry the transfer",
                self.from.name()
            ))
    }

    fn unmappable(&self, character: char, position: &Position) -> Error {
        let shown = if character.is_control() { String::new() } else { format!(" {character}") };
        self.error(ErrorKind::Unsupported, position)
            .with("character", format_args!("U+{:04X}{shown}", u32::from(character)))
            .advice(format!(
                "{} does not have this character: choose another `to` of the step, or `invalid = \"replace\"` to write \
                 '?' in its place; then retry the transfer",
                self.to.name()
            ))
    }
}

/// A media type whose `charset`, if it has one, is another.
fn with_charset(media_type: &str, name: &str) -> String {
    let mut parts = media_type.split(';');
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_charset =
            part.split_once('=').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case("charset"));
        changed.push(';');
        if is_charset {
            changed.push_str(" charset=");
            changed.push_str(name);
        } else {
            changed.push_str(part);
        }
    }
    changed
}

#[cfg(test)]
mod tests;
