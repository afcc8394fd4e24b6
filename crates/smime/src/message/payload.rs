//! The innermost entity: its MICs, and its leaves handed out with their transfer encoding off.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};

use super::report::{Layer, Part};
use super::unwrap::{CHUNK, Reader, drain, may_be_canonicalised};
use crate::error::{Error, Result};
use crate::mic::{Digests, MicRule, Tapped};
use crate::mime::content_type::ContentType;
use crate::mime::headers::{self, Headers};
use crate::mime::multipart::Multipart;
use crate::mime::transfer::TransferEncoding;

/// Reads the innermost entity, every byte of it through the digests of the rules that apply.
pub(crate) fn read(reader: &mut Reader<'_>, headers: &Headers, body: &mut dyn BufRead) -> Result<()> {
    reader.receiver.unwrapped(&reader.wrappings)?;
    let wrapped = reader.signed || !reader.report.layers.is_empty();
    let compressed = reader.report.layers.contains(&Layer::Compressed);
    let alternatives = reader.options.alternatives;
    let algorithms = |wanted: bool| if wanted { reader.options.mic.as_slice() } else { &[] };
    // Signed and not compressed, the entity is the signed part: its digests are being made.
    let entity = !reader.signed && wrapped || compressed && alternatives;
    let content = !wrapped || alternatives;
    let canonical = may_be_canonicalised(headers);
    let entity = RefCell::new(Digests::new(algorithms(entity), canonical)?);
    let content = RefCell::new(Digests::new(algorithms(content), canonical)?);
    entity.borrow_mut().update(headers.raw())?;
    entity.borrow_mut().update(headers.end())?;

    let tapped = Tapped { inner: Tapped { inner: body, digests: &entity }, digests: &content };
    let mut body = BufReader::with_capacity(CHUNK, tapped);
    leaves(reader, headers, &mut body, &mut Vec::new())?;
    drain(&mut body)?;

    for finished in entity.into_inner().finish()? {
        reader.report.mics.extend(finished.mics(MicRule::Entity, MicRule::EntityCanonical));
    }
    for finished in content.into_inner().finish()? {
        reader.report.mics.extend(finished.mics(MicRule::Content, MicRule::ContentCanonical));
    }
    Ok(())
}

/// Hands out an entity, or the parts of a multipart one by one. Whether one of them is protected by itself.
fn leaves(
    reader: &mut Reader<'_>,
    headers: &Headers,
    body: &mut dyn BufRead,
    path: &mut Vec<usize>,
) -> Result<bool> {
    let media = headers.content_type();
    let boundary = media
        .as_ref()
        .filter(|media| media.is_kind("multipart") && !is_protected(media))
        .and_then(|media| media.parameter("boundary"));
    let Some(boundary) = boundary.filter(|_| !reader.receiver.whole(headers)) else {
        leaf(reader, headers, body, path)?;
        return Ok(media.as_ref().is_some_and(|media| is_protected(media) || is_cms(media)));
    };
    reader.descend()?;
    let mut parts = Multipart::new(body, &boundary)?;
    let (mut index, mut has_protected) = (0, false);
    while let Some(part) = parts.next_part()? {
        let (headers, mut body) = headers::split(part, &reader.options.limits)?;
        path.push(index);
        has_protected |= leaves(reader, &headers, &mut body, path)?;
        path.pop();
        index += 1;
    }
    // Parts may be proved though the whole is not: nobody is told whether what was put behind them could be decrypted.
    if !(has_protected && reader.is_open_to_change()) {
        parts.finish()?;
    } else if !parts.finish_blank()? {
        return Err(Error::malformed("multipart", "there is data after its last boundary"));
    }
    reader.depth -= 1;
    Ok(has_protected)
}

fn is_cms(media: &ContentType) -> bool {
    matches!(media.essence(), "application/pkcs7-mime" | "application/x-pkcs7-mime")
}

/// A signature over one part of several is the caller's to look into.
fn is_protected(media: &ContentType) -> bool {
    matches!(media.essence(), "multipart/signed" | "multipart/encrypted")
}

fn leaf(reader: &mut Reader<'_>, headers: &Headers, body: &mut dyn BufRead, path: &[usize]) -> Result<()> {
    let limit = reader.options.limits.parts;
    if reader.report.parts.len() >= limit {
        return Err(Error::limit("parts", limit as u64));
    }
    // None said means binary in AS2 (RFC 4130 section 5.2.1).
    let encoding = headers.transfer_encoding()?.unwrap_or(TransferEncoding::Binary);
    let part = Part { path: path.to_vec(), headers: headers.clone() };
    let mut decoded = encoding.decoder(Box::new(body));
    let mut writer = reader.receiver.begin(&part)?;
    let len = copy(&mut *decoded, &mut *writer)?;
    drop(writer);
    reader.report.parts.push((part, len));
    Ok(())
}

fn copy(source: &mut dyn BufRead, writer: &mut dyn Write) -> Result<u64> {
    let mut len = 0;
    loop {
        let available = match source.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if available.is_empty() {
            writer.flush()?;
            return Ok(len);
        }
        writer.write_all(available)?;
        let count = available.len();
        source.consume(count);
        len += count as u64;
    }
}
