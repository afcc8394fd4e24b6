//! Checksums that a server computes of its files.

use crate::Payload;
use bytes::BytesMut;
use model::{Error, Result, Sha256};
use openssl::hash::{Hasher, MessageDigest};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

/// How a checksum is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumKind {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1. Shows damage, and no more: two files can be made that share one.
    Sha1,
    /// MD5. Shows damage, and no more: two files can be made that share one.
    Md5,
}

impl ChecksumKind {
    /// All of them, the one to prefer first: payloads have a SHA-256 already, and the last two show damage only.
    pub const BY_PREFERENCE: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
        }
    }

    /// The length in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Sha1 => 20,
            Self::Md5 => 16,
        }
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha512 => MessageDigest::sha512(),
            Self::Sha1 => MessageDigest::sha1(),
            Self::Md5 => MessageDigest::md5(),
        }
    }
}

/// A checksum of a file: one that a server has computed, or one that it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerChecksum {
    /// How.
    pub kind: ChecksumKind,
    /// The value.
    pub value: Vec<u8>,
}

impl ServerChecksum {
    /// A checksum from hexadecimal digits in either case; `None` if they are not one of this kind.
    #[must_use]
    pub fn from_hex(kind: ChecksumKind, digits: &[u8]) -> Option<Self> {
        if digits.len() != 2 * kind.length() {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let value: Option<Vec<u8>> =
            digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
        value.map(|value| Self { kind, value })
    }
}

/// The number of bytes of a payload that are read at a time.
const CHUNK: usize = 128 * 1024;

/// A payload's checksum. Its SHA-256 is known; for another one the payload is read. The caller holds a lease for [`CHUNK`]
/// bytes and the reader's buffers.
///
/// # Errors
/// The payload cannot be read.
pub(super) async fn checksum_of(
    payload: &dyn Payload,
    sha256: Sha256,
    kind: ChecksumKind,
) -> Result<Vec<u8>> {
    if kind == ChecksumKind::Sha256 {
        return Ok(sha256.0.to_vec());
    }
    let failed = |error: std::io::Error| Error::local_io("compute the checksum of a payload", error);
    let mut hasher = Hasher::new(kind.digest()).map_err(|error| failed(error.into()))?;
    let mut reader = payload.open(0..payload.length()).await?;
    let mut chunk = BytesMut::with_capacity(CHUNK);
    loop {
        chunk.clear();
        if reader.read_buf(&mut chunk).await.map_err(failed)? == 0 {
            return Ok(hasher.finish().map_err(|error| failed(error.into()))?.to_vec());
        }
        hasher.update(&chunk).map_err(|error| failed(error.into()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_either_case_and_only_whole() {
        let kind = ChecksumKind::Md5;
        let read = ServerChecksum::from_hex(kind, b"00ff0A000000000000000000000000e1").unwrap();
        assert_eq!(read.value[..3], [0, 255, 10]);
        assert_eq!(read.value[15], 0xe1);
        for wrong in
            [&b"00ff"[..], b"zzff0A000000000000000000000000e1", b"00ff0A000000000000000000000000e100"]
        {
            assert_eq!(ServerChecksum::from_hex(kind, wrong), None);
        }
    }
}
