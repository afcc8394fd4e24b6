//! Compression as a stream: CompressedData with zlib (RFC 3274). The length cannot be known
//! beforehand, so each level is of indefinite length.

use std::io::{self, Read};

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::algorithm::oid;
use crate::der;
use crate::error::{Error, Result};
use crate::mime::content_type::ContentType;
use crate::mime::entity::{Entity, EntityStream, Measured, read_full};
use crate::mime::headers::Headers;

const CHUNK: usize = 64 * 1024;

impl<B: Measured> Entity<B> {
    /// Wraps this entity in an `application/pkcs7-mime; smime-type=compressed-data`.
    pub fn compress(self) -> Result<Entity<CompressedBody<B>>> {
        let media = ContentType::new("application/pkcs7-mime")?
            .with("smime-type", "compressed-data")
            .with("name", "smime.p7z");
        let headers = Headers::new()
            .with("Content-Type", media.to_string())?
            .with("Content-Disposition", "attachment; filename=smime.p7z")?;
        Ok(Entity::new(headers, CompressedBody::new(self.into_stream()?)))
    }
}

/// The CMS message of a compressed entity, pulled from its content.
pub struct CompressedBody<B> {
    content: EntityStream<B>,
    zlib: Compress,
    plain: Vec<u8>,
    plain_at: usize,
    plain_end: usize,
    packed: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    input_ended: bool,
    ended: bool,
}

impl<B: Measured> CompressedBody<B> {
    fn new(content: EntityStream<B>) -> Self {
        let head = [
            &[der::SEQUENCE, 0x80][..],
            &der::oid(oid::COMPRESSED_DATA),
            &[der::context(0), 0x80, der::SEQUENCE, 0x80],
            &der::integer(0),
            &der::sequence(&[&der::oid(oid::ZLIB)]),
            &[der::SEQUENCE, 0x80],
            &der::oid(oid::DATA),
            &[der::context(0), 0x80, der::OCTET_STRING | der::CONSTRUCTED, 0x80],
        ]
        .concat();
        CompressedBody {
            content,
            zlib: Compress::new(Compression::default(), true),
            plain: vec![0; CHUNK],
            plain_at: 0,
            plain_end: 0,
            packed: vec![0; CHUNK],
            ready: head,
            at: 0,
            input_ended: false,
            ended: false,
        }
    }

    /// Compresses until a segment is full or the content ends.
    fn make_ready(&mut self) -> Result<()> {
        let mut filled = 0;
        while filled < self.packed.len() && !self.ended {
            if self.plain_at == self.plain_end && !self.input_ended {
                self.plain_end = read_full(&mut self.content, &mut self.plain)?;
                self.plain_at = 0;
                self.input_ended = self.plain_end == 0;
            }
            let flush = if self.input_ended { FlushCompress::Finish } else { FlushCompress::None };
            let (taken, made) = (self.zlib.total_in(), self.zlib.total_out());
            let status = self
                .zlib
                .compress(&self.plain[self.plain_at..self.plain_end], &mut self.packed[filled..], flush)
                .map_err(|error| Error::Io(io::Error::other(error)))?;
            self.plain_at += (self.zlib.total_in() - taken) as usize;
            filled += (self.zlib.total_out() - made) as usize;
            self.ended = status == Status::StreamEnd;
        }
        self.ready.clear();
        self.at = 0;
        self.ready.extend(der::header(der::OCTET_STRING, filled as u64));
        self.ready.extend_from_slice(&self.packed[..filled]);
        if self.ended {
            // Six open levels, from the OCTET STRING out to ContentInfo.
            self.ready.extend_from_slice(&[0; 12]);
        }
        Ok(())
    }
}

impl<B: Measured> Read for CompressedBody<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.ended {
            self.make_ready()?;
        }
        let count = out.len().min(self.ready.len() - self.at);
        out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl<B: Measured> Measured for CompressedBody<B> {
    fn total_len(&self) -> Option<u64> {
        None
    }
}
