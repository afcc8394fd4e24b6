//! Decompression as a stream: CompressedData with zlib (RFC 3274), under a limit of what may
//! come out of it.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::algorithm::oid;
use crate::ber::BerReader;
use crate::der::{self, Element};
use crate::error::{Error, Result};
use crate::message::limits::Limits;

/// The expanded content of a compressed message.
pub(crate) struct Expander<'b, R> {
    ber: &'b mut BerReader<R>,
    zlib: Decompress,
    limit: u64,
    ended: bool,
}

impl<'b, R: Read> Expander<'b, R> {
    /// Goes on behind the content type of a ContentInfo.
    pub(crate) fn open(ber: &'b mut BerReader<R>, limits: &Limits) -> Result<Self> {
        let data = ber.expect(der::SEQUENCE, "CompressedData")?;
        ber.enter(data)?;
        let version = ber.expect(der::INTEGER, "version")?;
        ber.skip(version)?;
        let algorithm = ber.expect(der::SEQUENCE, "compressionAlgorithm")?;
        let algorithm = ber.collect(algorithm)?;
        let kind = Element::parse(&algorithm)?.children().required("algorithm")?.content;
        if kind != oid::ZLIB {
            return Err(Error::unsupported(format!("compression {}", der::dotted(kind))));
        }
        let info = ber.expect(der::SEQUENCE, "EncapsulatedContentInfo")?;
        ber.enter(info)?;
        let kind = ber.expect(der::OID, "contentType")?;
        ber.skip(kind)?;
        super::enter_content(ber)?;
        Ok(Expander { ber, zlib: Decompress::new(true), limit: limits.expanded_bytes, ended: false })
    }

    fn expand_into(&mut self, out: &mut [u8]) -> Result<usize> {
        loop {
            let chunk = self.ber.octets()?;
            if chunk.is_empty() {
                return Err(Error::DecompressionFailed);
            }
            let (taken, made) = (self.zlib.total_in(), self.zlib.total_out());
            let status = self
                .zlib
                .decompress(chunk, out, FlushDecompress::None)
                .map_err(|_| Error::DecompressionFailed)?;
            let taken = (self.zlib.total_in() - taken) as usize;
            let made = (self.zlib.total_out() - made) as usize;
            self.ber.consume_octets(taken);
            if self.zlib.total_out() > self.limit {
                return Err(Error::limit("expanded content in bytes", self.limit));
            }
            match status {
                Status::StreamEnd => self.finish()?,
                _ if made == 0 && taken == 0 => return Err(Error::DecompressionFailed),
                _ => {}
            }
            if made > 0 || self.ended {
                return Ok(made);
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        if !self.ber.octets()?.is_empty() {
            return Err(Error::malformed("CompressedData", "there is data after the compressed content"));
        }
        // The explicit tag, EncapsulatedContentInfo, CompressedData, its explicit tag, ContentInfo.
        for _ in 0..5 {
            self.ber.leave()?;
        }
        self.ended = true;
        Ok(())
    }
}

impl<R: Read> Read for Expander<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        Ok(self.expand_into(out)?)
    }
}
