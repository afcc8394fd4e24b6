//! Cryptographic Message Syntax as streams (RFC 5652), read and written.

use std::io::{self, Read};

use crate::ber::BerReader;
use crate::der::{self, Element};
use crate::error::{Error, Result};
use crate::message::limits::Limits;

pub(crate) mod agreement;
pub(crate) mod attributes;
pub(crate) mod block;
pub(crate) mod certificate;
pub(crate) mod compress;
pub(crate) mod content_cipher;
pub(crate) mod detached;
pub(crate) mod encrypt;
pub(crate) mod expand;
pub(crate) mod opaque;
pub(crate) mod open;
pub(crate) mod recipient;
pub(crate) mod sign;
pub(crate) mod signature;
pub(crate) mod signer;
pub(crate) mod verify;

/// Opens a ContentInfo: its content type (an object identifier) and the reader inside it.
pub(crate) fn begin<R: Read>(source: R, limits: &Limits) -> Result<(Vec<u8>, BerReader<R>)> {
    let mut ber = BerReader::new(source, limits.asn1_depth, limits.element_bytes);
    let info = ber.expect(der::SEQUENCE, "ContentInfo")?;
    ber.enter(info)?;
    let kind = ber.expect(der::OID, "contentType")?;
    let kind = ber.collect(kind)?;
    let kind = Element::parse(&kind)?.content.to_vec();
    let content = ber.expect(der::context(0), "content")?;
    ber.enter(content)?;
    Ok((kind, ber))
}

/// Goes into `[0] EXPLICIT OCTET STRING`, ready to stream it.
pub(crate) fn enter_content<R: Read>(ber: &mut BerReader<R>) -> Result<()> {
    let Some(explicit) = ber.optional(der::context(0))? else {
        return Err(Error::malformed("EncapsulatedContentInfo", "it has no content"));
    };
    ber.enter(explicit)?;
    match ber.next()? {
        Some(header) if header.tag & !der::CONSTRUCTED == der::OCTET_STRING => ber.begin_octets(header),
        _ => Err(Error::malformed("EncapsulatedContentInfo", "an OCTET STRING is expected")),
    }
}

/// The OCTET STRING that a reader stands in.
pub(crate) struct Octets<'a, R>(pub(crate) &'a mut BerReader<R>);

impl<R: Read> Read for Octets<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.0.octets()?;
        let count = chunk.len().min(out.len());
        out[..count].copy_from_slice(&chunk[..count]);
        self.0.consume_octets(count);
        Ok(count)
    }
}
