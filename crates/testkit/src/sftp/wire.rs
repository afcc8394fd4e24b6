//! Packets of SFTP version 3: read from a channel, written to it.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest packet taken.
const PACKET_LIMIT: usize = 512 * 1024;

/// The next packet; `None` at the end of the channel.
pub(super) async fn read(channel: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match channel.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if !(1..=PACKET_LIMIT).contains(&length) {
        return Err(malformed());
    }
    let mut packet = vec![0; length];
    channel.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

/// Sends a packet.
pub(super) async fn write(channel: &mut (impl AsyncWrite + Unpin), packet: &Packet) -> io::Result<()> {
    let length = u32::try_from(packet.0.len()).map_err(|_| malformed())?;
    channel.write_all(&[&length.to_be_bytes()[..], &packet.0].concat()).await?;
    channel.flush().await
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed SFTP packet")
}

/// Reads a request's fields.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn cut(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        Ok(self.cut(1)?[0])
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        Ok(self.cut(4)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    pub(super) fn string(&mut self) -> io::Result<&'a [u8]> {
        let length = self.u32()? as usize;
        self.cut(length)
    }
}

/// An answer being written.
pub(super) struct Packet(Vec<u8>);

impl Packet {
    pub(super) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        let mut this = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        this.0.extend_from_slice(bytes);
        this
    }
}
